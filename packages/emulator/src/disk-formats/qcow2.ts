/**
 * A qcow2 image as a disk: QEMU's "Qcow2 Image File Format" (docs/interop/qcow2), versions 2 and 3. Reads everything that its header's check
 * lets through; writes in place (qcow2-allocator.ts). What a table says is checked before it is followed, and caches are bounded, so that a
 * damaged image costs an error and nothing else.
 */
import { damaged, unsupported } from './errors.ts';
import { Qcow2Allocator } from './qcow2-allocator.ts';
import {
  Incompatible,
  l2Reach,
  readQcow2Header,
  readQcow2Snapshots,
  type ImageFile,
  type Qcow2Header,
  type Qcow2Snapshot,
} from './qcow2-header.ts';
import { zstdFrameLength } from './zstd-frame.ts';

/** Unpacks one whole stream into exactly `size` bytes; the host provides it. What it throws means that the stream is damaged. */
export interface Decompressors {
  /** A raw deflate stream, with anything behind it. */
  inflateRaw(bytes: Uint8Array, size: number): Uint8Array;
  /** One Zstandard frame. */
  zstd(frame: Uint8Array, size: number): Uint8Array;
}

/** What lies below an image that has a backing file: another disk. */
export interface BackingDisk {
  readonly bytes: number;
  read(offset: number, into: Uint8Array): void;
}

export interface Qcow2Options {
  file: ImageFile;
  decompressors: Decompressors;
  /** Opens the backing file by its name; undefined refuses images that have one. */
  backing?: ((name: string, format: string | undefined) => BackingDisk) | undefined;
}

const compressedFlag = 1n << 62n;
const copiedFlag = 1n << 63n;
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const zeroFlag = 1n;
const cacheBytes = 16 * 2 ** 20;
const subclusters = 32;

/** What stands at a place of the disk, up to the end of its cluster or subcluster. */
type Extent =
  | { kind: 'data'; at: number; length: number }
  | { kind: 'zero' | 'backing'; length: number }
  | { kind: 'compressed'; offset: number; bytes: number; from: number; length: number };

/** A cache of clusters by their offset, oldest out first. */
class ClusterCache {
  readonly #limit: number;
  readonly #entries = new Map<number, Uint8Array>();

  constructor(clusterBytes: number) {
    this.#limit = Math.max(2, Math.floor(cacheBytes / clusterBytes));
  }

  get(offset: number): Uint8Array | undefined {
    const found = this.#entries.get(offset);
    if (found === undefined) return undefined;
    this.#entries.delete(offset);
    this.#entries.set(offset, found);
    return found;
  }

  set(offset: number, bytes: Uint8Array): void {
    this.#entries.set(offset, bytes);
    if (this.#entries.size <= this.#limit) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  delete(offset: number): void {
    this.#entries.delete(offset);
  }
}

/** A qcow2 image over a file that the host provides: reads, and writes where the file can be written. */
export class Qcow2Image {
  readonly header: Qcow2Header;
  readonly #file: ImageFile;
  readonly #decompressors: Decompressors;
  readonly #backing: BackingDisk | undefined;
  readonly #l1: BigUint64Array;
  readonly #tables: ClusterCache;
  readonly #unpacked: ClusterCache;
  readonly #allocator: Qcow2Allocator | undefined;

  /** Throws DiskFormatError. */
  constructor({ file, decompressors, backing }: Qcow2Options) {
    this.#file = file;
    this.#decompressors = decompressors;
    this.header = readQcow2Header(file);
    const { backingFile, backingFormat, clusterBytes, l1Entries, l1Offset } = this.header;
    if (backingFile !== undefined && backing === undefined)
      throw unsupported(
        `the image lies on another one, '${backingFile}'`,
        'allow it (see --help), or put both into one: qemu-img convert -O qcow2 IMAGE NEW',
      );
    this.#backing = backingFile === undefined ? undefined : backing?.(backingFile, backingFormat);
    const raw = new Uint8Array(l1Entries * 8);
    file.read(l1Offset, raw);
    const view = new DataView(raw.buffer);
    this.#l1 = BigUint64Array.from({ length: l1Entries }, (_, n) => view.getBigUint64(n * 8));
    this.#tables = new ClusterCache(clusterBytes);
    this.#unpacked = new ClusterCache(clusterBytes);
    this.#allocator = file.write === undefined ? undefined : new Qcow2Allocator(file, this.#writableHeader());
  }

  /** Reading a dirty or corrupt image is fine; writing is not. */
  #writableHeader(): Qcow2Header {
    const { incompatible } = this.header;
    if (incompatible & Incompatible.corrupt)
      throw unsupported(
        'the image is marked as corrupt, and can only be read',
        'qemu-img check -r all IMAGE',
      );
    if (incompatible & Incompatible.dirty)
      throw unsupported(
        'the image was not closed by who wrote it last, and can only be read',
        'qemu-img check -r all IMAGE',
      );
    return this.header;
  }

  /** Size of the disk. */
  get bytes(): number {
    return this.header.bytes;
  }

