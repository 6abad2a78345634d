/** Shifts and rotates: SDM Vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD. */
import * as x from '../../wasm/expr.ts';
import type { Expr, I32, I64, Int } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';

type Both = Expr<'i32' | 'i64'>;
const bind = (b: InstructionBuilder, value: Int): Int => b.let(value as Both) as Int;

/** What a shift gives: the bound result, and CF and OF (each 0 or 1) for a count that is not zero. */
interface Shifted {
  r: Int;
  carry: () => I32;
  overflow: (carry: I32) => I32;
}
type Shift = (b: InstructionBuilder, a: Int, count: I32) => Shifted;

/** Bit `n` of a value, as 0 or 1. */
function bit(value: Int, n: number): I32 {
  const low = value.type === 'i64' ? x.wrap(x.shrU(value, n)) : x.shrU(value, n);
  return x.and(low, 1);
}
function lowBit(value: Int): I32 {
  return x.and(value.type === 'i64' ? x.wrap(value) : value, 1);
}
/** `count` plus a constant, in the type of the operand. */
function amount(b: InstructionBuilder, count: I32): Int {
  return b.size === 8 ? x.extendU(count) : count;
}
const topBit = (b: InstructionBuilder, value: Int): I32 => bit(value, b.size * 8 - 1);

const shl: Shift = (b, a, count) => {
  const bits = b.size * 8;
  if (b.size >= 4) {
    return {
      r: bind(b, x.shl(a as Both, amount(b, count)) as Int),
      carry: () => lowBit(x.shrU(a as Both, amount(b, x.sub(x.i32(bits), count))) as Int),
      overflow: (carry) => carry,
    };
  }
  const wide = b.let(x.shl(a as I32, count));
  return { r: bind(b, b.cut(wide, b.size)), carry: () => bit(wide, bits), overflow: (carry) => carry };
};
const shr: Shift = (b, a, count) => ({
  r: bind(b, x.shrU(a as Both, amount(b, count)) as Int),
  carry: () => lowBit(x.shrU(a as Both, amount(b, x.sub(count, 1))) as Int),
  overflow: () => topBit(b, a),
});
const sar: Shift = (b, a, count) => {
  const signed = bind(b, b.signed(a, b.size));
  return {
    r: bind(b, b.cut(x.shrS(signed as Both, amount(b, count)) as Int, b.size)),
    carry: () => lowBit(x.shrS(signed as Both, amount(b, x.sub(count, 1))) as Int),
    overflow: () => x.i32(0),
  };
};

/** The count as the processor uses it: five bits, six with 64-bit operands. */
function maskedCount(b: InstructionBuilder, value: Int): I32 {
  return b.let(x.and(value as I32, b.size === 8 ? 63 : 31));
}

/** Flags change only when the count is not zero. */
function whenShifted(b: InstructionBuilder, count: I32, then: () => void): void {
  if (count.constant !== undefined) {
    if (count.constant !== 0n) then();
  } else b.if(count, then);
}

/** SHL, SHR, SAR: all flags from the result. The destination is written for a zero count too (upper half of 32 bits). */
const shifting =
  (shift: Shift): Semantics =>
  (b) => {
    const a = b.modify(0);
    const count = maskedCount(b, b.read(1));
    const { r, carry, overflow } = shift(b, a, count);
    b.write(0, r);
    whenShifted(b, count, () => {
      const c = b.let(carry());
      const o = overflow(c);
      // For SHL, OF is CF xor the new sign.
      b.flags.result(r, b.size, c, shift === shl ? b.let(x.xor(o, topBit(b, r))) : b.let(o));
    });
  };

/** ROL, ROR, RCL, RCR: CF and OF only. */
const rotating =
  (rotate: Shift): Semantics =>
  (b) => {
    const a = b.modify(0);
    const count = maskedCount(b, b.read(1));
    const { r, carry, overflow } = rotate(b, a, count);
    b.write(0, r);
    whenShifted(b, count, () => {
      const c = b.let(carry());
      b.flags.setCarryOverflow(c, b.let(overflow(c)));
    });
  };

const signXorNext = (b: InstructionBuilder, r: Int): I32 => x.xor(topBit(b, r), bit(r, b.size * 8 - 2));

