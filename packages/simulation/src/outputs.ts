/**
 * What a simulated VM says, from its guest to those who listen: through the real gate, by its policy, with the real bookkeeping of standbys (feed,
 * reliance) around a simulated store and network; the order of things is that of cluster/src/vm/session-outputs.ts and session-log.ts.
 */
import type { OutputPolicy } from '@revenant/cluster';
import type { NodeSession, StandbyNote } from '../../cluster/src/protocol/records.ts';
import type { StandbyAck } from '../../cluster/src/protocol/standby.ts';
import { OutputGate } from '../../cluster/src/vm/output-gate.ts';
import { Feed } from '../../cluster/src/vm/standby/feed.ts';
import type { Handed } from '../../cluster/src/vm/standby/handed.ts';
import { Reliance } from '../../cluster/src/vm/standby/reliance.ts';
import type { Owner, SimNode } from './node.ts';
import { entryOf, type Input, type Life, type StampedOutput } from './life.ts';
import { SimLog, type Durable, type Entry, type Segment } from './input-log.ts';

/** As in the cluster: for so long more gathers for the store when a standby has it, and a standby may lag until outputs stop resting on it. */
const lingerMs = 250;
const lookMs = 100;
const lagsMs = 1000;
const noteAgainMs = 1000;
const leaveMs = 10_000;

export interface SimOutputsOptions {
  node: SimNode;
  vmId: string;
  epoch: number;
  boot: number;
  policy: OutputPolicy;
  life: Life;
  /** It goes on from a state that everything let out before follows from. */
  exact: boolean;
  /** What the owner record said of a standby when it was taken over. */
  found: StandbyNote | undefined;
  previous: Segment | undefined;
  handed: Handed | undefined;
  onFenced: () => void;
}

export interface Cut {
  position: number;
  nextInput: number;
  exact: boolean;
}

export class SimOutputs {
  readonly #options: SimOutputsOptions;
  readonly #gate: OutputGate;
  readonly #reliance: Reliance;
  readonly #log: SimLog | undefined;
  #position = 0;
  #serves: boolean;
  /** Entries that the log's writer does not have yet. */
  #pending: Entry[];
  #mark: bigint;
  readonly #needs: { position: number; count: bigint; input: bigint }[] = [];
  #lingers = false;
  #feed: Feed | undefined;
  #to: NodeSession | undefined;
  #inSyncAt = -Infinity;
  #driving = false;
  #over = false;

