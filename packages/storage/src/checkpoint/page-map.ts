/**
 * Where each page of a space is (docs/CHECKPOINT_FORMAT.md, "Page map"): per page a pack and a slot in it.
 * Stored as runs of (first page, count, pack, first slot): pages that were written together lie in consecutive slots.
 */
import { StorageError } from '../errors.ts';
import { insist } from '../insist.ts';
import type { SpaceShape } from '../snapshot.ts';

/** The page is zero. */
export const packZero = 0;
/** The page is as in the space's base image. */
export const packBase = 1;
/** Pack numbers in maps begin here: the entry `n` of the pack table is `n + firstPack`. */
export const firstPack = 2;
const runWords = 4;

export interface MapSpace extends SpaceShape {
  /** Name of the base image below this space. */
  base?: string;
}

/** Changed pages of one space, ascending. */
export interface PageChanges {
  indexes: Uint32Array;
  packs: Uint32Array;
  slots: Uint32Array;
}

export class PageMap {
  readonly space: MapSpace;
  readonly packs: Uint32Array;
  readonly slots: Uint32Array;

  constructor(space: MapSpace, from?: PageMap) {
    this.space = space;
    this.packs = from === undefined ? new Uint32Array(space.pageCount) : from.packs.slice();
    this.slots = from === undefined ? new Uint32Array(space.pageCount) : from.slots.slice();
    // Memory that nobody writes to takes none: a space may claim to be far larger than what its checkpoint holds.
    if (from === undefined && this.background !== 0) this.packs.fill(this.background);
  }

  /** What pages are that no run of a full map names. */
  get background(): number {
    return this.space.base === undefined ? packZero : packBase;
  }

  /** @param moved told of each page's pack before and after. */
  apply(changes: PageChanges, moved?: (from: number, to: number) => void): void {
    for (const [i, index] of changes.indexes.entries()) {
      moved?.(this.packs[index]!, changes.packs[i]!);
      this.packs[index] = changes.packs[i]!;
      this.slots[index] = changes.slots[i]!;
    }
  }

  /** All pages that differ from the background. */
  everything(): PageChanges {
    const { background } = this;
    let count = 0;
    for (const pack of this.packs) if (pack !== background) count++;
    const changes = emptyChanges(count);
    let at = 0;
    for (let page = 0; page < this.packs.length; page++) {
      if (this.packs[page] === background) continue;
      changes.indexes[at] = page;
      changes.packs[at] = this.packs[page]!;
      changes.slots[at] = this.slots[page]!;
      at++;
    }
    return changes;
  }

  /** Pages that are not zero, ascending; with a base image, pages of the base count as not zero. */
  present(): Uint32Array {
    let count = 0;
    for (const pack of this.packs) if (pack !== packZero) count++;
    const pages = new Uint32Array(count);
    let at = 0;
    for (let page = 0; page < this.packs.length; page++)
      if (this.packs[page] !== packZero) pages[at++] = page;
    return pages;
  }
}

export function emptyChanges(count: number): PageChanges {
  return { indexes: new Uint32Array(count), packs: new Uint32Array(count), slots: new Uint32Array(count) };
}

/** Runs as little-endian words, of a map of this space. `numberOf` gives a pack's number in the manifest's own table. */
export function encodeRuns(
  { name, pageCount, base }: MapSpace,
  { indexes, packs, slots }: PageChanges,
  numberOf: (pack: number) => number,
): Uint8Array {
  const words: number[] = [];
  let end = 0;
  for (let from = 0; from < indexes.length;) {
    const pack = packs[from]!;
    insist(indexes[from]! >= end, `a page of ${name} is named twice, or out of order`);
    insist(pack !== packBase || base !== undefined, `a page of ${name} is said to be as in a base image`);
    const step = pack >= firstPack ? 1 : 0;
    let to = from + 1;
    while (
      to < indexes.length &&
      packs[to] === pack &&
      indexes[to] === indexes[from]! + (to - from) &&
      slots[to] === slots[from]! + (to - from) * step
    )
      to++;
    end = indexes[to - 1]! + 1;
    insist(end <= pageCount, `page ${String(end - 1)} of ${name} is behind its end`);
    words.push(indexes[from]!, to - from, pack >= firstPack ? numberOf(pack) : pack, slots[from]!);
    from = to;
  }
  const bytes = Buffer.alloc(words.length * 4);
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, i * 4);
  return bytes;
}

/**
 * Applies stored runs to a map.
 * @param packOf the reader's own number for a pack of the manifest's table.
 * @throws StorageError `STATE_INVALID` for runs out of range.
 */
export function applyRuns(
  map: PageMap,
  runs: Uint8Array,
  packOf: (number: number) => number | undefined,
): void {
  const invalid = (): StorageError =>
    new StorageError('STATE_INVALID', `the page map of ${map.space.name} is inconsistent`);
  if (runs.length % (runWords * 4) !== 0) throw invalid();
  const view = new DataView(runs.buffer, runs.byteOffset, runs.length);
  let end = 0;
  for (let at = 0; at < runs.length; at += runWords * 4) {
    const first = view.getUint32(at, true);
    const count = view.getUint32(at + 4, true);
    const number = view.getUint32(at + 8, true);
    const slot = view.getUint32(at + 12, true);
    const pack = number >= firstPack ? packOf(number) : number;
    // Ascending, so that all runs together cost no more than the map has pages.
    if (pack === undefined || count === 0 || first < end || first + count > map.packs.length) throw invalid();
    end = first + count;
    if (pack === packBase && map.space.base === undefined) throw invalid();
    map.packs.fill(pack, first, first + count);
    const step = pack >= firstPack ? 1 : 0;
    for (let i = 0; i < count; i++) map.slots[first + i] = slot + i * step;
  }
}
