/** What a file with a disk in it is, by its contents: the magic numbers of each format's specification. */
import { floppyBytesFor } from '../devices/floppy/floppy-media.ts';

/** What a file that is to be a disk may be. */
export type ImageKind =
  /** Formats that are read here. */
  | 'raw'
  | 'qcow2'
  | 'iso'
  | 'floppy'
  /** Formats that are only recognised: `qemu-img convert` makes a qcow2 image of each. */
  | 'qcow1'
  | 'vmdk'
  | 'vhd'
  | 'vhdx'
  | 'vdi'
  | 'qed'
  | 'parallels'
  /** No medium: a kernel, or nothing to start from. */
  | 'kernel'
  | 'empty';

/** Formats that can be converted, and what `qemu-img` calls them. */
export const convertible = {
  qcow1: 'qcow',
  vmdk: 'vmdk',
  vhd: 'vpc',
  vhdx: 'vhdx',
  vdi: 'vdi',
  qed: 'qed',
  parallels: 'parallels',
} as const;
export type ConvertibleKind = keyof typeof convertible;
/** Whether another program makes of it what is read here. */
export function isConvertible(kind: ImageKind): kind is ConvertibleKind {
  return kind in convertible;
}

/** As much from the beginning of a file as decides. */
export const headBytes = 0x9000;
/** Behind which a fixed VHD has its footer. */
export const tailBytes = 512;

const isoAt = 0x8001;
/** A boot sector's signature, and the jump with which those of DOS begin. */
const bootSignature = { at: 510, bytes: [0x55, 0xaa] } as const;

function has(bytes: Uint8Array, at: number, text: string): boolean {
  return Array.from(text).every((character, n) => bytes[at + n] === character.charCodeAt(0));
}

function qcowVersion(head: Uint8Array): number {
  return has(head, 0, 'QFI\u00fb') ? new DataView(head.buffer, head.byteOffset).getUint32(4) : 0;
}

/** A table of partitions: four entries that are empty or whose first byte is 00 or 80, one of them in use. */
function hasPartitions(head: Uint8Array): boolean {
  const entries = [0, 1, 2, 3].map((n) => head.subarray(446 + n * 16, 462 + n * 16));
  return entries.every((entry) => ((entry[0] ?? 1) & 0x7f) === 0) && entries.some((entry) => entry[4] !== 0);
}

/**
 * What a disk image is.
 * @param head the first `headBytes` of the file (all of a shorter one)
 * @param tail its last `tailBytes`
 */
export function imageKind(head: Uint8Array, tail: Uint8Array, fileBytes: number): ImageKind {
  if (fileBytes === 0) return 'empty';
  const version = qcowVersion(head);
  if (version === 1) return 'qcow1';
  if (version >= 2) return 'qcow2';
  if (has(head, 0, 'KDMV') || has(head, 0, 'COWD') || has(head, 0, '# Disk DescriptorFile')) return 'vmdk';
  if (has(head, 0, 'vhdxfile')) return 'vhdx';
  if (has(head, 0, 'conectix') || has(tail, 0, 'conectix')) return 'vhd';
  if (has(head, 0x40, '\u007f\u0010\u00da\u00be')) return 'vdi';
  if (has(head, 0, 'QED\u0000')) return 'qed';
  if (has(head, 0, 'WithoutFreeSpace') || has(head, 0, 'WithouFreSpacExt')) return 'parallels';
  if (has(head, isoAt, 'CD001')) return 'iso';
  if (has(head, 0, '\u007fELF') || has(head, 0x202, 'HdrS')) return 'kernel';
  const boots = bootSignature.bytes.every((byte, n) => head[bootSignature.at + n] === byte);
  const isSmall = floppyBytesFor(fileBytes) !== undefined;
  if (isSmall && (!boots || !hasPartitions(head))) return 'floppy';
  return 'raw';
}
