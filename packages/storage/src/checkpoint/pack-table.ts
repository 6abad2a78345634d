// The writer's numbering of packs, which of them the last committed checkpoint reaches, and which contents they hold.
import { PageIndex } from './page-index.ts';
import { FIRST_PACK, type PageMap } from './page-map.ts';
import type { PackRef } from './pack.ts';

export class PackTable {
  readonly refs: Map<number, PackRef>;
  /** Packs that the last committed checkpoint reaches. Only these may be shared with (see collect.ts). */
  readonly live: Set<number>;
  /** Contents by hash. May name packs that are no longer live: check. */
  index: PageIndex;
  #next: number;

  constructor(refs: Map<number, PackRef>, maps: readonly PageMap[], index = new PageIndex()) {
    this.live = new Set();
    let last = 0;
    for (const map of maps)
      for (const pack of map.packs) {
        // Neighbouring pages mostly lie in one pack; a set operation for each would cost ten times the scan.
        if (pack !== last && pack >= FIRST_PACK) this.live.add(pack);
        last = pack;
      }
    this.refs = new Map([...refs].filter(([number]) => this.live.has(number)));
    this.index = index;
    this.#next = Math.max(FIRST_PACK - 1, ...refs.keys()) + 1;
    this.#prune();
  }

  /** A number never used before. */
  nextNumber(): number {
    return this.#next++;
  }

  #prune(): void {
    let pages = 0;
    for (const { pages: held } of this.refs.values()) pages += held;
    if (this.index.size > 2 * pages + 1024) this.index = this.index.filtered((pack) => this.live.has(pack));
  }
}
