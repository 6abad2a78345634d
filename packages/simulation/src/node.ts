/**
 * One simulated node: the real decisions, with an edge that carries their effects into the simulated world, and guests that
 * count steps. A freeze keeps everything that arrives until the thaw; a crash forgets all but the store.
 */
import {
  heartbeatKey,
  nodeKey,
  protectedKey,
  startAgent,
  step,
  type AgentState,
  type Effect,
  type Event,
  type NodeRecord,
  type OwnerView,
  type ProtectedList,
  type Purpose,
  type ReadOutcome,
  type StateForm,
  type StoreBeat,
  type WriteOutcome,
} from '@revenant/cluster';
import { SteadyClock } from '../../cluster/src/node/steady-clock.ts';
import { messageSchema } from '../../cluster/src/protocol/link.ts';
import { checkTold } from '../../cluster/src/protocol/open.ts';
import { deepFreeze } from '../../cluster/src/testing/deep-freeze.ts';
import { SimGuests } from './guests.ts';
import type { SegmentName } from './input-log.ts';
import type { World } from './world.ts';
import type { Done } from './store.ts';

export interface Owner extends OwnerView {
  lineage: { epoch: number; from?: Checkpoint | null; log?: SegmentName }[];
}

export interface Checkpoint {
  epoch: number;
  sequence: number;
  steps: number;
  boot: number;
}

/** What is asked of the guests' side, for people. */
function wordsOf(effect: Effect): string {
  switch (effect.type) {
    case 'run':
      return `run ${effect.vm.id} in epoch ${String(effect.epoch)}${effect.paused ? ', paused' : ''}`;
    case 'raise':
      return `raise ${effect.vmId} above epoch ${String(effect.expectedEpoch)}`;
    case 'stop':
      return `stop ${effect.vmId} in epoch ${String(effect.epoch)}: ${effect.mode}`;
    case 'prepare':
      return `prepare for ${effect.vm.id}`;
    case 'hand-over':
    case 'release':
      return `${effect.type} ${effect.vmId} in epoch ${String(effect.epoch)}`;
    default:
      return 'vmId' in effect ? `${effect.type} ${effect.vmId}` : effect.type;
  }
}

/** The log of its VMs, what it writes into their owner records, their checkpoints. */
export type Refused = 'logs' | 'notes' | 'checkpoints';

export class SimNode {
  readonly id: string;
  readonly world: World;
  agent: AgentState;
  up = true;
  frozen = false;
  /** Something other than the network is wrong with it, or was until then. */
  impaired = false;
  impairedUntil = -Infinity;
  /** What of it the store does not take for a while, though it takes all else. */
  readonly refused = new Set<Refused>();
  readonly guests: SimGuests;
  /** While it is stalled: since when; and for how long its monotonic clock stood still so far. */
  #stalledAt: number | undefined;
  #stoodMs = 0;
  #wokeAt = -Infinity;
  readonly #clock: SteadyClock;
  readonly #rate: number;
  readonly #offset: number;
  readonly #reached = new Set<string>();
  #life = 0;
  #waiting: (() => void)[] = [];

