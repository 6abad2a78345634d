/**
 * Cuts a TCP segment that its sender left to the network card to cut (TSO) into segments that fit: what a card would do. Only IPv4 without
 * options or fragments can be cut.
 */
import { ethernetHeaderBytes } from '../wire/ethernet.ts';
import { Protocol, readIpv4, transportOffset } from '../wire/ipv4.ts';
import { checksum, get16, get32, set16, set32, sum16 } from '../wire/bytes.ts';
import { sealTcp, TcpFlag } from '../wire/tcp.ts';

/** Frames of at most `frameBytes`; none when that can't be done. */
export function splitFrame(frame: Uint8Array, frameBytes: number): Uint8Array[] {
  const header = get16(frame, 12) === 0x0800 ? readIpv4(frame) : undefined;
  if (header === undefined || header.protocol !== Protocol.tcp || header.payloadFrom !== transportOffset)
    return [];
  if (header.moreFragments || header.fragmentOffset > 0 || header.payloadTo - header.payloadFrom < 20)
    return [];
  const tcpBytes = (frame[transportOffset + 12]! >> 4) * 4;
  const dataFrom = transportOffset + tcpBytes;
  const room = frameBytes - dataFrom;
  if (tcpBytes < 20 || dataFrom >= header.payloadTo || room <= 0) return [];
  const sequence = get32(frame, transportOffset + 4);
  const flags = frame[transportOffset + 13]!;
  if (flags & (TcpFlag.syn | TcpFlag.rst | TcpFlag.urg)) return [];
  const identification = get16(frame, ethernetHeaderBytes + 4);
  const parts: Uint8Array[] = [];
  for (let from = dataFrom; from < header.payloadTo; from += room) {
    const to = Math.min(from + room, header.payloadTo);
    const part = new Uint8Array(dataFrom + to - from);
    part.set(frame.subarray(0, dataFrom));
    part.set(frame.subarray(from, to), dataFrom);
    set32(part, transportOffset + 4, (sequence + from - dataFrom) >>> 0);
    const last = to === header.payloadTo;
    part[transportOffset + 13] = last ? flags : flags & ~(TcpFlag.fin | TcpFlag.psh);
    sealTcp(part, header);
    set16(part, ethernetHeaderBytes + 2, part.length - ethernetHeaderBytes);
    set16(part, ethernetHeaderBytes + 4, (identification + parts.length) & 0xffff);
    set16(part, ethernetHeaderBytes + 10, 0);
    set16(part, ethernetHeaderBytes + 10, checksum(sum16(part, ethernetHeaderBytes, transportOffset)));
    parts.push(part);
  }
  return parts;
}
