/** Address resolution: RFC 826, for IPv4 over Ethernet. */
import { readMac, writeMac } from './address.ts';
import { get16, get32, set16, set32 } from './bytes.ts';
import { ethernetHeaderBytes, EtherType, writeEthernet } from './ethernet.ts';

export const ArpOperation = { request: 1, reply: 2, reverseRequest: 3 } as const;
const hardwareEthernet = 1;
export const arpBytes = 28;

export interface ArpPacket {
  operation: number;
  senderMac: number;
  senderAddress: number;
  targetMac: number;
  targetAddress: number;
}

/** Reads the packet behind the Ethernet header of `frame`. */
export function readArp(frame: Uint8Array): ArpPacket | undefined {
  const at = ethernetHeaderBytes;
  if (frame.length < at + arpBytes) return undefined;
  const isIpv4OverEthernet =
    get16(frame, at) === hardwareEthernet &&
    get16(frame, at + 2) === EtherType.ipv4 &&
    frame[at + 4] === 6 &&
    frame[at + 5] === 4;
  if (!isIpv4OverEthernet) return undefined;
  return {
    operation: get16(frame, at + 6),
    senderMac: readMac(frame, at + 8),
    senderAddress: get32(frame, at + 14),
    targetMac: readMac(frame, at + 18),
    targetAddress: get32(frame, at + 24),
  };
}

/** A whole frame. `type` is EtherType.rarp for the announcement that QEMU sends, too. */
export function buildArp(
  packet: ArpPacket,
  { destination, type = EtherType.arp }: { destination: number; type?: number },
): Uint8Array {
  const frame = new Uint8Array(ethernetHeaderBytes + arpBytes);
  writeEthernet(frame, { destination, source: packet.senderMac, type });
  const at = ethernetHeaderBytes;
  set16(frame, at, hardwareEthernet);
  set16(frame, at + 2, EtherType.ipv4);
  frame[at + 4] = 6;
  frame[at + 5] = 4;
  set16(frame, at + 6, packet.operation);
  writeMac(frame, at + 8, packet.senderMac);
  set32(frame, at + 14, packet.senderAddress);
  writeMac(frame, at + 18, packet.targetMac);
  set32(frame, at + 24, packet.targetAddress);
  return frame;
}
