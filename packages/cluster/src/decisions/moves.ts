/** Changes of the protected list that several decisions make. */
import type { Host } from './placement.ts';
import type { ProtectedList, ProtectedVm } from './records.ts';

export function withVm(list: ProtectedList, vm: ProtectedVm): ProtectedList {
  return { ...list, vms: { ...list.vms, [vm.id]: vm } };
}

/** The list with a VM on its way to another node: assigned there, to be handed over by the one that has it. */
export function moveTo(list: ProtectedList, vm: ProtectedVm, to: Host, why: string): ProtectedList {
  const attempt = vm.attempt + 1;
  return withVm(list, {
    ...vm,
    status: 'starting',
    moving: true,
    proven: false,
    reason: `moving from ${vm.assignment?.node ?? 'nowhere'} to ${to.id}: ${why}`,
    attempt,
    assignment: { node: to.id, incarnation: to.incarnation, attempt },
  });
}
