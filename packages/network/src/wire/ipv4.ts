/** IPv4 headers: RFC 791. What arrives with options keeps them unread; what leaves has none. */
import { insist } from '../insist.ts';
import { checksum, get16, get32, set16, set32, sum16 } from './bytes.ts';
import { ethernetHeaderBytes } from './ethernet.ts';

export const Protocol = { icmp: 1, tcp: 6, udp: 17 } as const;
export const ipHeaderBytes = 20;
/** Where the transport header stands in a frame that we build. */
export const transportOffset = ethernetHeaderBytes + ipHeaderBytes;
const defaultTimeToLive = 64;
const Flag = { dontFragment: 0x4000, moreFragments: 0x2000, offset: 0x1fff } as const;

export interface Ipv4Header {
  source: number;
  destination: number;
  protocol: number;
  timeToLive: number;
  identification: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  /** Where the payload lies in the frame. */
  payloadFrom: number;
  payloadTo: number;
}

/** Reads and checks the header behind the Ethernet header of `frame`; undefined for what RFC 1122, 3.2.1 says to discard in silence. */
export function readIpv4(frame: Uint8Array): Ipv4Header | undefined {
  const at = ethernetHeaderBytes;
  if (frame.length < at + ipHeaderBytes || frame[at]! >> 4 !== 4) return undefined;
  const headerBytes = (frame[at]! & 0xf) * 4;
  const totalBytes = get16(frame, at + 2);
  if (headerBytes < ipHeaderBytes || totalBytes < headerBytes || frame.length < at + totalBytes)
    return undefined;
  if (sum16(frame, at, at + headerBytes) !== 0xffff) return undefined;
  const fragment = get16(frame, at + 6);
  return {
    source: get32(frame, at + 12),
    destination: get32(frame, at + 16),
    protocol: frame[at + 9]!,
    timeToLive: frame[at + 8]!,
    identification: get16(frame, at + 4),
    dontFragment: (fragment & Flag.dontFragment) !== 0,
    moreFragments: (fragment & Flag.moreFragments) !== 0,
    fragmentOffset: (fragment & Flag.offset) * 8,
    payloadFrom: at + headerBytes,
    payloadTo: at + totalBytes,
  };
}

export interface Ipv4Fields {
  source: number;
  destination: number;
  protocol: number;
  payloadBytes: number;
  identification?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  fragmentOffset?: number;
}

/** Writes a header without options behind the Ethernet header of `frame`. */
export function writeIpv4(frame: Uint8Array, fields: Ipv4Fields): void {
  const at = ethernetHeaderBytes;
  const totalBytes = ipHeaderBytes + fields.payloadBytes;
  insist(
    totalBytes <= 0xffff && at + totalBytes <= frame.length,
    `an IPv4 packet of ${String(totalBytes)} bytes does not fit its frame`,
  );
  frame[at] = 0x45;
  frame[at + 1] = 0;
  set16(frame, at + 2, totalBytes);
  set16(frame, at + 4, fields.identification ?? 0);
  const flags =
    ((fields.dontFragment ?? false) ? Flag.dontFragment : 0) |
    ((fields.moreFragments ?? false) ? Flag.moreFragments : 0);
  set16(frame, at + 6, flags | ((fields.fragmentOffset ?? 0) >> 3));
  frame[at + 8] = defaultTimeToLive;
  frame[at + 9] = fields.protocol;
  set16(frame, at + 10, 0);
  set32(frame, at + 12, fields.source);
  set32(frame, at + 16, fields.destination);
  set16(frame, at + 10, checksum(sum16(frame, at, at + ipHeaderBytes)));
}

/** RFC 9293, 3.1, and RFC 768: the sum over the pseudo-header of TCP and UDP. */
export function pseudoHeaderSum(header: {
  source: number;
  destination: number;
  protocol: number;
  bytes: number;
}): number {
  const { source, destination, protocol, bytes } = header;
  return (
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + bytes
  );
}
