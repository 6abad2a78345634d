// What a VM starts from: the checkpoint that its owner resumes from, or for a cold start its disks and the images that its description
// names by hash.
import * as v from 'valibot';
import {
  CheckpointReader,
  formatId,
  type CheckpointKey,
  type MachineSnapshot,
  type ObjectStore,
  type Ownership,
  type PagePool,
  type SpaceSnapshot,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import { MAX_SESSION_NAME, MAX_SESSIONS } from '../protocol/limits.ts';
import { check, count, mapOf } from '../protocol/schema.ts';
import { blobsOf, readBlob } from '../stored/blobs.ts';
import { readDisks } from './disks.ts';
import { LazyRam } from './lazy-ram.ts';

/** Where the VM keeps its own facts in a checkpoint, beside its devices. */
export const VM_DEVICE = 'revenant.vm';
/** Whose guests may start before all of their memory is there. */
export const LAZY_RUNTIME = 'machine';

export interface ResumePoint {
  /** Absent for a cold start. */
  snapshot?: MachineSnapshot;
  /** Of a cold start: its disks as the power-off before left them. */
  disks: SpaceSnapshot[];
  /** Brings the pages that the snapshot leaves out. */
  lazy?: LazyRam | undefined;
}

const ownStateSchema = v.object({
  boot: v.optional(count, 0),
  /** By session of its console: how many of its bytes the guest has. */
  inputs: v.optional(mapOf(count, MAX_SESSIONS, MAX_SESSION_NAME), {}),
});

/** What the VM keeps of itself in a checkpoint. Throws ClusterError `PROTOCOL` for what is no such state. */
export function ownState(
  devices: MachineSnapshot['devices'] | undefined,
): v.InferOutput<typeof ownStateSchema> {
  const own = devices === undefined || !Object.hasOwn(devices, VM_DEVICE) ? undefined : devices[VM_DEVICE];
  return check(ownStateSchema, own?.state ?? {}, `the state of ${VM_DEVICE}`);
}

/** False when the VM was powered off since: of such a checkpoint only the disks count. */
export function isOfBoot(reader: CheckpointReader, vm: ProtectedVm): boolean {
  return ownState(reader.state.devices).boot >= vm.boot;
}

/**
 * The checkpoint to go on from, without pages of base images and those that come later; onto a prepared machine, what changed since
 * `prepared`. For a cold start no more of it than the disks.
 */
export async function readResumePoint(options: {
  store: ObjectStore;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  node: string;
  log: (entry: LogEntry) => void;
  vm: ProtectedVm;
  ownership: Ownership;
  prepared?: CheckpointReader | undefined;
}): Promise<ResumePoint> {
  const { store, pool, key, node, log, vm, ownership, prepared } = options;
  if (ownership.resumeFrom === null) return { disks: [] };
  const reader = await CheckpointReader.resume(store, ownership, { pool, key });
  let lazy: LazyRam | undefined;
  try {
    if (!isOfBoot(reader, vm)) return { disks: await readDisks(reader, vm.spec.description) };
    log({
      event: 'vm-resuming',
      vm: vm.id,
      node: node,
      reason: `from checkpoint ${formatId(reader.id)}`,
      details: {
        instructions: Number(reader.head.instructions),
        // By two hosts' wall clocks: for people, no rule rests on it.
        lostGuestMs: Math.max(0, Date.now() - reader.head.createdAtMs),
      },
    });
    if (prepared !== undefined) return { snapshot: await reader.readChanges(prepared), disks: [] };
    if (vm.spec.runtime === LAZY_RUNTIME) lazy = await LazyRam.open(reader);
    if (lazy !== undefined) return { snapshot: lazy.snapshot, disks: [], lazy };
    return { snapshot: await reader.readSnapshot({ onBase: true }), disks: [] };
  } finally {
    if (lazy === undefined) await reader.close();
  }
}

/** Kernels and images that a description names by the SHA-256 of their bytes. */
export async function readBlobs(store: ObjectStore, description: unknown): Promise<Map<string, Uint8Array>> {
  const blobs = new Map<string, Uint8Array>();
  for (const hash of blobsOf(description)) {
    const blob = await readBlob(store, hash);
    if (blob !== undefined) blobs.set(hash, blob);
  }
  return blobs;
}
