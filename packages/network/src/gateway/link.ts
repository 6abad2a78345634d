/** The gateway's side of the segment: finds neighbours (RFC 826), sends packets, in fragments where they are too large (RFC 791, 3.2). */
import { broadcastMac, broadcastOf, inSubnet, isGroupMac, readMac, writeMac } from '../wire/address.ts';
import { ArpOperation, buildArp, readArp } from '../wire/arp.ts';
import { EtherType, writeEthernet } from '../wire/ethernet.ts';
import { buildIcmpError, mayAnswerWithError } from '../wire/icmp.ts';
import { ipHeaderBytes, Protocol, transportOffset, writeIpv4, type Ipv4Header } from '../wire/ipv4.ts';
import { makeRoom, wakeAt, type Resolution, type Turn } from './state.ts';

const maxWaitingFrames = 8;
const maxResolutions = 64;
const askAgainMs = 1000;
const maxTries = 3;
const errorsPerSecond = 50;

export function receiveArp(turn: Turn, frame: Uint8Array): void {
  const arp = readArp(frame);
  if (arp === undefined) return;
  const { settings } = turn;
  const ours = (address: number): boolean => address === settings.address || address === settings.nameServer;
  // A sender of 0.0.0.0 is a probe (RFC 5227), and one with our address is in error.
  if (!ours(arp.senderAddress)) learn(turn, arp.senderAddress, arp.senderMac);
  if (arp.operation !== ArpOperation.request || !ours(arp.targetAddress)) return;
  const reply = {
    operation: ArpOperation.reply,
    senderMac: settings.mac,
    senderAddress: arp.targetAddress,
    targetMac: arp.senderMac,
    targetAddress: arp.senderAddress,
  };
  turn.effects.push({ kind: 'frame', frame: buildArp(reply, { destination: readMac(frame, 6) }) });
}

/** Notes who has an address of the segment, and sends what waited for it. */
export function learn(turn: Turn, address: number, mac: number): void {
  const { state, settings } = turn;
  const known = state.neighbours.get(address);
  if (known?.mac === mac) return;
  if (!isHostAddress(turn, address) || isGroupMac(mac) || mac === 0 || mac === settings.mac) return;
  if (known === undefined) makeRoom(state.neighbours, settings.limits.neighbours);
  state.neighbours.set(address, { mac });
  const waiting = state.resolutions.get(address);
  state.resolutions.delete(address);
  for (const frame of waiting?.frames ?? []) sendTo(turn, mac, frame);
}

function isHostAddress({ settings }: Turn, address: number): boolean {
  const { subnet } = settings;
  return inSubnet(subnet, address) && address !== subnet.base && address !== broadcastOf(subnet);
}

function sendTo(turn: Turn, mac: number, frame: Uint8Array): void {
  writeMac(frame, 0, mac);
  turn.effects.push({ kind: 'frame', frame });
}

/** Sends a frame whose IPv4 packet is complete; fills in the Ethernet header. */
export function sendFrame(turn: Turn, address: number, frame: Uint8Array): void {
  writeEthernet(frame, { destination: 0, source: turn.settings.mac, type: EtherType.ipv4 });
  const known = turn.state.neighbours.get(address);
  if (known !== undefined) {
    sendTo(turn, known.mac, frame);
    return;
  }
  if (!isHostAddress(turn, address)) return;
  const { resolutions } = turn.state;
  let waiting = resolutions.get(address);
  if (waiting === undefined) {
    makeRoom(resolutions, maxResolutions);
    waiting = { frames: [], tries: 0, againMs: 0 };
    resolutions.set(address, waiting);
    ask(turn, address, waiting);
  }
  if (waiting.frames.length >= maxWaitingFrames) waiting.frames.shift();
  waiting.frames.push(frame);
}

function ask(turn: Turn, address: number, waiting: Resolution): void {
  waiting.tries++;
  waiting.againMs = turn.nowMs + askAgainMs;
  wakeAt(turn.state, waiting.againMs);
  const request = {
    operation: ArpOperation.request,
    senderMac: turn.settings.mac,
    senderAddress: turn.settings.address,
    targetMac: 0,
    targetAddress: address,
  };
  turn.effects.push({ kind: 'frame', frame: buildArp(request, { destination: broadcastMac }) });
}

/** Asks again for the neighbours that have not answered; returns the addresses of those that are given up. */
export function runResolutions(turn: Turn): number[] {
  const absent: number[] = [];
  for (const [address, waiting] of turn.state.resolutions) {
    if (waiting.againMs > turn.nowMs) wakeAt(turn.state, waiting.againMs);
    else if (waiting.tries >= maxTries) {
      turn.state.resolutions.delete(address);
      absent.push(address);
    } else ask(turn, address, waiting);
  }
  return absent;
}

export interface OutgoingPacket {
  source: number;
  destination: number;
  protocol: number;
  payload: Uint8Array;
}

/** Sends a packet, in fragments when it is larger than the MTU. `mac` for an answer to somebody who has no address yet. */
export function sendPacket(turn: Turn, packet: OutgoingPacket, mac?: number): void {
  const { source, destination, protocol, payload } = packet;
  const { mtu } = turn.settings;
  const identification = turn.state.nextIdentification;
  turn.state.nextIdentification = (identification + 1) & 0xffff;
  const step = (mtu - ipHeaderBytes) & ~7;
  const whole = payload.length + ipHeaderBytes <= mtu;
  for (let from = 0; from === 0 || from < payload.length; from += step) {
    const part = whole ? payload : payload.subarray(from, from + step);
    const frame = new Uint8Array(transportOffset + part.length);
    frame.set(part, transportOffset);
    const moreFragments = from + part.length < payload.length;
    writeIpv4(frame, {
      source,
      destination,
      protocol,
      payloadBytes: part.length,
      identification,
      fragmentOffset: from,
      moreFragments,
    });
    if (mac === undefined) sendFrame(turn, destination, frame);
    else {
      writeEthernet(frame, { destination: mac, source: turn.settings.mac, type: EtherType.ipv4 });
      turn.effects.push({ kind: 'frame', frame });
    }
    if (whole) return;
  }
}

/** Answers a packet with an ICMP error, where that is allowed, and not too often. */
export function sendError(
  turn: Turn,
  error: { type: number; code: number },
  frame: Uint8Array,
  header: Ipv4Header,
): void {
  if (!mayAnswerWithError(frame, header)) return;
  const { errors } = turn.state;
  if (turn.nowMs >= errors.fromMs + 1000) {
    errors.fromMs = turn.nowMs;
    errors.left = errorsPerSecond;
  }
  if (errors.left === 0) return;
  errors.left--;
  const payload = buildIcmpError(error, frame, header);
  sendPacket(turn, {
    source: turn.settings.address,
    destination: header.source,
    protocol: Protocol.icmp,
    payload,
  });
}
