/** A host whose clock and randomness are seeded: sleeping takes no time, in the right order. */
import type { StorageHost } from '../src/host.ts';
import { seededRandom } from './guest.ts';

interface Sleeper {
  at: number;
  order: number;
  wake: () => void;
}

export class FakeHost implements StorageHost {
  readonly uniform: () => number;
  #now = 0;
  #order = 0;
  #sleepers: Sleeper[] = [];
  #pumping = false;

  constructor(seed: number) {
    this.uniform = seededRandom(seed);
  }

  random(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => Math.floor(this.uniform() * 256));
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((wake) => {
      this.#sleepers.push({ at: this.#now + ms, order: this.#order++, wake });
      this.#pump();
    });
  }

  monotonicMs(): number {
    return this.#now;
  }

  wallClockMs(): number {
    return 1_700_000_000_000 + this.#now;
  }

  /** When everything else waits, time jumps to the next sleeper. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#sleepers.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#sleepers.shift();
      if (next === undefined) return;
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      if (this.#sleepers.length > 0) this.#pump();
    });
  }
}
