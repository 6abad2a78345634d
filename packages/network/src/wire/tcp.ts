/** TCP segments on the wire: RFC 9293, 3.1 and 3.2; window scaling: RFC 7323, 2. */
import { checksum, fold, get16, get32, set16, set32, sum16 } from './bytes.ts';
import { Protocol, pseudoHeaderSum, transportOffset, type Ipv4Header } from './ipv4.ts';

export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
export const tcpHeaderBytes = 20;
const Option = { end: 0, nop: 1, maximumSegment: 2, windowScale: 3 } as const;
/** RFC 7323, 2.3: a larger shift is taken for this one. */
const maxWindowShift = 14;

export interface TcpSegment {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  /** As it stands in the header, without its scale. */
  window: number;
  /** Of a SYN: what its options say. */
  maximumSegment: number | undefined;
  windowShift: number | undefined;
  payload: Uint8Array;
}

export function readTcp(
  frame: Uint8Array,
  { source, destination, payloadFrom: from, payloadTo: to }: Ipv4Header,
): TcpSegment | undefined {
  if (to - from < tcpHeaderBytes) return undefined;
  const headerBytes = (frame[from + 12]! >> 4) * 4;
  if (headerBytes < tcpHeaderBytes || from + headerBytes > to) return undefined;
  const pseudo = pseudoHeaderSum({ source, destination, protocol: Protocol.tcp, bytes: to - from });
  if (fold(pseudo + sum16(frame, from, to)) !== 0xffff) return undefined;
  const flags = frame[from + 13]! & 0x3f;
  const segment: TcpSegment = {
    sourcePort: get16(frame, from),
    destinationPort: get16(frame, from + 2),
    sequence: get32(frame, from + 4),
    acknowledgment: get32(frame, from + 8),
    flags,
    window: get16(frame, from + 14),
    maximumSegment: undefined,
    windowShift: undefined,
    payload: frame.subarray(from + headerBytes, to),
  };
  if (flags & TcpFlag.syn) readOptions(segment, frame.subarray(from + tcpHeaderBytes, from + headerBytes));
  return segment;
}

function readOptions(segment: TcpSegment, options: Uint8Array): void {
  let at = 0;
  while (at < options.length) {
    const kind = options[at]!;
    if (kind === Option.end) return;
    if (kind === Option.nop) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    // An option that is shorter than its own header, or longer than the room for it, ends the list.
    if (length < 2 || at + length > options.length) return;
    if (kind === Option.maximumSegment && length === 4) segment.maximumSegment = get16(options, at + 2);
    if (kind === Option.windowScale && length === 3)
      segment.windowShift = Math.min(options[at + 2]!, maxWindowShift);
    at += length;
  }
}

/** The options of a SYN, padded to whole words. */
export function synOptions({
  maximumSegment,
  windowShift,
}: {
  maximumSegment: number;
  windowShift: number | undefined;
}): Uint8Array {
  const options = new Uint8Array(windowShift === undefined ? 4 : 8);
  options[0] = Option.maximumSegment;
  options[1] = 4;
  set16(options, 2, maximumSegment);
  if (windowShift !== undefined) options.set([Option.nop, Option.windowScale, 3, windowShift], 4);
  return options;
}

export interface TcpFields {
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  options?: Uint8Array | undefined;
  payloadBytes: number;
}

/**
 * A frame with room for the segment; the caller puts the payload at the returned offset, the other headers in front, then seals it. Its memory
 * comes from `allocate`, and may hold anything there.
 */
export function tcpFrame(
  fields: TcpFields,
  allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
): { frame: Uint8Array; payloadAt: number } {
  const headerBytes = tcpHeaderBytes + (fields.options?.length ?? 0);
  const from = transportOffset;
  const frame = allocate(from + headerBytes + fields.payloadBytes);
  set16(frame, from, fields.sourcePort);
  set16(frame, from + 2, fields.destinationPort);
  set32(frame, from + 4, fields.sequence);
  set32(frame, from + 8, fields.acknowledgment);
  frame[from + 12] = (headerBytes >> 2) << 4;
  frame[from + 13] = fields.flags;
  set16(frame, from + 14, fields.window);
  set16(frame, from + 18, 0);
  if (fields.options !== undefined) frame.set(fields.options, from + tcpHeaderBytes);
  return { frame, payloadAt: from + headerBytes };
}

/** Writes the checksum of the segment that fills `frame` from the transport offset on. */
export function sealTcp(
  frame: Uint8Array,
  { source, destination }: { source: number; destination: number },
): void {
  const from = transportOffset;
  set16(frame, from + 16, 0);
  const pseudo = pseudoHeaderSum({ source, destination, protocol: Protocol.tcp, bytes: frame.length - from });
  set16(frame, from + 16, checksum(pseudo + sum16(frame, from, frame.length)));
}
