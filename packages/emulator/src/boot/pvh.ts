/**
 * Direct boot of an ELF kernel by its PVH note: https://xenbits.xen.org/docs/unstable/misc/pvh.html.
 * The kernel starts in 32-bit protected mode, paging off, with EBX pointing to hvm_start_info.
 */
import type { ElfImage } from './elf.ts';
import { biosDataArea, encodeCommandLine, flatMode, placeInitrd, requireLoadableMemory } from './plan.ts';
import type { BootEnvironment, BootPlan, PhysicalWrite } from './plan.ts';

const physicalEntryNote = 18; // XEN_ELFNOTE_PHYS32_ENTRY
const startInfoMagic = 0x336e_c578;
const startInfoAddress = 0x9_0000;
const commandLineAddress = 0x9_1000;
const gdtAddress = 0x9_3000;
const moduleListOffset = 0x100;
const memoryMapOffset = 0x200;
const memoryMapEntryBytes = 24;

/** Entry point of the PVH note, or undefined when the kernel has none. */
export function pvhEntry(elf: ElfImage): number | undefined {
  const note = elf.notes.find(
    (n) => n.name === 'Xen' && n.type === physicalEntryNote && n.descriptor.length >= 4,
  );
  if (note === undefined) return undefined;
  return new DataView(note.descriptor.buffer, note.descriptor.byteOffset).getUint32(0, true);
}

/** Writes of the loadable segments with their zero-filled ends left to the (zeroed) RAM. */
export function elfWrites(
  elf: ElfImage,
  environment: BootEnvironment,
): { writes: PhysicalWrite[]; end: number } {
  let end = 0;
  for (const segment of elf.segments) {
    requireLoadableMemory(environment, 'the kernel', segment.physicalAddress, segment.memoryBytes);
    end = Math.max(end, segment.physicalAddress + segment.memoryBytes);
  }
  return { writes: elf.segments.map((s) => ({ address: s.physicalAddress, bytes: s.fileBytes })), end };
}

export interface PvhOptions {
  elf: ElfImage;
  entry: number;
  initrd?: Uint8Array;
  commandLine: string;
}

/** Plan for a kernel with a PVH note; throws BootError. */
export function planPvh(
  { elf, entry, initrd, commandLine }: PvhOptions,
  environment: BootEnvironment,
): BootPlan {
  const { writes, end } = elfWrites(elf, environment);
  const info = new Uint8Array(memoryMapOffset + environment.memoryMap.length * memoryMapEntryBytes);
  const view = new DataView(info.buffer);
  view.setUint32(0, startInfoMagic, true);
  view.setUint32(4, 1, true); // version 1: with a memory map
  view.setBigUint64(24, BigInt(commandLineAddress), true);
  view.setBigUint64(32, BigInt(environment.rsdpAddress ?? 0), true);
  view.setBigUint64(40, BigInt(startInfoAddress + memoryMapOffset), true);
  view.setUint32(48, environment.memoryMap.length, true);
  environment.memoryMap.forEach((range, i) => {
    const at = memoryMapOffset + i * memoryMapEntryBytes;
    view.setBigUint64(at, BigInt(range.address), true);
    view.setBigUint64(at + 8, BigInt(range.sizeBytes), true);
    view.setUint32(at + 16, range.type, true);
  });
  if (initrd !== undefined) {
    const address = placeInitrd(
      environment,
      initrd.length,
      Math.max(0x10_0000, Math.ceil(end / 4096) * 4096),
      0x7fff_ffff,
    );
    view.setUint32(12, 1, true);
    view.setBigUint64(16, BigInt(startInfoAddress + moduleListOffset), true);
    view.setBigUint64(moduleListOffset, BigInt(address), true);
    view.setBigUint64(moduleListOffset + 8, BigInt(initrd.length), true);
    writes.push({ address, bytes: initrd });
  }
  const mode = flatMode({ codeSelector: 0x10, dataSelector: 0x18, gdtAddress, long: false });
  writes.push(
    ...biosDataArea(),
    mode.write,
    { address: startInfoAddress, bytes: info },
    { address: commandLineAddress, bytes: encodeCommandLine(commandLine, 4095) },
  );
  return { format: 'pvh', writes, cpu: { ...mode.cpu, rip: entry, gpr: { rbx: startInfoAddress } } };
}
