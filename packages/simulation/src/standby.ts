/**
 * A simulated standby: made from the newest checkpoint and the store's log, it does what its owner sends, with the real copy of the log
 * (cluster/src/vm/standby/copy.ts); the order of things is that of standby-vm.ts and standbys.ts.
 */
import type { ProtectedVm } from '@revenant/cluster';
import type { StandbySource } from '../../cluster/src/decisions/types.ts';
import type { StandbyAck, StandbyFeed } from '../../cluster/src/protocol/standby.ts';
import { LogCopy } from '../../cluster/src/vm/standby/copy.ts';
import type { Promised } from '../../cluster/src/vm/standby/standby-vm.ts';
import type { SimNode, Checkpoint, Owner } from './node.ts';
import type { Done } from './store.ts';
import type { Life, StampedOutput } from './life.ts';
import { entriesOf, findLog, segmentsOf, type Found } from './input-log.ts';
import { newest } from './newest.ts';

const againMs = 1000;
const leavingMs = 10_000;
/** Between looks at the log in the store, while its owner says nothing. */
const lookMs = 200;

interface Following {
  base: Checkpoint;
  epoch: number;
  life: Life;
  copy: LogCopy;
  said: StampedOutput[];
  reading: boolean;
}

/** What whoever takes the VM over here goes on with. */
export interface Held {
  /** Undefined: its machine is being made anew. */
  life: Life | undefined;
  copy: LogCopy;
  epoch: number;
  said: StampedOutput[];
  /** Whether its owner told it what came in. */
  isFed: boolean;
  promised?: Promised | undefined;
}

type Remains = Pick<Following, 'copy' | 'epoch'>;

const hasAll = (one: Remains, other: Remains): boolean =>
  one.epoch > other.epoch || (one.copy.next >= other.copy.next && one.copy.mark >= other.copy.mark);

class SimStandby {
  readonly vm: ProtectedVm;
  readonly #node: SimNode;
  readonly #source: StandbySource;
  readonly #acknowledge: (to: string, ack: StandbyAck) => void;
  #following: Following | undefined;
  #remains: Remains | undefined;
  #owner: string | undefined;
  #heardEpoch = 0;
  #over = false;

  constructor(
    node: SimNode,
    { vm, source }: { vm: ProtectedVm; source: StandbySource },
    acknowledge: (to: string, ack: StandbyAck) => void,
  ) {
    this.vm = vm;
    this.#node = node;
    this.#source = source;
    this.#acknowledge = acknowledge;
    this.#make();
    this.#lookOn();
  }

