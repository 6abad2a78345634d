/** `revenant vm disk`: disks of VMs of a cluster. */
import { entry, type Group } from '../../../command/command.ts';

export const group: Group = {
  summary: 'disks of a VM: list, export',
  fallback: 'list',
  commands: {
    list: entry('the disks of a VM, as its newest checkpoint has them', () => import('./list.ts')),
    export: entry('write a disk of a VM to a file, qcow2 or raw', () => import('./export.ts')),
  },
};
