/**
 * What a loader hands to the machine: bytes to place in guest-physical memory and the state in which the boot
 * processor starts. Loaders are pure: bytes in, plan out.
 */
import type { GprName } from '../cpu/registers.ts';
import { BootError } from './errors.ts';

/** Bytes that go into memory before the start. */
export interface PhysicalWrite {
  /** Guest-physical address in bytes. */
  address: number;
  bytes: Uint8Array;
}

/** One entry of the memory map that firmware reports (INT 15h E820 types: 1 RAM, 2 reserved, 3 ACPI reclaimable). */
export interface MemoryRange {
  address: number;
  sizeBytes: number;
  type: 1 | 2 | 3;
}

/** A segment register at the start. */
export interface BootSegment {
  selector: number;
  base: number;
  /** Byte-granular. */
  limit: number;
  /** As SegmentField.attributes of cpu/layout.ts. */
  attributes: number;
}

/** Name of a segment register that a plan sets. */
export type SegmentName = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs';

/** Differences from the power-on state of the processor. */
export interface BootCpuState {
  rip: number;
  gpr: Partial<Record<GprName, number>>;
  segments: Partial<Record<SegmentName, BootSegment>>;
  cr0?: number;
  cr3?: number;
  cr4?: number;
  efer?: number;
  gdtr?: { base: number; limit: number };
  idtr?: { base: number; limit: number };
}

/** What `Machine.boot` does: bytes to write, and where the processor begins. */
export interface BootPlan {
  format: 'bzimage-32' | 'bzimage-64' | 'pvh' | 'multiboot' | 'flat' | 'boot-sector' | 'rom';
  writes: PhysicalWrite[];
  /** A firmware image that the machine maps read-only, ending at 4 GiB and aliased below 1 MiB. */
  rom?: Uint8Array;
  /** Absent: start at the reset vector. */
  cpu?: BootCpuState;
}

/** What a loader knows of the machine that it loads for. */
export interface BootEnvironment {
  memoryMap: readonly MemoryRange[];
  /** Guest-physical address of the ACPI RSDP, when the machine has one. */
  rsdpAddress?: number;
}

/** The extended BIOS data area, at the end of conventional memory. */
const extendedDataArea = 0x9_fc00;

/** Memory map of a PC whose RAM starts at 0: conventional memory, the ROM area, extended memory. */
export function pcMemoryMap(memoryBytes: number, reservedTopBytes = 0): MemoryRange[] {
  const map: MemoryRange[] = [
    { address: 0, sizeBytes: extendedDataArea, type: 1 },
    { address: extendedDataArea, sizeBytes: 0x400, type: 2 },
    { address: 0xf_0000, sizeBytes: 0x1_0000, type: 2 },
  ];
  const usable = memoryBytes - reservedTopBytes;
  if (usable > 0x10_0000) map.push({ address: 0x10_0000, sizeBytes: usable - 0x10_0000, type: 1 });
  if (reservedTopBytes > 0) map.push({ address: usable, sizeBytes: reservedTopBytes, type: 3 });
  return map;
}

/** Of an interrupt that stands for a call of the BIOS: sets CF in the caller's flags (push bp; mov bp,sp; or byte [bp+6],1; pop bp; iret). */
const refuseCall = [0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xcf];
const refuseCallOffset = 0x10;
/** Of exceptions and hardware interrupts: IRET, the last instruction of the same code. */
const ignoreOffset = refuseCallOffset + refuseCall.length - 1;

/** The vectors of the 8259A pair as a BIOS leaves them, and below them those of exceptions. */
function isInterrupt(vector: number): boolean {
  return vector < 0x10 || (vector >= 0x70 && vector < 0x78);
}

/**
 * What kernels look up in low memory though no BIOS has run (Phoenix System BIOS for IBM PCs, "BIOS data area"): where the extended area is
 * (word 40Eh, a segment), how many KiB of conventional memory there are below it (word 413h), and interrupt vectors. A call
 * of the BIOS, as Xen's real-mode code makes, comes back with CF set: there is no such function.
 */
export function biosDataArea(): PhysicalWrite[] {
  const word = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
  const segment = extendedDataArea >> 4;
  const vectors = new Uint8Array(0x400);
  const view = new DataView(vectors.buffer);
  for (let vector = 0; vector < 256; vector++) {
    view.setUint16(vector * 4, isInterrupt(vector) ? ignoreOffset : refuseCallOffset, true);
    view.setUint16(vector * 4 + 2, segment, true);
  }
  return [
    { address: 0, bytes: vectors },
    { address: 0x40e, bytes: word(segment) },
    { address: 0x413, bytes: word(extendedDataArea >> 10) },
    // Its first byte is its own size in KiB.
    { address: extendedDataArea, bytes: Uint8Array.of(1) },
    { address: extendedDataArea + refuseCallOffset, bytes: Uint8Array.from(refuseCall) },
  ];
}

/** Conventional memory that a kernel may ask for: above the BIOS data area, below what the loaders themselves put there. */
const conventional = { start: 0x600, end: 0x9_0000 } as const;

