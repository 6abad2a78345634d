/** Recognises what kind of image it was given and plans its start. */
import { isBzImage, planBzImage } from './bzimage.ts';
import { isElf, parseElf } from './elf.ts';
import { BootError } from './errors.ts';
import { findMultibootHeader, planMultiboot } from './multiboot.ts';
import { biosDataArea, flatMode, requireExtendedMemory } from './plan.ts';
import type { BootEnvironment, BootPlan } from './plan.ts';
import { planPvh, pvhEntry } from './pvh.ts';

export { BootError } from './errors.ts';
export type { BootErrorCode } from './errors.ts';
export { pcMemoryMap } from './plan.ts';
export type {
  BootCpuState,
  BootEnvironment,
  BootPlan,
  BootSegment,
  MemoryRange,
  PhysicalWrite,
  SegmentName,
} from './plan.ts';

/** A kernel that is to be started, with what belongs to it. */
export interface BootRequest {
  kernel: Uint8Array;
  initrd?: Uint8Array;
  commandLine?: string;
  /** The processor has long mode: a bzImage with a 64-bit entry is entered there. */
  longMode: boolean;
}

const sectorBytes = 512;
const maxRomBytes = 16 * 2 ** 20;

/** Plan for any kernel image: multiboot 1, ELF with a PVH note, or bzImage; throws BootError. */
export function planKernel(request: BootRequest, environment: BootEnvironment): BootPlan {
  const { kernel, initrd, commandLine = '' } = request;
  const common = { commandLine, ...(initrd === undefined ? {} : { initrd }) };
  if (kernel.length >= sectorBytes || isElf(kernel)) {
    // Xen has both headers; its PVH entry is for a guest of another Xen.
    if (isElf(kernel) && findMultibootHeader(kernel) === undefined) {
      const elf = parseElf(kernel);
      const entry = pvhEntry(elf);
      if (entry !== undefined) return planPvh({ ...common, elf, entry }, environment);
    }
    if (isBzImage(kernel))
      return planBzImage(
        { ...common, image: kernel, long: request.longMode && hasLongEntry(kernel) },
        environment,
      );
  }
  const headerAt = findMultibootHeader(kernel);
  if (headerAt !== undefined) return planMultiboot({ ...common, image: kernel, headerAt }, environment);
  const what = isElf(kernel)
    ? 'the ELF file has neither a PVH note nor a multiboot header'
    : 'the file is no kernel that can be started directly';
  throw new BootError(
    'NOT_A_KERNEL',
    what,
    'give a bzImage, an ELF kernel with a PVH note, or a multiboot kernel',
  );
}

function hasLongEntry(kernel: Uint8Array): boolean {
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  return view.getUint16(0x206, true) >= 0x20c && (view.getUint16(0x236, true) & 1) !== 0;
}

/** Plan for a raw boot sector, started as a BIOS would: at 0000:7C00 in real mode with DL = 0x80. */
export function planBootSector(image: Uint8Array): BootPlan {
  if (image.length < sectorBytes || image[510] !== 0x55 || image[511] !== 0xaa) {
    throw new BootError(
      'NOT_A_KERNEL',
      'the file is no boot sector (no 55 AA at byte 510)',
      'give an image whose first sector is bootable',
    );
  }
  const segment = { selector: 0, base: 0, limit: 0xffff, attributes: 0x93 };
  const segments = {
    cs: { ...segment, attributes: 0x9b },
    ds: segment,
    es: segment,
    ss: segment,
    fs: segment,
    gs: segment,
  };
  return {
    format: 'boot-sector',
    writes: [...biosDataArea(), { address: 0x7c00, bytes: image.subarray(0, sectorBytes) }],
    cpu: { rip: 0x7c00, gpr: { rdx: 0x80, rsp: 0x7c00 }, segments },
  };
}

/** Plan for a flat 32-bit image, loaded and entered at `address` in flat protected mode. */
export function planFlat(image: Uint8Array, address: number, environment: BootEnvironment): BootPlan {
  requireExtendedMemory(environment, 'the image', address, image.length);
  const mode = flatMode({ codeSelector: 8, dataSelector: 0x10, gdtAddress: 0x9_3000, long: false });
  return {
    format: 'flat',
    writes: [...biosDataArea(), mode.write, { address, bytes: image }],
    cpu: { ...mode.cpu, rip: address, gpr: { rsp: address } },
  };
}

/** Plan for firmware: mapped to end at 4 GiB, its last 128 KiB also below 1 MiB; the processor starts at the reset vector. */
export function planRom(image: Uint8Array): BootPlan {
  if (image.length === 0 || image.length > maxRomBytes || image.length % 4096 !== 0) {
    throw new BootError(
      'NOT_A_KERNEL',
      `a ROM image has a multiple of 4096 bytes up to 16 MiB, not ${image.length}`,
      'give a firmware image, for example bios.bin of SeaBIOS',
    );
  }
  return { format: 'rom', writes: [], rom: image };
}
