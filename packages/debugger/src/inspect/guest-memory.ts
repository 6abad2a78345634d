/**
 * A guest's memory as its processor sees it: physical addresses of the machine (RAM, video RAM, ROM), and linear ones through the
 * page tables that the processor's state points to. SDM Vol. 3A 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level).
 */
import type { CpuState } from '@revenant/emulator';
import { InspectError, type CheckpointView } from './view.ts';

const Cr0 = { pg: 1n << 31n };
const Cr4 = { pse: 1n << 4n, pae: 1n << 5n };
const eferLma = 1n << 10n;
const Entry = { present: 1n, writable: 2n, user: 4n, large: 0x80n, noExecute: 1n << 63n } as const;
const pageBytes = 4096n;
const pagesKept = 4096;
const vgaTextBase = 0xb_8000n;
const vgaTextBytes = 0x8000n;
const fourGiB = 1n << 32n;

export type PagingMode = 'none' | '32-bit' | 'PAE' | '4-level';

export interface Mapping {
  physical: bigint;
  /** Bytes of the page: 4 KiB, 2 MiB, 4 MiB or 1 GiB. */
  pageBytes: bigint;
  writable: boolean;
  user: boolean;
  executable: boolean;
}

/** Linear addresses [from, to) with the same rights. */
export interface MappedRange {
  from: bigint;
  to: bigint;
  writable: boolean;
  user: boolean;
  executable: boolean;
}

interface Level {
  shift: bigint;
  bits: bigint;
  /** A large page may be here. */
  mayBeLarge: boolean;
}

const levels: Record<Exclude<PagingMode, 'none'>, readonly Level[]> = {
  '32-bit': [
    { shift: 22n, bits: 10n, mayBeLarge: true },
    { shift: 12n, bits: 10n, mayBeLarge: false },
  ],
  PAE: [
    { shift: 21n, bits: 9n, mayBeLarge: true },
    { shift: 12n, bits: 9n, mayBeLarge: false },
  ],
  '4-level': [
    { shift: 39n, bits: 9n, mayBeLarge: false },
    { shift: 30n, bits: 9n, mayBeLarge: true },
    { shift: 21n, bits: 9n, mayBeLarge: true },
    { shift: 12n, bits: 9n, mayBeLarge: false },
  ],
};

const addressMask = 0x000f_ffff_ffff_f000n;

/** The processor's state; the emulator checked it when it was saved, this checks what the inspector uses. */
export function cpuOf(reader: CheckpointView, index = 0): CpuState {
  const cpu = reader.state.cpus[index];
  if (typeof cpu === 'object' && cpu !== null && typeof (cpu as CpuState).cr3 === 'bigint')
    return cpu as CpuState;
  throw new InspectError(
    `the checkpoint has no state of processor ${index}`,
    `it has ${reader.state.cpus.length} processors`,
  );
}

/** How much memory is behind one space, and where it begins in physical addresses. */
interface Area {
  space: string;
  start: bigint;
  end: bigint;
}

export class GuestMemory {
  readonly #reader: CheckpointView;
  readonly #areas: readonly Area[];
  readonly #pages = new Map<string, Uint8Array>();
  readonly cpu: CpuState;
  readonly mode: PagingMode;

