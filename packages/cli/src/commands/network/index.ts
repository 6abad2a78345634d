/** `revenant network`: networks of a cluster's VMs. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'networks of the VMs: create, list, delete',
  about: `A network is one segment over all nodes: a VM keeps its MAC and its address wherever it runs. VMs of different networks
never see each other's frames.`,
  fallback: 'list',
  commands: {
    create: () => import('./create.ts'),
    list: () => import('./list.ts'),
    delete: () => import('./delete.ts'),
  },
};
