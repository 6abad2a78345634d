/** Bits: BT, BTS, BTR, BTC, BSF, BSR, POPCNT, BSWAP, MOVBE, CRC32 (SDM Vol. 2). */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { CpuFeature } from '../layout.ts';
import { requireFeature } from './integer-move.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;
const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;

/** What happens to the tested bit: from the old value and the mask of the bit to the new value; undefined only tests. */
type Change = ((value: Both, mask: Both) => Both) | undefined;

const set: Change = (value, mask) => x.or(value, mask);
const reset: Change = (value, mask) => x.and(value, x.xor(mask, -1));
const complement: Change = (value, mask) => x.xor(value, mask);

/** CF from bit `n` of `value`. */
function testBit(b: InstructionBuilder, value: Int, n: Int): void {
  const low = value.type === 'i64' ? x.wrap(x.shrU(value, n)) : x.shrU(value, n);
  b.flags.setCarry(x.and(low, 1));
}

function changed(b: InstructionBuilder, change: NonNullable<Change>, value: Int, n: Int): Int {
  return change(value as Both, x.shl(x.constant(b.type, 1) as Both, n)) as Int;
}

/** In the operand itself: register forms, and memory forms with an immediate. */
function bitOfOperand(b: InstructionBuilder, change: Change, offset: Int): void {
  const value = change === undefined ? b.read(0) : b.modify(0);
  const wide = b.size === 8 && offset.type === 'i32' ? x.extendU(offset) : offset;
  const n = bind(b, x.and(wide as Both, b.size * 8 - 1) as Int);
  if (change !== undefined) b.write(0, changed(b, change, value, n));
  testBit(b, value, n);
}

/** A register's bit offset is signed and reaches beyond the operand: SDM Vol. 2, BT, "Bit(BitBase, BitOffset)". */
function bitString(b: InstructionBuilder, change: Change): void {
  const offset = b.read(1);
  const signed = b.let(b.signed64(offset, b.size));
  const step = x.shl(
    x.shrS(signed, b.size === 2 ? 4 : b.size === 4 ? 5 : 6),
    b.size === 2 ? 1 : b.size === 4 ? 2 : 3,
  );
  const access = change === undefined ? 'read' : 'write';
  const la = b.implicitAddress(x.add(b.effectiveAddress(), step), b.size, access);
  if (change !== undefined) b.probeWrite(la, b.size, 'operand');
  const value = bind(b, b.loadLinear(la, b.size, 'operand'));
  const n = bind(b, x.and(offset as Both, b.size * 8 - 1) as Int);
  if (change !== undefined) b.storeLinear(la, changed(b, change, value, n), b.size);
  testBit(b, value, n);
}

const byRegister =
  (change: Change): Semantics =>
  (b) => {
    if (b.isMemory) bitString(b, change);
    else bitOfOperand(b, change, b.read(1));
  };
const byImmediate =
  (change: Change): Semantics =>
  (b) => {
    bitOfOperand(b, change, b.read(1));
  };

/** BSF and BSR: with a source of 0 the destination stays (as processors do; undefined in older manuals). */
export function scan(b: InstructionBuilder, forward: boolean, source: Int): void {
  b.if(b.size === 8 ? x.ne(source, 0) : (source as I32), () => {
    const found = forward ? x.ctz(source as Both) : x.xor(x.clz(source as Both), b.size === 8 ? 63 : 31);
    b.write(0, found as Int);
  });
  b.flags.logic(source);
}

const populationCount: Semantics = (b) => {
  requireFeature(b, CpuFeature.popcnt);
  const source = b.read(1);
  b.write(0, x.popcnt(source as Both) as Int);
  const zero = b.let(x.eqz(source));
  b.flags.setZeroParityCarry(zero, x.i32(0), x.i32(0));
};

function swapped32(b: InstructionBuilder, value: I32): I32 {
  const v = b.let(value);
  return x.or(x.and(x.rotl(v, 8), 0x00ff00ff), x.and(x.rotr(v, 8), 0xff00ff00 | 0));
}

function swapped(b: InstructionBuilder, value: Int): Int {
  if (value.type === 'i64') {
    const v = b.let(value);
    const high = x.extendU(swapped32(b, x.wrap(v)));
    return x.or(x.shl(high, 32), x.extendU(swapped32(b, x.wrap(x.shrU(v, 32)))));
  }
  if (b.size === 2) {
    const v = b.let(value);
    return x.or(x.and(x.shl(v, 8), 0xff00), x.shrU(v, 8));
  }
  return swapped32(b, value);
}

/** With a 16-bit operand the result is undefined; processors clear the register. */
const byteSwap: Semantics = (b) => {
  if (b.size === 2) b.write(0, x.i32(0));
  else b.write(0, swapped(b, b.read(0)));
};

const moveSwapped: Semantics = (b) => {
  requireFeature(b, CpuFeature.movbe);
  b.write(0, swapped(b, b.read(1)));
};

/** CRC-32C of the source, added to the destination's low half; the upper half is cleared. */
const accumulateCrc: Semantics = (b) => {
  requireFeature(b, CpuFeature.sse42);
  const bytes = b.operandBytes(1);
  const source = b.let(b.unsigned64(b.read(1)));
  const crc = b.callValue('i32', 'crc32c', b.read(0) as I32, source as I64, x.i32(bytes));
  b.write(0, crc);
};

export const rows: RowDraft[] = [
  row('0F A3', 'BT', 'Ev,Gv', {}, byRegister(undefined)),
  row('0F AB', 'BTS', 'Ev,Gv', { lock: true }, byRegister(set)),
  row('0F B3', 'BTR', 'Ev,Gv', { lock: true }, byRegister(reset)),
  row('0F BB', 'BTC', 'Ev,Gv', { lock: true }, byRegister(complement)),
  row('0F BA /4', 'BT', 'Ev,Ib', {}, byImmediate(undefined)),
  row('0F BA /5', 'BTS', 'Ev,Ib', { lock: true }, byImmediate(set)),
  row('0F BA /6', 'BTR', 'Ev,Ib', { lock: true }, byImmediate(reset)),
  row('0F BA /7', 'BTC', 'Ev,Ib', { lock: true }, byImmediate(complement)),
  row('0F BC', 'BSF', 'Gv,Ev', {}, (b) => {
    scan(b, true, b.read(1));
  }),
  row('0F BD', 'BSR', 'Gv,Ev', {}, (b) => {
    scan(b, false, b.read(1));
  }),
  row('F3 0F B8', 'POPCNT', 'Gv,Ev', {}, populationCount),
  row('0F C8+r', 'BSWAP', 'Zv', {}, byteSwap),
  // With F3 they are undefined; with F2 they are CRC32.
  row('NP 0F 38 F0', 'MOVBE', 'Gv,Mv', {}, moveSwapped),
  row('66 0F 38 F0', 'MOVBE', 'Gv,Mv', {}, moveSwapped),
  row('NP 0F 38 F1', 'MOVBE', 'Mv,Gv', {}, moveSwapped),
  row('66 0F 38 F1', 'MOVBE', 'Mv,Gv', {}, moveSwapped),
  row('F2 0F 38 F0', 'CRC32', 'Gd,Eb', {}, accumulateCrc),
  row('F2 0F 38 F1', 'CRC32', 'Gd,Ev', {}, accumulateCrc),
];
