/**
 * Moments of a run, kept in memory so that the machine can go back to them: time travel within one process.
 *
 * A snapshot empties the write TLBs and says so in the log (input `flush`), because that can change what the guest sees. A bookmark leaves no
 * trace: it keeps the TLBs as they are. So bookmarks may be taken anywhere while a log is replayed, and the run is the same without them.
 */
import { Machine as MachineField, Region, Tlb, cpuBlockBytes, pageBytes } from '../cpu/layout.ts';
import type { DiskMark, DiskSpace } from './disk-space.ts';
import type { Engine } from './engine-interface.ts';
import type { KeptState, MachineState } from './machine-state.ts';
import type { MemoryMap } from './memory-map.ts';
import { PageVersions, samePage } from './page-versions.ts';
import { isZeroPage } from './snapshot.ts';
import type { Stops } from './stops.ts';

/** A moment that a machine can go back to: any number of times, until it is forgotten. */
export interface Bookmark {
  readonly instructions: bigint;
  readonly timeNs: bigint;
}

interface Kept extends Bookmark {
  /** Orders the moments of one run; instruction counts of a run are far below 2^53. */
  moment: number;
  state: KeptState;
  disks: DiskMark[];
  /** Parts of the linear memory, by address. */
  raw: Map<number, Uint8Array>;
  allMarked: boolean;
}

export interface BookmarkParts {
  map: MemoryMap;
  disks: readonly DiskSpace[];
  state: MachineState;
  engine: () => Engine;
  stops: Stops;
  now: () => Bookmark;
  /** What the machine itself keeps of its dirty marks. */
  marking: { save: () => boolean; restore: (allMarked: boolean) => void };
}

const rawRegions: readonly (readonly [number, number])[] = [
  [Region.cpuBlocks, cpuBlockBytes],
  [Region.tlbs, Tlb.bytesPerCpu],
  [Region.tlbFills, Tlb.fillBytesPerCpu],
  [Region.machine + MachineField.timeBaseNs, MachineField.codeGeneration - MachineField.timeBaseNs],
];

export class Bookmarks {
  readonly #parts: BookmarkParts;
  readonly #kept = new Map<Bookmark, Kept>();
  /** One bit for each backing page that may differ from the base; those that are dirty now come on top. */
  #touched: Uint8Array | undefined;
  #versions: PageVersions | undefined;

  constructor(parts: BookmarkParts) {
    this.#parts = parts;
  }

  /** Bytes that the pages of all bookmarks take, beside one copy of the memory. */
  get bytes(): number {
    return this.#versions?.bytes ?? 0;
  }

