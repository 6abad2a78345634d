/**
 * Disks of `revenant run`: image files as what lies below a machine's disks. A file is never changed (the guest's writes stay in the
 * machine and go into its checkpoints) unless it is opened with `rw`.
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { diskPageBytes, type DiskBacking, type DiskDescription, type DiskRequest } from '@revenant/emulator';
import type { Parser } from '../command/options.ts';
import { CliError, ExitCode, messageOf } from '../errors.ts';

/** `ro`: the guest can't write; `cow`: its writes are kept beside the file; `rw`: they go to the file. */
export type DiskMode = 'ro' | 'cow' | 'rw';
export type DiskOption = { path: string; mode: DiskMode } | { emptyBytes: number };

const sectorBytes = 512;
const hashPieceBytes = 4 << 20;

/** `FILE`, `FILE,ro` or `FILE,rw`. */
export const parseDisk: Parser<DiskOption> = (text, name) => {
  const match = /^(.+?)(?:,(ro|rw))?$/.exec(text);
  const [, path = '', mode = 'cow'] = match ?? [];
  if (path === '')
    throw new CliError(
      ExitCode.usage,
      `${name}: '${text}' names no file`,
      `give FILE, FILE,ro or FILE,rw, for example ${name} root.img`,
    );
  return { path, mode: mode as DiskMode };
};

/** One image file that is open. */
class DiskFile {
  readonly path: string;
  readonly bytes: number;
  readonly mode: DiskMode;
  readonly #fd: number;

  /** Throws CliError for a file that can't be read (with `rw`, written), or that is no whole number of sectors. */
  constructor(path: string, mode: DiskMode) {
    this.path = path;
    this.mode = mode;
    const bad = (why: string, hint: string, cause?: unknown): CliError =>
      new CliError(ExitCode.badInput, `--disk: '${path}' ${why}`, hint, cause);
    try {
      this.#fd = openSync(path, mode === 'rw' ? 'r+' : 'r');
    } catch (error) {
      throw bad(`can't be opened: ${messageOf(error)}`, 'check the path and its permissions', error);
    }
    const status = fstatSync(this.#fd);
    this.bytes = status.size;
    try {
      if (!status.isFile()) throw bad('is no file', 'give a raw disk image');
      if (this.bytes === 0 || this.bytes % sectorBytes !== 0)
        throw bad(
          `has ${String(this.bytes)} bytes, which is no whole number of sectors of 512 bytes`,
          `give a raw disk image, or fill it up: truncate -s %4096 '${path}'`,
        );
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Fills `into` from the file; what lies beyond its end is zero. */
  #read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const count = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (count === 0) return;
      done += count;
    }
  }

  sha256(): string {
    const hash = createHash('sha256');
    const piece = new Uint8Array(hashPieceBytes);
    for (let at = 0; at < this.bytes; at += piece.length) {
      const size = Math.min(piece.length, this.bytes - at);
      this.#read(at, piece.subarray(0, size));
      hash.update(piece.subarray(0, size));
    }
    return hash.digest('hex');
  }

  backing(): DiskBacking {
    const readPage = (page: number): Uint8Array => {
      const bytes = new Uint8Array(diskPageBytes);
      this.#guard('read', () => {
        this.#read(page * diskPageBytes, bytes);
      });
      return bytes;
    };
    if (this.mode !== 'rw') return { readPage };
    return {
      readPage,
      writeThrough: {
        write: (offset, data) => {
          this.#guard('written', () => {
            for (let done = 0; done < data.length;)
              done += writeSync(this.#fd, data, done, data.length - done, offset + done);
          });
        },
        flush: () => {
          this.#guard('written', () => {
            fdatasyncSync(this.#fd);
          });
        },
      },
    };
  }

  #guard(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      throw new CliError(
        what === 'read' ? ExitCode.badInput : ExitCode.cannotWrite,
        `--disk: '${this.path}' can't be ${what} any more: ${messageOf(error)}`,
        'the guest was stopped; see what became of the file',
        error,
      );
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export interface OpenDisks {
  /** For the machine's description; empty when it comes from a checkpoint. */
  requests: DiskRequest[];
  backings: Record<string, DiskBacking>;
  close(): void;
}

/** Opens the disks of a new machine: files first, then empty ones, in the order given. Throws CliError. */
export function openDisks(options: readonly DiskOption[]): OpenDisks {
  const files: DiskFile[] = [];
  const requests: DiskRequest[] = [];
  const backings: Record<string, DiskBacking> = {};
  const close = (): void => {
    for (const file of files) file.close();
  };
  try {
    for (const option of options) {
      const name = `disk${String(requests.length)}`;
      if ('emptyBytes' in option) {
        requests.push({ name, bytes: option.emptyBytes });
        continue;
      }
      const file = new DiskFile(option.path, option.mode);
      files.push(file);
      backings[name] = file.backing();
      requests.push({
        name,
        bytes: file.bytes,
        readOnly: file.mode === 'ro',
        base: file.mode === 'rw' ? null : { sha256: file.sha256() },
      });
    }
  } catch (error) {
    close();
    throw error;
  }
  return { requests, backings, close };
}

/**
 * Opens the images that disks of a checkpoint lie on, in the order of these disks. Throws CliError when one is missing, or is not the
 * image that the checkpoint was made with.
 */
export function reopenDisks(
  options: readonly DiskOption[],
  described: readonly DiskDescription[],
): OpenDisks {
  const files: DiskFile[] = [];
  const backings: Record<string, DiskBacking> = {};
  const close = (): void => {
    for (const file of files) file.close();
  };
  const refuse = (why: string, hint: string): never => {
    throw new CliError(ExitCode.badInput, `--restore: ${why}`, hint);
  };
  try {
    const given = options.filter((option) => 'path' in option);
    if (given.length < options.length) refuse('a checkpoint has its disks', 'leave --disk-size out');
    for (const { name, base } of described) {
      if (base === null) continue;
      const option = given.shift();
      if (option === undefined)
        return refuse(`${name} lies on an image file`, 'give it again with --disk FILE');
      if (option.mode === 'rw') refuse(`${name} can't write to its file`, 'leave rw out');
      const file = new DiskFile(option.path, option.mode);
      files.push(file);
      if (file.sha256() !== base.sha256)
        refuse(`'${option.path}' is not the image that ${name} was made from`, 'give that image, unchanged');
      backings[name] = file.backing();
    }
    if (given[0] !== undefined)
      refuse(`the checkpoint has no disk for '${given[0].path}'`, 'leave --disk out');
  } catch (error) {
    close();
    throw error;
  }
  return { requests: [], backings, close };
}
