/**
 * What MMX and SSE rows share: names for WebAssembly's SIMD instructions (WebAssembly 2.0, 5.4.8), the checks before an
 * instruction, and access to operands. SDM Vol. 3A, table 2-2 and 13.1 for #UD and #NM.
 */
import * as x from '../../wasm/expr.ts';
import type { I32, I64, V128 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature, FpuTrap } from '../layout.ts';

/** A packed operation on bound operands: destination, source. */
export type Packed = (a: V128, c: V128) => V128;

/** The operation with this opcode on its operands in order. */
export const op =
  (opcode: number): Packed =>
  (a, c) =>
    x.simd('v128', opcode, [a, c]);
/** The same with operands exchanged. */
export const reversed =
  (opcode: number): Packed =>
  (a, c) =>
    x.simd('v128', opcode, [c, a]);
export const unary = (opcode: number, a: V128): V128 => x.simd('v128', opcode, [a]);
export const binary = (opcode: number, a: V128, c: V128): V128 => x.simd('v128', opcode, [a, c]);
/** i8x16.shuffle: bytes 0-15 are those of a, 16-31 those of c. */
export const shuffle = (a: V128, c: V128, lanes: readonly number[]): V128 =>
  x.simd('v128', 13, [a, c], lanes);
/** Bytes of a by index; indices from 16 on give 0. Constant indices make a shuffle. */
export const swizzle = (a: V128, indices: V128): V128 =>
  indices.vectorConstant === undefined
    ? x.simd('v128', 14, [a, indices])
    : shuffle(
        a,
        zeroVector(),
        indices.vectorConstant.map((i) => Math.min(i, 16)),
      );
export const splat8 = (a: I32): V128 => x.simd('v128', 15, [a]);
export const splat64 = (a: I64): V128 => x.simd('v128', 18, [a]);
export const lane64 = (a: V128, lane: number): I64 => x.simd('i64', 29, [a], [lane]);
export const withLane64 = (a: V128, value: I64, lane: number): V128 => x.simd('v128', 30, [a, value], [lane]);
export const v64 = (low: I64, high: I64): V128 => {
  if (low.constant === undefined || high.constant === undefined) return withLane64(splat64(low), high, 1);
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setBigInt64(0, low.constant, true);
  bytes.setBigInt64(8, high.constant, true);
  return x.v128([...new Uint8Array(bytes.buffer)]);
};
/** A vector whose lanes of `bytes` bytes all hold `value`. */
export function splatConstant(bytes: number, value: number | bigint): V128 {
  let rest = BigInt.asUintN(bytes * 8, BigInt(value));
  const lane = Array.from({ length: bytes }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
  return x.v128(Array.from({ length: 16 }, (_, i) => lane[i % bytes] ?? 0));
}
export const zeroVector = (): V128 => splatConstant(1, 0);
export const and = (a: V128, c: V128): V128 => binary(78, a, c);
/** a & ~c */
export const andNot = (a: V128, c: V128): V128 => binary(79, a, c);
export const or = (a: V128, c: V128): V128 => binary(80, a, c);
export const xor = (a: V128, c: V128): V128 => binary(81, a, c);
/** Bits of a where mask is 1, of c elsewhere. */
export const bitSelect = (a: V128, c: V128, mask: V128): V128 => x.simd('v128', 82, [a, c, mask]);

const missing = (b: InstructionBuilder, feature: number): I32 => {
  const features = b.field('i64', Cpu.features, 8);
  return x.eqz(
    feature < 2 ** 31 ? x.and(x.wrap(features), x.i32(feature)) : x.and(features, x.i64(BigInt(feature))),
  );
};

/** #UD and #NM of SSE, and the feature. */
export function beginSse(b: InstructionBuilder, feature: number): void {
  const trapped = FpuTrap.sseUndefined | FpuTrap.simdNotAvailable;
  b.guard(
    `sse ${feature}`,
    () => x.or(x.and(b.field('i32', Cpu.fpuTrap), trapped), missing(b, feature)),
    () => b.call('sseTrap', x.i64(BigInt(feature))),
  );
}

/** #UD, #NM and a pending x87 exception (#MF). */
export function beginMmx(b: InstructionBuilder, feature: number = CpuFeature.mmx): void {
  const trapped = FpuTrap.mmxUndefined | FpuTrap.simdNotAvailable;
  b.guard(
    `mmx ${feature}`,
    () => {
      const trap = x.and(b.field('i32', Cpu.fpuTrap), trapped);
      const pending = x.and(b.field('i32', Cpu.fsw), 0x80);
      return x.or(x.or(trap, missing(b, feature)), pending);
    },
    () => b.call('mmxTrap', x.i32(feature)),
  );
}

/** After the operands are read: TOP = 0 and all registers valid. SDM Vol. 1, 9.5.1. */
export function enterMmx(b: InstructionBuilder): void {
  b.setField(Cpu.fsw, x.and(b.field('i32', Cpu.fsw), ~0x3800));
  b.setField(Cpu.ftags, x.i64(0));
}

/** Writes an MMX register: sign and exponent become all ones. */
export function writeMmx(b: InstructionBuilder, index: number, value: I64): void {
  const address = b.let(b.registerAddress(index));
  b.code.store(8, address, value);
  b.code.store(8, address, x.i64(0xffff), 8);
}

/** The integer operand (8 bytes or fewer) as the low lane; the upper half is 0. */
export function readLow(b: InstructionBuilder, index: number): V128 {
  const value = b.unsigned64(b.read(index));
  return b.let(v64(value, x.i64(0)));
}

/** The whole XMM register of a register operand, whatever its width in the row. */
export const readRegister = (b: InstructionBuilder, index: number): V128 => b.readVectorRegister(index);

export const writeRegister = (b: InstructionBuilder, index: number, value: V128): void =>
  b.writeVectorRegister(index, value);

/** Low halves of a and c as one vector: what narrowing and pairwise operations of MMX work on. */
export const joined = (a: V128, c: V128): V128 =>
  shuffle(a, c, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);

/** The immediate byte as i32. */
export const immediateByte = (b: InstructionBuilder): I32 => b.let(x.and(x.wrap(b.immediate()), 0xff));
