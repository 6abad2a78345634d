/**
 * Reads pages out of packs: heads and recent pages are cached, neighbouring pages are read in one request, and every page
 * is checked against the hash that the head names.
 */
import { isStorageError, StorageError } from '../errors.ts';
import type { CheckpointKey } from '../encryption.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { pageHashBytes, storedRaw } from './page-codec.ts';
import { packsPrefix } from './keys.ts';
import type { PagePool } from './page-pool.ts';
import { parsePackHead, slotHash, type PackHead, type PackRef } from './pack.ts';

export interface PackReaderOptions {
  store: ObjectStore;
  /** Key prefix of the packs that name no other VM. */
  prefix: string;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  /** Decoded pages kept. Default 32 MiB. */
  cacheBytes?: number | undefined;
  /** Gaps up to this are read rather than skipped, and so much is read ahead of a lone page. Default 64 KiB. */
  readAheadBytes?: number | undefined;
}

/** Heads kept. A head has 40 bytes a page, so those of a whole VM take a hundredth of its memory. */
const maxHeads = 8192;
/** Above this share of a pack, it is read whole. */
const wholeShare = 0.5;

/** Packs up to this are fetched whole, head and pages in one request. */
const smallPackBytes = 128 << 10;

interface Range {
  start: number;
  end: number;
  slots: number[];
}

export class PackReader {
  readonly #options: PackReaderOptions;
  readonly #heads = new Map<string, Promise<PackHead>>();
  readonly #pages = new Map<string, Uint8Array>();
  #cachedBytes = 0;

  constructor(options: PackReaderOptions) {
    this.#options = options;
  }

