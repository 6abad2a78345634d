/** What of a cluster is there now, of all that its nodes know of. */
import type { ClusterStatus, NodeStatus } from './api.ts';

/** Neither nodes that left by themselves, nor those that are over and were removed. */
export function presentNodes({ nodes, removed = {} }: ClusterStatus): NodeStatus[] {
  return nodes.filter(
    ({ id, state, incarnation }) =>
      state !== 'left' && !(state === 'dead' && incarnation <= (removed[id] ?? -1)),
  );
}