/** End of the RAM range that starts at 1 MiB; throws when there is none. */
export function endOfExtendedMemory(environment: BootEnvironment): number {
  const range = environment.memoryMap.find(
    (r) => r.type === 1 && r.address <= 0x10_0000 && r.address + r.sizeBytes > 0x10_0000,
  );
  if (range === undefined) {
    throw new BootError(
      'MEMORY_TOO_SMALL',
      'the machine has no memory above 1 MiB',
      'give it more, for example --memory 128M',
    );
  }
  return range.address + range.sizeBytes;
}

/** Throws unless [address, address + size) lies in RAM that a kernel may be loaded to: conventional or extended. */
export function requireLoadableMemory(
  environment: BootEnvironment,
  what: string,
  address: number,
  sizeBytes: number,
): void {
  const end = address + sizeBytes;
  if (address >= conventional.start && end <= conventional.end) return;
  if (address < 0x10_0000) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      `${what} wants to lie at 0x${address.toString(16)} to 0x${end.toString(16)}, where the loader or firmware has its own`,
      'link it for 0x600 to 0x90000, or for 1 MiB and above',
    );
  }
  requireExtendedMemory(environment, what, address, sizeBytes);
}

/** Throws unless [address, address + size) lies in extended RAM. */
export function requireExtendedMemory(
  environment: BootEnvironment,
  what: string,
  address: number,
  sizeBytes: number,
): void {
  const end = endOfExtendedMemory(environment);
  if (address < 0x10_0000 || address + sizeBytes > end) {
    const needed = Math.ceil((address + sizeBytes) / 2 ** 20);
    throw new BootError(
      'MEMORY_TOO_SMALL',
      `${what} needs memory up to ${needed} MiB, the machine has ${Math.floor(end / 2 ** 20)} MiB`,
      `start it with --memory ${Math.max(64, 2 ** Math.ceil(Math.log2(needed * 1.5)))}M or more`,
    );
  }
}

/** Where an initial RAM disk goes: as high as possible, page-aligned, below `highest` and above `lowest`. */
export function placeInitrd(
  environment: BootEnvironment,
  sizeBytes: number,
  lowest: number,
  highest: number,
): number {
  const end = Math.min(endOfExtendedMemory(environment), highest + 1);
  const address = Math.floor((end - sizeBytes) / 4096) * 4096;
  if (address < lowest)
    requireExtendedMemory(
      environment,
      'the kernel with its initial RAM disk',
      lowest,
      sizeBytes + (highest + 1 < end ? 0 : 4096),
    );
  if (address < lowest)
    throw new BootError(
      'MEMORY_TOO_SMALL',
      'the initial RAM disk does not fit below the limit of this kernel',
      'use a smaller initrd',
    );
  return address;
}

/** NUL-terminated command line. */
export function encodeCommandLine(text: string, limitBytes: number): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > limitBytes) {
    throw new BootError(
      'COMMAND_LINE_TOO_LONG',
      `the command line has ${bytes.length} bytes, this kernel takes ${limitBytes}`,
      'shorten --append',
    );
  }
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** Attributes (see BootSegment) of the segments that the boot protocols ask for. */
const flatCode32 = 0xc09b;
const flatData32 = 0xc093;
const flatCode64 = 0xa09b;

/** GDT with code at `codeSelector` and data at `dataSelector`, as descriptors. */
function descriptorTable(entries: Record<number, bigint>, count: number): Uint8Array {
  const table = new Uint8Array(count * 8);
  const view = new DataView(table.buffer);
  for (const [selector, descriptor] of Object.entries(entries))
    view.setBigUint64(Number(selector), descriptor, true);
  return table;
}

export interface FlatMode {
  codeSelector: number;
  dataSelector: number;
  gdtAddress: number;
  long: boolean;
}

/** Flat protected (or 64-bit) mode with a GDT in memory; interrupts off, no IDT. */
export function flatMode({ codeSelector, dataSelector, gdtAddress, long }: FlatMode): {
  write: PhysicalWrite;
  cpu: Omit<BootCpuState, 'rip' | 'gpr'>;
} {
  const code = long ? 0x00af_9b00_0000_ffffn : 0x00cf_9b00_0000_ffffn;
  const table = descriptorTable(
    { [codeSelector]: code, [dataSelector]: 0x00cf_9300_0000_ffffn },
    Math.max(codeSelector, dataSelector) / 8 + 1,
  );
  const data: BootSegment = { selector: dataSelector, base: 0, limit: 0xffff_ffff, attributes: flatData32 };
  return {
    write: { address: gdtAddress, bytes: table },
    cpu: {
      cr0: 0x11,
      segments: {
        cs: {
          selector: codeSelector,
          base: 0,
          limit: 0xffff_ffff,
          attributes: long ? flatCode64 : flatCode32,
        },
        ds: data,
        es: data,
        ss: data,
        fs: data,
        gs: data,
      },
      gdtr: { base: gdtAddress, limit: table.length - 1 },
      idtr: { base: 0, limit: 0 },
    },
  };
}
