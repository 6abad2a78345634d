/** AES-NI, PCLMULQDQ and SHA: operands in Cpu.scratch, destination at 0, source at 16, the result at 32. SDM Vol. 2; FIPS 197, FIPS 180-4. */
import { Cpu_scratch } from '../generated/layout';

const source: i32 = 16;
const result: i32 = 32;

// FIPS 197, 5.1.1 and 5.3.2.
// prettier-ignore
const substitution = memory.data<u8>([
  0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76, 0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0,
  0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0, 0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
  0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75, 0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0,
  0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84, 0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
  0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8, 0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5,
  0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2, 0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
  0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb, 0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c,
  0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79, 0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
  0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a, 0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e,
  0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e, 0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
  0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
]);
// prettier-ignore
const inverse = memory.data<u8>([
  0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb, 0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87,
  0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb, 0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
  0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25, 0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16,
  0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92, 0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
  0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06, 0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02,
  0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b, 0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
  0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e, 0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89,
  0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b, 0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
  0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f, 0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d,
  0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef, 0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
  0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
]);

function substitute(byte: u32): u32 {
  return load<u8>(substitution + (byte & 0xff));
}

/** Each byte of a column by x in GF(2^8). */
function doubled(column: u32): u32 {
  const high = column & 0x8080_8080;
  return ((column ^ high) << 1) ^ ((high >> 7) * 0x1b);
}

/** FIPS 197, 5.1.3. */
function mixed(column: u32): u32 {
  const twice = doubled(column);
  const others = column ^ twice;
  return twice ^ rotr<u32>(others, 8) ^ rotr<u32>(column, 16) ^ rotr<u32>(column, 24);
}

/** FIPS 197, 5.3.3: the inverse is the same after a step that multiplies by 4x^2 + 5. */
function unmixed(column: u32): u32 {
  const four = doubled(doubled(column ^ rotr<u32>(column, 16)));
  return mixed(column ^ four);
}

/** Column `n` of the state after ShiftRows, or with `step` 3 its inverse, and the substitution of `table`. */
function shiftedColumn(state: i32, table: usize, n: i32, step: i32): u32 {
  let column: u32 = 0;
  for (let row = 0; row < 4; row++) {
    const from = ((n + row * step) & 3) * 4 + row;
    column |= (<u32>load<u8>(table + load<u8>(state + from))) << (row << 3);
  }
  return column;
}

/** AESENC, AESENCLAST (`last`), AESDEC, AESDECLAST (`decrypts`). */
export function sseAesRound(cpu: i32, decrypts: i32, last: i32): void {
  const base = cpu + Cpu_scratch;
  for (let n = 0; n < 4; n++) {
    let column = decrypts ? shiftedColumn(base, inverse, n, 3) : shiftedColumn(base, substitution, n, 1);
    if (!last) column = decrypts ? unmixed(column) : mixed(column);
    store<u32>(base + result + n * 4, column ^ load<u32>(base + source + n * 4));
  }
}

/** AESIMC. */
export function sseAesMixKey(cpu: i32): void {
  const base = cpu + Cpu_scratch;
  for (let n = 0; n < 16; n += 4) store<u32>(base + result + n, unmixed(load<u32>(base + source + n)));
}

/** AESKEYGENASSIST. */
export function sseAesKeyAssist(cpu: i32, round: i32): void {
  const base = cpu + Cpu_scratch;
  for (let n = 0; n < 16; n += 8) {
    const word = load<u32>(base + source + n + 4);
    const replaced =
      substitute(word) |
      (substitute(word >> 8) << 8) |
      (substitute(word >> 16) << 16) |
      (substitute(word >> 24) << 24);
    store<u32>(base + result + n, replaced);
    store<u32>(base + result + n + 4, rotr<u32>(replaced, 8) ^ round);
  }
}

/** PCLMULQDQ: bits 0 and 4 of the immediate choose the halves. Four bits of the second factor at a time. */
export function sseCarrylessMultiply(cpu: i32, immediate: i32): void {
  const base = cpu + Cpu_scratch;
  const a = load<u64>(base + (immediate & 1) * 8);
  const c = load<u64>(base + source + ((immediate >> 4) & 1) * 8);
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i = 60; i >= 0; i -= 4) {
    const nibble = (c >> i) & 15;
    high = (high << 4) | (low >> 60);
    low <<= 4;
    low ^= (a & (0 - (nibble & 1))) ^ ((a << 1) & (0 - ((nibble >> 1) & 1)));
    low ^= ((a << 2) & (0 - ((nibble >> 2) & 1))) ^ ((a << 3) & (0 - (nibble >> 3)));
    high ^= (a >> 63) & ((nibble >> 1) & 1);
    high ^= (a >> 62) & (0 - ((nibble >> 2) & 1));
    high ^= (a >> 61) & (0 - (nibble >> 3));
  }
  store<u64>(base + result, low);
  store<u64>(base + result, high, 8);
}

