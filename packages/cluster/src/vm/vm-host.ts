/**
 * All VMs of one node: workers, checkpoints, ownership in the store. Carries out the guest effects of the decisions, and tells
 * them what became of it. Every path ends in an event; an epoch that was lost ends its worker at once.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { InputResult, MachineInput, TextScreen } from '@revenant/emulator';
import {
  CheckpointWriter,
  formatId,
  PagePool,
  type CheckpointKey,
  type ObjectStore,
  type RetentionPolicy,
  type StallEvent,
} from '@revenant/storage';
import type { ProtectedVm } from '../decisions/records.ts';
import type { Settings } from '../decisions/settings.ts';
import type { Effect, Event, LogEntry, StandbySource, StopMode } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { keepsLog } from '../protocol/spec.ts';
import type { StandbyMessage } from '../protocol/standby.ts';
import type { TailState } from './console-tail.ts';
import { baseNames } from './disks.ts';
import { epochName, Epochs, type Owned } from './epochs.ts';
import { startThread, type GuestThread } from './guest-thread.ts';
import type { InputLedger, InputPlaces, TypedPlaces } from './input-ledger.ts';
import type { Measures } from './measures.ts';
import type { NodeNetworks } from '../network/node-networks.ts';
import { ownState } from '../stored/own-state.ts';
import { PreparedVms, type ReadyVm } from './prepared-vm.ts';
import {
  isExact,
  lazyRuntime,
  readResumePoint,
  replaysBehind,
  type Resumed,
  type ResumePoint,
} from './resume.ts';
import type { AttachedDebugger, DebuggerCaller } from './session-debugger.ts';
import { SpareWorkers } from './spare-workers.ts';
import type { Lead } from './standby/handed.ts';
import { holdsLess, isOfMoment, leadOf, publish, replayWith } from './standby/lead.ts';
import { Standbys } from './standby/standbys.ts';
import { StandbyVm, type Standby } from './standby/standby-vm.ts';
import { threadFile } from './thread-files.ts';
import { stallEntry, type VmFigures } from './vm-figures.ts';
import { builtinRuntimes, machineRuntime, monotonicMs, type Look } from './vm-runtime.ts';
import type { SessionState } from './session-state.ts';
import { VmSession, type SessionParts } from './vm-session.ts';
import { owned } from '../owned.ts';

/** Checkpoints that a node writes at once; and while guests are waited for that are being made, which need the same processors. */
const checkpointsAtOnce = 4;
const checkpointsBesideStarts = 1;
/** A checkpoint that takes longer is held up by its guest or its store, and no longer holds up others. */
const takesMs = 2000;

/** Before a standby that can't be led from just now is looked at again; and how long it is tried to save what only it has. */
const leadAgainMs = 200;
const publishMs = 10_000;

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

/** Of what `leadOf` gives, or threw, in words. */
function whyUnused(lead: unknown, { thread }: Standby): string {
  if (lead === 'stored') return 'the store has more than it does';
  if (lead === 'foreign') return 'others had the VM since it followed it';
  if (typeof lead === 'string') return lead;
  return thread === undefined
    ? 'it is being made anew; what it holds comes behind the log'
    : 'it lacks pages of a checkpoint that is not the newest any more';
}

/** Whether the pages that its machine has not yet are those of the checkpoint that stays until they are in. */
const bringsAll = ({ rest }: Standby, { ownership: { resumeFrom } }: Owned): boolean =>
  rest === undefined || (resumeFrom !== null && formatId(resumeFrom) === rest.of);

