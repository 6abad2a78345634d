/**
 * A disk's contents, copy-on-write: pages that the guest wrote lie here, all others in the base image below, which never changes, or are
 * zero. A disk is a space of the machine as RAM is: a snapshot lists its changed pages, cut at the same instruction.
 */
import type { BlockBackend } from '../devices/block.ts';
import { MachineError } from './errors.ts';
import type { DiskDescription } from './description.ts';
import { PageBits } from './page-bits.ts';
import { checkSpace, type SpaceSnapshot } from './snapshot.ts';

/** In bytes: the unit in which disks are kept in checkpoints. */
export const diskPageBytes = 4096;

/**
 * Where a disk's base image comes from; the host provides it. Both answer at once, and alike for ever: the guest's time does not see how
 * long a host takes. What they throw ends the run.
 */
export interface DiskBacking {
  /** Page `page` of 4096 bytes, the last one filled up with zeros; undefined when it is zero. The bytes are not changed. */
  readPage(page: number): Uint8Array | undefined;
  /** From this page on all are zero. Default: none is known to be. */
  pageCount?: number;
  /** When present, the guest's writes go here and nothing is kept: such a machine has no snapshots. */
  writeThrough?: {
    write(offset: number, data: Uint8Array): void;
    flush(): void;
  };
}

/** What a disk held at one moment. */
export interface DiskMark {
  alone: boolean;
  pages: ReadonlyMap<number, Uint8Array>;
  emptied: PageBits;
  dirty: PageBits;
}

const noBytes = new Uint8Array(0);
/** To a file, so much at a time. */
const zeroPieceBytes = 2 ** 20;

function isZero(page: Uint8Array): boolean {
  return page.every((byte) => byte === 0);
}

/** The content of one disk: what the guest wrote, over a base image that the host provides. */
export class DiskSpace implements BlockBackend {
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly pageCount: number;
  readonly #base: DiskDescription['base'];
  /** Reads and writes since the machine was made, for who watches it; no part of its state. */
  requests = 0;
  /** Nothing lies below: there is no base image, or the machine went on from a snapshot that holds the whole disk. */
  #alone: boolean;
  readonly #backing: DiskBacking | undefined;
  /** What the guest wrote. */
  readonly #pages = new Map<number, Uint8Array>();
  /** Pages that it emptied above the base image. */
  readonly #emptied: PageBits;
  /** Pages written or emptied since the last snapshot. */
  readonly #dirty: PageBits;
  /** Pages that a mark holds: they are copied before they are written. */
  #held = new Set<number>();

  constructor(description: DiskDescription, backing: DiskBacking | undefined) {
    const { name, bytes, readOnly, base } = description;
    this.name = name;
    this.bytes = bytes;
    this.readOnly = readOnly;
    this.pageCount = Math.ceil(bytes / diskPageBytes);
    this.#emptied = new PageBits(this.pageCount);
    this.#dirty = new PageBits(this.pageCount);
    this.#base = base;
    this.#alone = backing === undefined;
    this.#backing = backing;
  }

  /** Throws MachineError when the description names a base image and nothing provides it. */
  requireBase(): void {
    if (this.#base === null || this.#backing !== undefined) return;
    throw new MachineError(
      'MACHINE_DISK_BASE_MISSING',
      `${this.name} lies on a base image (SHA-256 ${this.#base.sha256.slice(0, 16)}…) that is not given`,
      'give the image that the disk was made from',
    );
  }

  #basePage(page: number): Uint8Array | undefined {
    return page < this.#basePages ? this.#backing?.readPage(page) : undefined;
  }

