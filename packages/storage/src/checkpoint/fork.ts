/**
 * Forks (docs/CHECKPOINT_FORMAT.md, "Forks"): a new VM that begins where a checkpoint of another one is. Its first manifest names the packs
 * of its parent, so a fork stores no page of its own until its guest writes one.
 *
 * What keeps those packs: a record under the parent, `vms/PARENT/forks/CHILD`, that names them, for as long as the child is not deleted. The
 * forker holds the checkpoint (hold.ts) from before it reads it until the record is there, and looks then whether the parent was deleted
 * meanwhile; a collector reads these records before it judges, and once more before it deletes. So either the collector sees the hold
 * or the record and leaves the packs, or the forker sees what the collector is about, and stops. A child that is forked names packs of
 * its own parents too: it gets a record under each of them, so no record depends on another one.
 */
import { isRecord } from '../codec.ts';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, StorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { deleteVm, raiseEpoch, readOwner, releaseOwnership } from '../ownership.ts';
import type { MachineSnapshot } from '../snapshot.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { PatientStore } from '../store/patient-store.ts';
import { checkedRecord, getRecord, replaceRecord } from '../store/records.ts';
import { buildMaps, loadChain } from './chain.ts';
import { findNewestIntact } from './find.ts';
import { holdCheckpoint } from './hold.ts';
import { formatId, forksPrefix, isName, type CheckpointId } from './keys.ts';
import type { PackRef } from './pack.ts';
import { firstPack, type PageMap } from './page-map.ts';
import type { PagePool } from './page-pool.ts';
import { readWorkingSet, saveWorkingSet } from './working-set.ts';
import { CheckpointWriter } from './writer.ts';

/** A fork that was begun is believed to be under way for so long, by the wall clock. */
const begunMs = 600_000;

export interface ForkOptions {
  /** The checkpoint to begin with. Default: the newest intact one. */
  id?: CheckpointId;
  /** Who makes it, for the owner record, and notes for that. What the same began before and did not end is taken from that try. */
  owner: string;
  notes?: Record<string, unknown>;
  /**
   * The child is a VM that is there, which nobody owns: it goes on from this checkpoint, as its newest one. What it has of its own stays,
   * and its older checkpoints are kept as any others are.
   */
  replaces?: boolean;
  /** The state of the new VM from that of its parent; default: the same. */
  change?: (state: Omit<MachineSnapshot, 'spaces'>) => Omit<MachineSnapshot, 'spaces'>;
  key?: CheckpointKey | undefined;
  pool?: PagePool;
  host?: StorageHost;
}

export interface Fork {
  /** The parent's checkpoint. */
  from: CheckpointId;
  /** The first of the new VM; nobody owns it. */
  id: CheckpointId;
  /** Pages that it shares. */
  sharedPages: number;
  /** How many bytes were stored for it. */
  storedBytes: number;
}

/**
 * Makes a VM out of a checkpoint of another one.
 * @throws StorageError `CHECKPOINT_NOT_FOUND`, `VM_UNKNOWN`, `VM_DELETED` (of the parent), `FENCED` (the name is in use, or another try of
 *   the same owner has it now; or, with `replaces`, somebody has the VM), `KEY_…`
 */
