/** The writer's numbering of packs, which of them the last committed checkpoint reaches, and which contents they hold. */
import { insist } from '../insist.ts';
import { PageIndex } from './page-index.ts';
import { firstPack, type PageMap } from './page-map.ts';
import type { PackRef } from './pack.ts';

export class PackTable {
  readonly refs: Map<number, PackRef>;
  /** How many pages of the last committed checkpoint are in each pack. */
  readonly #uses: Map<number, number>;
  /** Contents by hash. May name packs that are no longer live: check. */
  index: PageIndex;
  #next: number;

  /**
   * @param uses as `uses` of the table before, brought up to date by `move`; counted anew without
   * @param next as `next` of the table before: `index` may still name packs that are gone, so their numbers must not come back
   */
  constructor(
    refs: Map<number, PackRef>,
    maps: readonly PageMap[],
    index = new PageIndex(),
    uses: Map<number, number> = countUses(maps),
    next = firstPack,
  ) {
    this.#uses = uses;
    this.refs = new Map([...refs].filter(([number]) => uses.has(number)));
    this.index = index;
    this.#next = Math.max(next - 1, ...refs.keys()) + 1;
    this.#prune();
  }

  /** True of packs that the last committed checkpoint reaches. Only these may be shared with (see collect.ts). */
  isLive(pack: number): boolean {
    return this.#uses.has(pack);
  }

  /** Pages by pack, to be changed by `move` and passed on. */
  get uses(): Map<number, number> {
    return this.#uses;
  }

  /** A page goes from one pack to another. */
  move(from: number, to: number): void {
    if (from >= firstPack) {
      const left = (this.#uses.get(from) ?? 0) - 1;
      insist(left >= 0, 'a page left a pack in which none was');
      if (left > 0) this.#uses.set(from, left);
      else this.#uses.delete(from);
    }
    if (to >= firstPack) this.#uses.set(to, (this.#uses.get(to) ?? 0) + 1);
  }

  /** All numbers from this one on were never used. */
  get next(): number {
    return this.#next;
  }

  /** A number never used before. */
  nextNumber(): number {
    return this.#next++;
  }

  #prune(): void {
    let pages = 0;
    for (const { pages: held } of this.refs.values()) pages += held;
    if (this.index.size > 2 * pages + 1024) this.index = this.index.filtered((pack) => this.isLive(pack));
  }
}

function countUses(maps: readonly PageMap[]): Map<number, number> {
  const uses = new Map<number, number>();
  for (const map of maps)
    for (let from = 0; from < map.packs.length;) {
      // Neighbouring pages mostly lie in one pack; a look-up for each would cost ten times the scan.
      const pack = map.packs[from]!;
      let to = from + 1;
      while (map.packs[to] === pack) to++;
      if (pack >= firstPack) uses.set(pack, (uses.get(pack) ?? 0) + to - from);
      from = to;
    }
  return uses;
}
