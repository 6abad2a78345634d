// A guest for tests and demos: it computes a chain of digests, `step N digest`, where each depends on all before. Its whole
// state lies in one page of its RAM, so that it comes back from checkpoints only. One "instruction" is one round of SHA-256.
import { createHash } from 'node:crypto';
import type { InputResult, MachineInput, StampedOutput } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import type { Guest, GuestStart } from './vm-runtime.ts';

const PAGE = 4096;
const PAGES = 64;
const ROUNDS_PER_STEP = 64;

export interface ChainDescription {
  /** Pause between steps, in milliseconds of host time. Default 2. */
  stepMs?: number;
  /** Stands still (as if hung) at this step. */
  hangAt?: number;
  /** Goes on without a word from this step on. */
  silentAt?: number;
  /** Breaks at this step, each time. */
  crashAt?: number;
}

export const CHAIN_START = '0'.repeat(64);

/** The digest of a step from the one before; `step` counts from 1. */
export function chainDigest(before: string, step: number): string {
  return createHash('sha256')
    .update(`${before} ${String(step)}\n`)
    .digest('hex');
}

class ChainGuest implements Guest {
  instructions = 0n;
  readonly #ram = new Uint8Array(PAGE * PAGES);
  readonly #dirty = new Set<number>([0]);
  readonly #description: ChainDescription;
  #full = true;
  #output = '';
  /** Since it started here. */
  #written = 0;
  #nextAt = 0;

  constructor({ description, snapshot }: GuestStart) {
    this.#description = (description ?? {}) as ChainDescription;
    if (snapshot === undefined) {
      this.#write(0, CHAIN_START);
      return;
    }
    const ram = snapshot.spaces.find(({ name }) => name === 'ram');
    ram?.indexes.forEach((page, i) =>
      this.#ram.set(ram.bytes.subarray(i * PAGE, (i + 1) * PAGE), page * PAGE),
    );
    this.instructions = snapshot.instructions;
  }

  #write(step: number, digest: string): void {
    const view = new DataView(this.#ram.buffer);
    view.setUint32(0, step, true);
    this.#ram.set(Buffer.from(digest, 'hex'), 4);
    // A second, wandering page, so that checkpoints differ in more than one place.
    const page = 1 + (step % (PAGES - 1));
    view.setUint32(page * PAGE, step, true);
    this.#dirty.add(0).add(page);
  }

  run(): 'limit' | 'idle' {
    if (performance.now() < this.#nextAt) return 'idle';
    const before = new DataView(this.#ram.buffer).getUint32(0, true);
    const step = before + 1;
    if (step === this.#description.crashAt) throw new Error(`the chain guest broke at step ${String(step)}`);
    if (step === this.#description.hangAt) for (;;);
    const digest = chainDigest(Buffer.from(this.#ram.subarray(4, 36)).toString('hex'), step);
    this.instructions += BigInt(ROUNDS_PER_STEP);
    this.#write(step, digest);
    if (step < (this.#description.silentAt ?? Infinity)) this.#output += `step ${String(step)} ${digest}\n`;
    this.#nextAt = performance.now() + (this.#description.stepMs ?? 2);
    return 'limit';
  }

  snapshot(): MachineSnapshot {
    const indexes = Uint32Array.from(
      this.#full ? Array.from({ length: PAGES }, (_, i) => i) : [...this.#dirty].sort((a, b) => a - b),
    );
    const bytes = new Uint8Array(indexes.length * PAGE);
    indexes.forEach((page, i) => bytes.set(this.#ram.subarray(page * PAGE, (page + 1) * PAGE), i * PAGE));
    const full = this.#full;
    this.#full = false;
    this.#dirty.clear();
    return {
      description: { machine: 'chain', cpu: { model: 'sha256' }, memoryBytes: PAGE * PAGES },
      cpus: [],
      devices: {},
      instructions: this.instructions,
      virtualTimeNs: this.instructions * 1000n,
      spaces: [{ name: 'ram', pageSize: PAGE, pageCount: PAGES, full, indexes, bytes }],
    };
  }

  input(input: MachineInput): InputResult {
    if (input.kind !== 'serial') return 'no-device';
    this.#output += Buffer.from(input.bytes).toString('latin1');
    return 'taken';
  }

  screen(): undefined {
    return undefined;
  }

  outputs(): StampedOutput[] {
    if (this.#output === '') return [];
    const bytes = Uint8Array.from(Buffer.from(this.#output, 'latin1'));
    this.#output = '';
    const { instructions } = this;
    const number = this.#written;
    this.#written += bytes.length;
    return [
      { instructions, timeNs: instructions * 1000n, number, output: { kind: 'serial', port: 0, bytes } },
    ];
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new ChainGuest(start));
}
