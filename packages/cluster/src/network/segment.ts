/**
 * One network on one node: the switch between its guests here, the other nodes, and the node's two gateways. Frames come in by `fromVm` and
 * `fromPeer`, and leave by the ends that the options name.
 *
 * Two gateways: one to the world, at the address that all nodes share, for the guests that run here; and one by which connections enter that
 * came in by a published port, at an address of this node's own, so that it keeps them wherever the guest runs. A guest that moves goes on
 * with the gateway that it knows, on the node where it was, as long as that node lives; then its frames come to the gateway here.
 */
import {
  defaultGatewaySettings,
  forward,
  inward,
  maxFrameBytes,
  newFormerSelf,
  newSwitch,
  outward,
  own,
  readMac,
  removePort,
  rollBackConnections,
  track,
  writeMac,
  type Connections,
  type FormerSelf,
  type Forward,
  type GatewaySettings,
  type SwitchState,
} from '@revenant/network';
import { ForwardError, UserNetwork } from '@revenant/network/host-node';
import { isMacOfVm } from '../decisions/networks.ts';
import type { FramesMessage, Place } from '../protocol/network.ts';
import { sameForward, type SegmentPlan } from './plan.ts';
import { owned } from '../owned.ts';

const Port = { gateway: 1, entry: 2, first: 3 } as const;
/** Between two tries to listen on a port that another has. */
const retryMs = 2000;

export interface SegmentOptions {
  /** Frames for a guest of this node. */
  toVm: (vmId: string, frame: Uint8Array) => void;
  toPeer: (node: string, from: FramesMessage['from'], frame: { bytes: Uint8Array; at: number }) => void;
  /** What became of a published port. */
  published: (forward: Forward, trouble: string | undefined) => void;
  /** Frames were lost by a fault of ours. */
  failed: (error: unknown) => void;
  nowMs: () => number;
}

interface LocalVm {
  port: number;
  epoch: number;
  /** Of a fork, which takes itself for another. */
  former: FormerSelf | undefined;
}

/** Who has a VM: under which epoch it runs, and from which instruction count it went on under it. */
export type Holding = Omit<Place, 'network'>;

interface Published {
  forward: Forward;
  /** Of the gateway's; undefined while it can't be had. */
  number: number | undefined;
  triedMs: number;
  trouble: string | undefined;
  busy: boolean;
}

