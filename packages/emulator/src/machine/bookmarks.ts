/**
 * Moments of a run, kept in memory so that the machine can go back to them: time travel within one process.
 *
 * A snapshot empties the write TLBs and says so in the log (input `flush`), because that can change what the guest sees. A bookmark leaves no
 * trace: dirty marks are taken back too, but the TLBs keep their translations. So bookmarks may be taken anywhere while a log is replayed, and the run is the same without them.
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
}

export interface BookmarkParts {
  map: MemoryMap;
  disks: readonly DiskSpace[];
  state: MachineState;
  engine: () => Engine;
  stops: Stops;
  now: () => Bookmark;
  /** Dirty marks were taken back. */
  marksCleared: () => void;
  /** So they were, and what the machine was about to do is over. */
  wentBack: () => void;
}

const rawRegions = (cpuCount: number): readonly (readonly [number, number])[] => [
  [Region.cpuBlocks, cpuCount * cpuBlockBytes],
  [Region.tlbs, cpuCount * Tlb.bytesPerCpu],
  [Region.tlbFills, cpuCount * Tlb.fillBytesPerCpu],
  [Region.machine + MachineField.timeBaseNs, MachineField.codeGeneration - MachineField.timeBaseNs],
];

export class Bookmarks {
  readonly #parts: BookmarkParts;
  readonly #kept = new Map<Bookmark, Kept>();
  /** One bit for each backing page that may have changed since the last moment taken or gone to; those that are dirty now come on top. */
  #changed: Uint8Array | undefined;
  /** That moment. */
  #last = 0;
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
    const changed = this.#changed;
    if (changed === undefined) return;
    const dirty = this.#dirty;
    for (let n = 0; n < dirty.length; n++) {
      const marks = dirty[n] ?? 0;
      if (marks !== 0) changed[n] = (changed[n] ?? 0) | marks;
    }
  }

  /** Pages changed since the last moment; from now on it is `moment`. */
  #takeChanged(moment: number): Set<number> {
    this.noteDirty();
    const pages = new Set<number>();
    const changed = this.#changed ?? new Uint8Array(0);
    for (let n = 0; n < changed.length; n++)
      for (let bits = changed[n] ?? 0; bits !== 0; bits &= bits - 1)
        pages.add(n * 8 + 31 - Math.clz32(bits & -bits));
    changed.fill(0);
    this.#last = moment;
    this.#parts.engine().core.clearDirty();
    return pages;
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
    this.#changed = new Uint8Array(this.#dirty.length);
    this.#parts.engine().core.clearDirty();
    return new PageVersions((page) => base.subarray(page * pageBytes, (page + 1) * pageBytes));
  }

  /**
   * Remembers this moment, between runs, so that the machine can go back to it. Unlike a snapshot this leaves no trace in the run. The first one copies
   * the memory. Throws MachineError for a disk that writes through.
   */
  take(): Bookmark {
    const { state, disks, map, now, marksCleared } = this.#parts;
    const marks = disks.map((disk) => disk.mark());
    this.#versions ??= this.#begin();
    const { instructions, timeNs } = now();
    const moment = Number(instructions);
    const pages = this.#takeChanged(moment);
    const same = [...this.#kept.values()].some((kept) => kept.moment === moment);
    if (!same) this.#versions.add(moment, pages, (page) => this.#page(page));
    const raw = new Map(rawRegions(map.cpuCount).map(([at, size]) => [at, map.bytes.slice(at, at + size)]));
    const bookmark = { instructions, timeNs };
    this.#kept.set(bookmark, {
      ...bookmark,
      moment,
      state: state.keep(),
      disks: marks,
      raw,
    });
    marksCleared();
    return bookmark;
  }

  /** Makes the machine what it was. Inputs that waited are forgotten, and what was being replayed: give `replay` the log from there on. */
  goTo(bookmark: Bookmark): void {
    const { map, state, disks, engine, stops, wentBack } = this.#parts;
    const kept = this.#kept.get(bookmark);
    const versions = this.#versions;
    if (kept === undefined || versions === undefined) throw new TypeError('the bookmark was forgotten');
    const { core } = engine();
    const pages = versions.between(this.#last, kept.moment);
    for (const page of this.#takeChanged(kept.moment)) pages.add(page);
    for (const page of pages) {
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
    stops.restored();
    wentBack();
  }

  forget(bookmark: Bookmark): void {
    const kept = this.#kept.get(bookmark);
    if (kept === undefined) return;
    this.#kept.delete(bookmark);
    if ([...this.#kept.values()].some(({ moment }) => moment === kept.moment)) return;
    // What had changed up to the moment forgotten is no version of a moment any more.
    for (const page of this.#versions?.drop(kept.moment) ?? [])
      if (this.#changed !== undefined)
        this.#changed[page >> 3] = (this.#changed[page >> 3] ?? 0) | (1 << (page & 7));
  }

  /** The machine has become another: there is nothing to go back to. */
  clear(): void {
    this.#kept.clear();
    this.#versions = undefined;
    this.#changed = undefined;
  }
}
