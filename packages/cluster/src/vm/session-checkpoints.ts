/** The checkpoints of one VM on this node: taken from its thread, written under its epoch, at a pace that the store can keep. */
import { setTimeout as pause } from 'node:timers/promises';
import {
  CheckpointPace,
  formatId,
  isStorageError,
  isStoreError,
  storedBytes,
  type CheckpointWriter,
  type MachineSnapshot,
  type Ownership,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import { messageOf } from '../errors.ts';
import type { GuestThread } from './guest-thread.ts';
import { housekeepingFor, type Housekeeping } from './housekeeping.ts';
import type { InputPlaces } from './input-ledger.ts';
import { withOwn } from '../stored/own-state.ts';
import type { OutputCut, SessionOutputs } from './session-outputs.ts';
import type { StandbyLink } from './standby/standby-link.ts';
import { sumsOf } from './standby/state-sums.ts';
import { StoreQuota } from './store-quota.ts';
import { newFigures, paceEntry, type VmFigures } from './vm-figures.ts';
import type { VmHostOptions } from './vm-host.ts';
import { monotonicMs } from './vm-runtime.ts';
import { WorkingPages } from './working-pages.ts';

/** Between tries to make a guest's last state durable. */
const lastWritePauseMs = 200;
const maxLastWritePauseMs = 5000;

/** A snapshot, and how long the guest stood still for it. */
export interface Taken {
  snapshot: MachineSnapshot;
  pauseMs: number;
  /** How far the input of each console is in it. */
  places: InputPlaces;
  cut: OutputCut;
}

export interface SessionCheckpointsOptions {
  vm: ProtectedVm;
  epoch: number;
  ownership: Ownership;
  writer: CheckpointWriter;
  thread: GuestThread;
  resumedAt: bigint | undefined;
  host: VmHostOptions;
  isOver: () => boolean;
  /** The VM is another's. */
  onFenced: (reason: string) => void;
  outputs: SessionOutputs;
  /** It holds as much in the store as it may, or no longer. */
  onQuota: (isFull: boolean) => void;
  /** Who follows the VM, and is told what its checkpoints are. */
  standby: () => StandbyLink | undefined;
}

/** A moment of the VM that is durable. */
interface Moment {
  /** `EPOCH-SEQUENCE` */
  name: string;
  instructions: bigint;
  atMs: number;
}

/** So many moments are remembered: at a checkpoint a second, those of half a minute. */
const moments = 32;

export class SessionCheckpoints {
  readonly figures: VmFigures;
  readonly housekeeping: Housekeeping;
  readonly quota: StoreQuota;
  readonly #workingPages: WorkingPages;
  readonly #options: SessionCheckpointsOptions;
  readonly #pace: CheckpointPace;
  /** The number of the next entry of the log when the last one was cut. */
  #lastCut = 0;
  readonly #moments: Moment[] = [];
  /** Of its log, counted for the quota already. */
  #logBytes = 0;

  constructor(options: SessionCheckpointsOptions) {
    const { vm, epoch, ownership, resumedAt, host } = options;
    this.#options = options;
    this.#pace = new CheckpointPace(vm.spec.checkpointMs ?? host.settings.checkpointMs, 0);
    this.quota = new StoreQuota({
      quotaBytes: vm.spec.storeQuotaBytes,
      measure: () => storedBytes(host.store, vm.id),
      onChange: options.onQuota,
    });
    this.housekeeping = housekeepingFor(host, ownership, monotonicMs(), () => this.quota.removed());
    const ask = (): Promise<Uint32Array> => options.thread.ask('accessed', {});
    this.#workingPages = new WorkingPages({ ...host, vmId: vm.id, ask }, monotonicMs());
    this.figures = newFigures(vm.id, epoch, resumedAt ?? 0n);
  }

  figuresAt(now: number): VmFigures {
    return {
      ...this.figures,
      checkpointIntervalMs: this.#pace.intervalMs(now),
      heldBytes: this.#options.writer.heldBytes,
      storeBytes: this.quota.usedBytes,
      storeQuotaBytes: this.quota.quotaBytes,
      removedCheckpoints: this.housekeeping.removed.checkpoints,
      removedBytes: this.housekeeping.removed.bytes,
    };
  }

  /**
   * Something happened to the guest, at a count or a time of the local clock: names the command that opens its last moment before that. Nothing
   * is said where none is durable.
   */
  tellBefore({ instructions, atMs }: { instructions?: bigint; atMs?: number }): void {
    const { vm, host } = this.#options;
    const before = this.#moments.findLast(
      (moment) =>
        (instructions === undefined || moment.instructions < instructions) &&
        (atMs === undefined || moment.atMs <= atMs),
    );
    if (before === undefined) return;
    const command = `revenant debug gdb ${vm.id}@${before.name} --store ${host.store.url}`;
    host.log({ event: 'vm-debug', vm: vm.id, node: host.node, reason: `opens it before that: ${command}` });
  }

  /** @returns whether one was begun */
  takeIfDue(now: number): boolean {
    if (this.quota.isFull || !this.#pace.isDue(now)) return false;
    this.#pace.begin(now);
    void this.checkpoint(false).then((durable) => this.#pace.end(monotonicMs(), durable));
    return true;
  }

  /** True while one is under way that was begun after `since`. */
  isWriting(since: number): boolean {
    return this.#pace.isBusy(since);
  }

  /** Says when the interval was stretched, or is as wanted again. */
  tellPace(now: number, keepHouse: boolean): void {
    const { vm, host } = this.#options;
    if (keepHouse) {
      this.housekeeping.look(now);
      this.#workingPages.look(now);
    }
    this.#count(now);
    const news = this.#pace.news(now);
    if (news !== undefined) host.log({ vm: vm.id, node: host.node, ...paceEntry(news) });
  }

  /** Keeps count of what the VM holds in the store. */
  #count(now: number): void {
    const { logBytes } = this.#options.outputs.figures;
    if (logBytes > this.#logBytes) this.quota.wrote(logBytes - this.#logBytes);
    this.#logBytes = logBytes;
    if (this.quota.isFull) this.housekeeping.hurry(now);
    this.quota.look(now);
  }

  /** One checkpoint; true when it is durable. While there is no room for more, only that of a VM which leaves: it is stopped by then. */
  async checkpoint(suspend: boolean): Promise<boolean> {
    if (this.quota.isFull && !suspend) return false;
    const taken = await this.take(suspend);
    return taken !== undefined && !this.#options.isOver() && this.#write(taken);
  }

  /** Undefined when the thread ended before it answered. */
  take(suspend: boolean): Promise<Taken | undefined> {
    const { vm, epoch, host, thread } = this.#options;
    const ask = async (places: InputPlaces): Promise<Taken | undefined> => {
      const taken = await thread.ask('snapshot', { suspend }).catch(() => undefined);
      // Before another message of the thread is heard.
      return taken && { ...taken, places, cut: this.#options.outputs.cut(suspend) };
    };
    return host.inputs === undefined ? ask({}) : host.inputs.cut(vm.id, epoch, ask);
  }

  /** Returns when it is durable, or when the VM is another's. */
  async writeLast(taken: Taken): Promise<void> {
    let waitMs = lastWritePauseMs;
    while (!this.#options.isOver() && !(await this.#write(taken))) {
      await pause(waitMs);
      waitMs = Math.min(waitMs * 2, maxLastWritePauseMs);
    }
  }

  async #write({ snapshot, pauseMs, places, cut }: Taken): Promise<boolean> {
    const { vm, host, writer, isOver, thread, outputs } = this.#options;
    const { nextInput, exact, tail } = cut;
    const state = { boot: vm.boot, inputs: places, exact, nextInput: Number(nextInput) };
    const own = tail === undefined ? state : { ...state, console: tail };
    const began = monotonicMs();
    const standby = this.#options.standby();
    const isWhole = snapshot.spaces.some(({ full }) => full);
    const sums = standby === undefined || isWhole ? undefined : sumsOf(snapshot);
    const [at, before] = [Number(nextInput), this.#lastCut];
    this.#lastCut = at;
    const summed = (checkpoint: string | null): void => {
      if (sums !== undefined) standby?.summed({ cut: at, before, checkpoint, sums });
    };
    host.measures?.paused(pauseMs);
    try {
      const written = await writer.write(withOwn(snapshot, own));
      host.inputs?.durable(vm.id, this.#options.epoch, places);
      summed(formatId(written.id));
      host.measures?.stored(monotonicMs() - began);
      this.figures.checkpoints++;
      this.#moments.push({
        name: formatId(written.id),
        instructions: snapshot.instructions,
        atMs: began - pauseMs,
      });
      this.#moments.splice(0, this.#moments.length - moments);
      this.figures.lastCheckpointAt = monotonicMs();
      this.figures.lastDurableMs = this.figures.lastCheckpointAt - began;
      this.figures.lastPauseMs = pauseMs;
      this.figures.lastStoredBytes = written.counts.packBytes;
      this.quota.wrote(written.counts.packBytes);
      const shared = snapshot.spaces.map(({ bytes }) => bytes.buffer);
      const buffers = shared.filter((buffer) => buffer instanceof SharedArrayBuffer);
      if (buffers.length > 0 && !isOver()) thread.ask('giveBack', { buffers }).catch(() => undefined);
      outputs.durable(cut);
      return true;
    } catch (error) {
      summed(null);
      if (isStorageError(error, 'FENCED')) this.#options.onFenced(messageOf(error));
      else {
        if (isStoreError(error, 'FULL')) this.housekeeping.hurry(monotonicMs());
        host.log({ event: 'checkpoint-failed', vm: vm.id, reason: messageOf(error) });
      }
      return false;
    }
  }
}
