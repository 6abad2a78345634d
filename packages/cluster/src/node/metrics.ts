/** `/metrics` for Prometheus: what a node counts while it runs (`NodeMeasures`), and what it reads off itself when it is asked. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { reachable } from '../decisions/membership.ts';
import { protocolVersion } from '../protocol/version.ts';
import type { VmFigures } from '../vm/vm-figures.ts';
import type { Measures } from '../vm/measures.ts';
import { monotonicMs } from '../vm/vm-runtime.ts';
import type { ClusterNode } from './cluster-node.ts';
import { storeRequests, type StoreMeasures, type StoreRequest } from './measured-store.ts';

/** Of Node's own: named like counters, which promtool refuses. */
const misnamed = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);
/** In seconds. */
const shortTimes = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const storeTimes = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const takeoverTimes = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

type Labels = Record<string, string>;
type Values = readonly (readonly [Labels, number])[];
type Of<T> = readonly [name: string, help: string, of: (from: T) => number];

/** What is counted as it happens. Each series is of this node; a VM that moves goes on in another's. */
export class NodeMeasures implements Measures, StoreMeasures {
  readonly registry = new Registry();
  readonly #pause = this.#histogram(
    'checkpoint_pause_seconds',
    'How long checkpoints stopped guests.',
    shortTimes,
  );
  readonly #stored = this.#histogram(
    'checkpoint_store_seconds',
    'From a checkpoint to its being durable.',
    storeTimes,
  );
  readonly #put = this.#histogram(
    'store_put_seconds',
    'Writes of any object into the store that succeeded.',
    storeTimes,
  );
  readonly #waited = this.#histogram(
    'output_wait_seconds',
    'How long what guests said waited until it could leave.',
    storeTimes,
  );
  readonly #takeover = this.#histogram(
    'takeover_seconds',
    'From the order to take a VM over to its first instruction here.',
    takeoverTimes,
  );
  readonly #requests: Counter;
  readonly #frames: Counter;
  readonly #bytes: Counter;
  readonly #rebalanced: Counter;

  constructor(node: string) {
    this.registry.setDefaultLabels({});
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    for (const name of misnamed) this.registry.removeSingleMetric(name);
    this.#requests = new Counter({
      name: 'revenant_store_requests_total',
      help: 'What was asked of the store, whatever the answer was.',
      labelNames: ['request'],
      registers,
    });
    for (const request of storeRequests) this.#requests.inc({ request }, 0);
    const labelNames = ['vm', 'direction'];
    this.#frames = new Counter({
      name: 'revenant_vm_network_frames_total',
      help: 'Frames of guests, out of them and in.',
      labelNames,
      registers,
    });
    this.#bytes = new Counter({
      name: 'revenant_vm_network_bytes_total',
      help: 'Bytes of these frames.',
      labelNames,
      registers,
    });
    this.#rebalanced = new Counter({
      name: 'revenant_rebalance_moves_total',
      help: 'Moves by which this node, as master, evened out how full nodes are.',
      registers,
    });
    const info = new Gauge({
      name: 'revenant_build_info',
      help: 'Always 1: what runs here.',
      labelNames: ['node', 'protocol', 'runtime'],
      registers,
    });
    info.set({ node, protocol: String(protocolVersion), runtime: process.version }, 1);
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `revenant_${name}`, help, buckets, registers: [this.registry] });
  }

  paused(ms: number): void {
    this.#pause.observe(ms / 1000);
  }
  stored(ms: number): void {
    this.#stored.observe(ms / 1000);
  }
  asked(request: StoreRequest): void {
    this.#requests.inc({ request });
  }
  put(ms: number): void {
    this.#put.observe(ms / 1000);
  }
  waited(ms: number): void {
    this.#waited.observe(ms / 1000);
  }
  tookOver(ms: number): void {
    this.#takeover.observe(ms / 1000);
  }
  rebalanced(): void {
    this.#rebalanced.inc();
  }
  frame(vm: string, direction: 'in' | 'out', bytes: number): void {
    this.#frames.inc({ vm, direction });
    this.#bytes.inc({ vm, direction }, bytes);
  }
  /** A VM is no longer here: its series end. */
  left(vm: string): void {
    for (const direction of ['in', 'out']) {
      this.#frames.remove({ vm, direction });
      this.#bytes.remove({ vm, direction });
    }
  }
}