  snapshots(): Qcow2Snapshot[] {
    return readQcow2Snapshots(this.#file, this.header);
  }

  // --- tables ---

  get #entryBytes(): number {
    return this.header.extendedL2 ? 16 : 8;
  }

  #checkCluster(what: string, offset: number): number {
    const { clusterBytes } = this.header;
    if (offset % clusterBytes !== 0) throw damaged(`${what} is not at the start of a cluster`);
    if (offset === 0 || offset >= this.#file.bytes) throw damaged(`${what} lies outside of the file`);
    return offset;
  }

  /** The L2 table for a place of the disk; undefined where there is none. */
  #table(guest: number): { offset: number; table: Uint8Array } | undefined {
    const entry = this.#l1[Math.floor(guest / l2Reach(this.header))] ?? 0n;
    const raw = Number(entry & offsetMask);
    if (raw === 0) return undefined;
    const offset = this.#checkCluster('an L2 table', raw);
    const known = this.#tables.get(offset);
    if (known !== undefined) return { offset, table: known };
    const table = new Uint8Array(this.header.clusterBytes);
    this.#file.read(offset, table);
    this.#tables.set(offset, table);
    return { offset, table };
  }

  #index(guest: number): number {
    return Math.floor((guest % l2Reach(this.header)) / this.header.clusterBytes);
  }

  #entry(guest: number): { entry: bigint; bitmap: bigint } {
    const found = this.#table(guest);
    if (found === undefined) return { entry: 0n, bitmap: 0n };
    const view = new DataView(found.table.buffer);
    const at = this.#index(guest) * this.#entryBytes;
    return { entry: view.getBigUint64(at), bitmap: this.header.extendedL2 ? view.getBigUint64(at + 8) : 0n };
  }

  #extent(guest: number): Extent {
    const { clusterBits, clusterBytes, version, extendedL2 } = this.header;
    const { entry, bitmap } = this.#entry(guest);
    const inCluster = guest % clusterBytes;
    const length = clusterBytes - inCluster;
    if (entry & compressedFlag) {
      const shift = BigInt(62 - (clusterBits - 8));
      const offset = Number(entry & ((1n << shift) - 1n));
      const sectors = Number((entry & (compressedFlag - 1n)) >> shift) + 1;
      const bytes = sectors * 512 - (offset % 512);
      if (offset === 0 || offset >= this.#file.bytes)
        throw damaged('a compressed cluster lies outside of the file');
      return {
        kind: 'compressed',
        offset,
        bytes: Math.min(bytes, this.#file.bytes - offset),
        from: inCluster,
        length,
      };
    }
    const offset = Number(entry & offsetMask);
    if (extendedL2) return this.#subcluster(offset, bitmap, inCluster);
    // The flag is a bit by itself: a zero cluster may keep its place in the file. Version 2 has none.
    if (version >= 3 && entry & zeroFlag) return { kind: 'zero', length };
    if (offset === 0) return { kind: 'backing', length };
    return { kind: 'data', at: this.#checkCluster('a cluster', offset) + inCluster, length };
  }

  #subcluster(offset: number, bitmap: bigint, inCluster: number): Extent {
    const size = this.header.clusterBytes / subclusters;
    const n = BigInt(Math.floor(inCluster / size));
    const length = size - (inCluster % size);
    const allocated = (bitmap >> n) & 1n;
    const zero = (bitmap >> (n + 32n)) & 1n;
    if (allocated && zero) throw damaged('a subcluster is both allocated and zero');
    if (zero) return { kind: 'zero', length };
    if (!allocated) return { kind: 'backing', length };
    return { kind: 'data', at: this.#checkCluster('a cluster', offset) + inCluster, length };
  }

  // --- reading ---

  /** Throws DiskFormatError when a table or a compressed cluster is damaged. */
  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const guest = offset + done;
      if (guest >= this.bytes) {
        into.fill(0, done);
        return;
      }
      const extent = this.#extent(guest);
      const size = Math.min(extent.length, into.length - done);
      this.#readExtent(extent, guest, into.subarray(done, done + size));
      done += size;
    }
  }

  #readExtent(extent: Extent, guest: number, into: Uint8Array): void {
    switch (extent.kind) {
      case 'data':
        this.#file.read(extent.at, into);
        return;
      case 'compressed':
        into.set(this.#unpack(extent).subarray(extent.from, extent.from + into.length));
        return;
      case 'backing': {
        into.fill(0);
        const below = this.#backing;
        if (below === undefined || guest >= below.bytes) return;
        below.read(guest, into.subarray(0, Math.min(into.length, below.bytes - guest)));
        return;
      }
      default:
        into.fill(0);
    }
  }

  #unpack({ offset, bytes }: { offset: number; bytes: number }): Uint8Array {
    const known = this.#unpacked.get(offset);
    if (known !== undefined) return known;
    const packed = new Uint8Array(bytes);
    this.#file.read(offset, packed);
    const { clusterBytes, compression } = this.header;
    let unpacked: Uint8Array;
    try {
      if (compression === 'zlib') unpacked = this.#decompressors.inflateRaw(packed, clusterBytes);
      else
        unpacked = this.#decompressors.zstd(packed.subarray(0, zstdFrameLength(packed) ?? 0), clusterBytes);
    } catch {
      throw damaged('a compressed cluster can not be unpacked');
    }
    if (unpacked.length !== clusterBytes) throw damaged('a compressed cluster is no whole cluster');
    this.#unpacked.set(offset, unpacked);
    return unpacked;
  }

  // --- writing ---

  /** Throws DiskFormatError; TypeError for an image that was opened for reading. */
  write(offset: number, data: Uint8Array): void {
    const { clusterBytes } = this.header;
    for (let done = 0; done < data.length;) {
      const guest = offset + done;
      const size = Math.min(clusterBytes - (guest % clusterBytes), data.length - done);
      if (guest + size > this.bytes) throw damaged('a write lies beyond the end of the disk');
      this.#writeCluster(guest, data.subarray(done, done + size));
      done += size;
    }
  }

  flush(): void {
    this.#file.flush?.();
  }

  get #writer(): Qcow2Allocator {
    if (this.#allocator === undefined) throw new TypeError('the image was opened for reading');
    return this.#allocator;
  }

  /** In place where the cluster is this image's alone and holds data; else to a new one, with what was there before around it. */
  #writeCluster(guest: number, data: Uint8Array): void {
    const { clusterBytes, extendedL2 } = this.header;
    const { entry, bitmap } = this.#entry(guest);
    const whole = extendedL2
      ? (bitmap & 0xffff_ffffn) === 0xffff_ffffn
      : !(this.header.version >= 3 && entry & zeroFlag);
    const offset = Number(entry & offsetMask);
    if (!(entry & compressedFlag) && entry & copiedFlag && whole && offset !== 0) {
      this.#writer.write(this.#checkCluster('a cluster', offset) + (guest % clusterBytes), data);
      return;
    }
    const start = guest - (guest % clusterBytes);
    const content = new Uint8Array(clusterBytes);
    if (data.length < clusterBytes)
      this.read(start, content.subarray(0, Math.min(clusterBytes, this.bytes - start)));
    content.set(data, guest - start);
    const fresh = this.#writer.allocate(1);
    this.#writer.write(fresh, content);
    this.#setEntry(guest, BigInt(fresh) | copiedFlag);
    this.#release(entry);
  }

  #setEntry(guest: number, entry: bigint): void {
    const { offset, table } = this.#ownTable(guest);
    const at = this.#index(guest) * this.#entryBytes;
    const view = new DataView(table.buffer);
    view.setBigUint64(at, entry);
    if (this.header.extendedL2) view.setBigUint64(at + 8, 0xffff_ffffn);
    this.#writer.write(offset + at, table.subarray(at, at + this.#entryBytes));
  }

  /** The L2 table for a place of the disk, which is this image's alone: a snapshot's is copied first. */
  #ownTable(guest: number): { offset: number; table: Uint8Array } {
    const n = Math.floor(guest / l2Reach(this.header));
    const entry = this.#l1[n] ?? 0n;
    const found = this.#table(guest);
    if (found !== undefined && entry & copiedFlag) return found;
    const table = found?.table.slice() ?? new Uint8Array(this.header.clusterBytes);
    if (found !== undefined) this.#shareClusters(table);
    const offset = this.#writer.allocate(1);
    this.#writer.write(offset, table);
    this.#tables.set(offset, table);
    this.#l1[n] = BigInt(offset) | copiedFlag;
    const raw = new Uint8Array(8);
    new DataView(raw.buffer).setBigUint64(0, this.#l1[n]);
    this.#writer.write(this.header.l1Offset + n * 8, raw);
    if (found !== undefined) this.#writer.release(found.offset);
    return { offset, table };
  }

  /** A snapshot has counted the clusters of a shared table already, when it was taken: the copy names the same ones, none of them alone. */
  #shareClusters(table: Uint8Array): void {
    const view = new DataView(table.buffer);
    for (let at = 0; at < table.length; at += this.#entryBytes) {
      const entry = view.getBigUint64(at);
      if (entry & copiedFlag) view.setBigUint64(at, entry & ~copiedFlag);
    }
  }

  /** What an entry named before is not named by it any more. */
  #release(entry: bigint): void {
    const { clusterBits, clusterBytes } = this.header;
    if (entry & compressedFlag) {
      const shift = BigInt(62 - (clusterBits - 8));
      const offset = Number(entry & ((1n << shift) - 1n));
      const sectors = Number((entry & (compressedFlag - 1n)) >> shift) + 1;
      const last = Math.floor(offset / 512) * 512 + sectors * 512 - 1;
      for (let at = offset - (offset % clusterBytes); at <= last; at += clusterBytes)
        this.#writer.release(at);
      this.#unpacked.delete(offset);
      return;
    }
    const offset = Number(entry & offsetMask);
    if (offset !== 0) this.#writer.release(this.#checkCluster('a cluster', offset));
  }
}
