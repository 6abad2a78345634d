/**
 * What guests for tests and demos have in common, which are no machines: a small RAM that checkpoints hold, and a console.
 * Their logs can be replayed: what they say follows from their snapshot, from what was typed and when, whatever the pace.
 */
import type { InputResult, LoggedInput, MachineInput, StampedOutput } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import { sumOf, sumsOf } from './standby/state-sums.ts';
import type { Cut } from './standby/comparison.ts';
import type { Further, Guest, GuestStart } from './vm-runtime.ts';

export const pageBytes = 4096;
/** Virtual time of an "instruction", whatever the guest takes for one. */
const instructionNs = 1000n;
/** Cuts of an owner whose changed pages are remembered. */
const maxCuts = 64;
/** Numbers of its console, in its checkpoints. */
const consoleDevice = 'console';

export abstract class ToyGuest implements Guest {
  instructions = 0n;
  readonly #description: MachineSnapshot['description'];
  readonly #ram: Uint8Array;
  readonly #dirty = new Set<number>();
  #full = true;
  #output = '';
  /** Bytes that it said in its whole life, whoever has asked for them yet, and by kind how much it was given. */
  #written = 0;
  readonly #heard: Partial<Record<MachineInput['kind'], number>>;
  #log: LoggedInput[] | undefined;
  /** What is to be done again. */
  readonly #ahead: { entry: LoggedInput; next: number }[];
  #to: bigint;
  readonly #cuts: Cut[] = [];
  /** By cut of its owner's: pages that changed before it, since the one before. */
  #changed: { cut: number; pages: readonly number[] }[] = [];

  /** @param options.machine the name of its kind of machine, and `cpu` that of its processor, as checkpoints show them */
  constructor(options: {
    machine: string;
    cpu: string;
    pages: number;
    start: Pick<GuestStart, 'snapshot' | 'keepLog' | 'replay'>;
  }) {
    const { machine, cpu, pages, start } = options;
    const { snapshot, keepLog = false, replay } = start;
    this.#ram = new Uint8Array(pageBytes * pages);
    this.#description = { machine, cpu: { model: cpu }, memoryBytes: this.#ram.length };
    const saved = snapshot?.spaces.find(({ name }) => name === 'ram');
    saved?.indexes.forEach((page, i) =>
      this.#ram.set(saved.bytes.subarray(i * pageBytes, (i + 1) * pageBytes), page * pageBytes),
    );
    this.instructions = snapshot?.instructions ?? 0n;
    const numbers = snapshot?.devices[consoleDevice]?.state as
      { written: number; heard: number; did?: Record<string, number> } | undefined;
    this.#written = numbers?.written ?? 0;
    this.#heard = { ...numbers?.did, serial: numbers?.heard ?? 0 };
    this.keepLog(keepLog);
    this.#ahead = (replay?.log ?? []).map((entry) => ({ entry, next: 0 }));
    this.#to = replay?.to ?? this.instructions;
    this.#full = snapshot === undefined;
  }

  abstract run(): ReturnType<Guest['run']>;
  /** The next of its instructions, whatever the time. */
  protected abstract step(): void;
  /** Bytes that were typed. */
  protected abstract typed(bytes: Uint8Array): void;

  protected get pages(): number {
    return this.#ram.length / pageBytes;
  }

  protected read(at: number, length: number): Uint8Array {
    return this.#ram.subarray(at, at + length);
  }

  protected readU32(at: number): number {
    return new DataView(this.#ram.buffer).getUint32(at, true);
  }

  protected write(at: number, bytes: Uint8Array): void {
    this.#ram.set(bytes, at);
    const last = Math.floor((at + bytes.length - 1) / pageBytes);
    for (let page = Math.floor(at / pageBytes); page <= last; page++) this.#dirty.add(page);
  }

  protected writeU32(at: number, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.write(at, bytes);
  }

  protected say(text: string): void {
    this.#output += text;
    // Each is one byte.
    this.#written += text.length;
  }

  input(input: MachineInput): InputResult {
    if (!this.hears(input)) return 'no-device';
    const number = this.#heard[input.kind] ?? 0;
    this.#log?.push({ ...this.#stamp, number, input });
    this.#take(input);
    return 'taken';
  }

  /** What it takes beside bytes for its console, to be told to `did`. */
  protected hears({ kind }: MachineInput): boolean {
    return kind === 'serial';
  }

  /** Keys and movements, where it takes any. */
  protected did(_input: MachineInput): void {
    return;
  }

  #take(input: MachineInput): void {
    const units = input.kind === 'serial' ? input.bytes.length : 1;
    this.#heard[input.kind] = (this.#heard[input.kind] ?? 0) + units;
    if (input.kind === 'serial') this.typed(input.bytes);
    else if (input.kind !== 'flush') this.did(input);
  }

