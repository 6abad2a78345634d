/**
 * Warm images: where an image has booted once, later runs of it go on from there. A checkpoint lies in the cache, with what the guest had printed,
 * taken when the guest first waited for its console; whoever runs the image with the same options begins with both.
 *
 * Always: a checkpoint is for one kernel, initial RAM disk, command line, size of memory, processor and emulator; what is missing, old or damaged
 * costs a boot and nothing else. At most `keptImages` lie there.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine } from '@revenant/emulator';
import { engineDigest } from '@revenant/emulator/host-node';
import { cacheFolder } from '../images/cache.ts';
import { builtinName } from '../images/builtin.ts';
import { findImage } from '../images/image.ts';
import type { RunOptions } from './options.ts';

/** Checkpoints of about 70 MB each; those that were used longest ago go. */
const keptImages = 4;
/** An older one is made again: the guest's own clock stands where it stood. */
const maxAgeMs = 7 * 24 * 3_600_000;
/** A guest that prints more until it waits is not kept. */
const maxConsoleBytes = 1 << 20;
/** A guest that waits for its console has booted when it has been silent for so long. */
const silentMs = 300;
const longestHoldMs = 60_000;

/** Options that may be given beside the image; with any other the machine is not the one that was kept. */
// prettier-ignore
const allowed: ReadonlySet<string> = new Set<keyof RunOptions>([
  'image', 'append', 'memoryBytes', 'cpu', 'cpuCount', 'serial', 'save', 'screenshot', 'atEof', 'engine', 'vnc',
]);

type WaitingMachine = Pick<Machine, 'serialPort' | 'snapshot'>;

/** Names what a run begins with; undefined when it is not one that begins warm. */
export async function warmKey(options: RunOptions): Promise<string | undefined> {
  const { image, append, memoryBytes, cpu, cpuCount, clock = 'wall' } = options;
  const given = Object.entries(options).filter(([name, value]) => value !== undefined && name !== 'clock');
  if (image === undefined || image === builtinName || clock !== 'wall') return undefined;
  if (given.some(([name]) => !allowed.has(name))) return undefined;
  const found = await findImage(image).catch(() => undefined);
  if (found === undefined) return undefined;
  const { kernel, initrd, commandLine, memoryMiB } = found.manifest;
  const parts = [
    kernel.sha256,
    initrd.sha256,
    commandLine,
    memoryMiB,
    append,
    memoryBytes,
    cpu,
    cpuCount,
    engineDigest(),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

/** Of one run. */
export class WarmStart {
  readonly #folder: string;
  readonly #key: string;
  readonly #console: number[] = [];
  #state: 'found' | 'wanted' | 'over' = 'wanted';
  #heldSinceMs: number | undefined;
  #writing: Promise<void> = Promise.resolve();

  /** @param folder where warm images lie */
  constructor(key: string, folder = join(cacheFolder(), 'warm')) {
    this.#key = key;
    this.#folder = folder;
    const age = Date.now() - (statSync(this.checkpoint, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (age < maxAgeMs && existsSync(this.#path('console'))) this.#state = 'found';
  }

  /** Undefined when this run neither begins warm nor can be kept. */
  static async of(options: RunOptions): Promise<WarmStart | undefined> {
    const key = await warmKey(options);
    return key === undefined ? undefined : new WarmStart(key);
  }

  #path(kind: 'checkpoint' | 'console'): string {
    return join(this.#folder, `${this.#key}.${kind}`);
  }

  get checkpoint(): string {
    return this.#path('checkpoint');
  }

  /** Whether there is a checkpoint to go on from. */
  get found(): boolean {
    return this.#state === 'found';
  }

  /** What the guest had printed by then. */
  async console(): Promise<Uint8Array> {
    const bytes = await readFile(this.#path('console'));
    const now = new Date();
    utimesSync(this.#path('console'), now, now); // its last use; that of the checkpoint tells its age
    return bytes;
  }

  /** The checkpoint is no good: the guest boots. */
  reject(): void {
    this.#state = 'wanted';
    this.#remove(this.#key);
  }

  /** The guest has printed a byte. */
  printed(byte: number): void {
    if (this.#state !== 'wanted') return;
    if (this.#console.length < maxConsoleBytes) this.#console.push(byte);
    else this.#state = 'over';
  }

  /** Between turns: the guest waits, silent for so long. Keeps it when it has booted. */
  waits(machine: WaitingMachine, quietMs: number): void {
    if (quietMs >= silentMs && machine.serialPort(0)?.listening === true) this.#keep(machine);
  }

  /** What comes through a pipe waits for the guest to be kept first, but not for ever. It has its console open long before its shell asks. */
  holdsInput(nowMs: number): boolean {
    if (this.#state !== 'wanted') return false;
    this.#heldSinceMs ??= nowMs;
    return nowMs - this.#heldSinceMs < longestHoldMs;
  }

  /** Something is about to be given to the guest: from here on it is another one. */
  given(): void {
    if (this.#state === 'wanted') this.#state = 'over';
  }

  #keep(machine: WaitingMachine): void {
    if (this.#state !== 'wanted' || this.#console.length === 0) return;
    this.#state = 'over';
    const snapshot = machine.snapshot({ full: true });
    this.#writing = this.#write(snapshot).catch(() => {
      // A full disk, or a cache that can't be written: the next run boots.
      this.#remove(this.#key);
    });
  }

  async #write(snapshot: ReturnType<Machine['snapshot']>): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const { writeCheckpointFile } = await import('@revenant/storage');
    await writeCheckpointFile(this.checkpoint, snapshot);
    // Written last: it says that the checkpoint is whole.
    const temporary = `${this.#path('console')}.partial-${String(process.pid)}`;
    await writeFile(temporary, Uint8Array.from(this.#console));
    await rename(temporary, this.#path('console'));
    this.#dropOldest();
  }

  /** Ends when what is kept is written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  #remove(key: string): void {
    for (const kind of ['console', 'checkpoint'])
      rmSync(join(this.#folder, `${key}.${kind}`), { force: true });
  }

  #dropOldest(): void {
    const at = (name: string): number =>
      statSync(join(this.#folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const kept = readdirSync(this.#folder)
      .filter((name) => name.endsWith('.console'))
      .sort((a, b) => at(b) - at(a));
    for (const name of kept.slice(keptImages)) this.#remove(name.slice(0, -'.console'.length));
  }
}
