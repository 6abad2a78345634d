/**
 * Base images: read-only spaces that several VMs share (docs/CHECKPOINT_FORMAT.md, "Base images"). They are written
 * once, under a prefix of their own, and are collected when nothing refers to them any more (collect-bases.ts).
 */
import { createHash } from 'node:crypto';
import type { CheckpointKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import { newNonce, systemHost, type StorageHost } from '../host.ts';
import type { ObjectStore } from '../store/object-store.ts';
import {
  putBaseManifest,
  readBaseState,
  type BaseImageInfo,
  type BaseManifest,
  type BaseState,
} from './base-manifest.ts';
import { basePrefix } from './keys.ts';
import { pageHashBytes, storedRaw } from './page-codec.ts';
import { PageIndex } from './page-index.ts';
import { applyRuns, emptyChanges, encodeRuns, firstPack, PageMap, type PageChanges } from './page-map.ts';
import { PagePool } from './page-pool.ts';
import { PackReader } from './pack-reader.ts';
import { PackBuilder, type PackRef } from './pack.ts';
import { PageSource } from './page-source.ts';

const jobPages = 256;
const hashWords = pageHashBytes / 4;

/** The name under which an image is stored that is known by its contents: the SHA-256 of the whole image, in hexadecimal. */
export function baseImageName(contentHash: string): string {
  // A name has at most 63 characters; 208 bits of the hash tell images apart as well.
  return `sha256-${contentHash.slice(0, 52)}`;
}

export interface BaseImageOptions {
  key?: CheckpointKey | undefined;
  host?: StorageHost;
  pool?: PagePool;
  /** Default 4096. */
  pageSize?: number;
}

/**
 * Stores an image under a name. The last page is filled up with zeros. Storing the same contents again changes nothing.
 * @param source the image in order, in pieces of any size.
 * @throws StorageError `BAD_ARGUMENT` when the name is taken by other contents.
 */
export async function importBaseImage(
  store: ObjectStore,
  name: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: BaseImageOptions = {},
): Promise<BaseImageInfo> {
  const pool = options.pool ?? new PagePool();
  const host = options.host ?? systemHost;
  const importer = new Importer(store, name, { ...options, host, pool, pageSize: options.pageSize ?? 4096 });
  try {
    for await (const piece of source) await importer.add(piece);
    return await importer.finish();
  } finally {
    if (options.pool === undefined) await pool.close();
  }
}

type ImporterOptions = BaseImageOptions & { host: StorageHost; pool: PagePool; pageSize: number };

class Importer {
  readonly #store: ObjectStore;
  readonly #name: string;
  readonly #options: ImporterOptions;
  readonly #hash = createHash('sha256');
  readonly #nonce: string;
  readonly #packs: PackRef[] = [];
  /** Of each job: which of its pages are stored, and where. */
  readonly #places: PageChanges[] = [];
  readonly #known = new PageIndex();
  #builder: PackBuilder;
  #pieces: Uint8Array[] = [];
  #held = 0;
  #page = 0;
  readonly #before: Promise<BaseState>;

  constructor(store: ObjectStore, name: string, options: ImporterOptions) {
    this.#store = store;
    this.#name = name;
    this.#options = options;
    this.#nonce = newNonce(options.host);
    this.#builder = new PackBuilder(options.pageSize);
    this.#before = readBaseState(store, name, options.key);
    // Heard when it is published, unless that fails before.
    this.#before.catch(() => undefined);
  }

  async add(piece: Uint8Array): Promise<void> {
    this.#hash.update(piece);
    this.#pieces.push(piece);
    this.#held += piece.length;
    const job = jobPages * this.#options.pageSize;
    if (this.#held < job) return;
    const whole = Buffer.concat(this.#pieces);
    const taken = whole.length - (whole.length % job);
    for (let at = 0; at < taken; at += job) await this.#pages(whole.subarray(at, at + job));
    this.#pieces = [whole.subarray(taken)];
    this.#held = whole.length - taken;
  }

  async finish(): Promise<BaseImageInfo> {
    const { pageSize } = this.#options;
    const rest = Buffer.concat(this.#pieces);
    const padded = Buffer.alloc(Math.ceil(rest.length / pageSize) * pageSize);
    rest.copy(padded);
    if (padded.length > 0) await this.#pages(padded);
    if (this.#builder.pages > 0) await this.#closePack();
    await this.#store.flush();
    const changes = emptyChanges(this.#places.reduce((sum, { indexes }) => sum + indexes.length, 0));
    let at = 0;
    for (const { indexes, packs, slots } of this.#places) {
      changes.indexes.set(indexes, at);
      changes.packs.set(packs, at);
      changes.slots.set(slots, at);
      at += indexes.length;
    }
    const info: BaseImageInfo = {
      name: this.#name,
      pageSize,
      pageCount: this.#page,
      contentHash: this.#hash.digest('hex'),
      packBytes: this.#packs.reduce((sum, pack) => sum + pack.bytes, 0),
    };
    const runs = encodeRuns({ ...info, name: this.#name }, changes, (pack) => pack);
    return this.#publish({ info, packs: this.#packs, runs });
  }

  async #publish(manifest: BaseManifest): Promise<BaseImageInfo> {
    const { info } = manifest;
    // What the name stood for at the beginning: packs of an import that others took for dead are on their way out.
    const { state, version } = await this.#before;
    try {
      await putBaseManifest(this.#store, manifest, state === 'gone' ? version : undefined, this.#options);
      return info;
    } catch (error) {
      // Taken, or our own put whose reply was lost: what is there decides.
      const found = await readBaseState(this.#store, this.#name, this.#options.key);
      if (found.state === 'absent') throw error;
      const ours = found.state === 'there' && found.manifest.packs[0]?.name === this.#packs[0]?.name;
      if (!ours)
        await this.#store.delete(this.#packs.map((pack) => `${basePrefix(this.#name)}packs/${pack.name}`));
      if (found.state === 'gone')
        throw new StorageError(
          'BAD_ARGUMENT',
          `base image ${this.#name} was collected while it was imported`,
          { hint: 'import it again', retryable: true, cause: error },
        );
      if (found.manifest.info.contentHash === info.contentHash) return found.manifest.info;
      throw new StorageError('BAD_ARGUMENT', `base image ${this.#name} exists with other contents`, {
        hint: 'pick another name: base images never change',
      });
    }
  }

  async #pages(bytes: Uint8Array): Promise<void> {
    const { pageSize, pool } = this.#options;
    const encoded = await pool.encode(bytes, pageSize);
    const { hashes, lengths, data } = encoded;
    const words = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length / 4);
    const places = emptyChanges(lengths.reduce((stored, length) => stored + Number(length !== 0), 0));
    let [at, next] = [0, 0];
    for (const [i, length] of lengths.entries()) {
      const page = this.#page++;
      const size = length & ~storedRaw;
      const stored = data.subarray(at, at + size);
      at += size;
      if (length === 0) continue;
      const hash = words.subarray(i * hashWords, (i + 1) * hashWords);
      let place = this.#known.find(hash);
      if (place === undefined) {
        const pageHash = hashes.subarray(i * pageHashBytes, (i + 1) * pageHashBytes);
        place = { pack: this.#packs.length + firstPack, slot: this.#builder.add(pageHash, length, stored) };
        this.#known.set(hash, place.pack, place.slot);
      }
      places.indexes[next] = page;
      places.packs[next] = place.pack;
      places.slots[next++] = place.slot;
      if (this.#builder.full) await this.#closePack();
    }
    this.#places.push(places);
  }

  async #closePack(): Promise<void> {
    // What stands there is seen before there is a pack that a collector could take for dead.
    await this.#before;
    const name = `${String(this.#packs.length).padStart(6, '0')}-${this.#nonce.slice(0, 16)}`;
    const key = `${basePrefix(this.#name)}packs/${name}`;
    const { ref, body } = this.#builder.build(key, this.#options);
    await this.#store.put(key, body, { durable: false });
    this.#packs.push({ name, ...ref });
    this.#builder = new PackBuilder(this.#options.pageSize);
  }
}

/**
 * Whether a base image is there and can be read with this key, without its pages.
 * @throws StorageError `CHECKPOINT_DAMAGED` when it is missing or damaged, `KEY_NEEDED`, `KEY_WRONG`, `CHECKPOINT_NEWER`
 */
export async function checkBaseImage(
  store: ObjectStore,
  name: string,
  key: CheckpointKey | undefined,
): Promise<BaseImageInfo> {
  return (await requireBase(store, name, key)).info;
}

async function requireBase(
  store: ObjectStore,
  name: string,
  key: CheckpointKey | undefined,
): Promise<BaseManifest> {
  const found = await readBaseState(store, name, key);
  if (found.state !== 'there')
    throw new StorageError('CHECKPOINT_DAMAGED', `base image ${name} is missing from ${store.url}`);
  return found.manifest;
}

/** A base image to read from. */
export interface BaseImage {
  info: BaseImageInfo;
  pages: PageSource;
}

/** Opens a base image. Throws `CHECKPOINT_DAMAGED` when it is missing: whatever names it cannot be restored. */
export async function openBaseImage(
  store: ObjectStore,
  name: string,
  options: { key?: CheckpointKey | undefined; pool: PagePool; cacheBytes?: number | undefined },
): Promise<BaseImage> {
  const found = await requireBase(store, name, options.key);
  const { pageSize, pageCount } = found.info;
  const map = new PageMap({ name: 'base', pageSize, pageCount });
  applyRuns(map, found.runs, (number) =>
    found.packs[number - firstPack] === undefined ? undefined : number,
  );
  const packs = new Map(found.packs.map((pack, i) => [i + firstPack, pack]));
  const reader = new PackReader({ store, prefix: `${basePrefix(name)}packs/`, ...options });
  return { info: found.info, pages: new PageSource(map, packs, reader) };
}
