/** `revenant network`: networks of a cluster's VMs. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'networks of the VMs: create, list, delete',
  about: `A network is one segment over all nodes: a VM keeps its MAC and its address wherever it runs. VMs of different networks
never see each other's frames.`,
  fallback: 'list',
  commands: {
    create: entry('a new network for VMs, over all nodes', () => import('./create.ts')),
    list: entry('the networks, and the VMs in each', () => import('./list.ts')),
    delete: entry('delete a network that no VM is in', () => import('./delete.ts')),
  },
};
