// What must always hold (FAILOVER, "What must always hold"), looked at from outside: the checker sees real time and every node.
import { PROTECTED_KEY, type NodeRecord, type ProtectedList } from '@revenant/cluster';
import type { SimNode } from './node.ts';
import type { SimStore } from './store.ts';

export class Violation extends Error {
  readonly rule: string;
  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.rule = rule;
  }
}

/** A node that was whole for so long must not be fenced. */
const HEALTHY_MS = 9000;

export class Checker {
  readonly nodes: Map<string, SimNode>;
  readonly #store: SimStore;
  /** Highest epoch that ever executed an instruction, per VM. */
  readonly #executed = new Map<string, number>();
  /** Highest step acknowledged as durable, per VM and boot. */
  readonly #committed = new Map<string, number>();
  readonly lastRun = new Map<string, number>();
  failovers = 0;

  constructor(nodes: Map<string, SimNode>, store: SimStore) {
    this.nodes = nodes;
    this.#store = store;
  }

  get list(): ProtectedList | undefined {
    return this.#store.get<ProtectedList>(PROTECTED_KEY)?.value;
  }

  /** A guest executed. Invariants 1, 5 and 6. */
  executed(node: string, vmId: string, epoch: number, now: number): void {
    const highest = this.#executed.get(vmId) ?? 0;
    if (epoch < highest)
      throw new Violation('one-owner', `${vmId} ran on ${node} in epoch ${epoch} after epoch ${highest} ran`);
    this.#executed.set(vmId, epoch);
    const status = this.list?.vms[vmId]?.status;
    if (status === 'stopped' || status === 'deleted')
      throw new Violation('never-returns', `${vmId} ran on ${node} while it was ${status}`);
    this.lastRun.set(vmId, now);
  }

  /** A takeover's swap landed over this owner. Invariants 1 and 5. */
  raised(
    vmId: string,
    before: { state: string; epoch: number; node: string; incarnation: number } | undefined,
    by: string,
  ): void {
    if (before?.state !== 'owned') return;
    this.failovers++;
    const owner = this.nodes.get(before.node);
    if (owner === undefined || owner.id === by) return;
    if (owner.mayRun(vmId, before.epoch))
      throw new Violation('still-runs', `${by} took ${vmId} from ${owner.id}, whose lease still stands`);
  }

  /** A fence landed. Invariant 5: a host that runs and reaches the store is not dead, whatever the network says. */
  fenced(record: NodeRecord, now: number): void {
    const node = this.nodes.get(record.id);
    if (node === undefined || !node.up || node.frozen || node.impaired) return;
    if (now - node.impairedUntil > HEALTHY_MS && node.agent.incarnation === record.incarnation)
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
}
