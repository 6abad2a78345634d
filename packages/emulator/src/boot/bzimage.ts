/**
 * Linux's own boot protocol: https://docs.kernel.org/arch/x86/boot.html (version 2.15), "Protected mode kernel",
 * "32-bit boot protocol" and "64-bit boot protocol". Names of the fields are those of that document.
 */
import { BootError } from './errors.ts';
import { biosDataArea, encodeCommandLine, flatMode, placeInitrd, requireExtendedMemory } from './plan.ts';
import type { BootEnvironment, BootPlan, MemoryRange, PhysicalWrite } from './plan.ts';

const zeroPageAddress = 0x9_0000;
const commandLineAddress = 0x9_1000;
const gdtAddress = 0x9_3000;
const pageTableAddress = 0x9_4000;

const SetupHeader = {
  setupSects: 0x1f1,
  bootFlag: 0x1fe,
  jump: 0x200,
  header: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadflags: 0x211,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  cmdLinePtr: 0x228,
  code32Start: 0x214,
  initrdAddrMax: 0x22c,
  kernelAlignment: 0x230,
  relocatableKernel: 0x234,
  xloadflags: 0x236,
  cmdlineSize: 0x238,
  initSize: 0x260,
} as const;
const BootParams = {
  acpiRsdpAddr: 0x70,
  e820Entries: 0x1e8,
  setupHeader: 0x1f1,
  e820Table: 0x2d0,
  sizeBytes: 4096,
} as const;
const e820EntryBytes = 20;
const headerMagic = 0x5372_6448; // "HdrS"
const loadedHigh = 1;
const kernel64 = 1;
const loadAddress = 0x10_0000;
const entry64Offset = 0x200;

/** True when `image` carries Linux's setup header. */
export function isBzImage(image: Uint8Array): boolean {
  if (image.length < 0x260) return false;
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  return (
    view.getUint16(SetupHeader.bootFlag, true) === 0xaa55 &&
    view.getUint32(SetupHeader.header, true) === headerMagic
  );
}

export interface BzImageOptions {
  image: Uint8Array;
  initrd?: Uint8Array;
  commandLine: string;
  /** Enter by the 64-bit protocol; the processor must have long mode. Without it the 32-bit protocol is used. */
  long: boolean;
}

interface ParsedHeader {
  view: DataView;
  version: number;
  setupBytes: number;
  headerEnd: number;
}

function parseHeader(image: Uint8Array): ParsedHeader {
  if (!isBzImage(image)) {
    throw new BootError(
      'NOT_A_KERNEL',
      'the file has no Linux setup header',
      'give a bzImage, an ELF kernel, a boot sector or a ROM image',
    );
  }
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const version = view.getUint16(SetupHeader.version, true);
  if (version < 0x204 || (view.getUint8(SetupHeader.loadflags) & loadedHigh) === 0) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      `boot protocol ${version >> 8}.${version & 255} is too old`,
      'use a bzImage of Linux 2.6.14 or later',
    );
  }
  // iPXE's .lkrn and others borrow the header: their real-mode code is the program, and there is nothing to enter in protected mode.
  if (view.getUint32(SetupHeader.code32Start, true) === 0) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      'this image runs in real mode and calls a BIOS, as iPXE does',
      'start it from a disk or CD under firmware (--rom)',
    );
  }
  const setupBytes = ((view.getUint8(SetupHeader.setupSects) || 4) + 1) * 512;
  if (image.length <= setupBytes) {
    throw new BootError(
      'KERNEL_TRUNCATED',
      'the kernel file ends inside its setup code',
      'copy or download the kernel again',
    );
  }
  const syssizeBytes = view.getUint32(0x1f4, true) * 16;
  if (image.length < setupBytes + syssizeBytes - 15) {
    throw new BootError(
      'KERNEL_TRUNCATED',
      `the kernel file has ${image.length} bytes, its header says ${setupBytes + syssizeBytes}`,
      'copy or download the kernel again',
    );
  }
  return { view, version, setupBytes, headerEnd: 0x202 + view.getUint8(0x201) };
}

