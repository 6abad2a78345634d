/**
 * One disk image that is open: raw, qcow2, ISO or floppy by its contents. The file is never changed unless it is opened with `rw`. Reads and
 * writes are synchronous, for the guest waits for them.
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, realpathSync, writeSync } from 'node:fs';
import { basename, dirname, relative, resolve, sep } from 'node:path';
import { inflateRawSync, zstdDecompressSync } from 'node:zlib';
import {
  convertible,
  DiskFormatError,
  diskPageBytes,
  floppyBytesFor,
  headBytes,
  imageKind,
  isConvertible,
  Qcow2Image,
  tailBytes,
  type BackingDisk,
  type Decompressors,
  type DiskAttachment,
  type DiskBacking,
  type ImageFile,
  type ImageKind,
} from '@revenant/emulator';
import { CliError, ExitCode, messageOf } from '../errors.ts';

/** `ro`: the guest can't write; `cow`: its writes are kept beside the file; `rw`: they go to the file. */
export type DiskMode = 'ro' | 'cow' | 'rw';
export interface MediumOption {
  path: string;
  mode: DiskMode;
  /** Absent is virtio. */
  attach?: DiskAttachment;
  /** A qcow2 image may lie on others, in its own folder. */
  backingFiles?: boolean;
}

const sectorBytes = 512;
const hashPieceBytes = 4 << 20;
/** Images that lie on each other. */
const maxChain = 16;

export const decompressors: Decompressors = {
  inflateRaw: (bytes, size) => inflateRawSync(bytes, { maxOutputLength: size }),
  zstd: (frame, size) => zstdDecompressSync(frame, { maxOutputLength: size }),
};

/** A file as the readers of disk formats see it. */
class OpenFile implements ImageFile {
  readonly fd: number;
  readonly #path: string;
  readonly write?: (offset: number, data: Uint8Array) => void;
  bytes: number;

  constructor(
    path: string,
    writable: boolean,
    bad: (why: string, hint: string, cause?: unknown) => CliError,
  ) {
    this.#path = path;
    try {
      this.fd = openSync(path, writable ? 'r+' : 'r');
    } catch (error) {
      throw bad(`can't be opened: ${messageOf(error)}`, 'check the path and its permissions', error);
    }
    const status = fstatSync(this.fd);
    this.bytes = status.size;
    if (!status.isFile()) {
      closeSync(this.fd);
      throw bad('is no file', 'give a disk image');
    }
    if (writable) this.write = this.#write.bind(this);
  }

  /** What lies beyond the end is zero. */
  read(offset: number, into: Uint8Array): void {
    this.#guard('read', () => {
      let done = 0;
      while (done < into.length) {
        const count = readSync(this.fd, into, done, into.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      into.fill(0, done);
    });
  }

  #write(offset: number, data: Uint8Array): void {
    this.#guard('written', () => {
      for (let done = 0; done < data.length;)
        done += writeSync(this.fd, data, done, data.length - done, offset + done);
    });
    this.bytes = Math.max(this.bytes, offset + data.length);
  }

  flush(): void {
    this.#guard('written', () => {
      fdatasyncSync(this.fd);
    });
  }

  #guard(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      throw new CliError(
        what === 'read' ? ExitCode.badInput : ExitCode.cannotWrite,
        `--disk: '${this.#path}' can't be ${what} any more: ${messageOf(error)}`,
        'the guest was stopped; see what became of the file',
        error,
      );
    }
  }

  kind(): ImageKind {
    const head = new Uint8Array(Math.min(headBytes, this.bytes));
    this.read(0, head);
    const tail = new Uint8Array(Math.min(tailBytes, this.bytes));
    this.read(this.bytes - tail.length, tail);
    return imageKind(head, tail, this.bytes);
  }
}

/** What a file is, by its contents. Throws CliError when it can't be read. */
export function kindOfFile(path: string): ImageKind {
  const file = new OpenFile(
    path,
    false,
    (why, hint, cause) => new CliError(ExitCode.badInput, `'${path}' ${why}`, hint, cause),
  );
  try {
    return file.kind();
  } finally {
    closeSync(file.fd);
  }
}

export class MediumFile {
  readonly path: string;
  /** Of the disk that the guest sees. */
  readonly bytes: number;
  readonly mode: DiskMode;
  readonly #option: string;
  readonly #file: OpenFile;
  readonly #below: OpenFile[] = [];
  readonly #image: Qcow2Image | undefined;

  /** Throws CliError for a file that can't be read (with `rw`, written), that is no image of a kind read here, or not of a possible size. */
  constructor(
    { path, mode, attach = 'virtio', backingFiles = false }: MediumOption,
    option = attach === 'cdrom' || attach === 'floppy' ? attach : 'disk',
  ) {
    this.path = path;
    this.mode = mode;
    this.#option = option;
    this.#file = new OpenFile(path, mode === 'rw', this.#bad);
    try {
      const kind = this.#file.kind();
      if (isConvertible(kind)) throw this.#convert(kind);
      if (kind === 'qcow2') this.#image = this.#open(this.#file, path, backingFiles, 0);
      this.bytes = this.#size(attach);
    } catch (error) {
      this.close();
      if (error instanceof DiskFormatError)
        throw this.#bad(`can't be used: ${error.message}`, error.hint, error);
      throw error;
    }
  }