const ofNode: { gauges: readonly Of<ClusterNode>[]; counters: readonly Of<ClusterNode>[] } = {
  gauges: [
    [
      'master',
      '1 on the node that holds the protected list.',
      ({ agent }) => (agent.master === undefined ? 0 : 1),
    ],
    ['term', 'Term of the protected list.', ({ agent }) => agent.list.term],
    ['lease_remaining_seconds', 'How long guests may still run without a renewal.', leaseSeconds],
    ['isolated', '1 when no other node is heard.', ({ agent }) => (agent.view.isolated ? 1 : 0)],
    [
      'failover_disarmed',
      '1 while a person holds failover back.',
      ({ agent }) => (agent.list.disarmed === undefined ? 0 : 1),
    ],
    [
      'rebalancing',
      '1 while crowded nodes give VMs to emptier ones by themselves.',
      ({ agent }) => (agent.list.balancing === 'off' ? 0 : 1),
    ],
    [
      'memory_offered_bytes',
      'What this node offers to guests.',
      ({ agent }) => agent.view.capacity.memoryMiB * 2 ** 20,
    ],
    ['standbys', 'VMs of other nodes that machines here follow.', ({ vms }) => vms.standbys.followed],
    ['vms', 'VMs that run here.', ({ vms }) => vms.figures.length],
  ],
  counters: [
    ['messages_sent_total', 'Messages sent to peers.', ({ links }) => links.figures.sent],
    ['messages_received_total', 'Messages heard from peers.', ({ links }) => links.figures.received],
    [
      'messages_dropped_total',
      'Messages dropped because a link was congested.',
      ({ links }) => links.figures.dropped,
    ],
    [
      'links_refused_total',
      'Links refused: no token, wrong token, malformed, too slow.',
      ({ links }) => links.figures.refused,
    ],
    [
      'standbys_diverged_total',
      'Machines here that were found to differ from those that they follow.',
      ({ vms }) => vms.standbys.diverged,
    ],
    [
      'store_operations_total',
      'Operations on records in the store.',
      ({ storeEdge }) => storeEdge.figures.operations,
    ],
    ['store_failures_total', 'Of these, failed.', ({ storeEdge }) => storeEdge.figures.failures],
    ['store_seconds_total', 'Time spent in them.', ({ storeEdge }) => storeEdge.figures.seconds],
  ],
};

function leaseSeconds({ agent }: ClusterNode): number {
  return Number.isFinite(agent.leaseUntil) ? Math.max(0, (agent.leaseUntil - monotonicMs()) / 1000) : 0;
}

