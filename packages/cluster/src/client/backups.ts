/**
 * Backups of VMs in a store of their own (docs/CHECKPOINT_FORMAT.md, "Copies"): copies of checkpoints, the base images and kernels that they need, and
 * what the cluster wanted of the VM. Whoever can read the cluster's store makes one; no node takes part.
 */
import {
  collectGarbage,
  copyBaseImages,
  copyCheckpoint,
  formatId,
  openCheckpoint,
  parseId,
  readIdentity,
  replaceRecord,
  systemHost,
  type CheckpointKey,
  type CheckpointId,
  type Copy,
  type ObjectStore,
  type PagePool,
  type RetentionPolicy,
} from '@revenant/storage';
import { protectedKey, vmOf } from '../decisions/records.ts';
import { ClusterError } from '../errors.ts';
import { backupRecordSchema, type BackupRecord } from '../protocol/backup.ts';
import { protectedListSchema } from '../protocol/records.ts';
import type { VmSpec } from '../protocol/spec.ts';
import { beginningState, storedNic, withMac, type State } from '../stored/own-state.ts';
import { blobsOf, hasBlob, putBlob, readBlob } from '../stored/blobs.ts';
import { readStored, storable } from '../stored/records.ts';
import type { ClusterClient } from './cluster-client.ts';

export interface BackupOptions {
  key?: CheckpointKey | undefined;
  pool: PagePool;
  /** Read each page of the copy back. */
  readBack?: boolean;
}

const backupKey = (vmId: string): string => `cluster/backups/${vmId}`;

/** Whether two stores are one, or the second is a cluster's, whose nodes would collect what no VM of theirs needs. */
async function requireApart(from: ObjectStore, to: ObjectStore): Promise<void> {
  const [one, other] = [await readIdentity(from), await readIdentity(to)];
  const hint = 'make a store for backups: revenant store init URL';
  if (one !== undefined && one.id === other?.id)
    throw new ClusterError('BAD_REQUEST', `${to.url} is the store of the VM itself`, { hint });
  if (other?.cluster !== undefined)
    throw new ClusterError('BAD_REQUEST', `${to.url} is the store of the cluster ${other.cluster}`, { hint });
}

async function copyBlobs(
  from: ObjectStore,
  to: ObjectStore,
  { runtime, description }: VmSpec,
): Promise<void> {
  for (const hash of runtime === 'machine' ? blobsOf(description) : []) {
    if (await hasBlob(to, hash)) continue;
    const bytes = await readBlob(from, hash);
    if (bytes === undefined)
      throw new ClusterError('BLOB_MISSING', `${from.url} has no kernel or image ${hash}`);
    await putBlob(to, hash, [bytes]);
  }
}

/**
 * Copies the newest checkpoint of a VM, or the one asked for, into another store. Of what that has already nothing is read again.
 * @param options.keep which copies stay; default: all
 * @throws ClusterError `NOT_FOUND`, `BAD_REQUEST` (a target that is none), `BLOB_MISSING`; StorageError as `copyCheckpoint`
 */
export async function backUpVm(
  { from, to, vmId }: { from: ObjectStore; to: ObjectStore; vmId: string },
  options: BackupOptions & { checkpoint?: string; keep?: RetentionPolicy },
): Promise<Copy & { record: BackupRecord }> {
  const { key, pool, readBack = false, checkpoint, keep } = options;
  await requireApart(from, to);
  const list = (await readStored(from, protectedKey, protectedListSchema))?.value;
  const vm = list && vmOf(list, vmId);
  if (vm === undefined || vm.desired === 'deleted')
    throw new ClusterError('NOT_FOUND', `there is no VM ${vmId} in the cluster of ${from.url}`);
  const { spec, boot, nic } = vm;
  const id = checkpoint === undefined ? {} : { id: parseId(checkpoint) };
  const reader = await openCheckpoint(from, vmId, { key, pool, ...id });
  await copyBaseImages(reader, from, to, { key, pool });
  await copyBlobs(from, to, spec);
  const copy = await copyCheckpoint(reader, to, vmId, { owner: 'backup', key, pool, readBack });
  const record: BackupRecord = {
    ...{ spec, boot, ...(nic === undefined ? {} : { nic }) },
    ...{ from: formatId(reader.id), checkpoint: formatId(copy.id), createdAtMs: reader.head.createdAtMs },
  };
  const value = storable(backupRecordSchema, record, `the backup of ${vmId}`);
  await replaceRecord(to, systemHost, backupKey(vmId), value);
  if (keep !== undefined) await collectGarbage(to, vmId, { policy: keep, key });
  return { ...copy, record };
}

/** What a store has of a VM. Throws ClusterError `NOT_FOUND`. */
export async function readBackup(store: ObjectStore, vmId: string): Promise<BackupRecord> {
  const found = await readStored(store, backupKey(vmId), backupRecordSchema);
  if (found !== undefined) return found.value;
  throw new ClusterError('NOT_FOUND', `${store.url} has no backup of a VM ${vmId}`, {
    hint: 'make one: revenant vm backup VM TARGET --store URL',
  });
}

/**
 * Makes a VM of a backup, under its name or another. It is in the list then and does not run. Where another VM has its address now it has one of its own, as
 * a fork has.
 * @param options.apart its card is in no network
 * @throws ClusterError as the command `vm-create` does; `NOT_FOUND`; StorageError
 * @returns the copy that it began with, and who took it into the list
 */
export async function restoreVm(
  client: ClusterClient,
  { backup, vmId, to, as }: { backup: ObjectStore; vmId: string; to: ObjectStore; as: string },
  options: BackupOptions & { checkpoint?: string; apart?: boolean },
): Promise<{ id: CheckpointId; by: 'node' | 'store' }> {
  const { key, pool, readBack = false, checkpoint, apart = false } = options;
  const { spec, nic, boot, checkpoint: newest } = await readBackup(backup, vmId);
  const reader = await openCheckpoint(backup, vmId, { key, pool, id: parseId(checkpoint ?? newest) });
  await copyBaseImages(reader, backup, to, { key, pool });
  await copyBlobs(backup, to, spec);
  const { network: _network, ...alone } = spec;
  // The list says first who has the name: nobody else gets it while the checkpoint comes.
  const entered = apart ? { spec: alone } : { spec, ...(nic === undefined ? {} : { nic }) };
  const by = await client.command({ type: 'vm-create', vmId: as, start: false, ...entered });
  try {
    const card = await storedNic(to, as);
    const begins = beginningState({ boot }, formatId(reader.id) === newest);
    const change = (state: State): State => withMac(begins(state), card?.mac);
    await copyCheckpoint(reader, to, as, { owner: 'restore', key, pool, readBack, change });
  } catch (error) {
    // Without what it is to begin with it would boot afresh.
    await client.command({ type: 'vm-delete', vmId: as });
    throw error;
  }
  return { id: reader.id, by };
}
