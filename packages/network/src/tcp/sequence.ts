/** Sequence numbers: RFC 9293, 3.4. They wrap at 2^32; two of one connection are never further than 2^31 apart. */

/** How far `a` is ahead of `b`: negative when it comes before. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}

export function advance(sequence: number, by: number): number {
  return (sequence + by) >>> 0;
}

export function later(a: number, b: number): number {
  return distance(a, b) > 0 ? a : b;
}
