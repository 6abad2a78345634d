/**
 * The gateway between a segment of guests and the host's sockets: pure, from (state, events, time) to (state, effects). The state is changed
 * in place, as connections hold megabytes; it is plain data all the same (save.ts), and the same events give the same effects.
 */
import { isUnroutable, inSubnet } from '../wire/address.ts';
import { ethernetHeaderBytes, EtherType, maxFrameBytes, readEthernet } from '../wire/ethernet.ts';
import { buildIcmp, IcmpType, readIcmp, Unreachable } from '../wire/icmp.ts';
import { Protocol, readIpv4, type Ipv4Header } from '../wire/ipv4.ts';
import { get16 } from '../wire/bytes.ts';
import { readUdp } from '../wire/udp.ts';
import { dhcpServerPort, receiveDhcp } from './dhcp.ts';
import { dnsAnswered, dnsPort, receiveDns, runQueries } from './dns.ts';
import type { GatewayEffect, GatewayEvent, Target } from './events.ts';
import type { FrameBuffers } from './frame-buffers.ts';
import { dropOldFragments, receiveFragment } from './fragments.ts';
import { learn, receiveArp, runResolutions, sendError, sendPacket } from './link.ts';
import type { GatewaySettings } from './settings.ts';
import type { GatewayState, Turn } from './state.ts';
import * as tcp from './tcp-nat.ts';
import { answerVisitor, datagramArrived, datagramReceived, dropIdleFlows, sendDatagram } from './udp-nat.ts';

/**
 * Lets events happen, at one instant, in order. What connections have to say follows when all are in. With `buffers` the memory of large
 * frames comes from there, and the caller gives it back.
 */
export function handle(
  settings: GatewaySettings,
  state: GatewayState,
  events: readonly GatewayEvent[],
  nowMs: number,
  buffers?: FrameBuffers,
): GatewayEffect[] {
  const turn = { ...newTurn(settings, state, nowMs), buffers };
  if (nowMs >= state.timerMs) runAllTimers(turn);
  for (const event of events) handleOne(turn, event);
  tcp.sendChanged(turn);
  return turn.effects;
}

export function newTurn(settings: GatewaySettings, state: GatewayState, nowMs: number): Turn {
  const tcpSettings = tcp.tcpSettingsOf(settings);
  return {
    settings,
    tcpSettings,
    state,
    nowMs,
    effects: [],
    changed: new Set(),
    sentAt: 0,
    buffers: undefined,
  };
}

/** When `handle` is to be called at the latest. It may be early. */
export function nextTimer(state: GatewayState): number {
  return state.timerMs;
}

function runAllTimers(turn: Turn): void {
  turn.state.timerMs = Infinity;
  tcp.runTcpTimers(turn);
  for (const address of runResolutions(turn)) tcp.guestIsAbsent(turn, address);
  runQueries(turn);
  dropIdleFlows(turn);
  dropOldFragments(turn);
}

function handleOne(turn: Turn, event: GatewayEvent): void {
  switch (event.kind) {
    case 'frame':
      turn.sentAt = event.sentAt ?? 0;
      receiveFrame(turn, event.frame);
      return;
    case 'tick':
      return;
    case 'tcpConnected':
      tcp.tcpConnected(turn, event.socket);
      return;
    case 'tcpFailed':
      tcp.tcpFailed(turn, event.socket, event.reason);
      return;
    case 'tcpAccepted':
      tcp.tcpAccepted(turn, event.socket, event.forward);
      return;
    case 'tcpReceived':
      tcp.tcpReceived(turn, event.socket, event.data);
      return;
    case 'tcpWritten':
      tcp.tcpWritten(turn, event.socket, event.bytes);
      return;
    case 'tcpEnded':
      tcp.tcpEnded(turn, event.socket);
      return;
    case 'tcpClosed':
      tcp.tcpClosed(turn, event.socket);
      return;
    case 'udpReceived':
      datagramReceived(turn, event.flow, event, event.data);
      return;
    case 'udpArrived':
      datagramArrived(turn, event, event.data);
      return;
    case 'dnsAnswered':
      dnsAnswered(turn, event.query, event.data);
  }
}

function receiveFrame(turn: Turn, frame: Uint8Array): void {
  const { settings } = turn;
  const ethernet = readEthernet(frame);
  if (ethernet === undefined || frame.length > maxFrameBytes || ethernet.source === settings.mac) return;
  // The lowest bit of the first byte: to a group.
  if (ethernet.destination !== settings.mac && (frame[0]! & 1) === 0) return;
  if (ethernet.type === EtherType.arp) receiveArp(turn, frame);
  else if (ethernet.type === EtherType.ipv4) receiveIpv4(turn, frame, ethernet.source);
}

