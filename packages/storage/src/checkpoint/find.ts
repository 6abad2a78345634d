// Finding the newest intact checkpoint. Intact here: the manifest and its chain decode, and every pack that its maps name
// is there with the right size and a right head size. Pages are verified when they are read (and by `verifyCheckpoint`).
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { getRecord } from '../store/records.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { loadChain } from './chain.ts';
import {
  compareIds,
  condemnedPrefix,
  formatId,
  idOfName,
  manifestsPrefix,
  packsPrefix,
  parseId,
  sameId,
  type CheckpointId,
} from './keys.ts';

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

/** Sizes of all packs of a VM by name. */
export async function listPacks(store: ObjectStore, vmId: string): Promise<Map<string, number>> {
  const prefix = packsPrefix(vmId);
  const sizes = new Map<string, number>();
  for await (const { key, sizeBytes } of listAll(store, prefix))
    sizes.set(key.slice(prefix.length), sizeBytes);
  return sizes;
}

/** Checkpoints that a collector is removing. They must not be resumed from. */
export async function readCondemned(store: ObjectStore, vmId: string): Promise<Set<string>> {
  const condemned = new Set<string>();
  for await (const { key } of listAll(store, condemnedPrefix(vmId))) {
    const ids = (await getRecord(store, key))?.value['ids'];
    if (Array.isArray(ids)) for (const id of ids) condemned.add(formatId(parseId(String(id))));
  }
  return condemned;
}

/**
 * The newest intact checkpoint among those that `visible` admits.
 * @returns its id (null: there is none), and the newer ones that were refused.
 * @throws StoreError when the store fails; `KEY_NEEDED`, `KEY_WRONG`, `CHECKPOINT_NEWER`: these are no damage.
 */
export async function findNewestIntact(
  store: ObjectStore,
  vmId: string,
  visible: (id: CheckpointId) => boolean,
  options: { key?: CheckpointKey | undefined; only?: CheckpointId } = {},
): Promise<{ id: CheckpointId | null; refused: Refusal[] }> {
  const condemned = await readCondemned(store, vmId);
  const ids = (await listManifests(store, vmId)).filter(
    (id) =>
      visible(id) && !condemned.has(formatId(id)) && (options.only === undefined || sameId(id, options.only)),
  );
  if (ids.length === 0) return { id: null, refused: [] };
  const packs = await listPacks(store, vmId);
  const refused: Refusal[] = [];
  for (const id of ids.reverse()) {
    const reason = await whyDamaged(store, vmId, id, packs, options.key);
    if (reason === undefined) return { id, refused };
    refused.push({ id, reason });
  }
  return { id: null, refused };
}

/** Why a checkpoint is not structurally intact; undefined when it is. */
export async function whyDamaged(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  packs: Map<string, number>,
  key: CheckpointKey | undefined,
): Promise<string | undefined> {
  try {
    const chain = await loadChain(store, vmId, id, key);
    for (const { body } of chain)
      for (const pack of body.packs) {
        const size = packs.get(pack.name);
        if (size === undefined) return `is damaged: pack ${pack.name} is missing`;
        if (size !== pack.bytes) return `is damaged: pack ${pack.name} is torn`;
      }
    return undefined;
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED') || isStorageError(error, 'CHECKPOINT_NOT_FOUND'))
      return `is damaged: ${error.message}`;
    if (isStoreError(error, 'DAMAGED')) return `is damaged: ${error.message}`;
    throw error;
  }
}
