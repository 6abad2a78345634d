/**
 * The guests of one simulated node. A guest counts steps while its lease stands, and writes checkpoints as storage does it:
 * the manifest first, then the owner record is read once more, and only if the epoch still stands it counts as durable.
 */
import type { Effect, Event, ProtectedVm } from '@revenant/cluster';
import type { StandbyAck, StandbyFeed } from '../../cluster/src/protocol/standby.ts';
import { notedFor, sameNote } from '../../cluster/src/vm/standby/reliance.ts';
import type { Checkpoint, Owner, SimNode } from './node.ts';
import { entryOf, type Input, type Life } from './life.ts';
import { findLog, segmentsOf, type Found } from './input-log.ts';
import { newest } from './newest.ts';
import { SimOutputs } from './outputs.ts';
import { SimStandbys } from './standby.ts';
import { begin, type Owned } from './takeover.ts';

interface Guest {
  vmId: string;
  epoch: number;
  boot: number;
  life: Life;
  outputs: SimOutputs;
  sequence: number;
  paused: boolean;
  stopping: boolean;
  /** It has executed since it was resumed. */
  begun: boolean;
}

const stepMs = 50;
const startFails = 0.05;
const prepareFails = 0.1;
/** Where outputs are looked at: how often a guest is given something. */
const inputChance = 0.15;
/** Longer than `stableMs` in such a world. */
const poisonMs = 1500;

export class SimGuests {
  readonly #node: SimNode;
  readonly #standbys: SimStandbys;
  #guests = new Map<string, Guest>();
  /** By VM and epoch: what it was raised with. */
  /** Starts under way, by VM and epoch; taken out when they are not wanted any more. */
  readonly #starting = new Set<string>();
  readonly #owned = new Map<string, Owned>();
  #until = -Infinity;

  constructor(node: SimNode) {
    this.#node = node;
    this.#standbys = new SimStandbys(node);
  }

  clear(): void {
    for (const { outputs } of this.#guests.values()) outputs.end();
    this.#standbys.clear();
    this.#owned.clear();
    this.#starting.clear();
    this.#guests.clear();
    this.#until = -Infinity;
  }

  mayRun(vmId: string, epoch: number): boolean {
    const guest = this.#guests.get(vmId);
    return guest?.epoch === epoch && !guest.stopping && this.#node.clock < this.#until;
  }

  /** Something in the guest or its emulator breaks. */
  breakOne(): void {
    const [guest] = this.#guests.values();
    if (guest !== undefined) this.#break(guest);
  }

  /** Breaks, or takes its whole node with it, which has no time to tell anybody. */
  #poison(guest: Guest): void {
    const { world } = this.#node;
    if (!world.endsNodes) return this.#break(guest);
    const doesNothing = !this.#node.mayRun(guest.vmId, guest.epoch) || this.#node.frozen;
    if (doesNothing && !world.looksAtOutputs && !world.balances) return;
    if (this.#guests.get(guest.vmId) !== guest || !this.#node.up) return;
    if (doesNothing) return world.scheduler.after(poisonMs, () => this.#poison(guest));
    world.trace(`${guest.vmId} ends ${this.#node.id}`);
    this.#node.crash();
    world.scheduler.after(world.random.between(200, 3000), () => this.#node.restart());
  }

  #break(guest: Guest): void {
    if (guest.stopping || this.#guests.get(guest.vmId) !== guest) return;
    this.#guests.delete(guest.vmId);
    const { vmId, epoch, outputs } = guest;
    const [kind, reason] = this.#node.world.random.chance(0.3)
      ? (['hung', 'no sign of life'] as const)
      : (['failed', 'the emulator crashed'] as const);
    this.#node.local(() =>
      outputs.leave(() => {
        outputs.end();
        this.#tell({ type: 'stopped', vmId, epoch, kind, reason });
      }),
    );
  }

  /** What an owner tells its standby here, and a standby its owner. */
  standbyHeard(from: string, feed: StandbyFeed): void {
    this.#standbys.heard(from, feed);
  }

  ownerHeard(from: string, ack: StandbyAck): void {
    this.#guests.get(ack.vmId)?.outputs.acknowledged(from, ack);
  }

  do(effect: Effect): void {
    switch (effect.type) {
      case 'grant':
        this.#until = effect.until;
        return;
      case 'raise':
        return this.#raise(effect);
      case 'prepare':
        return this.#prepare(effect);
      case 'run':
        this.#until = Math.max(this.#until, effect.until);
        return this.#run(effect.vm, effect.epoch, effect.paused);
      case 'pause': {
        const guest = this.#of(effect);
        if (guest !== undefined) guest.paused = effect.paused;
        return;
      }
      case 'stand-by':
        return this.#standbys.follow(effect.vm, effect.source);
      case 'stand-down':
        return this.#standbys.leave(effect.vmId);
      case 'set-standby':
        return this.#of(effect)?.outputs.follow(effect.standby);
      case 'stop':
        return this.#stop(effect.vmId, effect.epoch, effect.mode);
      case 'hand-over':
        return this.#handOver(effect.vmId, effect.epoch);
      case 'release':
        return this.#release(effect.vmId, effect.epoch);
      case 'tombstone':
        return this.#tombstone(effect);
      default:
    }
  }

  #tell(event: Event): void {
    this.#node.handle(event);
  }

  #of({ vmId, epoch }: { vmId: string; epoch: number }): Guest | undefined {
    const guest = this.#guests.get(vmId);
    return guest?.epoch === epoch ? guest : undefined;
  }

