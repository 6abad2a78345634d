/**
 * Whether a standby's machine is what its owner's is. At each checkpoint of the owner both sum their state (state-sums.ts): the owner what
 * changed, the standby all of its memory. What did not change must have the sum that it had; what did, the owner's. A plain object.
 */
import type { PageSums, StateSums } from './state-sums.ts';

/** A standby's state at the instant of one of its owner's checkpoints. */
export interface Cut {
  /** The number of the next entry of the log. */
  cut: number;
  rest: string;
  /** By space: every page of memory; undefined: not all were summed this time, as that takes long. */
  memory: Record<string, Uint32Array> | undefined;
  /** By space: pages that changed. */
  pages: StateSums['pages'];
}

/** What the owner says of one of its checkpoints. */
export interface OwnSums extends StateSums {
  cut: number;
  before: number;
  /** Null: it never became durable. */
  checkpoint: string | null;
}

/** Of several of its checkpoints, one after the other, as of the last. */
interface WaitingSums extends OwnSums {
  /** What changed before that one alone. */
  latest: StateSums['pages'];
}

/** `same`, `unknown` (something to compare with is missing) or what differs, in words. */
export type Verdict = 'same' | 'unknown' | { differs: string };

/** Cuts that wait for what the owner says of them; the oldest go, and are not compared. */
const maxCuts = 16;
/** Sums of the owner that wait until the standby gets there; the oldest are joined, and compared at the later one. */
const maxSums = 32;

export class Comparison {
  /** Of memory, what every page should sum to at `#at`; undefined: not known, so that the next full sums are believed. */
  #expected: Map<string, Uint32Array> | undefined;
  #at: number;
  #cuts: Cut[] = [];
  #sums: WaitingSums[] = [];
  #checked: string | null;

  /** @param base the state that it began with, which is that of `checkpoint` */
  constructor(base: Cut, checkpoint: string) {
    this.#at = base.cut;
    this.#checked = checkpoint;
    this.#expected = base.memory && new Map(Object.entries(base.memory));
  }

  /** The last checkpoint at which both were found alike. */
  get checked(): string | null {
    return this.#checked;
  }

  /** The standby came to a checkpoint of its owner. @returns what was found to differ, if anything was */
  cut(cut: Cut): string | undefined {
    this.#cuts.push(cut);
    if (this.#cuts.length > maxCuts) this.#cuts.shift();
    return this.#compare();
  }

  /** The owner said what its checkpoint is. @returns as `cut` does */
  said(sums: OwnSums): string | undefined {
    if (sums.cut <= this.#at) return undefined;
    this.#sums.push({ ...sums, latest: sums.pages });
    const [first, second] = this.#sums;
    if (this.#sums.length > maxSums && first !== undefined && second !== undefined)
      this.#sums.splice(0, 2, joined(first, second));
    return this.#compare();
  }

  #compare(): string | undefined {
    for (;;) {
      const sums = this.#sums[0];
      const [newest] = this.#cuts.slice(-1);
      if (sums === undefined || newest === undefined || newest.cut < sums.cut) return undefined;
      const cut = this.#cuts.find((each) => each.cut === sums.cut);
      this.#sums.shift();
      this.#cuts = this.#cuts.filter((each) => each.cut > sums.cut);
      // That cut is not kept any more: what is said of it counts for the next.
      if (cut === undefined) {
        this.#sums.unshift(...this.#sums.splice(0, 1).map((next) => joined(sums, next)));
        if (this.#sums.length === 0) return this.#skip(sums);
        continue;
      }
      const verdict = this.#verdict(sums, cut);
      if (typeof verdict === 'object') return verdict.differs;
      if (verdict === 'same' && sums.checkpoint !== null) this.#checked = sums.checkpoint;
    }
  }

  /** Believes the owner. */
  #skip(sums: OwnSums): undefined {
    if (sums.before !== this.#at) this.#expected = undefined;
    this.#at = sums.cut;
    for (const [space, each] of Object.entries(sums.pages)) {
      const expected = this.#expected?.get(space);
      if (expected !== undefined) put(expected, each);
    }
  }

  #verdict(sums: WaitingSums, cut: Cut): Verdict {
    // What changed in between was not said: what is there now is believed, and compared from now on.
    if (sums.before !== this.#at) this.#expected = undefined;
    this.#at = sums.cut;
    if (sums.rest !== cut.rest) return { differs: 'processor or devices' };
    const known = this.#expected;
    if (known === undefined) {
      this.#expected = cut.memory && new Map(Object.entries(cut.memory));
      return 'unknown';
    }
    for (const [space, { indexes, sums: pages }] of Object.entries(sums.pages)) {
      const expected = known.get(space);
      if (expected !== undefined) put(expected, { indexes, sums: pages });
      else {
        const difference = ofDisk(space, sums.latest[space], cut.pages[space]);
        if (difference !== undefined) return { differs: difference };
      }
    }
    return ofMemory(known, cut) ?? 'same';
  }
}

function put(expected: Uint32Array, { indexes, sums }: PageSums): void {
  indexes.forEach((page, i) => (expected[page] = sums[i] ?? 0));
}

/** What an owner says of two of its checkpoints, one after the other, as of one. */
function joined(first: WaitingSums, second: WaitingSums): WaitingSums {
  const pages: OwnSums['pages'] = { ...first.pages };
  for (const [space, { indexes, sums }] of Object.entries(second.pages)) {
    const all = new Map(
      Array.from(first.pages[space]?.indexes ?? [], (page, i) => [page, first.pages[space]!.sums[i]!]),
    );
    indexes.forEach((page, i) => all.set(page, sums[i] ?? 0));
    const sorted = [...all].sort(([a], [b]) => a - b);
    pages[space] = {
      indexes: Uint32Array.from(sorted, ([page]) => page),
      sums: Uint32Array.from(sorted, ([, sum]) => sum),
    };
  }
  // With a gap between them the state before is unknown.
  return { ...second, before: second.before === first.cut ? first.before : second.before, pages };
}

/** Of a disk nobody sums what did not change since the checkpoint before: what did before that one is not compared any more. */
function ofDisk(space: string, owner: PageSums | undefined, own: PageSums | undefined): string | undefined {
  if (owner === undefined) return undefined;
  const sums = new Map(Array.from(own?.indexes ?? [], (page, i) => [page, own?.sums[i]]));
  const page = owner.indexes.find((each, i) => sums.get(each) !== owner.sums[i]);
  return page === undefined ? undefined : `page ${String(page)} of ${space}`;
}

function ofMemory(expected: ReadonlyMap<string, Uint32Array>, cut: Cut): Verdict | undefined {
  for (const [space, wanted] of expected) {
    const whole = cut.memory?.[space];
    const changed = cut.pages[space];
    let page: number | undefined;
    if (whole !== undefined) page = wanted.findIndex((sum, each) => sum !== whole[each]);
    else page = changed?.indexes.find((each, i) => wanted[each] !== changed.sums[i]);
    if (page !== undefined && page >= 0) return { differs: `page ${String(page)} of ${space}` };
  }
  return undefined;
}
