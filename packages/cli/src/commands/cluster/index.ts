/** `revenant cluster`: the nodes together. */
import type { Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'look at the cluster: status, nodes, events; drain or remove a node, rebalance',
  fallback: 'status',
  commands: {
    status: () => import('./status.ts'),
    nodes: () => import('./nodes.ts'),
    events: () => import('./events.ts'),
    drain: () => import('./drain.ts'),
    undrain: () => import('./undrain.ts'),
    remove: () => import('./remove.ts'),
    rebalance: () => import('./rebalance.ts'),
  },
};
