/** VMs, nodes and events as a person reads them. */
import type { ClusterEvent, ClusterStatus, ProtectedVm } from '@revenant/cluster';
import { table } from '../output/print.ts';

export function vmTable(vms: readonly ProtectedVm[]): string {
  const rows = vms.map(({ id, status, desired, assignment, spec, reason }) => [
    id,
    status === desired || desired === 'running' ? status : `${status} (to be ${desired})`,
    assignment?.node ?? '-',
    `${spec.memoryMiB} MiB`,
    String(spec.priority),
    reason,
  ]);
  return table(['NAME', 'STATUS', 'NODE', 'MEMORY', 'PRIORITY', 'REASON'], rows);
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
