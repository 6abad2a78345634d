/**
 * The contract between emulator and storage (docs/CHECKPOINT_FORMAT.md, "Snapshot"): plain typed data. Neither package
 * imports the other; each declares the same structural type. Storage keeps `description`, `cpus` and `devices` without
 * looking inside.
 */
import { StorageError } from './errors.ts';

/** One space of a VM: RAM, video RAM or a disk, addressed by page. */
export interface SpaceSnapshot {
  name: string;
  /** Bytes per page, a power of two (4096 for RAM). */
  pageSize: number;
  /** Size of the space in pages. */
  pageCount: number;
  /** true: pages not listed are zero (as in the base image, with `onBase`); false: as in the snapshot before. */
  full: boolean;
  /** Of a full space: true: pages not listed are as in its base image, and a listed page may be zero; false or absent: they are zero. */
  onBase?: boolean;
  /** Page numbers, strictly ascending. */
  indexes: Uint32Array;
  /** The listed pages, `indexes.length * pageSize` bytes in the order of `indexes`. Owned by the receiver. */
  bytes: Uint8Array;
  /** Instead of `bytes`, which is empty then: the listed pages from the `from`th until before the `to`th, for a writer of what no memory holds. */
  read?: (from: number, to: number) => Promise<Uint8Array>;
}

/** One instant of a machine. */
export interface MachineSnapshot {
  /** JSON-like machine description: processor, memory, devices, firmware. Opaque here. */
  description: unknown;
  /** Processor states by field name. Opaque here. */
  cpus: unknown[];
  /** Device states by device name, each with the version of its own schema. Opaque here. */
  devices: Record<string, { version: number; state: unknown }>;
  /** Retired instructions at the cut. */
  instructions: bigint;
  /** Guest time at the cut, in nanoseconds. */
  virtualTimeNs: bigint;
  spaces: SpaceSnapshot[];
}

/** Shape of a space without its contents. */
export interface SpaceShape {
  name: string;
  pageSize: number;
  pageCount: number;
}

export const maxPageSize = 65536;
export const minPageSize = 512;
/** 1 TiB of pages of 4 KiB; a page map takes 8 bytes a page. */
export const maxPageCount = 1 << 28;
export const maxSpaces = 64;
const namePattern = /^[a-z][a-z0-9_.-]{0,62}$/;

/** Throws `SNAPSHOT_INVALID` unless name, page size and page count are within the format's bounds. */
export function checkSpaceShape(space: SpaceShape): void {
  const bad = (why: string): StorageError =>
    new StorageError('SNAPSHOT_INVALID', `space ${JSON.stringify(space.name)}: ${why}`);
  if (typeof space.name !== 'string' || !namePattern.test(space.name))
    throw bad('its name must match ' + String(namePattern));
  const { pageSize, pageCount } = space;
  const power = Number.isInteger(pageSize) && (pageSize & (pageSize - 1)) === 0;
  if (!power || pageSize < minPageSize || pageSize > maxPageSize)
    throw bad(`page size ${String(pageSize)} is not a power of two in 512..65536`);
  if (!Number.isInteger(pageCount) || pageCount < 0 || pageCount > maxPageCount)
    throw bad(`page count ${String(pageCount)} is out of range`);
}

/** Throws `SNAPSHOT_INVALID` unless `snapshot` keeps the contract (indexes ascending and in range, sizes agree, names unique). */
export function checkSnapshot(snapshot: MachineSnapshot): void {
  const bad = (why: string): StorageError => new StorageError('SNAPSHOT_INVALID', `snapshot: ${why}`);
  if (!Array.isArray(snapshot.cpus)) throw bad('cpus is not an array');
  if (typeof snapshot.instructions !== 'bigint' || snapshot.instructions < 0n)
    throw bad('instructions is not a count');
  if (typeof snapshot.virtualTimeNs !== 'bigint' || snapshot.virtualTimeNs < 0n)
    throw bad('virtualTimeNs is not a time');
  if (snapshot.spaces.length > maxSpaces) throw bad(`more than ${String(maxSpaces)} spaces`);
  const names = new Set<string>();
  for (const space of snapshot.spaces) {
    checkSpaceShape(space);
    if (names.has(space.name)) throw bad(`two spaces named ${space.name}`);
    names.add(space.name);
    const pages = space.read === undefined ? space.indexes.length : 0;
    if (space.bytes.length !== pages * space.pageSize)
      throw bad(`space ${space.name}: ${String(space.bytes.length)} bytes for ${String(pages)} pages`);
    checkIndexes(space);
  }
}

function checkIndexes(space: SpaceSnapshot): void {
  let before = -1;
  for (const index of space.indexes) {
    if (index <= before || index >= space.pageCount)
      throw new StorageError(
        'SNAPSHOT_INVALID',
        `snapshot: space ${space.name}: page ${String(index)} is out of order or range`,
      );
    before = index;
  }
}

/** True when every byte is zero. Aligned pages are compared eight bytes at a time. */
export function isZeroPage(page: Uint8Array): boolean {
  if ((page.byteOffset & 7) === 0 && (page.length & 7) === 0) {
    for (const word of new BigUint64Array(page.buffer, page.byteOffset, page.length >> 3)) {
      if (word !== 0n) return false;
    }
    return true;
  }
  for (const byte of page) if (byte !== 0) return false;
  return true;
}
