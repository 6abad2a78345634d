/**
 * The DHCP server: RFC 2131, 4.3. Who has a reservation gets its address and nothing else; others get the one they had, the one they ask
 * for, or the first free one.
 */
import { broadcastMac, broadcastOf, inSubnet, maskOf } from '../wire/address.ts';
import { set16 } from '../wire/bytes.ts';
import {
  addressBytes,
  buildDhcp,
  DhcpOption,
  DhcpType,
  readDhcp,
  type DhcpMessage,
  type DhcpReply,
} from '../wire/dhcp.ts';
import { Protocol } from '../wire/ipv4.ts';
import { buildUdp } from '../wire/udp.ts';
import { sendPacket } from './link.ts';
import type { Turn } from './state.ts';

export const dhcpServerPort = 67;
const dhcpClientPort = 68;
const offerMs = 60_000;
const declinedMs = 600_000;

export function receiveDhcp(turn: Turn, data: Uint8Array): void {
  const message = readDhcp(data);
  const { pool, reservations } = turn.settings;
  // Who has no address to give is no server: not even a refusal.
  if (message === undefined || (pool === undefined && reservations.length === 0)) return;
  const elsewhere = message.server !== undefined && message.server !== turn.settings.address;
  switch (message.type) {
    case DhcpType.discover: {
      const address = choose(turn, message);
      if (address === undefined) return;
      hold(turn, message.mac, address, offerMs);
      answer(turn, message, { type: DhcpType.offer, address });
      return;
    }
    case DhcpType.request:
      if (!elsewhere) request(turn, message);
      return;
    case DhcpType.decline:
      if (message.requested !== undefined && !elsewhere) decline(turn, message.requested, message.mac);
      return;
    case DhcpType.release: {
      const lease = turn.state.leases.get(message.client);
      if (lease?.mac === message.mac && !elsewhere) turn.state.leases.delete(message.client);
      return;
    }
    case DhcpType.inform:
      // 4.3.5: no address, no lease time.
      if (inSubnet(turn.settings.subnet, message.client))
        answer(turn, message, { type: DhcpType.ack, address: 0 });
      return;
    default:
  }
}

/** 4.3.2: the answer to an offer, or a client that had an address before, or renews it. */
function request(turn: Turn, message: DhcpMessage): void {
  const address = message.requested ?? message.client;
  if (address !== 0 && mayHave(turn, message.mac, address)) {
    hold(turn, message.mac, address, turn.settings.leaseSeconds * 1000);
    answer(turn, message, { type: DhcpType.ack, address });
  } else answer(turn, message, { type: DhcpType.nak, address: 0 });
}

function mayHave({ settings, state, nowMs }: Turn, mac: number, address: number): boolean {
  const reserved = settings.reservations.find((entry) => entry.mac === mac);
  if (reserved !== undefined) return reserved.address === address;
  const { pool } = settings;
  if (pool === undefined || address < pool.first || address > pool.last) return false;
  if (address === settings.address || address === settings.nameServer) return false;
  if (settings.reservations.some((entry) => entry.address === address)) return false;
  const lease = state.leases.get(address);
  return lease === undefined || lease.untilMs <= nowMs || (lease.mac === mac && !lease.declined);
}

function choose(turn: Turn, { mac, requested }: DhcpMessage): number | undefined {
  const { settings, state } = turn;
  const reserved = settings.reservations.find((entry) => entry.mac === mac);
  if (reserved !== undefined) return reserved.address;
  for (const lease of state.leases.values())
    if (lease.mac === mac && mayHave(turn, mac, lease.address)) return lease.address;
  if (requested !== undefined && mayHave(turn, mac, requested)) return requested;
  const { first, last } = settings.pool ?? { first: 1, last: 0 };
  for (let address = first; address <= last; address++) if (mayHave(turn, mac, address)) return address;
  return undefined;
}

/** A MAC has one address at a time, so there are never more leases than addresses. */
function hold({ state, nowMs }: Turn, mac: number, address: number, forMs: number): void {
  for (const [other, lease] of state.leases)
    if (lease.mac === mac && other !== address && !lease.declined) state.leases.delete(other);
  state.leases.set(address, { mac, address, untilMs: nowMs + forMs, declined: false });
}

function decline(turn: Turn, address: number, mac: number): void {
  const lease = turn.state.leases.get(address);
  if (lease?.mac !== mac) return;
  lease.declined = true;
  lease.untilMs = turn.nowMs + declinedMs;
}

function answer(
  turn: Turn,
  message: DhcpMessage,
  { type, address }: { type: number; address: number },
): void {
  const { settings } = turn;
  const options = type === DhcpType.nak ? [] : configuration(turn, address !== 0);
  const reply: DhcpReply = { type, yours: address, server: settings.address, options };
  // 4.1: to the client's own address if it has one; else to the one it gets, unless it asks for a broadcast. A refusal is always broadcast.
  const known = type === DhcpType.nak ? 0 : message.client;
  const unicast = known !== 0 || !(message.broadcast || type === DhcpType.nak);
  const destination = known !== 0 ? known : unicast ? address : 0xffff_ffff;
  const data = buildDhcp(message, reply);
  const ends = { source: settings.address, destination };
  const payload = buildUdp({ sourcePort: dhcpServerPort, destinationPort: dhcpClientPort, data }, ends);
  sendPacket(turn, { ...ends, protocol: Protocol.udp, payload }, unicast ? message.mac : broadcastMac);
}

function configuration({ settings }: Turn, withLease: boolean): [number, Uint8Array][] {
  const seconds = settings.leaseSeconds;
  const mtu = new Uint8Array(2);
  set16(mtu, 0, settings.mtu);
  return [
    [DhcpOption.mask, addressBytes(maskOf(settings.subnet))],
    [DhcpOption.broadcast, addressBytes(broadcastOf(settings.subnet))],
    ...(settings.outbound
      ? ([
          [DhcpOption.router, addressBytes(settings.address)],
          ...(settings.nameServer === undefined
            ? []
            : ([[DhcpOption.nameServer, addressBytes(settings.nameServer)]] satisfies [
                number,
                Uint8Array,
              ][])),
        ] satisfies [number, Uint8Array][])
      : []),
    ...(settings.mtu === 1500 ? [] : ([[DhcpOption.mtu, mtu]] satisfies [number, Uint8Array][])),
    ...(withLease
      ? ([
          [DhcpOption.leaseSeconds, addressBytes(seconds)],
          [DhcpOption.renewal, addressBytes(Math.floor(seconds / 2))],
          [DhcpOption.rebinding, addressBytes(Math.floor((seconds * 7) / 8))],
        ] satisfies [number, Uint8Array][])
      : []),
  ];
}
