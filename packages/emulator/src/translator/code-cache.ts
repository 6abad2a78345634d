/**
 * The live regions: their slots in the function table, and which of them go when there are too many. A region writes the clock's
 * value into the head record by which it is entered, so the cache knows without counting executions which have long not been entered.
 */
import { Machine, Record, Region, SpecialHandler } from '../cpu/layout.ts';

/** Bounds of what is kept; when one is reached, the regions that have not been entered for longest go, until half of it is free. */
export interface CodeBounds {
  /** Live regions, each a WebAssembly module of its own. */
  modules: number;
  /** Of their WebAssembly; machine code and V8's own records come on top. */
  bytes: number;
}

export const defaultBounds: CodeBounds = { modules: 4000, bytes: 64 * 2 ** 20 };

/** Slots of the table are 16-bit numbers in the records. */
const slotLimit = 0xfff0;
const growth = 256;

/** A live region. */
export interface LiveRegion {
  /** Of its function. */
  readonly slot: number;
  /** Key of its page in the cache. */
  readonly page: number;
  /** First records of its blocks in its entries' page, and how many instructions these have. */
  readonly blocks: ReadonlySet<number>;
  readonly instructions: number;
  /** Head records of its entries. */
  readonly heads: readonly number[];
  /** Of its WebAssembly. */
  readonly bytes: number;
}

/** What has been translated of a page in one mode. */
export interface TranslatedPage {
  made: number;
  regions: LiveRegion[];
}

export class CodeCache {
  readonly #view: DataView;
  readonly #handlers: WebAssembly.Table;
  readonly #bounds: CodeBounds;
  readonly #pages = new Map<number, TranslatedPage>();
  readonly #firstSlot: number;
  #nextSlot: number;
  #freeSlots: number[] = [];
  /** Live regions and the bytes of their WebAssembly, those included whose code changed since their page was last looked at. */
  modules = 0;
  bytes = 0;
  /** Regions that went because a bound was reached. */
  evicted = 0;

  constructor(view: DataView, handlers: WebAssembly.Table, bounds: Partial<CodeBounds> = {}) {
    this.#view = view;
    this.#handlers = handlers;
    this.#bounds = { ...defaultBounds, ...bounds };
    this.#firstSlot = handlers.length;
    this.#nextSlot = this.#firstSlot;
  }

  /** The page's record, with those of its regions that can still be entered. */
  page(key: number): TranslatedPage {
    const page = this.#pages.get(key) ?? { made: 0, regions: [] };
    this.#pages.set(key, page);
    for (const region of [...page.regions]) if (this.#lastEntered(region) < 0) this.remove(region);
    return page;
  }

  /** Whether a region more would go over a bound. */
  get isFull(): boolean {
    const slots = this.#nextSlot - this.#firstSlot - this.#freeSlots.length;
    const { modules, bytes } = this.#bounds;
    return this.modules >= modules || this.bytes >= bytes || this.#firstSlot + slots >= slotLimit;
  }

  /** Starts a new generation: what is entered from now on is younger than all before. */
  tick(): void {
    this.#view.setUint32(Region.machine + Machine.regionClock, (this.#clock + 1) >>> 0, true);
  }

  get #clock(): number {
    return this.#view.getUint32(Region.machine + Machine.regionClock, true);
  }

  /** A slot for the function of a new region. */
  takeSlot(): number {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    if (slot >= this.#handlers.length) this.#handlers.grow(growth);
    return slot;
  }

  /** Makes the region's entries enter it: `nodes` are the numbers of their blocks, one for each of its heads. */
  add(region: LiveRegion, nodes: readonly number[]): void {
    region.heads.forEach((head, i) => {
      this.#view.setUint16(head + Record.handler, region.slot, true);
      this.#view.setUint32(head + Record.displacement, nodes[i] ?? 0, true);
      this.#view.setUint32(head + Record.entered, this.#clock, true);
    });
    const page = this.page(region.page);
    page.made++;
    page.regions.push(region);
    this.modules++;
    this.bytes += region.bytes;
  }

  /** Lets a region go: its entries count from the start again, its slot is free. No vCPU may be inside. */
  remove(region: LiveRegion): void {
    for (const head of region.heads) if (this.#enters(head, region)) this.count(head, this.threshold);
    this.#handlers.set(region.slot, null);
    this.#freeSlots.push(region.slot);
    const regions = this.#pages.get(region.page)?.regions ?? [];
    regions.splice(regions.indexOf(region), 1);
    this.modules--;
    this.bytes -= region.bytes;
  }

  /** Lets the regions go that can't be entered any more, then those entered longest ago, until `part` of each bound is used at most. */
  evict(part = 0.5): void {
    const ages = new Map<LiveRegion, number>();
    for (const page of this.#pages.values())
      for (const region of page.regions) ages.set(region, this.#lastEntered(region));
    const { modules, bytes } = this.#bounds;
    for (const [region, age] of [...ages].sort(([, a], [, b]) => a - b)) {
      if (age >= 0) {
        if (this.modules <= modules * part && this.bytes <= bytes * part) break;
        this.evicted++;
      }
      this.remove(region);
    }
    for (const [key, page] of this.#pages) if (page.regions.length === 0) this.#pages.delete(key);
  }

  /** Forgets everything; the core has dropped the records. */
  clear(): void {
    this.#pages.clear();
    for (let slot = this.#firstSlot; slot < this.#nextSlot; slot++) this.#handlers.set(slot, null);
    this.#nextSlot = this.#firstSlot;
    this.#freeSlots = [];
    this.modules = 0;
    this.bytes = 0;
  }

  /** Makes the head record count so many entries from now on. */
  count(head: number, entries: number): void {
    this.#view.setUint16(head + Record.handler, SpecialHandler.head, true);
    this.#view.setBigInt64(head + Record.displacement, BigInt(entries), true);
  }

  /** Entries that make a block hot. */
  get threshold(): number {
    return this.#view.getUint32(Region.machine + Machine.hotThreshold, true);
  }

  #enters(head: number, region: LiveRegion): boolean {
    return this.#view.getUint16(head + Record.handler, true) === region.slot;
  }

  /** The clock at its last entry; -1 when none of its heads leads to it any more, since code of its page changed. */
  #lastEntered(region: LiveRegion): number {
    const heads = region.heads.filter((head) => this.#enters(head, region));
    return Math.max(-1, ...heads.map((head) => this.#view.getUint32(head + Record.entered, true)));
  }
}
