/** Numbers in network byte order (big-endian), and the Internet checksum: RFC 1071. */

export function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function get32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function set16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function set32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
/** Below this the views for summing in words cost more than they save. */
const shortBytes = 64;

/**
 * Sum of the big-endian 16-bit words of `bytes[from, to)`, folded to 16 bits. An odd last byte counts as the high half of a word. RFC 1071,
 * section 2(B): a sum in the other byte order is the same sum with its bytes exchanged, so long stretches are summed as the host reads them.
 */
export function sum16(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  let at = from;
  if (to - from >= shortBytes && ((bytes.byteOffset + from) & 1) === 0) {
    if ((bytes.byteOffset + at) & 2) {
      sum = get16(bytes, at);
      at += 2;
    }
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, (to - at) >> 2);
    let low = 0;
    let high = 0;
    // At most 65,535 bytes: neither half can go beyond 2^30.
    for (let n = 0; n < words.length; n++) {
      const word = words[n]!;
      low += word & 0xffff;
      high += word >>> 16;
    }
    const folded = fold(low + high);
    sum += littleEndian ? ((folded & 0xff) << 8) | (folded >> 8) : folded;
    at += words.length * 4;
  }
  for (; at + 1 < to; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < to) sum += bytes[at]! << 8;
  return fold(sum);
}

export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return folded;
}

/** The checksum that stands for a folded sum. */
export function checksum(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** A copy, of a Node Buffer too, whose own `slice` gives a view. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
