/** What must always hold, looked at from outside: the checker sees real time and every node. */
import {
  nodeKey,
  protectedKey,
  whyUnreadable,
  type NodeRecord,
  type OutputPolicy,
  type OwnerView,
  type ProtectedList,
  type StoreBeat,
} from '@revenant/cluster';
import { stands } from '../../cluster/src/decisions/standbys.ts';
import type { StandbyNote } from '../../cluster/src/protocol/records.ts';
import { BalanceWatch } from './balance-watch.ts';
import { Lan } from './lan.ts';
import type { SimNode } from './node.ts';
import { digestOf, type Said, type StampedOutput } from './life.ts';
import type { Begun } from './takeover.ts';
import type { SimStore } from './store.ts';

export class Violation extends Error {
  readonly rule: string;
  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.rule = rule;
  }
}

/** A node that was whole for so long must not be fenced. */
const healthyMs = 9000;
/** A heartbeat in another datastore that went on for so long, without a longer gap, must have been seen by a judge that reached it as long. */
const steadyMs = 7000;
const gapMs = 1500;

export class Checker {
  readonly nodes: Map<string, SimNode>;
  readonly #store: SimStore;
  readonly #heartbeatStores: readonly SimStore[];
  /** Highest epoch that ever executed an instruction, per VM. */
  readonly #executed = new Map<string, number>();
  /** Highest step acknowledged as durable, per VM and boot. */
  readonly #committed = new Map<string, number>();
  readonly lastRun = new Map<string, number>();
  /** By node: when its last renewal landed. */
  readonly #renewedAt = new Map<string, number>();
  /** By node and heartbeat datastore: since when its beats land without a gap, and the last one. */
  readonly #beats = new Map<string, { since: number; at: number }>();
  /** By node and datastore: when the road between them was last not good. */
  readonly #roadBadAt = new Map<string, number>();
  /** What was let out, by number, per VM and boot, of policies by which nothing is taken back. */
  readonly #letOut = new Map<string, Map<number, number>>();
  failovers = 0;
  /** The newest epoch that told that outputs may be repeated, per VM and boot. */
  readonly #toldBy = new Map<string, number>();
  /** Outputs that left by policies that take nothing back, and takeovers by standbys with what only they had. */
  outputs = 0;
  leads = 0;
  /** What guests send to peers outside. */
  readonly lan = new Lan();
  /** What the cluster moves by itself. */
  readonly balance = new BalanceWatch();

  constructor(nodes: Map<string, SimNode>, store: SimStore, heartbeatStores: readonly SimStore[]) {
    this.nodes = nodes;
    this.#store = store;
    this.#heartbeatStores = heartbeatStores;
  }

  get list(): ProtectedList | undefined {
    return this.#store.get<ProtectedList>(protectedKey)?.value;
  }

  /** A protected list landed. Invariant 9: what evens nodes out moves one VM, in calm, and never back. */
  listed(before: ProtectedList | undefined, list: ProtectedList): void {
    const broken = this.balance.listed(before, list);
    if (broken !== undefined) throw new Violation(broken.rule, broken.message);
  }

  /** A guest executed. Invariants 1, 5 and 6. */
  executed(node: string, vmId: string, epoch: number, now: number): void {
    const highest = this.#executed.get(vmId) ?? 0;
    const status = this.list?.vms[vmId]?.status;
    const isOff = status === 'stopped' || status === 'deleted';
    // A node that woke with a clock that stood still has a tick to find out; nobody keeps what its guests do meanwhile.
    if ((epoch < highest || isOff) && this.nodes.get(node)?.justWoke === true) return;
    if (epoch < highest)
      throw new Violation('one-owner', `${vmId} ran on ${node} in epoch ${epoch} after epoch ${highest} ran`);
    this.#executed.set(vmId, epoch);
    if (isOff) throw new Violation('never-returns', `${vmId} ran on ${node} while it was ${status}`);
    this.lastRun.set(vmId, now);
  }

  /** A takeover's swap landed over this owner. Invariants 1 and 5. */
  raised(vmId: string, before: OwnerView | undefined, { id: by, form }: SimNode): void {
    const unread = before?.form && whyUnreadable(before.form, form);
    if (unread !== undefined)
      throw new Violation('unreadable', `${by}, which is ${unread}, raised the epoch of ${vmId}`);
    if (before?.state !== 'owned') return;
    this.failovers++;
    const owner = this.nodes.get(before.node);
    if (owner === undefined || owner.id === by) return;
    if (owner.mayRun(vmId, before.epoch))
      throw new Violation('still-runs', `${by} took ${vmId} from ${owner.id}, whose lease still stands`);
  }

  renewed(node: string, now: number): void {
    this.#renewedAt.set(node, now);
  }

  beat({ id }: StoreBeat, store: string, now: number): void {
    const key = `${id} ${store}`;
    const { since, at } = this.#beats.get(key) ?? { since: now, at: -Infinity };
    this.#beats.set(key, { since: now - at > gapMs ? now : since, at: now });
  }

  roadIsBad(node: string, store: string, untilMs: number): void {
    this.#roadBadAt.set(`${node} ${store}`, untilMs);
  }

