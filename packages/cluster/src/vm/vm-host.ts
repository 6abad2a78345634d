/**
 * All VMs of one node: workers, checkpoints, ownership in the store. Carries out the guest effects of the decisions, and tells
 * them what became of it. Every path ends in an event; an epoch that was lost ends its worker at once.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { InputResult, MachineInput, TextScreen } from '@revenant/emulator';
import { PagePool, type CheckpointKey, type ObjectStore, type RetentionPolicy } from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { Settings } from '../decisions/settings.ts';
import type { Effect, Event, LogEntry, StandbySource, StopMode } from '../decisions/types.ts';
import { ClusterError } from '../errors.ts';
import type { StandbyMessage } from '../protocol/standby.ts';
import type { TailState } from './console-tail.ts';
import { Epochs } from './epochs.ts';
import type { InputLedger, TypedPlaces } from './input-ledger.ts';
import type { Measures } from './measures.ts';
import type { NodeNetworks } from '../network/node-networks.ts';
import { PreparedVms } from './prepared-vm.ts';
import { lazyRuntime, type Resumed } from './resume.ts';
import type { AttachedDebugger, DebuggerCaller } from './session-debugger.ts';
import { SpareWorkers } from './spare-workers.ts';
import { Standbys } from './standby/standbys.ts';
import { threadFile } from './thread-files.ts';
import type { VmFigures } from './vm-figures.ts';
import { machineRuntime, monotonicMs, type Look } from './vm-runtime.ts';
import type { SessionState } from './session-state.ts';
import { VmSession } from './vm-session.ts';
import { owned } from '../owned.ts';
import { VmStarts, type BegunVm } from './vm-starts.ts';

/** Checkpoints that a node writes at once; and while guests are waited for that are being made, which need the same processors. */
const checkpointsAtOnce = 4;
const checkpointsBesideStarts = 1;
/** A checkpoint that takes longer is held up by its guest or its store, and no longer holds up others. */
const takesMs = 2000;

/** For how long somebody who presses keys waits for a guest to read them, and how often it is tried. */
const pressMs = 5000;
const pressPauseMs = 20;

export interface VmHostOptions {
  node: string;
  store: ObjectStore;
  settings: Settings;
  tell: (event: Event) => void;
  /** The node itself has a fault. Absent: it is thrown where nobody catches. */
  failed?: (error: unknown) => void;
  log: (entry: LogEntry) => void;
  /** What a VM wrote on its console; `at`: the number of the first byte in the VM's life. */
  output: (vmId: string, epoch: number, piece: TailState) => void;
  /** What the agent in a VM's guest said. */
  agentSaid?: (vmId: string, epoch: number, bytes: Uint8Array) => void;
  /** How its console goes on under an epoch that begins, and the end of what was written before. */
  resumed?: (vmId: string, epoch: number, how: { resumed: Resumed; tail: TailState | undefined }) => void;
  /** Carries what owners and standbys tell each other; absent: VMs have no standbys. */
  send?: (to: string, message: StandbyMessage) => void;
  inputs?: InputLedger | undefined;
  /** Who keeps histograms. */
  measures?: Measures | undefined;
  /** Carries frames of the VMs' network cards. */
  network?: NodeNetworks | undefined;
  /** Further runtimes: name → URL of a module that exports `createGuest`. */
  runtimes?: Record<string, string>;
  /** Encrypts what is stored of guests' memory and disks. The same on every node. */
  key?: CheckpointKey | undefined;
  /** Which checkpoints of running VMs are kept. Default: `defaultRetention`. */
  retention?: RetentionPolicy | undefined;
  /** How often the others are removed, in milliseconds. Default one minute. */
  collectMs?: number;
}

function throwIt(error: unknown): never {
  throw error;
}

export class VmHost {
  readonly #options: VmHostOptions;
  readonly #pool = new PagePool();
  readonly #vms = new Map<string, VmSession>();
  /** VMs that other nodes still run, and that shall come here. */
  readonly #prepared = new PreparedVms();
  readonly standbys = new Standbys();
  readonly #epochs: Epochs;
  readonly #starts: VmStarts;
  readonly #timer: NodeJS.Timeout;
  #until = -Infinity;
  readonly #spare: SpareWorkers;

