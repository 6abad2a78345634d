/** UDP: RFC 768. */
import { checksum, fold, get16, set16, sum16 } from './bytes.ts';
import { Protocol, pseudoHeaderSum, type Ipv4Header } from './ipv4.ts';

export const udpHeaderBytes = 8;

export interface UdpDatagram {
  sourcePort: number;
  destinationPort: number;
  data: Uint8Array;
}

export function readUdp(
  packet: Uint8Array,
  {
    source,
    destination,
    payloadFrom: from,
    payloadTo,
  }: Pick<Ipv4Header, 'source' | 'destination' | 'payloadFrom' | 'payloadTo'>,
): UdpDatagram | undefined {
  if (payloadTo - from < udpHeaderBytes) return undefined;
  const bytes = get16(packet, from + 4);
  if (bytes < udpHeaderBytes || from + bytes > payloadTo) return undefined;
  // A checksum of zero says that there is none.
  if (get16(packet, from + 6) !== 0) {
    const pseudo = pseudoHeaderSum({ source, destination, protocol: Protocol.udp, bytes });
    if (fold(pseudo + sum16(packet, from, from + bytes)) !== 0xffff) return undefined;
  }
  return {
    sourcePort: get16(packet, from),
    destinationPort: get16(packet, from + 2),
    data: packet.subarray(from + udpHeaderBytes, from + bytes),
  };
}

/** The datagram with its header, as the payload of an IPv4 packet. */
export function buildUdp(
  { sourcePort, destinationPort, data }: UdpDatagram,
  { source, destination }: { source: number; destination: number },
): Uint8Array {
  const bytes = udpHeaderBytes + data.length;
  const datagram = new Uint8Array(bytes);
  set16(datagram, 0, sourcePort);
  set16(datagram, 2, destinationPort);
  set16(datagram, 4, bytes);
  datagram.set(data, udpHeaderBytes);
  const pseudo = pseudoHeaderSum({ source, destination, protocol: Protocol.udp, bytes });
  // A sum that comes out as zero is sent as all ones, as zero would mean "none".
  set16(datagram, 6, checksum(pseudo + sum16(datagram, 0, bytes)) || 0xffff);
  return datagram;
}