  /** The checked head of a pack. */
  async head(ref: PackRef): Promise<PackHead> {
    const known = this.#heads.get(ref.name);
    if (known !== undefined) return known;
    const loading = this.#loadHead(ref);
    this.#heads.set(ref.name, loading);
    loading.catch(() => this.#heads.delete(ref.name));
    if (this.#heads.size > maxHeads) this.#heads.delete(this.#heads.keys().next().value!);
    return loading;
  }

  /**
   * Pages in slots of one pack, in the order of `slots`, each `ref.pageSize` bytes.
   * @param bulk they are wanted once, and at once: nothing is kept, and no neighbours are decoded.
   * @throws StorageError `CHECKPOINT_DAMAGED` with the pack's name; StoreError when the store fails.
   */
  async read(ref: PackRef, slots: readonly number[], bulk = false): Promise<Uint8Array[]> {
    const found = slots.map((slot) => this.#cached(ref, slot));
    const missing = slots.filter((_, i) => found[i] === undefined);
    if (missing.length > 0) {
      const wanted = [...new Set(missing)].sort((a, b) => a - b);
      const loaded = await twice(() => this.#load(ref, wanted, bulk));
      for (const [i, slot] of slots.entries()) found[i] ??= loaded.get(slot);
    }
    return found as Uint8Array[];
  }

  #keyOf({ vm, name }: PackRef): string {
    return (vm === undefined ? this.#options.prefix : packsPrefix(vm)) + name;
  }

  async #loadHead(ref: PackRef): Promise<PackHead> {
    const name = this.#keyOf(ref);
    const bytes = await this.#options.store.getRange(name, 0, ref.headBytes);
    if (bytes === undefined) throw new StorageError('CHECKPOINT_DAMAGED', `${name}: the pack is missing`);
    return parsePackHead(name, ref, bytes, this.#options.key);
  }

  async #fetchSmall(ref: PackRef): Promise<{ head: PackHead; bytes: Uint8Array }> {
    const name = this.#keyOf(ref);
    const bytes = await this.#fetch(ref, { start: 0, end: ref.bytes, slots: [] });
    const head = parsePackHead(name, ref, bytes, this.#options.key);
    this.#heads.set(ref.name, Promise.resolve(head));
    return { head, bytes };
  }

  async #load(ref: PackRef, slots: number[], bulk: boolean): Promise<Map<number, Uint8Array>> {
    const small =
      ref.bytes <= smallPackBytes && !this.#heads.has(ref.name) ? await this.#fetchSmall(ref) : undefined;
    const head = small?.head ?? (await this.head(ref));
    const count = head.lengths.length;
    if (slots.some((slot) => slot >= count))
      throw new StorageError('CHECKPOINT_DAMAGED', `${this.#keyOf(ref)}: the pack has no such page`);
    const loaded = new Map<number, Uint8Array>();
    const wanted = new Set(slots);
    for (const range of this.#ranges(head, slots, bulk)) {
      const { bytes, bad } = await this.#decode(
        head,
        range,
        small?.bytes.subarray(range.start, range.end) ?? (await this.#fetch(ref, range)),
      );
      for (const [i, slot] of range.slots.entries()) {
        // A damaged neighbour that nobody asked for is nobody's loss.
        if (bad.has(i) && wanted.has(slot)) throw this.#damagedPage(ref, slot);
        if (bad.has(i)) continue;
        const page = bytes.subarray(i * ref.pageSize, (i + 1) * ref.pageSize);
        loaded.set(slot, page);
        if (!bulk) this.#remember(ref, slot, page);
      }
    }
    return loaded;
  }

  /** Byte ranges that cover the slots. Unless in bulk, whole pages that a range covers anyway are decoded and kept too. */
  #ranges(head: PackHead, slots: number[], bulk: boolean): Range[] {
    const { offsets, lengths } = head;
    const endOf = (slot: number): number => offsets[slot]! + (lengths[slot]! & ~storedRaw);
    const all = bulk ? slots : Array.from({ length: lengths.length }, (_, slot) => slot);
    const wanted = slots.reduce((sum, slot) => sum + (lengths[slot]! & ~storedRaw), 0);
    if (wanted > wholeShare * (head.ref.bytes - head.ref.headBytes))
      return [{ start: offsets[0]!, end: head.ref.bytes, slots: all }];
    const ahead = this.#options.readAheadBytes ?? 65536;
    const ranges: Range[] = [];
    for (const slot of slots) {
      const last = ranges.at(-1);
      if (last !== undefined && offsets[slot]! - last.end <= ahead) last.end = endOf(slot);
      else ranges.push({ start: offsets[slot]!, end: endOf(slot), slots: [] });
    }
    const lone = ranges.length === 1 && slots.length === 1 ? ranges[0] : undefined;
    if (lone !== undefined)
      for (let next = slots[0]! + 1; next < all.length && endOf(next) - lone.start <= ahead; next++)
        lone.end = endOf(next);
    for (const range of ranges)
      range.slots = all.filter((slot) => offsets[slot]! >= range.start && endOf(slot) <= range.end);
    return ranges;
  }

  async #fetch(ref: PackRef, { start, end }: Range): Promise<Uint8Array> {
    const name = this.#keyOf(ref);
    const bytes = await this.#options.store.getRange(name, start, end - start);
    if (bytes === undefined) throw new StorageError('CHECKPOINT_DAMAGED', `${name}: the pack is missing`);
    if (bytes.length !== end - start)
      throw new StorageError('CHECKPOINT_DAMAGED', `${name}: the pack is torn`);
    return bytes;
  }

  async #decode(
    head: PackHead,
    range: Range,
    bytes: Uint8Array,
  ): Promise<{ bytes: Uint8Array; bad: Set<number> }> {
    const name = this.#keyOf(head.ref);
    const hashes = new Uint8Array(range.slots.length * pageHashBytes);
    const lengths = new Uint32Array(range.slots.length);
    const pieces: Uint8Array[] = [];
    for (const [i, slot] of range.slots.entries()) {
      const at = head.offsets[slot]! - range.start;
      const length = head.lengths[slot]!;
      let piece: Uint8Array = bytes.subarray(at, at + (length & ~storedRaw));
      // A piece that does not open decodes to nothing, and is reported as damaged below.
      if (head.key !== undefined) piece = head.key.open(slot, piece, name) ?? new Uint8Array(0);
      hashes.set(slotHash(head, slot), i * pageHashBytes);
      lengths[i] = (piece.length | (length & storedRaw)) >>> 0;
      pieces.push(piece);
    }
    const data = Buffer.concat(pieces);
    const decoded = await this.#options.pool.decode({ pageSize: head.ref.pageSize, hashes, lengths, data });
    return { bytes: decoded.bytes, bad: new Set(decoded.bad) };
  }

  #damagedPage(ref: PackRef, slot: number): StorageError {
    const name = this.#keyOf(ref);
    return new StorageError('CHECKPOINT_DAMAGED', `${name}: page ${String(slot)} of the pack is damaged`);
  }

  #cached(ref: PackRef, slot: number): Uint8Array | undefined {
    const name = `${ref.name}/${String(slot)}`;
    const page = this.#pages.get(name);
    if (page !== undefined) {
      // Insertion order is the order of last use.
      this.#pages.delete(name);
      this.#pages.set(name, page);
    }
    return page;
  }

  #remember(ref: PackRef, slot: number, page: Uint8Array): void {
    const limit = this.#options.cacheBytes ?? 32 << 20;
    if (limit === 0) return;
    const name = `${ref.name}/${String(slot)}`;
    if (this.#pages.has(name)) return;
    this.#pages.set(name, new Uint8Array(page));
    this.#cachedBytes += page.length;
    while (this.#cachedBytes > limit) {
      const [oldest, bytes] = this.#pages.entries().next().value!;
      this.#pages.delete(oldest);
      this.#cachedBytes -= bytes.length;
    }
  }
}

/** What seems damaged is read again before it is believed: the bit may have flipped on the way. */
async function twice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
    return read();
  }
}
