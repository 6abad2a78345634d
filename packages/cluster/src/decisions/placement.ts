/** Where a VM goes. Pure choices over what is known. */
import {
  whyUnreadable,
  type Assignment,
  type Capacity,
  type NodeView,
  type ProtectedVm,
  type StateForm,
} from './records.ts';
import type { HostState } from './types.ts';

export interface Host {
  id: string;
  incarnation: number;
  state: HostState;
  capacity: Capacity;
  pressure: NodeView['pressure'];
  reads?: StateForm | undefined;
  runtimes?: readonly string[] | undefined;
}

export interface PlacementInput {
  vm: ProtectedVm;
  hosts: readonly Host[];
  vms: readonly ProtectedVm[];
  resumesPerNode: number;
}

export type Placement = { host: Host } | { host: undefined; reason: string };

/** VMs that take room on a node: assigned to it, whatever they are doing there. */
export function assignedTo(vms: readonly ProtectedVm[], node: string): ProtectedVm[] {
  return vms.filter((vm) => vm.assignment?.node === node);
}

/**
 * Chooses a node, or says why none fits. Order: not tried in vain before, one that it prefers, its standby's, with others of its affinity group, most
 * memory left, fewest resumes under way, smallest id (so that two masters that know the same choose the same).
 */
export function place(input: PlacementInput): Placement {
  const { vm, hosts, vms } = input;
  let best: { host: Host; score: readonly number[] } | undefined;
  const refused = new Map<string, number>();
  for (const host of hosts) {
    const why = whyNot(input, host);
    if (why !== undefined) {
      refused.set(why, (refused.get(why) ?? 0) + 1);
      continue;
    }
    const others = assignedTo(vms, host.id).filter(({ id }) => id !== vm.id);
    const free = host.capacity.memoryMiB - memoryOf(others) - standbyMemory(vms, host.id, vm.id);
    const starting = others.filter(({ status }) => status === 'starting').length;
    const score = [
      vm.avoid.includes(host.id) ? 1 : 0,
      isPreferred(vm, host.id) ? 0 : 1,
      vm.standby?.node === host.id ? 0 : 1,
      hasKin(vm, others) ? 0 : 1,
      -free,
      starting,
    ];
    if (best === undefined || before(score, host.id, best.score, best.host.id)) best = { host, score };
  }
  if (best !== undefined) return { host: best.host };
  const reasons = [...refused].map(([why, count]) => `${String(count)} ${why}`).join(', ');
  return { host: undefined, reason: `no node fits: ${reasons === '' ? 'none is alive' : reasons}` };
}

/** Whether its rules let it run on a node. */
export const mayUse = ({ spec }: ProtectedVm, node: string): boolean => spec.nodes?.includes(node) ?? true;

const isPreferred = ({ spec }: ProtectedVm, node: string): boolean => spec.prefers?.includes(node) ?? true;

/** Whether some of `others` are of its affinity group. */
const hasKin = ({ id, spec }: ProtectedVm, others: readonly ProtectedVm[]): boolean =>
  spec.affinity === undefined ||
  others.some((other) => other.id !== id && other.spec.affinity === spec.affinity);

/** From so many on, one after the other, the nodes that ended under a VM are no chance, until it proves itself. */
const suspectAfter = 2;

/** It may be what ended the nodes that it ran on, so it is tried where nothing else is on trial. */
export function isSuspect({ ended, proven }: ProtectedVm): boolean {
  return proven !== true && (ended?.length ?? 0) >= suspectAfter;
}

/** What standbys on a node take: as much as their VMs, which they may have to be at any time. */
function standbyMemory(vms: readonly ProtectedVm[], node: string, but: string | undefined): number {
  return memoryOf(vms.filter((vm) => vm.id !== but && vm.standby?.node === node));
}

function memoryOf(vms: readonly ProtectedVm[]): number {
  return vms.reduce((sum, vm) => sum + vm.spec.memoryMiB, 0);
}

/** MiB of a node's room that VMs assigned to it and standbys on it take. */
export function takenOn(vms: readonly ProtectedVm[], node: string): number {
  return memoryOf(assignedTo(vms, node)) + standbyMemory(vms, node, undefined);
}

