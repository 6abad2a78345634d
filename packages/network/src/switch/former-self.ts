/**
 * The edge of a guest that was forked. In its memory it has the MAC and the address of the guest whose memory it was; in its network it has
 * others. No driver takes a new MAC while it runs, and a guest asks for an address again only when half of its lease is over. So its frames are
 * changed on their way: what it believes to be its own is its own, and nobody hears the old names from it.
 *
 * The two names are *exchanged*, in both directions alike: who still has the old one is seen by the guest under the new one. So the two can
 * speak with each other, and neither hears its own name claimed by another.
 *
 * Which name it goes by shows in what it sends. Once it goes by its own (it has started again and read its card, or renewed its lease), nothing
 * is changed any more, and what still leaves under the old name is dropped. Pure, but for what is learnt; a frame is never changed in place.
 */
import { readMac, writeMac } from '../wire/address.ts';
import { readArp } from '../wire/arp.ts';
import { checksum, fold, get16, get32, set16, set32, sum16 } from '../wire/bytes.ts';
import { DhcpOption, DhcpType } from '../wire/dhcp.ts';
import { ethernetHeaderBytes, EtherType, readEthernet } from '../wire/ethernet.ts';
import { Protocol, pseudoHeaderSum, readIpv4, type Ipv4Header } from '../wire/ipv4.ts';
import { udpHeaderBytes } from '../wire/udp.ts';

export interface Name {
  mac: number;
  address: number;
}

export interface FormerSelf {
  /** What it is to its network. */
  own: Name;
  /** What it may take itself for: who it was forked of, and who that one was forked of; the last one first forked. */
  former: readonly Name[];
  /** What it goes by; undefined until it was heard. */
  mac: number | undefined;
  address: number | undefined;
}

export function newFormerSelf(own: Name, former: readonly Name[]): FormerSelf {
  return { own, former, mac: undefined, address: undefined };
}

/** RFC 768, RFC 9293: where the checksum stands in a header. */
const checksumAt: Partial<Record<number, number>> = { [Protocol.tcp]: 16, [Protocol.udp]: 6 };
/** RFC 792: messages that hold the head of the packet that they are about. */
const icmpErrors: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const icmpHeaderBytes = 8;
const DhcpPort = { server: 67, client: 68 } as const;
/** RFC 2131, 2: the address that is given, the client's MAC; RFC 2132, 9.14: the option that names it, most often by its MAC. */
const Dhcp = { yours: 16, hardware: 28, options: 240, clientId: 61, ethernet: 1 } as const;

/** A frame of the guest, as its network is to see it; undefined for one that is dropped. */
export function outward(self: FormerSelf, frame: Uint8Array): Uint8Array | undefined {
  const header = readEthernet(frame);
  if (header === undefined) return frame;
  learn(self, 'mac', header.source);
  const address = sourceAddress(frame, header.type);
  if (address !== undefined) learn(self, 'address', address);
  const claims = (name: keyof Name, value: number | undefined): boolean =>
    self[name] === self.own[name] && self.former.some((each) => each[name] === value);
  if (claims('mac', header.source) || claims('address', address)) return undefined;
  return exchange(frame, pairs(self));
}

/** What of a frame the guest is to hear. While nobody knows by what names it goes, what is for it comes under each that it may have: it drops the others. */
export function inward(self: FormerSelf, frame: Uint8Array): Uint8Array[] {
  learnLease(self, frame);
  const known = pairs(self);
  const { own, former } = self;
  if (addressee(frame) !== own.address) return [exchange(frame, known)];
  const addresses =
    self.address === undefined ? [own, ...former].map(({ address }) => address) : [self.address];
  // All that starts again reads its own MAC. Of the others, only who it was forked of is likely.
  const guess = self.mac === undefined && readMac(frame, 0) === own.mac;
  const macs = guess ? [own.mac, known.mac[0]] : [known.mac[0]];
  return addresses.flatMap((address) =>
    macs.map((mac) => exchange(frame, { mac: [mac, own.mac], address: [address, own.address] })),
  );
}