export async function forkVm(
  impatient: ObjectStore,
  parent: string,
  child: string,
  options: ForkOptions,
): Promise<Fork> {
  const host = options.host ?? systemHost;
  const store = new PatientStore(impatient, host);
  const from = await checkpointToFork(store, parent, options);
  const hold = await holdCheckpoint(store, parent, from, { purpose: `the fork ${child}`, host });
  try {
    const chain = await loadChain(store, parent, from, options.key);
    const { maps, packs } = buildMaps(chain);
    const replaces = options.replaces === true;
    const expectedEpoch = await (replaces
      ? releasedEpoch(store, child)
      : freeEpoch(store, child, options.owner));
    await keepPacks(store, { parent, child, packs: usedPacks(maps, packs), replaces }, host);
    const ownership = await raiseEpoch(store, child, {
      owner: options.owner,
      ...(options.notes === undefined ? {} : { notes: options.notes }),
      expectedEpoch,
      revive: !replaces,
      key: options.key,
      host,
    });
    const last = chain.at(-1)!;
    const { description, cpus, devices } = last.body;
    const { instructions, virtualTimeNs } = last.head;
    const state = { description, cpus, devices, instructions, virtualTimeNs };
    const { pool, key } = options;
    // A manifest with a full map, which continues none of its own.
    const beginning = { ...ownership, resumeFrom: null, chain: [] };
    const writer = await CheckpointWriter.open(store, beginning, {
      key,
      host,
      forkOf: { vmId: parent, chain },
      firstSequence: (ownership.resumeFrom?.sequence ?? 0) + 1,
      ...(pool === undefined ? {} : { pool }),
    });
    try {
      const written = await writer.write({
        ...(options.change?.(state) ?? state),
        spaces: last.head.spaces.map(({ name, pageSize, pageCount }) => ({
          name,
          pageSize,
          pageCount,
          full: false,
          indexes: new Uint32Array(0),
          bytes: new Uint8Array(0),
        })),
      });
      await saveWorkingSet(store, child, await readWorkingSet(store, parent, key), { key, host });
      await releaseOwnership(store, ownership, host);
      const sharedPages = maps.reduce((sum, map) => sum + pagesInPacks(map), 0);
      return { from, id: written.id, sharedPages, storedBytes: written.manifestBytes };
    } catch (error) {
      // Another try has taken the name from this one, and makes the fork.
      if (isStorageError(error, 'FENCED')) throw error;
      const undo = replaces
        ? releaseOwnership(store, ownership, host)
        : deleteVm(store, child, { owner: options.owner, host });
      await undo.catch(() => undefined);
      throw error;
    } finally {
      await writer.close();
    }
  } finally {
    await hold?.release();
  }
}

/** The checkpoint that a fork begins with: the one asked for, or the newest that is intact. Throws as `forkVm`. */
export async function checkpointToFork(
  store: ObjectStore,
  parent: string,
  { id, key }: Pick<ForkOptions, 'id' | 'key'>,
): Promise<CheckpointId> {
  const owner = (await readOwner(store, parent))?.record;
  if (owner === undefined) throw new StorageError('VM_UNKNOWN', `there is no VM ${parent}`);
  if (owner.state === 'deleted') throw new StorageError('VM_DELETED', `${parent}: the VM was deleted`);
  const found = await findNewestIntact(store, parent, owner.lineage, {
    key,
    ...(id === undefined ? {} : { only: id }),
  });
  if (found.id !== null) return found.id;
  const [refused] = found.refused;
  const which = id === undefined ? 'no checkpoint that is intact' : `no checkpoint ${formatId(id)}`;
  throw new StorageError(
    'CHECKPOINT_NOT_FOUND',
    `${parent} has ${which}${refused === undefined ? '' : `: it ${refused.reason}`}`,
  );
}

/** The epoch of a name that is free, or of `forker`'s earlier try; throws `FENCED` for one in use. */
async function freeEpoch(store: ObjectStore, child: string, forker: string): Promise<number> {
  const owner = (await readOwner(store, child))?.record;
  const unfinished = owner?.state === 'owned' && owner.owner === forker;
  if (owner !== undefined && owner.state !== 'deleted' && !unfinished)
    throw new StorageError('FENCED', `there is a VM ${child} already`, {
      hint: 'give the fork another name',
    });
  return owner?.epoch ?? 0;
}

/** The epoch of a VM that nobody owns; throws `FENCED` for any other. */
async function releasedEpoch(store: ObjectStore, child: string): Promise<number> {
  const owner = (await readOwner(store, child))?.record;
  if (owner?.state !== 'released')
    throw new StorageError(
      'FENCED',
      `${child} is ${owner === undefined ? 'not there' : `${owner.state} by ${owner.owner}`}`,
      {
        hint: 'stop it first',
      },
    );
  return owner.epoch;
}