  /** Two swaps, as in storage's raiseEpoch: the epoch first, then the checkpoint that is resumed from. */
  #raise(effect: Extract<Effect, { type: 'raise' }>): void {
    const { store, checker, scheduler } = this.#node.world;
    const { vmId, attempt, expectedEpoch, incarnation } = effect;
    const key = `owner/${vmId}`;
    const epoch = expectedEpoch + 1;
    const apply = (): boolean => {
      const cell = store.get<Owner>(key);
      if (
        (cell?.value.epoch ?? 0) !== expectedEpoch ||
        (cell?.value.state === 'deleted' && effect.revive !== true)
      )
        return false;
      // On whom outputs rest has changed since that was read.
      if (!sameNote(cell?.value.standby, effect.noted)) return false;
      checker.raised(vmId, cell?.value, this.#node);
      const lineage = (cell?.value.state === 'deleted' ? [] : (cell?.value.lineage ?? [])).filter(
        ({ from }) => from !== undefined,
      );
      const owner: Owner = {
        state: 'owned',
        epoch,
        node: this.#node.id,
        incarnation,
        form: this.#node.form,
        lineage: [...lineage, { epoch }],
        ...(cell?.value.standby === undefined || cell.value.state === 'deleted'
          ? {}
          : { standby: cell.value.standby }),
      };
      return store.swap(key, owner, cell?.version) !== undefined;
    };
    const fix = (): Owned | undefined => {
      const cell = store.get<Owner>(key);
      if (cell?.value.epoch !== epoch || cell.value.node !== this.#node.id) return undefined;
      const before = cell.value.lineage.findLast(
        (entry) => entry.from !== undefined && entry.epoch !== epoch,
      );
      const from = newest(store.get<Checkpoint[]>(`manifests/${vmId}`)?.value ?? [], cell.value.lineage);
      const log: Found = findLog(segmentsOf(this.#node, vmId), before, from);
      const named = log.last && { log: { epoch: log.last.epoch, ordinal: log.last.ordinal } };
      const lineage = cell.value.lineage.map((entry) =>
        entry.epoch === epoch ? { epoch, from, ...named } : entry,
      );
      if (store.swap(key, { ...cell.value, lineage }, cell.version) === undefined) return undefined;
      const standbyLost = effect.standbyLost !== undefined;
      const notedHere = notedFor(effect.noted, { node: this.#node.id, incarnation });
      return { from, log, before: before?.epoch, noted: effect.noted, notedHere, standbyLost };
    };
    const failed = (): void =>
      this.#tell({ type: 'not-raised', vmId, attempt, why: 'retry', reason: 'the store did not take it' });
    store.operate(
      this.#node.id,
      apply,
      this.#node.bound((result) => {
        if (!('ok' in result) || !result.ok) return failed();
        store.operate(
          this.#node.id,
          fix,
          this.#node.bound((fixed) => {
            if (!('ok' in fixed) || fixed.ok === undefined) return failed();
            this.#owned.set(`${vmId}@${String(epoch)}`, fixed.ok);
            this.#node.world.trace(
              `${this.#node.id} raised ${vmId} to ${String(epoch)} at ${scheduler.now.toFixed(0)}`,
            );
            this.#tell({ type: 'raised', vmId, attempt, epoch });
          }),
        );
      }),
    );
  }

