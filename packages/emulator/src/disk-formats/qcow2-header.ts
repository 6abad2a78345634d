/**
 * Header and snapshot table of qcow2, versions 2 and 3: QEMU's "Qcow2 Image File Format" (docs/interop/qcow2). All numbers are big-endian.
 * Nothing is believed before it was compared with the file's own length.
 */
import { damaged, unsupported } from './errors.ts';

/** An image file; the host provides it. Reads beyond its end give zeros. */
export interface ImageFile {
  readonly bytes: number;
  read(offset: number, into: Uint8Array): void;
  /** Present when the image may be changed. Writes beyond the end make the file longer. */
  write?(offset: number, data: Uint8Array): void;
  flush?(): void;
}

export const Incompatible = {
  dirty: 1,
  corrupt: 2,
  externalData: 4,
  compressionType: 8,
  extendedL2: 16,
} as const;
const known = 31;
const magic = 0x5146_49fb;
const headerBytes2 = 72;
const headerBytes3 = 104;
const clusterBits = { least: 9, most: 21 } as const;
/** 2^40: what a disk here can have. */
const maxDiskBytes = 2 ** 40;
const maxSnapshots = 65_536;
const maxTableBytes = 32 * 2 ** 20;
const maxBackingName = 1023;
const Extension = { end: 0, backingFormat: 0xe279_2aca } as const;

export interface Qcow2Header {
  version: 2 | 3;
  clusterBits: number;
  clusterBytes: number;
  /** Of the virtual disk. */
  bytes: number;
  l1Entries: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  refcountBits: number;
  incompatible: number;
  compression: 'zlib' | 'zstd';
  extendedL2: boolean;
  backingFile: string | undefined;
  backingFormat: string | undefined;
  snapshotCount: number;
  snapshotsOffset: number;
}

