/**
 * The networks of one node: follows the protected list, and carries frames between its guests and the other nodes. Frames that don't find
 * room on a link are dropped, as on any network; nothing here is ever gathered without end.
 */
import { formatAddress, type Forward } from '@revenant/network';
import type { AgentState } from '../decisions/state.ts';
import type { ProtectedVm } from '../decisions/records.ts';
import type { LogEntry } from '../decisions/types.ts';
import type { HostState } from '../protocol/api.ts';
import { maxFrames } from '../protocol/limits.ts';
import type { NetworkMessage } from '../protocol/link.ts';
import type { FramesMessage } from '../protocol/network.ts';
import { planNetworks } from './plan.ts';
import { Segment } from './segment.ts';
import { messageOf } from '../errors.ts';
import { owned } from '../owned.ts';

/** Of frames gathered for one peer before they go at once. */
const maxBatchBytes = 256 << 10;
/** How often the others are told again where guests are: a message may be lost. */
const tellMs = 2000;
/** Faults are told no more often. */
const failedEveryMs = 10_000;

export interface NodeNetworksOptions {
  node: string;
  /** Where published ports are listened on. */
  host: string;
  send: (to: string, message: NetworkMessage) => void;
  log: (entry: LogEntry) => void;
  nowMs: () => number;
}

/** Of the state of a node's decisions. */
export type ClusterSight = Pick<AgentState, 'id' | 'list'> & {
  peers: ReadonlyMap<string, { state: HostState }>;
};

/** A guest of this node with a network. */
interface Attached {
  network: string;
  epoch: number;
  resumedAt: number;
  deliver: (frame: Uint8Array) => void;
}

/** A VM that starts to run here. */
export interface VmArrival {
  vm: ProtectedVm;
  epoch: number;
  resumedAt: bigint | undefined;
  deliver: (frame: Uint8Array) => void;
}

interface Batch {
  message: FramesMessage;
  bytes: number;
}

export class NodeNetworks {
  readonly #options: NodeNetworksOptions;
  readonly #segments = new Map<string, Segment>();
  readonly #attached = new Map<string, Attached>();
  readonly #batches = new Map<string, Batch[]>();
  #seen: { list: unknown; states: string } = { list: undefined, states: '' };
  #peers: readonly string[] = [];
  #toldMs = -Infinity;
  #failedMs = -Infinity;
  #flushing = false;
  #closed = false;

  constructor(options: NodeNetworksOptions) {
    this.#options = options;
  }

  /** To be called with each new state of the node's decisions. */
  see({ id, list, peers }: ClusterSight): void {
    if (this.#closed) return;
    const states = new Map([...peers].map(([name, { state }]) => [name, state]));
    const text = [...states].flat().join(' ');
    const due = this.#options.nowMs() - this.#toldMs >= tellMs;
    if (list === this.#seen.list && text === this.#seen.states && !due) return;
    this.#seen = { list, states: text };
    this.#peers = [...peers.keys()];
    const plans = planNetworks(list, { id, host: this.#options.host, peers: states });
    for (const [name, segment] of this.#segments) {
      if (plans.has(name)) continue;
      this.#segments.delete(name);
      void segment.close();
    }
    for (const [name, plan] of plans) {
      const segment = this.#segments.get(name);
      if (segment !== undefined) segment.follow(plan);
      else this.#open(name, plan);
    }
    if (!due) return;
    this.#toldMs = this.#options.nowMs();
    this.#tellPlaces(this.#attached);
  }

  #open(name: string, plan: ConstructorParameters<typeof Segment>[0]): void {
    const { node, log, nowMs } = this.#options;
    const segment = new Segment(plan, {
      nowMs,
      toVm: (vmId, frame) => this.#attached.get(vmId)?.deliver(frame),
      toPeer: (peer, from, frame) =>
        this.#gather(peer, { type: 'frames', network: name, from, frames: [frame] }),
      published: (forward, trouble) => log({ node, ...publishedEntry(name, forward, trouble) }),
      failed: (error) => this.#failed(error, name),
    });
    this.#segments.set(name, segment);
    for (const [vmId, attached] of this.#attached)
      if (attached.network === name) this.#join(segment, vmId, attached);
  }

  // --- guests ---

  arrived({ vm, epoch, resumedAt, deliver }: VmArrival): void {
    const { network } = vm.spec;
    if (network === undefined || vm.nic === undefined) return;
    const attached = { network: network.name, epoch, resumedAt: Number(resumedAt ?? 0n), deliver };
    this.#attached.set(vm.id, attached);
    this.#tellPlaces([[vm.id, attached]]);
    const segment = this.#segments.get(network.name);
    if (segment !== undefined) this.#join(segment, vm.id, attached);
  }

  #join(segment: Segment, vmId: string, { epoch, resumedAt }: Attached): void {
    this.#ended(vmId, epoch, segment.attach({ vmId, epoch, resumedAt }));
  }

  left(vmId: string, epoch: number): void {
    const attached = this.#attached.get(vmId);
    if (attached?.epoch !== epoch) return;
    this.#attached.delete(vmId);
    this.#segments.get(attached.network)?.detach(vmId);
  }

  sent(vmId: string, epoch: number, frame: Uint8Array, sentAt: bigint): void {
    const attached = this.#attached.get(vmId);
    if (attached !== undefined)
      this.#segments.get(attached.network)?.fromVm(vmId, epoch, frame, Number(sentAt));
  }

  #ended(vm: string, epoch: number, ended: number): void {
    if (ended === 0) return;
    this.#options.log({
      event: 'connections-ended',
      vm,
      epoch,
      node: this.#options.node,
      reason: `${String(ended)} of its connections had gone on beyond the checkpoint that it goes on from`,
      details: { ended },
    });
  }

