/** Pages of one space by number: from its packs, from the base image below it, or zero. */
import { StorageError } from '../errors.ts';
import { firstPack, packBase, packZero, type PageMap } from './page-map.ts';
import type { PackReader } from './pack-reader.ts';
import { slotHash, type PackRef } from './pack.ts';

/** Packs read at the same time: an S3 store answers in milliseconds, but to many at once. */
const readsAtOnce = 16;
/** From so many pages on, nobody waits for a single one of them. */
const bulkPages = 64;

export class PageSource {
  readonly map: PageMap;
  readonly #packs: Map<number, PackRef>;
  readonly #reader: PackReader;
  readonly #base: PageSource | undefined;

  constructor(map: PageMap, packs: Map<number, PackRef>, reader: PackReader, base?: PageSource) {
    this.map = map;
    this.#packs = packs;
    this.#reader = reader;
    this.#base = base;
  }

  /** Numbers of the pages that are not zero, ascending. */
  present(): Uint32Array {
    const { packs } = this.map;
    const pages: number[] = [];
    for (let page = 0; page < packs.length; page++) if (this.#nonZero(page)) pages.push(page);
    return Uint32Array.from(pages);
  }

  /** Numbers of the pages that are not as in the base image, ascending; some of them may be zero. Without a base: those not zero. */
  differing(): Uint32Array {
    const { packs, background } = this.map;
    const pages: number[] = [];
    for (let page = 0; page < packs.length; page++) if (packs[page] !== background) pages.push(page);
    return Uint32Array.from(pages);
  }

  /** True when the space has a base image. */
  get hasBase(): boolean {
    return this.#base !== undefined;
  }

  /**
   * Reads pages, in the order of `indexes`: `indexes.length * pageSize` bytes, each page checked.
   * @throws StorageError `CHECKPOINT_DAMAGED` by the name of the object; StoreError.
   */
  async read(indexes: Uint32Array): Promise<Uint8Array> {
    const { pageSize, name } = this.map.space;
    const bytes = new Uint8Array(indexes.length * pageSize);
    const byPack = new Map<number, { slots: number[]; at: number[] }>();
    const below: number[] = [];
    for (const [i, page] of indexes.entries()) {
      const pack = this.map.packs[page];
      if (pack === undefined) throw new StorageError('BAD_ARGUMENT', `${name} has no page ${String(page)}`);
      if (pack === packBase) below.push(i);
      if (pack < firstPack) continue;
      const group = byPack.get(pack) ?? { slots: [], at: [] };
      byPack.set(pack, group);
      group.slots.push(this.map.slots[page]!);
      group.at.push(i);
    }
    const bulk = indexes.length >= bulkPages;
    const groups = [...byPack];
    const readNext = async (): Promise<void> => {
      for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
        const [pack, { slots, at }] = group;
        const pages = await this.#reader.read(this.#ref(pack), slots, bulk);
        for (const [k, i] of at.entries()) bytes.set(pages[k]!, i * pageSize);
      }
    };
    await Promise.all(Array.from({ length: readsAtOnce }, readNext));
    await this.#readBase(indexes, below, bytes);
    return bytes;
  }

  /** The content hash of a page; undefined when it is zero. Reads heads of packs only. */
  async hashOf(page: number): Promise<Uint8Array | undefined> {
    const pack = this.map.packs[page];
    if (pack === undefined || pack === packZero) return undefined;
    if (pack === packBase) return this.#base?.hashOf(page);
    return slotHash(await this.#reader.head(this.#ref(pack)), this.map.slots[page]!);
  }

  /** True when the page is as in the base image, and not zero there. */
  isBase(page: number): boolean {
    return this.map.packs[page] === packBase && this.#nonZero(page);
  }

  async #readBase(indexes: Uint32Array, below: number[], bytes: Uint8Array): Promise<void> {
    const base = this.#base;
    if (base === undefined) return;
    const { pageSize } = this.map.space;
    // The space may be larger than its base: beyond it is zero.
    const inside = below.filter((i) => indexes[i]! < base.map.packs.length);
    if (inside.length === 0) return;
    const pages = await base.read(Uint32Array.from(inside, (i) => indexes[i]!));
    for (const [k, i] of inside.entries())
      bytes.set(pages.subarray(k * pageSize, (k + 1) * pageSize), i * pageSize);
  }

  #nonZero(page: number): boolean {
    const pack = this.map.packs[page];
    if (pack === packBase)
      return this.#base?.map.packs[page] !== undefined && this.#base.map.packs[page] !== packZero;
    return pack !== undefined && pack !== packZero;
  }

  #ref(pack: number): PackRef {
    const ref = this.#packs.get(pack);
    if (ref === undefined)
      throw new StorageError('CHECKPOINT_DAMAGED', `${this.map.space.name}: unknown pack`);
    return ref;
  }
}