function word(address: i32, n: i32): u32 {
  return load<u32>(address + n * 4);
}

function setResult(base: i32, n: i32, value: u32): void {
  store<u32>(base + result + n * 4, value);
}

/** SHA1RNDS4: four rounds with the function and constant that the immediate chooses. FIPS 180-4, 4.1.1. */
export function sseSha1Rounds(cpu: i32, immediate: i32): void {
  const base = cpu + Cpu_scratch;
  const kind = immediate & 3;
  const constant: u32 =
    kind == 0 ? 0x5a82_7999 : kind == 1 ? 0x6ed9_eba1 : kind == 2 ? 0x8f1b_bcdc : 0xca62_c1d6;
  let a = word(base, 3);
  let b = word(base, 2);
  let c = word(base, 1);
  let d = word(base, 0);
  let e: u32 = 0;
  for (let round = 0; round < 4; round++) {
    const chosen = kind == 0 ? (b & c) ^ (~b & d) : kind == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
    const next = chosen + rotl<u32>(a, 5) + word(base + source, 3 - round) + e + constant;
    e = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  setResult(base, 3, a);
  setResult(base, 2, b);
  setResult(base, 1, c);
  setResult(base, 0, d);
}

/** SHA1NEXTE, SHA1MSG1, SHA1MSG2. */
export function sseSha1Step(cpu: i32, kind: i32): void {
  const base = cpu + Cpu_scratch;
  const other = base + source;
  if (kind == 0) {
    setResult(base, 3, word(other, 3) + rotl<u32>(word(base, 3), 30));
    for (let n = 0; n < 3; n++) setResult(base, n, word(other, n));
  } else if (kind == 1) {
    setResult(base, 3, word(base, 3) ^ word(base, 1));
    setResult(base, 2, word(base, 2) ^ word(base, 0));
    setResult(base, 1, word(base, 1) ^ word(other, 3));
    setResult(base, 0, word(base, 0) ^ word(other, 2));
  } else {
    const w16 = rotl<u32>(word(base, 3) ^ word(other, 2), 1);
    setResult(base, 3, w16);
    setResult(base, 2, rotl<u32>(word(base, 2) ^ word(other, 1), 1));
    setResult(base, 1, rotl<u32>(word(base, 1) ^ word(other, 0), 1));
    setResult(base, 0, rotl<u32>(word(base, 0) ^ w16, 1));
  }
}

/** FIPS 180-4, 4.1.2. */
function upperSigma0(x: u32): u32 {
  return rotr<u32>(x, 2) ^ rotr<u32>(x, 13) ^ rotr<u32>(x, 22);
}
function upperSigma1(x: u32): u32 {
  return rotr<u32>(x, 6) ^ rotr<u32>(x, 11) ^ rotr<u32>(x, 25);
}
function lowerSigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}
function lowerSigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

/** SHA256RNDS2: two rounds with the two words (message and constant) at `low` and `high`. */
export function sseSha256Rounds(cpu: i32, low: i32, high: i32): void {
  const base = cpu + Cpu_scratch;
  const other = base + source;
  let a = word(other, 3);
  let b = word(other, 2);
  let e = word(other, 1);
  let f = word(other, 0);
  let c = word(base, 3);
  let d = word(base, 2);
  let g = word(base, 1);
  let h = word(base, 0);
  for (let round = 0; round < 2; round++) {
    const first = ((e & f) ^ (~e & g)) + upperSigma1(e) + <u32>(round == 0 ? low : high) + h;
    const next = first + ((a & b) ^ (a & c) ^ (b & c)) + upperSigma0(a);
    h = g;
    g = f;
    f = e;
    e = first + d;
    d = c;
    c = b;
    b = a;
    a = next;
  }
  setResult(base, 3, a);
  setResult(base, 2, b);
  setResult(base, 1, e);
  setResult(base, 0, f);
}

/** SHA256MSG1 (kind 0) and SHA256MSG2. */
export function sseSha256Message(cpu: i32, kind: i32): void {
  const base = cpu + Cpu_scratch;
  const other = base + source;
  if (kind == 0) {
    for (let n = 0; n < 4; n++)
      setResult(base, n, word(base, n) + lowerSigma0(n == 3 ? word(other, 0) : word(base, n + 1)));
    return;
  }
  const w16 = word(base, 0) + lowerSigma1(word(other, 2));
  const w17 = word(base, 1) + lowerSigma1(word(other, 3));
  setResult(base, 0, w16);
  setResult(base, 1, w17);
  setResult(base, 2, word(base, 2) + lowerSigma1(w16));
  setResult(base, 3, word(base, 3) + lowerSigma1(w17));
}
