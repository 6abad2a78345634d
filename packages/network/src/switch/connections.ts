/**
 * What the TCP connections between two guests of a segment have seen of each other. A guest that is resumed from a checkpoint may be behind
 * what its peer has seen of it, and TCP does not sort that out (gateway/roll-back.ts): whoever delivers the frames of both sides knows which
 * connections that are, and ends them.
 *
 * Pure; the state is changed in place. It never holds more than `maxConnections`: the one longest unused goes, and is then not ended.
 */
import { readMac } from '../wire/address.ts';
import { get16, get32 } from '../wire/bytes.ts';
import { EtherType, writeEthernet } from '../wire/ethernet.ts';
import { Protocol, readIpv4, transportOffset, writeIpv4, type Ipv4Header } from '../wire/ipv4.ts';
import { sealTcp, tcpFrame, TcpFlag, tcpHeaderBytes } from '../wire/tcp.ts';

interface Side {
  address: number;
  port: number;
  /** As last seen; 0 until it sent something. */
  mac: number;
  /** Its last acknowledgment: where the other side's reset is believed at once (RFC 5961, 3.2). */
  acknowledgment: number;
  /** Its guest's instruction count when it last took the connection further. */
  progressAt: number;
}

export type Connections = Map<string, { a: Side; b: Side }>;

const maxConnections = 4096;

const newSide = (address: number, port: number): Side => ({
  address,
  port,
  mac: 0,
  acknowledgment: 0,
  progressAt: 0,
});

function tcpOf(frame: Uint8Array): Ipv4Header | undefined {
  if (frame.length < transportOffset + tcpHeaderBytes || get16(frame, 12) !== EtherType.ipv4)
    return undefined;
  const header = readIpv4(frame);
  const isWhole = header?.protocol === Protocol.tcp && !header.moreFragments && header.fragmentOffset === 0;
  return isWhole && header.payloadTo - header.payloadFrom >= tcpHeaderBytes ? header : undefined;
}

/** Notes a frame that is delivered from one guest to another. `sentAt`: the instruction count at which its guest sent it. */
export function track(connections: Connections, frame: Uint8Array, sentAt: number): void {
  const header = tcpOf(frame);
  if (header === undefined) return;
  const at = header.payloadFrom;
  const from = { address: header.source, port: get16(frame, at) };
  const to = { address: header.destination, port: get16(frame, at + 2) };
  const turned = from.address > to.address || (from.address === to.address && from.port > to.port);
  const [low, high] = turned ? [to, from] : [from, to];
  const key = `${String(low.address)}:${String(low.port)}:${String(high.address)}:${String(high.port)}`;
  const flags = frame[at + 13]!;
  const known = connections.get(key);
  if (known === undefined && flags & TcpFlag.rst) return;
  const connection = known ?? { a: newSide(low.address, low.port), b: newSide(high.address, high.port) };
  connections.delete(key);
  if (flags & TcpFlag.rst) return;
  if (connections.size >= maxConnections) connections.delete(connections.keys().next().value!);
  connections.set(key, connection);
  const side = turned ? connection.b : connection.a;
  const acknowledgment = flags & TcpFlag.ack ? get32(frame, at + 8) : side.acknowledgment;
  const payloadBytes = header.payloadTo - at - (frame[at + 12]! >> 4) * 4;
  const moves = payloadBytes > 0 || (flags & (TcpFlag.syn | TcpFlag.fin)) !== 0;
  if (moves || acknowledgment !== side.acknowledgment) side.progressAt = sentAt;
  side.mac = readMac(frame, 6);
  side.acknowledgment = acknowledgment;
}

/**
 * The guest with this address goes on from the moment at which it had executed `resumedAt` instructions: ends its connections that went on
 * after it. The reset that its peer gets is believed at once; its own is answered with where it is, which its peer then answers with another.
 */
export function rollBackConnections(
  connections: Connections,
  address: number,
  resumedAt: number,
): { frames: Uint8Array[]; ended: number } {
  const frames: Uint8Array[] = [];
  let ended = 0;
  for (const [key, { a, b }] of connections) {
    const [guest, peer] = a.address === address ? [a, b] : [b, a];
    if (guest.address !== address || guest.progressAt <= resumedAt) continue;
    connections.delete(key);
    ended++;
    // A peer that has never answered knows of no connection.
    if (peer.mac !== 0) frames.push(reset(guest, peer), reset(peer, guest));
  }
  return { frames, ended };
}

function reset(from: Side, to: Side): Uint8Array {
  const fields = {
    source: from.address,
    destination: to.address,
    sourcePort: from.port,
    destinationPort: to.port,
    sequence: to.acknowledgment,
    acknowledgment: from.acknowledgment,
    flags: TcpFlag.rst | TcpFlag.ack,
    window: 0,
    payloadBytes: 0,
  };
  const { frame } = tcpFrame(fields);
  sealTcp(frame, fields);
  writeIpv4(frame, {
    source: from.address,
    destination: to.address,
    protocol: Protocol.tcp,
    payloadBytes: frame.length - transportOffset,
    dontFragment: true,
  });
  writeEthernet(frame, { destination: to.mac, source: from.mac, type: EtherType.ipv4 });
  return frame;
}
