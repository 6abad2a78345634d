/** `/metrics` in the text format of Prometheus (exposition format 0.0.4). */
import { reachable } from '../decisions/membership.ts';
import { monotonicMs } from '../vm/vm-runtime.ts';
import type { VmFigures } from '../vm/vm-figures.ts';
import type { ClusterNode } from './cluster-node.ts';

type Labels = Record<string, string>;

type Put = (name: string, type: 'gauge' | 'counter', help: string, values: [Labels, number][]) => void;

const one = (value: number): [Labels, number][] => [[{}, value]];

export function metrics(node: ClusterNode): string {
  const lines: string[] = [];
  const put: Put = (name, type, help, values) => {
    lines.push(`# HELP revenant_${name} ${help}`, `# TYPE revenant_${name} ${type}`);
    for (const [labels, value] of values) {
      const text = Object.entries(labels).map(([key, label]) => `${key}="${label.replace(/["\\\n]/g, '_')}"`);
      lines.push(`revenant_${name}${text.length === 0 ? '' : `{${text.join(',')}}`} ${String(value)}`);
    }
  };
  const now = monotonicMs();
  nodeMetrics(node, now, put);
  vmMetrics(node, now, put);
  return `${lines.join('\n')}\n`;
}

function nodeMetrics(
  { agent, links, storeEdge, heartbeatStores, options }: ClusterNode,
  now: number,
  put: Put,
): void {
  put(
    'master',
    'gauge',
    '1 on the node that holds the protected list.',
    one(agent.master === undefined ? 0 : 1),
  );
  put('term', 'gauge', 'Term of the protected list.', one(agent.list.term));
  put(
    'lease_remaining_seconds',
    'gauge',
    'How long guests may still run without a renewal.',
    one(Math.max(0, Number.isFinite(agent.leaseUntil) ? (agent.leaseUntil - now) / 1000 : 0)),
  );
  put('isolated', 'gauge', '1 when no other node is heard.', one(agent.view.isolated ? 1 : 0));
  const context = { state: agent, now, settings: options.settings, out: [] };
  put(
    'peer_reachable',
    'gauge',
    'Network heartbeats in both directions.',
    [...agent.peers.values()].map((peer) => [
      { peer: peer.id, state: peer.state },
      reachable(context, peer) ? 1 : 0,
    ]),
  );
  put('messages_sent_total', 'counter', 'Messages sent to peers.', one(links.figures.sent));
  put('messages_received_total', 'counter', 'Messages heard from peers.', one(links.figures.received));
  put(
    'messages_dropped_total',
    'counter',
    'Messages dropped because a link was congested.',
    one(links.figures.dropped),
  );
  put(
    'links_refused_total',
    'counter',
    'Links refused: no token, wrong token, malformed, too slow.',
    one(links.figures.refused),
  );
  put(
    'store_operations_total',
    'counter',
    'Operations on records in the store.',
    one(storeEdge.figures.operations),
  );
  put('store_failures_total', 'counter', 'Of these, failed.', one(storeEdge.figures.failures));
  put('store_seconds_total', 'counter', 'Time spent in them.', one(storeEdge.figures.seconds));
  put(
    'heartbeat_store_reached',
    'gauge',
    "1 while a heartbeat datastore takes this node's beats.",
    heartbeatStores.states.map(({ url, reached }) => [{ store: url }, reached ? 1 : 0]),
  );
}

/** One number for each VM that runs here. */
const ofEachVm: readonly [
  name: string,
  type: 'gauge' | 'counter',
  help: string,
  of: (vm: VmFigures) => number,
][] = [
  ['vm_epoch', 'gauge', 'Epoch under which a VM runs here.', (vm) => vm.epoch],
  ['vm_instructions_total', 'counter', 'Retired guest instructions.', (vm) => Number(vm.instructions)],
  ['vm_checkpoints_total', 'counter', 'Durable checkpoints by this node.', (vm) => vm.checkpoints],
  [
    'vm_checkpoint_pause_seconds',
    'gauge',
    'How long the last checkpoint stopped the guest.',
    (vm) => vm.lastPauseMs / 1000,
  ],
  [
    'vm_checkpoint_interval_seconds',
    'gauge',
    'Interval at which checkpoints become durable; longer than asked for while the store is slow.',
    (vm) => vm.checkpointIntervalMs / 1000,
  ],
  [
    'vm_silent_seconds',
    'gauge',
    'Since the last sign of life of a guest that is watched; 0 for others.',
    (vm) => vm.silentMs / 1000,
  ],
  [
    'vm_checkpoint_held_bytes',
    'gauge',
    'Guest pages that wait in memory to become durable.',
    (vm) => vm.heldBytes,
  ],
  [
    'vm_checkpoints_removed_total',
    'counter',
    'Checkpoints that the retention policy did not keep.',
    (vm) => vm.removedCheckpoints,
  ],
  [
    'vm_checkpoint_removed_bytes_total',
    'counter',
    'Bytes of packs removed with them.',
    (vm) => vm.removedBytes,
  ],
  ['vm_checkpoint_bytes', 'gauge', 'Bytes stored by the last checkpoint.', (vm) => vm.lastStoredBytes],
  [
    'vm_output_held_bytes',
    'gauge',
    'What the guest said and nobody may hear yet.',
    (vm) => vm.outputs.heldOutputBytes,
  ],
  ['vm_log_bytes_total', 'counter', 'Bytes of the input log, by this node.', (vm) => vm.outputs.logBytes],
  ['vm_log_segments_total', 'counter', 'Segments of it.', (vm) => vm.outputs.logSegments],
  [
    'vm_standby_in_sync',
    'gauge',
    '1 while another node holds all that came in.',
    (vm) => (vm.standby?.condition === 'in-sync' ? 1 : 0),
  ],
  [
    'vm_standby_lag_seconds',
    'gauge',
    'How long what is on its way to the standby has waited.',
    (vm) => (vm.standby?.lagMs ?? 0) / 1000,
  ],
  [
    'vm_standby_behind_instructions',
    'gauge',
    "By how many instructions the standby's machine is behind.",
    (vm) => vm.standby?.behindInstructions ?? 0,
  ],
  ['vm_log_waiting_bytes', 'gauge', 'Inputs that are not durable yet.', (vm) => vm.outputs.logWaitingBytes],
];

function vmMetrics({ vms }: ClusterNode, now: number, put: Put): void {
  const { figures } = vms;
  put('standbys', 'gauge', 'VMs of other nodes that machines here follow.', one(vms.standbys.followed));
  put(
    'standbys_diverged_total',
    'counter',
    'Machines here that were found to differ from those that they follow.',
    one(vms.standbys.diverged),
  );
  for (const [name, type, help, of] of ofEachVm)
    put(
      name,
      type,
      help,
      figures.map((vm) => [{ vm: vm.vmId }, of(vm)]),
    );
  put(
    'vm_checkpoint_age_seconds',
    'gauge',
    'Since the last durable checkpoint.',
    figures
      .filter((vm) => vm.checkpoints > 0)
      .map((vm) => [{ vm: vm.vmId }, (now - vm.lastCheckpointAt) / 1000]),
  );
}