const rol: Shift = (b, a, count) => {
  const bits = b.size * 8;
  let r: Int;
  if (b.size >= 4) r = bind(b, x.rotl(a as Both, amount(b, count)) as Int);
  else {
    const turns = b.let(x.and(count, bits - 1));
    const back = x.sub(x.i32(bits), turns);
    r = bind(b, b.cut(x.or(x.shl(a as I32, turns), x.shrU(a as I32, back)), b.size));
  }
  return { r, carry: () => lowBit(r), overflow: (carry) => x.xor(carry, topBit(b, r)) };
};
const ror: Shift = (b, a, count) => {
  const bits = b.size * 8;
  let r: Int;
  if (b.size >= 4) r = bind(b, x.rotr(a as Both, amount(b, count)) as Int);
  else {
    const turns = b.let(x.and(count, bits - 1));
    const back = x.sub(x.i32(bits), turns);
    r = bind(b, b.cut(x.or(x.shrU(a as I32, turns), x.shl(a as I32, back)), b.size));
  }
  return { r, carry: () => topBit(b, r), overflow: () => signXorNext(b, r) };
};

/** CF above the operand, as one value of bits + 1 bits, and the count modulo that width. Operands up to 4 bytes. */
function withCarry(b: InstructionBuilder, a: Int, count: I32): { value: I64; turns: I64; width: number } {
  const width = b.size * 8 + 1;
  const carry = x.shl(x.extendU(b.flags.carry()), b.size * 8);
  const value = b.let(x.or(carry, x.extendU(a as I32)));
  // With 32-bit operands a count of 5 bits is below the width already.
  const turns = b.let(x.extendU(b.size === 4 ? count : x.remU(count, width)));
  return { value, turns, width };
}

const rcl: Shift = (b, a, count) => {
  if (b.size === 8) {
    const old = b.let(x.extendU(b.flags.carry()));
    const n = b.let(x.extendU(count));
    const incoming = x.shl(old, x.sub(n, 1));
    const around = x.shrU(x.shrU(a as I64, 1), x.sub(x.i64(64), n));
    const turned = b.let(x.or(x.or(x.shl(a as I64, n), incoming), around));
    const r = b.let(x.select(count, turned, a as I64));
    return {
      r,
      carry: () => lowBit(x.shrU(a as I64, x.sub(x.i64(64), n))),
      overflow: (carry) => x.xor(carry, topBit(b, r)),
    };
  }
  const { value, turns, width } = withCarry(b, a, count);
  const turned = b.let(x.or(x.shl(value, turns), x.shrU(value, x.sub(x.i64(width), turns))));
  const r = bind(b, b.cut(x.wrap(turned), b.size));
  return { r, carry: () => bit(turned, b.size * 8), overflow: (carry) => x.xor(carry, topBit(b, r)) };
};
const rcr: Shift = (b, a, count) => {
  if (b.size === 8) {
    const old = b.let(x.extendU(b.flags.carry()));
    const n = b.let(x.extendU(count));
    const back = b.let(x.sub(x.i64(64), n));
    const around = x.shl(x.shl(a as I64, 1), back);
    const turned = b.let(x.or(x.or(x.shrU(a as I64, n), x.shl(old, back)), around));
    const r = b.let(x.select(count, turned, a as I64));
    return {
      r,
      carry: () => lowBit(x.shrU(a as I64, x.sub(n, 1))),
      overflow: () => signXorNext(b, r),
    };
  }
  const { value, turns, width } = withCarry(b, a, count);
  const turned = b.let(x.or(x.shrU(value, turns), x.shl(value, x.sub(x.i64(width), turns))));
  const r = bind(b, b.cut(x.wrap(turned), b.size));
  return { r, carry: () => bit(turned, b.size * 8), overflow: () => signXorNext(b, r) };
};

/**
 * SHLD and SHRD. With 16-bit operands and counts above 16 the result is undefined; here the destination follows the
 * source again, as processors do.
 */
