/** Where the standbys of VMs are to be: the master's part (standbys.ts has the nodes'). */
import type { HostSight, PlanInput } from './failover.ts';
import { place, sameSession } from './placement.ts';
import type { ProtectedVm } from './records.ts';
import type { LogEntry } from './types.ts';
import { wantsStandby } from '../protocol/spec.ts';

export interface StandbyChange {
  vm: ProtectedVm;
  entry: LogEntry | undefined;
}

/** The node of a VM's standby while its session is not over: only there does the VM go on with all that came in. */
export function keeper(
  hosts: PlanInput['hosts'],
  { standby, unreadable }: ProtectedVm,
): HostSight | undefined {
  const host = standby && hosts.get(standby.node);
  if (standby === undefined || host === undefined || host.record !== 'active') return undefined;
  if (unreadable?.some((session) => sameSession(session, host)) === true) return undefined;
  return sameSession(standby, host) && host.state !== 'dead' && host.state !== 'left' ? host : undefined;
}

/** A node in maintenance, or that cannot be heard, still reads the list. */
export const mayLead = ({ state }: HostSight): boolean => state !== 'unreachable';

/** What is to change about the standby of a VM; undefined: nothing. */
export function standbyOf({ list, hosts }: PlanInput, vm: ProtectedVm): StandbyChange | undefined {
  const { standby, alone, ...rest } = vm;
  const isWanted = wantsStandby(vm.spec) && (vm.desired === 'running' || vm.desired === 'paused');
  if (!isWanted)
    return standby === undefined && alone === undefined ? undefined : { vm: rest, entry: undefined };
  if (vm.assignment === null || vm.moving || (vm.status !== 'running' && vm.status !== 'paused'))
    return undefined;
  const now = keeper(hosts, vm);
  const stays =
    now !== undefined &&
    now.id !== vm.assignment.node &&
    now.state !== 'maintenance' &&
    now.pressure === 'none';
  if (stays) return undefined;
  const others = [...hosts.values()].filter(({ id }) => id !== vm.assignment?.node && id !== now?.id);
  const vms = Object.values(list.vms);
  const chosen = place({ vm: { ...rest, avoid: [] }, hosts: others, vms, resumesPerNode: Infinity });
  if (chosen.host === undefined) {
    const reason = `it has no standby: ${chosen.reason}`;
    if (alone === reason && standby === undefined) return undefined;
    return {
      vm: { ...rest, alone: reason },
      entry: { event: 'standby-waits', vm: vm.id, reason: chosen.reason },
    };
  }
  const { id, incarnation } = chosen.host;
  const reason = standby === undefined ? 'it has none' : `${standby.node} can't be it any more`;
  return {
    vm: { ...rest, standby: { node: id, incarnation } },
    entry: { event: 'standby-assigned', vm: vm.id, node: id, reason },
  };
}
