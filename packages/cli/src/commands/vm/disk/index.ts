/** `revenant vm disk`: disks of VMs of a cluster. */
import type { Group } from '../../../command/command.ts';

export const group: Group = {
  summary: 'disks of a VM: list, export',
  fallback: 'list',
  commands: {
    list: () => import('./list.ts'),
    export: () => import('./export.ts'),
  },
};
