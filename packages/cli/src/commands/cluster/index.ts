/** `revenant cluster`: the nodes together. */
import { entry, type Group } from '../../command/command.ts';

export const group: Group = {
  summary: 'look at the cluster: status, nodes, events; drain or remove a node, rebalance',
  fallback: 'status',
  commands: {
    status: entry('nodes and VMs', () => import('./status.ts')),
    nodes: entry(
      'nodes: state with its reason, address, memory, datastores reached, VMs',
      () => import('./nodes.ts'),
    ),
    events: entry(
      'what was seen and decided, by whom and why: "what happened at 12:03"',
      () => import('./events.ts'),
    ),
    drain: entry(
      'put a node in maintenance: its VMs move away, live; nothing new is placed there',
      () => import('./drain.ts'),
    ),
    undrain: entry('take a node back from maintenance', () => import('./undrain.ts')),
    disarm: entry('hold failover back while hosts or network are worked on', () => import('./disarm.ts')),
    arm: entry('let failover happen again, and what was held with it', () => import('./arm.ts')),
    rebalance: entry('move VMs, live, from full nodes to empty ones', () => import('./rebalance.ts')),
    remove: entry('show a node that is over no longer', () => import('./remove.ts')),
  },
};
