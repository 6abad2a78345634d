/**
 * `file:` the embedded default: one directory, local or NFS.
 *
 * An object is one of:
 *   NAME~              a plain file: written once (ifAbsent: link(2)) or replaced (rename(2))
 *   NAME~v/v000002 …   versions of an object that was put with ifVersion; the highest one counts
 * Each file is a 48-byte header (magic, length, own nonce, predecessor's nonce) and the body. A version is the slot number
 * and the nonce. To swap, a temporary file is written, synced and linked to the next slot: EEXIST is a conflict, unless
 * the inode is one's own (a lost NFS reply).
 *
 * Invariants: a file under its final name is never changed; the successor of a version names it by nonce, so that a
 * stalled writer that links into a slot collected meanwhile finds that it lost; old versions are collected by age.
 * NFS must be mounted with `noac` (or `actimeo=0,lookupcache=none`): a stale directory would hide a newer version.
 */
import { randomBytes } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { StoreError } from '../errors.ts';
import { FileDurability, type SyncFile } from './file-durability.ts';
import { promised, type FileSystem, type OpenFile } from './file-system.ts';
import {
  codeOf,
  encode,
  entriesOf,
  guard,
  headerBytes,
  isWritable,
  keysIn,
  lostTrack,
  nonceBytes,
  readObject,
  reserve,
  sizeOf,
  slotPath,
  slotsOf,
  statOrNone,
  storeError,
  temporaryFolder,
  versionOf,
  type Header,
} from './file-object.ts';
import {
  checkKey,
  conflict,
  maxList,
  type ListedObject,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type ObjectVersion,
  type PutOptions,
  type StoredObject,
} from './object-store.ts';

/** Objects of a listing whose sizes are asked for together. */
const sizesAtOnce = 64;
const noNonce = Buffer.alloc(nonceBytes);
const reserveFiles = 16;
const reserveBytes = 64 << 10;
/** Every so many swaps of a record its old versions are looked at. */
const collectEvery = 16;

export interface FileStoreOptions {
  /** Versions older than the newest by this are removed. Default 60 s. */
  keepVersionsMs?: number;
  /** Temporary files of crashed writers older than this are removed on opening. Default 1 h. */
  keepTemporaryMs?: number;
  /** false: nothing is made and nothing cleared on opening. Default true. */
  create?: boolean;
  /** Called before each link: a place for tests to stall a writer. */
  beforeLink?: () => Promise<void>;
  /** How files are reached. Default: `promised`. */
  files?: FileSystem;
  /** Makes an open file or folder durable: a place for tests to let it fail. Default fsync(2). */
  sync?: SyncFile;
}

interface Located {
  path: string;
  /** Slot 1 is the plain file. */
  slot: number;
}

interface Found {
  key: string;
  versioned: boolean;
}

export class FileStore implements ObjectStore {
  readonly url: string;
  readonly #root: string;
  readonly #options: Required<FileStoreOptions>;
  readonly #folders = new Set<string>();
  readonly #files: FileSystem;
  readonly #durability: FileDurability;
  #closed = false;

