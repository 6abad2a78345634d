/**
 * Whether VMs move, live, from crowded nodes to emptier ones. A node is as full as the part of its room that VMs and standbys take. By itself the
 * cluster moves one VM at a time, only after it was calm for a while, and only when the node that is left stays clearly fuller than the one that
 * is moved to: so no such move is ever undone by another, and they come to an end (each takes the fullest nodes down by more than nothing).
 */
import type { PlanInput } from './failover.ts';
import { moveTo } from './moves.ts';
import { losesByRules, takenOn, whyNot, type Host } from './placement.ts';
import type { ProtectedList, ProtectedVm } from './records.ts';
import type { LogEntry } from './types.ts';

/** By how much of its room a node must stay fuller than the one that takes a VM of it. */
const margin = 0.1;

interface Move {
  vm: ProtectedVm;
  to: Host;
  why: string;
}

const fullness = (vms: readonly ProtectedVm[], { id, capacity }: Host, moreMiB = 0): number =>
  (takenOn(vms, id) + moreMiB) / capacity.memoryMiB;

const percent = (part: number): string => `${String(Math.round(part * 100))} %`;

const isMovable = ({ status, desired, assignment, moving }: ProtectedVm): boolean =>
  status === 'running' && desired === 'running' && assignment !== null && !moving;

/** The move of one of `movable` after which its node is fuller than its new one by the most; undefined when none is by `least` or more. */
function bestMove(
  { hosts, vms, movable }: { hosts: readonly Host[]; vms: readonly ProtectedVm[]; movable: ProtectedVm[] },
  least: number,
): Move | undefined {
  let best: (Move & { gain: number }) | undefined;
  const full = new Map(hosts.map((host) => [host.id, fullness(vms, host)]));
  for (const vm of movable) {
    const from = full.get(vm.assignment!.node);
    if (from === undefined) continue;
    for (const to of hosts) {
      const gain = from - full.get(to.id)! - vm.spec.memoryMiB / to.capacity.memoryMiB;
      if (!(gain > 0 && gain >= least) || (best !== undefined && gain <= best.gain)) continue;
      // Its standby would have to go elsewhere first, and what takes its place makes that node fuller.
      if (to.id === vm.assignment!.node || to.id === vm.standby?.node || vm.avoid.includes(to.id)) continue;
      if (whyNot({ vm, hosts, vms, resumesPerNode: Infinity }, to) !== undefined) continue;
      if (losesByRules(vm, vms, to.id)) continue;
      const why = `balance: ${percent(from)} of the room of ${vm.assignment!.node} is taken, ${percent(full.get(to.id)!)} of that of ${to.id}`;
      best = { vm, to, why, gain };
    }
  }
  return best;
}

/** The list with all moves that even out how full nodes are, at most `limit`: what a person asks for. */
export function rebalanced(list: ProtectedList, hosts: readonly Host[], limit: number): ProtectedList {
  let next = list;
  for (let moves = 0; moves < limit; moves++) {
    const vms = Object.values(next.vms);
    const move = bestMove({ hosts, vms, movable: vms.filter(isMovable) }, 0);
    if (move === undefined) break;
    next = moveTo(next, move.vm, move.to, move.why);
  }
  return next;
}

/** Whether something is under way, or wrong, beside which nothing is moved that could stay. */
function isTroubled({ list, hosts, timers: { notBefore }, now }: PlanInput): boolean {
  const isUnwell = [...hosts.values()].some(
    ({ id, record, state, pressure }) =>
      record === 'active' && (state !== 'alive' || pressure !== 'none' || list.maintenance.includes(id)),
  );
  if (isUnwell || list.disarmed !== undefined) return true;
  return Object.values(list.vms).some(
    ({ id, status, moving }) =>
      moving || status === 'starting' || status === 'stopping' || (notBefore.get(id) ?? -Infinity) > now,
  );
}

/**
 * The master's look: at most one move, once the cluster was calm for `balanceAfterMs`, and each time that it has been calm for so long again.
 * @returns since when it is calm; and the list with a move and why, if there is one
 */
export function balance(input: PlanInput): {
  calmSince: number | undefined;
  moved?: { list: ProtectedList; entry: LogEntry };
} {
  const { list, now, settings, timers } = input;
  if (list.balancing === 'off' || isTroubled(input)) return { calmSince: undefined };
  const { calmSince = now } = timers;
  if (now - calmSince < settings.balanceAfterMs) return { calmSince };
  const vms = Object.values(list.vms);
  const hosts = [...input.hosts.values()].filter(({ record }) => record === 'active');
  // What may be about to end its node, or is under a debugger, stays where it is.
  const debugged = new Set(
    hosts.flatMap(({ view }) =>
      (view?.powerOn ?? []).filter((entry) => entry.debugged === true).map(({ vmId }) => vmId),
    ),
  );
  const movable = vms.filter((vm) => isMovable(vm) && vm.proven === true && !debugged.has(vm.id));
  const move = bestMove({ hosts, vms, movable }, margin);
  if (move === undefined) return { calmSince: now };
  const { vm, to, why } = move;
  return {
    calmSince: undefined,
    moved: {
      list: moveTo(list, vm, to, why),
      entry: { event: 'vm-rebalancing', vm: vm.id, node: to.id, reason: why },
    },
  };
}
