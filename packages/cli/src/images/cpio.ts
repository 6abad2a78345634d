/**
 * Writes cpio archives in the "newc" format, which Linux unpacks as its initial file system.
 * Source: linux/Documentation/driver-api/early-userspace/buffer-format.rst.
 * Because we write the bytes ourselves, owner root and device nodes need no privileges.
 */

export interface CpioEntry {
  /** Path in the guest without a leading slash. */
  path: string;
  /** File type and permission bits as of stat(2). */
  mode: number;
  data?: Uint8Array;
  /** Major and minor number of a device node. */
  device?: readonly [number, number];
  /** User and group; default: root. */
  owner?: readonly [number, number];
  /** Of a file with several names: the same number in each, of which the first has the data. */
  inode?: number;
  links?: number;
}

export const FileType = {
  directory: 0o040000,
  character: 0o020000,
  block: 0o060000,
  pipe: 0o010000,
  regular: 0o100000,
  link: 0o120000,
} as const;

const trailer = 'TRAILER!!!';

export function directory(path: string): CpioEntry {
  return { path, mode: FileType.directory | 0o755 };
}

export function file(path: string, data: Uint8Array, permissions = 0o755): CpioEntry {
  return { path, mode: FileType.regular | permissions, data };
}

export function symbolicLink(path: string, target: string): CpioEntry {
  return { path, mode: FileType.link | 0o777, data: Buffer.from(target) };
}

export function characterDevice(path: string, major: number, minor: number): CpioEntry {
  return { path, mode: FileType.character | 0o600, device: [major, minor] };
}

function header(entry: CpioEntry, inode: number): Buffer {
  const [major, minor] = entry.device ?? [0, 0];
  const isDirectory = (entry.mode & 0o170000) === FileType.directory;
  const fields = [
    entry.inode ?? inode,
    entry.mode,
    ...(entry.owner ?? [0, 0]),
    entry.links ?? (isDirectory ? 2 : 1),
    0, // mtime: fixed, so that the same content makes the same archive
    entry.data?.length ?? 0,
    0, // major and minor of the device that holds the file
    0,
    major,
    minor,
    Buffer.byteLength(entry.path) + 1,
    0, // checksum, unused by newc
  ];
  return Buffer.from('070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join(''), 'ascii');
}

/** Zero bytes that bring a length to the next multiple of four. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}

/** Whole archive. Parent directories must stand before what they hold. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const all = [...entries, { path: trailer, mode: 0 }];
  all.forEach((entry: CpioEntry, index) => {
    const name = Buffer.from(`${entry.path}\0`);
    const head = Buffer.concat([header(entry, index + 1), name]);
    parts.push(head, padding(head.length));
    if (entry.data !== undefined) parts.push(entry.data, padding(entry.data.length));
  });
  return Buffer.concat(parts);
}
