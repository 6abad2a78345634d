/** Opens checkpoints and reads their pages on demand. */
import type { CheckpointKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { StorageHost } from '../host.ts';
import type { MachineSnapshot, SpaceShape, SpaceSnapshot } from '../snapshot.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { readOwner, type Ownership } from '../ownership.ts';
import { openBaseImage } from './base-image.ts';
import { buildMaps, loadChain } from './chain.ts';
import { ContentHash } from './content-hash.ts';
import { findNewestIntact, listManifests, whyDamagedNow, type Refusal } from './find.ts';
import { holdCheckpoint, type Hold } from './hold.ts';
import { formatId, packsPrefix, type CheckpointId } from './keys.ts';
import type { Manifest, ManifestHead } from './manifest.ts';
import { firstPack, packBase, packZero } from './page-map.ts';
import { PageSource } from './page-source.ts';
import { PagePool } from './page-pool.ts';
import { PackReader } from './pack-reader.ts';
import type { PackRef } from './pack.ts';
import { verifyCheckpoint } from './verify.ts';
import { readWorkingSet, type WorkingSet } from './working-set.ts';

export interface ReadOptions {
  key?: CheckpointKey | undefined;
  /** Default: one of the reader's own. */
  pool?: PagePool;
  /** Decoded pages kept. Default 32 MiB. */
  cacheBytes?: number;
  host?: StorageHost;
}

export interface OpenOptions extends ReadOptions {
  /** This one, rather than the newest. */
  id?: CheckpointId;
  /** When the newest is damaged, open the newest intact one before it; `refused` then says what was passed over. Default false. */
  acceptOlder?: boolean;
  /** Read and check every page before calling a checkpoint intact; else pages are checked when they are read. Default false. */
  verify?: boolean;
}

/** One checkpoint, its state loaded, its pages in the store. */
export class CheckpointReader {
  readonly vmId: string;
  readonly id: CheckpointId;
  readonly head: ManifestHead;
  /** The manifests that it is made of, the full one first, its own last. */
  readonly chain: readonly Manifest[];
  /** Newer checkpoints that were passed over as damaged, newest first. */
  readonly refused: readonly Refusal[];
  readonly #store: ObjectStore;
  readonly #options: ReadOptions;
  readonly #pool: PagePool;
  readonly #sources: Map<string, PageSource>;
  readonly #packs: Map<number, PackRef>;

  private constructor(parts: {
    store: ObjectStore;
    vmId: string;
    chain: readonly Manifest[];
    refused: Refusal[];
    options: ReadOptions;
    pool: PagePool;
    sources: Map<string, PageSource>;
    packs: Map<number, PackRef>;
  }) {
    this.#store = parts.store;
    this.vmId = parts.vmId;
    this.chain = parts.chain;
    this.head = parts.chain.at(-1)!.head;
    this.id = this.head.id;
    this.refused = parts.refused;
    this.#options = parts.options;
    this.#pool = parts.pool;
    this.#sources = parts.sources;
    this.#packs = parts.packs;
  }

  /** Reads the manifests of one checkpoint. For choosing one, see `openCheckpoint`. */
  static async load(
    store: ObjectStore,
    vmId: string,
    id: CheckpointId,
    options: ReadOptions = {},
    refused: Refusal[] = [],
    known: readonly Manifest[] = [],
  ): Promise<CheckpointReader> {
    const chain = known.length > 0 ? known : await loadChain(store, vmId, id, options.key);
    const { maps, packs } = buildMaps(chain);
    const pool = options.pool ?? new PagePool();
    const { key, cacheBytes } = options;
    const reader = new PackReader({ store, prefix: packsPrefix(vmId), pool, key, cacheBytes });
    const sources = new Map<string, PageSource>();
    for (const map of maps) {
      const { base } = map.space;
      const image =
        base === undefined ? undefined : await openBaseImage(store, base, { key, pool, cacheBytes });
      if (image !== undefined && image.info.pageSize !== map.space.pageSize)
        throw new StorageError('CHECKPOINT_DAMAGED', `base image ${image.info.name} has another page size`);
      sources.set(map.space.name, new PageSource(map, packs, reader, image?.pages));
    }
    return new CheckpointReader({ store, vmId, chain, refused, options, pool, sources, packs });
  }

  /** Opens the checkpoint that a takeover resumes from. Throws `CHECKPOINT_NOT_FOUND` when it starts afresh. */
  static async resume(
    store: ObjectStore,
    ownership: Ownership,
    options: ReadOptions = {},
  ): Promise<CheckpointReader> {
    const { vmId, resumeFrom, refused, chain } = ownership;
    if (resumeFrom === null)
      throw new StorageError('CHECKPOINT_NOT_FOUND', `${vmId}: there is no checkpoint to resume from`);
    return CheckpointReader.load(store, vmId, resumeFrom, options, refused, chain);
  }

  /** The opaque state, as the snapshot gave it, without pages. */
  get state(): Omit<MachineSnapshot, 'spaces'> {
    const { description, cpus, devices } = this.chain.at(-1)!.body;
    const { instructions, virtualTimeNs } = this.head;
    return { description, cpus, devices, instructions, virtualTimeNs };
  }

  get spaces(): SpaceShape[] {
    return this.head.spaces.map(({ name, pageSize, pageCount }) => ({ name, pageSize, pageCount }));
  }

  /** Packs that this checkpoint's pages lie in, and some that its chain names besides. */
  get packs(): PackRef[] {
    return [...this.#packs.values()];
  }

  /** A pack by its number in the page maps. */
  packRef(number: number): PackRef {
    return this.#packs.get(number)!;
  }

  /** The pages of one space. Throws `BAD_ARGUMENT` for an unknown name. */
  source(space: string): PageSource {
    const source = this.#sources.get(space);
    if (source === undefined)
      throw new StorageError('BAD_ARGUMENT', `checkpoint ${formatId(this.id)} has no space ${space}`, {
        hint: `it has: ${[...this.#sources.keys()].join(', ')}`,
      });
    return source;
  }

  /** Numbers of the pages that are not zero, ascending. */
  present(space: string): Uint32Array {
    return this.source(space).present();
  }

  /** Up to `most` pages that were stored last, by whole checkpoints; ascending. Their VM will likely touch them soon. */
  newest(space: string, most: number): Uint32Array {
    const { packs } = this.source(space).map;
    const sizes = new Map<number, number>();
    for (const pack of packs) if (pack >= firstPack) sizes.set(pack, (sizes.get(pack) ?? 0) + 1);
    // They are numbered in the order of the chain.
    const byAge = [...sizes].sort(([a], [b]) => b - a);
    let pages = 0;
    let from = Infinity;
    for (const [pack, size] of byAge) {
      if ((pages += size) > most) break;
      from = pack;
    }
    const indexes: number[] = [];
    packs.forEach((pack, page) => pack >= from && indexes.push(page));
    return Uint32Array.from(indexes);
  }

  /**
   * Reads pages in the order of `indexes`; zero pages come as zeros. Each page is verified.
   * @returns `indexes.length * pageSize` bytes.
   * @throws StorageError `CHECKPOINT_DAMAGED`, naming the object; StoreError when the store fails: try again later.
   */
  async readPages(space: string, indexes: Uint32Array): Promise<Uint8Array> {
    return this.source(space).read(indexes);
  }

  /**
   * Everything at once, every space `full: true`, zero pages absent.
   * @param options.onBase leaves pages of base images out: for who reads them where they are (`page-channel.ts`).
   */
  async readSnapshot(options: { onBase?: boolean } = {}): Promise<MachineSnapshot> {
    const spaces: SpaceSnapshot[] = [];
    for (const { name } of this.spaces) spaces.push(await this.readSpace(name, options));
    return { ...this.state, spaces };
  }

  /** One space of `readSnapshot`. */
  async readSpace(name: string, { onBase = false }: { onBase?: boolean } = {}): Promise<SpaceSnapshot> {
    const source = this.source(name);
    const { pageSize, pageCount } = source.map.space;
    const over = onBase && source.hasBase;
    const indexes = over ? source.differing() : source.present();
    const bytes = await source.read(indexes);
    return { name, pageSize, pageCount, full: true, ...(over ? { onBase: true } : {}), indexes, bytes };
  }

  /**
   * What a machine that was restored from `earlier`, of the same VM, still lacks: this state, and in every space (`full: false`) the
   * pages that lie elsewhere than those of `earlier`, zero pages with their zeros.
   */
  async readChanges(earlier: CheckpointReader): Promise<MachineSnapshot> {
    const spaces = this.spaces.map(async (shape): Promise<SpaceSnapshot> => {
      const indexes = this.changed(shape.name, earlier);
      return { ...shape, full: false, indexes, bytes: await this.readPages(shape.name, indexes) };
    });
    return { ...this.state, spaces: await Promise.all(spaces) };
  }

  /** Pages that lie elsewhere than those of a checkpoint of the same VM, ascending. Reads nothing: a page that was stored again counts. */
  changed(space: string, earlier: CheckpointReader): Uint32Array {
    const { packs, slots } = this.source(space).map;
    const before = earlier.source(space).map;
    // Packs have numbers of their own in each reader.
    const byName = new Map([...this.#packs].map(([number, { name }]) => [name, number]));
    const numberNow: number[] = [packZero, packBase];
    for (const [number, { name }] of earlier.#packs) numberNow[number] = byName.get(name) ?? -1;
    const pages: number[] = [];
    for (let page = 0; page < packs.length; page++) {
      const pack = packs[page]!;
      const same = numberNow[before.packs[page]!] === pack;
      if (!same || (pack >= firstPack && slots[page] !== before.slots[page])) pages.push(page);
    }
    return Uint32Array.from(pages);
  }

  /** The pages that were touched first when this VM last ran; empty when none were recorded. */
  async workingSet(): Promise<WorkingSet> {
    return readWorkingSet(this.#store, this.vmId, this.#options.key);
  }

  /** SHA-256 over state and pages, hexadecimal: equal machines have equal hashes, however they are stored. Reads heads only. */
  async contentHash(): Promise<string> {
    const hash = new ContentHash(this.state);
    for (const shape of this.spaces) {
      hash.space(shape);
      const source = this.source(shape.name);
      for (const page of source.present()) hash.page(page, (await source.hashOf(page))!);
    }
    return hash.digest();
  }

  /** Keeps the collectors from this checkpoint while it is read for long (hold.ts). */
  async hold(purpose: string): Promise<Hold | undefined> {
    const { host } = this.#options;
    return holdCheckpoint(this.#store, this.vmId, this.id, {
      purpose,
      ...(host === undefined ? {} : { host }),
    });
  }

  /** Ends the pool when it is the reader's own. */
  async close(): Promise<void> {
    if (this.#options.pool === undefined) await this.#pool.close();
  }
}

/**
 * Opens a VM's newest checkpoint, or the one named.
 * @throws StorageError `CHECKPOINT_NOT_FOUND`; `CHECKPOINT_DAMAGED` with the newest intact one as the hint: an older one
 *   is never opened silently.
 */
export async function openCheckpoint(
  store: ObjectStore,
  vmId: string,
  options: OpenOptions = {},
): Promise<CheckpointReader> {
  if (options.id !== undefined) return openNamed(store, vmId, options.id, options);
  const owner = await readOwner(store, vmId);
  const lineage = owner?.record.lineage ?? [];
  const refused: Refusal[] = [];
  for (let before: CheckpointId | undefined; ;) {
    const found = await findNewestIntact(store, vmId, lineage, { key: options.key, before });
    refused.push(...found.refused);
    const newest = refused[0];
    if (newest !== undefined && (options.acceptOlder !== true || found.id === null))
      throw damaged(vmId, newest, found.id);
    if (found.id === null)
      throw new StorageError('CHECKPOINT_NOT_FOUND', `${vmId}: there is no checkpoint in ${store.url}`);
    const reader = await CheckpointReader.load(store, vmId, found.id, options, refused, found.chain);
    const report = options.verify === true ? await verifyCheckpoint(reader) : undefined;
    if (report?.intact !== false) return reader;
    await reader.close();
    refused.push({ id: found.id, reason: `is damaged: ${report.damaged[0] ?? ''}` });
    before = found.id;
  }
}

async function openNamed(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  options: OpenOptions,
): Promise<CheckpointReader> {
  const reason = await whyDamagedNow(store, vmId, id, options.key);
  if (reason === undefined) return CheckpointReader.load(store, vmId, id, options);
  const exists = (await listManifests(store, vmId)).some((each) => formatId(each) === formatId(id));
  if (!exists)
    throw new StorageError('CHECKPOINT_NOT_FOUND', `${vmId}: there is no checkpoint ${formatId(id)}`, {
      hint: 'list the checkpoints to see which there are',
    });
  throw new StorageError('CHECKPOINT_DAMAGED', `${vmId}: checkpoint ${formatId(id)} ${reason}`);
}

function damaged(vmId: string, newest: Refusal, intact: CheckpointId | null): StorageError {
  return new StorageError(
    'CHECKPOINT_DAMAGED',
    `${vmId}: checkpoint ${formatId(newest.id)} ${newest.reason}`,
    {
      hint:
        intact === null
          ? 'there is no intact checkpoint before it'
          : `the newest intact one before it is ${formatId(intact)}`,
    },
  );
}
