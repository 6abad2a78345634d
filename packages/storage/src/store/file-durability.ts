/**
 * What of a `file:` store is on the disk, and what may not be.
 *
 * A failed fsync(2) is final: the kernel marks the pages clean, so a second fsync of the same file succeeds although its bytes are lost.
 * So a file whose sync failed is *lost* until it is written anew or deleted, and every flush that covers it says so. A folder whose sync
 * failed is *doubtful*: before its next sync something in it is changed, and nothing is read from it until such a sync succeeded.
 */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { StoreError } from '../errors.ts';
import { codeOf } from './file-object.ts';
import type { FileSystem, OpenFile } from './file-system.ts';

/** Files synced at the same time. */
const syncsAtOnce = 16;
/** How many files may wait for a flush; at one more, the oldest half of them is synced. */
const maxUnsynced = 4096;

/** Makes an open file or folder durable; `data`: its contents and size are enough. Throws when it could not. */
export type SyncFile = (file: OpenFile, what: 'all' | 'data') => Promise<void>;

export class FileDurability {
  readonly #files: FileSystem;
  readonly #sync: SyncFile;
  readonly #unsynced = new Set<string>();
  readonly #lost = new Set<string>();
  readonly #doubtful = new Set<string>();

  constructor(files: FileSystem, sync: SyncFile) {
    this.#files = files;
    this.#sync = sync;
  }

  /** A file was written under this name and not synced. */
  async written(path: string): Promise<void> {
    this.#lost.delete(path);
    this.#unsynced.add(path);
    if (this.#unsynced.size > maxUnsynced) await this.#syncAll([...this.#unsynced].slice(0, maxUnsynced / 2));
  }

  /** There is no file of this name any more, or a synced one took its place. */
  forget(path: string): void {
    this.#lost.delete(path);
    this.#unsynced.delete(path);
  }

  /**
   * Makes files durable that were reported as written.
   * @param paths which of them; default: all.
   * @throws StoreError `LOST` when the contents of one may be lost for good: it has to be put again.
   */
  async flush(paths: Iterable<string> = [...this.#unsynced, ...this.#lost]): Promise<void> {
    const wanted = [...paths];
    await this.#syncAll(wanted.filter((path) => this.#unsynced.has(path)));
    const lost = wanted.find((path) => this.#lost.has(path));
    if (lost !== undefined)
      throw new StoreError('LOST', `${lost}: the disk failed while it was written: it may be lost`, {
        retryable: false,
        hint: 'look at the disk; what was written is to be written again',
      });
  }

  /** Syncs an open file that nobody knows yet. */
  async file(file: OpenFile): Promise<void> {
    await this.#sync(file, 'data');
  }

  /** Makes the names in a folder durable. */
  async folder(path: string): Promise<void> {
    if (this.#doubtful.has(path)) await disturb(this.#files, path);
    try {
      await this.#syncPath(path);
      this.#doubtful.delete(path);
    } catch (error) {
      this.#doubtful.add(path);
      throw error;
    }
  }

  /** Throws unless names in this folder are durable as far as is known: what a reader sees must not vanish. */
  async certain(folder: string): Promise<void> {
    if (this.#doubtful.has(folder)) await this.folder(folder);
  }

  async #syncAll(paths: string[]): Promise<void> {
    const waiting = [...paths];
    const next = async (): Promise<void> => {
      for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
        this.#unsynced.delete(path);
        try {
          await this.#syncPath(path);
        } catch {
          this.#lost.add(path);
        }
      }
    };
    await Promise.all(Array.from({ length: syncsAtOnce }, next));
    for (const folder of new Set(paths.map((path) => dirname(path)))) {
      try {
        await this.folder(folder);
      } catch (error) {
        // Their names are not sure yet: the next flush is to try again.
        for (const path of paths)
          if (dirname(path) === folder && !this.#lost.has(path)) this.#unsynced.add(path);
        throw error;
      }
    }
  }

  async #syncPath(path: string): Promise<void> {
    let file: OpenFile;
    try {
      file = await this.#files.open(path, 'r');
    } catch (error) {
      // Deleted since: nothing left to keep.
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    try {
      await this.#sync(file, 'all');
    } finally {
      await file.close();
    }
  }
}

/** Changes a folder, so that its next sync writes it again. No part of a key begins with a dot: nobody takes the file for an object. */
async function disturb(files: FileSystem, folder: string): Promise<void> {
  const path = join(folder, `.sync-${randomBytes(8).toString('hex')}`);
  try {
    await (await files.open(path, 'wx', 0o600)).close();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  await files.rm(path);
}