  private constructor(root: string, options: FileStoreOptions) {
    this.#root = root;
    this.url = `file:${root}`;
    this.#options = {
      keepVersionsMs: 60_000,
      keepTemporaryMs: 3_600_000,
      create: true,
      files: promised,
      beforeLink: () => Promise.resolve(),
      sync: (file, what) => (what === 'data' ? file.datasync() : file.sync()),
      ...options,
    };
    this.#files = this.#options.files;
    this.#durability = new FileDurability(this.#files, this.#options.sync);
  }

  /** Opens (and makes) the directory, and clears what crashed writers left behind. */
  static async open(root: string, options: FileStoreOptions = {}): Promise<FileStore> {
    const store = new FileStore(resolve(root), options);
    await guard(root, 'not-applied', async () => {
      if (!store.#options.create) return;
      // A folder without write permission, an old backup for instance, can still be read.
      if (
        (await statOrNone(store.#files, store.#root)) !== undefined &&
        !(await isWritable(store.#files, store.#root))
      )
        return;
      await store.#files.mkdir(join(store.#root, temporaryFolder));
      await store.#clearTemporary();
      await store.#fillReserve();
    });
    return store;
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const found = await this.#read(key, 0, Number.MAX_SAFE_INTEGER);
    return found && { body: found.bytes, version: versionOf(found.slot, found.header.nonce) };
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    return (await this.#read(key, start, length))?.bytes;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: ObjectVersion }> {
    this.#check(key);
    return guard(key, 'unknown', async () => {
      if (options.ifVersion !== undefined) return this.#swap(key, body, options.ifVersion);
      if (options.ifAbsent === true) return this.#create(key, body);
      return this.#replace(key, body, options.durable ?? true);
    });
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    this.#check();
    const limit = Math.min(options.limit ?? maxList, maxList);
    const objects: ListedObject[] = [];
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    return guard(prefix, 'not-applied', async () => {
      const entries = this.#walk(folder, prefix, options.after ?? '');
      for (let done = false; !done;) {
        const found: Found[] = [];
        while (!done && found.length < Math.min(sizesAtOnce, limit + 1)) {
          const next = await entries.next();
          done = next.done === true;
          if (next.value !== undefined) found.push(next.value);
        }
        const sizes = await Promise.all(found.map((entry) => this.#sizeOf(entry)));
        for (const [i, { key }] of found.entries()) {
          const sizeBytes = sizes[i];
          // Removed meanwhile.
          if (sizeBytes === undefined) continue;
          if (objects.length === limit) return { objects, more: true };
          objects.push({ key, sizeBytes });
        }
      }
      return { objects, more: false };
    });
  }

  async #sizeOf({ key, versioned }: Found): Promise<number | undefined> {
    const path = join(this.#root, key);
    const newest = versioned ? (await slotsOf(this.#files, `${path}~v`)).at(-1) : undefined;
    return sizeOf(this.#files, slotPath(path, newest ?? 1));
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#check(key);
      await guard(key, 'unknown', () => this.#remove(join(this.#root, key)));
    }
    if (keys.length > 0 && (await this.#lacksReserve())) await this.#fillReserve();
  }

  /** Oldest version first, durably, then all others in one step: at no moment, and after no power cut, an older one is the newest. */
  async #remove(path: string): Promise<void> {
    const versions = `${path}~v`;
    const versioned = (await statOrNone(this.#files, versions)) !== undefined;
    await this.#files.rm(`${path}~`);
    this.#durability.forget(`${path}~`);
    if (!versioned) return;
    await this.#durability.folder(dirname(path));
    const aside = join(
      this.#root,
      temporaryFolder,
      `${String(process.pid)}-${randomBytes(8).toString('hex')}`,
    );
    this.#folders.delete(versions);
    try {
      await this.#files.rename(versions, aside);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    await this.#files.rm(aside, { recursive: true });
  }

  async flush(keys?: readonly string[]): Promise<void> {
    this.#check();
    const paths = keys?.map((key) => `${join(this.#root, key)}~`);
    await guard('flush', 'unknown', () => this.#durability.flush(paths));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.flush();
    this.#closed = true;
  }

  #check(key?: string): void {
    if (this.#closed) throw new StoreError('CLOSED', 'the store is closed');
    if (key !== undefined) checkKey(key);
  }

  async #locate(key: string): Promise<Located | undefined> {
    const path = join(this.#root, key);
    const slots = await slotsOf(this.#files, `${path}~v`);
    const newest = slots.at(-1);
    if (newest !== undefined) return { path: slotPath(path, newest), slot: newest };
    return { path: `${path}~`, slot: 1 };
  }

  /** Reads a range of the newest version. A version may be collected between finding and opening it: look again. */
  async #read(
    key: string,
    start: number,
    length: number,
  ): Promise<{ bytes: Uint8Array; header: Header; slot: number } | undefined> {
    this.#check(key);
    return guard(key, 'not-applied', async () => {
      for (let attempt = 0; attempt < 8; attempt++) {
        const located = await this.#locate(key);
        if (located === undefined) return undefined;
        await this.#durability.certain(dirname(located.path));
        const found = await readObject(this.#files, key, located.path, start, length);
        if (found !== undefined) return { ...found, slot: located.slot };
        if (located.slot === 1 && (await slotsOf(this.#files, `${join(this.#root, key)}~v`)).length === 0)
          return undefined;
      }
      throw new StoreError('UNAVAILABLE', `${key}: it changes faster than it can be read`);
    });
  }

  async #create(key: string, body: Uint8Array): Promise<{ version: ObjectVersion }> {
    const path = join(this.#root, key);
    if ((await slotsOf(this.#files, `${path}~v`)).length > 0) throw conflict(key);
    const nonce = randomBytes(nonceBytes);
    await this.#linkNew(key, `${path}~`, encode(body, nonce, noNonce));
    return { version: versionOf(1, nonce) };
  }

  async #replace(key: string, body: Uint8Array, durable: boolean): Promise<{ version: ObjectVersion }> {
    const path = join(this.#root, key);
    for (;;) {
      const newest = (await slotsOf(this.#files, `${path}~v`)).at(-1);
      if (newest === undefined) break;
      // A record that is swapped elsewhere keeps its history: add to it.
      const current = await readObject(this.#files, key, slotPath(path, newest), 0, 0);
      if (current === undefined) continue;
      try {
        return await this.#swap(key, body, versionOf(newest, current.header.nonce));
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== 'CONFLICT') throw error;
      }
    }
    const nonce = randomBytes(nonceBytes);
    const temporary = await this.#writeTemporary(encode(body, nonce, noNonce), durable);
    await this.#inFolder(dirname(path), () => this.#files.rename(temporary, `${path}~`));
    if (durable) {
      this.#durability.forget(`${path}~`);
      await this.#durability.folder(dirname(path));
    } else await this.#durability.written(`${path}~`);
    return { version: versionOf(1, nonce) };
  }

  async #swap(key: string, body: Uint8Array, expected: ObjectVersion): Promise<{ version: ObjectVersion }> {
    const path = join(this.#root, key);
    const located = await this.#locate(key);
    const current = located && (await readObject(this.#files, key, located.path, 0, 0));
    if (located === undefined || current === undefined) throw conflict(key);
    if (versionOf(located.slot, current.header.nonce) !== expected) throw conflict(key);
    const nonce = randomBytes(nonceBytes);
    const slot = located.slot + 1;
    await this.#linkNew(key, slotPath(path, slot), encode(body, nonce, current.header.nonce));
    await this.#confirm(key, path, slot, nonce);
    if (slot % collectEvery === 0) await this.#collect(path);
    return { version: versionOf(slot, nonce) };
  }

  /** A writer that stalled before its link may have filled a slot that was collected: its successor tells. */
  async #confirm(key: string, path: string, slot: number, nonce: Buffer): Promise<void> {
    const later = (await slotsOf(this.#files, `${path}~v`)).filter((other) => other > slot);
    if (later.length === 0) return;
    if (later[0] === slot + 1) {
      const successor = await readObject(this.#files, key, slotPath(path, slot + 1), 0, 0);
      if (successor?.header.predecessor.equals(nonce) === true) return;
      if (successor === undefined) throw lostTrack(key);
    } else if (later[0]! > slot + 1) {
      // The successor itself is gone: the stall was longer than versions are kept.
      throw lostTrack(key);
    }
    await this.#files.rm(slotPath(path, slot));
    throw conflict(key);
  }

  async #linkNew(key: string, path: string, bytes: Uint8Array): Promise<void> {
    const temporary = await this.#withReserve(bytes, () => this.#writeTemporary(bytes, true));
    try {
      await this.#withReserve(bytes, () => this.#makeFolder(dirname(path)));
      await this.#options.beforeLink();
      await this.#inFolder(dirname(path), () => this.#files.link(temporary, path));
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      const [ours, theirs] = await Promise.all([this.#files.stat(temporary), statOrNone(this.#files, path)]);
      if (theirs === undefined || ours.ino !== theirs.ino || ours.dev !== theirs.dev) throw conflict(key);
    } finally {
      await this.#files.rm(temporary);
    }
    await this.#durability.folder(dirname(path));
  }

  /** Runs `work`; on a full disk gives reserve files up for it, one after another, if what is written is as small as a record. */
  async #withReserve<T>(bytes: Uint8Array, work: () => Promise<T>): Promise<T> {
    const folder = join(this.#root, reserve);
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const full = storeError(folder, error, 'not-applied').code === 'FULL';
        const [file] =
          full && bytes.length <= reserveBytes ? await this.#files.readdir(folder).catch(() => []) : [];
        if (file === undefined) throw error;
        await this.#files.rm(join(folder, file.name));
      }
    }
  }

  /** Whether it was given up for records, by this instance or another. */
  async #lacksReserve(): Promise<boolean> {
    const files = await this.#files.readdir(join(this.#root, reserve)).catch(() => undefined);
    return files !== undefined && files.length < reserveFiles;
  }

  /** Makes the reserve files that are missing, as far as there is room. */
  async #fillReserve(): Promise<void> {
    const folder = join(this.#root, reserve);
    const zeros = new Uint8Array(reserveBytes);
    try {
      await this.#files.mkdir(folder);
      for (let i = 0; i < reserveFiles; i++) {
        const path = join(folder, String(i).padStart(2, '0'));
        if ((await sizeOf(this.#files, path)) === reserveBytes - headerBytes) continue;
        await this.#files.rename(await this.#writeTemporary(zeros, false), path);
      }
    } catch (error) {
      // Later, when something was deleted.
      if (storeError(folder, error, 'not-applied').code !== 'FULL') throw error;
    }
  }

  async #writeTemporary(bytes: Uint8Array, sync: boolean): Promise<string> {
    const path = join(
      this.#root,
      temporaryFolder,
      `${String(process.pid)}-${randomBytes(8).toString('hex')}`,
    );
    try {
      const file = await this.#openTemporary(path);
      try {
        for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
        if (sync) await this.#durability.file(file);
      } finally {
        await file.close();
      }
      return path;
    } catch (error) {
      await this.#files.rm(path);
      // Nothing was published yet.
      throw storeError('temporary file', error, 'not-applied');
    }
  }

  async #openTemporary(path: string): Promise<OpenFile> {
    try {
      return await this.#files.open(path, 'wx', 0o600);
    } catch (error) {
      // Of a store that was opened to be read, or copied without its folders.
      if (codeOf(error) !== 'ENOENT') throw error;
      await this.#files.mkdir(dirname(path));
      return this.#files.open(path, 'wx', 0o600);
    }
  }

  /** Runs `work`, which puts a name into a folder; makes the folder anew when somebody removed it since. */
  async #inFolder(path: string, work: () => Promise<void>): Promise<void> {
    await this.#makeFolder(path);
    try {
      await work();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      this.#folders.delete(path);
      await this.#makeFolder(path);
      await work();
    }
  }

  async #makeFolder(path: string): Promise<void> {
    if (this.#folders.has(path)) return;
    const made = await this.#files.mkdir(path);
    if (made !== undefined) {
      // The new entries must survive a power cut: sync from the new folder up to the first one that was there.
      for (let at = path; at.length >= dirname(made).length; at = dirname(at))
        await this.#durability.folder(at);
    }
    this.#folders.add(path);
  }

  async #collect(path: string): Promise<void> {
    const slots = await slotsOf(this.#files, `${path}~v`);
    const newest = slots.pop();
    if (newest === undefined) return;
    const { mtimeMs } = await this.#files.stat(slotPath(path, newest));
    for (const slot of slots) {
      const old = await statOrNone(this.#files, slotPath(path, slot));
      if (old === undefined) continue;
      // Ascending: once one is young enough, so are the rest.
      if (mtimeMs - old.mtimeMs < this.#options.keepVersionsMs) return;
      await this.#files.rm(slotPath(path, slot));
    }
  }

  async #clearTemporary(): Promise<void> {
    const folder = join(this.#root, temporaryFolder);
    const probe = await this.#writeTemporary(new Uint8Array(0), false);
    // The file system's own clock: on NFS it is the server's.
    const now = (await this.#files.stat(probe)).mtimeMs;
    await this.#files.unlink(probe);
    for (const { name } of await this.#files.readdir(folder)) {
      const found = await statOrNone(this.#files, join(folder, name));
      if (found !== undefined && now - found.mtimeMs > this.#options.keepTemporaryMs)
        await this.#files.rm(join(folder, name), { recursive: true });
    }
  }

  /** Keys below `folder` ('' or ending in a slash) that begin with `prefix` and lie after `after`, in byte order. */
  async *#walk(folder: string, prefix: string, after: string): AsyncGenerator<Found, void> {
    for (const [entry, versioned] of keysIn(await entriesOf(this.#files, join(this.#root, folder)))) {
      const key = folder + entry;
      if (key.endsWith('/')) {
        const skip = after > key && !after.startsWith(key);
        if (!skip && (key.startsWith(prefix) || prefix.startsWith(key)))
          yield* this.#walk(key, prefix, after);
      } else if (key.startsWith(prefix) && key > after) {
        yield { key, versioned };
      }
    }
  }
}