  constructor(world: World, id: string, clock: { rate: number; offset: number }) {
    this.world = world;
    this.id = id;
    this.#rate = clock.rate;
    this.#offset = clock.offset;
    this.#clock = new SteadyClock(() => {
      const trueMs = this.#trueClock;
      return { monotonicMs: trueMs - this.#stoodMs, bootMs: trueMs, wallMs: trueMs };
    });
    this.guests = new SimGuests(this);
    this.agent = this.#newAgent();
    this.#startTicking();
  }

  /** How it stores its guests: one node of some worlds has another key than the rest. */
  get form(): StateForm {
    return { key: this.id === this.world.foreigner ? 'another key' : 'the key', format: 1 };
  }

  /** All that passed for it, whether or not its monotonic clock went on. */
  get #trueClock(): number {
    return this.world.scheduler.now * this.#rate + this.#offset;
  }

  /** Its own clock, as the real node reads it: monotonic, and what another clock shows to have passed. */
  get clock(): number {
    return this.#clock.now();
  }

  /** What guests' threads look at, until the node has looked at its clocks. */
  get threadClock(): number {
    return this.#trueClock - this.#stoodMs + this.#clock.lostMs;
  }

  /** It woke a moment ago, and may not have looked at its clocks yet. */
  get justWoke(): boolean {
    return this.world.scheduler.now - this.#wokeAt <= (2 * this.world.settings.tickMs) / this.#rate;
  }

  /** Frozen, and its monotonic clock with it. */
  stall(): void {
    this.#stalledAt = this.#trueClock;
    this.freeze();
  }

  #newAgent(): AgentState {
    const identity = { id: this.id, address: `sim:${this.id}`, capacity: { memoryMiB: 4096 } };
    return startAgent({ ...identity, reads: this.form }, this.clock);
  }

  #startTicking(): void {
    const life = this.#life;
    const tick = (): void => {
      if (life !== this.#life) return;
      this.world.scheduler.after(this.world.settings.tickMs / this.#rate, () => this.local(tick));
      this.handle({ type: 'tick' });
    };
    this.world.scheduler.after(this.world.random.between(0, 100), () => this.local(tick));
  }

  /** Runs something within this process: now, after the thaw, or never, when it is of an earlier life. */
  local(run: () => void): void {
    if (!this.up) return;
    if (this.frozen) this.#waiting.push(run);
    else run();
  }

  /** The same, for answers: bound to the life that asked. */
  bound<T extends unknown[]>(run: (...args: T) => void): (...args: T) => void {
    const life = this.#life;
    return (...args) => {
      if (life === this.#life) this.local(() => run(...args));
    };
  }

  handle(event: Event): void {
    const { settings, freezes } = this.world;
    const [before, given] = freezes ? [deepFreeze(this.agent), deepFreeze(event)] : [this.agent, event];
    const { state, effects } = step(before, this.clock, given, settings);
    this.agent = state;
    for (const effect of effects) this.#do(effect);
  }

  /** True when the guest of that epoch may still execute here, now or after a thaw. */
  mayRun(vmId: string, epoch: number): boolean {
    return this.up && this.guests.mayRun(vmId, epoch);
  }

  crash(): void {
    this.up = false;
    this.frozen = false;
    this.#stalledAt = undefined;
    this.#life++;
    this.#reached.clear();
    this.#waiting = [];
    this.guests.clear();
  }

  restart(): void {
    if (this.up) return;
    this.up = true;
    this.agent = this.#newAgent();
    this.#startTicking();
  }

  leave(): void {
    this.handle({ type: 'leave' });
  }

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    if (!this.frozen) return;
    this.frozen = false;
    if (this.#stalledAt !== undefined) {
      this.#stoodMs += this.#trueClock - this.#stalledAt;
      this.#stalledAt = undefined;
      this.#wokeAt = this.world.scheduler.now;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    // What piled up is handled in the order of its arrival; a crash in between forgets the rest.
    const life = this.#life;
    for (const run of waiting) if (life === this.#life) this.local(run);
  }

  #do(effect: Effect): void {
    const { world } = this;
    switch (effect.type) {
      case 'send':
        // What a peer would refuse is a fault of whoever sends it.
        checkTold(messageSchema, effect.message, 'a message between nodes');
        return world.deliver(this.id, effect.to, effect.message);
      case 'get-record':
        return this.#get<NodeRecord>(nodeKey(effect.node), effect.purpose, 'record');
      case 'get-list':
        return this.#get<ProtectedList>(protectedKey, effect.purpose, 'list');
      case 'get-owner':
        return this.#get<OwnerView>(`owner/${effect.vmId}`, effect.purpose, 'owner');
      case 'list-records':
        return this.#list(effect.purpose);
      case 'put-record':
        return this.#put(nodeKey(effect.record.id), effect.record, effect.expected, effect.purpose);
      case 'put-beat':
        return this.#putBeat(effect.beat);
      case 'get-beats':
        return this.#getBeats(effect.node);
      case 'put-list':
        return this.#put(protectedKey, effect.list, effect.expected, effect.purpose);
      case 'answer':
        return world.answered(effect.answer);
      case 'log':
        return world.trace(
          `${this.id} ${effect.entry.event} ${effect.entry.vm ?? effect.entry.node ?? ''}: ${effect.entry.reason}`,
        );
      case 'name-in-use':
        return;
      case 'left':
        return this.crash();
      default:
        if (world.tells && effect.type !== 'grant') world.trace(`${this.id} => ${wordsOf(effect)}`);
        this.guests.do(effect);
    }
  }

  #get<T>(key: string, purpose: Purpose, type: 'record' | 'list' | 'owner'): void {
    const { store } = this.world;
    const done = this.bound((result: Done<{ value: T; version: string } | undefined>) => {
      let outcome: ReadOutcome<T>;
      if ('error' in result) outcome = { result: 'failed' };
      else if (result.ok === undefined) outcome = { result: 'absent' };
      else outcome = { result: 'found', value: result.ok.value, version: result.ok.version };
      this.handle({ type, purpose, outcome } as Event);
    });
    store.operate(this.id, () => store.get<T>(key), done);
  }

  /** Each heartbeat datastore by itself: one that fails holds up no other. */
  #putBeat(beat: StoreBeat): void {
    const { heartbeatStores, checker, scheduler } = this.world;
    for (const store of heartbeatStores) {
      const apply = (): void => {
        store.put(heartbeatKey(this.id), beat);
        checker.beat(beat, store.name, scheduler.now);
      };
      const done = this.bound((result: Done<void>) => {
        if ('ok' in result) this.#reached.add(store.name);
        else this.#reached.delete(store.name);
        this.handle({ type: 'stores', reached: this.#reached.size });
      });
      store.operate(this.id, apply, done);
    }
  }

  #getBeats(node: string): void {
    for (const store of this.world.heartbeatStores) {
      const done = this.bound((result: Done<{ value: StoreBeat } | undefined>) => {
        if (!('ok' in result) || result.ok === undefined) return;
        this.handle({ type: 'beat', store: store.name, beat: result.ok.value });
      });
      store.operate(this.id, () => store.get<StoreBeat>(heartbeatKey(node)), done);
    }
  }

  #list(purpose: Purpose): void {
    const { store } = this.world;
    store.operate(
      this.id,
      () => [...this.world.nodes.keys()].filter((id) => store.cells.has(nodeKey(id))),
      this.bound((result) =>
        this.handle({ type: 'records', purpose, nodes: 'ok' in result ? result.ok : undefined }),
      ),
    );
  }

  #put(key: string, value: NodeRecord | ProtectedList, expected: string | undefined, purpose: Purpose): void {
    const { store, checker, scheduler } = this.world;
    const apply = (): { version: string } | undefined => {
      const before = checker.list;
      const landed = store.swap(key, value, expected);
      if (landed !== undefined && 'vms' in value) checker.listed(before, value);
      if (landed !== undefined && 'state' in value) {
        if (value.state === 'fenced') checker.fenced(value, this.id, scheduler.now);
        else checker.renewed(value.id, scheduler.now);
      }
      return landed;
    };
    const done = this.bound((result: Done<{ version: string } | undefined>) => {
      let outcome: WriteOutcome;
      if ('error' in result) outcome = { result: result.error };
      else
        outcome =
          result.ok === undefined ? { result: 'conflict' } : { result: 'done', version: result.ok.version };
      this.handle({ type: 'written', purpose, outcome });
    });
    store.operate(this.id, apply, done);
  }
}
