/**
 * What a VM says, from its thread to those who listen: through the gate (output-gate.ts), by its policy, which may change while it runs.
 * It keeps the VM's input log where the policy asks for one, and knows for each checkpoint what that has to remember of it.
 *
 * Invariants:
 * - With any policy but `async`, whatever has left this node can be computed again from what is durable: the newest checkpoint and the log
 *   behind it.
 * - A log can only be replayed from a checkpoint that was cut while that log was being kept. So outputs may leave on the word of the log alone
 *   once such a checkpoint is durable; or at once, when this session itself went on from the end of a log that it replayed.
 * - Each checkpoint says whether anything left behind it that it does not lead to. A change to `async` therefore holds only once a checkpoint
 *   that says so is durable. The same goes for a VM with `async` that was handed over: its last checkpoint promised that nothing was lost, and
 *   whoever takes over would repeat that promise.
 */
import { decodeLog, decodeOutputs, outputKinds, StreamOrder, type StampedOutput } from '@revenant/emulator';
import {
  insist,
  type CheckpointKey,
  type LogPosition,
  type ObjectStore,
  type Ownership,
  type StallEvent,
} from '@revenant/storage';
import type { LogEntry as EventEntry } from '../decisions/types.ts';
import { keepsLog, type OutputPolicy } from '../protocol/spec.ts';
import { ConsoleTail, type TailState } from './console-tail.ts';
import type { Outputs } from './guest-thread.ts';
import type { InputPlaces } from './input-ledger.ts';
import { OutputGate } from './output-gate.ts';
import { SessionLog, type LogTap } from './session-log.ts';
import type { Handed } from './standby/handed.ts';
import { OwnerNote } from './standby/owner-note.ts';
import type { StandbyLink, StandbyLinkOptions } from './standby/standby-link.ts';
import type { LogFigures } from './vm-figures.ts';
import { monotonicMs } from './vm-runtime.ts';

/** What is known of the outputs at the instant at which a checkpoint is cut; part of it is stored with the checkpoint. */
export interface OutputCut {
  position: number;
  /** The log that was being kept when it was cut; undefined: none was. */
  log: SessionLog | undefined;
  /** Entries of the log with lower numbers are in the checkpoint's state already. */
  nextInput: bigint;
  /** No output left after it that could not be computed again: a log or a later checkpoint leads to each. */
  exact: boolean;
  tail: TailState | undefined;
  /** When it is durable, so is a change of the policy to `async`. */
  toAsync: boolean;
}

export interface SessionOutputsOptions {
  policy: OutputPolicy;
  store: ObjectStore;
  ownership: Ownership;
  key: CheckpointKey | undefined;
  /** Where the guest goes live. */
  from: bigint;
  nextInput: bigint;
  /** All outputs that ever left can be computed again from the state that it goes on from, and its log goes on from there. */
  exact: boolean;
  /** Where a standby has become the owner: entries of the log and outputs that the store may not have yet. */
  handed?: Handed | undefined;
  tail: TailState | undefined;
  letOut: (entry: StampedOutput) => void;
  /** An output has waited for so long. */
  waited?: (ms: number) => void;
  /** The guest is to stand still, or may go on. */
  hold: (held: boolean) => void;
  /** Tells the thread to keep its log from now on, or to stop; resolves to the instruction count at which that took effect. */
  keepLog: (on: boolean) => Promise<bigint | undefined>;
  onPlaces: (places: InputPlaces) => void;
  onStall: (event: StallEvent) => void;
  onOver: (error: unknown) => void;
  log: (entry: EventEntry) => void;
}

export type MakeStandbyLink = (
  begin: Pick<StandbyLinkOptions, 'note' | 'isReliedOn' | 'next' | 'mark'>,
) => StandbyLink;

/** The first position of a session that was a standby: outputs that its guest made earlier and that may not have reached anybody. */
const againPosition = 1;

export class SessionOutputs {
  readonly #options: SessionOutputsOptions;
  readonly #gate: OutputGate;
  #policy: OutputPolicy;
  #position = 0;
  readonly #order = new StreamOrder(outputKinds);
  #log: SessionLog | undefined;
  /** One that was switched off. */
  #closing: SessionLog | undefined;
  /** Outputs may leave as soon as the log has what led to them: see the second invariant. */
  #serves: boolean;
  #nextInput: bigint;
  /** The last segment of the history's log. */
  #previous: LogPosition | undefined;
  readonly #tail: ConsoleTail;
  readonly #note: OwnerNote;
  #standby: StandbyLink | undefined;
  /** Of whoever is to follow it, as soon as a log is kept. */
  #makeStandby: MakeStandbyLink | undefined;
  #holds = false;
  /** How many outputs came when, of those that have not left. */
  readonly #said: { count: number; atMs: number }[] = [];
  #changing: Promise<void> = Promise.resolve();
  #over = false;

