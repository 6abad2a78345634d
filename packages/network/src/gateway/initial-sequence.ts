/**
 * Initial sequence numbers: RFC 6528: a clock of 4 µs, plus a keyed hash of both ends, so that nobody outside can guess them. The hash is
 * HalfSipHash-2-4 (Aumasson and Bernstein, 2012) over three words.
 */

export interface Ends {
  guestAddress: number;
  guestPort: number;
  remoteAddress: number;
  remotePort: number;
}

export function initialSequence(secret: readonly number[], ends: Ends, nowMs: number): number {
  const ports = (ends.guestPort * 0x1_0000 + ends.remotePort) >>> 0;
  const clock = Math.floor(nowMs * 250) % 0x1_0000_0000;
  return (halfSipHash(secret, [ends.guestAddress, ends.remoteAddress, ports]) + clock) >>> 0;
}

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));

export function halfSipHash(key: readonly number[], words: readonly number[]): number {
  const k0 = key[0] ?? 0;
  const k1 = key[1] ?? 0;
  let [v0, v1, v2, v3] = [k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1];
  const round = (): void => {
    v0 = (v0 + v1) | 0;
    v1 = rotate(v1, 5) ^ v0;
    v0 = rotate(v0, 16);
    v2 = (v2 + v3) | 0;
    v3 = rotate(v3, 8) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = rotate(v3, 7) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = rotate(v1, 13) ^ v2;
    v2 = rotate(v2, 16);
  };
  for (const word of [...words, (words.length * 4) << 24]) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  v2 ^= 0xff;
  for (let n = 0; n < 4; n++) round();
  return (v1 ^ v3) >>> 0;
}
