/** What a network card computes in frames for its driver: the Internet checksum (RFC 1071) of TCP and UDP over IPv4. */

const etherTypeIpv4 = 0x0800;
const ethernetHeaderBytes = 14;
const ipHeaderBytes = 20;

export interface Transport {
  protocol: 'tcp' | 'udp';
  transportAt: number;
  /** Behind the transport's header. */
  dataAt: number;
  end: number;
}

const get16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** Where TCP or UDP lies in a frame; undefined for other frames, and for fragments. */
export function parseTransport(frame: Uint8Array): Transport | undefined {
  const at = ethernetHeaderBytes;
  if (frame.length < at + ipHeaderBytes || get16(frame, 12) !== etherTypeIpv4) return undefined;
  const version = frame[at] ?? 0;
  const headerBytes = (version & 0xf) * 4;
  const end = at + get16(frame, at + 2);
  if (version >> 4 !== 4 || headerBytes < ipHeaderBytes || end > frame.length) return undefined;
  // A fragment: more follow, or it doesn't begin at 0.
  if (get16(frame, at + 6) & 0x3fff) return undefined;
  const transportAt = at + headerBytes;
  const protocol = frame[at + 9];
  if (protocol === 17 && transportAt + 8 <= end)
    return { protocol: 'udp', transportAt, dataAt: transportAt + 8, end };
  if (protocol !== 6 || transportAt + 20 > end) return undefined;
  const dataAt = transportAt + ((frame[transportAt + 12] ?? 0) >> 4) * 4;
  return dataAt < transportAt + 20 || dataAt > end
    ? undefined
    : { protocol: 'tcp', transportAt, dataAt, end };
}

export function pseudoHeaderSum(frame: Uint8Array, { transportAt, end, protocol }: Transport): number {
  const addresses = sum16(frame, ethernetHeaderBytes + 12, ethernetHeaderBytes + 20);
  return addresses + (protocol === 'tcp' ? 6 : 17) + end - transportAt;
}

export function isChecksumRight(frame: Uint8Array, transport: Transport): boolean {
  const { transportAt, end, protocol } = transport;
  if (protocol === 'udp' && get16(frame, transportAt + 6) === 0) return false;
  return fold(pseudoHeaderSum(frame, transport) + sum16(frame, transportAt, end)) === 0xffff;
}

/** Sum of the big-endian words in [from, to), folded. At most 64 KiB. */
export function sum16(bytes: Uint8Array, from: number, to: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let high = 0;
  let low = 0;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word = view.getUint32(at);
    high += word >>> 16;
    low += word & 0xffff;
  }
  let sum = high + low;
  for (; at + 1 < to; at += 2) sum += get16(bytes, at);
  if (at < to) sum += (bytes[at] ?? 0) << 8;
  return fold(sum);
}

export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return folded;
}