/** RFC 2131, 4.4.1: a guest that is given its own address goes by it from then on, whether or not it says so. */
function learnLease(self: FormerSelf, frame: Uint8Array): void {
  const header = get16(frame, 12) === EtherType.ipv4 ? readIpv4(frame) : undefined;
  if (header === undefined || !isDhcp(frame, header)) return;
  const data = header.payloadFrom + udpHeaderBytes;
  if (get16(frame, header.payloadFrom) !== DhcpPort.server || data + Dhcp.options > header.payloadTo) return;
  const mine = readMac(frame, data + Dhcp.hardware) === self.own.mac;
  const [type] = dhcpOptions(frame, data, header.payloadTo).filter(({ code }) => code === DhcpOption.type);
  if (
    mine &&
    type !== undefined &&
    frame[type.at] === DhcpType.ack &&
    get32(frame, data + Dhcp.yours) === self.own.address
  )
    self.address = self.own.address;
}

/** RFC 826 and RFC 791: for whom a frame is, or whom it asks for. */
function addressee(frame: Uint8Array): number | undefined {
  const type = readEthernet(frame)?.type;
  if (type === EtherType.arp) return readArp(frame)?.targetAddress;
  return type === EtherType.ipv4 && frame.length >= ethernetHeaderBytes + 20
    ? get32(frame, ethernetHeaderBytes + 16)
    : undefined;
}

/** One way: from a former name to its own, never back. */
function learn(self: FormerSelf, name: keyof Name, heard: number): void {
  if (self[name] === self.own[name]) return;
  if ([self.own, ...self.former].some((each) => each[name] === heard)) self[name] = heard;
}

/** RFC 826 and RFC 791: by whom a frame says that it is. */
function sourceAddress(frame: Uint8Array, type: number): number | undefined {
  if (type === EtherType.arp) return readArp(frame)?.senderAddress;
  return type === EtherType.ipv4 && frame.length >= ethernetHeaderBytes + 20
    ? get32(frame, ethernetHeaderBytes + 12)
    : undefined;
}

type Pair = readonly [number, number];
interface Pairs {
  mac: Pair;
  address: Pair;
}

function pairs({ own, former, mac, address }: FormerSelf): Pairs {
  const likely = former.at(-1) ?? own;
  return { mac: [mac ?? likely.mac, own.mac], address: [address ?? likely.address, own.address] };
}

const other = ([one, two]: Pair, value: number): number =>
  value === one ? two : value === two ? one : value;

/** The frame with each of the two names in place of the other, and the frame itself where that changes nothing. */
function exchange(given: Uint8Array, by: Pairs): Uint8Array {
  if (by.mac[0] === by.mac[1] && by.address[0] === by.address[1]) return given;
  const frame = Uint8Array.from(given);
  for (const at of [0, 6]) writeMac(frame, at, other(by.mac, readMac(frame, at)));
  const type = get16(frame, 12);
  if (type === EtherType.ipv4) exchangeIpv4(frame, by);
  else if (type === EtherType.arp || type === EtherType.rarp) exchangeArp(frame, by);
  return frame;
}

function exchangeArp(frame: Uint8Array, by: Pairs): void {
  const arp = readArp(frame);
  if (arp === undefined) return;
  const at = ethernetHeaderBytes;
  writeMac(frame, at + 8, other(by.mac, arp.senderMac));
  set32(frame, at + 14, other(by.address, arp.senderAddress));
  writeMac(frame, at + 18, other(by.mac, arp.targetMac));
  set32(frame, at + 24, other(by.address, arp.targetAddress));
}

function exchangeIpv4(frame: Uint8Array, by: Pairs): void {
  const header = readIpv4(frame);
  if (header === undefined) return;
  if (isDhcp(frame, header)) {
    exchangeDhcp(frame, header, by);
    return;
  }
  const at = ethernetHeaderBytes;
  const whole = header.fragmentOffset === 0;
  const sumAt = whole ? checksumAt[header.protocol] : undefined;
  const sums = [at + 10];
  if (sumAt !== undefined && header.payloadFrom + sumAt + 2 <= header.payloadTo) {
    const transportSum = header.payloadFrom + sumAt;
    // A checksum of zero says that there is none (RFC 768).
    if (header.protocol !== Protocol.udp || get16(frame, transportSum) !== 0) sums.push(transportSum);
  }
  for (const place of [at + 12, at + 16]) replace(frame, place, by.address, sums);
  if (whole && header.protocol === Protocol.icmp) exchangeQuoted(frame, header, by);
}