  constructor(options: SimOutputsOptions) {
    const { node, vmId, epoch, policy, life, handed, previous } = options;
    this.#options = options;
    this.#gate = new OutputGate(policy);
    this.#reliance = new Reliance({ epoch, found: options.found, left: handed === undefined ? 0 : 1 });
    this.#serves = options.exact && handed?.gap !== true;
    this.#mark = BigInt(life.count);
    this.#pending = [...(handed?.seed ?? [])];
    if (policy === 'log' || policy === 'standby')
      this.#log = new SimLog({
        ...{ node, vmId, epoch, previous },
        from: handed?.logTo ?? this.#mark,
        nextInput: handed?.nextInput ?? BigInt(life.nextInput),
        tell: { durable: (durable) => this.#logged(durable), fenced: options.onFenced },
      });
    if (handed !== undefined) this.#heard([], handed.again);
  }

  /** The guest was given inputs, did a step, and said something. */
  heard(inputs: readonly Input[], said: readonly StampedOutput[]): void {
    const { life } = this.#options;
    const entries = inputs.map(entryOf);
    entries.forEach((entry, i) => {
      this.#feed?.sealed(life.nextInput - inputs.length + i, entry);
    });
    this.#mark = BigInt(life.count);
    this.#heard(entries, said);
  }

  #heard(entries: readonly Entry[], said: readonly StampedOutput[]): void {
    if (this.#over) return;
    const position = ++this.#position;
    this.#pass(this.#gate.said(position, said));
    if (this.#log === undefined) return;
    this.#pending.push(...entries);
    const { node, life } = this.#options;
    this.#needs.push({ position, count: this.#mark, input: BigInt(life.nextInput) - 1n });
    this.#feed?.needs({ position, mark: this.#mark, places: {} }, node.clock);
    this.#send(false);
    if (!this.#isEnough) return this.#store();
    if (this.#lingers) return;
    this.#lingers = true;
    node.world.scheduler.after(
      lingerMs,
      node.bound(() => this.#store()),
    );
  }

  /** A standby has it: the store may get more at once. */
  get #isEnough(): boolean {
    return this.#options.policy === 'standby' && this.#serves && this.isFollowed;
  }

  /** Somebody else has all that led to what left. */
  get isFollowed(): boolean {
    const { node } = this.#options;
    if (this.#to === undefined || this.#feed === undefined) return false;
    return this.#reliance.restsOn(this.#to) && this.#feed.condition(node.clock) === 'in-sync';
  }

  #store(): void {
    this.#lingers = false;
    if (!this.#over) this.#log?.append(this.#pending.splice(0), this.#mark);
  }

  #logged({ to, next }: Durable): void {
    this.#feed?.safe(Number(next));
    let reached: number | undefined;
    for (
      let need = this.#needs[0];
      need !== undefined && need.count <= to && need.input < next;
      need = this.#needs[0]
    )
      reached = this.#needs.shift()!.position;
    if (reached === undefined) return;
    this.#feed?.passed(reached);
    if (this.#serves) this.#stored(reached);
  }

  #stored(position: number): void {
    this.#reliance.stored(position);
    this.#pass(this.#gate.durableUpTo(position));
    this.#drive();
  }

  #pass(leave: readonly StampedOutput[]): void {
    const { node, vmId, boot, policy, epoch } = this.#options;
    for (const entry of leave) {
      this.#feed?.leftBefore(entry.instructions);
      if (node.world.looksAtOutputs) node.world.checker.letOut({ vmId, boot, policy, epoch }, entry);
    }
  }

  cut(last: boolean): Cut {
    const { life, policy } = this.#options;
    return { position: this.#position, nextInput: life.nextInput, exact: last || policy !== 'async' };
  }

  /** A checkpoint is durable. */
  durable({ position }: Cut): void {
    if (this.#over) return;
    if (this.#log !== undefined) this.#serves = true;
    this.#stored(position);
  }

  // --- its standby ---

  follow(to: NodeSession | undefined): void {
    const { node, vmId, epoch, life } = this.#options;
    this.#feed = undefined;
    this.#to = undefined;
    this.#reliance.want(undefined);
    this.#drive();
    if (to === undefined || this.#log === undefined || this.#over) return;
    const feed = new Feed({ vmId, epoch, next: life.nextInput, mark: this.#mark, nowMs: node.clock });
    this.#feed = feed;
    this.#to = to;
    this.#look(feed);
  }

  #look(feed: Feed): void {
    const { node } = this.#options;
    if (this.#over || this.#feed !== feed || this.#to === undefined) return;
    this.#send(true);
    const now = node.clock;
    if (feed.condition(now) === 'in-sync') this.#inSyncAt = now;
    const isReliedOn = this.#options.policy === 'standby';
    this.#reliance.want(isReliedOn && now - this.#inSyncAt < lagsMs ? this.#to : undefined);
    this.#drive();
    node.world.scheduler.after(
      lookMs,
      node.bound(() => this.#look(feed)),
    );
  }

  #send(always: boolean): void {
    const { node } = this.#options;
    const to = this.#to?.node;
    if (this.#over || this.#feed === undefined || to === undefined) return;
    for (const message of this.#feed.messages(always))
      node.world.carry(node.id, to, (guests) => guests.standbyHeard(node.id, message));
  }

  acknowledged(from: string, ack: StandbyAck): void {
    const { node, epoch, policy } = this.#options;
    if (this.#over || this.#to === undefined || from !== this.#to.node || ack.epoch !== epoch) return;
    const { position } = this.#feed!.heard(ack, node.clock);
    if (
      position !== undefined &&
      this.#reliance.holds(this.#to, position) &&
      policy === 'standby' &&
      this.#serves
    )
      this.#pass(this.#gate.durableUpTo(position));
    this.#drive();
    if (ack.missing) this.#send(false);
  }

  /** Brings the note in the owner record up to date: read, and swapped under the version that was read. */
  #drive(): void {
    const { next } = this.#reliance;
    if (this.#over || this.#driving || next === 'rest') return;
    const { node, vmId, epoch } = this.#options;
    const { store, scheduler } = node.world;
    const key = `owner/${vmId}`;
    this.#driving = true;
    this.#reliance.writing();
    const done = (result: 'done' | 'unknown'): void => {
      this.#reliance.wrote(next.note, result);
      const goOn = (): void => {
        this.#driving = false;
        this.#drive();
      };
      if (result === 'done') goOn();
      else scheduler.after(noteAgainMs, node.bound(goOn));
    };
    const swap = (cell: { value: Owner; version: string } | undefined): void => {
      if (cell?.value.epoch !== epoch || cell.value.state !== 'owned') return this.end();
      const { standby: _before, ...rest } = cell.value;
      const value: Owner = next.note === undefined ? rest : { ...rest, standby: next.note };
      const answer = node.bound((result: { ok: unknown } | { error: string }) =>
        done('ok' in result && result.ok !== undefined ? 'done' : 'unknown'),
      );
      const apply = (): { version: string } | undefined =>
        node.refused.has('notes') ? undefined : store.swap(key, value, cell.version);
      store.operate(node.id, apply, answer);
    };
    const read = node.bound(
      (result: { ok: { value: Owner; version: string } | undefined } | { error: string }) => {
        if (this.#over) return;
        if ('ok' in result) swap(result.ok);
        else done('unknown');
      },
    );
    store.operate(node.id, () => store.get<Owner>(key), read);
  }

  // --- its end ---

  /** A checkpoint has all that was said, and the guest stands still: `then` when nothing rests on a standby, and the owner record says so. */
  allDurable(then: () => void): void {
    this.follow(undefined);
    const look = (): void => {
      if (this.#over || this.#reliance.isSettled) then();
      else this.#options.node.world.scheduler.after(20, this.#options.node.bound(look));
    };
    look();
  }

  /** Its guest is gone: `then` when the store has what is known of its life, or a standby, or when that takes too long. */
  leave(then: () => void): void {
    const { node } = this.#options;
    if (this.#log === undefined || this.isFollowed) return then();
    this.#store();
    const since = node.clock;
    let isAlone = false;
    const look = (): void => {
      const isKnown = this.#needs.length === 0;
      if (isKnown && !isAlone) {
        isAlone = true;
        this.follow(undefined);
      }
      if (this.#over || (isAlone && this.#reliance.isSettled) || node.clock - since > leaveMs) then();
      else node.world.scheduler.after(20, node.bound(look));
    };
    look();
  }

  end(): void {
    this.#over = true;
    this.#log?.end();
  }
}