  constructor(options: SessionOutputsOptions) {
    const { policy, ownership, exact, nextInput, tail, from } = options;
    this.#options = options;
    this.#policy = policy;
    this.#gate = new OutputGate(policy === 'async' && exact ? 'checkpoint' : policy);
    this.#nextInput = nextInput;
    // A machine that was switched on anew counts from 0: no log leads to it.
    this.#previous = from === 0n ? undefined : ownership.log?.last;
    this.#serves = exact && options.handed?.gap !== true;
    const { store, handed, log } = options;
    this.#note = new OwnerNote({ store, ownership, log, left: handed === undefined ? 0 : againPosition });
    this.#tail = new ConsoleTail(tail, monotonicMs());
    if (keepsLog(policy)) this.#log = this.#openLog(from);
    if (options.handed !== undefined) this.#sayAgain(options.handed.again);
  }

  /** These outputs are let out again only when the store has all of the log that led to them: the standby that held it is the owner now. */
  #sayAgain(again: readonly StampedOutput[]): void {
    const position = (this.#position = againPosition);
    for (const entry of again) this.#tail.said(entry);
    this.#pass(this.#gate.said(position, again));
    this.#log?.heard({ log: [], upTo: this.#options.from, position, waits: true });
  }

  /** What the VM's owner wants. */
  get policy(): OutputPolicy {
    return this.#policy;
  }

  /** Why its guest stands still, in words; undefined when it does not. */
  get trouble(): string | undefined {
    if (!this.#holds) return undefined;
    return this.#log?.isFull === true
      ? 'its input log waits for the store'
      : 'what it said waits until it is durable';
  }

  get figures(): LogFigures {
    const status = this.#log?.status;
    return {
      heldOutputBytes: this.#gate.heldBytes,
      logBytes: status?.storedBytes ?? 0,
      logSegments: status?.segments ?? 0,
      logWaitingBytes: status?.waitingBytes ?? 0,
    };
  }

  #openLog(from: bigint): SessionLog {
    const { store, ownership, key, onPlaces, onStall, onOver } = this.#options;
    const { handed } = this.#log === undefined && this.#position === 0 ? this.#options : {};
    const begun =
      handed === undefined
        ? { from, nextInput: this.#nextInput }
        : { from: handed.logTo, nextInput: handed.nextInput, seed: handed.seed, liveFrom: from };
    const log: SessionLog = new SessionLog({
      ...{ store, ownership, key, ...begun, previous: this.#previous, tap: this.#tap() },
      ...{ onPlaces, onStall, onOver },
      onDurable: (position) => {
        this.#standby?.passed(position);
        if (!this.#serves || log !== this.#log) return;
        this.#note.stored(position);
        this.#pass(this.#gate.durableUpTo(position));
      },
      onRoom: () => this.#balance(),
    });
    return log;
  }

  #tap(): LogTap {
    return {
      sealed: (number, entry) => this.#standby?.sealed(number, entry),
      needs: (need) => this.#standby?.needs(need),
      safe: (next) => this.#standby?.safe(next),
      isEnough: () => this.#policy === 'standby' && this.#serves && this.#standby?.isInSync === true,
    };
  }

  /** Who follows it just now. */
  get standby(): StandbyLink | undefined {
    return this.#standby;
  }

  /** Who follows it from now on; where no log is kept yet, from its first entry on. */
  follow(make: MakeStandbyLink): void {
    this.followedByNone();
    this.#makeStandby = make;
    this.#link();
  }

  #link(): void {
    if (this.#makeStandby === undefined || this.#log === undefined || this.#over) return;
    this.#log.flush();
    this.#standby = this.#makeStandby({
      note: this.#note,
      isReliedOn: () => this.#policy === 'standby',
      next: Number(this.#log.nextInput),
      mark: this.#log.mark,
    });
  }

  /** A checkpoint has all that was said, and the guest stands still. Resolves when nothing rests on a standby, and the owner record says so. */
  async allDurable(): Promise<void> {
    this.followedByNone();
    await this.#note.settled();
  }

  /** Nobody follows it any more. */
  followedByNone(): void {
    this.#makeStandby = undefined;
    this.#unlink();
  }

  #unlink(): void {
    this.#standby?.close();
    this.#standby = undefined;
    this.#note.want(undefined);
  }

  /** Whether somebody else has all that led to what left, so that nobody waits for the store to have it. */
  get isFollowed(): boolean {
    return this.#standby?.isInSync === true;
  }

