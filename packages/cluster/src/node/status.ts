/** What a node knows of the cluster, for whoever asks. */
import { hasReadList, vmsSeen } from '../decisions/state.ts';
import type { ClusterStatus } from '../protocol/api.ts';
import { protocolVersion } from '../protocol/version.ts';
import type { ClusterNode } from './cluster-node.ts';

export function status(node: ClusterNode): ClusterStatus {
  const { agent, address } = node;
  const self = {
    id: agent.id,
    state: agent.list.maintenance.includes(agent.id) ? ('maintenance' as const) : ('alive' as const),
    reason: 'answers',
    incarnation: agent.incarnation,
    address,
    view: agent.view,
  };
  const peers = [...agent.peers.values()].map((peer) => ({
    id: peer.id,
    state: peer.state,
    reason: peer.reason,
    incarnation: peer.incarnation,
    ...(peer.view === undefined ? {} : { address: peer.view.address, view: peer.view }),
  }));
  return {
    version: protocolVersion,
    node: agent.id,
    phase: agent.phase,
    ...(hasReadList(agent) ? {} : { listUnread: true as const }),
    term: agent.list.term,
    master: agent.list.master?.node ?? null,
    nodes: [self, ...peers],
    vms: vmsSeen(agent, node.now()),
    maintenance: agent.list.maintenance,
    ...(agent.list.removed === undefined ? {} : { removed: agent.list.removed }),
    ...(agent.list.disarmed === undefined ? {} : { disarmed: agent.list.disarmed }),
    ...(agent.list.balancing === undefined ? {} : { balancing: agent.list.balancing }),
    networks: agent.list.networks,
    heartbeatStores: node.heartbeatStores.states,
  };
}