function word64(view: DataView, at: number, what: string): number {
  const value = view.getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${what} is ${String(value)}`);
  return Number(value);
}

function checkOffset(
  what: string,
  offset: number,
  length: number,
  header: { clusterBytes: number },
  fileBytes: number,
): void {
  if (offset % header.clusterBytes !== 0) throw damaged(`${what} is not at the start of a cluster`);
  if (offset === 0 || offset + length > Math.ceil(fileBytes / header.clusterBytes) * header.clusterBytes)
    throw damaged(`${what} lies outside of the file`);
}

function readBackingFormat(head: Uint8Array, headerLength: number, end: number): string | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (let at = headerLength; at + 8 <= end;) {
    const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === Extension.end) return undefined;
    if (at + 8 + length > end) throw damaged('a header extension is longer than the header');
    if (type === Extension.backingFormat)
      return new TextDecoder().decode(head.subarray(at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

function readBacking(file: ImageFile, view: DataView, clusterBytes: number): string | undefined {
  const offset = word64(view, 8, 'the place of the backing file');
  const length = view.getUint32(16);
  if (offset === 0) return undefined;
  if (length > maxBackingName || offset + length > Math.min(clusterBytes, file.bytes))
    throw damaged('the name of the backing file lies outside of the header');
  const name = new Uint8Array(length);
  file.read(offset, name);
  return new TextDecoder().decode(name);
}

function readFeatures(
  view: DataView,
  version: number,
  headerLength: number,
): { incompatible: number; refcountOrder: number; zstd: boolean } {
  if (version === 2) return { incompatible: 0, refcountOrder: 4, zstd: false };
  const incompatible = Number(view.getBigUint64(72) & 0xffff_ffffn);
  if (view.getBigUint64(72) > BigInt(known))
    throw unsupported(
      'the image has features that are not known here',
      'qemu-img convert -O qcow2 IMAGE NEW',
    );
  if (incompatible & Incompatible.externalData)
    throw unsupported('the image keeps its data in another file', 'qemu-img convert -O qcow2 IMAGE NEW');
  const compression = headerLength > headerBytes3 ? view.getUint8(104) : 0;
  if (compression > 1 || (compression === 1) !== ((incompatible & Incompatible.compressionType) !== 0))
    throw damaged(`the compression type is ${String(compression)}`);
  const refcountOrder = view.getUint32(96);
  if (refcountOrder > 6) throw damaged(`refcounts have 2^${String(refcountOrder)} bits`);
  return { incompatible, refcountOrder, zstd: compression === 1 };
}

/** Throws DiskFormatError for what is no image, is damaged, or can't be read here. */
export function readQcow2Header(file: ImageFile): Qcow2Header {
  const head = new Uint8Array(Math.min(0x1_0000, Math.max(512, file.bytes)));
  file.read(0, head);
  const view = new DataView(head.buffer);
  const version = view.getUint32(4);
  if (view.getUint32(0) !== magic || file.bytes < headerBytes2) throw damaged('it has no header');
  if (version !== 2 && version !== 3)
    throw unsupported(
      `version ${String(version)} of qcow is not read here`,
      'qemu-img convert -O qcow2 IMAGE NEW',
    );
  const bits = view.getUint32(20);
  if (bits < clusterBits.least || bits > clusterBits.most)
    throw damaged(`clusters have 2^${String(bits)} bytes`);
  const clusterBytes = 2 ** bits;
  const headerLength = version === 2 ? headerBytes2 : view.getUint32(100);
  if (
    headerLength < (version === 2 ? headerBytes2 : headerBytes3) ||
    headerLength > Math.min(clusterBytes, head.length) ||
    headerLength % 8 !== 0
  )
    throw damaged(`the header has ${String(headerLength)} bytes`);
  if (view.getUint32(32) !== 0)
    throw unsupported('the image is encrypted', 'qemu-img convert it to one that is not');
  const bytes = word64(view, 24, 'the size of the disk');
  if (bytes > maxDiskBytes)
    throw unsupported(`the disk has ${String(bytes)} bytes`, 'up to 1 TiB can be used');
  const { incompatible, refcountOrder, zstd } = readFeatures(view, version, headerLength);
  const extendedL2 = (incompatible & Incompatible.extendedL2) !== 0;
  if (extendedL2 && bits < 14) throw damaged('clusters are too small for subclusters');
  const backingFile = readBacking(file, view, clusterBytes);
  const header: Qcow2Header = {
    version,
    clusterBits: bits,
    clusterBytes,
    bytes,
    incompatible,
    extendedL2,
    backingFile,
    backingFormat: readBackingFormat(head, headerLength, Math.min(clusterBytes, head.length)),
    l1Entries: view.getUint32(36),
    l1Offset: word64(view, 40, 'the place of the L1 table'),
    refcountTableOffset: word64(view, 48, 'the place of the refcount table'),
    refcountTableClusters: view.getUint32(56),
    refcountBits: 2 ** refcountOrder,
    compression: zstd ? 'zstd' : 'zlib',
    snapshotCount: view.getUint32(60),
    snapshotsOffset: word64(view, 64, 'the place of the snapshots'),
  };
  checkTables(header, file.bytes);
  return header;
}

/** Guest bytes that one L2 table covers. */
export function l2Reach({
  clusterBytes,
  extendedL2,
}: Pick<Qcow2Header, 'clusterBytes' | 'extendedL2'>): number {
  return (clusterBytes / (extendedL2 ? 16 : 8)) * clusterBytes;
}

function checkTables(header: Qcow2Header, fileBytes: number): void {
  // After a snapshot with saved memory the active table keeps entries past the disk's end: more than needed is fine.
  const needed = Math.ceil(header.bytes / l2Reach(header));
  if (header.l1Entries < needed) throw damaged('the L1 table is too small for the disk');
  if (header.l1Entries * 8 > maxTableBytes)
    throw damaged(`the L1 table has ${String(header.l1Entries)} entries`);
  if (header.l1Entries > 0)
    checkOffset('the L1 table', header.l1Offset, header.l1Entries * 8, header, fileBytes);
  const refcountBytes = header.refcountTableClusters * header.clusterBytes;
  if (refcountBytes > maxTableBytes) throw damaged('the refcount table is too large');
  checkOffset('the refcount table', header.refcountTableOffset, refcountBytes, header, fileBytes);
  if (header.snapshotCount > maxSnapshots) throw damaged(`it has ${String(header.snapshotCount)} snapshots`);
  if (header.snapshotCount > 0)
    checkOffset('the snapshot table', header.snapshotsOffset, 40, header, fileBytes);
}

/** A snapshot inside of a qcow2 image, as its table has it. */
export interface Qcow2Snapshot {
  id: string;
  name: string;
  /** When it was taken, in seconds since 1970. */
  seconds: number;
  /** Saved memory of a machine. */
  stateBytes: number;
  /** Size of the disk then; undefined in old images. */
  diskBytes: number | undefined;
}

/** The internal snapshots. Throws DiskFormatError when the table is damaged. */
export function readQcow2Snapshots(file: ImageFile, header: Qcow2Header): Qcow2Snapshot[] {
  const found: Qcow2Snapshot[] = [];
  let at = header.snapshotsOffset;
  const text = new TextDecoder();
  for (let n = 0; n < header.snapshotCount; n++) {
    if (at + 40 > file.bytes) throw damaged('the snapshot table is cut');
    const entry = new Uint8Array(40);
    file.read(at, entry);
    const view = new DataView(entry.buffer);
    const [idBytes, nameBytes, extraBytes] = [view.getUint16(12), view.getUint16(14), view.getUint32(36)];
    const length = 40 + extraBytes + idBytes + nameBytes;
    if (extraBytes > 1024 || at + length > file.bytes) throw damaged('a snapshot is longer than the file');
    const rest = new Uint8Array(length - 40);
    file.read(at + 40, rest);
    const extra = new DataView(rest.buffer, 0, extraBytes);
    found.push({
      id: text.decode(rest.subarray(extraBytes, extraBytes + idBytes)),
      name: text.decode(rest.subarray(extraBytes + idBytes)),
      seconds: view.getUint32(16),
      stateBytes: extraBytes >= 8 ? Number(extra.getBigUint64(0)) : view.getUint32(32),
      diskBytes: extraBytes >= 16 ? Number(extra.getBigUint64(8)) : undefined,
    });
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}
