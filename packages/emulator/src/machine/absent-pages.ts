/**
 * Pages of RAM that have not come yet: a machine may go on before all of its memory is there. The core looks at PhysicalPage.missing in its
 * slow paths only (TLB fill, page tables, code, string operations); a page that is in a TLB is there. What the guest sees does not depend on
 * when a page comes.
 */
import { PhysicalPage, pageBytes } from '../cpu/layout.ts';

/** Where absent pages come from. */
export interface AbsentPages {
  /** Numbers of the pages of RAM that are not in the snapshot and not zero, ascending. */
  readonly indexes: Uint32Array;
  /** Contents of one of them, at once: 4096 bytes. What it throws ends the run. */
  read(page: number): Uint8Array;
}

/** Areas below 1 MiB change what lies behind them (PAM), so their pages are never absent. */
const firstAbsentPage = 0x10_0000 / pageBytes;

export class AbsentRam {
  readonly #map: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #ramBase: number;
  readonly #ramPages: number;
  #read: AbsentPages['read'] = () => new Uint8Array(pageBytes);
  /** How many are absent. */
  count = 0;

  /** `map` is Region.physicalMap. */
  constructor(parts: { map: Uint32Array; bytes: Uint8Array; ramBase: number; ramBytes: number }) {
    this.#map = parts.map;
    this.#bytes = parts.bytes;
    this.#ramBase = parts.ramBase;
    this.#ramPages = parts.ramBytes / pageBytes;
  }

  #isAbsent(page: number): boolean {
    return page < this.#ramPages && ((this.#map[page] ?? 0) & PhysicalPage.missing) !== 0;
  }

  set({ indexes, read }: AbsentPages): void {
    this.#read = read;
    for (const page of indexes) {
      if (page >= this.#ramPages || this.#isAbsent(page)) continue;
      this.#map[page] = ((this.#map[page] ?? 0) | PhysicalPage.missing) >>> 0;
      this.count++;
      if (page < firstAbsentPage) this.pageIn(page);
    }
  }

  #put(page: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#ramBase + page * pageBytes);
    this.#map[page] = ((this.#map[page] ?? 0) & ~PhysicalPage.missing) >>> 0;
    this.count--;
  }

  /** Fetches a page if it is absent. */
  pageIn(page: number): void {
    if (this.#isAbsent(page)) this.#put(page, this.#read(page));
  }

  pageInAll(): void {
    for (let page = 0; this.count > 0 && page < this.#ramPages; page++) this.pageIn(page);
  }

  /** Contents of pages, one after the other; those that are there already stay as they are. */
  deliver(indexes: Uint32Array, bytes: Uint8Array): void {
    indexes.forEach((page, n) => {
      if (this.#isAbsent(page)) this.#put(page, bytes.subarray(n * pageBytes, (n + 1) * pageBytes));
    });
  }

  /** No page is absent any more, whatever it holds. */
  clear(): void {
    for (let page = 0; this.count > 0 && page < this.#ramPages; page++) {
      if (!this.#isAbsent(page)) continue;
      this.#map[page] = ((this.#map[page] ?? 0) & ~PhysicalPage.missing) >>> 0;
      this.count--;
    }
  }
}