/** Puts the other address in its place, and lets the sums over it follow: RFC 1624, equation 3. */
function replace(frame: Uint8Array, at: number, pair: Pair, sums: readonly number[]): void {
  const before = get32(frame, at);
  const after = other(pair, before);
  if (after === before) return;
  set32(frame, at, after);
  const change = [before >>> 16, before & 0xffff].reduce((sum, word) => sum + (~word & 0xffff), 0);
  for (const place of sums) {
    const sum = fold((~get16(frame, place) & 0xffff) + change + (after >>> 16) + (after & 0xffff));
    // All ones and zero are the same sum; UDP's zero would mean that there is none.
    set16(frame, place, ~sum & 0xffff || 0xffff);
  }
}

/** The packet that an ICMP error is about: its sender knows it by the name under which it was sent. */
function exchangeQuoted(frame: Uint8Array, { payloadFrom, payloadTo }: Ipv4Header, by: Pairs): void {
  const at = payloadFrom + icmpHeaderBytes;
  if (at + 20 > payloadTo || !icmpErrors.has(frame[payloadFrom]!)) return;
  for (const place of [at + 12, at + 16]) replace(frame, place, by.address, [at + 10]);
  set16(frame, payloadFrom + 2, 0);
  set16(frame, payloadFrom + 2, checksum(sum16(frame, payloadFrom, payloadTo)));
}

function isDhcp(frame: Uint8Array, header: Ipv4Header): boolean {
  const { protocol, fragmentOffset, moreFragments, payloadFrom: from, payloadTo } = header;
  if (protocol !== Protocol.udp || moreFragments || fragmentOffset > 0 || payloadTo - from < udpHeaderBytes)
    return false;
  const ports = [get16(frame, from), get16(frame, from + 2)];
  return ports.includes(DhcpPort.server) && ports.includes(DhcpPort.client);
}

/**
 * A question of the guest is asked under the MAC that it has in the network, and answered under the one that it knows. Of addresses only where a question is from
 * is changed: those inside are what it asks for and is given, and by its own it is refused the old one.
 */
function exchangeDhcp(frame: Uint8Array, header: Ipv4Header, by: Pairs): void {
  const at = ethernetHeaderBytes;
  const { payloadFrom: from, payloadTo } = header;
  const asks = get16(frame, from + 2) === DhcpPort.server;
  if (asks) replace(frame, at + 12, by.address, [at + 10]);
  const bytes = get16(frame, from + 4);
  const to = Math.min(from + bytes, payloadTo);
  const data = from + udpHeaderBytes;
  const swap = (place: number): void => {
    if (place + 6 <= to) writeMac(frame, place, other(by.mac, readMac(frame, place)));
  };
  swap(data + Dhcp.hardware);
  for (const { code, at: value, bytes: length } of dhcpOptions(frame, data, to))
    if (code === Dhcp.clientId && length === 7 && frame[value] === Dhcp.ethernet) swap(value + 1);
  if (get16(frame, from + 6) === 0) return;
  set16(frame, from + 6, 0);
  const ends = { source: get32(frame, at + 12), destination: get32(frame, at + 16) };
  const pseudo = pseudoHeaderSum({ ...ends, protocol: Protocol.udp, bytes });
  set16(frame, from + 6, checksum(pseudo + sum16(frame, from, to)) || 0xffff);
}

/** RFC 2132, 2: the options of a message that begins at `data`; `at`: where the value stands. */
function dhcpOptions(
  frame: Uint8Array,
  data: number,
  to: number,
): { code: number; at: number; bytes: number }[] {
  const options = [];
  for (let at = data + Dhcp.options; at + 1 < to && frame[at] !== DhcpOption.end;) {
    const code = frame[at]!;
    const bytes = frame[at + 1]!;
    if (code !== DhcpOption.pad && at + 2 + bytes <= to) options.push({ code, at: at + 2, bytes });
    at += code === DhcpOption.pad ? 1 : 2 + bytes;
  }
  return options;
}