  get #isFed(): boolean {
    return this.#source === 'owner' || this.#owner !== undefined;
  }

  /** While its owner is silent, the store says what came in. */
  #lookOn(): void {
    if (this.#isFed) return;
    const following = this.#following;
    if (following?.reading === false) this.#read(following, () => undefined);
    this.#after(lookMs, () => this.#lookOn());
  }

  #after(ms: number, run: () => void): void {
    this.#node.world.scheduler.after(
      ms,
      this.#node.bound(() => this.#over || run()),
    );
  }

  #operate<T>(work: () => T, then: (result: T) => void): void {
    const done = this.#node.bound((result: Done<T>) => {
      if (this.#over) return;
      if ('ok' in result) then(result.ok);
      else this.#anew();
    });
    this.#node.world.store.operate(this.#node.id, work, done);
  }

  /** What went wrong costs nobody else anything: it is made anew, and what it held of the log is right all the same. */
  #anew(): void {
    this.#remains = this.#best;
    this.#following = undefined;
    this.#say(false);
    this.#after(againMs, () => this.#make());
  }

  get #best(): Remains | undefined {
    const [now, before] = [this.#following, this.#remains];
    return now === undefined || (before !== undefined && !hasAll(now, before)) ? before : now;
  }

  #make(): void {
    const { world } = this.#node;
    const { store } = world;
    const look = (): { epoch: number; base: Checkpoint | null } => {
      const owner = store.get<Owner>(`owner/${this.vm.id}`)?.value;
      const manifests = store.get<Checkpoint[]>(`manifests/${this.vm.id}`)?.value ?? [];
      return { epoch: owner?.epoch ?? 0, base: newest(manifests, owner?.lineage ?? []) };
    };
    this.#operate(look, ({ epoch, base }) => {
      const kept = base === null ? undefined : world.keptOf(this.vm.id, base);
      if (base === null || kept === undefined || base.boot < this.vm.boot) return this.#anew();
      const life = kept.life.copy();
      const copy = new LogCopy({ next: life.nextInput, mark: BigInt(life.count) });
      const following = { base, epoch, life, copy, said: [], reading: false };
      this.#after(world.edge.between(20, 400), () => {
        this.#read(following, () => {
          if (this.#heardEpoch > epoch) return this.#anew();
          this.#following = following;
          this.#say(false);
        });
      });
    });
  }

  #read(following: Following, then: () => void): void {
    const { copy, base } = following;
    following.reading = true;
    const look = (): Found => {
      const owner = this.#node.world.store.get<Owner>(`owner/${this.vm.id}`)?.value;
      const entry = owner?.lineage.findLast(({ from }) => from !== undefined);
      return findLog(segmentsOf(this.#node, this.vm.id), entry, base);
    };
    this.#operate(look, ({ last, refused }) => {
      following.reading = false;
      if (refused) return this.#anew();
      if (last !== undefined && last.to >= copy.mark)
        this.#further(following, copy.read(entriesOf(last, BigInt(base.steps), copy.next), last.to));
      then();
    });
  }

  #further({ life, copy, said }: Following, fresh: readonly { count: bigint; payload: Uint8Array }[]): void {
    said.push(...life.replay(fresh, copy.mark));
    const left = said.findIndex(({ instructions }) => instructions >= copy.left);
    said.splice(0, left < 0 ? said.length : left);
  }

  heard(from: string, feed: StandbyFeed): void {
    if (this.#over || feed.epoch < this.#heardEpoch) return;
    this.#owner = from;
    this.#heardEpoch = feed.epoch;
    const following = this.#following;
    if (following === undefined) return this.#say(false);
    if (feed.epoch !== following.epoch) return this.#anew();
    const { fresh, missing } = following.copy.heard(feed);
    this.#further(following, fresh);
    this.#say(missing === 'owner');
    if (missing === 'store' && !following.reading) this.#read(following, () => this.#say(false));
  }

  #say(missing: boolean): void {
    const following = this.#following;
    if (this.#owner === undefined || this.#over) return;
    this.#acknowledge(this.#owner, {
      ...{
        type: 'standby-ack',
        vmId: this.vm.id,
        epoch: this.#heardEpoch,
        reason: '',
        checked: null,
        missing,
      },
      state: following === undefined ? 'preparing' : 'following',
      next: following?.copy.next ?? 0,
      mark: Number(following?.copy.mark ?? 0n),
      replayed: following?.life.count ?? 0,
    });
  }

  take(): Held | undefined {
    const following = this.#following;
    const best = this.#over ? undefined : this.#best;
    this.#over = true;
    if (best === undefined) return undefined;
    const isFed = this.#isFed;
    if (best !== following || following === undefined) return { ...best, life: undefined, said: [], isFed };
    const { life, copy, epoch, said } = following;
    return { life, copy, epoch, said, isFed };
  }

  close(): void {
    this.#over = true;
  }
}

/** All VMs that one node follows. */
export class SimStandbys {
  readonly #node: SimNode;
  readonly #vms = new Map<string, { standby: SimStandby; leaves: number }>();
  readonly #promised = new Map<string, Promised>();

  constructor(node: SimNode) {
    this.#node = node;
  }

  clear(): void {
    for (const { standby } of this.#vms.values()) standby.close();
    this.#vms.clear();
    this.#promised.clear();
  }

  follow(vm: ProtectedVm, source: StandbySource): void {
    const followed = this.#vms.get(vm.id);
    if (followed?.standby.vm.boot === vm.boot) {
      followed.leaves = 0;
      return;
    }
    followed?.standby.close();
    const say = (to: string, ack: StandbyAck): void => {
      this.#note(ack, vm.boot);
      this.#node.world.carry(this.#node.id, to, (guests) => guests.ownerHeard(this.#node.id, ack));
    };
    this.#vms.set(vm.id, { standby: new SimStandby(this.#node, { vm, source }, say), leaves: 0 });
  }

  #note({ vmId, state, epoch, next, mark }: StandbyAck, boot: number): void {
    if (state !== 'following') return;
    const before = this.#promised.get(vmId);
    const isLess =
      before?.boot === boot && before.epoch === epoch && before.next >= next && before.mark >= BigInt(mark);
    if (!isLess) this.#promised.set(vmId, { boot, epoch, next, mark: BigInt(mark) });
  }

  /** For a while it stays: its owner may not know yet. */
  leave(vmId: string): void {
    const followed = this.#vms.get(vmId);
    if (followed === undefined) return;
    const since = ++followed.leaves;
    const end = (): void => {
      if (this.#vms.get(vmId) !== followed || followed.leaves !== since) return;
      followed.standby.close();
      this.#vms.delete(vmId);
    };
    this.#node.world.scheduler.after(leavingMs, this.#node.bound(end));
  }

  heard(from: string, feed: StandbyFeed): void {
    this.#vms.get(feed.vmId)?.standby.heard(from, feed);
  }

  take(vm: ProtectedVm): Held | undefined {
    const followed = this.#vms.get(vm.id);
    const promised = this.#promised.get(vm.id);
    this.#vms.delete(vm.id);
    if (followed === undefined) return undefined;
    const held = followed.standby.take();
    if (followed.standby.vm.boot !== vm.boot || held === undefined) return undefined;
    return { ...held, promised: promised?.boot === vm.boot ? promised : undefined };
  }
}
