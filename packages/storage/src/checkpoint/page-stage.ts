/**
 * The pages of one checkpoint on their way into packs: hashed and compressed by the pool, shared where the content is
 * known, packed, put. Memory is bounded by the pool's limit and by the packs that are being put.
 */
import type { CheckpointKey } from '../encryption.ts';
import { newNonce, type StorageHost } from '../host.ts';
import { isStoreError, StorageError } from '../errors.ts';
import { insist } from '../insist.ts';
import type { SpaceSnapshot } from '../snapshot.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { packName, packsPrefix, type CheckpointId } from './keys.ts';
import type { WriteCounts } from './manifest.ts';
import { pageHashBytes, storedRaw, type EncodedPages } from './page-codec.ts';
import { packZero, type MapSpace, type PageChanges, type PageMap } from './page-map.ts';
import { PageIndex } from './page-index.ts';
import type { PagePool } from './page-pool.ts';
import { PackBuilder, type PackRef } from './pack.ts';
import { PackTable } from './pack-table.ts';
import type { Retrier } from './retrier.ts';

export interface StageOptions {
  store: ObjectStore;
  vmId: string;
  id: CheckpointId;
  table: PackTable;
  pool: PagePool;
  host: StorageHost;
  key: CheckpointKey | undefined;
  retrier: Retrier;
}

/** A space with its changes, ready for the manifest. */
export interface StagedSpace {
  space: MapSpace;
  /** True when the changes are all there is: pages not named are background. */
  fresh: boolean;
  changes: PageChanges;
}

/** Bytes of pages in one job of the pool. */
const jobBytes = 1 << 20;
/** Packs being put at the same time. */
const putsAtOnce = 4;

export class PageStage {
  readonly counts: WriteCounts = {
    listedPages: 0,
    zeroPages: 0,
    sharedPages: 0,
    storedPages: 0,
    movedPages: 0,
    rawBytes: 0,
    packBytes: 0,
    packs: 0,
  };
  readonly #options: StageOptions;
  readonly #nonce: string;
  /** Packs of this attempt, by number; undefined while still being filled. */
  readonly #refs = new Map<number, PackRef | undefined>();
  readonly #found = new PageIndex();
  readonly #open = new Map<number, { number: number; builder: PackBuilder }>();
  readonly #puts = new Set<Promise<void>>();
  #leaving: ReadonlySet<number> = new Set();
  #failed: { error: unknown } | undefined;

  constructor(options: StageOptions) {
    this.#options = options;
    this.#nonce = newNonce(options.host);
  }