  /** Behind these pages all of the base image is zero. */
  get #basePages(): number {
    return this.#alone ? 0 : (this.#backing?.pageCount ?? this.pageCount);
  }

  /** The page as the guest sees it; undefined when it is zero. Not to be changed. */
  page(page: number): Uint8Array | undefined {
    return this.#pages.get(page) ?? (this.#emptied.has(page) ? undefined : this.#basePage(page));
  }

  read(offset: number, into: Uint8Array): void {
    this.requests++;
    eachPage(offset, into.length, ({ page, at, from, size }) => {
      const source = this.page(page);
      if (source === undefined) into.fill(0, from, from + size);
      else into.set(source.subarray(at, at + size), from);
    });
  }

  write(offset: number, data: Uint8Array): void {
    this.requests++;
    const { writeThrough } = this.#backing ?? {};
    if (writeThrough !== undefined) {
      writeThrough.write(offset, data);
      return;
    }
    eachPage(offset, data.length, ({ page, at, from, size }) => {
      this.#own(page, size).set(data.subarray(from, from + size), at);
      this.#dirty.add(page);
    });
  }

  zero(offset: number, length: number): void {
    const { writeThrough } = this.#backing ?? {};
    if (writeThrough !== undefined) {
      for (let at = 0; at < length; at += zeroPieceBytes)
        writeThrough.write(offset + at, new Uint8Array(Math.min(zeroPieceBytes, length - at)));
      return;
    }
    this.requests++;
    const first = Math.ceil(offset / diskPageBytes);
    const end = Math.floor((offset + length) / diskPageBytes);
    const whole = { from: first * diskPageBytes, to: Math.max(first, end) * diskPageBytes };
    const part = (from: number, to: number): void =>
      eachPage(from, to - from, ({ page, at, size }) => {
        this.#own(page, size).fill(0, at, at + size);
        this.#dirty.add(page);
      });
    part(offset, Math.min(whole.from, offset + length));
    this.#empty(first, end);
    part(Math.max(whole.to, offset), offset + length);
  }

  /** Empties whole pages: those that hold something, for a guest may empty the largest disk at once, and again. */
  #empty(first: number, end: number): void {
    const forget = (page: number): void => {
      if (!this.#pages.delete(page)) return;
      this.#held.delete(page);
      this.#dirty.add(page);
    };
    if (end - first < this.#pages.size) for (let page = first; page < end; page++) forget(page);
    else for (const page of this.#pages.keys()) if (page >= first && page < end) forget(page);
    for (let page = first; page < Math.min(end, this.#basePages); page++) {
      if (this.#emptied.has(page)) continue;
      this.#emptied.add(page);
      this.#dirty.add(page);
    }
  }

  /** The page as one's own, its old contents copied unless all of it is written. */
  #own(page: number, written: number): Uint8Array {
    const known = this.#pages.get(page);
    if (known !== undefined && !this.#held.has(page)) return known;
    this.#held.delete(page);
    const own = new Uint8Array(diskPageBytes);
    const before = written === diskPageBytes ? undefined : (known ?? this.page(page));
    if (before !== undefined) own.set(before);
    this.#pages.set(page, own);
    this.#emptied.delete(page);
    return own;
  }

  flush(): void {
    this.#backing?.writeThrough?.flush();
  }

  #refuseWriteThrough(): void {
    if (this.#backing?.writeThrough === undefined) return;
    throw new MachineError(
      'MACHINE_DISK_WRITE_THROUGH',
      `${this.name} writes to its file: the machine's state is not in one place`,
      'open the disk without rw, so that its changes go into the snapshot',
    );
  }

  /** The next snapshot lists these pages, too. */
  markChanged(pages: Iterable<number>): void {
    for (const page of pages) if (this.#pages.has(page) || this.#emptied.has(page)) this.#dirty.add(page);
  }

  /** Pages since the last snapshot, or (full) all that differ from the base. Throws MachineError for a disk that writes through. */
  save(full: boolean): SpaceSnapshot {
    this.#refuseWriteThrough();
    const wanted = full ? this.#different() : this.#dirty;
    let count = 0;
    for (const _page of wanted) count++;
    const indexes = new Uint32Array(count);
    const bytes = new Uint8Array(count * diskPageBytes);
    let n = 0;
    for (const page of wanted) {
      const own = this.#pages.get(page);
      if (own !== undefined) bytes.set(own, n * diskPageBytes);
      indexes[n++] = page;
    }
    this.#dirty.clear();
    const { name, pageCount } = this;
    const onBase = full && this.#base !== null ? { onBase: !this.#alone } : {};
    return {
      name,
      pageSize: diskPageBytes,
      pageCount,
      full,
      ...onBase,
      indexes,
      bytes,
    };
  }

  /** What the disk holds now, to go back to. Throws MachineError for a disk that writes through. */
  mark(): DiskMark {
    this.#refuseWriteThrough();
    this.#held = new Set(this.#pages.keys());
    return {
      alone: this.#alone,
      pages: new Map(this.#pages),
      emptied: this.#emptied.copy(),
      dirty: this.#dirty.copy(),
    };
  }

  goTo({ alone, pages, emptied, dirty }: DiskMark): void {
    this.#alone = alone;
    this.#pages.clear();
    for (const [page, bytes] of pages) this.#pages.set(page, bytes);
    this.#held = new Set(pages.keys());
    this.#emptied.set(emptied);
    this.#dirty.set(dirty);
  }

  /** Pages that differ from the base. */
  #different(): PageBits {
    const different = new PageBits(this.pageCount);
    for (const page of this.#emptied) if (!isZero(this.#basePage(page) ?? noBytes)) different.add(page);
    for (const [page, own] of this.#pages) {
      const base = this.#basePage(page);
      const same = base === undefined ? isZero(own) : own.every((byte, n) => byte === base[n]);
      if (!same) different.add(page);
    }
    return different;
  }

  /** Pages that are not zero, ascending: what the disk is, wherever its pages lie. Reads the whole base image. */
  *contents(): Generator<{ page: number; bytes: Uint8Array }> {
    const pages = this.#alone
      ? [...this.#pages.keys()].sort((a, b) => a - b)
      : Array.from({ length: this.pageCount }, (_, page) => page);
    for (const page of pages) {
      const bytes = this.page(page);
      if (bytes !== undefined && !isZero(bytes)) yield { page, bytes };
    }
  }

  /** Throws MachineError unless `saved` is this disk, whole or on a base image that is there; or, unless `full`, changes of it. */
  check(saved: SpaceSnapshot | undefined, full = true): SpaceSnapshot {
    const checked = checkSpace({ name: this.name, bytes: this.pageCount * diskPageBytes }, saved, full);
    if (checked.onBase === true) {
      this.requireBase();
      if (this.#base === null)
        throw new MachineError(
          'MACHINE_SNAPSHOT_INVALID',
          `snapshot: space ${this.name} lies on a base image that its description does not name`,
          'use an intact snapshot made for this machine',
        );
    }
    return checked;
  }

  /** Takes over checked contents. Of a whole disk without `onBase` they are all there is, and the base image is not needed any more. */
  restore({ full, indexes, bytes, onBase = false }: SpaceSnapshot): void {
    if (full) {
      this.#alone = !onBase;
      this.#pages.clear();
      this.#emptied.clear();
    }
    this.#dirty.clear();
    this.#held.clear();
    indexes.forEach((page, n) => {
      this.#pages.set(page, bytes.slice(n * diskPageBytes, (n + 1) * diskPageBytes));
      this.#emptied.delete(page);
    });
  }
}

function eachPage(
  offset: number,
  length: number,
  each: (piece: { page: number; at: number; from: number; size: number }) => void,
): void {
  for (let from = 0; from < length;) {
    const page = Math.floor((offset + from) / diskPageBytes);
    const at = offset + from - page * diskPageBytes;
    const size = Math.min(length - from, diskPageBytes - at);
    each({ page, at, from, size });
    from += size;
  }
}
