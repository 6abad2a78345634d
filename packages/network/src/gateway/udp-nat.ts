/**
 * UDP by address translation: RFC 4787. A guest's port keeps one flow for all destinations (endpoint-independent mapping); only whom it
 * sent to may answer (filtering by address and port). Datagrams that enter by a forward come from a port of the gateway's.
 */
import { Protocol } from '../wire/ipv4.ts';
import { buildUdp } from '../wire/udp.ts';
import type { Target } from './events.ts';
import { sendPacket } from './link.ts';
import { guestOf } from './settings.ts';
import { makeRoom, takeNumber, takePort, wakeAt, type Turn, type UdpFlow, type UdpVisitor } from './state.ts';

/** RFC 4787, 4.3: at least two minutes. */
export const udpIdleMs = 120_000;
const maxPeers = 64;
const maxDatagramBytes = 65_507;

export interface OutgoingDatagram {
  guestAddress: number;
  guestPort: number;
  address: number;
  port: number;
  data: Uint8Array;
}

/** A guest sends to somebody outside, or to the host's loopback. */
export function sendDatagram(turn: Turn, datagram: OutgoingDatagram, target: Target): void {
  const { state, nowMs, settings } = turn;
  const { guestAddress, guestPort, address, port, data } = datagram;
  const key = endKey(guestAddress, guestPort);
  let flow = state.udp.get(key);
  // The map's order is that of use.
  state.udp.delete(key);
  if (flow === undefined) {
    makeRoom(state.udp, settings.limits.udpFlows, (_key, old) => {
      closeFlow(turn, old);
    });
    flow = { flow: takeNumber(state), guestAddress, guestPort, usedMs: nowMs, peers: [] };
    state.udpByNumber.set(flow.flow, flow);
    wakeAt(state, nowMs + udpIdleMs);
  }
  state.udp.set(key, flow);
  flow.usedMs = nowMs;
  remember(flow, address, port);
  turn.effects.push({ kind: 'udpSend', flow: flow.flow, target, data });
}

function remember(flow: UdpFlow, address: number, port: number): void {
  const last = flow.peers.at(-1);
  if (last?.address === address && last.port === port) return;
  const known = flow.peers.findIndex((peer) => peer.address === address && peer.port === port);
  if (known >= 0) flow.peers.splice(known, 1);
  else if (flow.peers.length >= maxPeers) flow.peers.shift();
  flow.peers.push({ address, port });
}

function closeFlow(turn: Turn, { flow }: UdpFlow): void {
  turn.state.udpByNumber.delete(flow);
  turn.effects.push({ kind: 'udpClose', flow });
}

export function datagramReceived(
  turn: Turn,
  number: number,
  from: { address: number; port: number },
  data: Uint8Array,
): void {
  const flow = turn.state.udpByNumber.get(number);
  if (flow === undefined || data.length > maxDatagramBytes) return;
  // The host's loopback is the gateway to the guest.
  const address = from.address >>> 24 === 127 ? turn.settings.address : from.address;
  if (!flow.peers.some((peer) => peer.address === address && peer.port === from.port)) return;
  const ends = { source: address, destination: flow.guestAddress };
  const payload = buildUdp({ sourcePort: from.port, destinationPort: flow.guestPort, data }, ends);
  sendPacket(turn, { ...ends, protocol: Protocol.udp, payload });
}

export function datagramArrived(
  turn: Turn,
  from: { forward: number; address: number; port: number },
  data: Uint8Array,
): void {
  const { state, settings, nowMs } = turn;
  const forward = settings.forwards[from.forward];
  if (forward?.protocol !== 'udp' || data.length > maxDatagramBytes) return;
  const visitor = visitorOf(turn, from);
  if (visitor === undefined) return;
  visitor.usedMs = nowMs;
  wakeAt(state, nowMs + udpIdleMs);
  const ends = { source: settings.address, destination: guestOf(settings, forward) };
  const payload = buildUdp(
    { sourcePort: visitor.gatewayPort, destinationPort: forward.guestPort, data },
    ends,
  );
  sendPacket(turn, { ...ends, protocol: Protocol.udp, payload });
}

function visitorOf(
  turn: Turn,
  { forward, address, port }: { forward: number; address: number; port: number },
): UdpVisitor | undefined {
  const { state, settings, nowMs } = turn;
  const key = [forward, address, port].join();
  let visitor = state.visitors.get(key);
  state.visitors.delete(key);
  if (visitor === undefined) {
    makeRoom(state.visitors, settings.limits.udpFlows, (_key, old) =>
      state.visitorsByPort.delete(old.gatewayPort),
    );
    const gatewayPort = takePort(state, (candidate) => state.visitorsByPort.has(candidate));
    if (gatewayPort === undefined) return undefined;
    visitor = { forward, address, port, gatewayPort, usedMs: nowMs };
    state.visitorsByPort.set(gatewayPort, visitor);
  }
  state.visitors.set(key, visitor);
  return visitor;
}

/** A guest's datagram to a port of the gateway that stands for a visitor. False when it stands for none. */
export function answerVisitor(
  turn: Turn,
  { guestAddress, guestPort, port, data }: Omit<OutgoingDatagram, 'address'>,
): boolean {
  const { state, settings, nowMs, effects } = turn;
  const visitor = state.visitorsByPort.get(port);
  const forward = visitor && settings.forwards[visitor.forward];
  if (visitor === undefined || forward === undefined) return false;
  if (guestOf(settings, forward) !== guestAddress || forward.guestPort !== guestPort) return false;
  visitor.usedMs = nowMs;
  effects.push({
    kind: 'udpReply',
    forward: visitor.forward,
    address: visitor.address,
    port: visitor.port,
    data,
  });
  return true;
}

export function dropIdleFlows(turn: Turn): void {
  const { state, nowMs } = turn;
  for (const [key, flow] of state.udp) {
    if (flow.usedMs + udpIdleMs <= nowMs) {
      state.udp.delete(key);
      closeFlow(turn, flow);
    } else wakeAt(state, flow.usedMs + udpIdleMs);
  }
  for (const [key, visitor] of state.visitors) {
    if (visitor.usedMs + udpIdleMs <= nowMs) {
      state.visitors.delete(key);
      state.visitorsByPort.delete(visitor.gatewayPort);
    } else wakeAt(state, visitor.usedMs + udpIdleMs);
  }
}

function endKey(address: number, port: number): string {
  return `${address.toString()}:${port.toString()}`;
}
