/**
 * A guest for tests and demos: it computes a chain of digests, `step N digest`, where each depends on all before. Its whole
 * state lies in one page of its RAM, so that it comes back from checkpoints only. One "instruction" is one round of SHA-256.
 */
import { createHash } from 'node:crypto';
import { pageBytes, ToyGuest } from './toy-guest.ts';
import type { Guest, GuestStart } from './vm-runtime.ts';

const pageCount = 64;
const digestBytes = 32;
const roundsPerStep = 64;

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

export const chainStart = '0'.repeat(64);

/** The digest of a step from the one before; `step` counts from 1. */
export function chainDigest(before: string, step: number): string {
  return createHash('sha256')
    .update(`${before} ${String(step)}\n`)
    .digest('hex');
}

class ChainGuest extends ToyGuest {
  readonly #description: ChainDescription;
  #nextAt = 0;

  constructor(start: GuestStart) {
    super({ machine: 'chain', cpu: 'sha256', pages: pageCount, start });
    this.#description = (start.description ?? {}) as ChainDescription;
    if (start.snapshot === undefined) this.#note(0, chainStart);
  }

  #note(step: number, digest: string): void {
    this.writeU32(0, step);
    this.write(4, Buffer.from(digest, 'hex'));
    // A second, wandering page, so that checkpoints differ in more than one place.
    const page = 1 + (step % (pageCount - 1));
    this.writeU32(page * pageBytes, step);
  }

  run(): 'limit' | 'idle' {
    if (performance.now() < this.#nextAt) return 'idle';
    this.step();
    this.#nextAt = performance.now() + (this.#description.stepMs ?? 2);
    return 'limit';
  }

  protected step(): void {
    const step = this.readU32(0) + 1;
    if (step === this.#description.crashAt) throw new Error(`the chain guest broke at step ${String(step)}`);
    if (step === this.#description.hangAt) for (;;);
    const digest = chainDigest(Buffer.from(this.read(4, digestBytes)).toString('hex'), step);
    this.instructions += BigInt(roundsPerStep);
    this.#note(step, digest);
    if (step < (this.#description.silentAt ?? Infinity)) this.say(`step ${String(step)} ${digest}\n`);
  }

  protected typed(bytes: Uint8Array): void {
    this.say(Buffer.from(bytes).toString('latin1'));
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new ChainGuest(start));
}
