/** Shifts of packed integers, and shuffles by an immediate. SDM Vol. 2; Vol. 1, 11.4.2. */
import * as x from '../../wasm/expr.ts';
import type { I32, I64, V128 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import {
  beginMmx,
  beginSse,
  binary,
  enterMmx,
  immediateByte,
  joined,
  lane64,
  or,
  readLow,
  readRegister,
  shuffle,
  splat8,
  splatConstant,
  swizzle,
  v64,
  writeMmx,
  writeRegister,
  zeroVector,
} from './simd-common.ts';

const { sse2, ssse3, sse } = CpuFeature;

// ---- shifts ----

/** Lane bits; shift opcode; arithmetic shifts saturate their count. */
interface Shift {
  bits: number;
  opcode: number;
  arithmetic: boolean;
}

function shifted(b: InstructionBuilder, shift: Shift, a: V128, count: I64): V128 {
  const large = x.gtU(count, shift.bits - 1);
  if (shift.arithmetic) {
    const limited = x.select(large, x.i32(shift.bits - 1), x.wrap(count));
    return x.simd('v128', shift.opcode, [a, limited]);
  }
  return x.select(b.let(large), zeroVector(), x.simd('v128', shift.opcode, [a, x.wrap(count)]));
}

const shiftWide =
  (shift: Shift, immediate: boolean): Semantics =>
  (b) => {
    beginSse(b, sse2);
    const count = b.let(immediate ? x.extendU(immediateByte(b)) : lane64(b.readVector(1), 0));
    const a = readRegister(b, 0);
    writeRegister(b, 0, shifted(b, shift, a, count));
  };
const shiftMmx =
  (shift: Shift, immediate: boolean): Semantics =>
  (b) => {
    beginMmx(b);
    const count = b.let(immediate ? x.extendU(immediateByte(b)) : (b.read(1) as I64));
    const a = readLow(b, 0);
    enterMmx(b);
    writeMmx(b, 0, lane64(shifted(b, shift, a, count), 0));
  };

const shifts: readonly (readonly [string, string, string, Shift])[] = [
  ['D1', '71 /2', 'PSRLW', { bits: 16, opcode: 141, arithmetic: false }],
  ['D2', '72 /2', 'PSRLD', { bits: 32, opcode: 173, arithmetic: false }],
  ['D3', '73 /2', 'PSRLQ', { bits: 64, opcode: 205, arithmetic: false }],
  ['E1', '71 /4', 'PSRAW', { bits: 16, opcode: 140, arithmetic: true }],
  ['E2', '72 /4', 'PSRAD', { bits: 32, opcode: 172, arithmetic: true }],
  ['F1', '71 /6', 'PSLLW', { bits: 16, opcode: 139, arithmetic: false }],
  ['F2', '72 /6', 'PSLLD', { bits: 32, opcode: 171, arithmetic: false }],
  ['F3', '73 /6', 'PSLLQ', { bits: 64, opcode: 203, arithmetic: false }],
];
const shiftRows = shifts.flatMap(([opcode, group, name, shift]) => [
  row(`66 0F ${opcode}`, name, 'Vx,Wx', { aligned: true }, shiftWide(shift, false)),
  row(`NP 0F ${opcode}`, name, 'Pq,Qq', {}, shiftMmx(shift, false)),
  row(`66 0F ${group}`, name, 'Ux,Ib', {}, shiftWide(shift, true)),
  row(`NP 0F ${group}`, name, 'Nq,Ib', {}, shiftMmx(shift, true)),
]);

const iotaBytes = Array.from({ length: 16 }, (_, i) => i);
/** Indices plus (110) or minus (113) `count`; a constant when the count is one. */
function movedIndices(opcode: number, indices: readonly number[], count: I32): V128 {
  if (count.constant === undefined) return binary(opcode, x.v128(indices), splat8(count));
  const change = opcode === 110 ? Number(count.constant) : -Number(count.constant);
  return x.v128(indices.map((i) => (i + change) & 0xff));
}

/** PSRLDQ and PSLLDQ: indices outside of 0-15 yield 0. */
const shiftBytes =
  (opcode: number): Semantics =>
  (b) => {
    beginSse(b, sse2);
    const given = immediateByte(b);
    const count = x.select(x.gtU(given, 16), x.i32(16), given);
    const a = readRegister(b, 0);
    writeRegister(b, 0, swizzle(a, movedIndices(opcode, iotaBytes, count)));
  };

/** Bytes of a (0-15), c (16-31), or 0 (from 32 on). */
const swizzle2 = (a: V128, c: V128, indices: readonly number[]): V128 =>
  indices.every((i) => i < 32) ? shuffle(a, c, indices) : swizzle(c, x.v128(indices.map((i) => i - 16)));

/** PALIGNR: bytes of destination:source from `count` on; `width` is 16 or 8. */
function aligned(b: InstructionBuilder, a: V128, c: V128, width: number): V128 {
  const given = immediateByte(b);
  const count = x.select(x.gtU(given, 32), x.i32(32), given);
  const indices = b.let(movedIndices(110, iotaBytes, count));
  const upper = indices.vectorConstant;
  if (width === 8) return swizzle(joined(c, a), indices);
  if (upper !== undefined) return swizzle2(c, a, upper);
  return or(swizzle(c, indices), swizzle(a, binary(113, indices, splatConstant(1, 16))));
}

// ---- shuffles by an immediate ----

/** The selector of two bits at `at` of the immediate, as i64 shifted to bit `to`. */
const selector = (imm: I64, at: number, to: number): I64 => x.shl(x.and(x.shrU(imm, at), 3), to);
/** Byte indices of two 32-bit lanes chosen by four bits of the immediate. */
const pair32 = (imm: I64, at: number): I64 =>
  x.add(x.mul(x.or(selector(imm, at, 0), selector(imm, at + 2, 32)), 0x04040404n), 0x0302_0100_0302_0100n);
const four16 = (imm: I64): I64 =>
  x.add(
    x.mul(
      x.or(x.or(selector(imm, 0, 0), selector(imm, 2, 16)), x.or(selector(imm, 4, 32), selector(imm, 6, 48))),
      0x0202n,
    ),
    0x0100_0100_0100_0100n,
  );
const immediate64 = (b: InstructionBuilder): I64 => b.let(x.extendU(immediateByte(b)));

const shuffleImmediate =
  (indices: (imm: I64) => V128): Semantics =>
  (b) => {
    beginSse(b, sse2);
    const c = b.readVector(1);
    b.writeVector(0, swizzle(c, indices(immediate64(b))));
  };
const lowIndices = (): I64 => x.i64(0x0706_0504_0302_0100n);
const highIndices = (): I64 => x.i64(0x0f0e_0d0c_0b0a_0908n);

const shuffleRows = [
  row(
    '66 0F 70',
    'PSHUFD',
    'Vx,Wx,Ib',
    { aligned: true },
    shuffleImmediate((imm) => v64(pair32(imm, 0), pair32(imm, 4))),
  ),
  row(
    'F2 0F 70',
    'PSHUFLW',
    'Vx,Wx,Ib',
    { aligned: true },
    shuffleImmediate((imm) => v64(four16(imm), highIndices())),
  ),
  row(
    'F3 0F 70',
    'PSHUFHW',
    'Vx,Wx,Ib',
    { aligned: true },
    shuffleImmediate((imm) => v64(lowIndices(), x.add(four16(imm), 0x0808_0808_0808_0808n))),
  ),
  row('NP 0F 70', 'PSHUFW', 'Pq,Qq,Ib', {}, (b) => {
    beginMmx(b, sse);
    const c = readLow(b, 1);
    enterMmx(b);
    writeMmx(b, 0, lane64(swizzle(c, v64(four16(immediate64(b)), highIndices())), 0));
  }),
  row('NP 0F C6', 'SHUFPS', 'Vx,Wx,Ib', { aligned: true }, (b) => {
    beginSse(b, sse);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    const imm = immediate64(b);
    const chosen = v64(pair32(imm, 0), x.add(pair32(imm, 4), 0x1010_1010_1010_1010n)).vectorConstant;
    if (chosen !== undefined) {
      b.writeVector(0, shuffle(a, c, chosen));
      return;
    }
    const low = lane64(swizzle(a, v64(pair32(imm, 0), x.i64(0))), 0);
    const high = lane64(swizzle(c, v64(pair32(imm, 4), x.i64(0))), 0);
    b.writeVector(0, v64(low, high));
  }),
  row('66 0F C6', 'SHUFPD', 'Vx,Wx,Ib', { aligned: true }, (b) => {
    beginSse(b, sse2);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    const imm = immediateByte(b);
    const low = x.select(x.and(imm, 1), lane64(a, 1), lane64(a, 0));
    const high = x.select(x.and(imm, 2), lane64(c, 1), lane64(c, 0));
    b.writeVector(0, v64(low, high));
  }),
  row('66 0F 73 /3', 'PSRLDQ', 'Ux,Ib', {}, shiftBytes(110)),
  row('66 0F 73 /7', 'PSLLDQ', 'Ux,Ib', {}, shiftBytes(113)),
  row('66 0F 3A 0F', 'PALIGNR', 'Vx,Wx,Ib', { aligned: true }, (b) => {
    beginSse(b, ssse3);
    const c = b.readVector(1);
    b.writeVector(0, aligned(b, readRegister(b, 0), c, 16));
  }),
  row('NP 0F 3A 0F', 'PALIGNR', 'Pq,Qq,Ib', {}, (b) => {
    beginMmx(b, ssse3);
    const c = readLow(b, 1);
    const a = readLow(b, 0);
    enterMmx(b);
    writeMmx(b, 0, lane64(aligned(b, a, c, 8), 0));
  }),
];

export const rows: RowDraft[] = [...shiftRows, ...shuffleRows];
