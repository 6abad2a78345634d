/** The parts of ELF that boot loaders read: program headers and notes. System V ABI, "Object Files". */
import { BootError } from './errors.ts';

export interface ElfSegment {
  physicalAddress: number;
  virtualAddress: bigint;
  fileBytes: Uint8Array;
  memoryBytes: number;
}

export interface ElfNote {
  name: string;
  type: number;
  descriptor: Uint8Array;
}

export interface ElfImage {
  bits: 32 | 64;
  entry: bigint;
  segments: ElfSegment[];
  notes: ElfNote[];
}

const ptLoad = 1;
const ptNote = 4;
const maxProgramHeaders = 128;
/** Kernels have a few dozen. */
const maxNotes = 4096;

export function isElf(image: Uint8Array): boolean {
  return (
    image.length >= 52 && image[0] === 0x7f && image[1] === 0x45 && image[2] === 0x4c && image[3] === 0x46
  );
}

function truncated(what: string): BootError {
  return new BootError(
    'KERNEL_TRUNCATED',
    `the ELF file ends inside its ${what}`,
    'copy or download the kernel again',
  );
}

function readNotes(bytes: Uint8Array, notes: ElfNote[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 12 <= bytes.length) {
    const nameBytes = view.getUint32(at, true);
    const descriptorBytes = view.getUint32(at + 4, true);
    const descriptorAt = at + 12 + Math.ceil(nameBytes / 4) * 4;
    const end = descriptorAt + descriptorBytes;
    if (end > bytes.length) return;
    if (notes.length >= maxNotes)
      throw new BootError(
        'KERNEL_UNSUPPORTED',
        `the ELF file has more than ${maxNotes} notes`,
        'give a kernel as its build made it',
      );
    notes.push({
      name: new TextDecoder('latin1').decode(bytes.subarray(at + 12, at + 12 + Math.max(0, nameBytes - 1))),
      type: view.getUint32(at + 8, true),
      descriptor: bytes.subarray(descriptorAt, end),
    });
    at = descriptorAt + Math.ceil(descriptorBytes / 4) * 4;
  }
}

/** Parses an i386 or x86-64 executable; throws BootError. */
export function parseElf(image: Uint8Array): ElfImage {
  if (!isElf(image))
    throw new BootError(
      'NOT_A_KERNEL',
      'the file is no ELF image',
      'give a bzImage, an ELF kernel, a boot sector or a ROM image',
    );
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const bits = image[4] === 2 ? 64 : 32;
  const machine = view.getUint16(18, true);
  if (image[5] !== 1 || (machine !== 3 && machine !== 62)) {
    throw new BootError(
      'KERNEL_UNSUPPORTED',
      `the ELF file is for another processor (machine ${machine})`,
      'give a kernel for i386 or x86-64',
    );
  }
  if (bits === 64 && image.length < 64) throw truncated('header');
  const word = (at: number): number =>
    bits === 64 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  const tableAt = bits === 64 ? word(32) : word(28);
  const entryBytes = view.getUint16(bits === 64 ? 54 : 42, true);
  const count = view.getUint16(bits === 64 ? 56 : 44, true);
  if (
    count > maxProgramHeaders ||
    entryBytes < (bits === 64 ? 56 : 32) ||
    tableAt + count * entryBytes > image.length
  )
    throw truncated('program headers');

  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * entryBytes;
    const type = view.getUint32(at, true);
    if (type !== ptLoad && type !== ptNote) continue;
    const offset = word(at + (bits === 64 ? 8 : 4));
    const fileSize = word(at + (bits === 64 ? 32 : 16));
    if (offset + fileSize > image.length) throw truncated('segments');
    const fileBytes = image.subarray(offset, offset + fileSize);
    if (type === ptNote) readNotes(fileBytes, notes);
    else {
      segments.push({
        physicalAddress: word(at + (bits === 64 ? 24 : 12)),
        virtualAddress: bits === 64 ? view.getBigUint64(at + 16, true) : BigInt(view.getUint32(at + 8, true)),
        fileBytes,
        memoryBytes: word(at + (bits === 64 ? 40 : 20)),
      });
    }
  }
  if (segments.length === 0)
    throw new BootError(
      'NOT_A_KERNEL',
      'the ELF file has nothing to load',
      'give an executable kernel, not an object file',
    );
  return {
    bits,
    entry: bits === 64 ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true)),
    segments,
    notes,
  };
}
