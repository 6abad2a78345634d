/** MAC addresses are numbers of 48 bits, IPv4 addresses numbers of 32: cheap keys, and plain data. */
import { get16, get32, set16, set32 } from './bytes.ts';

export const broadcastMac = 0xffff_ffff_ffff;

export function readMac(bytes: Uint8Array, at: number): number {
  return get16(bytes, at) * 0x1_0000_0000 + get32(bytes, at + 2);
}

export function writeMac(bytes: Uint8Array, at: number, mac: number): void {
  set16(bytes, at, Math.floor(mac / 0x1_0000_0000));
  set32(bytes, at + 2, mac % 0x1_0000_0000);
}

/** IEEE 802, 8.2: the lowest bit of the first byte marks a group, broadcast among them. */
export function isGroupMac(mac: number): boolean {
  return (Math.floor(mac / 0x100_0000_0000) & 1) === 1;
}

export function formatMac(mac: number): string {
  return mac.toString(16).padStart(12, '0').match(/../g)!.join(':');
}

export function parseMac(text: string): number | undefined {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)
    ? Number.parseInt(text.replaceAll(':', ''), 16)
    : undefined;
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** Four decimal numbers without leading zeros (which some readers take for octal); else undefined. */
export function parseAddress(text: string): number | undefined {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return undefined;
  const parts = text.split('.').map(Number);
  return parts.every((part) => part < 256) ? parts.reduce((sum, part) => sum * 256 + part, 0) : undefined;
}

export interface Subnet {
  /** The first address: that of the subnet itself. */
  base: number;
  prefixLength: number;
}

export function maskOf({ prefixLength }: Subnet): number {
  return prefixLength === 0 ? 0 : (0xffff_ffff << (32 - prefixLength)) >>> 0;
}

export function inSubnet(subnet: Subnet, address: number): boolean {
  return (address & maskOf(subnet)) >>> 0 === subnet.base;
}

export function broadcastOf(subnet: Subnet): number {
  return (subnet.base | ~maskOf(subnet)) >>> 0;
}

/**
 * Addresses that a router must not forward to (RFC 1122, 3.2.1.3; RFC 3927, 2.7; RFC 5735): this network (which some hosts take for their
 * own loopback), loopback, link-local (where a cloud keeps its machines' credentials), multicast and the reserved ones.
 */
export function isUnroutable(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >= 224 || address >>> 16 === 0xa9fe;
}