  // --- other nodes ---

  heard(from: string, message: NetworkMessage): void {
    if (this.#closed) return;
    if (message.type === 'frames') this.#segments.get(message.network)?.fromPeer(from, message);
    else
      for (const { network, ...holding } of message.places) {
        const ended = this.#segments.get(network)?.heldBy(from, holding) ?? 0;
        this.#ended(holding.vmId, holding.epoch, ended);
      }
  }

  #tellPlaces(all: Iterable<[string, Attached]>): void {
    const places = [...all].map(([vmId, { network, epoch, resumedAt }]) => ({
      network,
      vmId,
      epoch,
      resumedAt,
    }));
    if (places.length === 0) return;
    for (const peer of this.#peers) this.#options.send(peer, { type: 'places', places });
  }

  #gather(peer: string, message: FramesMessage): void {
    const batches = this.#batches.get(peer) ?? [];
    this.#batches.set(peer, batches);
    const [frame] = message.frames;
    const size = frame?.bytes.length ?? 0;
    const last = batches.at(-1);
    const joins =
      last?.message.network === message.network &&
      last.message.from?.vmId === message.from?.vmId &&
      last.message.from?.epoch === message.from?.epoch &&
      last.message.frames.length < maxFrames &&
      last.bytes + size <= maxBatchBytes;
    if (joins && frame !== undefined) {
      last.message.frames.push(frame);
      last.bytes += size;
    } else batches.push({ message, bytes: size });
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(
      owned(
        () => this.#flush(),
        (error) => this.#failed(error),
      ),
    );
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#closed) return;
    for (const [peer, batches] of this.#batches)
      for (const { message } of batches.splice(0)) this.#options.send(peer, message);
  }

  /** Frames that were on their way are lost, as on a wire; it is told once in a while. */
  #failed(error: unknown, network?: string): void {
    const { node, log, nowMs } = this.#options;
    if (nowMs() - this.#failedMs < failedEveryMs) return;
    this.#failedMs = nowMs();
    const which = network === undefined ? 'to other nodes' : `of the network ${network}`;
    log({ event: 'network-failed', node, reason: `frames ${which} were lost: ${messageOf(error)}` });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#segments.values()].map((segment) => segment.close()));
  }
}

function publishedEntry(network: string, forward: Forward, trouble: string | undefined): LogEntry {
  const { protocol, hostAddress, hostPort, guestAddress, guestPort } = forward;
  const from = `${protocol} port ${String(hostPort)} of ${hostAddress}`;
  const to = `${formatAddress(guestAddress ?? 0)}:${String(guestPort)} in the network ${network}`;
  return trouble === undefined
    ? { event: 'port-published', reason: `${from} is ${to}` }
    : { event: 'port-not-published', reason: `${from} can't be ${to}: ${trouble}` };
}