  constructor(reader: CheckpointView, cpu: CpuState = cpuOf(reader)) {
    this.#reader = reader;
    this.cpu = cpu;
    this.#areas = reader.spaces.flatMap(({ name, pageSize, pageCount }) => {
      const size = BigInt(pageSize) * BigInt(pageCount);
      // Text memory never moves; that of a display with graphics is nowhere as a whole.
      const text = size === vgaTextBytes ? vgaTextBase : undefined;
      const start = { ram: 0n, vram: text, rom: fourGiB - size }[name];
      return start === undefined || pageSize !== 4096 ? [] : [{ space: name, start, end: start + size }];
    });
    this.mode = pagingMode(cpu);
  }

  /** Bytes of physical memory, holes as undefined pages. */
  async page(physical: bigint): Promise<Uint8Array | undefined> {
    // Video memory lies over RAM.
    const area = this.#areas.findLast(({ start, end }) => physical >= start && physical < end);
    if (area === undefined) return undefined;
    const index = Number((physical - area.start) / pageBytes);
    const key = `${area.space} ${index}`;
    const known = this.#pages.get(key);
    if (known !== undefined) return known;
    if (this.#pages.size >= pagesKept) this.#pages.clear();
    const bytes = await this.#reader.readPages(area.space, Uint32Array.of(index));
    this.#pages.set(key, bytes);
    return bytes;
  }

  async #entry(physical: bigint, bytes: 4 | 8): Promise<bigint> {
    const page = await this.page(physical);
    if (page === undefined) return 0n;
    const view = new DataView(page.buffer, page.byteOffset);
    const at = Number(physical % pageBytes);
    return bytes === 4 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
  }

  /** Where a linear address is; undefined when no page is present there. */
  async translate(linear: bigint): Promise<Mapping | undefined> {
    const { cpu, mode } = this;
    if (mode === 'none')
      return { physical: linear & 0xffff_ffffn, pageBytes, writable: true, user: true, executable: true };
    if (mode === '4-level' && BigInt.asIntN(48, linear) !== BigInt.asIntN(64, linear)) return undefined;
    const address = mode === '4-level' ? linear : linear & 0xffff_ffffn;
    const size = mode === '32-bit' ? 4 : 8;
    let table = cpu.cr3 & (mode === '32-bit' ? 0xffff_f000n : addressMask);
    if (mode === 'PAE') {
      const pdpte = [cpu.pdpte0, cpu.pdpte1, cpu.pdpte2, cpu.pdpte3][Number(address >> 30n)] ?? 0n;
      if (!(pdpte & Entry.present)) return undefined;
      table = pdpte & addressMask;
    }
    const rights = { writable: true, user: true, executable: true };
    for (const { shift, bits, mayBeLarge } of levels[mode]) {
      const index = (address >> shift) & ((1n << bits) - 1n);
      const entry = await this.#entry(table + index * BigInt(size), size as 4 | 8);
      if (!(entry & Entry.present)) return undefined;
      rights.writable &&= (entry & Entry.writable) !== 0n;
      rights.user &&= (entry & Entry.user) !== 0n;
      rights.executable &&= size === 4 || (entry & Entry.noExecute) === 0n;
      const large =
        mayBeLarge && (entry & Entry.large) !== 0n && (mode !== '32-bit' || (cpu.cr4 & Cr4.pse) !== 0n);
      if (!large && shift !== 12n) {
        table = entry & (size === 4 ? 0xffff_f000n : addressMask);
        continue;
      }
      const span = 1n << shift;
      return { physical: frameOf(entry, span, size) | (address & (span - 1n)), pageBytes: span, ...rights };
    }
    return undefined;
  }

  /** What is mapped between two linear addresses, ranges of the same rights joined. Only of four-level paging. */
  async *ranges(from: bigint, to: bigint): AsyncGenerator<MappedRange, void> {
    let last: MappedRange | undefined;
    const everything = { writable: true, user: true, executable: true };
    for await (const piece of this.#pieces(this.cpu.cr3 & addressMask, 0, 0n, { from, to, ...everything })) {
      const joins =
        last?.to === piece.from &&
        last.writable === piece.writable &&
        last.user === piece.user &&
        last.executable === piece.executable;
      if (joins && last !== undefined) last.to = piece.to;
      else {
        if (last !== undefined) yield last;
        last = piece;
      }
    }
    if (last !== undefined) yield last;
  }

  /** Of the table at a physical address, whose first entry stands for `base`. */
  async *#pieces(
    table: bigint,
    depth: number,
    base: bigint,
    within: MappedRange,
  ): AsyncGenerator<MappedRange, void> {
    const level = levels['4-level'][depth];
    const page = level === undefined ? undefined : await this.page(table);
    if (level === undefined || page === undefined) return;
    const view = new DataView(page.buffer, page.byteOffset, page.length);
    const span = 1n << level.shift;
    for (let n = 0; n < 512; n++) {
      const at = base + BigInt(n) * span;
      const entry = view.getBigUint64(n * 8, true);
      if ((entry & Entry.present) === 0n || at >= within.to || at + span <= within.from) continue;
      const rights = {
        writable: within.writable && (entry & Entry.writable) !== 0n,
        user: within.user && (entry & Entry.user) !== 0n,
        executable: within.executable && (entry & Entry.noExecute) === 0n,
      };
      if (level.shift === 12n || (level.mayBeLarge && (entry & Entry.large) !== 0n))
        yield { from: at, to: at + span, ...rights };
      else yield* this.#pieces(entry & addressMask, depth + 1, at, { ...within, ...rights });
    }
  }

  /** Bytes at a linear address, up to the first page that is not present. */
  async read(linear: bigint, length: number): Promise<Uint8Array> {
    return this.#collect(linear, length, async (address) => (await this.translate(address))?.physical);
  }

  /** Bytes at a physical address, up to the first hole. */
  async readPhysical(physical: bigint, length: number): Promise<Uint8Array> {
    return this.#collect(physical, length, (address) => Promise.resolve(address));
  }

  async #collect(
    start: bigint,
    length: number,
    locate: (address: bigint) => Promise<bigint | undefined>,
  ): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const physical = await locate(BigInt.asUintN(64, start + BigInt(at)));
      const page = physical === undefined ? undefined : await this.page(physical - (physical % pageBytes));
      if (physical === undefined || page === undefined) return bytes.subarray(0, at);
      const piece = page.subarray(Number(physical % pageBytes)).subarray(0, length - at);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

function frameOf(entry: bigint, span: bigint, size: number): bigint {
  if (size === 8) return entry & addressMask & ~(span - 1n);
  // A 4 MiB page of 32-bit paging has bits 39-32 of its address in bits 20-13 (PSE-36).
  if (span > pageBytes) return (entry & 0xffc0_0000n) | (((entry >> 13n) & 0xffn) << 32n);
  return entry & 0xffff_f000n;
}

/** SDM Vol. 3A 4.1.1. */
export function pagingMode({ cr0, cr4, efer }: CpuState): PagingMode {
  if (!(cr0 & Cr0.pg)) return 'none';
  if (efer & eferLma) return '4-level';
  return cr4 & Cr4.pae ? 'PAE' : '32-bit';
}