  get #stamp(): { instructions: bigint; timeNs: bigint } {
    const { instructions } = this;
    return { instructions, timeNs: instructions * instructionNs };
  }

  keepLog(on: boolean): void {
    this.#log = on ? (this.#log ?? []) : undefined;
  }

  takeLog(): LoggedInput[] {
    return this.#log?.splice(0) ?? [];
  }

  follow(): 'limit' | 'end' {
    while (this.#ahead[0]?.entry.instructions === this.instructions) {
      const { entry, next } = this.#ahead.shift()!;
      this.#again(entry, next);
    }
    if (this.instructions >= this.#to) return 'end';
    this.step();
    return 'limit';
  }

  #again({ input, number }: LoggedInput, next: number): void {
    if (number !== (this.#heard[input.kind] ?? 0))
      throw new Error('the log does not go on from this snapshot');
    // Whoever only repeats a log has not got the snapshots of it.
    if (input.kind === 'flush' && next > 0) this.#cut(next);
    else this.#take(input);
  }

  further({ log, next, to }: Further): void {
    for (const entry of log) this.#ahead.push({ entry, next });
    this.#to = to;
  }

  #cut(cut: number): void {
    this.#changed.push({ cut, pages: [...this.#dirty] });
    this.#changed = this.#changed.slice(-maxCuts);
    const snapshot = this.snapshot();
    this.#cuts.push({ cut, memory: this.#memorySums(), ...sumsOf(snapshot) });
  }

  #memorySums(): Record<string, Uint32Array> {
    const page = (index: number): Uint8Array => this.read(index * pageBytes, pageBytes);
    return { ram: Uint32Array.from({ length: this.pages }, (_, index) => sumOf(page(index))) };
  }

  sums(): Omit<Cut, 'cut'> {
    return { rest: '', pages: {}, memory: this.#memorySums() };
  }

  cuts(): Cut[] {
    return this.#cuts.splice(0);
  }

  leads(since: number | undefined): void {
    const behind = this.#changed.filter(({ cut }) => since !== undefined && cut > since);
    for (const page of behind.flatMap(({ pages }) => pages)) this.#dirty.add(page);
    if (since === undefined || this.#changed.length === maxCuts) this.#full = true;
  }

  snapshot(): MachineSnapshot {
    const full = this.#full;
    const changed = full ? Array.from({ length: this.pages }, (_, page) => page) : [...this.#dirty];
    const indexes = Uint32Array.from(changed).sort();
    const bytes = new Uint8Array(indexes.length * pageBytes);
    indexes.forEach((page, i) => bytes.set(this.read(page * pageBytes, pageBytes), i * pageBytes));
    this.#full = false;
    this.#dirty.clear();
    const flush = { kind: 'flush' } as const;
    this.#log?.push({ ...this.#stamp, number: this.#heard.flush ?? 0, input: flush });
    this.#take(flush);
    return {
      description: this.#description,
      cpus: [],
      devices: {
        [consoleDevice]: {
          version: 1,
          state: { written: this.#written, heard: this.#heard.serial ?? 0, did: { ...this.#heard } },
        },
      },
      instructions: this.instructions,
      virtualTimeNs: this.instructions * instructionNs,
      spaces: [{ name: 'ram', pageSize: pageBytes, pageCount: this.pages, full, indexes, bytes }],
    };
  }

  screen(): undefined {
    return undefined;
  }

  outputs(): StampedOutput[] {
    if (this.#output === '') return [];
    const bytes = Uint8Array.from(Buffer.from(this.#output, 'latin1'));
    this.#output = '';
    const number = this.#written - bytes.length;
    return [{ ...this.#stamp, number, output: { kind: 'serial', port: 0, bytes } }];
  }
}