/** Why a node is no place for a VM now; undefined when it is one. */
export function whyNot({ vm, vms, resumesPerNode }: PlacementInput, host: Host): string | undefined {
  if (host.state !== 'alive') return host.state;
  if (host.pressure !== 'none') return `short of ${host.pressure}`;
  const unable = whyUnable(vm, host);
  if (unable !== undefined) return unable;
  const others = assignedTo(vms, host.id).filter(({ id }) => id !== vm.id);
  const taken = memoryOf(others) + standbyMemory(vms, host.id, vm.id);
  if (taken + vm.spec.memoryMiB > host.capacity.memoryMiB) return 'without enough memory';
  const group = vm.spec.antiAffinity;
  if (group !== undefined && others.some(({ spec }) => spec.antiAffinity === group))
    return 'with one of its group';
  if (others.filter(({ status }) => status === 'starting').length >= resumesPerNode) return 'busy resuming';
  // One at a time: should the node end, it is known which it was.
  if (others.some(isSuspect)) return 'with a VM on trial that may have ended nodes';
  if (isSuspect(vm) && others.some(onTrial)) return 'with another VM on trial';
  return undefined;
}

/** What a node lacks for a VM that no waiting gives it. */
function whyUnable(vm: ProtectedVm, host: Host): string | undefined {
  if (!mayUse(vm, host.id)) return 'outside of the nodes that it may use';
  if (host.runtimes?.includes(vm.spec.runtime) === false) return `without the runtime ${vm.spec.runtime}`;
  const unread =
    vm.state !== undefined && host.reads !== undefined ? whyUnreadable(vm.state, host.reads) : undefined;
  if (unread !== undefined) return unread;
  const tried = vm.unreadable?.some((session) => sameSession(session, host)) === true;
  return tried ? 'unable to read its state' : undefined;
}

/** Nodes that are up, and those that may come back in a moment. */
const mayHold: ReadonlySet<HostState> = new Set([
  'alive',
  'maintenance',
  'unreachable',
  'partitioned',
  'isolated',
]);
const up: ReadonlySet<HostState> = new Set(['alive', 'maintenance']);
const maxOffers = 8;

/**
 * Why no node that is known could ever hold so much, with what each offers; undefined when one could, full or not. Where none is up
 * nobody can say: the VM waits then, and says for what.
 */
export function whyNeverFits(
  memoryMiB: number,
  hosts: readonly Pick<Host, 'id' | 'state' | 'capacity'>[],
): string | undefined {
  const known = hosts.filter(({ state }) => mayHold.has(state));
  if (!known.some(({ state }) => up.has(state))) return undefined;
  if (known.some(({ capacity }) => capacity.memoryMiB >= memoryMiB)) return undefined;
  const largest = known.toSorted((a, b) => b.capacity.memoryMiB - a.capacity.memoryMiB);
  const offers = largest
    .slice(0, maxOffers)
    .map(({ id, capacity }) => `${id} has ${String(capacity.memoryMiB)}`);
  const more = largest.length > maxOffers ? `, ${String(largest.length - maxOffers)} more have less` : '';
  return `it takes ${String(memoryMiB)} MiB of memory, and no node has so much for VMs: ${offers.join(', ')}${more}`;
}

const onTrial = ({ proven, status }: ProtectedVm): boolean =>
  proven !== true && (status === 'starting' || status === 'running' || status === 'paused');

function before(a: readonly number[], idA: string, b: readonly number[], idB: string): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return idA < idB;
}

/** True when the session that an assignment names is that of a node we believe to be up or at least not over. */
export function sameSession(
  assignment: Pick<Assignment, 'node' | 'incarnation'>,
  host: { id: string; incarnation: number },
): boolean {
  return assignment.node === host.id && assignment.incarnation === host.incarnation;
}

/** Whether a node is worse for a VM than the one that it is on, by its rules. */
export function losesByRules(vm: ProtectedVm, vms: readonly ProtectedVm[], to: string): boolean {
  const from = vm.assignment!.node;
  if (isPreferred(vm, from) && !isPreferred(vm, to)) return true;
  return hasKin(vm, assignedTo(vms, from)) && !hasKin(vm, assignedTo(vms, to));
}