export class Segment {
  readonly #options: SegmentOptions;
  readonly #switch: SwitchState = newSwitch();
  readonly #connections: Connections = new Map();
  readonly #peers = new Map<string, number>();
  readonly #peerOf = new Map<number, string>();
  readonly #vms = new Map<string, LocalVm>();
  readonly #vmOf = new Map<number, string>();
  /** The newest epoch that is known of each VM, and its MAC. */
  readonly #known = new Map<string, { epoch: number; mac: number }>();
  readonly #gateway: UserNetwork;
  readonly #entry: UserNetwork;
  #toGateways: Record<'gateway' | 'entry', { frame: Uint8Array; sentAt: number }[]> = {
    gateway: [],
    entry: [],
  };
  #flushing = false;
  #published: Published[] = [];
  #plan: SegmentPlan;
  #nextPort: number = Port.first;
  #closed = false;

  constructor(plan: SegmentPlan, options: SegmentOptions) {
    this.#options = options;
    this.#plan = plan;
    const { subnet, gateway, nameServer } = plan.layout;
    const common = {
      ...defaultGatewaySettings(),
      subnet,
      frameBytes: maxFrameBytes,
      forwards: [],
      pool: undefined,
    };
    const toWorld: GatewaySettings = {
      ...common,
      mac: plan.place.gatewayMac,
      address: gateway,
      nameServer: plan.outbound ? nameServer : undefined,
      outbound: plan.outbound,
      hostPorts: plan.hostPorts,
      reservations: plan.reservations,
    };
    const entry = { mac: plan.place.entryMac, address: plan.place.address, nameServer: undefined };
    const { failed } = options;
    const toGateway = (frame: Uint8Array): void => this.#arrived(Port.gateway, frame, null, 0);
    const toEntry = (frame: Uint8Array): void => this.#arrived(Port.entry, frame, null, 0);
    this.#gateway = new UserNetwork(toWorld, toGateway, { failed });
    this.#entry = new UserNetwork({ ...common, ...entry, outbound: false }, toEntry, { failed });
    const port = { link: false, frameBytes: maxFrameBytes, hearsAll: true };
    this.#switch.ports.set(Port.gateway, { ...port, near: true });
    this.#switch.ports.set(Port.entry, port);
    this.follow(plan);
  }

  get dropped(): SwitchState['dropped'] {
    return this.#switch.dropped;
  }

  /** The list, or what is known of the other nodes, has changed. */
  follow(plan: SegmentPlan): void {
    this.#plan = plan;
    this.#gateway.settings.reservations = plan.reservations;
    const owned = (mac: number, port: number): boolean => own(this.#switch, mac, { port, epoch: 0 });
    owned(plan.place.gatewayMac, Port.gateway);
    owned(plan.place.entryMac, Port.entry);
    for (const { node, place, dead } of plan.peers) {
      const port = this.#peerPort(node);
      if (place === undefined) continue;
      // Who still sends to the gateways of a dead node is told by ours that its connections are gone.
      owned(place.gatewayMac, dead ? Port.gateway : port);
      owned(place.entryMac, dead ? Port.gateway : port);
    }
    for (const [vmId, { mac }] of this.#known) {
      if (plan.vms.has(vmId)) continue;
      // Its MAC may be given to another VM.
      this.#known.delete(vmId);
      this.#switch.owned.delete(mac);
    }
    this.#publish();
  }

  #peerPort(node: string): number {
    const known = this.#peers.get(node);
    if (known !== undefined) return known;
    const port = this.#nextPort++;
    this.#peers.set(node, port);
    this.#peerOf.set(port, node);
    this.#switch.ports.set(port, { link: true, frameBytes: maxFrameBytes, hearsAll: true });
    return port;
  }

  // --- guests ---

  /** A guest runs here now, under this epoch, and goes on from this instruction count. Returns how many connections ended by that. */
  attach(holding: Holding): number {
    const { vmId, epoch } = holding;
    const place = this.#plan.vms.get(vmId);
    this.detach(vmId);
    if (place === undefined) return 0;
    const port = this.#nextPort++;
    const guard = this.#plan.guard ? { mac: place.mac, addresses: [place.address] } : undefined;
    this.#switch.ports.set(port, { link: false, frameBytes: maxFrameBytes, hearsAll: true, guard });
    const former = place.former.length > 0 ? newFormerSelf(place, place.former) : undefined;
    this.#vms.set(vmId, { port, epoch, former });
    this.#vmOf.set(port, vmId);
    return this.#placed(holding, port);
  }

  detach(vmId: string): void {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return;
    this.#vms.delete(vmId);
    this.#vmOf.delete(vm.port);
    removePort(this.#switch, vm.port);
  }

  /** Another node has a guest. Returns how many connections ended by that. */
  heldBy(node: string, holding: Holding): number {
    return this.#placed(holding, this.#peerPort(node));
  }

  #placed({ vmId, epoch, resumedAt }: Holding, port: number): number {
    const place = this.#plan.vms.get(vmId);
    if (place === undefined) return 0;
    const { mac, address } = place;
    const known = this.#known.get(vmId)?.epoch ?? 0;
    if (epoch < known || !own(this.#switch, mac, { port, epoch }) || epoch === known) return 0;
    this.#known.set(vmId, { epoch, mac });
    const between = rollBackConnections(this.#connections, address, resumedAt);
    for (const frame of between.frames) this.#deliver(frame, null, 0, Port.gateway);
    return (
      between.ended + this.#gateway.rollBack(address, resumedAt) + this.#entry.rollBack(address, resumedAt)
    );
  }

  // --- frames ---

  fromVm(vmId: string, epoch: number, frame: Uint8Array, sentAt: number): void {
    const vm = this.#vms.get(vmId);
    if (vm?.epoch !== epoch) return;
    const seen = vm.former === undefined ? frame : outward(vm.former, frame);
    if (seen === undefined) this.#switch.dropped.guarded++;
    else this.#arrived(vm.port, seen, { vmId, epoch }, sentAt);
  }

  fromPeer(node: string, { from, frames }: Pick<FramesMessage, 'from' | 'frames'>): void {
    // What was under way when the guest went on elsewhere.
    if (from !== null && from.epoch < (this.#known.get(from.vmId)?.epoch ?? 0)) return;
    const port = this.#peerPort(node);
    for (const { bytes, at } of frames) this.#arrived(port, bytes, from, at);
  }

  #arrived(port: number, frame: Uint8Array, from: FramesMessage['from'], sentAt: number): void {
    if (!this.#closed) this.#deliver(frame, from, sentAt, port);
  }

  #deliver(frame: Uint8Array, from: FramesMessage['from'], sentAt: number, port: number): void {
    for (const delivery of forward(this.#switch, port, frame, this.#options.nowMs())) {
      const { port: to } = delivery;
      const peer = this.#peerOf.get(to);
      const vm = this.#vmOf.get(to);
      if (from !== null && isMacOfVm(readMac(delivery.frame, 0)))
        track(this.#connections, delivery.frame, sentAt);
      if (peer !== undefined) this.#options.toPeer(peer, from, { bytes: delivery.frame, at: sentAt });
      else if (vm !== undefined) this.#toVm(vm, delivery.frame);
      else if (to === Port.gateway)
        this.#toGateways.gateway.push({ frame: this.#forGateway(delivery.frame), sentAt });
      else this.#toGateways.entry.push({ frame: delivery.frame, sentAt });
    }
    const { gateway, entry } = this.#toGateways;
    if (this.#flushing || gateway.length + entry.length === 0) return;
    this.#flushing = true;
    queueMicrotask(owned(() => this.#flush(), this.#options.failed));
  }

  #toVm(vmId: string, frame: Uint8Array): void {
    const former = this.#vms.get(vmId)?.former;
    const heard = former === undefined ? [frame] : inward(former, frame);
    for (const each of heard) this.#options.toVm(vmId, each);
  }

  /** What came together reaches a gateway together, so that it answers once. */
  #flush(): void {
    this.#flushing = false;
    const { gateway, entry } = this.#toGateways;
    this.#toGateways = { gateway: [], entry: [] };
    if (gateway.length > 0) this.#gateway.receive(gateway);
    if (entry.length > 0) this.#entry.receive(entry);
  }

  /** What was for the gateway of a node that is dead comes to ours, which takes only what bears its own MAC. */
  #forGateway(frame: Uint8Array): Uint8Array {
    const to = readMac(frame, 0);
    if (to === this.#plan.place.gatewayMac || (frame[0]! & 1) === 1) return frame;
    const own = Uint8Array.from(frame);
    writeMac(own, 0, this.#plan.place.gatewayMac);
    return own;
  }

  // --- published ports ---

  #publish(): void {
    const { forwards } = this.#plan;
    for (const old of this.#published)
      if (!forwards.some((each) => sameForward(each, old.forward)) && old.number !== undefined)
        this.#entry.withdraw(old.number);
    this.#published = forwards.map(
      (each) =>
        this.#published.find(({ forward }) => sameForward(forward, each)) ?? {
          forward: each,
          number: undefined,
          triedMs: -Infinity,
          trouble: undefined,
          busy: false,
        },
    );
    for (const published of this.#published) void this.#listen(published);
  }

  /** A port that another has is tried again: on one host the next node may have it when the first is gone. */
  async #listen(published: Published): Promise<void> {
    const now = this.#options.nowMs();
    if (published.number !== undefined || published.busy || now - published.triedMs < retryMs) return;
    published.triedMs = now;
    published.busy = true;
    try {
      const { number } = await this.#entry.publish(published.forward);
      if (this.#closed || !this.#published.includes(published)) this.#entry.withdraw(number);
      else {
        published.number = number;
        this.#options.published(published.forward, undefined);
      }
    } catch (error) {
      if (!(error instanceof ForwardError)) throw error;
      if (published.trouble === undefined) this.#options.published(published.forward, error.message);
      published.trouble = error.message;
    } finally {
      published.busy = false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#gateway.close(), this.#entry.close()]);
  }
}
