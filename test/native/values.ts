/** Random register contents, weighted towards the values at which instructions behave specially. */
import type { Random } from './random.ts';

const specialBytes = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
const specialWords = [
  0, 1, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 0xffff, 0x8000, 0x7fff, 0x80, 0xff, 0x7f, 2, 0x1f, 0x20, 0x3f,
  0x40,
];

/** Writes a general-purpose register value: two little-endian words. */
export function randomInteger(random: Random, view: DataView, offset: number): void {
  const kind = random.below(10);
  let low = random.u32();
  let high = random.u32();
  if (kind < 3) {
    low = random.pick(specialWords);
    high = random.pick([0, 0, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 1]);
  } else if (kind === 3) {
    low = random.below(256);
    high = 0;
  } else if (kind === 4) {
    low = -random.below(256) >>> 0;
    high = 0xffff_ffff;
  } else if (kind === 5) {
    const bit = random.below(64);
    low = bit < 32 ? (1 << bit) >>> 0 : 0;
    high = bit < 32 ? 0 : (1 << (bit - 32)) >>> 0;
  } else if (kind === 6) high = 0;
  view.setUint32(offset, low, true);
  view.setUint32(offset + 4, high, true);
}

const specialSingles = [
  0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7fa0_0001,
  0xffbf_ffff, 1, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x4f00_0000, 0xcf00_0000,
  0x4eff_ffff, 0x3f00_0000, 0x4b00_0001, 0x4b80_0000,
];

export function randomSingle(random: Random): number {
  const kind = random.below(8);
  if (kind < 2) return random.pick(specialSingles);
  if (kind === 2) return random.u32();
  if (kind === 3) return ((random.u32() & 0x807f_ffff) | (random.between(0, 2) << 23)) >>> 0;
  // Exponents near 1.0, so that sums and products meet.
  return ((random.u32() & 0x807f_ffff) | (random.between(110, 160) << 23)) >>> 0;
}

const specialDoubleHighs = [
  0, 0x8000_0000, 0x3ff0_0000, 0xbff0_0000, 0x7ff0_0000, 0xfff0_0000, 0x7ff8_0000, 0xfff8_0000, 0x7ff0_0001,
  0x000f_ffff, 0x0010_0000, 0x7fef_ffff, 0x41e0_0000, 0xc1e0_0000, 0x43e0_0000, 0xc3e0_0000, 0x3fe0_0000,
  0x4330_0000, 0x4340_0000, 0x36a0_0000, 0x47ef_ffff, 0x47f0_0000, 0x3810_0000,
];

export function randomDouble(random: Random, view: DataView, offset: number): void {
  const kind = random.below(8);
  let low = random.u32();
  let high = random.u32();
  if (kind < 2) {
    low = random.pick([0, 0, 0, 1, 0xffff_ffff, 0xe000_0000]);
    high = random.pick(specialDoubleHighs);
  } else if (kind === 3) high = ((high & 0x800f_ffff) | (random.between(0, 2) << 20)) >>> 0;
  else if (kind === 4) {
    // Fits in a single, or nearly.
    low = (low & 0xe000_0000) >>> 0;
    high = ((high & 0x800f_ffff) | (random.between(1023 - 150, 1023 + 128) << 20)) >>> 0;
  } else if (kind > 4) high = ((high & 0x800f_ffff) | (random.between(1023 - 40, 1023 + 66) << 20)) >>> 0;
  view.setUint32(offset, low, true);
  view.setUint32(offset + 4, high, true);
}

/** 16 bytes: integers of one lane width, or floating-point numbers. */
export function randomVector(random: Random, view: DataView, offset: number): void {
  const kind = random.below(6);
  if (kind === 0) for (let i = 0; i < 16; i++) view.setUint8(offset + i, random.pick(specialBytes));
  else if (kind === 1) for (let i = 0; i < 16; i += 4) view.setUint32(offset + i, random.u32(), true);
  else if (kind === 2)
    for (let i = 0; i < 16; i += 2)
      view.setUint16(offset + i, random.pick([0, 1, 0x7fff, 0x8000, 0xffff, random.below(65536)]), true);
  else if (kind === 3) for (let i = 0; i < 16; i += 4) view.setUint32(offset + i, randomSingle(random), true);
  else for (let i = 0; i < 16; i += 8) randomDouble(random, view, offset + i);
}

/** Ten bytes of the extended format; unsupported encodings (SDM Vol. 1 table 8-3) are among them. */
export function randomExtended(random: Random, view: DataView, offset: number): void {
  const kind = random.below(16);
  let low = random.u32();
  let high = (random.u32() | 0x8000_0000) >>> 0;
  let exponent = random.between(16383 - 40, 16383 + 66);
  if (kind === 0) [low, high, exponent] = [0, 0, 0];
  else if (kind === 1) [low, high, exponent] = [0, 0x8000_0000, 0x7fff];
  else if (kind === 2) [high, exponent] = [(high | 0xc000_0000) >>> 0, 0x7fff];
  else if (kind === 3) [high, exponent] = [(high & 0xbfff_ffff) >>> 0, 0x7fff];
  else if (kind === 4) [high, exponent] = [high & 0x7fff_ffff, 0];
  else if (kind === 5) exponent = random.pick([0, 1, 2, 0x7ffe, 0x7ffd]);
  else if (kind === 6) exponent = random.below(0x8000);
  else if (kind === 7) [low, high, exponent] = [0, 0x8000_0000, random.between(16383 - 2, 16383 + 64)];
  else if (kind === 8) high = random.chance(0.3) ? high & 0x7fff_ffff : high;
  else if (kind === 9) exponent = random.between(16383 - 70, 16383);
  else if (kind === 10) low = random.pick([0, 0xffff_ffff, 0x400, 0x800, 0xfffff800]);
  else if (kind === 11) [low, exponent] = [0, random.between(16383 - 130, 16383 + 130)];
  view.setUint32(offset, low, true);
  view.setUint32(offset + 4, high, true);
  view.setUint16(offset + 8, exponent | (random.chance(0.5) ? 0x8000 : 0), true);
}

/** Memory that reads as numbers of one of the formats. */
export function randomMemory(random: Random, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i + 16 <= bytes.length; i += 16) {
    const kind = random.below(5);
    if (kind === 0) {
      randomInteger(random, view, i);
      randomInteger(random, view, i + 8);
    } else if (kind === 1) {
      randomExtended(random, view, i);
      for (let k = 10; k < 16; k++) view.setUint8(i + k, random.pick(specialBytes));
    } else randomVector(random, view, i);
  }
}
