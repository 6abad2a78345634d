// All VMs of one node: workers, checkpoints, ownership in the store. Carries out the guest effects of the decisions, and tells
// them what became of it. Every path ends in an event; an epoch that was lost ends its worker at once.
import { setTimeout as pause } from 'node:timers/promises';
import {
  CheckpointPace,
  CheckpointWriter,
  isStorageError,
  isStoreError,
  PagePool,
  type CheckpointKey,
  type MachineSnapshot,
  type ObjectStore,
  type Ownership,
  type RetentionPolicy,
  type StallEvent,
} from '@revenant/storage';
import { lookedAt, noSilence, whyHung } from '../decisions/health.ts';
import type { ProtectedVm } from '../decisions/records.ts';
import type { Settings } from '../decisions/settings.ts';
import type { Effect, Event, LogEntry, StopKind, StopMode } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { baseNames, hasDisks } from './disks.ts';
import { epochName, Epochs } from './epochs.ts';
import { advanceThread, endThread, startThread } from './guest-thread.ts';
import { housekeepingFor } from './housekeeping.ts';
import type { LazyRam } from './lazy-ram.ts';
import { PreparedVms } from './prepared-vm.ts';
import { LAZY_RUNTIME, readBlobs, readResumePoint, VM_DEVICE, type ResumePoint } from './resume.ts';
import { nextReset, noReset, type RunningVm } from './running-vm.ts';
import { SpareWorker } from './spare-worker.ts';
import { newFigures, paceEntry, stallEntry, type VmFigures } from './vm-figures.ts';
import { builtinRuntimes, monotonicMs, type FromWorker, type ToWorker } from './vm-runtime.ts';

/** Between tries to make a guest's last state durable. */
const LAST_WRITE_PAUSE_MS = 200;
const MAX_LAST_WRITE_PAUSE_MS = 5000;

/** A snapshot, and how long the guest stood still for it. */
interface Taken {
  snapshot: MachineSnapshot;
  pauseMs: number;
}

export interface VmHostOptions {
  node: string;
  store: ObjectStore;
  settings: Settings;
  tell: (event: Event) => void;
  log: (entry: LogEntry) => void;
  output: (vmId: string, epoch: number, bytes: Uint8Array) => void;
  /** Further runtimes: name → URL of a module that exports `createGuest`. */
  runtimes?: Record<string, string>;
  /** Encrypts what is stored of guests' memory and disks. The same on every node. */
  key?: CheckpointKey | undefined;
  /** Which checkpoints of running VMs are kept. Default: `DEFAULT_RETENTION`. */
  retention?: RetentionPolicy | undefined;
  /** How often the others are removed, in milliseconds. Default one minute. */
  collectMs?: number;
}

export class VmHost {
  readonly #options: VmHostOptions;
  readonly #pool = new PagePool();
  readonly #vms = new Map<string, RunningVm>();
  /** VMs that other nodes still run, and that shall come here. */
  readonly #prepared = new PreparedVms();
  readonly #epochs: Epochs;
  /** Starts under way, by VM and epoch; taken out when they are not wanted any more. */
  readonly #starting = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #until = -Infinity;
  #snapshots = 0;
  #questions = 0;
  readonly #spare = new SpareWorker(builtinRuntimes['machine']);

  constructor(options: VmHostOptions) {
    this.#options = options;
    this.#epochs = new Epochs(options);
    // The thread that decodes pages is there before the first failover needs it.
    void this.#pool.encode(new Uint8Array(4096), 4096).catch(() => undefined);
    this.#timer = setInterval(() => this.#tick(), Math.min(50, options.settings.checkpointMs / 4));
  }