function writeMemoryMap(view: DataView, map: readonly MemoryRange[]): void {
  view.setUint8(BootParams.e820Entries, map.length);
  map.forEach((range, i) => {
    const at = BootParams.e820Table + i * e820EntryBytes;
    view.setBigUint64(at, BigInt(range.address), true);
    view.setBigUint64(at + 8, BigInt(range.sizeBytes), true);
    view.setUint32(at + 16, range.type, true);
  });
}

/** Identity-mapped first 4 GiB in 2 MiB pages: PML4, one PDPT, four page directories. */
export function identityPageTables(address: number): PhysicalWrite {
  const bytes = new Uint8Array(6 * 4096);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(address + 4096) | 3n, true);
  for (let i = 0; i < 4; i++) view.setBigUint64(4096 + i * 8, BigInt(address + (2 + i) * 4096) | 3n, true);
  for (let i = 0; i < 2048; i++) view.setBigUint64(2 * 4096 + i * 8, (BigInt(i) << 21n) | 0x83n, true);
  return { address, bytes };
}

/** Plan for a bzImage; throws BootError. */
export function planBzImage(options: BzImageOptions, environment: BootEnvironment): BootPlan {
  const { image, initrd } = options;
  const { view, version, setupBytes, headerEnd } = parseHeader(image);
  const kernel = image.subarray(setupBytes);
  const initSize = version >= 0x20a ? view.getUint32(SetupHeader.initSize, true) : kernel.length * 4;
  requireExtendedMemory(environment, 'the kernel', loadAddress, Math.max(initSize, kernel.length));
  const xloadflags = version >= 0x20c ? view.getUint16(SetupHeader.xloadflags, true) : 0;
  if (options.long && (xloadflags & kernel64) === 0) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      'this kernel has no 64-bit entry',
      'enter it by the 32-bit protocol or use an amd64 kernel',
    );
  }

  const zeroPage = new Uint8Array(BootParams.sizeBytes);
  zeroPage.set(image.subarray(BootParams.setupHeader, headerEnd), BootParams.setupHeader);
  const params = new DataView(zeroPage.buffer);
  writeMemoryMap(params, environment.memoryMap);
  if (environment.rsdpAddress !== undefined && version >= 0x20e)
    params.setBigUint64(BootParams.acpiRsdpAddr, BigInt(environment.rsdpAddress), true);
  params.setUint8(SetupHeader.typeOfLoader, 0xff);
  params.setUint32(SetupHeader.cmdLinePtr, commandLineAddress, true);
  const commandLineLimit = version >= 0x206 ? view.getUint32(SetupHeader.cmdlineSize, true) : 255;

  const writes: PhysicalWrite[] = [
    { address: loadAddress, bytes: kernel },
    {
      address: commandLineAddress,
      bytes: encodeCommandLine(options.commandLine, Math.min(commandLineLimit, 4095)),
    },
  ];
  if (initrd !== undefined) {
    const highest = view.getUint32(SetupHeader.initrdAddrMax, true);
    const address = placeInitrd(environment, initrd.length, loadAddress + initSize, highest);
    params.setUint32(SetupHeader.ramdiskImage, address, true);
    params.setUint32(SetupHeader.ramdiskSize, initrd.length, true);
    writes.push({ address, bytes: initrd });
  }
  writes.push({ address: zeroPageAddress, bytes: zeroPage });

  const mode = flatMode({ codeSelector: 0x10, dataSelector: 0x18, gdtAddress, long: options.long });
  writes.push(mode.write, ...biosDataArea());
  if (!options.long) {
    return {
      format: 'bzimage-32',
      writes,
      cpu: { ...mode.cpu, rip: loadAddress, gpr: { rsi: zeroPageAddress } },
    };
  }
  writes.push(identityPageTables(pageTableAddress));
  return {
    format: 'bzimage-64',
    writes,
    cpu: {
      ...mode.cpu,
      rip: loadAddress + entry64Offset,
      gpr: { rsi: zeroPageAddress },
      cr0: 0x8000_0011,
      cr3: pageTableAddress,
      cr4: 0x20,
      efer: 0x500,
    },
  };
}
