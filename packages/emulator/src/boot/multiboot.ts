/** Multiboot 1: https://www.gnu.org/software/grub/manual/multiboot/multiboot.html (0.6.96), sections 3.1-3.3. */
import { isElf, parseElf } from './elf.ts';
import { BootError } from './errors.ts';
import {
  biosDataArea,
  encodeCommandLine,
  endOfExtendedMemory,
  flatMode,
  placeInitrd,
  requireLoadableMemory,
} from './plan.ts';
import type { BootEnvironment, BootPlan, PhysicalWrite } from './plan.ts';
import { elfWrites } from './pvh.ts';

const headerMagic = 0x1bad_b002;
const loaderMagic = 0x2bad_b002;
const searchBytes = 8192;
const HeaderFlag = { needsVideo: 4, addresses: 1 << 16, mandatory: 0xffff } as const;
const infoAddress = 0x9_0000;
const commandLineAddress = 0x9_1000;
const loaderNameAddress = 0x9_2000;
const gdtAddress = 0x9_3000;
const modulesOffset = 0x80;
const memoryMapOffset = 0x100;
const memoryMapEntryBytes = 24;
const InfoFlag = { memory: 1, commandLine: 4, modules: 8, memoryMap: 0x40, loaderName: 0x200 } as const;

/** Offset of the multiboot header, or undefined. */
export function findMultibootHeader(image: Uint8Array): number | undefined {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  for (let at = 0; at + 12 <= Math.min(image.length, searchBytes); at += 4) {
    if (view.getUint32(at, true) !== headerMagic) continue;
    const sum = headerMagic + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if ((sum & 0xffff_ffff) === 0) return at;
  }
  return undefined;
}

export interface MultibootOptions {
  image: Uint8Array;
  headerAt: number;
  /** Given to the kernel as its first module. */
  initrd?: Uint8Array;
  commandLine: string;
}

interface Loaded {
  writes: PhysicalWrite[];
  entry: number;
  end: number;
}

function loadByAddresses(image: Uint8Array, headerAt: number, environment: BootEnvironment): Loaded {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (headerAt + 32 > image.length)
    throw new BootError(
      'KERNEL_TRUNCATED',
      'the file ends inside its multiboot header',
      'build the kernel again',
    );
  const field = (n: number): number => view.getUint32(headerAt + n, true);
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = [
    field(12),
    field(16),
    field(20),
    field(24),
    field(28),
  ];
  const fileAt = headerAt - (headerAddress - loadAddress);
  const size = loadEnd === 0 ? image.length - fileAt : loadEnd - loadAddress;
  if (fileAt < 0 || size < 0 || fileAt + size > image.length) {
    throw new BootError(
      'KERNEL_TRUNCATED',
      'the multiboot header names bytes that the file does not have',
      'build the kernel again',
    );
  }
  const end = Math.max(loadAddress + size, bssEnd);
  requireLoadableMemory(environment, 'the kernel', loadAddress, end - loadAddress);
  return { writes: [{ address: loadAddress, bytes: image.subarray(fileAt, fileAt + size) }], entry, end };
}

function load(image: Uint8Array, headerAt: number, environment: BootEnvironment): Loaded {
  const flags = new DataView(image.buffer, image.byteOffset, image.byteLength).getUint32(headerAt + 4, true);
  if ((flags & HeaderFlag.mandatory & ~7) !== 0) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      `the multiboot header demands unknown features (flags 0x${flags.toString(16)})`,
      'build the kernel for multiboot 1',
    );
  }
  if ((flags & HeaderFlag.addresses) !== 0) return loadByAddresses(image, headerAt, environment);
  if (!isElf(image)) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      'the multiboot kernel is neither ELF nor has load addresses',
      'set bit 16 of the header flags or link it as ELF',
    );
  }
  const elf = parseElf(image);
  return { ...elfWrites(elf, environment), entry: Number(elf.entry & 0xffff_ffffn) };
}

/** Plan for a multiboot 1 kernel (ELF or flat with addresses); throws BootError. */
export function planMultiboot(options: MultibootOptions, environment: BootEnvironment): BootPlan {
  const { writes, entry, end } = load(options.image, options.headerAt, environment);
  const map = environment.memoryMap;
  const info = new Uint8Array(memoryMapOffset + map.length * memoryMapEntryBytes);
  const view = new DataView(info.buffer);
  let flags = InfoFlag.memory | InfoFlag.commandLine | InfoFlag.memoryMap | InfoFlag.loaderName;
  view.setUint32(4, Math.floor((map[0]?.sizeBytes ?? 0) / 1024), true);
  view.setUint32(8, (endOfExtendedMemory(environment) - 0x10_0000) / 1024, true);
  view.setUint32(16, commandLineAddress, true);
  view.setUint32(44, map.length * memoryMapEntryBytes, true);
  view.setUint32(48, infoAddress + memoryMapOffset, true);
  view.setUint32(64, loaderNameAddress, true);
  map.forEach((range, i) => {
    const at = memoryMapOffset + i * memoryMapEntryBytes;
    view.setUint32(at, memoryMapEntryBytes - 4, true);
    view.setBigUint64(at + 4, BigInt(range.address), true);
    view.setBigUint64(at + 12, BigInt(range.sizeBytes), true);
    view.setUint32(at + 20, range.type, true);
  });
  if (options.initrd !== undefined) {
    flags |= InfoFlag.modules;
    const address = placeInitrd(
      environment,
      options.initrd.length,
      Math.max(0x10_0000, Math.ceil(end / 4096) * 4096),
      0x7fff_ffff,
    );
    view.setUint32(20, 1, true);
    view.setUint32(24, infoAddress + modulesOffset, true);
    view.setUint32(modulesOffset, address, true);
    view.setUint32(modulesOffset + 4, address + options.initrd.length, true);
    view.setUint32(modulesOffset + 8, commandLineAddress, true);
    writes.push({ address, bytes: options.initrd });
  }
  view.setUint32(0, flags, true);
  const mode = flatMode({ codeSelector: 8, dataSelector: 0x10, gdtAddress, long: false });
  writes.push(
    ...biosDataArea(),
    mode.write,
    { address: infoAddress, bytes: info },
    // By convention (GRUB's, QEMU's) the first word is the kernel's name; Xen throws it away.
    {
      address: commandLineAddress,
      bytes: encodeCommandLine(`kernel ${options.commandLine}`.trimEnd(), 4095),
    },
    { address: loaderNameAddress, bytes: encodeCommandLine('revenant', 16) },
  );
  return {
    format: 'multiboot',
    writes,
    cpu: { ...mode.cpu, rip: entry, gpr: { rax: loaderMagic, rbx: infoAddress } },
  };
}
