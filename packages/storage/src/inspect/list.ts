/** What checkpoints there are. Reads heads of manifests only. */
import { findNewestIntact, listManifests, listPacks, whyDamaged, whyDamagedNow } from '../checkpoint/find.ts';
import { manifestKey, manifestsPrefix, sameId, type CheckpointId } from '../checkpoint/keys.ts';
import { readManifestHead, type ManifestHead } from '../checkpoint/manifest.ts';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { isVisible, readOwner } from '../ownership.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';

export interface ListedCheckpoint {
  id: CheckpointId;
  /** false: left behind by a fenced owner; it does not count and will be collected. */
  counts: boolean;
  /** Undefined when the head cannot be read: then `damaged` says why. */
  head: ManifestHead | undefined;
  /** Why it cannot be restored; undefined when nothing wrong was seen. Heads are read only, unless `check` is set. */
  damaged: string | undefined;
  /** True of the one that a takeover would resume from. */
  newest: boolean;
  manifestBytes: number;
}

export interface ListCheckpointsOptions {
  key?: CheckpointKey | undefined;
  /** Also check each chain and that all packs are there. Default false. */
  check?: boolean;
}

/** A VM's checkpoints, oldest first. */
export async function listCheckpoints(
  store: ObjectStore,
  vmId: string,
  options: ListCheckpointsOptions = {},
): Promise<ListedCheckpoint[]> {
  const lineage = (await readOwner(store, vmId))?.record.lineage ?? [];
  const sizes = new Map<string, number>();
  for await (const { key, sizeBytes } of listAll(store, manifestsPrefix(vmId))) sizes.set(key, sizeBytes);
  const newest = await findNewestIntact(store, vmId, lineage, { key: options.key });
  const packs = options.check === true ? await listPacks(store, vmId) : undefined;
  const listed: ListedCheckpoint[] = [];
  for (const id of await listManifests(store, vmId)) {
    const { head, why } = await readHead(store, vmId, id, options.key);
    // Collected between the list and now.
    if (head === undefined && why === undefined) continue;
    const refusal = newest.refused.find((each) => sameId(each.id, id))?.reason;
    const checked = packs === undefined ? undefined : await check(store, vmId, id, packs, options.key);
    // Collected while it was checked.
    if (checked === gone) continue;
    listed.push({
      id,
      counts: isVisible(lineage, id),
      head,
      damaged: why ?? refusal ?? checked,
      newest: sameId(newest.id, id),
      manifestBytes: sizes.get(manifestKey(vmId, id)) ?? 0,
    });
  }
  return listed;
}

const gone = Symbol('gone');

/** What seems damaged by the list of packs may have been committed, or collected, since that list was made. */
async function check(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  packs: Map<string, number>,
  key: CheckpointKey | undefined,
): Promise<string | undefined | typeof gone> {
  if ((await whyDamaged(store, vmId, id, packs, key)) === undefined) return undefined;
  const why = await whyDamagedNow(store, vmId, id, key);
  if (why === undefined) return undefined;
  const now = await readHead(store, vmId, id, key);
  return now.head === undefined && now.why === undefined ? gone : why;
}

async function readHead(
  store: ObjectStore,
  vmId: string,
  id: CheckpointId,
  key: CheckpointKey | undefined,
): Promise<{ head: ManifestHead | undefined; why: string | undefined }> {
  try {
    return { head: await readManifestHead(store, vmId, id, key), why: undefined };
  } catch (error) {
    if (isStorageError(error, 'CHECKPOINT_DAMAGED') || isStoreError(error, 'DAMAGED'))
      return { head: undefined, why: `is damaged: ${error.message}` };
    throw error;
  }
}
