/**
 * A switch: frames go to the port behind which their destination is. Where a MAC belongs is told (`own`, with the epoch of the VM's owner: a
 * newer one wins, so that after a takeover frames go to the new place at once), or else learnt from what was heard (IEEE 802.1D, 7.8).
 *
 * Pure: frames in, (port, frame) out. What a port can't take at the moment is its own business; nothing is kept here.
 */
import { broadcastMac, isGroupMac } from '../wire/address.ts';
import { readArp } from '../wire/arp.ts';
import { get32 } from '../wire/bytes.ts';
import { ethernetHeaderBytes, EtherType, maxFrameBytes, readEthernet } from '../wire/ethernet.ts';
import { splitFrame } from './split.ts';

export interface SwitchPort {
  /** A link to the switch of another node. Nothing goes from link to link: each node has one to every other. */
  link: boolean;
  /** The largest frame that this port takes; larger ones are cut where they can be. */
  frameBytes: number;
  /** Frames with other sources are dropped. */
  guard?: { mac: number; addresses: readonly number[] } | undefined;
  /** Frames for nobody in particular, and for whom nobody knows, come here. A guest that is only a copy hears nothing. */
  hearsAll: boolean;
  /** Hears those of this node's ports only, not what comes over a link: each node has one of its kind. */
  near?: boolean | undefined;
}

export interface SwitchState {
  ports: Map<number, SwitchPort>;
  /** Where MACs are, by what was heard. */
  learnt: Map<number, { port: number; heardMs: number }>;
  /** Where MACs are, by who owns the VM. */
  owned: Map<number, { port: number; epoch: number }>;
  dropped: { guarded: number; malformed: number; tooLarge: number };
}

export interface Delivery {
  port: number;
  frame: Uint8Array;
}

const maxLearnt = 4096;
const maxOwned = 4096;
/** IEEE 802.1D, 7.9.2. */
const ageMs = 300_000;

export function newSwitch(): SwitchState {
  return {
    ports: new Map(),
    learnt: new Map(),
    owned: new Map(),
    dropped: { guarded: 0, malformed: 0, tooLarge: 0 },
  };
}

export function removePort(state: SwitchState, port: number): void {
  state.ports.delete(port);
  for (const [mac, place] of state.learnt) if (place.port === port) state.learnt.delete(mac);
  for (const [mac, place] of state.owned) if (place.port === port) state.owned.delete(mac);
}

/** A MAC belongs behind a port, as of this epoch of its VM. False when a newer one is known, or there are too many. */
export function own(state: SwitchState, mac: number, place: { port: number; epoch: number }): boolean {
  const known = state.owned.get(mac);
  if (known !== undefined && known.epoch > place.epoch) return false;
  if (known === undefined && state.owned.size >= maxOwned) return false;
  state.owned.set(mac, place);
  state.learnt.delete(mac);
  return true;
}

/** Takes a frame from a port; says where it goes. */
export function forward(state: SwitchState, from: number, frame: Uint8Array, nowMs: number): Delivery[] {
  const port = state.ports.get(from);
  const header = readEthernet(frame);
  if (
    port === undefined ||
    header === undefined ||
    frame.length > maxFrameBytes ||
    isGroupMac(header.source)
  ) {
    state.dropped.malformed++;
    return [];
  }
  if (port.guard !== undefined && !passesGuard(port.guard, frame, header)) {
    state.dropped.guarded++;
    return [];
  }
  learnPlace(state, header.source, from, nowMs);
  const to = placeOf(state, header.destination, nowMs);
  if (to !== undefined) {
    const target = state.ports.get(to);
    const crosses = to !== from && target !== undefined && !(port.link && target.link);
    return crosses ? deliver(state, to, target, frame) : [];
  }
  const out: Delivery[] = [];
  for (const [number, target] of state.ports)
    if (number !== from && target.hearsAll && !(port.link && (target.link || target.near === true)))
      out.push(...deliver(state, number, target, frame));
  return out;
}

function deliver(
  state: SwitchState,
  number: number,
  { frameBytes }: SwitchPort,
  frame: Uint8Array,
): Delivery[] {
  if (frame.length <= frameBytes) return [{ port: number, frame }];
  const parts = splitFrame(frame, frameBytes);
  if (parts.length === 0) state.dropped.tooLarge++;
  return parts.map((part) => ({ port: number, frame: part }));
}

function learnPlace(state: SwitchState, mac: number, port: number, nowMs: number): void {
  // What is owned is not learnt: a late frame from the old place must not lead back there.
  if (state.owned.has(mac)) return;
  const known = state.learnt.get(mac);
  if (known?.port === port) {
    known.heardMs = nowMs;
    return;
  }
  state.learnt.delete(mac);
  if (state.learnt.size >= maxLearnt) state.learnt.delete(state.learnt.keys().next().value!);
  state.learnt.set(mac, { port, heardMs: nowMs });
}

function placeOf(state: SwitchState, mac: number, nowMs: number): number | undefined {
  if (mac === broadcastMac || isGroupMac(mac)) return undefined;
  const owned = state.owned.get(mac);
  if (owned !== undefined) return owned.port;
  const learnt = state.learnt.get(mac);
  if (learnt === undefined) return undefined;
  if (nowMs - learnt.heardMs < ageMs) return learnt.port;
  state.learnt.delete(mac);
  return undefined;
}

/** A guarded port sends with its own MAC and addresses only: in the frame, in ARP, in IPv4. Asking for an address (DHCP) is from 0.0.0.0. */
function passesGuard(
  { mac, addresses }: NonNullable<SwitchPort['guard']>,
  frame: Uint8Array,
  { source, type }: { source: number; type: number },
): boolean {
  if (source !== mac) return false;
  if (type === EtherType.arp || type === EtherType.rarp) {
    const arp = readArp(frame);
    if (arp?.senderMac !== mac) return false;
    return arp.senderAddress === 0 || addresses.length === 0 || addresses.includes(arp.senderAddress);
  }
  // Another tag, or another family of addresses, would pass by what is checked here.
  if (type !== EtherType.ipv4) return addresses.length === 0 && type !== EtherType.vlan;
  if (addresses.length === 0) return true;
  if (frame.length < ethernetHeaderBytes + 20) return false;
  const address = get32(frame, ethernetHeaderBytes + 12);
  return address === 0 || addresses.includes(address);
}
