/**
 * The transmitter of an 82540EM: descriptors (PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, 317453, section
 * 3.3) become frames with checksums filled in. A segment to be cut leaves whole, up to 64 KiB, as from virtio-net: who takes it cuts it.
 */
import { bytesUpTo, bool, record, u16, u32, u8, type Infer } from '../schema.ts';
import { fold, sum16 } from '../virtio/checksums.ts';

export const descriptorBytes = 16;
const ethernetHeaderBytes = 14;
/** A packet of IPv4 with 65,535 bytes. */
const maxFrameBytes = ethernetHeaderBytes + 0xffff;
/** 3.3.3: the command byte. */
const Command = { endOfPacket: 1, segment: 4, reportStatus: 8, extended: 0x20 } as const;
/** 3.3.5, 3.3.6: type of an extended descriptor, and what of a packet is to be summed. */
const dataType = 1;
const Options = { ip: 1, transport: 2 } as const;
const insertChecksum = 4;

/** 3.3.5: the context descriptor. */
const contextSchema = record({
  ipStart: u8,
  ipOffset: u8,
  ipEnd: u16,
  transportStart: u8,
  transportOffset: u8,
  transportEnd: u16,
  isTcp: bool,
});

export const transmitSchema = record({
  context: contextSchema,
  /** Of the packet that has begun. */
  partial: bytesUpTo(maxFrameBytes),
  options: u8,
  segment: bool,
  /** A packet longer than any, of which nothing leaves. */
  tooLong: bool,
  /** Of a descriptor without context: where the sum starts and goes. */
  legacy: u32,
});
export type TransmitState = Infer<typeof transmitSchema>;

export function transmitPowerOn(): TransmitState {
  const context = {
    ipStart: 0,
    ipOffset: 0,
    ipEnd: 0,
    transportStart: 0,
    transportOffset: 0,
    transportEnd: 0,
    isTcp: false,
  };
  return { context, partial: new Uint8Array(0), options: 0, segment: false, tooLong: false, legacy: 0 };
}

/** Where the descriptor's bytes lie in memory, and what to do after it. */
export interface Taken {
  /** To be fetched and given to `append`; undefined: none. */
  data: { address: number; length: number } | undefined;
  endOfPacket: boolean;
  reportStatus: boolean;
}

/** Reads one descriptor. */
export function takeDescriptor(state: TransmitState, descriptor: Uint8Array): Taken {
  const view = new DataView(descriptor.buffer, descriptor.byteOffset, descriptorBytes);
  const word = view.getUint32(8, true);
  const command = word >>> 24;
  const address = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  const reportStatus = (command & Command.reportStatus) !== 0;
  const endOfPacket = (command & Command.endOfPacket) !== 0;
  const isFirst = state.partial.length === 0 && !state.tooLong;
  if (!(command & Command.extended)) {
    const status = view.getUint32(12, true);
    if (isFirst) Object.assign(state, { options: 0, segment: false, legacy: 0 });
    // 3.3.3.1: offset in the command's word, start beside the status; 0x80 0000 marks that there is one.
    if (command & insertChecksum)
      state.legacy = 0x80_0000 | ((word >>> 16) & 0xff) | (((status >>> 8) & 0xff) << 8);
    return { data: { address, length: word & 0xffff }, endOfPacket, reportStatus };
  }
  if (((word >>> 20) & 15) !== dataType) {
    state.context = {
      ipStart: view.getUint8(0),
      ipOffset: view.getUint8(1),
      ipEnd: view.getUint16(2, true),
      transportStart: view.getUint8(4),
      transportOffset: view.getUint8(5),
      transportEnd: view.getUint16(6, true),
      isTcp: (command & 1) !== 0,
    };
    return { data: undefined, endOfPacket: false, reportStatus };
  }
  if (isFirst) {
    state.options = view.getUint8(13);
    state.segment = (command & Command.segment) !== 0;
    state.legacy = 0;
  }
  return { data: { address, length: word & 0xf_ffff }, endOfPacket, reportStatus };
}

/** Whether so many bytes more fit; if not, the packet is dropped. */
export function hasRoom(state: TransmitState, length: number): boolean {
  if (state.partial.length + length > maxFrameBytes) state.tooLong = true;
  return !state.tooLong;
}

export function append(state: TransmitState, data: Uint8Array): void {
  const joined = new Uint8Array(state.partial.length + data.length);
  joined.set(state.partial);
  joined.set(data, state.partial.length);
  state.partial = joined;
}

/** The packet is whole: the frame that leaves, if one does. */
export function finishPacket(state: TransmitState, mtu: number): Uint8Array | undefined {
  const { partial: frame, tooLong, segment, options, context, legacy } = state;
  Object.assign(state, { partial: new Uint8Array(0), tooLong: false });
  const isLarge = frame.length > mtu + ethernetHeaderBytes + 4;
  if (tooLong || frame.length < ethernetHeaderBytes || (isLarge && !segment)) return undefined;
  if (segment) prepareSegment(frame, context);
  if (options & Options.ip || segment) insertSum(frame, context.ipStart, context.ipOffset, context.ipEnd);
  if (options & Options.transport)
    insertSum(frame, context.transportStart, context.transportOffset, context.transportEnd);
  if (legacy !== 0) insertSum(frame, (legacy >> 8) & 0xff, legacy & 0xff, 0);
  return frame;
}

/** 3.5.4: what the card fills in of each segment, here of the whole: the length of the packet, and in the sum that of its transport. */
function prepareSegment(
  frame: Uint8Array,
  { ipStart, transportStart, transportOffset }: TransmitState['context'],
): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const isIpv4 = (frame[ipStart] ?? 0) >> 4 === 4;
  if (isIpv4 && ipStart + 4 <= frame.length) view.setUint16(ipStart + 2, frame.length - ipStart);
  else if (ipStart + 6 <= frame.length) view.setUint16(ipStart + 4, frame.length - ipStart - 40);
  if (transportOffset + 2 > frame.length) return;
  const sum = view.getUint16(transportOffset) + Math.max(frame.length - transportStart, 0);
  view.setUint16(transportOffset, fold(sum));
}

/** The sum from `start` to `end` (inclusive; 0: to the frame's end) goes to `at`. */
function insertSum(frame: Uint8Array, start: number, at: number, end: number): void {
  const to = end === 0 ? frame.length : Math.min(end + 1, frame.length);
  if (start >= to || at + 2 > frame.length) return;
  const sum = ~fold(sum16(frame, start, to)) & 0xffff;
  frame[at] = sum >> 8;
  frame[at + 1] = sum & 0xff;
}
