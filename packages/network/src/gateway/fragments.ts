/** Puts fragments together again: RFC 791, 3.2, for whole datagrams only; fragments that overlap condemn the packet (as RFC 5722 has it). */
import { copyOf, get16, set16 } from '../wire/bytes.ts';
import { ethernetHeaderBytes } from '../wire/ethernet.ts';
import type { Ipv4Header } from '../wire/ipv4.ts';
import { makeRoom, wakeAt, type FragmentedPacket, type Turn } from './state.ts';

/** RFC 1122, 3.3.2: between 60 and 120 s; a segment of a few metres needs less. */
const patienceMs = 15_000;
const maxPieces = 64;

/** The whole packet as a frame with its header, once the last piece is in. */
export function receiveFragment(
  turn: Turn,
  frame: Uint8Array,
  header: Ipv4Header,
): { frame: Uint8Array; header: Ipv4Header } | undefined {
  const { fragments } = turn.state;
  const key = [header.source, header.destination, header.protocol, header.identification].join();
  let packet = fragments.get(key);
  if (packet === undefined) {
    makeRoom(fragments, turn.settings.limits.fragmentedPackets);
    packet = {
      header: copyOf(frame.subarray(0, header.payloadFrom)),
      pieces: [],
      bytes: undefined,
      untilMs: turn.nowMs + patienceMs,
    };
    fragments.set(key, packet);
    wakeAt(turn.state, packet.untilMs);
  }
  if (!addPiece(packet, frame, header)) {
    fragments.delete(key);
    return undefined;
  }
  const have = packet.pieces.reduce((sum, { data }) => sum + data.length, 0);
  if (packet.bytes === undefined || have < packet.bytes) return undefined;
  fragments.delete(key);
  return whole(packet, packet.bytes, header);
}

/** False when the packet can't be a packet. */
function addPiece(packet: FragmentedPacket, frame: Uint8Array, header: Ipv4Header): boolean {
  const data = copyOf(frame.subarray(header.payloadFrom, header.payloadTo));
  const from = header.fragmentOffset;
  const to = from + data.length;
  if (data.length === 0 || to + packet.header.length - ethernetHeaderBytes > 0xffff) return false;
  if (header.moreFragments ? data.length % 8 !== 0 : packet.bytes !== undefined) return false;
  if (!header.moreFragments) packet.bytes = to;
  packet.pieces.push({ from, data });
  packet.pieces.sort((a, b) => a.from - b.from);
  const overlaps = packet.pieces.some(
    (piece, n) => n > 0 && packet.pieces[n - 1]!.from + packet.pieces[n - 1]!.data.length > piece.from,
  );
  const last = packet.pieces.at(-1)!;
  const beyond = packet.bytes !== undefined && last.from + last.data.length > packet.bytes;
  return !overlaps && !beyond && packet.pieces.length <= maxPieces;
}

function whole(
  packet: FragmentedPacket,
  bytes: number,
  header: Ipv4Header,
): { frame: Uint8Array; header: Ipv4Header } {
  const payloadFrom = packet.header.length;
  const frame = new Uint8Array(payloadFrom + bytes);
  frame.set(packet.header);
  for (const { from, data } of packet.pieces) frame.set(data, payloadFrom + from);
  const at = ethernetHeaderBytes;
  set16(frame, at + 2, frame.length - at);
  set16(frame, at + 6, get16(frame, at + 6) & 0x4000);
  return {
    frame,
    header: { ...header, moreFragments: false, fragmentOffset: 0, payloadFrom, payloadTo: frame.length },
  };
}

export function dropOldFragments(turn: Turn): void {
  for (const [key, { untilMs }] of turn.state.fragments) {
    if (untilMs <= turn.nowMs) turn.state.fragments.delete(key);
    else wakeAt(turn.state, untilMs);
  }
}
