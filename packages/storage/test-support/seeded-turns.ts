/** Everything on a store takes its time, in an order that a seed gives, so that what runs side by side meets in every way. */
import type { ObjectStore } from '../src/store/object-store.ts';
import { seededRandom } from './guest.ts';

export class SeededTurns {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** Lets others go first, a few times or not at all. */
  async turn(): Promise<void> {
    for (let n = Math.floor(this.random() * 6); n > 0; n--) await Promise.resolve();
  }

  /** The store, each of whose operations takes turns before and after. After so many `steps` it fails: whoever uses it ends in the midst of things. */
  through(inner: ObjectStore, steps = Infinity): ObjectStore {
    return new Proxy(inner, {
      get: (store, name) => {
        const member: unknown = Reflect.get(store, name, store);
        if (typeof member !== 'function') return member;
        return async (...given: unknown[]) => {
          await this.turn();
          if (steps-- <= 0) throw new Error('ended');
          const answer: unknown = await (member as (...all: unknown[]) => unknown).apply(store, given);
          await this.turn();
          return answer;
        };
      },
    });
  }
}
