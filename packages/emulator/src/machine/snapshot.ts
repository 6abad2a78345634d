/** Snapshots: the whole state of a machine as plain data (DESIGN section 6), with the pages that changed since the snapshot before. */
import { pageBytes } from '../cpu/layout.ts';
import { MachineError } from './errors.ts';
import type { MachineDescription } from './description.ts';
import type { BackingSpace, MemoryMap } from './memory-map.ts';

export interface SpaceSnapshot {
  name: string;
  pageSize: number;
  pageCount: number;
  /** True: pages that are not listed are zero (as in the base image, with `onBase`). False: they are as in the snapshot before. */
  full: boolean;
  /** Of a full space, a disk: true: pages that are not listed are as in its base image; false or absent: they are zero. */
  onBase?: boolean;
  /** Numbers of the listed pages, ascending. */
  indexes: Uint32Array;
  /** Their contents, one after the other; owned by whoever receives the snapshot. */
  bytes: Uint8Array;
}

export interface MachineSnapshot {
  description: unknown;
  cpus: unknown[];
  devices: Record<string, { version: number; state: unknown }>;
  instructions: bigint;
  virtualTimeNs: bigint;
  spaces: SpaceSnapshot[];
}

/** A snapshot whose description the machine itself wrote. */
export interface DescribedSnapshot extends MachineSnapshot {
  description: MachineDescription;
}

const wordsPerPage = pageBytes / 4;

/** Copies a space's dirty pages, or (full) all that are not zero. */
export function saveSpace(memory: MemoryMap, space: BackingSpace, full: boolean): SpaceSnapshot {
  const pageCount = space.bytes / pageBytes;
  const firstPage = (space.address - memory.backingBase) / pageBytes;
  const wanted: number[] = [];
  for (let page = 0; page < pageCount; page++)
    if (full ? !isZeroPage(memory, space.address + page * pageBytes) : isDirty(memory, firstPage + page))
      wanted.push(page);
  const bytes = new Uint8Array(wanted.length * pageBytes);
  wanted.forEach((page, n) => {
    const at = space.address + page * pageBytes;
    bytes.set(memory.bytes.subarray(at, at + pageBytes), n * pageBytes);
  });
  return { name: space.name, pageSize: pageBytes, pageCount, full, indexes: Uint32Array.from(wanted), bytes };
}

function isDirty(memory: MemoryMap, page: number): boolean {
  return ((memory.bytes[memory.dirtyBitmapAddress + (page >> 3)] ?? 0) & (1 << (page & 7))) !== 0;
}

export function isZeroPage(memory: MemoryMap, address: number): boolean {
  const words = new Int32Array(memory.memory.buffer, address, wordsPerPage);
  for (let n = 0; n < wordsPerPage; n++) if (words[n] !== 0) return false;
  return true;
}

function refuse(what: string): never {
  throw new MachineError(
    'MACHINE_SNAPSHOT_INVALID',
    `snapshot: ${what}`,
    'use an intact snapshot made for this machine',
  );
}

/** Throws MachineError unless the snapshot has the parts that every one has. */
export function checkShape(snapshot: MachineSnapshot): void {
  const { cpus, devices, spaces } = (snapshot ?? {}) as Partial<MachineSnapshot>;
  if (!Array.isArray(cpus) || cpus.length !== 1) refuse('it must have one processor');
  if (typeof devices !== 'object' || devices === null) refuse('it has no devices');
  if (!Array.isArray(spaces)) refuse('it has no spaces');
}

/** Throws MachineError unless `saved` fits the space. */
export function checkSpace(
  space: { name: string; bytes: number },
  saved: SpaceSnapshot | undefined,
): SpaceSnapshot {
  if (saved === undefined) refuse(`space ${space.name} is missing`);
  const pageCount = space.bytes / pageBytes;
  if (saved.pageSize !== pageBytes || saved.pageCount !== pageCount)
    refuse(
      `space ${space.name} has ${String(saved.pageCount)} pages of ${String(saved.pageSize)}, not ${String(pageCount)} of 4096`,
    );
  if (!saved.full) refuse(`space ${space.name} holds changes only`);
  if (!(saved.indexes instanceof Uint32Array) || !(saved.bytes instanceof Uint8Array))
    refuse(`space ${space.name} has no pages`);
  if (saved.bytes.length !== saved.indexes.length * pageBytes) refuse(`space ${space.name} is cut short`);
  let before = -1;
  for (const index of saved.indexes) {
    if (index <= before || index >= pageCount)
      refuse(`space ${space.name} lists page ${String(index)} out of order`);
    before = index;
  }
  return saved;
}

/** Replaces a space's contents. */
export function restoreSpace(memory: MemoryMap, space: BackingSpace, saved: SpaceSnapshot): void {
  memory.bytes.fill(0, space.address, space.address + space.bytes);
  saved.indexes.forEach((page, n) => {
    memory.bytes.set(
      saved.bytes.subarray(n * pageBytes, (n + 1) * pageBytes),
      space.address + page * pageBytes,
    );
  });
}