const ofEachVm: { gauges: readonly Of<VmFigures>[]; counters: readonly Of<VmFigures>[] } = {
  gauges: [
    ['vm_epoch', 'Epoch under which a VM runs here.', (vm) => vm.epoch],
    ['vm_memory_bytes', 'Memory of a guest.', (vm) => vm.memoryBytes],
    [
      'vm_checkpoint_pause_seconds',
      'How long the last checkpoint stopped the guest.',
      (vm) => vm.lastPauseMs / 1000,
    ],
    [
      'vm_checkpoint_interval_seconds',
      'Interval at which checkpoints become durable; longer than asked for while the store is slow.',
      (vm) => vm.checkpointIntervalMs / 1000,
    ],
    [
      'vm_silent_seconds',
      'Since the last sign of life of a guest that is watched; 0 for others.',
      (vm) => vm.silentMs / 1000,
    ],
    ['vm_checkpoint_held_bytes', 'Guest pages that wait in memory to become durable.', (vm) => vm.heldBytes],
    ['vm_checkpoint_bytes', 'Bytes stored by the last checkpoint.', (vm) => vm.lastStoredBytes],
    ['vm_store_bytes', 'What checkpoints, log and records of a VM hold in the store.', (vm) => vm.storeBytes],
    ['vm_store_quota_bytes', 'How much of it they may; 0: no limit.', (vm) => vm.storeQuotaBytes ?? 0],
    [
      'vm_output_held_bytes',
      'What the guest said and nobody may hear yet.',
      (vm) => vm.outputs.heldOutputBytes,
    ],
    [
      'vm_standby_in_sync',
      '1 while another node holds all that came in.',
      (vm) => (vm.standby?.condition === 'in-sync' ? 1 : 0),
    ],
    [
      'vm_standby_lag_seconds',
      'How long what is on its way to the standby has waited.',
      (vm) => (vm.standby?.lagMs ?? 0) / 1000,
    ],
    [
      'vm_standby_behind_instructions',
      "By how many instructions the standby's machine is behind.",
      (vm) => vm.standby?.behindInstructions ?? 0,
    ],
    ['vm_log_waiting_bytes', 'Inputs that are not durable yet.', (vm) => vm.outputs.logWaitingBytes],
  ],
  counters: [
    ['vm_instructions_total', 'Retired guest instructions.', (vm) => Number(vm.instructions)],
    ['vm_busy_seconds_total', "Time that the guest's thread worked.", (vm) => vm.busyMs / 1000],
    ['vm_disk_requests_total', "Requests of the guest's disks.", (vm) => vm.diskRequests],
    ['vm_checkpoints_total', 'Durable checkpoints by this node.', (vm) => vm.checkpoints],
    [
      'vm_checkpoints_removed_total',
      'Checkpoints that the retention policy did not keep.',
      (vm) => vm.removedCheckpoints,
    ],
    ['vm_checkpoint_removed_bytes_total', 'Bytes of packs removed with them.', (vm) => vm.removedBytes],
    ['vm_log_bytes_total', 'Bytes of the input log, by this node.', (vm) => vm.outputs.logBytes],
    ['vm_log_segments_total', 'Segments of it.', (vm) => vm.outputs.logSegments],
  ],
};

/** The metrics of a node, as Prometheus reads them. */
export async function metrics(node: ClusterNode): Promise<{ type: string; text: string }> {
  const now = new Registry();
  const put = (kind: 'gauges' | 'counters', name: string, help: string, values: Values): void => {
    const about = {
      name: `revenant_${name}`,
      help,
      labelNames: Object.keys(values[0]?.[0] ?? {}),
      registers: [now],
    };
    const metric = kind === 'gauges' ? new Gauge(about) : new Counter(about);
    for (const [labels, value] of values) metric.inc(labels, value);
  };
  for (const kind of ['gauges', 'counters'] as const) {
    for (const [name, help, of] of ofNode[kind]) put(kind, name, help, [[{}, of(node)]]);
    for (const [name, help, of] of ofEachVm[kind])
      put(
        kind,
        name,
        help,
        node.vms.figures.map((vm) => [{ vm: vm.vmId }, of(vm)]),
      );
  }
  putOthers(node, put);
  const texts = await Promise.all([node.measures.registry.metrics(), now.metrics()]);
  return { type: now.contentType, text: texts.join('\n') };
}

function putOthers(
  node: ClusterNode,
  put: (kind: 'gauges', name: string, help: string, values: Values) => void,
): void {
  const { agent, heartbeatStores, options, vms } = node;
  const context = { state: agent, now: monotonicMs(), settings: options.settings, out: [] };
  const peers = [...agent.peers.values()];
  put(
    'gauges',
    'peer_reachable',
    'Network heartbeats in both directions.',
    peers.map((peer) => [{ peer: peer.id }, reachable(context, peer) ? 1 : 0]),
  );
  put(
    'gauges',
    'heartbeat_store_reached',
    "1 while a heartbeat datastore takes this node's beats.",
    heartbeatStores.states.map(({ url, reached }) => [{ store: url }, reached ? 1 : 0]),
  );
  const saved = vms.figures.filter((vm) => vm.checkpoints > 0);
  put(
    'gauges',
    'vm_checkpoint_age_seconds',
    'Since the last durable checkpoint.',
    saved.map((vm) => [{ vm: vm.vmId }, (monotonicMs() - vm.lastCheckpointAt) / 1000]),
  );
}
