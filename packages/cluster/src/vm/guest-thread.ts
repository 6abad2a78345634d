// The thread that runs one guest, and what it shares with the thread that has the store.
import { randomBytes } from 'node:crypto';
import type { Worker } from 'node:worker_threads';
import type {
  CheckpointKey,
  MachineSnapshot,
  ObjectStore,
  PagePool,
  PageServer,
  StallEvent,
} from '@revenant/storage';
import type { HealthPolicy } from '../decisions/health.ts';
import { ClusterError } from '../errors.ts';
import { servePages } from './disks.ts';
import { readBlobs, type ResumePoint } from './resume.ts';
import type { SpareWorker } from './spare-worker.ts';
import type { Blobs, ToWorker, WorkerStart } from './vm-runtime.ts';

/** Short, as a slice that began within the lease may end after it. */
const SLICE_INSTRUCTIONS = 200_000;

export interface GuestThread {
  worker: Worker;
  /** Until when the guest may run. */
  lease: Float64Array;
  /** Serves base images of its disks, and pages of RAM that come late; undefined when there are none. */
  pages: PageServer | undefined;
}

/** Different for every start and resume. */
const newGeneration = (): Uint8Array => randomBytes(16);

/**
 * Has a guest built from a resume point, in a thread of its own, which answers `started`. It has no lease yet.
 * @throws StorageError, StoreError; ClusterError for a base image that is not the right one
 */
export async function startThread(options: {
  store: ObjectStore;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  spare: SpareWorker;
  /** URL of the runtime's module. */
  module: string;
  description: unknown;
  point: ResumePoint;
  paused: boolean;
  watch: HealthPolicy['watch'] | undefined;
  onStall: (event: StallEvent) => void;
}): Promise<GuestThread> {
  const { store, pool, key, spare, module, description, point, paused, watch, onStall } = options;
  const { snapshot, disks, lazy } = point;
  const blobs: Blobs = snapshot === undefined ? await readBlobs(store, description) : new Map();
  const served = await servePages(store, description, { pool, key, ram: lazy, onStall });
  const memory = new SharedArrayBuffer(8);
  const lease = new Float64Array(memory);
  lease[0] = -Infinity;
  const data: WorkerStart = {
    module,
    start: {
      description,
      snapshot,
      blobs,
      generation: newGeneration(),
      disks,
      pages: served?.ends,
      absentRam: lazy?.absent,
    },
    lease: memory,
    paused,
    sliceInstructions: SLICE_INSTRUCTIONS,
    watch,
  };
  const worker = spare.take(module);
  worker.postMessage(data, served === undefined ? [] : [served.ends.port]);
  return { worker, lease, pages: served?.server };
}

/** Nobody listens to it for a while; an error that nobody hears would end this process. */
export function unheard(worker: Worker): void {
  worker.removeAllListeners();
  worker.on('error', () => undefined);
}

/**
 * Has a guest that was built to wait go on, once it has a lease, from a later state than it was built from. It answers `started`.
 * @throws ClusterError when its thread has ended meanwhile
 */
export function advanceThread(thread: GuestThread, changes: MachineSnapshot, paused: boolean): GuestThread {
  // `threadId` is -1 once a thread has ended.
  if (thread.worker.threadId < 0) throw new ClusterError('RUNTIME', 'its prepared worker ended');
  const message: ToWorker = { type: 'advance', changes, generation: newGeneration(), paused };
  thread.worker.postMessage(message);
  return thread;
}

/** Ends a thread whose guest nobody needs. */
export async function endThread({ worker, pages }: GuestThread): Promise<void> {
  pages?.close();
  unheard(worker);
  await worker.terminate();
}