function receiveIpv4(turn: Turn, frame: Uint8Array, sourceMac: number): void {
  const { settings } = turn;
  let packet = frame;
  let header = readIpv4(frame);
  if (header === undefined) return;
  const ours = header.source === settings.address || header.source === settings.nameServer;
  const nameless = header.source === 0 && header.protocol === Protocol.udp;
  if (ours || (!nameless && !inSubnet(settings.subnet, header.source))) return;
  if (!nameless) learn(turn, header.source, sourceMac);
  if (header.moreFragments || header.fragmentOffset > 0) {
    const whole = receiveFragment(turn, frame, header);
    if (whole === undefined) return;
    ({ frame: packet, header } = whole);
  }
  if (header.timeToLive <= 1 && header.destination >>> 28 < 0xe && !isOurs(settings, header.destination)) {
    sendError(turn, { type: IcmpType.timeExceeded, code: 0 }, packet, header);
    return;
  }
  if (header.protocol === Protocol.udp) receiveUdp(turn, packet, header);
  else if (header.protocol === Protocol.tcp) {
    if ((packet[0]! & 1) === 0 && header.payloadTo - header.payloadFrom >= 4)
      tcp.receiveTcp(turn, packet, header, targetOf(turn, header, get16(packet, header.payloadFrom + 2)));
  } else if (header.protocol === Protocol.icmp) receiveIcmp(turn, packet, header);
  else if (isOurs(settings, header.destination))
    sendError(turn, { type: IcmpType.unreachable, code: Unreachable.protocol }, packet, header);
  else sendError(turn, { type: IcmpType.unreachable, code: Unreachable.prohibited }, packet, header);
}

function isOurs(settings: GatewaySettings, address: number): boolean {
  return address === settings.address || address === settings.nameServer;
}

/** Where a guest's connection or datagram may go; undefined for nowhere. The host's loopback is reached only at ports that were opened. */
function targetOf({ settings }: Turn, { destination }: Ipv4Header, port: number): Target | undefined {
  if (destination === settings.address)
    return settings.hostPorts.includes(port) ? { kind: 'loopback', port } : undefined;
  if (settings.nameServer !== undefined && destination === settings.nameServer)
    return port === dnsPort && settings.outbound ? { kind: 'resolver' } : undefined;
  if (!settings.outbound || isUnroutable(destination) || inSubnet(settings.subnet, destination) || port === 0)
    return undefined;
  return { kind: 'address', address: destination, port };
}

function receiveUdp(turn: Turn, packet: Uint8Array, header: Ipv4Header): void {
  const datagram = readUdp(packet, header);
  if (datagram === undefined) return;
  const { sourcePort, destinationPort: port, data } = datagram;
  const { source, destination } = header;
  const group = (packet[0]! & 1) === 1;
  if (port === dhcpServerPort && (group || destination === turn.settings.address)) {
    receiveDhcp(turn, data);
    return;
  }
  if (group || source === 0) return;
  if (destination === turn.settings.nameServer && port === dnsPort) {
    receiveDns(turn, { address: source, port: sourcePort }, data);
    return;
  }
  const outgoing = { guestAddress: source, guestPort: sourcePort, address: destination, port, data };
  if (destination === turn.settings.address && answerVisitor(turn, outgoing)) return;
  const target = targetOf(turn, header, port);
  if (target !== undefined) sendDatagram(turn, outgoing, target);
  else {
    const code = isOurs(turn.settings, destination) ? Unreachable.port : Unreachable.prohibited;
    sendError(turn, { type: IcmpType.unreachable, code }, packet, header);
  }
}

/** RFC 1122, 3.2.2.6: an echo comes back. What lies behind the gateway it can't ask without privileges, and says so. */
function receiveIcmp(turn: Turn, packet: Uint8Array, header: Ipv4Header): void {
  const message = readIcmp(packet, header);
  if (message?.type !== IcmpType.echo || message.code !== 0 || header.payloadFrom < ethernetHeaderBytes)
    return;
  if ((packet[0]! & 1) === 1) return;
  const { source, destination } = header;
  if (!isOurs(turn.settings, destination)) {
    sendError(turn, { type: IcmpType.unreachable, code: Unreachable.prohibited }, packet, header);
    return;
  }
  const payload = buildIcmp({ type: IcmpType.echoReply, code: 0, rest: message.rest });
  sendPacket(turn, { source: destination, destination: source, protocol: Protocol.icmp, payload });
}
