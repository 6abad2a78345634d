/**
 * A VM that another node still runs, built here already: the whole of its newest checkpoint is in a machine that has not run. To take
 * the VM over then needs only what changed since. It is for speed alone: a VM that is not prepared resumes as after a failure.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  isStorageError,
  openCheckpoint,
  type CheckpointKey,
  type CheckpointReader,
  type ObjectStore,
  type PagePool,
  type StallEvent,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { startThread, type GuestThread } from './guest-thread.ts';
import { LazyRam } from './lazy-ram.ts';
import { isOfBoot } from './resume.ts';
import type { SpareWorkers } from './spare-workers.ts';
import { monotonicMs } from './vm-runtime.ts';

const firstCheckpointMs = 5000;
const firstCheckpointTries = 25;

export interface PrepareOptions {
  store: ObjectStore;
  pool: PagePool;
  key?: CheckpointKey | undefined;
  spare: SpareWorkers;
  /** URL of the runtime's module. */
  module: string;
  vm: ProtectedVm;
  onStall: (event: StallEvent) => void;
}

/** The whole of a checkpoint in a machine that has not run. */
export interface ReadyVm {
  thread: GuestThread;
  reader: CheckpointReader;
}

class PreparedVm {
  readonly #vm: ProtectedVm;
  #reader: CheckpointReader | undefined;
  #lazy: LazyRam | undefined;
  #thread: GuestThread | undefined;
  #whole = false;
  #over = false;
  #failed: (error: Error) => void = () => undefined;

  constructor(vm: ProtectedVm) {
    this.#vm = vm;
  }

  /**
   * Resolves when all of the newest checkpoint is in, or after `close`.
   * @throws StorageError, StoreError, ClusterError; what was begun is then to be closed
   */
  async bring(options: PrepareOptions): Promise<void> {
    const { vm } = options;
    const reader = await this.#newest(options);
    this.#reader = reader;
    if (!isOfBoot(reader, vm)) throw new ClusterError('RUNTIME', 'its newest checkpoint is of another boot');
    const lazy = await LazyRam.open(reader);
    if (lazy === undefined) throw new ClusterError('RUNTIME', 'its checkpoint has no memory');
    this.#lazy = lazy;
    const { description, health } = vm.spec;
    const point = { snapshot: lazy.snapshot, disks: [], lazy, resumed: 'exact' as const };
    const thread = await startThread({
      ...{ ...options, description, point, watch: health?.watch },
      paused: true,
    });
    this.#thread = thread;
    if (this.#over) return this.close();
    const ended = new Promise<never>((_, reject) => (this.#failed = reject));
    ended.catch(() => undefined);
    thread.onFailed = (reason) => this.#failed(new ClusterError('RUNTIME', reason));
    thread.onOutputs = ({ news }) => {
      if (news?.kind === 'ended') this.#failed(new ClusterError('RUNTIME', news.message));
    };
    this.#whole = await Promise.race([this.#fill(thread, lazy), ended]);
  }

  /** The newest checkpoint; a VM that has just started may have its first one in a moment. */
  async #newest({ store, pool, key, vm }: PrepareOptions): Promise<CheckpointReader> {
    for (let tries = 1; ; tries++) {
      try {
        return await openCheckpoint(store, vm.id, { pool, key });
      } catch (error) {
        const none = isStorageError(error, 'CHECKPOINT_NOT_FOUND');
        if (!none || tries === firstCheckpointTries || this.#over) throw error;
        await pause(firstCheckpointMs / firstCheckpointTries);
      }
    }
  }

  async #fill(thread: GuestThread, lazy: LazyRam): Promise<boolean> {
    await thread.started;
    return lazy.runBackground(async (pages) => {
      await thread.ask('deliver', pages);
    });
  }

  /** Its thread and what is in it, for who takes the VM over; undefined, and closed, when it is not what that VM needs. */
  take(vm: ProtectedVm): ReadyVm | undefined {
    const same = JSON.stringify(vm.spec) === JSON.stringify(this.#vm.spec) && vm.boot === this.#vm.boot;
    if (this.#whole && !this.#over && same && this.#thread !== undefined && this.#reader !== undefined) {
      this.#over = true;
      return { thread: this.#thread, reader: this.#reader };
    }
    this.close();
    return undefined;
  }

  close(): void {
    this.#over = true;
    this.#lazy?.stop();
    if (this.#thread !== undefined) void this.#thread.end();
    this.#failed(new ClusterError('RUNTIME', 'it is not needed any more'));
  }
}

/** All that one node has prepared. */
export class PreparedVms {
  readonly #vms = new Map<string, PreparedVm>();

  /** Resolves when the VM is prepared, or can't be: what to log then; undefined when it is not needed any more. */
  async prepare(options: PrepareOptions): Promise<LogEntry | undefined> {
    const { vm } = options;
    const prepared = new PreparedVm(vm);
    this.forget(vm.id);
    this.#vms.set(vm.id, prepared);
    const before = monotonicMs();
    try {
      await prepared.bring(options);
      if (this.#vms.get(vm.id) !== prepared) return undefined;
      const tookMs = Math.round(monotonicMs() - before);
      return { event: 'vm-prepared', reason: 'another node still runs it', tookMs };
    } catch (error) {
      prepared.close();
      if (this.#vms.get(vm.id) !== prepared) return undefined;
      this.#vms.delete(vm.id);
      return { event: 'vm-not-prepared', reason: messageOf(error) };
    }
  }

  /** VMs that are prepared, or about to be. */
  get names(): string[] {
    return [...this.#vms.keys()];
  }

  /** For who takes the VM over: see PreparedVm.take. */
  take(vm: ProtectedVm): ReturnType<PreparedVm['take']> {
    const prepared = this.#vms.get(vm.id);
    this.#vms.delete(vm.id);
    return prepared?.take(vm);
  }

  forget(vmId: string): void {
    this.#vms.get(vmId)?.close();
    this.#vms.delete(vmId);
  }

  close(): void {
    for (const vmId of [...this.#vms.keys()]) this.forget(vmId);
  }
}
