/** The standby's side of a log: which entries it holds without a gap, and of them those that the store may not have. A plain object. */
import { insist, type LogEntry, type ReadEntry } from '@revenant/storage';
import type { StandbyFeed } from '../../protocol/standby.ts';

/** Of entries that only the owner and this standby have. An owner has fewer: its guest stands still when the store takes nothing. */
const maxHeldBytes = 16 << 20;

export interface Taken {
  /** New ones, in order. */
  fresh: ReadEntry[];
  /** Where entries are that are missing before those that came: they will be sent again, or are in the store. */
  missing: 'none' | 'owner' | 'store';
}

export class LogCopy {
  #next: number;
  #mark: bigint;
  /** The store may not have them. */
  #held: ReadEntry[] = [];
  #heldBytes = 0;
  #left = 0n;

  /** @param base the checkpoint that it goes on from: the number of the first entry that is not in it, and its count */
  constructor(base: { next: number; mark: bigint }) {
    this.#next = base.next;
    this.#mark = base.mark;
  }

  /** It holds all entries below this number. */
  get next(): number {
    return this.#next;
  }

  /** And knows that nothing else came in up to this count. */
  get mark(): bigint {
    return this.#mark;
  }

  /** What the guest said before this count was let out. */
  get left(): bigint {
    return this.#left;
  }

  /** Of the entries that it holds, those from this number on. */
  from(number: bigint): ReadEntry[] {
    return this.#held.filter(({ input }) => input >= number);
  }

  heard(feed: StandbyFeed): Taken {
    const fresh: ReadEntry[] = [];
    feed.entries.forEach(({ count, bytes }, i) => {
      if (feed.first + i === this.#next) fresh.push(this.#take({ count: BigInt(count), payload: bytes }));
    });
    if (feed.next === this.#next && BigInt(feed.mark) > this.#mark) this.#mark = BigInt(feed.mark);
    if (BigInt(feed.left) > this.#left) this.#left = BigInt(feed.left);
    this.#safe(feed.safe);
    if (this.#next >= feed.next) return { fresh, missing: 'none' };
    if (this.#next < feed.oldest) return { fresh, missing: 'store' };
    return { fresh, missing: feed.first > this.#next ? 'owner' : 'none' };
  }

  /** Entries that the store has, up to a count. @returns those that are new */
  read(entries: readonly ReadEntry[], to: bigint): ReadEntry[] {
    const fresh = entries.filter(({ input }) => Number(input) >= this.#next);
    const first = fresh[0];
    if (first !== undefined && Number(first.input) > this.#next) return [];
    for (const entry of fresh) {
      this.#next = Number(entry.input) + 1;
      this.#mark = entry.count;
    }
    if (to > this.#mark) this.#mark = to;
    return fresh;
  }

  #take(entry: LogEntry): ReadEntry {
    insist(
      entry.count >= this.#mark,
      `entry ${String(this.#next)} of the log comes before what is known already`,
    );
    const taken = { ...entry, input: BigInt(this.#next) };
    this.#next++;
    this.#mark = entry.count;
    this.#held.push(taken);
    this.#heldBytes += entry.payload.length;
    return taken;
  }

  #safe(next: number): void {
    let count = 0;
    for (const { input, payload } of this.#held) {
      if (Number(input) >= next) break;
      this.#heldBytes -= payload.length;
      count++;
    }
    this.#held = this.#held.slice(count);
  }

  /** More than an owner would ever make it hold: something is wrong. */
  get isTooMuch(): boolean {
    return this.#heldBytes > maxHeldBytes;
  }
}