  /** Its guest is gone: what is known of its life shall be in the store before another goes on. */
  async leave(): Promise<void> {
    if (this.#over || this.#log === undefined || this.isFollowed) return;
    await this.#log.close();
    await this.allDurable();
  }

  /** A standby holds what leads to this position, and nobody else may take the VM over. */
  standbyHolds(position: number | undefined, places: InputPlaces): void {
    if (this.#over || this.#policy !== 'standby' || !this.#serves) return;
    if (Object.keys(places).length > 0) this.#options.onPlaces(places);
    if (position !== undefined) this.#pass(this.#gate.durableUpTo(position));
  }

  /** The guest took bytes of a console's session. */
  typed(session: string | undefined, at: number): void {
    this.#log?.typed(session, at);
  }

  /** The log first: an output leaves no sooner than what led to it is known. */
  heard({ outputs, log, upTo = 0n }: Outputs): void {
    if (this.#over || (outputs === undefined && log === undefined)) return;
    const position = ++this.#position;
    const entries = outputs === undefined ? [] : decodeOutputs(outputs);
    if (entries.length > 0) this.#said.push({ count: entries.length, atMs: monotonicMs() });
    for (const entry of entries) {
      const { output, number } = entry;
      insist(
        this.#order.goesOn(output, number),
        `${output.kind} ${String(number)} is not the next of its stream`,
      );
      this.#tail.said(entry);
    }
    this.#pass(this.#gate.said(position, entries));
    const waits = entries.length > 0;
    this.#log?.heard({ log: log === undefined ? [] : decodeLog(log), upTo, position, waits });
  }

  #pass(leave: readonly StampedOutput[]): void {
    const now = monotonicMs();
    for (const entry of leave) {
      this.#waited(now);
      this.#tail.left(entry, now);
      this.#standby?.leftBefore(entry.instructions);
      this.#options.letOut(entry);
    }
    this.#balance();
  }

  /** The oldest output leaves: for how long it waited. */
  #waited(now: number): void {
    const [oldest] = this.#said;
    if (oldest === undefined) return;
    this.#options.waited?.(now - oldest.atMs);
    if (--oldest.count === 0) this.#said.shift();
  }

  #balance(): void {
    const holds = !this.#over && (this.#gate.isFull || this.#log?.isFull === true);
    if (holds === this.#holds) return;
    this.#holds = holds;
    this.#options.hold(holds);
  }

  /** To be called at the very moment at which the thread's snapshot came. @param last the guest stands still from now on */
  cut(last: boolean): OutputCut {
    this.#log?.flush();
    const exact = last || (this.#policy !== 'async' && this.#gate.policy !== 'async');
    return {
      position: this.#position,
      log: this.#log,
      nextInput: this.#log?.nextInput ?? this.#nextInput,
      exact,
      tail: exact ? this.#tail.state(monotonicMs()) : undefined,
      toAsync: this.#policy === 'async',
    };
  }

  /** A checkpoint is durable. */
  durable({ position, log, toAsync }: OutputCut): void {
    if (log !== undefined && log === this.#log) this.#serves = true;
    this.#note.stored(position);
    this.#pass(this.#gate.durableUpTo(position));
    if (toAsync && this.#policy === 'async') this.#pass(this.#gate.setPolicy('async'));
  }

  /** Another policy, from now on. One change after the other. */
  change(policy: OutputPolicy): Promise<void> {
    this.#changing = this.#changing.then(() => this.#change(policy));
    return this.#changing;
  }

  async #change(policy: OutputPolicy): Promise<void> {
    if (this.#over || policy === this.#policy) return;
    this.#policy = policy;
    // To `async` it changes with the next checkpoint.
    if (policy !== 'async') this.#pass(this.#gate.setPolicy(policy));
    if (keepsLog(policy) === (this.#log !== undefined)) return;
    const from = await this.#options.keepLog(keepsLog(policy));
    if (from === undefined || this.#over) return;
    if (this.#log === undefined) {
      this.#serves = false;
      this.#log = this.#openLog(from);
      return this.#link();
    }
    // Who follows it can't without a log.
    this.#unlink();
    // What comes in from now on it does not have, so no output counts on it any more; what it has shall become durable.
    const log = this.#log;
    log.flush();
    // A number that no entry has: who followed this log sees that it lacks something of the next one.
    this.#nextInput = log.nextInput + 1n;
    this.#log = undefined;
    this.#closing = log;
    this.#balance();
    await log.close();
    this.#previous = log.position;
  }

  /** The guest is gone: outputs that are not durable yet are dropped. */
  end(): void {
    this.#over = true;
    this.#standby?.close();
    this.#note.end();
    this.#log?.abandon();
    this.#closing?.abandon();
  }
}
