/** Snapshots: the whole state of a machine as plain data, with the pages that changed since the snapshot before. */
import { pageBytes } from '../cpu/layout.ts';
import { MachineError } from './errors.ts';
import type { MachineDescription } from './description.ts';
import type { BackingSpace, MemoryMap } from './memory-map.ts';
import type { PageBuffers } from './page-buffers.ts';

/** Pages of one space of a snapshot: RAM, video RAM, or a disk. */
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

/** All that a machine is at one instruction count, or what changed since another snapshot: plain data, for whoever stores it. */
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

/**
 * Copies a space's dirty pages, into `buffers` if given, or (full) all that are not zero, into memory of their own.
 * `fresh`: all pages that are not zero are dirty, so that the others need not be looked at.
 */
export function saveSpace(
  memory: MemoryMap,
  space: BackingSpace,
  { full, fresh, buffers }: { full: boolean; fresh: boolean; buffers?: PageBuffers | undefined },
): SpaceSnapshot {
  const pageCount = space.bytes / pageBytes;
  const firstPage = (space.address - memory.backingBase) / pageBytes;
  if (full) memory.absent.pageInAll();
  const dirty = (): Uint32Array => dirtyPages(memory, firstPage, pageCount);
  const indexes = full ? nonZeroPages(memory, space, fresh ? dirty() : undefined) : dirty();
  const size = indexes.length * pageBytes;
  const bytes = full || buffers === undefined ? new Uint8Array(size) : buffers.take(size);
  // Neighbours together: the guest stands still, and each view is garbage.
  for (let from = 0; from < indexes.length;) {
    const first = indexes[from] ?? 0;
    let count = 1;
    while (indexes[from + count] === first + count) count++;
    const at = space.address + first * pageBytes;
    bytes.set(memory.bytes.subarray(at, at + count * pageBytes), from * pageBytes);
    from += count;
  }
  return { name: space.name, pageSize: pageBytes, pageCount, full, indexes, bytes };
}

/** Among `candidates`, or all pages of the space. */
function nonZeroPages(memory: MemoryMap, space: BackingSpace, candidates?: Uint32Array): Uint32Array {
  const holds = (page: number): boolean => !isZeroPage(memory, space.address + page * pageBytes);
  if (candidates !== undefined) return candidates.filter(holds);
  const pages: number[] = [];
  for (let page = 0; page < space.bytes / pageBytes; page++) if (holds(page)) pages.push(page);
  return Uint32Array.from(pages);
}

/** Numbers, from `first` on, of the dirty pages. Goes by words, as a large machine has few dirty pages among many. */
function dirtyPages(memory: MemoryMap, first: number, count: number): Uint32Array {
  const words = new Uint32Array(memory.memory.buffer, memory.dirtyBitmapAddress);
  const end = first + count;
  let bound = 0;
  for (let word = first >> 5; word << 5 < end; word++)
    for (let bits = words[word] ?? 0; bits !== 0; bits &= bits - 1) bound++;
  const pages = new Uint32Array(bound);
  let found = 0;
  for (let word = first >> 5; found < bound && word << 5 < end; word++) {
    for (let bits = words[word] ?? 0; bits !== 0; bits &= bits - 1) {
      const page = (word << 5) + 31 - Math.clz32(bits & -bits);
      if (page >= first && page < end) pages[found++] = page - first;
    }
  }
  return pages.subarray(0, found);
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

/** Throws MachineError unless the snapshot has the parts that every one of a machine with so many processors has. */
export function checkShape(snapshot: MachineSnapshot, cpuCount: number): void {
  const { cpus, devices, spaces } = (snapshot ?? {}) as Partial<MachineSnapshot>;
  if (!Array.isArray(cpus) || cpus.length !== cpuCount)
    refuse(`it must have ${cpuCount === 1 ? 'one processor' : `${String(cpuCount)} processors`}`);
  if (typeof devices !== 'object' || devices === null) refuse('it has no devices');
  if (!Array.isArray(spaces)) refuse('it has no spaces');
}

/** Throws MachineError unless `saved` fits the space, and is whole (`full`) or holds changes only, as is wanted. */
export function checkSpace(
  space: { name: string; bytes: number },
  saved: SpaceSnapshot | undefined,
  full: boolean,
): SpaceSnapshot {
  if (saved === undefined) refuse(`space ${space.name} is missing`);
  const pageCount = space.bytes / pageBytes;
  if (saved.pageSize !== pageBytes || saved.pageCount !== pageCount)
    refuse(
      `space ${space.name} has ${String(saved.pageCount)} pages of ${String(saved.pageSize)}, not ${String(pageCount)} of 4096`,
    );
  if (saved.full !== full) refuse(`space ${space.name} ${full ? 'holds changes only' : 'is whole'}`);
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

/** Replaces a space's contents, or the listed pages of changes. `fresh`: only dirty pages are not zero, so that the many others need not be touched. */
export function restoreSpace(
  memory: MemoryMap,
  space: BackingSpace,
  saved: SpaceSnapshot,
  fresh: boolean,
): void {
  if (saved.full && fresh) {
    const firstPage = (space.address - memory.backingBase) / pageBytes;
    for (const page of dirtyPages(memory, firstPage, space.bytes / pageBytes)) {
      const at = space.address + page * pageBytes;
      memory.bytes.fill(0, at, at + pageBytes);
    }
  } else if (saved.full) memory.bytes.fill(0, space.address, space.address + space.bytes);
  saved.indexes.forEach((page, n) => {
    memory.bytes.set(
      saved.bytes.subarray(n * pageBytes, (n + 1) * pageBytes),
      space.address + page * pageBytes,
    );
  });
}
