/**
 * One VM on this node, from the moment that its thread is there until it has ended: what it is given, what it says, what is made durable
 * of it, and how it leaves. Its state says where it is in that life.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { InputResult, MachineInput, StampedOutput, TextScreen } from '@revenant/emulator';
import { isStorageError, type CheckpointWriter, type Ownership } from '@revenant/storage';
import { lookedAt, noSilence, whyHung } from '../decisions/health.ts';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry, StopKind, StopMode, VmMark } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import type { NodeSession } from '../protocol/records.ts';
import type { OutputPolicy } from '../protocol/spec.ts';
import type { StandbyAck } from '../protocol/standby.ts';
import { consoleBytes, type TailState } from './console-tail.ts';
import { hasDisks } from './disks.ts';
import { FrameFeed } from './frame-feed.ts';
import type { GuestThread, Outputs } from './guest-thread.ts';
import { agentPort, isTyped, type TypedPlaces } from './input-ledger.ts';
import type { LazyRam } from './lazy-ram.ts';
import { nextReset, noReset } from './resets.ts';
import { readBlobs, type Resumed } from './resume.ts';
import { SessionCheckpoints } from './session-checkpoints.ts';
import { SessionDebugger, type AttachedDebugger, type DebuggerCaller } from './session-debugger.ts';
import { SessionOutputs } from './session-outputs.ts';
import { SessionLife, type SessionState } from './session-state.ts';
import type { Handed } from './standby/handed.ts';
import { StandbyLink } from './standby/standby-link.ts';
import { logStallEntry, type VmFigures } from './vm-figures.ts';
import type { VmHostOptions } from './vm-host.ts';
import { monotonicMs, type GuestNews, type Look } from './vm-runtime.ts';

/** For so long a VM whose guest is gone waits for the store to have what is known of its life. */
const leaveMs = 10_000;
/** Between tries to make a guest's last state durable. */
const lastWritePauseMs = 200;

export interface SessionParts {
  vm: ProtectedVm;
  epoch: number;
  ownership: Ownership;
  writer: CheckpointWriter;
  thread: GuestThread;
  /** Brings pages that the resume point left out. */
  lazy: LazyRam | undefined;
  /** The instruction count that it goes on from; undefined: a cold start. */
  resumedAt: bigint | undefined;
  /** How its output goes on, and the end of what it wrote on its console before. */
  resumed: Resumed;
  tail: TailState | undefined;
  /** The count at which it goes live, and the first entry of its log from there on. */
  liveFrom: bigint;
  nextInput: bigint;
  /** Of one that was a standby: what only it has. */
  handed?: Handed | undefined;
  paused: boolean;
  host: VmHostOptions;
  /** Until when guests of this node may run. */
  until: () => number;
  onEnd: (session: VmSession) => void;
}

/** What the guest's kernel says of its end (the device `pvpanic`). */
const panicWords = {
  panicked: "the guest's kernel panicked",
  crashLoaded: "the guest's kernel panicked, and its crash kernel takes over",
} as const;

export class VmSession {
  readonly vm: ProtectedVm;
  readonly epoch: number;
  readonly #parts: SessionParts;
  readonly #thread: GuestThread;
  readonly #checkpoints: SessionCheckpoints;
  readonly #outputs: SessionOutputs;
  readonly #debugger: SessionDebugger;
  readonly #life: SessionLife;
  #lazy: LazyRam | undefined;
  /** Its remaining pages are on their way. */
  #bringing = false;
  #paused: boolean;
  #aliveAt = monotonicMs();
  #silence = noSilence(monotonicMs());
  #reset = noReset;
  /** From its reset until it is told to boot. */
  #resetting = false;
  /** Its guest is gone, and what is known of its life is made durable. */
  #leaving = false;
  /** Why its guest is to stand still. */
  readonly #holds = new Set<'outputs' | 'quota'>();

