/** Emits the lazy flags (see flags.ts): producers for each kind of arithmetic, readers for single flags and conditions. */
import * as x from '../wasm/expr.ts';
import type { I32, I64, Int } from '../wasm/expr.ts';
import type { InstructionBuilder } from './builder.ts';
import { Flag } from './layout.ts';

const overflowShift = 11;
const adjustMask = 0x10;

export class FlagBuilder {
  readonly #b: InstructionBuilder;
  constructor(b: InstructionBuilder) {
    this.#b = b;
  }

  // ---- producers: operands and result are bound values, zero-extended, of `bytes` ----

  /** ADD and, with a carry-in already in `r`, ADC. `carry` is given where it is not simply r < a. */
  add(a: Int, c: Int, r: Int, bytes = this.#b.size, carry: I32 = x.ltU(r, a)): void {
    const overflow = x.and(x.xor(a, r), x.xor(c, r));
    this.set(r, bytes, x.or(x.or(carry, this.#adjust(a, c, r)), this.#overflowBit(overflow, bytes)));
  }

  /** SUB, CMP, NEG (a = 0) and, with the borrow already in `r`, SBB. */
  sub(a: Int, c: Int, r: Int, bytes = this.#b.size, borrow: I32 = x.ltU(a, c)): void {
    const overflow = x.and(x.xor(a, c), x.xor(a, r));
    this.set(r, bytes, x.or(x.or(borrow, this.#adjust(a, c, r)), this.#overflowBit(overflow, bytes)));
  }

  /** AND, OR, XOR, TEST: CF, OF and AF are cleared. */
  logic(r: Int, bytes = this.#b.size): void {
    this.set(r, bytes, x.i32(0));
  }

  /** INC and DEC: as ADD or SUB of 1, CF kept. */
  increment(r: Int, bytes = this.#b.size): void {
    const overflow = x.eq(r, x.constant(r.type, 1n << BigInt(bytes * 8 - 1)));
    const adjust = x.shl(x.eqz(this.#low(x.and(r, 15))), 4);
    this.set(r, bytes, this.#keepCarry(x.or(x.shl(overflow, overflowShift), adjust)));
  }

  decrement(r: Int, bytes = this.#b.size): void {
    const overflow = x.eq(r, x.constant(r.type, (1n << BigInt(bytes * 8 - 1)) - 1n));
    const adjust = x.shl(x.eq(this.#low(x.and(r, 15)), 15), 4);
    this.set(r, bytes, this.#keepCarry(x.or(x.shl(overflow, overflowShift), adjust)));
  }

  /** Result flags from `r`; CF and OF (each 0 or 1, bound) given; AF cleared. */
  result(r: Int, bytes: number, carry: I32, overflow: I32): void {
    this.set(r, bytes, x.or(carry, x.shl(overflow, overflowShift)));
  }

  /** Writes the lazy pair from a zero-extended result and ready aux bits. */
  set(r: Int, bytes: number, aux: I32): void {
    this.#b.setFlagAux(aux);
    this.#b.setFlagResult(this.#b.signed64(r, bytes));
  }

  /** Sets CF alone; `carry` is 0 or 1. */
  setCarry(carry: I32): void {
    this.#b.setFlagAux(x.or(x.and(this.#b.getFlagAux(), ~Flag.cf), carry));
  }

  /** CF and OF from one bit each, the others kept (rotates). */
  setCarryOverflow(carry: I32, overflow: I32): void {
    this.#b.setFlagAux(
      x.or(x.or(x.and(this.#b.getFlagAux(), ~(Flag.cf | Flag.of)), carry), x.shl(overflow, overflowShift)),
    );
  }

  /** Explicit values of ZF PF CF, with OF, SF, AF clear (COMISD, PTEST and others); each 0 or 1, bound. */
  setZeroParityCarry(zero: I32, parity: I32, carry: I32): void {
    // result 1: SF 0, ZF 0, PF 0; result 0: ZF 1, PF 1. The parity delta makes up the difference.
    this.#b.setFlagAux(x.or(carry, x.shl(x.xor(parity, zero), 16)));
    this.#b.setFlagResult(x.extendU(x.eqz(zero)));
  }

  #adjust(a: Int, c: Int, r: Int): I32 {
    return x.and(this.#low(x.xor(x.xor(a, c), r)), adjustMask);
  }

  /** Sign bit of `value` at the place of OF. */
  #overflowBit(value: Int, bytes: number): I32 {
    const shift = bytes * 8 - 1;
    if (bytes === 8) return x.shl(x.wrap(x.shrU(value as I64, shift)), overflowShift);
    return shift >= overflowShift
      ? x.and(x.shrU(value as I32, shift - overflowShift), Flag.of)
      : x.and(x.shl(value as I32, overflowShift - shift), Flag.of);
  }

  #keepCarry(aux: I32): I32 {
    return x.or(aux, x.and(this.#b.getFlagAux(), Flag.cf));
  }

  #low(value: Int): I32 {
    return value.type === 'i64' ? x.wrap(value) : value;
  }

  // ---- readers: 0 or 1, except where said ----

  carry(): I32 {
    return x.and(this.#b.getFlagAux(), 1);
  }

  overflow(): I32 {
    return x.and(x.shrU(this.#b.getFlagAux(), overflowShift), 1);
  }

  adjustFlag(): I32 {
    return x.and(x.shrU(this.#b.getFlagAux(), 4), 1);
  }

  zero(): I32 {
    return x.eqz(this.#b.getFlagResult());
  }

  sign(): I32 {
    return x.xor(x.wrap(x.shrU(this.#b.getFlagResult(), 63)), x.and(x.shrU(this.#b.getFlagAux(), 7), 1));
  }

  parity(): I32 {
    const low = x.and(x.xor(x.wrap(this.#b.getFlagResult()), x.shrU(this.#b.getFlagAux(), 16)), 0xff);
    return x.xor(x.and(x.popcnt(low), 1), 1);
  }

  /** Condition code 0-15 of Jcc, SETcc, CMOVcc (SDM Vol. 1, appendix B). */
  condition(code: number): I32 {
    const test = this.#positive(code >> 1);
    return (code & 1) === 0 ? test : x.eqz(test);
  }

  #positive(kind: number): I32 {
    switch (kind) {
      case 0:
        return this.overflow();
      case 1:
        return this.carry();
      case 2:
        return this.zero();
      case 3:
        return x.or(this.carry(), this.zero());
      case 4:
        return this.sign();
      case 5:
        return this.parity();
      case 6:
        return x.ne(this.sign(), this.overflow());
      default:
        return x.or(this.zero(), x.ne(this.sign(), this.overflow()));
    }
  }
}