  readonly #bad = (why: string, hint: string, cause?: unknown): CliError =>
    new CliError(ExitCode.badInput, `--${this.#option}: '${this.path}' ${why}`, hint, cause);

  #convert(kind: keyof typeof convertible): CliError {
    const name = basename(this.path).replace(/\.[^.]+$/, '');
    return this.#bad(
      `is a ${kind.toUpperCase()} image`,
      `convert it: qemu-img convert -f ${convertible[kind]} -O qcow2 '${this.path}' '${name}.qcow2'`,
    );
  }

  #size(attach: DiskAttachment): number {
    const bytes = this.#image?.bytes ?? this.#file.bytes;
    if (attach === 'floppy') {
      const whole = floppyBytesFor(bytes);
      if (whole === undefined || bytes === 0)
        throw this.#bad(`has ${String(bytes)} bytes, and no floppy disk is so large`, 'give it with --disk');
      return whole;
    }
    if (attach === 'cdrom' && bytes > 0) return Math.ceil(bytes / sectorBytes) * sectorBytes;
    if (bytes === 0 || bytes % sectorBytes !== 0)
      throw this.#bad(
        `has ${String(bytes)} bytes, which is no whole number of sectors of 512 bytes`,
        `give a raw disk image, or fill it up: truncate -s %4096 '${this.path}'`,
      );
    return bytes;
  }

  /** A qcow2 image, and those below it: only with leave, and only in its own folder. */
  #open(file: OpenFile, path: string, backingFiles: boolean, depth: number): Qcow2Image {
    const backing = (name: string, format: string | undefined): BackingDisk =>
      this.#openBelow({ from: path, name, format, depth });
    return new Qcow2Image({ file, decompressors, backing: backingFiles ? backing : undefined });
  }

  #openBelow({
    from,
    name,
    format,
    depth,
  }: {
    from: string;
    name: string;
    format: string | undefined;
    depth: number;
  }): BackingDisk {
    const folder = dirname(resolve(from));
    const path = resolve(folder, name);
    const inside = (root: string, place: string): boolean => {
      const way = relative(root, place);
      return way !== '' && way !== '..' && !way.startsWith(`..${sep}`);
    };
    if (!inside(folder, path))
      throw this.#bad(
        `lies on '${name}', outside of its folder`,
        'copy both to one folder, and qemu-img rebase -u the image',
      );
    if (depth >= maxChain)
      throw this.#bad(`lies on more than ${String(maxChain)} images`, 'put them into one: qemu-img convert');
    const file = new OpenFile(path, false, (why, hint, cause) =>
      this.#bad(`lies on '${name}', which ${why}`, hint, cause),
    );
    this.#below.push(file);
    // A link must not lead out of the folder either.
    if (!inside(realpathSync(folder), realpathSync(path)))
      throw this.#bad(`lies on '${name}', a link out of its folder`, 'copy the file itself');
    const kind = format ?? (file.kind() === 'qcow2' ? 'qcow2' : 'raw');
    if (kind === 'raw') return file;
    if (kind !== 'qcow2')
      throw this.#bad(`lies on a ${kind} image`, 'put both into one: qemu-img convert -O qcow2 IMAGE NEW');
    return this.#open(file, path, true, depth + 1);
  }

  /** What the guest sees, in pieces; of a file that is a disk as it is, its bytes. Throws CliError where the image is damaged. */
  *contents(): Generator<Uint8Array> {
    for (let at = 0; at < this.bytes; at += hashPieceBytes) {
      const piece = new Uint8Array(Math.min(hashPieceBytes, this.bytes - at));
      this.#guarded(() => {
        (this.#image ?? this.#file).read(at, piece);
      });
      yield piece;
    }
  }

  /** Of what the guest sees: the same whatever format it is in. */
  contentSha256(): string {
    const hash = createHash('sha256');
    for (const piece of this.contents()) hash.update(piece);
    return hash.digest('hex');
  }

  /** Of the file as it is. */
  sha256(): string {
    const hash = createHash('sha256');
    const piece = new Uint8Array(hashPieceBytes);
    for (const file of [this.#file, ...this.#below])
      for (let at = 0; at < file.bytes; at += piece.length) {
        const part = piece.subarray(0, Math.min(piece.length, file.bytes - at));
        file.read(at, part);
        hash.update(part);
      }
    return hash.digest('hex');
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof DiskFormatError)
        throw this.#bad(`can't be used any more: ${error.message}`, error.hint, error);
      throw error;
    }
  }

  backing(): DiskBacking {
    const disk = this.#image ?? this.#file;
    const readPage = (page: number): Uint8Array => {
      const bytes = new Uint8Array(diskPageBytes);
      this.#guarded(() => {
        disk.read(page * diskPageBytes, bytes);
      });
      return bytes;
    };
    if (this.mode !== 'rw') return { readPage };
    return {
      readPage,
      writeThrough: {
        write: (offset, data) => {
          this.#guarded(() => disk.write?.(offset, data));
        },
        flush: () => {
          this.#file.flush();
        },
      },
    };
  }

  close(): void {
    for (const { fd } of [this.#file, ...this.#below]) closeSync(fd);
  }
}