const doubleShift =
  (left: boolean): Semantics =>
  (b) => {
    const a = b.modify(0);
    const g = b.read(1);
    const count = maskedCount(b, b.read(2));
    const { r, carry } = left ? shiftLeftDouble(b, a, g, count) : shiftRightDouble(b, a, g, count);
    b.write(0, r);
    whenShifted(b, count, () => {
      b.flags.result(r, b.size, b.let(carry()), b.let(x.xor(topBit(b, r), topBit(b, a))));
    });
  };

/** destination : source : destination, 48 bits. */
function tripled(b: InstructionBuilder, a: Int, g: Int): I64 {
  const wide = b.let(x.extendU(a as I32));
  return b.let(x.or(x.or(x.shl(wide, 32), x.shl(x.extendU(g as I32), 16)), wide));
}

function shiftLeftDouble(b: InstructionBuilder, a: Int, g: Int, count: I32): { r: Int; carry: () => I32 } {
  const n = b.let(x.extendU(count));
  if (b.size === 2) {
    const moved = b.let(x.shl(tripled(b, a, g), n));
    return { r: bind(b, b.cut(x.wrap(x.shrU(moved, 32)), 2)), carry: () => bit(moved, 48) };
  }
  if (b.size === 4) {
    const both = x.or(x.shl(x.extendU(a as I32), 32), x.extendU(g as I32));
    const r = b.let(x.wrap(x.shrU(x.shl(both, n), 32)));
    return { r, carry: () => lowBit(x.shrU(a as I32, x.sub(x.i32(32), count))) };
  }
  const back = b.let(x.sub(x.i64(64), n));
  const moved = b.let(x.or(x.shl(a as I64, n), x.shrU(g as I64, back)));
  return {
    r: b.let(x.select(count, moved, a as I64)),
    carry: () => lowBit(x.shrU(a as I64, back)),
  };
}

function shiftRightDouble(b: InstructionBuilder, a: Int, g: Int, count: I32): { r: Int; carry: () => I32 } {
  const n = b.let(x.extendU(count));
  if (b.size === 2) {
    const all = tripled(b, a, g);
    const r = bind(b, b.cut(x.wrap(x.shrU(all, n)), 2));
    return { r, carry: () => lowBit(x.shrU(all, x.sub(n, 1))) };
  }
  const carry = (): I32 => lowBit(x.shrU(a as Both, amount(b, x.sub(count, 1))) as Int);
  if (b.size === 4) {
    const both = x.or(x.shl(x.extendU(g as I32), 32), x.extendU(a as I32));
    return { r: b.let(x.wrap(x.shrU(both, n))), carry };
  }
  const moved = b.let(x.or(x.shrU(a as I64, n), x.shl(g as I64, x.sub(x.i64(64), n))));
  return { r: b.let(x.select(count, moved, a as I64)), carry };
}

/** By ModRM.reg; /6 is an undocumented alias of SHL. */
const operations: readonly [string, Semantics][] = [
  ['ROL', rotating(rol)],
  ['ROR', rotating(ror)],
  ['RCL', rotating(rcl)],
  ['RCR', rotating(rcr)],
  ['SHL', shifting(shl)],
  ['SHR', shifting(shr)],
  ['SAL', shifting(shl)],
  ['SAR', shifting(sar)],
];

const classic = operations.flatMap(([name, semantics], n): RowDraft[] => [
  row(`C0 /${n}`, name, 'Eb,Ib', {}, semantics),
  row(`C1 /${n}`, name, 'Ev,Ib', {}, semantics),
  row(`D0 /${n}`, name, 'Eb,1', {}, semantics),
  row(`D1 /${n}`, name, 'Ev,1', {}, semantics),
  row(`D2 /${n}`, name, 'Eb,CL', {}, semantics),
  row(`D3 /${n}`, name, 'Ev,CL', {}, semantics),
]);

export const rows: RowDraft[] = [
  ...classic,
  row('0F A4', 'SHLD', 'Ev,Gv,Ib', {}, doubleShift(true)),
  row('0F A5', 'SHLD', 'Ev,Gv,CL', {}, doubleShift(true)),
  row('0F AC', 'SHRD', 'Ev,Gv,Ib', {}, doubleShift(false)),
  row('0F AD', 'SHRD', 'Ev,Gv,CL', {}, doubleShift(false)),
];
