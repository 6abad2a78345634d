/** The simulated network: loss, duplication, delay, and cuts in one or both directions. */
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export class SimNetwork {
  /** `from>to` */
  readonly cuts = new Set<string>();
  loss = 0;
  duplication = 0;
  slow = 0;
  readonly #scheduler: Scheduler;
  readonly #random: Random;

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  send(from: string, to: string, deliver: () => void): void {
    const random = this.#random;
    if (this.cuts.has(`${from}>${to}`) || (this.loss > 0 && random.chance(this.loss))) return;
    const delay = (): number =>
      this.slow > 0 && random.chance(this.slow) ? random.between(50, 3000) : random.between(0.2, 4);
    // What is on its way when a cut begins still arrives.
    this.#scheduler.after(delay(), deliver);
    if (this.duplication > 0 && random.chance(this.duplication)) this.#scheduler.after(delay(), deliver);
  }
}
