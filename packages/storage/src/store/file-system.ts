/**
 * The file operations of a `file:` store, in two ways. `promised`: each goes to a thread of Node's pool and comes back by a turn of the event
 * loop; many are under way at once. `atOnce`: each is done before the call returns, on the caller's thread. A change of a record takes some
 * twenty operations, one after another; on a host with more to do than processors each way there and back waits to be scheduled, which made
 * seconds of what the disk does in milliseconds. So a thread that does nothing but keep records does them at once.
 */
import {
  accessSync,
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
  type Dirent,
  type Stats,
} from 'node:fs';
import { access, link, lstat, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';

/** What of Node's FileHandle a store needs. */
export interface OpenFile {
  write(bytes: Uint8Array, offset: number): Promise<{ bytesWritten: number }>;
  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  stat(): Promise<Stats>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/** What of `node:fs/promises` a store needs. */
export interface FileSystem {
  open(path: string, flags: string, mode?: number): Promise<OpenFile>;
  link(existing: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** A path that is not there is no failure. */
  rm(path: string, options?: { recursive: boolean }): Promise<void>;
  /** With the folders above it. Resolves to the first that was made, if any was. */
  mkdir(path: string): Promise<string | undefined>;
  readdir(path: string): Promise<Dirent[]>;
  stat(path: string): Promise<Stats>;
  lstat(path: string): Promise<Stats>;
  /** Throws unless this user may write there. */
  writable(path: string): Promise<void>;
}

export const promised: FileSystem = {
  open,
  link,
  rename,
  unlink,
  stat,
  lstat,
  rm: (path, options) => rm(path, { force: true, ...options }),
  mkdir: (path) => mkdir(path, { recursive: true }),
  readdir: (path) => readdir(path, { withFileTypes: true }),
  writable: (path) => access(path, constants.W_OK),
};

class FileAtOnce implements OpenFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async write(bytes: Uint8Array, offset: number): Promise<{ bytesWritten: number }> {
    return { bytesWritten: writeSync(this.#descriptor, bytes, offset) };
  }

  async read(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }> {
    return { bytesRead: readSync(this.#descriptor, bytes, offset, length, position) };
  }

  async stat(): Promise<Stats> {
    return fstatSync(this.#descriptor);
  }

  async sync(): Promise<void> {
    fsyncSync(this.#descriptor);
  }

  async datasync(): Promise<void> {
    fdatasyncSync(this.#descriptor);
  }

  async close(): Promise<void> {
    closeSync(this.#descriptor);
  }
}

export const atOnce: FileSystem = {
  open: async (path, flags, mode) => new FileAtOnce(openSync(path, flags, mode)),
  link: async (existing, path) => linkSync(existing, path),
  rename: async (from, to) => renameSync(from, to),
  unlink: async (path) => unlinkSync(path),
  stat: async (path) => statSync(path),
  lstat: async (path) => lstatSync(path),
  rm: async (path, options) => rmSync(path, { force: true, ...options }),
  mkdir: async (path) => mkdirSync(path, { recursive: true }),
  readdir: async (path) => readdirSync(path, { withFileTypes: true }),
  writable: async (path) => accessSync(path, constants.W_OK),
};