  /** Stages the pages of one space. */
  async addSpace(shape: MapSpace, space: SpaceSnapshot, maps: Map<string, PageMap>): Promise<StagedSpace> {
    const before = maps.get(space.name)?.space;
    const same =
      before?.pageSize === space.pageSize &&
      before.pageCount === space.pageCount &&
      before.base === shape.base;
    if (!space.full && !same)
      throw new StorageError(
        'SNAPSHOT_INVALID',
        `space ${space.name} is a delta, but no checkpoint before has it so`,
        {
          hint: 'give every page of a space that is new or changed its size',
        },
      );
    const count = space.indexes.length;
    const changes = {
      indexes: space.indexes.slice(),
      packs: new Uint32Array(count),
      slots: new Uint32Array(count),
    };
    const perJob = Math.max(1, jobBytes / space.pageSize);
    const jobs: Promise<EncodedPages>[] = [];
    // The pool bounds what is under way; a few jobs ahead keep it busy while results are packed in order.
    const ahead = 8;
    for (let from = 0, next = 0; from < count; from += perJob) {
      for (; next < count && jobs.length < ahead; next += perJob)
        jobs.push(this.#encode(space, next, Math.min(next + perJob, count)));
      await this.#place(await jobs.shift()!, space.pageSize, from, changes);
    }
    this.counts.listedPages += count;
    return { space: shape, fresh: space.full, changes };
  }

  /**
   * Stores pages of earlier checkpoints anew, so that their packs can go.
   * @param leaving numbers of the packs that they are in: contents found there are not shared with.
   */
  async movePages(
    pageSize: number,
    bytes: Uint8Array,
    indexes: Uint32Array,
    leaving: ReadonlySet<number>,
  ): Promise<PageChanges> {
    const changes = {
      indexes,
      packs: new Uint32Array(indexes.length),
      slots: new Uint32Array(indexes.length),
    };
    const { listedPages, zeroPages, sharedPages, storedPages } = this.counts;
    this.#leaving = leaving;
    const perJob = Math.max(1, jobBytes / pageSize);
    for (let from = 0; from < indexes.length; from += perJob) {
      const some = bytes.subarray(from * pageSize, (from + perJob) * pageSize);
      await this.#place(await this.#options.pool.encode(some, pageSize), pageSize, from, changes);
    }
    Object.assign(this.counts, { listedPages, zeroPages, sharedPages, storedPages });
    this.counts.movedPages += indexes.length;
    return changes;
  }

  /** Closes the last packs and waits until all are stored. */
  async finish(): Promise<void> {
    for (const pageSize of [...this.#open.keys()]) await this.#close(pageSize);
    while (this.#puts.size > 0) await Promise.race(this.#puts);
    this.#check();
    const { listedPages, zeroPages, sharedPages, storedPages } = this.counts;
    insist(
      listedPages === zeroPages + sharedPages + storedPages,
      `${String(listedPages)} pages were listed, and others have found their places`,
    );
  }

  /** Gives the attempt up: removes what it stored, as well as that goes. Nothing names it, and nothing else would collect it soon. */
  async abandon(): Promise<void> {
    while (this.#puts.size > 0) await Promise.race(this.#puts);
    try {
      await this.#options.store.delete(this.keys);
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
  }

  /** The packs that were put, or are being put. */
  get keys(): string[] {
    const prefix = packsPrefix(this.#options.vmId);
    return [...this.#refs.values()].filter((ref) => ref !== undefined).map(({ name }) => prefix + name);
  }

  /** A pack that the staged changes name. */
  packRef(number: number): PackRef {
    return (this.#refs.get(number) ?? this.#options.table.refs.get(number))!;
  }

  /** The writer's table once the checkpoint is committed. `uses`: see PackTable. */
  committedTable(maps: readonly PageMap[], uses?: Map<number, number>): PackTable {
    const { table } = this.#options;
    const refs = new Map(table.refs);
    for (const [number, ref] of this.#refs) if (ref !== undefined) refs.set(number, ref);
    const { index } = table;
    this.#found.forEach((hash, pack, slot) => {
      index.set(hash, pack, slot);
    });
    return new PackTable(refs, maps, index, uses, table.next);
  }

  #encode(space: SpaceSnapshot, from: number, to: number): Promise<EncodedPages> {
    const { name, pageSize, read, bytes } = space;
    const { pool } = this.#options;
    const result =
      read === undefined
        ? pool.encode(bytes.subarray(from * pageSize, to * pageSize), pageSize)
        : read(from, to).then((pages) => {
            insist(
              pages.length === (to - from) * pageSize,
              `other pages of ${name} came than were asked for`,
            );
            return pool.encode(pages, pageSize);
          });
    // A failure is met when the result is awaited in its turn.
    result.catch(() => undefined);
    return result;
  }

  async #place(encoded: EncodedPages, pageSize: number, from: number, changes: PageChanges): Promise<void> {
    let at = 0;
    const words = new Uint32Array(
      encoded.hashes.buffer,
      encoded.hashes.byteOffset,
      encoded.hashes.length / 4,
    );
    for (const [i, length] of encoded.lengths.entries()) {
      const size = length & ~storedRaw;
      const stored = encoded.data.subarray(at, at + size);
      at += size;
      if (length === 0) {
        changes.packs[from + i] = packZero;
        this.counts.zeroPages++;
        continue;
      }
      const hash = words.subarray(i * 8, (i + 1) * 8);
      const known = this.#known(hash);
      if (known !== undefined) this.counts.sharedPages++;
      const pageHash = encoded.hashes.subarray(i * pageHashBytes, (i + 1) * pageHashBytes);
      const place = known ?? (await this.#store(hash, pageHash, length, stored, pageSize));
      changes.packs[from + i] = place.pack;
      changes.slots[from + i] = place.slot;
    }
  }

  #known(hash: Uint32Array): { pack: number; slot: number } | undefined {
    const here = this.#found.find(hash);
    if (here !== undefined) return here;
    const before = this.#options.table.index.find(hash);
    if (before === undefined || this.#leaving.has(before.pack)) return undefined;
    return this.#options.table.isLive(before.pack) ? before : undefined;
  }

  async #store(
    hash: Uint32Array,
    pageHash: Uint8Array,
    length: number,
    stored: Uint8Array,
    pageSize: number,
  ): Promise<{ pack: number; slot: number }> {
    let open = this.#open.get(pageSize);
    if (open === undefined) {
      open = { number: this.#options.table.nextNumber(), builder: new PackBuilder(pageSize) };
      this.#open.set(pageSize, open);
      this.#refs.set(open.number, undefined);
    }
    const slot = open.builder.add(pageHash, length, stored);
    this.#found.set(hash, open.number, slot);
    this.counts.storedPages++;
    this.counts.rawBytes += pageSize;
    if (open.builder.full) await this.#close(pageSize);
    return { pack: open.number, slot };
  }

  async #close(pageSize: number): Promise<void> {
    const { number, builder } = this.#open.get(pageSize)!;
    this.#open.delete(pageSize);
    const { store, vmId, id, host, key, retrier } = this.#options;
    const name = packName(id, this.counts.packs, this.#nonce);
    const objectKey = packsPrefix(vmId) + name;
    const { ref, body } = builder.build(objectKey, { host, key });
    this.#refs.set(number, { name, ...ref });
    this.counts.packs++;
    this.counts.packBytes += body.length;
    while (this.#puts.size >= putsAtOnce) await Promise.race(this.#puts);
    this.#check();
    const put = retrier
      .run(objectKey, () => store.put(objectKey, body, { durable: false }))
      .then(
        () => undefined,
        (error: unknown) => {
          this.#failed ??= { error };
        },
      )
      .finally(() => this.#puts.delete(put));
    this.#puts.add(put);
  }

  #check(): void {
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}
