/**
 * What a VM starts from: the checkpoint that its owner resumes from, or for a cold start its disks and the images that its description
 * names by hash.
 */
import {
  CheckpointReader,
  formatId,
  type CheckpointKey,
  type MachineSnapshot,
  type ObjectStore,
  type Ownership,
  type PagePool,
  type ReadEntry,
  type SpaceSnapshot,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import { blobsOf, readBlob } from '../stored/blobs.ts';
import { readDisks } from './disks.ts';
import { LazyRam } from './lazy-ram.ts';
import { ownState } from '../stored/own-state.ts';
import { joinBatches, type LogBehind } from './replay-log.ts';

/** Whose guests may start before all of their memory is there. */
export const lazyRuntime = 'machine';

export interface ResumePoint {
  /** Absent for a cold start. */
  snapshot?: MachineSnapshot;
  /** Of a cold start: its disks as the power-off before left them. */
  disks: SpaceSnapshot[];
  /** Brings the pages that the snapshot leaves out. */
  lazy?: LazyRam | undefined;
  /** What came in behind the snapshot, and is to be done again. */
  behind?: LogBehind | undefined;
  /** What consoles are to be told of their output (see `ConsoleHub`). */
  resumed: Resumed;
}

/**
 * How the output of a VM goes on under a new owner. `boot`: from its beginning. `exact`: everything that anybody saw follows from its
 * state. `earlier`: what was let out behind that state may be repeated, or be different.
 */
export type Resumed = 'boot' | 'exact' | 'earlier';

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
  /** Outputs may have left that are known to nobody any more. */
  standbyLost?: boolean;
  /** Of its log, what the epoch was raised with. */
  logged?: { entries: readonly ReadEntry[]; to: bigint } | undefined;
  prepared?: CheckpointReader | undefined;
}): Promise<ResumePoint> {
  const { store, pool, key, node, log, vm, ownership, prepared, logged } = options;
  if (ownership.resumeFrom === null) return { disks: [], resumed: 'boot' };
  const reader = await CheckpointReader.resume(store, ownership, { pool, key });
  let lazy: LazyRam | undefined;
  try {
    if (!isOfBoot(reader, vm))
      return { disks: await readDisks(reader, vm.spec.description), resumed: 'boot' };
    const own = ownState(reader.state.devices);
    const behind = logged && { ...joinBatches(logged.entries, BigInt(own.nextInput)), to: logged.to };
    const resumed = options.standbyLost !== true && isExact(ownership) ? 'exact' : 'earlier';
    const common: Omit<ResumePoint, 'snapshot'> = { disks: [], behind, resumed };
    log({
      event: 'vm-resuming',
      vm: vm.id,
      node: node,
      reason: `from checkpoint ${formatId(reader.id)}`,
      details: {
        instructions: Number(reader.head.instructions),
        ...(behind === undefined ? {} : { replaysTo: Number(behind.to), replaysInputs: behind.log.length }),
        // By two hosts' wall clocks: for people, no rule rests on it.
        lostGuestMs: Math.max(0, Date.now() - reader.head.createdAtMs),
      },
    });
    if (prepared !== undefined) return { ...common, snapshot: await reader.readChanges(prepared) };
    if (vm.spec.runtime === lazyRuntime) lazy = await LazyRam.open(reader);
    if (lazy !== undefined) return { ...common, snapshot: lazy.snapshot, lazy };
    return { ...common, snapshot: await reader.readSnapshot({ onBase: true }) };
  } finally {
    if (lazy === undefined) await reader.close();
  }
}

/** Whether all that anybody saw follows from what an epoch was raised with. */
export function isExact({ chain, log, refused }: Ownership): boolean {
  const newest = chain.at(-1);
  // A damaged newer checkpoint is made up for by the log alone.
  const isWhole = refused.length === 0 || log?.last !== undefined;
  return newest !== undefined && ownState(newest.body.devices).exact && isWhole && log?.refused === undefined;
}

/** Whether there is something to do again behind a snapshot, before it goes live. */
export function replaysBehind(point: ResumePoint): boolean {
  const { snapshot, behind } = point;
  if (snapshot === undefined || behind === undefined) return false;
  return behind.log.length > 0 || behind.to > snapshot.instructions;
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