  constructor(options: VmHostOptions) {
    this.#options = options;
    this.#epochs = new Epochs({ ...options, follows: (vmId) => this.standbys.follows(vmId) });
    this.#starts = new VmStarts({
      ...{ host: options, pool: this.#pool, spare: () => this.#spare, epochs: this.#epochs },
      ...{ prepared: this.#prepared, standbys: this.standbys, begin: (parts) => this.#begin(parts) },
    });
    this.#spare = new SpareWorkers({
      module: threadFile(machineRuntime),
      vms: () => this.#vms.size,
      isAwaited: () => this.#isAwaited,
    });
    // The thread that decodes pages is there before the first failover needs it.
    void this.#pool.encode(new Uint8Array(4096), 4096).catch(() => undefined);
    this.#timer = setInterval(
      owned(() => this.#tick(), options.failed ?? throwIt),
      Math.min(50, options.settings.checkpointMs / 4),
    );
  }

  get figures(): VmFigures[] {
    const now = monotonicMs();
    return [...this.#vms.values()].map((session) => session.figures(now));
  }

  /** Where each VM of this node is in its life. */
  get states(): Map<string, SessionState> {
    const states = new Map<string, SessionState>();
    for (const vmId of [...this.#prepared.names, ...this.standbys.names]) states.set(vmId, 'preparing');
    for (const vmId of this.#starts.names) states.set(vmId, 'starting');
    for (const { vm, state } of this.#vms.values()) states.set(vm.id, state);
    return states;
  }

  /** Gives a VM inputs; resolves to what became of each. Undefined when it does not run here. */
  async input(
    vmId: string,
    inputs: readonly MachineInput[],
    typed?: TypedPlaces,
  ): Promise<InputResult[] | undefined> {
    return this.#vms.get(vmId)?.input(inputs, typed);
  }

  /** A debugger comes to a VM. Throws ClusterError `CONFLICT` when it does not run here, or can't be debugged. */
  async debug(vmId: string, caller: DebuggerCaller): Promise<AttachedDebugger> {
    const session = this.#vms.get(vmId);
    if (session === undefined)
      throw new ClusterError('CONFLICT', `${vmId} does not run on ${this.#options.node}`);
    return session.debug(caller);
  }

  /** Resolves when all that a VM was given so far is in a durable checkpoint; false when it could not be written, or does not run here. */
  async makeDurable(vmId: string): Promise<boolean> {
    return (await this.#vms.get(vmId)?.makeDurable()) ?? false;
  }

  /** Why what is typed at a VM's console can't be taken here, in words; undefined when it can. */
  inputTrouble(vmId: string): string | undefined {
    const session = this.#vms.get(vmId);
    return session === undefined ? `${vmId} does not run on ${this.#options.node}` : session.inputTrouble;
  }

  /**
   * Presses keys, by DOM `code`, together. A keyboard that is full is waited for. Undefined when the VM does not run here; false when it knows
   * no such key.
   * @throws ClusterError `BUSY` when the guest reads none of it for long
   */
  async press(vmId: string, codes: readonly string[]): Promise<boolean | undefined> {
    const key = (code: string, pressed: boolean): MachineInput => ({ kind: 'key', code, pressed });
    let left = [
      ...codes.map((code) => key(code, true)),
      ...[...codes].reverse().map((code) => key(code, false)),
    ];
    for (const until = monotonicMs() + pressMs; ;) {
      const results = await this.input(vmId, left);
      if (results?.some((result) => result === 'no-device')) return false;
      left = left.filter((_key, n) => results?.[n] === 'full');
      if (results === undefined || left.length === 0) return results && true;
      if (monotonicMs() > until) throw new ClusterError('BUSY', `${vmId} does not read its keyboard`);
      await pause(pressPauseMs);
    }
  }

  /** What a VM's screen shows, or what of it changed since the last look, and under which epoch. Undefined when it does not run here. */
  async look(vmId: string, fresh: boolean): Promise<{ epoch: number; look: Look } | undefined> {
    const session = this.#vms.get(vmId);
    const look = await session?.look(fresh);
    return session && look && { epoch: session.epoch, look };
  }

  /** A VM's text screen. Undefined when it does not run here or has none. */
  async screen(vmId: string): Promise<TextScreen | undefined> {
    return this.#vms.get(vmId)?.screen();
  }

  /** What an owner tells its standby, or that its owner. */
  heard(from: string, message: StandbyMessage): void {
    if (message.type !== 'standby-ack') return this.standbys.heard(from, message);
    const session = this.#vms.get(message.vmId);
    if (session?.epoch === message.epoch) session.standbyHeard(from, message);
  }

  do(effect: Effect): void {
    switch (effect.type) {
      case 'stand-by':
        return this.#standBy(effect.vm, effect.source);
      case 'stand-down':
        return this.standbys.leave(effect.vmId);
      case 'set-standby':
        return this.#of(effect)?.setStandby(effect.standby);
      case 'grant':
        this.#until = effect.until;
        for (const session of this.#vms.values()) session.setLease(effect.until);
        return;
      case 'raise':
        return void this.#epochs.raise(effect);
      case 'prepare':
        return void this.#prepare(effect);
      case 'forget':
        return this.#prepared.forget(effect.vmId);
      case 'run':
        return void this.#starts.run(effect.vm, effect.epoch, effect.paused);
      case 'pause':
        return this.#of(effect)?.setPaused(effect.paused);
      case 'set-outputs':
        return this.#of(effect)?.setOutputs(effect.outputs);
      case 'set-quota':
        return this.#of(effect)?.setQuota(effect.quotaBytes);
      case 'stop':
        return void this.#stop(effect.vmId, effect.epoch, effect.mode);
      case 'hand-over':
        return void this.#handOver(effect.vmId, effect.epoch);
      case 'release':
        return void this.#epochs.release(effect.vmId, effect.epoch);
      case 'tombstone':
        return void this.#epochs.tombstone(effect.vmId, effect.epoch);
      default:
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#prepared.close();
    await this.standbys.close();
    this.#starts.clear();
    await Promise.all([...this.#vms.values()].map((session) => session.end()));
    await this.#spare.close();
    await this.#pool.close();
  }

  #of({ vmId, epoch }: { vmId: string; epoch: number }): VmSession | undefined {
    const session = this.#vms.get(vmId);
    return session?.epoch === epoch ? session : undefined;
  }

  async #prepare({ vm, owner }: Extract<Effect, { type: 'prepare' }>): Promise<void> {
    const { store, key, tell, log, node } = this.#options;
    const module = this.#starts.moduleOf(vm);
    if (module !== undefined && vm.spec.runtime === lazyRuntime) {
      const parts = {
        store,
        key,
        pool: this.#pool,
        spare: this.#spare,
        onStall: this.#starts.stallOf(vm.id),
      };
      const entry = await this.#prepared.prepare({ ...parts, module, vm });
      if (entry !== undefined) log({ ...entry, vm: vm.id, node });
    }
    tell({ type: 'prepared', vmId: vm.id, owner });
  }

  #begin(parts: BegunVm): void {
    const { vm, epoch, resumed, tail, places } = parts;
    this.#options.resumed?.(vm.id, epoch, { resumed, tail });
    const session = new VmSession({
      ...parts,
      host: this.#options,
      until: () => this.#until,
      onEnd: (ended) => {
        if (this.#vms.get(vm.id) === ended) this.#vms.delete(vm.id);
        this.#options.inputs?.ended(vm.id, epoch);
        this.#options.network?.left(vm.id, epoch);
      },
    });
    this.#vms.set(vm.id, session);
    this.#options.inputs?.started(vm.id, epoch, places);
  }

  #standBy(vm: ProtectedVm, source: StandbySource): void {
    const { node, store, key, log, send } = this.#options;
    const module = this.#starts.moduleOf(vm);
    if (module === undefined || send === undefined) return;
    const parts = { node, store, key, log, send, module, pool: this.#pool, spare: this.#spare };
    this.standbys.follow({ ...parts, vm, source, onStall: this.#starts.stallOf(vm.id) });
  }

  /** Whether a guest is being made here that is to run. */
  get #isAwaited(): boolean {
    if (this.#starts.isAny) return true;
    for (const { state } of this.#vms.values()) if (state === 'starting' || state === 'resuming') return true;
    return false;
  }

  #tick(): void {
    const now = monotonicMs();
    // A few checkpoints at once, the oldest first: all together would keep the node's own writes waiting.
    const sessions = [...this.#vms.values()].sort((a, b) => a.checkpointedAt - b.checkpointedAt);
    const atOnce = this.#isAwaited ? checkpointsBesideStarts : checkpointsAtOnce;
    let free = atOnce - sessions.filter((each) => each.isWriting(now - takesMs)).length;
    for (const session of sessions)
      try {
        if (session.tick(now, free > 0)) free--;
      } catch (error) {
        // One VM's fault costs that VM.
        session.failed(error);
      }
  }

  async #stop(vmId: string, epoch: number, mode: StopMode): Promise<void> {
    this.#starts.cancel(vmId, epoch);
    if (mode === 'discard') this.#epochs.forget(vmId, epoch);
    // Told to stop in another way meanwhile: that is what is answered.
    if ((await this.#of({ vmId, epoch })?.stop(mode)) === false) return;
    if (mode !== 'discard') this.#options.tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' });
  }

  async #handOver(vmId: string, epoch: number): Promise<void> {
    if ((await this.#of({ vmId, epoch })?.handOver()) !== true) return;
    this.#options.tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' });
  }
}