  /** A datastore in which this node's heartbeat went on, for its judge to see. */
  #steadyStore(id: string, judge: SimNode, now: number): string | undefined {
    if (judge.impaired || now - judge.impairedUntil < steadyMs) return undefined;
    return this.#heartbeatStores
      .map(({ name }) => name)
      .find((name) => {
        const beats = this.#beats.get(`${id} ${name}`);
        const bad = [id, judge.id].map((node) => this.#roadBadAt.get(`${node} ${name}`) ?? -Infinity);
        if (beats === undefined || now - beats.at > gapMs || now - beats.since < steadyMs) return false;
        return bad.every((at) => now - at > steadyMs);
      });
  }

  /** A fence landed. Invariant 5: a host that runs and whose heartbeat goes on in a datastore is not dead, whatever the network says. */
  fenced(record: NodeRecord, by: string, now: number): void {
    const node = this.nodes.get(record.id);
    const judge = this.nodes.get(by);
    if (node === undefined || judge === undefined || !node.up || node.frozen) return;
    if (node.agent.incarnation !== record.incarnation) return;
    const store = this.#steadyStore(node.id, judge, now);
    const still = now - (this.#renewedAt.get(node.id) ?? -Infinity);
    // Without the store it has storeLossMs to come back, by a clock that may be fast.
    if (store !== undefined && still < 0.95 * judge.world.settings.storeLossMs)
      throw new Violation('healthy-fenced', `${node.id} was fenced by ${by} though it beats in ${store}`);
    if (node.impaired) return;
    if (now - node.impairedUntil > healthyMs)
      throw new Violation(
        'healthy-fenced',
        `${record.id} was fenced by ${record.fencedBy ?? '?'} though it was well`,
      );
  }

  /** The writer was told that a checkpoint is durable. */
  committed(vmId: string, boot: number, steps: number): void {
    const key = `${vmId}#${boot}`;
    this.#committed.set(key, Math.max(this.#committed.get(key) ?? 0, steps));
  }

  /** A guest begins at this step. Invariant 8: nothing that was durable is lost. */
  resumed(vmId: string, boot: number, steps: number): void {
    const durable = this.#committed.get(`${vmId}#${boot}`) ?? 0;
    if (steps < durable)
      throw new Violation('durable-lost', `${vmId} resumed at step ${steps}, ${durable} was durable`);
  }

  /** Somebody sees an output. Invariant 2: one that is repeated is the same. */
  letOut({ vmId, boot, policy, epoch }: Speaker, entry: StampedOutput): void {
    const key = `${vmId}#${boot}`;
    if (entry.output.kind === 'frame') {
      const { number, instructions } = entry;
      this.lan.carry(vmId, epoch, { number, digest: digestOf(entry), sentAt: Number(instructions) });
    }
    // Consoles were told by a later epoch that it may be repeated, and drop what comes of an earlier one.
    if (policy === 'async' || epoch < (this.#toldBy.get(key) ?? 0)) return;
    const seen = this.#letOut.get(key) ?? new Map<number, number>();
    this.#letOut.set(key, seen);
    const before = seen.get(entry.number);
    const digest = digestOf(entry);
    if (before !== undefined && before !== digest)
      throw new Violation(
        'output-changed',
        `output ${entry.number} of ${vmId} was another when it was seen first`,
      );
    seen.set(entry.number, digest);
    this.outputs++;
  }

  /** A guest goes on, and consoles are told how. Invariant 2: its state implies all that was let out, or they are told that it does not; and its
   * peers' connections end where it does not.
   */
  goesOn(
    told: Speaker &
      Pick<Begun, 'resumed' | 'why'> & {
        noted: StandbyNote | undefined;
        count: number;
        said: Said | undefined;
      },
  ): void {
    const { vmId, boot, policy, epoch, resumed, why, noted, count } = told;
    const seen = this.#letOut.get(`${vmId}#${boot}`);
    const owner = this.#store.get<OwnerView>(`owner/${vmId}`)?.value;
    // One that is fenced already lets nothing out: nobody hears of it.
    if (owner?.epoch !== epoch) return;
    const implied = new Map<number, number>();
    for (let { said } = told; said !== undefined; said = said.before) implied.set(said.number, said.digest);
    const wrong = this.lan.arrived(vmId, { epoch, count, implied });
    if (wrong !== undefined) throw new Violation(wrong.rule, wrong.message);
    if (policy === 'async') return;
    if (resumed === 'earlier') this.#toldBy.set(`${vmId}#${boot}`, epoch);
    if (seen === undefined) return;
    if (resumed === 'earlier' && (policy !== 'standby' || why === 'wrong'))
      throw new Violation(
        'told-needlessly',
        `${vmId} says that outputs may be repeated, which ${policy} excludes`,
      );
    const record = noted && this.#store.get<NodeRecord>(nodeKey(noted.node))?.value;
    if (resumed === 'earlier' && why === 'lost' && noted !== undefined && stands(noted, record))
      throw new Violation('passed-by', `${vmId} went on without its standby on ${noted.node}, which stands`);
    for (const [number, digest] of seen) {
      if (implied.get(number) === digest) continue;
      if (resumed !== 'earlier')
        throw new Violation(
          'taken-back',
          `output ${number} of ${vmId} was seen, and does not follow from its state`,
        );
      seen.delete(number);
    }
  }
}

interface Speaker {
  vmId: string;
  boot: number;
  epoch: number;
  policy: OutputPolicy;
}
