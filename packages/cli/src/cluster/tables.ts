/** VMs, nodes and events as a person reads them. */
import type { ClusterEvent, ClusterStatus, VmSeen } from '@revenant/cluster';
import { presentNodes } from '@revenant/cluster/protocol';
import { table } from '../output/print.ts';

/** Status and reason of a VM for people: the list says `running` also while its node has no lease. */
export function statusOf(vm: VmSeen): { status: string; reason: string } {
  const { status, desired, reason, stays, suspendedMs } = vm;
  if (suspendedMs !== undefined)
    return {
      status: 'suspended',
      reason: `the store does not answer since ${new Date(Date.now() - suspendedMs).toISOString()}`,
    };
  if (vm.storeFull === true) {
    const quota = `its store quota of ${(vm.spec.storeQuotaBytes ?? 0) / 2 ** 20} MiB is used up`;
    const advice = `raise it (vm set ${vm.id} --store-quota SIZE), or keep fewer checkpoints (checkpoint gc)`;
    return { status: 'held', reason: `${quota}: ${advice}` };
  }
  return {
    status: status === desired || desired === 'running' ? status : `${status} (to be ${desired})`,
    reason: stays === undefined ? reason : `stays on ${vm.assignment?.node ?? 'its node'}: ${stays}`,
  };
}

/** Where another machine follows a VM, and how that does; undefined: none does, and none shall. */
export function standbyWords({
  standby,
  standbyCondition,
  alone,
}: Pick<VmSeen, 'standby' | 'standbyCondition' | 'alone'>): string | undefined {
  if (standby === undefined) return alone === undefined ? undefined : 'none';
  return `${standby.node} (${(standbyCondition ?? 'preparing').replace('-', ' ')})`;
}

export function vmTable(vms: readonly VmSeen[]): string {
  const rows = vms
    .map((vm) => ({ ...vm, ...statusOf(vm) }))
    .map(({ id, status, assignment, spec, reason, ...vm }) => [
      id,
      status,
      assignment?.node ?? '-',
      standbyWords(vm) ?? '-',
      `${spec.memoryMiB} MiB`,
      String(spec.priority),
      reason,
    ]);
  return table(['NAME', 'STATUS', 'NODE', 'STANDBY', 'MEMORY', 'PRIORITY', 'REASON'], rows);
}

/** What is there now: no VM that was deleted, no node that left, or that is over and was removed; and what was left out, in words. */
export function presentOf(status: ClusterStatus): { present: ClusterStatus; hidden: string | undefined } {
  const vms = status.vms.filter((vm) => vm.status !== 'deleted');
  const nodes = presentNodes(status);
  const left = [
    [status.nodes.length - nodes.length, 'nodes'] as const,
    [status.vms.length - vms.length, 'VMs'] as const,
  ].flatMap(([count, what]) =>
    count === 0 ? [] : `${String(count)} ${count === 1 ? what.slice(0, -1) : what}`,
  );
  return {
    present: { ...status, vms, nodes },
    hidden: left.length === 0 ? undefined : `not shown: ${left.join(' and ')} of before (--all)`,
  };
}

export function nodeTable({ nodes, master, maintenance }: ClusterStatus): string {
  const rows = nodes.map(({ id, state, reason, address, view }) => [
    id === master ? `${id} (master)` : id,
    maintenance.includes(id) ? 'maintenance' : state,
    address ?? '-',
    view === undefined ? '-' : `${view.capacity.memoryMiB} MiB`,
    view === undefined ? '-' : String(view.stores),
    view === undefined ? '-' : view.powerOn.map(({ vmId }) => vmId).join(',') || 'none',
    reason,
  ]);
  return table(['NODE', 'STATE', 'ADDRESS', 'MEMORY', 'STORES', 'VMS', 'REASON'], rows);
}

/** `2026-01-31 12:03:04.567  a  host-dead  c: no network heartbeat …` */
export function eventLine({ atMs, by, event, vm, node, reason }: ClusterEvent): string {
  const at = new Date(atMs).toISOString().replace('T', ' ').replace('Z', '');
  const subject = [vm, node].filter((part) => part !== undefined).join(' on ');
  return `${at}  ${by.padEnd(8)}  ${event.padEnd(18)}  ${subject === '' ? '' : `${subject}: `}${reason}`;
}