export class VmHost {
  readonly #options: VmHostOptions;
  readonly #pool = new PagePool();
  readonly #vms = new Map<string, VmSession>();
  /** VMs that other nodes still run, and that shall come here. */
  readonly #prepared = new PreparedVms();
  readonly standbys = new Standbys();
  readonly #epochs: Epochs;
  /** Starts under way, by VM and epoch; taken out when they are not wanted any more. */
  readonly #starting = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #until = -Infinity;
  readonly #spare = new SpareWorkers({
    module: threadFile(machineRuntime),
    vms: () => this.#vms.size,
    isAwaited: () => this.#isAwaited,
  });

  constructor(options: VmHostOptions) {
    this.#options = options;
    this.#epochs = new Epochs({ ...options, follows: (vmId) => this.standbys.follows(vmId) });
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
    for (const name of this.#starting) states.set(name.slice(0, name.lastIndexOf('@')), 'starting');
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
        return void this.#run(effect.vm, effect.epoch, effect.paused);
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
    this.#starting.clear();
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
    const module = this.#moduleOf(vm);
    if (module !== undefined && vm.spec.runtime === lazyRuntime) {
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
      if (known !== undefined && Object.hasOwn(known, spec.runtime))
        return threadFile(known[spec.runtime] ?? '');
    return undefined;
  }

  async #run(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { tell } = this.#options;
    try {
      await this.#start(vm, epoch, paused);
    } catch (error) {
      this.#starting.delete(epochName(vm.id, epoch));
      await this.#publish(vm, epoch);
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
  #startOf(vm: ProtectedVm, epoch: number): { owned: Owned; module: string } {
    const owned = this.#epochs.owned(vm.id, epoch);
    const module = this.#moduleOf(vm);
    if (owned === undefined) throw new ClusterError('RUNTIME', 'its epoch is not ours');
    if (module === undefined) throw new ClusterError('RUNTIME', `there is no runtime ${vm.spec.runtime}`);
    return { owned, module };
  }

  async #start(vm: ProtectedVm, epoch: number, paused: boolean): Promise<void> {
    const { store, key } = this.#options;
    const pool = this.#pool;
    const { owned, module } = this.#startOf(vm, epoch);
    const name = epochName(vm.id, epoch);
    this.#starting.add(name);
    if (await this.#leads(vm, epoch, paused, owned)) return;
    const { ownership, logged, standbyLost, lead } = owned;
    const { description } = vm.spec;
    const prepared = await this.#usable(this.#prepared.take(vm), owned);
    const opening = CheckpointWriter.open(store, ownership, { pool, key, bases: baseNames(description) });
    // Heard below, unless reading fails first.
    opening.catch(() => undefined);
    let point: ResumePoint;
    let writer: CheckpointWriter;
    try {
      const { reader } = prepared ?? {};
      point = await readResumePoint({
        ...this.#options,
        pool,
        vm,
        ownership,
        logged,
        standbyLost,
        prepared: reader,
      });
      writer = await opening;
    } catch (error) {
      if (prepared !== undefined) await prepared.thread.end();
      throw error;
    }
    const { snapshot, lazy } = point;
    const thread = await this.#threadOf(vm, { module, point, paused, prepared: prepared?.thread });
    // All of it is with the guest now.
    owned.logged = undefined;
    owned.lead = undefined;
    // Its session may have ended while all of this was read.
    if (!this.#starting.delete(name)) return thread.end();
    const { behind, resumed } = point;
    const own = ownState(snapshot?.devices);
    this.#begin({
      ...{ vm, epoch, ownership, writer, thread, lazy, paused, resumed, tail: own.console },
      handed: lead && { ...lead.handed, again: [] },
      resumedAt: snapshot?.instructions,
      liveFrom: behind?.to ?? snapshot?.instructions ?? 0n,
      nextInput: behind?.nextInput ?? BigInt(own.nextInput),
      places: { ...own.inputs, ...behind?.places },
    });
  }

  #begin(parts: Omit<SessionParts, 'host' | 'until' | 'onEnd'> & { places: InputPlaces }): void {
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
    const module = this.#moduleOf(vm);
    if (module === undefined || send === undefined) return;
    const parts = { node, store, key, log, send, module, pool: this.#pool, spare: this.#spare };
    this.standbys.follow({ ...parts, vm, source, onStall: this.#tellStall(vm.id) });
  }

  /** Whether a standby here goes on as the VM. Else what only it holds comes behind the log that is to be replayed. */
  async #leads(vm: ProtectedVm, epoch: number, paused: boolean, owned: Owned): Promise<boolean> {
    const standby = await this.standbys.take(vm);
    const said = (entry: LogEntry): void =>
      this.#options.log({ vm: vm.id, node: this.#options.node, epoch, ...entry });
    const lead = standby && (await this.#leadOf(vm.id, epoch, standby, owned).catch(messageOf));
    const isKnown = typeof lead === 'object';
    if (isKnown) owned.lead = lead;
    if (isKnown && standby !== undefined && holdsLess(standby, this.#epochs.notedEpoch(owned))) {
      owned.standbyLost = true;
      said({
        event: 'standby-lost',
        reason: 'its standby here was made anew, and holds less than was relied on',
      });
    }
    if (isKnown && standby?.thread !== undefined && bringsAll(standby, owned)) {
      try {
        await this.#lead(vm, epoch, paused, { owned, thread: standby.thread, standby, lead });
        const { read, handed } = lead;
        const has = `it had ${String(handed.seed.length)} entries of the log that the store did not have`;
        const details = { readEntries: read, handedEntries: handed.seed.length };
        said({ event: 'standby-leads', reason: has, details });
        owned.lead = undefined;
        return true;
      } catch (error) {
        said({ event: 'standby-unused', reason: messageOf(error) });
      }
    } else if (standby !== undefined) said({ event: 'standby-unused', reason: whyUnused(lead, standby) });
    await standby?.thread?.end();
    await this.#epochs.readLog(owned);
    if (isKnown && !lead.handed.gap) owned.logged = replayWith(owned, lead);
    // The record says that only we have the rest.
    else if (lead !== 'stored' && this.#epochs.notedEpoch(owned) !== undefined && !owned.standbyLost) {
      owned.standbyLost = true;
      owned.lead = undefined;
      const what = isKnown
        ? 'does not follow what the store has, and its machine is gone'
        : 'is nothing any more';
      const reason = `what its standby here holds ${what}: what was seen of what only that had may be taken back`;
      said({ event: 'standby-lost', reason });
    }
    return false;
  }

  /** As `leadOf`; what the store can't give just now is waited for, while the VM is wanted here. */
  async #leadOf(vmId: string, epoch: number, standby: Standby, owned: Owned): ReturnType<typeof leadOf> {
    const { store, key } = this.#options;
    for (;;)
      try {
        return await leadOf(store, standby, owned, key);
      } catch (error) {
        if (!isOfMoment(error) || !this.#starting.has(epochName(vmId, epoch))) throw error;
        await pause(leadAgainMs);
      }
  }

  async #lead(
    vm: ProtectedVm,
    epoch: number,
    paused: boolean,
    { owned, standby, thread, lead }: { owned: Owned; standby: Standby; thread: GuestThread; lead: Lead },
  ): Promise<void> {
    const { store, key } = this.#options;
    const { ownership } = owned;
    const { tail, places, isFed, rest } = standby;
    const name = epochName(vm.id, epoch);
    // What it says until it leads, others may not have heard.
    thread.onOutputs = (outputs) => StandbyVm.hear(standby, outputs);
    const bases = baseNames(vm.spec.description);
    const writer = await CheckpointWriter.open(store, ownership, { pool: this.#pool, key, bases });
    if (!this.#starting.delete(name)) return thread.end();
    thread.lead({ since: lead.since, paused });
    this.#begin({
      ...{ vm, epoch, ownership, writer, thread, lazy: rest?.lazy, paused, tail },
      // It may have begun after the one on whose word outputs left: what that alone had, it has not.
      resumed: owned.standbyLost || !(isFed || isExact(ownership)) ? 'earlier' : 'exact',
      ...{ handed: lead.handed, places, resumedAt: lead.liveFrom },
      ...{ liveFrom: lead.liveFrom, nextInput: lead.nextInput },
    });
  }

  /** Nobody else has it: it comes into the log before the VM is given up. */
  async #publish(vm: ProtectedVm, epoch: number): Promise<void> {
    const { store, key, log, node } = this.#options;
    const owned = this.#epochs.owned(vm.id, epoch);
    if (owned?.lead === undefined) return;
    const limit = pause(publishMs, false, { ref: false });
    const isDone = await Promise.race([publish(store, owned, owned.lead, key).catch(() => false), limit]);
    // What is lost already stays noted: whoever is next has to say so.
    if (isDone) return owned.standbyLost ? undefined : this.#epochs.unnote(owned);
    log({
      event: 'standby-lost',
      vm: vm.id,
      node,
      epoch,
      reason: 'the store does not take what only it had',
    });
  }

  /** A prepared machine can go on from a later checkpoint, and not along a log behind it. */
  async #usable(prepared: ReadyVm | undefined, { ownership, logged }: Owned): Promise<ReadyVm | undefined> {
    const manifest = ownership.chain.at(-1);
    if (prepared === undefined || logged === undefined || manifest === undefined) return prepared;
    const { nextInput } = ownState(manifest.body.devices);
    const isBehind =
      logged.to > manifest.head.instructions ||
      logged.entries.some(({ input }) => input >= BigInt(nextInput));
    if (!isBehind) return prepared;
    await prepared.thread.end();
    return undefined;
  }

  /** A thread that was prepared goes on from there; else a new one has its guest built. */
  async #threadOf(
    vm: ProtectedVm,
    parts: { module: string; point: ResumePoint; paused: boolean; prepared: GuestThread | undefined },
  ): Promise<GuestThread> {
    const { module, point, paused, prepared } = parts;
    const { snapshot, behind } = point;
    const { description, health, outputs } = vm.spec;
    const keepLog = keepsLog(outputs);
    if (prepared !== undefined && snapshot !== undefined)
      return prepared.advance(snapshot, { paused, keepLog });
    if (prepared !== undefined) await prepared.end();
    const { store, key } = this.#options;
    return startThread({
      ...{ store, pool: this.#pool, key, spare: this.#spare, module, description, point, paused, keepLog },
      ...(replaysBehind(point) ? { replay: behind } : {}),
      watch: health?.watch,
      nic: vm.nic,
      onStall: this.#tellStall(vm.id),
    });
  }

  #tellStall(vmId: string): (event: StallEvent) => void {
    const { log, node } = this.#options;
    return (stall) => {
      log({ vm: vmId, node, ...stallEntry(stall) });
    };
  }

  /** Whether a guest is being made here that is to run. */
  get #isAwaited(): boolean {
    if (this.#starting.size > 0) return true;
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
    this.#starting.delete(epochName(vmId, epoch));
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
