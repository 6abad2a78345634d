/**
 * Writes the checkpoints of one VM, one after another (docs/CHECKPOINT_FORMAT.md, "Writing").
 *
 * Order: packs (unsynced), one flush, the manifest under ifAbsent, then the owner record is read once more. `write`
 * returns only when the manifest is there and the epoch still stood after it. Invariants:
 * - packs are named after the checkpoint for which they are written; contents are shared only with packs that the last
 *   committed checkpoint reaches, so the collector can tell what is in flight (collect.ts relies on both);
 * - a manifest whose fate is unknown is settled before the next checkpoint begins;
 * - pages of a checkpoint that failed are carried into the next one: no dirty page is ever forgotten.
 */
import { isStorageError, isStoreError, StorageError } from '../errors.ts';
import type { CheckpointKey } from '../encryption.ts';
import { systemHost, newNonce, type StorageHost } from '../host.ts';
import { requireEpoch, type Ownership } from '../ownership.ts';
import type { StallEvent } from '../retry.ts';
import { checkSnapshot, type MachineSnapshot, type SpaceSnapshot } from '../snapshot.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { PatientStore } from '../store/patient-store.ts';
import { buildMaps, loadChain } from './chain.ts';
import { formatId, manifestKey, packsPrefix, type CheckpointId } from './keys.ts';
import {
  encodeManifest,
  readManifest,
  type Manifest,
  type ManifestHead,
  type WriteCounts,
} from './manifest.ts';
import { mergeSnapshots } from './merge.ts';
import { encodeRuns, firstPack, PageMap, type MapSpace } from './page-map.ts';
import { PageStage, type StagedSpace } from './page-stage.ts';
import { PagePool } from './page-pool.ts';
import { PackTable } from './pack-table.ts';
import type { PackRef } from './pack.ts';
import { PackReader } from './pack-reader.ts';
import { PageSource } from './page-source.ts';
import { choosePacks, pagesIn } from './repack.ts';
import { Retrier } from './retrier.ts';

export interface WriterOptions {
  key?: CheckpointKey | undefined;
  host?: StorageHost;
  /** Shared between writers. Default: one of its own. */
  pool?: PagePool;
  /** Base images by space name. Pages that a full space does not list are as in its base. */
  bases?: Record<string, string>;
  /** A full page map after so many deltas. Default 32. */
  fullMapEvery?: number;
  /** For a VM without a checkpoint: the checkpoint of another VM that it begins with, whose packs it shares (fork.ts). */
  forkOf?: { vmId: string; chain: readonly Manifest[] };
  /** Number of the first checkpoint of a VM that has none. Default 1. */
  firstSequence?: number;
  /** How long a `write` keeps trying while nothing succeeds, in milliseconds. Default 30 s. */
  giveUpAfterMs?: number;
  /** Told when the store makes a checkpoint wait, and when it goes on. */
  onStall?: (event: StallEvent) => void;
}

/** What one `write` did. */
export interface WrittenCheckpoint {
  id: CheckpointId;
  map: 'full' | 'delta';
  counts: WriteCounts;
  manifestBytes: number;
}

interface Pending {
  id: CheckpointId;
  key: string;
  body: Uint8Array;
  nonce: string;
  commit: () => void;
}

interface WriterParts {
  store: ObjectStore;
  vmId: string;
  epoch: number;
  parent: CheckpointId | null;
  chainLength: number;
  spaces: Map<string, PageMap>;
  table: PackTable;
}