  get #dirty(): Uint8Array {
    const { map } = this.#parts;
    return map.bytes.subarray(
      map.dirtyBitmapAddress,
      map.dirtyBitmapAddress + Math.ceil(map.backingPages / 8),
    );
  }

  #page(page: number): Uint8Array {
    const { map } = this.#parts;
    const at = map.backingBase + page * pageBytes;
    return map.bytes.subarray(at, at + pageBytes);
  }

  /** Before dirty marks are taken back. */
  noteDirty(): void {
    const touched = this.#touched;
    if (touched === undefined) return;
    const dirty = this.#dirty;
    for (let n = 0; n < dirty.length; n++) {
      const marks = dirty[n] ?? 0;
      if (marks !== 0) touched[n] = (touched[n] ?? 0) | marks;
    }
  }

  *#touchedPages(): Generator<number> {
    const touched = this.#touched ?? new Uint8Array(0);
    for (let n = 0; n < touched.length; n++)
      for (let bits = touched[n] ?? 0; bits !== 0; bits &= bits - 1)
        yield n * 8 + 31 - Math.clz32(bits & -bits);
  }

  /** The first bookmark copies what is in memory now. */
  #begin(): PageVersions {
    const { map } = this.#parts;
    map.absent.pageInAll();
    // Pages of zeros are never written, so that they cost the host nothing.
    const base = new Uint8Array(map.backingPages * pageBytes);
    for (let page = 0; page < map.backingPages; page++) {
      if (isZeroPage(map, map.backingBase + page * pageBytes)) continue;
      base.set(this.#page(page), page * pageBytes);
    }
    this.#touched = new Uint8Array(this.#dirty.length);
    return new PageVersions((page) => base.subarray(page * pageBytes, (page + 1) * pageBytes));
  }

  /**
   * Remembers this moment, between runs, so that the machine can go back to it. Unlike a snapshot this leaves no trace in the run. The first one copies
   * the memory. Throws MachineError for a disk that writes through.
   */
  take(): Bookmark {
    const { state, disks, map, now, marking } = this.#parts;
    const marks = disks.map((disk) => disk.mark());
    this.#versions ??= this.#begin();
    this.noteDirty();
    const { instructions, timeNs } = now();
    const moment = Number(instructions);
    const same = [...this.#kept.values()].some((kept) => kept.moment === moment);
    if (!same) this.#versions.add(moment, this.#touchedPages(), (page) => this.#page(page));
    const raw = new Map(rawRegions.map(([at, size]) => [at, map.bytes.slice(at, at + size)]));
    raw.set(map.dirtyBitmapAddress, this.#dirty.slice());
    const bookmark = { instructions, timeNs };
    this.#kept.set(bookmark, {
      ...bookmark,
      moment,
      state: state.keep(),
      disks: marks,
      raw,
      allMarked: marking.save(),
    });
    return bookmark;
  }

  /** Makes the machine what it was. Inputs that waited are forgotten, and what was being replayed: give `replay` the log from there on. */
  goTo(bookmark: Bookmark): void {
    const { map, state, disks, engine, stops, marking } = this.#parts;
    const kept = this.#kept.get(bookmark);
    const versions = this.#versions;
    if (kept === undefined || versions === undefined) throw new TypeError('the bookmark was forgotten');
    this.noteDirty();
    const { core } = engine();
    for (const page of this.#touchedPages()) {
      const bytes = this.#page(page);
      const then = versions.at(page, kept.moment);
      if (samePage(bytes, then)) continue;
      core.invalidateCode(page, 0, pageBytes);
      bytes.set(then);
    }
    disks.forEach((disk, n) => {
      const mark = kept.disks[n];
      if (mark !== undefined) disk.goTo(mark);
    });
    const putRaw = (): void => {
      for (const [at, bytes] of kept.raw) map.bytes.set(bytes, at);
    };
    // Devices ask what time it is; and restoring them empties the TLBs.
    putRaw();
    state.putBack(kept.state);
    putRaw();
    this.#dropCodeOfWritable();
    stops.restored();
    marking.restore(kept.allMarked);
  }

  /** No page that can be written inline may hold code: code of such a page was decoded later than the bookmark. */
  #dropCodeOfWritable(): void {
    const { map, engine } = this.#parts;
    const { core } = engine();
    const codeMap = map.view.getUint32(Region.machine + MachineField.codeMap, true);
    for (const table of [Tlb.supervisorWrite, Tlb.userWrite, Tlb.smapWrite])
      for (let n = 0; n < Tlb.entries; n++) {
        const entry = Region.tlbs + table * Tlb.tableBytes + n * Tlb.entryBytes;
        const tag = map.view.getUint32(entry + Tlb.tag, true);
        if ((tag & 1) !== 0) continue;
        const host = (tag + map.view.getUint32(entry + Tlb.addend, true)) >>> 0;
        const page = (host - map.backingBase) / pageBytes;
        if (map.view.getBigUint64(codeMap + page * 8, true) !== 0n) core.invalidateCode(page, 0, pageBytes);
      }
  }

  forget(bookmark: Bookmark): void {
    const kept = this.#kept.get(bookmark);
    if (kept === undefined) return;
    this.#kept.delete(bookmark);
    if (![...this.#kept.values()].some(({ moment }) => moment === kept.moment))
      this.#versions?.drop(kept.moment);
  }

  /** The machine has become another: there is nothing to go back to. */
  clear(): void {
    this.#kept.clear();
    this.#versions = undefined;
    this.#touched = undefined;
  }
}
