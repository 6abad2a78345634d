/** A small guest on the gateway's segment: builds and reads frames, and checks every checksum of what it is sent. */
import type { GatewayEffect, GatewayEvent } from '../gateway/events.ts';
import { handle } from '../gateway/gateway.ts';
import { defaultGatewaySettings, type GatewaySettings } from '../gateway/settings.ts';
import { newGatewayState, type GatewayState } from '../gateway/state.ts';
import { ArpOperation, buildArp, readArp } from '../wire/arp.ts';
import { get16, sum16, fold } from '../wire/bytes.ts';
import { EtherType, readEthernet, writeEthernet } from '../wire/ethernet.ts';
import { Protocol, pseudoHeaderSum, readIpv4, transportOffset, writeIpv4 } from '../wire/ipv4.ts';
import { readTcp, sealTcp, tcpFrame, type TcpSegment } from '../wire/tcp.ts';
import { buildUdp, readUdp, type UdpDatagram } from '../wire/udp.ts';

export const guestMac = 0x5254_0012_3456;
export const guestAddress = 0x0a00_020f;
export const gatewayAddress = 0x0a00_0202;
export const nameServer = 0x0a00_0203;

export class Bench {
  readonly settings: GatewaySettings;
  state: GatewayState;
  nowMs = 1000;
  /** The guest's instruction count. */
  sentAt: number | undefined;
  effects: GatewayEffect[] = [];

  constructor(settings: Partial<GatewaySettings> = {}) {
    this.settings = { ...defaultGatewaySettings(), ...settings };
    this.state = newGatewayState([1, 2, 3, 4]);
  }

  happen(...events: GatewayEvent[]): GatewayEffect[] {
    const effects = handle(this.settings, this.state, events, this.nowMs);
    for (const effect of effects) if (effect.kind === 'frame') assertSound(effect.frame);
    this.effects.push(...effects);
    return effects;
  }

  send(...frames: Uint8Array[]): GatewayEffect[] {
    return this.happen(...frames.map((frame) => ({ kind: 'frame' as const, frame, sentAt: this.sentAt })));
  }

  /** Says who has the guest's address. */
  announce(): void {
    this.send(arpFrame(ArpOperation.request, gatewayAddress));
  }

  wait(ms: number): GatewayEffect[] {
    this.nowMs += ms;
    return this.happen({ kind: 'tick' });
  }

  udp(destination: number, datagram: UdpDatagram): GatewayEffect[] {
    return this.send(udpFrame(destination, datagram));
  }

  tcp(destination: number, segment: Partial<TcpSegment>): GatewayEffect[] {
    return this.send(tcpGuestFrame(destination, segment));
  }
}

export function arpFrame(operation: number, targetAddress: number, senderAddress = guestAddress): Uint8Array {
  return buildArp(
    { operation, senderMac: guestMac, senderAddress, targetMac: 0, targetAddress },
    { destination: 0xffff_ffff_ffff },
  );
}

export function ipFrame(
  destination: number,
  protocol: number,
  payload: Uint8Array,
  source = guestAddress,
): Uint8Array {
  const frame = new Uint8Array(transportOffset + payload.length);
  frame.set(payload, transportOffset);
  const mac = destination === 0xffff_ffff ? 0xffff_ffff_ffff : defaultGatewaySettings().mac;
  writeEthernet(frame, { destination: mac, source: guestMac, type: EtherType.ipv4 });
  writeIpv4(frame, { source, destination, protocol, payloadBytes: payload.length });
  return frame;
}

export function udpFrame(destination: number, datagram: UdpDatagram, source = guestAddress): Uint8Array {
  return ipFrame(destination, Protocol.udp, buildUdp(datagram, { source, destination }), source);
}

export function tcpGuestFrame(destination: number, segment: Partial<TcpSegment>): Uint8Array {
  const payload = segment.payload ?? new Uint8Array();
  const ends = { source: guestAddress, destination };
  const { frame, payloadAt } = tcpFrame({
    ...ends,
    sourcePort: 1000,
    destinationPort: 80,
    sequence: 0,
    acknowledgment: 0,
    flags: 0,
    window: 65_535,
    ...segment,
    payloadBytes: payload.length,
  });
  frame.set(payload, payloadAt);
  sealTcp(frame, ends);
  writeEthernet(frame, { destination: defaultGatewaySettings().mac, source: guestMac, type: EtherType.ipv4 });
  writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
  return frame;
}

/** Throws for a frame with a wrong length or checksum: everything that a gateway sends is right. */
export function assertSound(frame: Uint8Array): void {
  const ethernet = readEthernet(frame);
  if (ethernet === undefined) throw new Error('a frame without header');
  if (ethernet.type === EtherType.arp) {
    if (readArp(frame) === undefined) throw new Error('a broken ARP packet');
    return;
  }
  const header = readIpv4(frame);
  if (header === undefined || header.payloadTo !== frame.length) throw new Error('a broken IPv4 packet');
  const { source, destination, protocol, payloadFrom: from, payloadTo: to } = header;
  if (header.moreFragments || header.fragmentOffset > 0) return;
  const pseudo = pseudoHeaderSum({ source, destination, protocol, bytes: to - from });
  const sum = protocol === Protocol.icmp ? sum16(frame, from, to) : fold(pseudo + sum16(frame, from, to));
  if (sum !== 0xffff) throw new Error(`a wrong checksum in protocol ${protocol.toString()}`);
  if (protocol === Protocol.udp && get16(frame, from + 6) === 0)
    throw new Error('a UDP datagram without checksum');
}

export function framesOf(effects: readonly GatewayEffect[]): Uint8Array[] {
  return effects.flatMap((effect) => (effect.kind === 'frame' ? [effect.frame] : []));
}

export function segmentsOf(effects: readonly GatewayEffect[]): TcpSegment[] {
  return framesOf(effects).flatMap((frame) => {
    const header = readIpv4(frame);
    const segment = header?.protocol === Protocol.tcp ? readTcp(frame, header) : undefined;
    return segment === undefined ? [] : [segment];
  });
}

export function datagramsOf(
  effects: readonly GatewayEffect[],
): (UdpDatagram & { source: number; destination: number })[] {
  return framesOf(effects).flatMap((frame) => {
    const header = readIpv4(frame);
    const datagram = header?.protocol === Protocol.udp ? readUdp(frame, header) : undefined;
    return datagram === undefined
      ? []
      : [{ ...datagram, source: header!.source, destination: header!.destination }];
  });
}