  /** Takes its time, or comes to nothing. */
  #prepare({ vm, owner }: Extract<Effect, { type: 'prepare' }>): void {
    const { random, scheduler } = this.#node.world;
    const ready = this.#node.bound(() => this.#tell({ type: 'prepared', vmId: vm.id, owner }));
    if (!random.chance(prepareFails)) scheduler.after(random.between(5, 800), ready);
  }

  #run(vm: ProtectedVm, epoch: number, paused: boolean): void {
    const { store, random, scheduler } = this.#node.world;
    const vmId = vm.id;
    const name = `${vmId}@${String(epoch)}`;
    this.#starting.add(name);
    const start = this.#node.bound((from: Checkpoint | null) => {
      // Its session may have ended while all of this was read.
      if (!this.#starting.delete(name) || this.#guests.has(vmId)) return;
      if (random.chance(startFails) && this.#node.world.faulty) {
        this.#tell({ type: 'stopped', vmId, epoch, kind: 'failed', reason: 'did not start' });
        return;
      }
      const guest = this.#begun(vm, epoch, { from, paused });
      this.#guests.set(vmId, guest);
      this.#live(guest);
      this.#tell({ type: 'started', vmId, epoch });
    });
    store.operate(
      this.#node.id,
      () =>
        store.get<Owner>(`owner/${vmId}`)?.value.lineage.find((entry) => entry.epoch === epoch)?.from ?? null,
      this.#node.bound((result) => {
        if ('ok' in result) scheduler.after(random.between(5, 80), () => start(result.ok));
        else
          this.#tell({
            type: 'stopped',
            vmId,
            epoch,
            kind: 'failed',
            reason: 'the checkpoint could not be read',
          });
      }),
    );
  }

  /** From its standby here, from the store, or from power-on. */
  #begun(
    vm: ProtectedVm,
    epoch: number,
    { from, paused }: { from: Checkpoint | null; paused: boolean },
  ): Guest {
    const { id: vmId, boot, spec } = vm;
    const nothing: Found = { last: undefined, refused: false };
    const none = { before: undefined, noted: undefined, notedHere: undefined };
    const unraised = { from, log: nothing, ...none, standbyLost: false };
    const owned = this.#owned.get(`${vmId}@${String(epoch)}`) ?? unraised;
    const { life, resumed, why, handed } = begin(this.#node, vm, owned, this.#standbys.take(vm));
    const guest: Guest = {
      ...{ vmId, epoch, boot, life, paused, stopping: false, begun: false },
      sequence: from?.sequence ?? 0,
      outputs: new SimOutputs({
        ...{ node: this.#node, vmId, epoch, boot, policy: spec.outputs, life, handed },
        exact: resumed === 'exact',
        found: owned.noted,
        previous: resumed === 'boot' ? undefined : owned.log.last,
        onFenced: () => this.#fenced(guest),
      }),
    };
    const told = {
      vmId,
      boot,
      epoch,
      policy: spec.outputs,
      resumed,
      why,
      noted: owned.noted,
      count: life.count,
      said: life.said,
    };
    if (this.#node.world.looksAtOutputs) this.#node.world.checker.goesOn(told);
    return guest;
  }

  #fenced(guest: Guest): void {
    const { vmId, epoch } = guest;
    guest.outputs.end();
    if (this.#guests.get(vmId) !== guest || guest.stopping) return;
    this.#guests.delete(vmId);
    this.#tell({ type: 'stopped', vmId, epoch, kind: 'fenced', reason: 'the epoch is over' });
  }

  /** The life of a guest: steps while the lease stands by the node's own clock, and checkpoints. */
  #live(guest: Guest): void {
    const { scheduler, checker, settings, poisoned } = this.#node.world;
    let checkpointAt = this.#node.clock;
    const turn = this.#node.bound(() => {
      if (this.#guests.get(guest.vmId) !== guest || guest.stopping) return;
      if (!guest.paused && this.#node.threadClock < this.#until) {
        if (!guest.begun) {
          checker.resumed(guest.vmId, guest.boot, guest.life.count);
          if (guest.vmId === poisoned) scheduler.after(poisonMs, () => this.#poison(guest));
        }
        guest.begun = true;
        this.#step(guest);
        checker.executed(this.#node.id, guest.vmId, guest.epoch, scheduler.now);
      }
      if (this.#node.clock >= checkpointAt) {
        checkpointAt = Infinity;
        this.#checkpoint(guest, () => (checkpointAt = this.#node.clock + settings.checkpointMs));
      }
      scheduler.after(stepMs, turn);
    });
    turn();
  }

  #step({ life, outputs }: Guest): void {
    const { world } = this.#node;
    const inputs: Input[] = [];
    if (world.looksAtOutputs && world.edge.chance(inputChance)) {
      const input = { count: life.count, value: world.edge.integer(0, 0xffff) };
      inputs.push(input);
      life.take(entryOf(input).payload);
    }
    outputs.heard(inputs, [life.step()]);
  }

  #checkpoint(guest: Guest, then: (result: 'done' | 'failed') => void): void {
    const { store, checker } = this.#node.world;
    const { vmId, epoch, boot, life } = guest;
    const steps = life.count;
    const cut = guest.outputs.cut(guest.stopping);
    const key = `manifests/${vmId}`;
    const manifest: Checkpoint = { epoch, sequence: ++guest.sequence, steps, boot };
    this.#node.world.keep(vmId, manifest, { life: life.copy(), exact: cut.exact });
    const put = (): boolean => {
      if (this.#node.refused.has('checkpoints')) return false;
      const cell = store.get<Checkpoint[]>(key);
      // Manifests have names of their own; the one list stands for them.
      const kept = (cell?.value ?? []).slice(-40);
      return store.swap(key, [...kept, manifest], cell?.version) !== undefined;
    };
    const verify = (): boolean => {
      const owner = store.get<Owner>(`owner/${vmId}`)?.value;
      return owner?.epoch === epoch && owner.state === 'owned';
    };
    store.operate(
      this.#node.id,
      put,
      this.#node.bound((landed) => {
        if (!('ok' in landed) || !landed.ok) return then('failed');
        store.operate(
          this.#node.id,
          verify,
          this.#node.bound((stands) => {
            if (!('ok' in stands)) return then('failed');
            if (stands.ok) {
              checker.committed(vmId, boot, steps);
              guest.outputs.durable(cut);
              return then('done');
            }
            this.#fenced(guest);
          }),
        );
      }),
    );
  }

  #stop(vmId: string, epoch: number, mode: Extract<Effect, { type: 'stop' }>['mode']): void {
    const guest = this.#of({ vmId, epoch });
    this.#starting.delete(`${vmId}@${String(epoch)}`);
    if (guest !== undefined) this.#guests.delete(vmId);
    guest?.outputs.end();
    if (mode === 'discard') return;
    this.#node.world.scheduler.after(
      5,
      this.#node.bound(() => this.#tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' })),
    );
  }

  #handOver(vmId: string, epoch: number): void {
    const guest = this.#of({ vmId, epoch });
    if (guest === undefined) return;
    guest.stopping = true;
    const stop = (): void => {
      guest.outputs.end();
      this.#guests.delete(vmId);
      this.#tell({ type: 'stopped', vmId, epoch, kind: 'asked', reason: '' });
    };
    const attempt = (tries: number): void =>
      this.#checkpoint(guest, (result) => {
        if (result === 'failed' && tries > 0) return attempt(tries - 1);
        if (result === 'failed') stop();
        else guest.outputs.allDurable(stop);
      });
    attempt(5);
  }

  #release(vmId: string, epoch: number): void {
    const { store } = this.#node.world;
    const key = `owner/${vmId}`;
    store.operate(
      this.#node.id,
      () => {
        const cell = store.get<Owner>(key);
        if (cell?.value.epoch !== epoch || cell.value.state !== 'owned' || cell.value.node !== this.#node.id)
          return false;
        return store.swap(key, { ...cell.value, state: 'released' }, cell.version) !== undefined;
      },
      this.#node.bound((result) => {
        const outcome = 'ok' in result ? (result.ok ? 'done' : 'fenced') : 'failed';
        this.#tell({ type: 'released', vmId, epoch, result: outcome });
      }),
    );
  }

  #tombstone({ vmId, epoch: expected }: Extract<Effect, { type: 'tombstone' }>): void {
    const { store } = this.#node.world;
    const key = `owner/${vmId}`;
    store.operate(
      this.#node.id,
      () => {
        const cell = store.get<Owner>(key);
        if ((cell?.value.epoch ?? 0) !== expected) return false;
        const epoch = expected + 1;
        const owner: Owner = { state: 'deleted', epoch, node: this.#node.id, incarnation: 0, lineage: [] };
        return store.swap(key, owner, cell?.version) !== undefined;
      },
      this.#node.bound((result) =>
        this.#tell({ type: 'tombstoned', vmId, done: 'ok' in result && result.ok }),
      ),
    );
  }
}
