/** Byte strings to decode: random ones, and valid instructions with something changed. */
import type { Mode } from '../native/case.ts';
import { Random } from '../native/random.ts';
import { allRows, encode, type RowInfo } from '../native/rows.ts';

/** Distance of two strings in a corpus: the longest instruction is 15 bytes, and 17 can be told from it. */
export const stride = 32;

const prefixes = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48, 0x41, 0x4f, 0x40];

const rowsOfMode = new Map<Mode, RowInfo[]>();
function rowsFor(mode: Mode): RowInfo[] {
  let rows = rowsOfMode.get(mode);
  if (rows === undefined) {
    rows = allRows().filter((row) => row.modes.includes(mode));
    rowsOfMode.set(mode, rows);
  }
  return rows;
}

function randomString(bytes: Uint8Array, random: Random): void {
  let at = 0;
  while (at < 20 && random.chance(at > 3 ? 0.5 : 0.3)) bytes[at++] = random.pick(prefixes);
  // VEX prefixes, and the two-byte map and its extensions, hold most of the instructions.
  if (random.chance(0.25)) {
    if (random.chance(0.3)) bytes[at++] = 0xc5;
    else {
      bytes[at++] = 0xc4;
      bytes[at++] = (random.u32() & 0xe0) | random.pick([1, 2, 3]);
    }
  } else if (random.chance(0.4)) {
    bytes[at++] = 0x0f;
    if (random.chance(0.2)) bytes[at++] = random.pick([0x38, 0x3a]);
  }
  for (; at < stride; at++) bytes[at] = random.u32();
}

function mutate(bytes: Uint8Array, length: number, random: Random): void {
  const kind = random.below(4);
  if (kind === 0) {
    // Put in a prefix.
    const at = random.below(Math.min(3, length));
    bytes.copyWithin(at + 1, at, stride - 1);
    bytes[at] = random.pick(prefixes);
  } else if (kind === 1) {
    const at = random.below(length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  } else if (kind === 2) bytes[random.below(length)] = random.u32();
  else {
    // Up to and beyond the longest instruction.
    const count = random.between(1, 15);
    bytes.copyWithin(count, 0, stride - count);
    const prefix = random.pick(prefixes);
    bytes.fill(prefix, 0, count);
  }
}

/** `count` strings, `stride` bytes each. The same (mode, seed, count) gives the same strings. */
export function makeCorpus(mode: Mode, seed: number, count: number): Uint8Array {
  const random = new Random(seed * 64 + mode);
  const rows = rowsFor(mode);
  const corpus = new Uint8Array(count * stride);
  for (let i = 0; i < count; i++) {
    const bytes = corpus.subarray(i * stride, (i + 1) * stride);
    if (random.chance(0.5)) {
      randomString(bytes, random);
      continue;
    }
    for (let k = 0; k < stride; k++) bytes[k] = random.u32();
    const encoded = encode(random.pick(rows), mode, 0x1000n, random);
    if (encoded === undefined) continue;
    bytes.set(encoded.bytes);
    if (random.chance(0.8)) mutate(bytes, encoded.bytes.length, random);
  }
  return corpus;
}