export class CheckpointWriter {
  readonly vmId: string;
  readonly epoch: number;
  readonly #store: ObjectStore;
  readonly #options: WriterOptions;
  readonly #host: StorageHost;
  readonly #pool: PagePool;
  readonly #retrier: Retrier;
  #table: PackTable;
  #maps: Map<string, PageMap>;
  #parent: CheckpointId | null;
  #chainLength: number;
  #carry: MachineSnapshot | undefined;
  #pending: Pending | undefined;
  #fullNext = false;
  #fenced: StorageError | undefined;
  /** Bytes of pages of snapshots whose turn has not come. */
  #queuedBytes = 0;
  #underWay: MachineSnapshot | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(parts: WriterParts, options: WriterOptions) {
    this.vmId = parts.vmId;
    this.epoch = parts.epoch;
    this.#store = parts.store;
    this.#parent = parts.parent;
    this.#chainLength = parts.chainLength;
    this.#maps = parts.spaces;
    this.#table = parts.table;
    this.#options = options;
    this.#host = options.host ?? systemHost;
    this.#pool = options.pool ?? new PagePool();
    this.#retrier = new Retrier(this.#host, options.giveUpAfterMs ?? 30_000, options.onStall);
  }

  /**
   * Opens the writer of an epoch, and reads the page maps of the checkpoint that it resumed from.
   * Once per `raiseEpoch`: two writers of one epoch would meet in the same names, and the second is refused.
   * @throws StorageError `FENCED` when the epoch no longer stands; `CHECKPOINT_…` when the resume point cannot be read.
   */
  static async open(
    store: ObjectStore,
    ownership: Ownership,
    options: WriterOptions = {},
  ): Promise<CheckpointWriter> {
    const { vmId, epoch, resumeFrom } = ownership;
    const patient = new PatientStore(store, options.host ?? systemHost);
    await requireEpoch(patient, vmId, epoch);
    const known = ownership.chain.length > 0 ? ownership.chain : undefined;
    const chain =
      resumeFrom === null ? [] : (known ?? (await loadChain(patient, vmId, resumeFrom, options.key)));
    const { maps, packs } = buildMaps(chain.length === 0 ? (options.forkOf?.chain ?? []) : chain);
    if (chain.length === 0 && options.forkOf !== undefined)
      for (const [number, { vm = options.forkOf.vmId, ...own }] of packs)
        packs.set(number, vm === vmId ? own : { vm, ...own });
    const spaces = new Map(maps.map((map) => [map.space.name, map]));
    const table = new PackTable(packs, maps);
    const chainLength = chain.at(-1)?.head.chainLength ?? 0;
    return new CheckpointWriter(
      { store, vmId, epoch, parent: resumeFrom, chainLength, spaces, table },
      options,
    );
  }

  /** The last checkpoint known to be committed (at first the one resumed from). */
  get last(): CheckpointId | null {
    return this.#parent;
  }

  /**
   * Bytes of guest pages held for checkpoints that are not durable: for a caller that awaits each `write`, never more than its spaces
   * have (twice that while a failed checkpoint waits to be joined with the next).
   */
  get heldBytes(): number {
    return this.#queuedBytes + pageBytesOf(this.#underWay ?? this.#carry);
  }

  /**
   * Writes one checkpoint. Takes the snapshot over: its bytes must not change until the promise settles. Calls are
   * served one after another; a caller that awaits each one stretches its interval when the store is slow.
   * @throws StorageError `FENCED`: stop the VM, another owns it. StoreError: the store failed for too long; the pages are
   *   kept, and the next `write` brings them too; with `outcome: 'unknown'` the checkpoint may turn out to exist.
   */
  async write(snapshot: MachineSnapshot): Promise<WrittenCheckpoint> {
    checkSnapshot(snapshot);
    const bytes = pageBytesOf(snapshot);
    this.#queuedBytes += bytes;
    const turn = this.#queue.then(() => {
      this.#queuedBytes -= bytes;
      return this.#write(snapshot);
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for what is under way, and ends the pool when it is the writer's own. */
  async close(): Promise<void> {
    await this.#queue;
    if (this.#options.pool === undefined) await this.#pool.close();
  }

  async #write(snapshot: MachineSnapshot): Promise<WrittenCheckpoint> {
    if (this.#fenced !== undefined) throw this.#fenced;
    // Kept until this or a later checkpoint holds it.
    const whole = this.#carry === undefined ? snapshot : mergeSnapshots(this.#carry, snapshot);
    this.#carry = whole;
    this.#underWay = whole;
    try {
      this.#retrier.begin();
      await this.#settle();
      return await this.#attemptTwice(whole);
    } catch (error) {
      // On a full disk the chain of deltas must end, so that what it holds can be collected.
      if (isStoreError(error, 'FULL')) this.#fullNext = true;
      if (error instanceof StorageError && error.code === 'FENCED') {
        this.#fenced = error;
        this.#carry = undefined;
      }
      throw error;
    } finally {
      this.#underWay = undefined;
    }
  }

  /** A disk that failed under the packs may take them now: what it may have lost has to be written anew, not synced again. */
  async #attemptTwice(snapshot: MachineSnapshot): Promise<WrittenCheckpoint> {
    try {
      return await this.#attempt(snapshot);
    } catch (error) {
      if (!isStoreError(error, 'LOST')) throw error;
      return this.#attempt(snapshot);
    }
  }

  async #attempt(snapshot: MachineSnapshot): Promise<WrittenCheckpoint> {
    const id: CheckpointId = {
      epoch: this.epoch,
      sequence: this.#parent === null ? (this.#options.firstSequence ?? 1) : this.#parent.sequence + 1,
    };
    const stage = new PageStage({
      store: this.#store,
      vmId: this.vmId,
      id,
      table: this.#table,
      pool: this.#pool,
      host: this.#host,
      key: this.#options.key,
      retrier: this.#retrier,
    });
    const { staged, copies } = await this.#stagePages(snapshot, stage);
    const { head, body, maps } = this.#compose(snapshot, id, staged, copies, stage);
    const bytes = encodeManifest(head, body, { key: this.#options.key, host: this.#host });
    const key = manifestKey(this.vmId, id);
    const commit = (): void => {
      // A delta of the same spaces moves a few pages; otherwise all are counted anew.
      const counted = head.map === 'delta' && staged.length === this.#maps.size;
      this.#maps = maps();
      this.#table = stage.committedTable([...this.#maps.values()], counted ? this.#table.uses : undefined);
      this.#parent = id;
      this.#chainLength = head.chainLength;
      if (head.map === 'full') this.#fullNext = false;
    };
    // From here on the checkpoint may come to exist whatever this call reports.
    this.#pending = { id, key, body: bytes, nonce: head.nonce, commit };
    this.#carry = undefined;
    await this.#settle();
    return { id, map: head.map, counts: head.counts, manifestBytes: bytes.length };
  }

  /** Stores the pages of an attempt, or what of them was stored goes again. */
  async #stagePages(
    snapshot: MachineSnapshot,
    stage: PageStage,
  ): Promise<{ staged: StagedSpace[]; copies: PageMap[] | undefined }> {
    try {
      const staged: StagedSpace[] = [];
      for (const space of snapshot.spaces)
        staged.push(await stage.addSpace(this.#shape(space), space, this.#maps));
      const copies = this.#needsFullMap(staged)
        ? staged.map((space) => this.#changed(space, true))
        : undefined;
      if (copies !== undefined) await this.#repack(copies, stage);
      await stage.finish();
      await this.#retrier.run('flush', () => this.#store.flush(stage.keys));
      return { staged, copies };
    } catch (error) {
      await stage.abandon();
      throw error;
    }
  }

  #shape(space: SpaceSnapshot): MapSpace {
    const { name, pageSize, pageCount } = space;
    // Without one of its own, what a full space does not list is zero, whatever lay below the one before it (an import).
    const onOldBase = !space.full || space.onBase === true;
    const base = this.#options.bases?.[name] ?? (onOldBase ? this.#maps.get(name)?.space.base : undefined);
    if (space.onBase !== undefined && space.onBase !== (base !== undefined))
      throw new StorageError(
        'SNAPSHOT_INVALID',
        base === undefined
          ? `space ${name} lies on a base image, and the writer knows none`
          : `space ${name} does not lie on the base image ${base}`,
        { hint: "give the writer the base image's name in `bases`" },
      );
    return base === undefined ? { name, pageSize, pageCount } : { name, pageSize, pageCount, base };
  }

  #compose(
    snapshot: MachineSnapshot,
    id: CheckpointId,
    staged: StagedSpace[],
    copies: PageMap[] | undefined,
    stage: PageStage,
  ): {
    head: Omit<ManifestHead, 'bodyBytes' | 'bodyHash'>;
    body: Parameters<typeof encodeManifest>[1];
    maps: () => Map<string, PageMap>;
  } {
    const full = copies !== undefined;
    const maps = (): Map<string, PageMap> => {
      const finals = copies ?? staged.map((space) => this.#changed(space, false));
      return new Map(finals.map((map) => [map.space.name, map]));
    };
    const packs: PackRef[] = [];
    const numbers = new Map<number, number>();
    const numberOf = (pack: number): number => {
      const known = numbers.get(pack);
      if (known !== undefined) return known;
      const number = packs.push(stage.packRef(pack)) - 1 + firstPack;
      numbers.set(pack, number);
      return number;
    };
    const runs = staged.map((space, i) =>
      encodeRuns(space.space, copies?.[i]?.everything() ?? space.changes, numberOf),
    );
    const { description, cpus, devices, instructions, virtualTimeNs } = snapshot;
    const head = {
      vmId: this.vmId,
      id,
      parent: this.#parent,
      map: full ? ('full' as const) : ('delta' as const),
      chainLength: full ? 1 : this.#chainLength + 1,
      createdAtMs: this.#host.wallClockMs(),
      instructions,
      virtualTimeNs,
      spaces: staged.map(({ space }) => space),
      counts: stage.counts,
      nonce: newNonce(this.#host),
    };
    return { head, body: { description, cpus, devices, packs, runs }, maps };
  }

  /** A space's map after the changes: a copy, so that a failure leaves the writer's own as it was, or (once committed) itself. */
  #changed(space: StagedSpace, copy: boolean): PageMap {
    const before = space.fresh ? undefined : this.#maps.get(space.space.name);
    const map = before === undefined || copy ? new PageMap(space.space, before) : before;
    if (copy) map.apply(space.changes);
    else
      map.apply(space.changes, (from, to) => {
        this.#table.move(from, to);
      });
    return map;
  }

  /** Moves pages out of packs that have become small or sparse, lest a restore has to fetch thousands of them. */
  async #repack(maps: PageMap[], stage: PageStage): Promise<void> {
    const leaving = choosePacks(maps, this.#table.refs);
    if (leaving.size === 0) return;
    const { key } = this.#options;
    const prefix = packsPrefix(this.vmId);
    const reader = new PackReader({ store: this.#store, prefix, pool: this.#pool, key, cacheBytes: 0 });
    for (const map of maps) {
      const pages = pagesIn(map, leaving);
      if (pages.length === 0) continue;
      const source = new PageSource(map, this.#table.refs, reader);
      try {
        const bytes = await source.read(pages);
        map.apply(await stage.movePages(map.space.pageSize, bytes, pages, leaving));
      } catch (error) {
        // The pages stay where they are. A damaged one is found by whoever reads it; a store that fails will fail the checkpoint soon.
        if (!isStoreError(error) && !isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
      }
    }
  }

  #needsFullMap(staged: StagedSpace[]): boolean {
    if (this.#fullNext || this.#parent === null || this.#chainLength >= (this.#options.fullMapEvery ?? 32))
      return true;
    return staged.some(({ fresh }) => fresh);
  }

  /** Brings the pending manifest to a known end: committed, or this writer fenced. Repeating its put is safe. */
  async #settle(): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) return;
    await this.#retrier.run(`checkpoint ${formatId(pending.id)}`, async () => {
      await requireEpoch(this.#store, this.vmId, this.epoch);
      await this.#putManifest(pending);
      // See ownership.ts: what is read after the put decides.
      await requireEpoch(this.#store, this.vmId, this.epoch);
    });
    this.#pending = undefined;
    pending.commit();
  }

  async #putManifest(pending: Pending): Promise<void> {
    try {
      await this.#store.put(pending.key, pending.body, { ifAbsent: true });
    } catch (error) {
      if (!isStoreError(error, 'CONFLICT')) throw error;
      const found = await readManifest(this.#store, this.vmId, pending.id, this.#options.key);
      // Our own put, whose reply was lost.
      if (found?.head.nonce === pending.nonce) return;
      throw new StorageError('FENCED', `${pending.key}: another writer of this epoch was first`);
    }
  }
}

function pageBytesOf(snapshot: MachineSnapshot | undefined): number {
  return snapshot?.spaces.reduce((sum, { bytes }) => sum + bytes.length, 0) ?? 0;
}
