/**
 * Finding the newest intact checkpoint. Intact here: the manifest and its chain decode, and every pack that its maps name
 * is there with the right size and a right head size. Pages are verified when they are read (and by `verifyCheckpoint`).
 */
import { isRecord } from '../codec.ts';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { getRecord } from '../store/records.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { loadChain } from './chain.ts';
import {
  compareIds,
  condemnedPrefix,
  idOfName,
  isIdText,
  manifestsPrefix,
  packsPrefix,
  parseId,
  sameId,
  type CheckpointId,
} from './keys.ts';
import type { Manifest } from './manifest.ts';
import { packPath, type PackRef } from './pack.ts';
import { isResumePointAfter, isVisible, type LineageEntry } from './lineage.ts';

/** A checkpoint that cannot be used, and why. */
export interface Refusal {
  id: CheckpointId;
  reason: string;
}

/** Ids of all manifests of a VM, ascending; visible or not. */
export async function listManifests(store: ObjectStore, vmId: string): Promise<CheckpointId[]> {
  const ids: CheckpointId[] = [];
  for await (const { key } of listAll(store, manifestsPrefix(vmId))) {
    const id = idOfName(key);
    if (id !== undefined) ids.push(id);
  }
  return ids.sort(compareIds);
}

/** Adds to the sizes of a VM's own packs those of the packs of other VMs that its manifests name, by `packPath`. */
export async function addForeignPacks(
  store: ObjectStore,
  sizes: Map<string, number>,
  named: Iterable<Pick<PackRef, 'vm'>>,
): Promise<void> {
  const vms = new Set([...named].flatMap(({ vm }) => vm ?? []));
  for (const vm of vms)
    for (const [name, bytes] of await listPacks(store, vm)) sizes.set(packPath({ vm, name }), bytes);
}

/** Sizes of all packs of a VM by name. */
export async function listPacks(store: ObjectStore, vmId: string): Promise<Map<string, number>> {
  const prefix = packsPrefix(vmId);
  const sizes = new Map<string, number>();
  for await (const { key, sizeBytes } of listAll(store, prefix))
    sizes.set(key.slice(prefix.length), sizeBytes);
  return sizes;
}

/** A collector's note of what it is removing (see collect.ts). */
export interface CondemnedNote {
  key: string;
  /** The VM's epoch when the collector looked. */
  epoch: number;
  ids: CheckpointId[];
}

/** The notes of collectors at work, or killed at work. */
export async function readCondemned(store: ObjectStore, vmId: string): Promise<CondemnedNote[]> {
  const notes: CondemnedNote[] = [];
  for await (const { key } of listAll(store, condemnedPrefix(vmId))) {
    const value = await readNote(store, key);
    if (isCondemned(value)) notes.push({ key, epoch: value.epoch, ids: value.ids.map(parseId) });
  }
  return notes;
}

/** Asked of what is written and of what is read. */
export const isCondemned = (value: unknown): value is { epoch: number; ids: string[] } =>
  isRecord(value) &&
  Number.isSafeInteger(value['epoch']) &&
  Array.isArray(value['ids']) &&
  value['ids'].every(isIdText);

/** A note that cannot be read must not keep a VM down: its collector still watches the epoch. */
async function readNote(store: ObjectStore, key: string): Promise<Record<string, unknown> | undefined> {
  try {
    return (await getRecord(store, key))?.value;
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED')) return undefined;
    throw error;
  }
}

export interface Found {
  /** null: there is none. */
  id: CheckpointId | null;
  /** Its manifests, the full one first, so that they need not be read again. */
  chain: Manifest[];
  /** Newer ones that are damaged, newest first. */
  refused: Refusal[];
}

/**
 * The newest intact checkpoint of a lineage. What a collector is removing does not count; but a note is void for a
 * checkpoint that a later epoch has resumed from: that collector has stopped, or will.
 * @param options `only`: consider this one alone; `before`: consider earlier ones.
 * @throws StoreError when the store fails; `KEY_NEEDED`, `KEY_WRONG`, `CHECKPOINT_NEWER`: these are no damage.
 */
export async function findNewestIntact(
  store: ObjectStore,
  vmId: string,
  lineage: readonly LineageEntry[],
  options: { key?: CheckpointKey | undefined; only?: CheckpointId; before?: CheckpointId | undefined } = {},
): Promise<Found> {
  const notes = await readCondemned(store, vmId);
  const condemned = (id: CheckpointId): boolean =>
    notes.some(
      ({ epoch, ids }) => ids.some((each) => sameId(each, id)) && !isResumePointAfter(lineage, id, epoch),
    );
  const { only, before } = options;
  if (only !== undefined && condemned(only))
    return { id: null, chain: [], refused: [{ id: only, reason: 'is being removed by a collector' }] };
  const ids = (await listManifests(store, vmId)).filter(
    (id) =>
      isVisible(lineage, id) &&
      !condemned(id) &&
      (only === undefined || sameId(id, only)) &&
      (before === undefined || compareIds(id, before) < 0),
  );
  if (ids.length === 0) return { id: null, chain: [], refused: [] };
  const packs = await listPacks(store, vmId);
  const refused: Refusal[] = [];
  for (const id of ids.reverse()) {
    const looked = await look(store, vmId, id, packs, options.key);
    if (typeof looked !== 'string') return { id, chain: looked, refused };
    refused.push({ id, reason: looked });
  }
  return { id: null, chain: [], refused };
}

/**
 * Why a checkpoint is not structurally intact; undefined when it is. Looks twice: a bit flipped on the way is no damage.
 * @param packs names and sizes of the packs in the store.
 */
export async function whyDamaged(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  packs: Map<string, number>,
  key: CheckpointKey | undefined,
): Promise<string | undefined> {
  const looked = await look(store, vmId, id, packs, key);
  return typeof looked === 'string' ? looked : undefined;
}

/**
 * As `whyDamaged`, of the store as it is now: each look lists the packs anew. For one that may have been committed a moment ago, whose
 * packs an older list lacks.
 */
export async function whyDamagedNow(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<string | undefined> {
  let found: Manifest[] | string = '';
  for (let looks = 0; looks < 2 && typeof found === 'string'; looks++)
    found = await lookOnce(store, vmId, id, await listPacks(store, vmId), key);
  return typeof found === 'string' ? found : undefined;
}

/** The chain of an intact checkpoint, or why it is damaged. */
async function look(...from: Parameters<typeof lookOnce>): Promise<Manifest[] | string> {
  const first = await lookOnce(...from);
  return typeof first === 'string' ? lookOnce(...from) : first;
}

async function lookOnce(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  packs: Map<string, number>,
  key: CheckpointKey | undefined,
): Promise<Manifest[] | string> {
  try {
    const chain = await loadChain(store, vmId, id, key);
    const named = chain.flatMap(({ body }) => body.packs);
    const sizes = new Map(packs);
    await addForeignPacks(store, sizes, named);
    for (const pack of named) {
      const size = sizes.get(packPath(pack));
      if (size === undefined) return `is damaged: pack ${packPath(pack)} is missing`;
      if (size !== pack.bytes) return `is damaged: pack ${packPath(pack)} is torn`;
    }
    return chain;
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED') || isStorageError(error, 'CHECKPOINT_NOT_FOUND'))
      return `is damaged: ${error.message}`;
    if (isStoreError(error, 'DAMAGED')) return `is damaged: ${error.message}`;
    throw error;
  }
}