function pagesInPacks(map: PageMap): number {
  let count = 0;
  for (const pack of map.packs) if (pack >= firstPack) count++;
  return count;
}

function usedPacks(maps: readonly PageMap[], packs: ReadonlyMap<number, PackRef>): PackRef[] {
  const used = new Set<number>();
  for (const map of maps) for (const pack of map.packs) if (pack >= firstPack) used.add(pack);
  return [...used].map((number) => packs.get(number)!);
}

/** Puts the records that keep the packs, one under each VM whose they are; its own packs are kept by its manifests. */
async function keepPacks(
  store: ObjectStore,
  {
    parent,
    child,
    packs,
    replaces,
  }: { parent: string; child: string; packs: readonly PackRef[]; replaces: boolean },
  host: StorageHost,
): Promise<void> {
  const byVm = new Map<string, string[]>([[parent, []]]);
  for (const { vm = parent, name } of packs) byVm.set(vm, [...(byVm.get(vm) ?? []), name]);
  byVm.delete(child);
  for (const [vm, names] of byVm) {
    const key = `${forksPrefix(vm)}${child}`;
    // What other checkpoints of a VM that is there need of the same parent.
    const before = replaces ? (await getRecord(store, key))?.value : undefined;
    const kept = before === undefined ? [] : forkRecord(key, before).packs;
    const value = { packs: [...new Set([...kept, ...names])], begunAtMs: host.wallClockMs() };
    await replaceRecord(store, host, key, checkedRecord(key, value, isForkRecord));
  }
  const owner = (await readOwner(store, parent))?.record;
  if (owner === undefined || owner.state === 'deleted')
    throw new StorageError('VM_DELETED', `${parent}: the VM was deleted meanwhile`);
}

/** A record that keeps packs of a VM for one that was forked from it. */
export interface ForkRecord {
  key: string;
  child: string;
  /** Names of the packs. */
  packs: readonly string[];
  /** False: the child is gone, and so is the reason to keep them. */
  alive: boolean;
}

/** The forks that keep packs of a VM. A record that can't be understood keeps a collector from its work: it throws. */
export async function readForks(store: ObjectStore, vmId: string, nowMs: number): Promise<ForkRecord[]> {
  const forks: ForkRecord[] = [];
  const prefix = forksPrefix(vmId);
  for await (const { key } of listAll(store, prefix)) {
    const value = (await getRecord(store, key))?.value;
    if (value === undefined) continue;
    const child = key.slice(prefix.length);
    const { packs, begunAtMs } = forkRecord(key, value);
    if (!isName(child)) throw new StorageError('CHECKPOINT_DAMAGED', `${key}: no VM can have that name`);
    const owner = (await readOwner(store, child))?.record;
    const young = Math.abs(nowMs - begunAtMs) < begunMs;
    forks.push({ key, child, packs, alive: young || (owner !== undefined && owner.state !== 'deleted') });
  }
  return forks;
}

/** Throws `CHECKPOINT_DAMAGED` for what does not say which packs it keeps. */
function forkRecord(key: string, value: unknown): { packs: string[]; begunAtMs: number } {
  if (isForkRecord(value)) return value;
  throw new StorageError('CHECKPOINT_DAMAGED', `${key}: it does not say which packs it keeps`);
}

/** Asked of what is written and of what is read. */
const isForkRecord = (value: unknown): value is { packs: string[]; begunAtMs: number } =>
  isRecord(value) &&
  Array.isArray(value['packs']) &&
  value['packs'].every((name) => typeof name === 'string') &&
  Number.isFinite(value['begunAtMs']);

/** Names of the packs that forks keep. */
export const keptByForks = (forks: readonly ForkRecord[]): Set<string> =>
  new Set(forks.filter(({ alive }) => alive).flatMap(({ packs }) => packs));