  constructor(parts: SessionParts) {
    const { vm, epoch, thread, lazy, paused, resumedAt } = parts;
    this.vm = vm;
    this.epoch = epoch;
    this.#parts = parts;
    this.#thread = thread;
    this.#lazy = lazy;
    this.#paused = paused;
    this.#life = new SessionLife(resumedAt === undefined ? 'starting' : 'resuming');
    this.#outputs = this.#makeOutputs(parts);
    this.#debugger = new SessionDebugger(thread, {
      log: (entry) => this.#log(entry),
      attached: (on) => this.#mark('debugged', on),
    });
    this.#checkpoints = new SessionCheckpoints({
      ...parts,
      outputs: this.#outputs,
      isOver: () => this.over,
      onFenced: (reason) => this.#ended('fenced', reason),
      onQuota: (isFull) => this.#quotaChanged(isFull),
      standby: () => this.#outputs.standby,
    });
    thread.lease[0] = parts.until();
    thread.onOutputs = (outputs) => this.#heard(outputs);
    thread.onFailed = (reason) => this.#ended('failed', reason);
    thread.started.then(
      () => this.#started(),
      (error: unknown) => this.#ended('failed', messageOf(error)),
    );
  }

  #makeOutputs({ vm, ownership, thread, host, ...parts }: SessionParts): SessionOutputs {
    return new SessionOutputs({
      policy: vm.spec.outputs,
      ...{ store: host.store, key: host.key, ownership },
      ...{ from: parts.liveFrom, nextInput: parts.nextInput, tail: parts.tail },
      exact: parts.resumed === 'exact',
      handed: parts.handed,
      letOut: (entry) => this.#letOut(entry),
      hold: (held) => this.#hold('outputs', held),
      keepLog: async (on) => (await thread.ask('keepLog', { on }).catch(() => undefined))?.instructions,
      waited: (ms) => host.measures?.waited(ms),
      onPlaces: (places) => host.inputs?.durable(vm.id, this.epoch, places),
      onStall: (event) => this.#log(logStallEntry(event)),
      onOver: (error) => this.#ended(isStorageError(error, 'FENCED') ? 'fenced' : 'failed', messageOf(error)),
      log: (entry) => this.#log(entry),
    });
  }

  get state(): SessionState {
    return this.#life.state;
  }
  get over(): boolean {
    return this.#life.state === 'ended';
  }
  /** Its guest is there, and nobody has told it to leave. */
  get #settled(): boolean {
    return this.#life.state === 'running';
  }

  figures(now: number): VmFigures {
    const standby = this.#outputs.standby?.figures;
    return {
      ...this.#checkpoints.figuresAt(now),
      outputs: this.#outputs.figures,
      standby,
      memoryBytes: this.vm.spec.memoryMiB * 2 ** 20,
      busyMs: this.#thread.busyMs,
    };
  }

  /** Who follows it from now on: nobody, or a session of another node. */
  setStandby(to: NodeSession | undefined): void {
    const { host } = this.#parts;
    const { send } = host;
    if (to === undefined || send === undefined) return this.#outputs.followedByNone();
    this.#outputs.follow(
      (begin) =>
        new StandbyLink({
          ...{ vmId: this.vm.id, epoch: this.epoch, to, ...begin, send },
          log: (entry) => this.#log(entry),
          failed: (error) => this.failed(error),
          onHeld: (position, places) => this.#outputs.standbyHolds(position, places),
          onCondition: (condition) =>
            host.tell({ type: 'standby', vmId: this.vm.id, epoch: this.epoch, condition }),
        }),
    );
  }

  /** Its standby says how far it is. */
  standbyHeard(from: string, ack: StandbyAck): void {
    if (!this.over) this.#outputs.standby?.heard(from, ack);
  }

  /** How much it may hold in the store from now on; undefined: no limit. */
  setQuota(bytes: number | undefined): void {
    this.#checkpoints.quota.setQuota(bytes);
  }

  #quotaChanged(isFull: boolean): void {
    if (this.over) return;
    this.#hold('quota', isFull);
    const { usedBytes, quotaBytes = 0 } = this.#checkpoints.quota;
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const holds = `it holds ${mib(usedBytes)} in the store`;
    this.#log({
      event: isFull ? 'store-quota-reached' : 'store-quota-free',
      reason: isFull ? `${holds} and may hold ${mib(quotaBytes)}: its guest stands still` : holds,
      details: { usedBytes, quotaBytes },
    });
    this.#mark('storeFull', isFull);
  }

  #mark(mark: VmMark, on: boolean): void {
    this.#parts.host.tell({ type: 'marked', vmId: this.vm.id, epoch: this.epoch, mark, on });
  }

  /** The guest stands still while there is any reason for it. */
  #hold(why: 'outputs' | 'quota', on: boolean): void {
    const before = this.#holds.size > 0;
    if (on) this.#holds.add(why);
    else this.#holds.delete(why);
    const held = this.#holds.size > 0;
    if (held !== before) this.#thread.ask('hold', { held }).catch(() => undefined);
  }

  /** From now on its outputs leave by another policy. */
  setOutputs(policy: OutputPolicy): void {
    void this.#outputs.change(policy);
  }

  // --- in ---

  /** Why what is typed at it can't be taken, in words; undefined when it can. */
  get inputTrouble(): string | undefined {
    if (!this.#settled) return `${this.vm.id} is ${this.#life.state}`;
    const trouble = this.#checkpoints.quota.isFull ? 'its store quota is used up' : this.#outputs.trouble;
    return trouble && `${this.vm.id} stands still: ${trouble}`;
  }

  /**
   * What became of each input. Undefined when the VM has ended. `typed`: of which session they are. Nothing is taken behind one for which there
   * is no room.
   */
  async input(inputs: readonly MachineInput[], typed?: TypedPlaces): Promise<InputResult[] | undefined> {
    if (this.over) return undefined;
    const results = await this.#thread.input(inputs).catch(() => undefined);
    // In the order in which they will come back in its log.
    results?.forEach((result, i) => {
      const input = inputs[i];
      if (input !== undefined && isTyped(input) && result === 'taken')
        this.#outputs.typed(typed?.session, typed?.places[i] ?? 0);
    });
    return results;
  }

  /** Its text screen; undefined when it has none, or has ended. */
  async screen(): Promise<TextScreen | undefined> {
    return this.#thread.ask('screen', {}).catch(() => undefined);
  }

  /** A checkpoint now. False when it could not be written, or the VM has ended. */
  async makeDurable(): Promise<boolean> {
    return !this.over && (await this.#checkpoints.checkpoint(false));
  }

  /** What its screen shows, or what of it changed since the last look; undefined when it has ended. */
  async look(fresh: boolean): Promise<Look | undefined> {
    return this.#thread.ask('look', { fresh }).catch(() => undefined);
  }

  /** A debugger comes to its guest. Throws ClusterError `CONFLICT`. */
  async debug(caller: DebuggerCaller): Promise<AttachedDebugger> {
    if (!this.#settled) throw new ClusterError('CONFLICT', `${this.vm.id} is ${this.#life.state}`);
    return this.#debugger.attach(caller);
  }

  setLease(until: number): void {
    if (!this.over) this.#thread.lease[0] = until;
  }

  setPaused(paused: boolean): void {
    this.#paused = paused;
    this.#thread.ask('pause', { paused }).catch(() => undefined);
  }

  // --- out ---

  #log(entry: LogEntry): void {
    this.#parts.host.log({ vm: this.vm.id, node: this.#parts.host.node, ...entry });
  }

  #heard(heard: Outputs): void {
    if (this.over) return;
    this.#aliveAt = monotonicMs();
    this.#outputs.heard(heard);
    if (heard.news !== undefined) this.#news(heard.news);
  }

  #letOut(entry: StampedOutput): void {
    const { output, instructions } = entry;
    const { host } = this.#parts;
    if (output.kind === 'frame') {
      host.measures?.frame(this.vm.id, 'out', output.bytes.length);
      return host.network?.sent(this.vm.id, this.epoch, output.bytes, instructions);
    }
    if (output.kind === 'panic') {
      this.#log({ event: 'guest-panicked', reason: panicWords[output.event] });
      this.#checkpoints.tellBefore({ instructions });
    }
    if (output.kind === 'console' && output.port === agentPort)
      return host.agentSaid?.(this.vm.id, this.epoch, output.bytes);
    // Nobody listens to the other ports yet.
    const bytes = consoleBytes(entry);
    if (bytes !== undefined) host.output(this.vm.id, this.epoch, { at: entry.number, bytes });
  }

  #news(news: GuestNews): void {
    switch (news.kind) {
      case 'first-slice':
        // Not before: what the guest asks for comes first.
        this.#bringRest();
        return this.#log({
          event: 'vm-executes',
          reason: `first instructions under epoch ${String(this.epoch)}`,
        });
      case 'progress':
        this.#checkpoints.figures.instructions = news.instructions;
        this.#checkpoints.figures.diskRequests = news.diskRequests;
        return this.#look(news.sign);
      case 'cut':
        return;
      case 'debugger':
        return this.#debugger.heard(news);
      case 'reset':
        return void this.#bootAgain();
      case 'ended':
        return void this.#lastWords(news);
    }
  }

  #started(): void {
    if (this.over) return;
    this.#aliveAt = monotonicMs();
    if (this.#life.state === 'starting' || this.#life.state === 'resuming') this.#life.enter('running');
    this.setLease(this.#parts.until());
    if (this.#lazy === undefined) this.#checkpoints.housekeeping.resident();
    else if (this.#paused) this.#bringRest();
    this.#joinNetwork();
    this.#parts.host.tell({ type: 'started', vmId: this.vm.id, epoch: this.epoch });
  }

  /** From now on frames come here, and whoever was ahead of the guest is told. */
  #joinNetwork(): void {
    const { host, liveFrom } = this.#parts;
    const feed = new FrameFeed(
      (inputs) => this.input(inputs),
      (error) => this.failed(error),
    );
    host.network?.arrived({
      vm: this.vm,
      epoch: this.epoch,
      resumedAt: liveFrom,
      deliver: (frame) => {
        if (this.over) return;
        host.measures?.frame(this.vm.id, 'in', frame.length);
        feed.put(frame);
      },
    });
  }

  // --- pages that come late ---

  /** After a lazy resume, once: the pages that nobody asked for. */
  #bringRest(): void {
    if (this.#lazy === undefined || this.#bringing) return;
    this.#bringing = true;
    void this.#bring(this.#lazy);
  }

  async #bring(lazy: LazyRam): Promise<void> {
    const { store, key } = this.#parts.host;
    const began = monotonicMs();
    try {
      const whole = await lazy.runBackground(async (pages) => {
        const answer = await this.#thread.ask('deliver', pages).catch(() => undefined);
        if (answer !== undefined) lazy.touched(answer.touched);
      });
      if (!whole || this.over) return;
      this.#checkpoints.housekeeping.resident();
      this.#log({
        event: 'vm-resident',
        reason: `its last ${String(lazy.absent.length)} pages of memory are in`,
        tookMs: Math.round(monotonicMs() - began),
      });
    } catch (error) {
      this.#ended('failed', messageOf(error));
    } finally {
      await lazy.finish(store, this.vm.id, key);
      // With the pages that it started from.
      this.#lazy = undefined;
    }
  }

  // --- health ---

  /** To be called often: checkpoints that are due, signs of life, housekeeping. */
  /** @returns whether it began a checkpoint, as it may when `mayWrite` */
  tick(now: number, mayWrite: boolean): boolean {
    const { settings } = this.#parts.host;
    const mayRun = now < this.#parts.until();
    // A frozen or suspended node says nothing about its guests, and a guest that waits for a page lives.
    if (!mayRun || this.#thread.pages?.waiting === true) this.#aliveAt = Math.max(this.#aliveAt, now);
    const isThere = this.#life.state !== 'starting' && this.#life.state !== 'resuming';
    // Who is still being made on a busy host does not hang.
    const allowedMs = isThere
      ? settings.guestHungMs
      : Math.max(settings.guestHungMs, settings.startTimeoutMs);
    if (now - this.#aliveAt > allowedMs) {
      this.#ended('failed', `hung: no sign of life for ${String(allowedMs)} ms`);
      return false;
    }
    const began = this.#settled && mayRun && mayWrite && this.#checkpoints.takeIfDue(now);
    this.#look();
    this.#checkpoints.tellPace(now, isThere && mayRun);
    return began;
  }

  /** When its last checkpoint became durable; 0: none yet. */
  get checkpointedAt(): number {
    return this.#checkpoints.figures.lastCheckpointAt;
  }

  /** True while a checkpoint is under way that was begun after `since`. */
  isWriting(since: number): boolean {
    return this.#checkpoints.isWriting(since);
  }

  /** Looks for signs of life of the guest, `sign` being what its thread reported just now. */
  #look(sign?: string): void {
    const { health } = this.vm.spec;
    if (
      health === undefined ||
      this.#life.state === 'ending' ||
      this.#life.state === 'handing-over' ||
      this.over
    )
      return;
    const nowMs = monotonicMs();
    const waits = this.#thread.pages?.waiting === true || this.#holds.size > 0;
    const held = this.#paused || this.#resetting || waits || this.#debugger.stopped;
    const mayRun = this.#settled && !held && nowMs < this.#parts.until();
    this.#silence = lookedAt(this.#silence, { nowMs, sign, mayRun });
    this.#checkpoints.figures.silentMs = nowMs - this.#silence.sinceMs;
    const why = whyHung(health, this.#silence, nowMs);
    if (why !== undefined) void this.#hung(why);
  }

  /** A guest that hangs is ended; what it wrote to its disks before is made durable. */
  async #hung(reason: string): Promise<void> {
    this.#life.enter('ending');
    this.#checkpoints.tellBefore({ atMs: this.#silence.sinceMs });
    if (hasDisks(this.vm.spec.description)) await this.#lastCheckpoint();
    this.#ended('hung', reason);
  }

  /** A guest that reset its machine starts from its kernel again; its store of images may take a while, and one that does it again and again waits. */
  async #bootAgain(): Promise<void> {
    this.#reset = nextReset(this.#reset, monotonicMs());
    this.#resetting = true;
    const { pauseMs } = this.#reset;
    this.#log({ event: 'vm-reset', reason: pauseMs > 0 ? 'by the guest, again' : 'by the guest' });
    this.#checkpoints.tellBefore({});
    try {
      await pause(pauseMs, undefined, { ref: false });
      const { description } = this.vm.spec;
      const blobs = await readBlobs(this.#parts.host.store, description);
      this.#thread.ask('boot', { description, blobs }).catch(() => undefined);
      this.#resetting = false;
      this.#silence = noSilence(monotonicMs());
    } catch (error) {
      this.#ended('failed', `did not start again: ${messageOf(error)}`);
    }
  }

  // --- the end ---

  /** Whether its last state is to be made durable: for its disks, or for what it said and nobody heard yet. */
  get #mustLast(): boolean {
    return hasDisks(this.vm.spec.description) || this.#outputs.policy !== 'async';
  }

  /** A guest that switched itself off, or halted for good: what it wrote to its disks before is made durable, and what it said heard. */
  async #lastWords({
    reason,
    message,
    status,
    snapshot,
  }: Extract<GuestNews, { kind: 'ended' }>): Promise<void> {
    if (reason === 'hung') this.#checkpoints.tellBefore({});
    if (snapshot !== undefined && this.#mustLast) {
      this.#life.enter('ending');
      this.#aliveAt = Infinity; // it has said its last
      const cut = this.#outputs.cut(true);
      await this.#checkpoints.writeLast({ snapshot, pauseMs: 0, places: {}, cut });
    }
    this.#ended(reason, message, status);
  }

  /** Once more, with the guest stopped; given up when its thread does not answer. */
  async #lastCheckpoint(): Promise<void> {
    const limit = pause(this.#parts.host.settings.guestHungMs, undefined, { ref: false });
    const taken = await Promise.race([this.#checkpoints.take(true), limit]);
    if (taken !== undefined) await this.#checkpoints.writeLast(taken);
  }

  #ended(kind: Exclude<StopKind, 'asked'>, reason: string, status?: number): void {
    if (this.over || this.#leaving) return;
    this.#leaving = true;
    const how = { kind, reason, ...(status === undefined ? {} : { status }) };
    if (kind === 'fenced') return this.#gone(how);
    this.#life.enter('ending');
    this.#aliveAt = Infinity; // it has said its last
    const limit = pause(leaveMs, undefined, { ref: false });
    void Promise.race([this.#outputs.leave(), limit]).then(() => {
      if (!this.over) this.#gone(how);
    });
  }

  /** Something went wrong beside it that is its own. */
  failed(error: unknown): void {
    this.#ended('failed', messageOf(error));
  }

  #gone(how: { kind: StopKind; reason: string; status?: number }): void {
    void this.end();
    this.#parts.host.tell({ type: 'stopped', vmId: this.vm.id, epoch: this.epoch, ...how });
  }

  /** Ends it at once. */
  async end(): Promise<void> {
    this.#life.enter('ended');
    this.#lazy?.stop();
    this.#debugger.end(`${this.vm.id} has left this node, or ended`);
    this.#outputs.end();
    this.#parts.onEnd(this);
    await this.#thread.end();
  }

  /** Ends it as it was asked to. False: it was told to stop in another way meanwhile. */
  async stop(mode: StopMode): Promise<boolean> {
    // The plug is pulled, and what the guest wrote until then is on its disks.
    if (mode === 'power-off' && this.#mustLast && !this.over) {
      this.#life.enter('ending');
      await this.#lastCheckpoint();
      await this.#outputs.allDurable();
      if (this.over) return false;
    }
    await this.end();
    return true;
  }

  /** A live move: what can be copied is copied while the guest runs, the rest in one short stop. False: it ended otherwise. */
  async handOver(): Promise<boolean> {
    if (this.over) return false;
    this.#life.enter('handing-over');
    await this.#checkpoints.checkpoint(false);
    const before = monotonicMs();
    // Until it is durable nobody else may have it; should it never be, the fence ends this loop.
    while (!this.over && !(await this.#checkpoints.checkpoint(true))) await pause(lastWritePauseMs);
    if (this.over) return false;
    await this.#outputs.allDurable();
    // The guest has stopped; its thread may take its time to end.
    void this.end();
    this.#log({
      event: 'vm-suspended',
      reason: 'its last checkpoint is durable',
      tookMs: Math.round(monotonicMs() - before),
    });
    return true;
  }
}