  get figures(): VmFigures[] {
    const now = monotonicMs();
    return [...this.#vms.values()].map(({ figures, pace, writer, housekeeping }) => ({
      ...figures,
      checkpointIntervalMs: pace.intervalMs(now),
      heldBytes: writer.heldBytes,
      removedCheckpoints: housekeeping.removed.checkpoints,
      removedBytes: housekeeping.removed.bytes,
    }));
  }

  /** Bytes typed at a VM's console. False when it does not run here. */
  input(vmId: string, bytes: Uint8Array): boolean {
    const running = this.#vms.get(vmId);
    if (running === undefined) return false;
    this.#post(running, { type: 'input', bytes });
    return true;
  }

  /** Presses keys, by DOM `code`, together. Undefined when the VM does not run here; false when it knows no such key. */
  press(vmId: string, codes: string[]): Promise<unknown> {
    return this.#ask(vmId, (id) => ({ type: 'press', id, codes }));
  }

  /** A VM's text screen (TextScreen). Undefined when it does not run here or has none. */
  screen(vmId: string): Promise<unknown> {
    return this.#ask(vmId, (id) => ({ type: 'screen', id }));
  }

  #ask(vmId: string, question: (id: number) => ToWorker): Promise<unknown> {
    const running = this.#vms.get(vmId);
    if (running === undefined) return Promise.resolve(undefined);
    const id = ++this.#questions;
    return new Promise((resolve) => {
      running.questions.set(id, resolve);
      this.#post(running, question(id));
    });
  }

  do(effect: Effect): void {
    switch (effect.type) {
      case 'grant':
        this.#until = effect.until;
        for (const { lease } of this.#vms.values()) lease[0] = effect.until;
        return;
      case 'raise':
        return void this.#epochs.raise(effect);
      case 'prepare':
        return void this.#prepare(effect);
      case 'forget':
        return this.#prepared.forget(effect.vmId);
      case 'run':
        return void this.#run(effect.vm, effect.epoch, effect.paused);
      case 'pause': {
        const running = this.#of(effect);
        if (running === undefined) return;
        running.paused = effect.paused;
        this.#post(running, { type: 'pause', paused: effect.paused });
        return;
      }
      case 'stop':
        return void this.#stop(effect.vmId, effect.epoch, effect.mode);
      case 'hand-over':
        return void this.#handOver(effect.vmId, effect.epoch);
      case 'release':
        return void this.#epochs.release(effect.vmId, effect.epoch);
      case 'tombstone':
        return void this.#epochs.tombstone(effect.vmId);
      default:
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#prepared.close();
    this.#starting.clear();
    await Promise.all([...this.#vms.values()].map((running) => this.#end(running)));
    await this.#spare.close();
    await this.#pool.close();
  }

  #of({ vmId, epoch }: { vmId: string; epoch: number }): RunningVm | undefined {
    const running = this.#vms.get(vmId);
    return running?.epoch === epoch ? running : undefined;
  }

  #post(running: RunningVm, message: ToWorker): void {
    running.worker.postMessage(message);
  }

  async #prepare({ vm, owner }: Extract<Effect, { type: 'prepare' }>): Promise<void> {
    const { store, key, tell, log, node } = this.#options;
    const module = this.#moduleOf(vm);
    if (module !== undefined && vm.spec.runtime === LAZY_RUNTIME) {
      const parts = { store, key, pool: this.#pool, spare: this.#spare, onStall: this.#tellStall(vm.id) };
      const entry = await this.#prepared.prepare({ ...parts, module, vm });
      if (entry !== undefined) log({ ...entry, vm: vm.id, node });
    }
    tell({ type: 'prepared', vmId: vm.id, owner });
  }

  #moduleOf({ spec }: ProtectedVm): string | undefined {
    const { runtimes } = this.#options;
    // Names come from outside: an object finds `constructor` too.
    for (const known of [runtimes, builtinRuntimes])
      if (known !== undefined && Object.hasOwn(known, spec.runtime)) return known[spec.runtime];
    return undefined;
  }

  async #run(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { tell } = this.#options;
    try {
      await this.#start(vm, epoch, paused);
    } catch (error) {
      this.#starting.delete(epochName(vm.id, epoch));
      tell({
        type: 'stopped',
        vmId: vm.id,
        epoch,
        kind: 'failed',
        reason: `did not start: ${messageOf(error)}`,
      });
    }
  }

  /** What a start needs and may not have. Throws ClusterError. */
  #startOf(vm: ProtectedVm, epoch: number): { ownership: Ownership; module: string } {
    const ownership = this.#epochs.owned(vm.id, epoch);
    const module = this.#moduleOf(vm);
    if (ownership === undefined) throw new ClusterError('RUNTIME', 'its epoch is not ours');
    if (module === undefined) throw new ClusterError('RUNTIME', `there is no runtime ${vm.spec.runtime}`);
    return { ownership, module };
  }

  async #start(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { store, key } = this.#options;
    const pool = this.#pool;
    const { ownership, module } = this.#startOf(vm, epoch);
    const { description } = vm.spec;
    const name = epochName(vm.id, epoch);
    this.#starting.add(name);
    const prepared = this.#prepared.take(vm);
    const opening = CheckpointWriter.open(store, ownership, { pool, key, bases: baseNames(description) });
    // Heard below, unless reading fails first.
    opening.catch(() => undefined);
    let point: ResumePoint;
    let writer: CheckpointWriter;
    try {
      point = await readResumePoint({ ...this.#options, pool, vm, ownership, prepared: prepared?.reader });
      writer = await opening;
    } catch (error) {
      if (prepared !== undefined) await endThread(prepared.thread);
      throw error;
    }
    const { snapshot, lazy } = point;
    if (snapshot === undefined && prepared !== undefined) await endThread(prepared.thread);
    const thread =
      prepared !== undefined && snapshot !== undefined
        ? advanceThread(prepared.thread, snapshot, paused)
        : await startThread({
            ...{ store, pool, key, spare: this.#spare, module, description, point, paused },
            watch: vm.spec.health?.watch,
            onStall: this.#tellStall(vm.id),
          });
    // Its session may have ended while all of this was read.
    if (!this.#starting.delete(name)) return endThread(thread);
    thread.lease[0] = this.#until;
    const running: RunningVm = {
      vm,
      epoch,
      ...thread,
      ownership,
      writer,
      lazy,
      bringing: false,
      delivered: () => undefined,
      snapshots: new Map(),
      questions: new Map(),
      aliveAt: monotonicMs(),
      silence: noSilence(monotonicMs()),
      reset: noReset,
      resetting: false,
      paused,
      over: false,
      leaving: false,
      ready: false,
      pace: new CheckpointPace(vm.spec.checkpointMs ?? this.#options.settings.checkpointMs, 0),
      housekeeping: housekeepingFor(this.#options, ownership, monotonicMs()),
      figures: newFigures(vm.id, epoch, snapshot?.instructions ?? 0n),
    };
    this.#vms.set(vm.id, running);
    const { worker } = thread;
    worker.on('message', (message: FromWorker) => this.#heard(running, message));
    worker.on('error', (error) => this.#ended(running, 'failed', messageOf(error)));
    worker.on('exit', () => this.#ended(running, 'failed', 'its worker ended'));
  }

  #tellStall(vmId: string): (event: StallEvent) => void {
    const { log, node } = this.#options;
    return (stall) => {
      log({ vm: vmId, node, ...stallEntry(stall) });
    };
  }

  /** After a lazy resume, once: the pages that nobody asked for. */
  #bringRest(running: RunningVm): void {
    const { lazy, bringing } = running;
    if (lazy === undefined || bringing) return;
    running.bringing = true;
    void this.#bring(running, lazy);
  }

  async #bring(running: RunningVm, lazy: LazyRam): Promise<void> {
    const { store, log, node, key } = this.#options;
    const began = monotonicMs();
    try {
      const whole = await lazy.runBackground(
        ({ indexes, bytes }) =>
          new Promise((resolve) => {
            running.delivered = resolve;
            this.#post(running, { type: 'deliver', indexes, bytes });
          }),
      );
      if (!whole || running.over) return;
      running.housekeeping.resident();
      log({
        event: 'vm-resident',
        vm: running.vm.id,
        node,
        reason: `its last ${String(lazy.absent.length)} pages of memory are in`,
        tookMs: Math.round(monotonicMs() - began),
      });
    } catch (error) {
      this.#ended(running, 'failed', messageOf(error));
    } finally {
      await lazy.finish(store, running.vm.id, key);
      // With the pages that it started from.
      running.lazy = undefined;
    }
  }

  #heard(running: RunningVm, message: FromWorker): void {
    const { tell, log, output, node } = this.#options;
    const { vm, epoch } = running;
    if (running.over) return;
    running.aliveAt = monotonicMs();
    switch (message.type) {
      case 'started':
        running.ready = true;
        running.lease[0] = this.#until;
        if (running.lazy === undefined) running.housekeeping.resident();
        else if (running.paused) this.#bringRest(running);
        return tell({ type: 'started', vmId: vm.id, epoch });
      case 'first-slice':
        // Not before: what the guest asks for comes first.
        this.#bringRest(running);
        return log({
          event: 'vm-executes',
          vm: vm.id,
          node,
          reason: `first instructions under epoch ${String(epoch)}`,
        });
      case 'delivered':
        running.lazy?.touched(message.touched);
        return running.delivered();
      case 'output':
        return output(vm.id, epoch, message.bytes);
      case 'progress':
        running.figures.instructions = message.instructions;
        return this.#look(running, message.sign);
      case 'snapshot': {
        const waiting = running.snapshots.get(message.id);
        running.snapshots.delete(message.id);
        waiting?.(message);
        return;
      }
      case 'answer': {
        const waiting = running.questions.get(message.id);
        running.questions.delete(message.id);
        waiting?.(message.value);
        return;
      }
      case 'reset':
        return void this.#bootAgain(running);
      case 'ended':
        return void this.#lastWords(running, message);
    }
  }

  /** A guest that reset its machine starts from its kernel again; its store of images may take a while, and one that does it again and again waits. */
  async #bootAgain(running: RunningVm): Promise<void> {
    const { vm } = running;
    const { log, node } = this.#options;
    running.reset = nextReset(running.reset, monotonicMs());
    running.resetting = true;
    const { pauseMs } = running.reset;
    log({ event: 'vm-reset', vm: vm.id, node, reason: pauseMs > 0 ? 'by the guest, again' : 'by the guest' });
    try {
      await pause(pauseMs, undefined, { ref: false });
      const { description } = vm.spec;
      const blobs = await readBlobs(this.#options.store, description);
      this.#post(running, { type: 'boot', description, blobs });
      running.resetting = false;
      running.silence = noSilence(monotonicMs());
    } catch (error) {
      this.#ended(running, 'failed', `did not start again: ${messageOf(error)}`);
    }
  }

  /** A guest that switched itself off, or halted for good: what it wrote to its disks before is made durable. */
  async #lastWords(
    running: RunningVm,
    { reason, message, snapshot }: Extract<FromWorker, { type: 'ended' }>,
  ): Promise<void> {
    if (snapshot !== undefined && hasDisks(running.vm.spec.description)) {
      running.leaving = true;
      running.aliveAt = Infinity; // it has said its last
      await this.#writeLast(running, { snapshot, pauseMs: 0 });
    }
    this.#ended(running, reason, message);
  }

  /** Looks for signs of life of the guest, `sign` being what its thread reported just now. */
  #look(running: RunningVm, sign?: string): void {
    const { health } = running.vm.spec;
    if (health === undefined || running.leaving) return;
    const nowMs = monotonicMs();
    const held = running.paused || running.resetting || running.pages?.waiting === true;
    const mayRun = running.ready && !held && nowMs < this.#until;
    running.silence = lookedAt(running.silence, { nowMs, sign, mayRun });
    running.figures.silentMs = nowMs - running.silence.sinceMs;
    const why = whyHung(health, running.silence, nowMs);
    if (why !== undefined) void this.#hung(running, why);
  }

  /** A guest that hangs is ended; what it wrote to its disks before is made durable. */
  async #hung(running: RunningVm, reason: string): Promise<void> {
    running.leaving = true;
    if (hasDisks(running.vm.spec.description)) await this.#lastCheckpoint(running);
    this.#ended(running, 'hung', reason);
  }

  /** Once more, with the guest stopped; given up when its thread does not answer. */
  async #lastCheckpoint(running: RunningVm): Promise<void> {
    const limit = pause(this.#options.settings.guestHungMs, undefined, { ref: false });
    const taken = await Promise.race([this.#take(running, true), limit]);
    if (taken !== undefined) await this.#writeLast(running, taken);
  }

  /** Returns when it is durable, or when the VM is another's. */
  async #writeLast(running: RunningVm, { snapshot, pauseMs }: Taken): Promise<void> {
    let waitMs = LAST_WRITE_PAUSE_MS;
    while (!running.over && !(await this.#write(running, snapshot, pauseMs))) {
      await pause(waitMs);
      waitMs = Math.min(waitMs * 2, MAX_LAST_WRITE_PAUSE_MS);
    }
  }

  #ended(running: RunningVm, kind: Exclude<StopKind, 'asked'>, reason: string): void {
    if (running.over) return;
    void this.#end(running);
    this.#options.tell({ type: 'stopped', vmId: running.vm.id, epoch: running.epoch, kind, reason });
  }

  async #end(running: RunningVm): Promise<void> {
    running.over = true;
    for (const waiting of running.questions.values()) waiting(undefined);
    running.lease[0] = -Infinity;
    running.pages?.close();
    running.lazy?.stop();
    running.delivered();
    if (this.#vms.get(running.vm.id) === running) this.#vms.delete(running.vm.id);
    await running.worker.terminate();
  }

  #tick(): void {
    const now = monotonicMs();
    for (const running of this.#vms.values()) {
      const mayRun = now < this.#until;
      // A frozen or suspended node says nothing about its guests.
      // A guest that waits for a page lives.
      if (!mayRun || running.pages?.waiting === true) running.aliveAt = Math.max(running.aliveAt, now);
      if (now - running.aliveAt > this.#options.settings.guestHungMs) {
        this.#ended(
          running,
          'failed',
          `hung: no sign of life for ${String(this.#options.settings.guestHungMs)} ms`,
        );
        continue;
      }
      if (running.ready && !running.leaving && mayRun && running.pace.isDue(now)) {
        running.pace.begin(now);
        void this.#checkpoint(running, false).then((durable) => running.pace.end(monotonicMs(), durable));
      }
      this.#look(running);
      if (running.ready && mayRun) running.housekeeping.look(now);
      const news = running.pace.news(now);
      if (news !== undefined)
        this.#options.log({ vm: running.vm.id, node: this.#options.node, ...paceEntry(news) });
    }
  }

  /** One checkpoint; true when it is durable. */
  async #checkpoint(running: RunningVm, suspend: boolean): Promise<boolean> {
    const { snapshot, pauseMs } = await this.#take(running, suspend);
    return !running.over && this.#write(running, snapshot, pauseMs);
  }

  #take(running: RunningVm, suspend: boolean): Promise<Taken> {
    const id = ++this.#snapshots;
    return new Promise((resolve) => {
      running.snapshots.set(id, resolve);
      this.#post(running, { type: 'snapshot', id, suspend });
    });
  }

  async #write(running: RunningVm, snapshot: MachineSnapshot, pauseMs: number): Promise<boolean> {
    const own = { version: 1, state: { boot: running.vm.boot } };
    try {
      const written = await running.writer.write({
        ...snapshot,
        devices: { ...snapshot.devices, [VM_DEVICE]: own },
      });
      running.figures.checkpoints++;
      running.figures.lastCheckpointAt = monotonicMs();
      running.figures.lastPauseMs = pauseMs;
      running.figures.lastStoredBytes = written.counts.packBytes;
      const shared = snapshot.spaces.map(({ bytes }) => bytes.buffer);
      const buffers = shared.filter((buffer) => buffer instanceof SharedArrayBuffer);
      if (buffers.length > 0 && !running.over) this.#post(running, { type: 'give-back', buffers });
      return true;
    } catch (error) {
      if (isStorageError(error, 'FENCED')) this.#ended(running, 'fenced', messageOf(error));
      else {
        if (isStoreError(error, 'FULL')) running.housekeeping.hurry(monotonicMs());
        this.#options.log({ event: 'checkpoint-failed', vm: running.vm.id, reason: messageOf(error) });
      }
      return false;
    }
  }

  async #stop(vmId: string, epoch: number, mode: StopMode): Promise<void> {
    const running = this.#of({ vmId, epoch });
    this.#starting.delete(epochName(vmId, epoch));
    if (mode === 'discard') this.#epochs.forget(vmId, epoch);
    if (running !== undefined) {
      // The plug is pulled, and what the guest wrote until then is on its disks.
      if (mode === 'power-off' && hasDisks(running.vm.spec.description)) {
        running.leaving = true;
        await this.#lastCheckpoint(running);
        // Told to stop in another way meanwhile.
        if (running.over) return;
      }
      await this.#end(running);
    }
    if (mode !== 'discard') this.#options.tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' });
  }

  /** A live move: what can be copied is copied while the guest runs, the rest in one short stop. */
  async #handOver(vmId: string, epoch: number): Promise<void> {
    const running = this.#of({ vmId, epoch });
    if (running === undefined) return;
    running.leaving = true;
    await this.#checkpoint(running, false);
    const before = monotonicMs();
    // Until it is durable nobody else may have it; should it never be, the fence ends this loop.
    while (!running.over && !(await this.#checkpoint(running, true))) await pause(LAST_WRITE_PAUSE_MS);
    if (running.over) return;
    // The guest has stopped; its thread may take its time to end.
    void this.#end(running);
    this.#options.log({
      event: 'vm-suspended',
      vm: vmId,
      node: this.#options.node,
      reason: 'its last checkpoint is durable',
      tookMs: Math.round(monotonicMs() - before),
    });
    this.#options.tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' });
  }
}
