/** Packed integer instructions that exist for MMX and XMM registers alike, and their SSE-only relatives. SDM Vol. 2. */
import * as x from '../../wasm/expr.ts';
import type { I32, V128 } from '../../wasm/expr.ts';
import { CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import {
  and,
  andNot,
  beginMmx,
  beginSse,
  binary,
  bitSelect,
  enterMmx,
  immediateByte,
  joined,
  lane64,
  op,
  readLow,
  readRegister,
  reversed,
  shuffle,
  splat8,
  splatConstant,
  swizzle,
  unary,
  v64,
  writeMmx,
  writeRegister,
  xor,
  zeroVector,
} from './simd-common.ts';
import type { Packed } from './simd-common.ts';

type Bind = (value: V128) => V128;
type Operation = (a: V128, c: V128, bind: Bind) => V128;

const { sse2, ssse3, sse41, sse42, mmx, sse } = CpuFeature;

/** Semantics of `Vx,Wx`: destination and source are whole registers or 16 aligned bytes. */
function packed(feature: number, operation: Operation): Semantics {
  return (b) => {
    beginSse(b, feature);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    b.writeVector(
      0,
      operation(a, c, (v) => b.let(v)),
    );
  };
}

/** Semantics of `Pq,Qq`: the same operation on the low halves. */
function packedMmx(feature: number, operation: Operation): Semantics {
  return (b) => {
    beginMmx(b, feature);
    const c = readLow(b, 1);
    const a = readLow(b, 0);
    enterMmx(b);
    writeMmx(
      b,
      0,
      lane64(
        operation(a, c, (v) => b.let(v)),
        0,
      ),
    );
  };
}

const overJoined =
  (opcode: number): Operation =>
  (a, c, bind) => {
    const both = bind(joined(a, c));
    return binary(opcode, both, both);
  };

function interleave(bytes: number, first: number): readonly number[] {
  const lanes: number[] = [];
  for (let lane = 0; lane < 16 / bytes / 2; lane++) {
    for (let i = 0; i < bytes; i++) lanes.push(first + lane * bytes + i);
    for (let i = 0; i < bytes; i++) lanes.push(16 + first + lane * bytes + i);
  }
  return lanes;
}
const unpack =
  (bytes: number, first: number): Packed =>
  (a, c) =>
    shuffle(a, c, interleave(bytes, first));

const multiplyHigh =
  (low: number, high: number): Packed =>
  (a, c) =>
    shuffle(
      binary(low, a, c),
      binary(high, a, c),
      [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31],
    );

const lowDoublewords = (): V128 => splatConstant(8, 0xffff_ffffn);
const multiplyUnsigned32: Packed = (a, c) => binary(213, and(a, lowDoublewords()), and(c, lowDoublewords()));
const signedLow = (a: V128): V128 => x.simd('v128', 204, [x.simd('v128', 203, [a, x.i32(32)]), x.i32(32)]);
const multiplySigned32: Packed = (a, c) => binary(213, signedLow(a), signedLow(c));

/** Sum of absolute differences: one 16-bit sum for each half. */
const sumOfDifferences: Operation = (a, c, bind) => {
  const words = unary(125, binary(113, binary(121, a, c), binary(119, a, c)));
  const doublewords = bind(unary(127, words));
  const sums = binary(206, doublewords, x.simd('v128', 205, [doublewords, x.i32(32)]));
  return and(sums, splatConstant(8, 0xffff));
};

const evens16 = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
const odds16 = evens16.map((i) => i + 2);
const evens32 = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const odds32 = evens32.map((i) => i + 4);
const horizontal =
  (opcode: number, evens: readonly number[], odds: readonly number[]): Operation =>
  (a, c) =>
    binary(opcode, shuffle(a, c, evens), shuffle(a, c, odds));
const horizontalMmx =
  (opcode: number, evens: readonly number[], odds: readonly number[]): Operation =>
  (a, c, bind) => {
    const both = bind(joined(a, c));
    return binary(opcode, shuffle(both, both, evens), shuffle(both, both, odds));
  };

const multiplyAddUnsignedSigned: Packed = (a, c) => {
  const even = binary(
    149,
    and(a, splatConstant(2, 0xff)),
    x.simd('v128', 140, [x.simd('v128', 139, [c, x.i32(8)]), x.i32(8)]),
  );
  const odd = binary(149, x.simd('v128', 141, [a, x.i32(8)]), x.simd('v128', 140, [c, x.i32(8)]));
  return binary(143, even, odd);
};
/** WebAssembly saturates -1 * -1, PMULHRSW wraps. */
const multiplyRounded: Packed = (a, c) => {
  const lowest = splatConstant(2, 0x8000);
  return xor(binary(130, a, c), and(binary(45, a, lowest), binary(45, c, splatConstant(2, 0x8000))));
};
/** neg, shift, equal, subtract opcodes of the lane width. */
const sign =
  (shift: number, bits: number, equal: number, subtract: number): Operation =>
  (a, c, bind) => {
    const negative = bind(x.simd('v128', shift, [c, x.i32(bits - 1)]));
    return andNot(binary(subtract, xor(a, negative), negative), binary(equal, c, zeroVector()));
  };

/** Opcode, mnemonic, XMM operation, MMX operation when it is not the same. */
type Entry = readonly [string, string, Operation, Operation?];

const baseline: readonly Entry[] = [
  ['63', 'PACKSSWB', op(101), overJoined(101)],
  ['64', 'PCMPGTB', op(39)],
  ['65', 'PCMPGTW', op(49)],
  ['66', 'PCMPGTD', op(59)],
  ['67', 'PACKUSWB', op(102), overJoined(102)],
  ['68', 'PUNPCKHBW', unpack(1, 8), unpack(1, 4)],
  ['69', 'PUNPCKHWD', unpack(2, 8), unpack(2, 4)],
  ['6A', 'PUNPCKHDQ', unpack(4, 8), unpack(4, 4)],
  ['6B', 'PACKSSDW', op(133), overJoined(133)],
  ['74', 'PCMPEQB', op(35)],
  ['75', 'PCMPEQW', op(45)],
  ['76', 'PCMPEQD', op(55)],
  ['D5', 'PMULLW', op(149)],
  ['D8', 'PSUBUSB', op(115)],
  ['D9', 'PSUBUSW', op(147)],
  ['DB', 'PAND', op(78)],
  ['DC', 'PADDUSB', op(112)],
  ['DD', 'PADDUSW', op(144)],
  ['DF', 'PANDN', reversed(79)],
  ['E5', 'PMULHW', multiplyHigh(188, 189)],
  ['E8', 'PSUBSB', op(114)],
  ['E9', 'PSUBSW', op(146)],
  ['EB', 'POR', op(80)],
  ['EC', 'PADDSB', op(111)],
  ['ED', 'PADDSW', op(143)],
  ['EF', 'PXOR', op(81)],
  ['F5', 'PMADDWD', op(186)],
  ['F8', 'PSUBB', op(113)],
  ['F9', 'PSUBW', op(145)],
  ['FA', 'PSUBD', op(177)],
  ['FC', 'PADDB', op(110)],
  ['FD', 'PADDW', op(142)],
  ['FE', 'PADDD', op(174)],
];
/** MMX forms that came with SSE. */
const withSse: readonly Entry[] = [
  ['DA', 'PMINUB', op(119)],
  ['DE', 'PMAXUB', op(121)],
  ['E0', 'PAVGB', op(123)],
  ['E3', 'PAVGW', op(155)],
  ['E4', 'PMULHUW', multiplyHigh(190, 191)],
  ['EA', 'PMINSW', op(150)],
  ['EE', 'PMAXSW', op(152)],
  ['F6', 'PSADBW', sumOfDifferences],
];
/** MMX forms that came with SSE2. */
const withSse2: readonly Entry[] = [
  ['D4', 'PADDQ', op(206)],
  ['F4', 'PMULUDQ', multiplyUnsigned32],
  ['FB', 'PSUBQ', op(209)],
];
const withSsse3: readonly Entry[] = [
  [
    '38 00',
    'PSHUFB',
    (a, c) => swizzle(a, and(c, splatConstant(1, 0x8f))),
    (a, c) => swizzle(a, and(c, splatConstant(1, 0x87))),
  ],
  ['38 01', 'PHADDW', horizontal(142, evens16, odds16), horizontalMmx(142, evens16, odds16)],
  ['38 02', 'PHADDD', horizontal(174, evens32, odds32), horizontalMmx(174, evens32, odds32)],
  ['38 03', 'PHADDSW', horizontal(143, evens16, odds16), horizontalMmx(143, evens16, odds16)],
  ['38 04', 'PMADDUBSW', multiplyAddUnsignedSigned],
  ['38 05', 'PHSUBW', horizontal(145, evens16, odds16), horizontalMmx(145, evens16, odds16)],
  ['38 06', 'PHSUBD', horizontal(177, evens32, odds32), horizontalMmx(177, evens32, odds32)],
  ['38 07', 'PHSUBSW', horizontal(146, evens16, odds16), horizontalMmx(146, evens16, odds16)],
  ['38 08', 'PSIGNB', sign(108, 8, 35, 113)],
  ['38 09', 'PSIGNW', sign(140, 16, 45, 145)],
  ['38 0A', 'PSIGND', sign(172, 32, 55, 177)],
  ['38 0B', 'PMULHRSW', multiplyRounded],
  ['38 1C', 'PABSB', (_a, c) => unary(96, c)],
  ['38 1D', 'PABSW', (_a, c) => unary(128, c)],
  ['38 1E', 'PABSD', (_a, c) => unary(160, c)],
];

function both(entries: readonly Entry[], mmxFeature: number, xmmFeature: number): RowDraft[] {
  return entries.flatMap(([opcode, name, wide, narrow]) => [
    row(`66 0F ${opcode}`, name, 'Vx,Wx', { aligned: true }, packed(xmmFeature, wide)),
    row(`NP 0F ${opcode}`, name, 'Pq,Qq', {}, packedMmx(mmxFeature, narrow ?? wide)),
  ]);
}

/** SSE only. */
const xmmOnly: readonly (readonly [string, string, number, Operation])[] = [
  ['60', 'PUNPCKLBW', sse2, unpack(1, 0)],
  ['61', 'PUNPCKLWD', sse2, unpack(2, 0)],
  ['62', 'PUNPCKLDQ', sse2, unpack(4, 0)],
  ['6C', 'PUNPCKLQDQ', sse2, unpack(8, 0)],
  ['6D', 'PUNPCKHQDQ', sse2, unpack(8, 8)],
  ['14', 'UNPCKLPD', sse2, unpack(8, 0)],
  ['15', 'UNPCKHPD', sse2, unpack(8, 8)],
  ['54', 'ANDPD', sse2, op(78)],
  ['55', 'ANDNPD', sse2, reversed(79)],
  ['56', 'ORPD', sse2, op(80)],
  ['57', 'XORPD', sse2, op(81)],
  ['38 28', 'PMULDQ', sse41, multiplySigned32],
  ['38 29', 'PCMPEQQ', sse41, op(214)],
  ['38 2B', 'PACKUSDW', sse41, op(134)],
  ['38 37', 'PCMPGTQ', sse42, op(217)],
  ['38 38', 'PMINSB', sse41, op(118)],
  ['38 39', 'PMINSD', sse41, op(182)],
  ['38 3A', 'PMINUW', sse41, op(151)],
  ['38 3B', 'PMINUD', sse41, op(183)],
  ['38 3C', 'PMAXSB', sse41, op(120)],
  ['38 3D', 'PMAXSD', sse41, op(184)],
  ['38 3E', 'PMAXUW', sse41, op(153)],
  ['38 3F', 'PMAXUD', sse41, op(185)],
  ['38 40', 'PMULLD', sse41, op(181)],
];

const singleLogic: readonly (readonly [string, string, Operation])[] = [
  ['14', 'UNPCKLPS', unpack(4, 0)],
  ['15', 'UNPCKHPS', unpack(4, 8)],
  ['54', 'ANDPS', op(78)],
  ['55', 'ANDNPS', reversed(79)],
  ['56', 'ORPS', op(80)],
  ['57', 'XORPS', op(81)],
];

/** PUNPCKL of MMX reads 4 bytes of memory. */
const unpackLowMmx = (['PUNPCKLBW', 'PUNPCKLWD', 'PUNPCKLDQ'] as const).map((name, n) =>
  row(`NP 0F 6${n}`, name, 'Pq,Qd', {}, packedMmx(mmx, unpack(1 << n, 0))),
);

// ---- blends, extensions, tests ----

/** BLENDVPS, BLENDVPD, PBLENDVB: the sign of each lane of XMM0 chooses; `shift` spreads it. */
const blendVariable =
  (shift: number, bits: number): Semantics =>
  (b) => {
    beginSse(b, sse41);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    const mask = x.simd('v128', shift, [b.readVector0(), x.i32(bits - 1)]);
    b.writeVector(0, bitSelect(c, a, mask));
  };
/** Blend by the bits of the immediate: lane i of `bytes` bytes from the source when bit i is set. */
const blendImmediate =
  (bytes: number): Semantics =>
  (b) => {
    beginSse(b, sse41);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    const bits = x.v128(Array.from({ length: 16 }, (_, i) => 1 << Math.floor(i / bytes)));
    const bits2 = x.v128(Array.from({ length: 16 }, (_, i) => 1 << Math.floor(i / bytes)));
    const mask = binary(35, and(splat8(immediateByte(b)), bits), bits2);
    b.writeVector(0, bitSelect(c, a, mask));
  };

/** PMOVSX and PMOVZX: opcodes of the widening steps, bytes of the source. */
const extensions: readonly (readonly [string, string, string, readonly number[]])[] = [
  ['0', 'BW', 'Wq', [135]],
  ['1', 'BD', 'Wd', [135, 167]],
  ['2', 'BQ', 'Ww', [135, 167, 199]],
  ['3', 'WD', 'Wq', [167]],
  ['4', 'WQ', 'Wd', [167, 199]],
  ['5', 'DQ', 'Wq', [199]],
];
const extend =
  (steps: readonly number[], signed: boolean): Semantics =>
  (b) => {
    beginSse(b, sse41);
    let value = readLow(b, 1);
    for (const step of steps) value = unary(signed ? step : step + 2, value);
    writeRegister(b, 0, value);
  };
const extensionRows = extensions.flatMap(([digit, name, source, steps]) => [
  row(`66 0F 38 2${digit}`, `PMOVSX${name}`, `Vx,${source}`, {}, extend(steps, true)),
  row(`66 0F 38 3${digit}`, `PMOVZX${name}`, `Vx,${source}`, {}, extend(steps, false)),
]);

/** PTEST: ZF = no common bits, CF = source within destination. */
const test: Semantics = (b) => {
  beginSse(b, sse41);
  const c = b.readVector(1);
  const a = readRegister(b, 0);
  const common = b.let(x.eqz(x.simd('i32', 83, [and(a, c)])));
  const outside = b.let(x.eqz(x.simd('i32', 83, [andNot(c, a)])));
  b.flags.setZeroParityCarry(common, x.i32(0), outside);
};

const mask =
  (opcode: number, feature: number): Semantics =>
  (b) => {
    beginSse(b, feature);
    const bits: I32 = x.simd('i32', opcode, [readRegister(b, 1)]);
    b.write(0, b.size === 8 ? x.extendU(bits) : bits);
  };
const maskSizes = { sizes: [4, 8] };

export const rows: RowDraft[] = [
  ...both(baseline, mmx, sse2),
  ...both(withSse, sse, sse2),
  ...both(withSse2, sse2, sse2),
  ...both(withSsse3, ssse3, ssse3),
  ...xmmOnly.map(([opcode, name, feature, operation]) =>
    row(`66 0F ${opcode}`, name, 'Vx,Wx', { aligned: true }, packed(feature, operation)),
  ),
  ...singleLogic.map(([opcode, name, operation]) =>
    row(`NP 0F ${opcode}`, name, 'Vx,Wx', { aligned: true }, packed(sse, operation)),
  ),
  ...unpackLowMmx,
  row('66 0F 38 10', 'PBLENDVB', 'Vx,Wx', { aligned: true }, blendVariable(108, 8)),
  row('66 0F 38 14', 'BLENDVPS', 'Vx,Wx', { aligned: true }, blendVariable(172, 32)),
  row('66 0F 38 15', 'BLENDVPD', 'Vx,Wx', { aligned: true }, blendVariable(204, 64)),
  row('66 0F 3A 0C', 'BLENDPS', 'Vx,Wx,Ib', { aligned: true }, blendImmediate(4)),
  row('66 0F 3A 0D', 'BLENDPD', 'Vx,Wx,Ib', { aligned: true }, blendImmediate(8)),
  row('66 0F 3A 0E', 'PBLENDW', 'Vx,Wx,Ib', { aligned: true }, blendImmediate(2)),
  ...extensionRows,
  row('66 0F 38 17', 'PTEST', 'Vx,Wx', { aligned: true }, test),
  row('66 0F D7', 'PMOVMSKB', 'Gy,Ux', maskSizes, mask(100, sse2)),
  row('NP 0F 50', 'MOVMSKPS', 'Gy,Ux', maskSizes, mask(164, sse)),
  row('66 0F 50', 'MOVMSKPD', 'Gy,Ux', maskSizes, mask(196, sse2)),
  row('NP 0F D7', 'PMOVMSKB', 'Gy,Nq', maskSizes, (b) => {
    beginMmx(b, sse);
    const bits: I32 = b.let(x.simd('i32', 100, [v64(x.load('i64', 8, b.registerAddress(1)), x.i64(0))]));
    enterMmx(b);
    b.write(0, b.size === 8 ? x.extendU(bits) : bits);
  }),
];
