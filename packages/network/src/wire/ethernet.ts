/** Ethernet II frames (without preamble and check sequence): destination, source, type, payload. */
import { readMac, writeMac } from './address.ts';
import { get16, set16 } from './bytes.ts';

export const ethernetHeaderBytes = 14;
export const EtherType = { ipv4: 0x0800, arp: 0x0806, rarp: 0x8035, vlan: 0x8100, ipv6: 0x86dd } as const;
/** The largest frame that anything here handles: a TCP segment that its sender has not cut yet, in an IPv4 packet of 65,535 bytes. */
export const maxFrameBytes = ethernetHeaderBytes + 0xffff;

export interface EthernetHeader {
  destination: number;
  source: number;
  type: number;
}

export function readEthernet(frame: Uint8Array): EthernetHeader | undefined {
  if (frame.length < ethernetHeaderBytes) return undefined;
  return { destination: readMac(frame, 0), source: readMac(frame, 6), type: get16(frame, 12) };
}

export function writeEthernet(frame: Uint8Array, { destination, source, type }: EthernetHeader): void {
  writeMac(frame, 0, destination);
  writeMac(frame, 6, source);
  set16(frame, 12, type);
}
