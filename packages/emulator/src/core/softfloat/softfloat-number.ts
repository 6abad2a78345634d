/**
 * Numbers with 128-bit significands for the transcendental instructions: (-1)^sign * high:low * 2^(exponent - 127), bit 63
 * of high set, or zero with high = 0. They live in numbered slots of static memory. Each operation is off by at most
 * a few units of 2^-127, so results of some dozens of them round correctly to 64 bits but for one case in about 2^55.
 */
import { Soft } from './softfloat-state';
import { Wide } from './softfloat-wide';

const slotBytes = 32;
const slots = memory.data(slotBytes * 16);

/** Significands and exponents: ln 2, log2 e, pi, then atan(i / 8) for i = 1 to 8. */
const constants = memory.data<u64>([
  0xb172_17f7_d1cf_79ab,
  0xc9e3_b398_03f2_f6af,
  <u64>-1, // ln2
  0xb8aa_3b29_5c17_f0bb,
  0xbe87_fed0_691d_3e89,
  0, // log2e
  0xc90f_daa2_2168_c234,
  0xc4c6_628b_80dc_1cd1,
  1, // pi
  0xfead_d4d5_617b_6e32,
  0xc897_989f_3e88_8ef8,
  -4, // atan1
  0xfadb_afc9_6406_eb15,
  0x6dc7_9ef5_f7a2_17e6,
  -3, // atan2
  0xb7b0_ca0f_26f7_8473,
  0x8aa3_2122_dcfe_4483,
  -2, // atan3
  0xed63_382b_0dda_7b45,
  0x6fe4_45ec_bc3a_8d03,
  -2, // atan4
  0x8f00_5d5e_f7f5_9f9b,
  0x5c83_5e16_65c4_3748,
  <u64>-1, // atan5
  0xa4bc_7d19_34f7_0924,
  0x19a8_7f2a_457d_ac9f,
  <u64>-1, // atan6
  0xb805_3e2b_c231_9e73,
  0xcb2d_a552_10a4_443d,
  <u64>-1, // atan7
  0xc90f_daa2_2168_c234,
  0xc4c6_628b_80dc_1cd1,
  <u64>-1, // atan8
]);

export class Constant {
  static readonly ln2: i32 = 0;
  static readonly log2e: i32 = 1;
  static readonly pi: i32 = 2;
  /** atan(1 / 8); the following are those of 2/8, 3/8, … */
  static readonly arctangent: i32 = 3;
}

export class Num {
  static high(n: i32): u64 {
    return load<u64>(slots + n * slotBytes);
  }
  static low(n: i32): u64 {
    return load<u64>(slots + n * slotBytes, 8);
  }
  static exponent(n: i32): i32 {
    return load<i32>(slots + n * slotBytes, 16);
  }
  static sign(n: i32): i32 {
    return load<i32>(slots + n * slotBytes, 20);
  }

  static set(n: i32, sign: i32, exponent: i32, high: u64, low: u64): void {
    const address = slots + n * slotBytes;
    store<u64>(address, high);
    store<u64>(address, low, 8);
    store<i32>(address, exponent, 16);
    store<i32>(address, sign, 20);
  }

  /** Sets a slot from high:low that need not be normalized. */
  static setNormalized(n: i32, sign: i32, exponent: i32, high: u64, low: u64): void {
    if ((high | low) == 0) {
      Num.set(n, sign, 0, 0, 0);
      return;
    }
    const shift = high != 0 ? <i32>clz(high) : 64 + <i32>clz(low);
    Wide.shiftLeft(high, low, shift);
    Num.set(n, sign, exponent - shift, Wide.high, Wide.low);
  }

  static copy(to: i32, from: i32): void {
    Num.set(to, Num.sign(from), Num.exponent(from), Num.high(from), Num.low(from));
  }

  static negate(n: i32): void {
    store<i32>(slots + n * slotBytes, Num.sign(n) ^ 1, 20);
  }

  /** Multiplies by 2^power. */
  static scale(n: i32, power: i32): void {
    store<i32>(slots + n * slotBytes, Num.exponent(n) + power, 16);
  }

  static loadConstant(n: i32, index: i32): void {
    const address = constants + index * 24;
    Num.set(n, 0, <i32>load<i64>(address, 16), load<u64>(address), load<u64>(address, 8));
  }

  static fromInteger(n: i32, value: i32): void {
    const sign = i32(value < 0);
    Num.setNormalized(n, sign, 63, <u64>(sign ? -value : value), 0);
  }

  static multiply(to: i32, a: i32, b: i32): void {
    const sign = Num.sign(a) ^ Num.sign(b);
    const aHigh = Num.high(a);
    const bHigh = Num.high(b);
    if (aHigh == 0 || bHigh == 0) {
      Num.set(to, sign, 0, 0, 0);
      return;
    }
    const first = Wide.multiplyHigh(aHigh, Num.low(b));
    const second = Wide.multiplyHigh(Num.low(a), bHigh);
    Wide.multiply(aHigh, bHigh);
    let high = Wide.high;
    let low = Wide.low + first;
    if (low < first) high++;
    low += second;
    if (low < second) high++;
    Num.setNormalized(to, sign, Num.exponent(a) + Num.exponent(b) + 1, high, low);
  }

  static add(to: i32, a: i32, b: i32): void {
    if (Num.high(a) == 0) {
      Num.copy(to, b);
      return;
    }
    if (Num.high(b) == 0) {
      Num.copy(to, a);
      return;
    }
    let big = a;
    let small = b;
    if (
      Num.exponent(a) < Num.exponent(b) ||
      (Num.exponent(a) == Num.exponent(b) &&
        (Num.high(a) < Num.high(b) || (Num.high(a) == Num.high(b) && Num.low(a) < Num.low(b))))
    ) {
      big = b;
      small = a;
    }
    const sign = Num.sign(big);
    const exponent = Num.exponent(big);
    const bigHigh = Num.high(big);
    const bigLow = Num.low(big);
    const same = sign == Num.sign(small);
    Wide.shiftRightJam(Num.high(small), Num.low(small), exponent - Num.exponent(small));
    if (same) {
      const low = bigLow + Wide.low;
      const carry = u64(low < bigLow);
      const partial = bigHigh + Wide.high;
      const high = partial + carry;
      if (partial < bigHigh || high < partial) {
        Num.set(to, sign, exponent + 1, (high >> 1) | 0x8000_0000_0000_0000, (high << 63) | (low >> 1));
      } else {
        Num.set(to, sign, exponent, high, low);
      }
    } else {
      const low = bigLow - Wide.low;
      const high = bigHigh - Wide.high - u64(bigLow < Wide.low);
      Num.setNormalized(to, sign, exponent, high, low);
    }
  }

  /** a / b by Newton's iteration on the reciprocal; uses slots 13 to 15. */
  static divide(to: i32, a: i32, b: i32): void {
    const sign = Num.sign(a) ^ Num.sign(b);
    if (Num.high(a) == 0) {
      Num.set(to, sign, 0, 0, 0);
      return;
    }
    const divisor = Num.high(b);
    // 2^126 / divisor: 63 to 64 bits of the reciprocal, in (2^62, 2^63].
    const estimate =
      divisor == 0x8000_0000_0000_0000
        ? 0x8000_0000_0000_0000
        : Wide.divide(0x4000_0000_0000_0000, 0, divisor);
    Num.setNormalized(15, Num.sign(b), -Num.exponent(b), estimate, 0);
    for (let i = 0; i < 2; i++) {
      // r += r * (1 - b * r)
      Num.multiply(14, b, 15);
      Num.negate(14);
      Num.set(13, 0, 0, 0x8000_0000_0000_0000, 0);
      Num.add(14, 13, 14);
      Num.multiply(14, 15, 14);
      Num.add(15, 15, 14);
    }
    Num.multiply(to, a, 15);
  }

  /** Makes the slot the unrounded result; it is never exact but for `exact`. */
  static toResult(n: i32, exact: bool): void {
    Soft.sign = Num.sign(n);
    Soft.exponent = Num.exponent(n);
    Soft.high = Num.high(n);
    Soft.low = exact ? Num.low(n) : Num.low(n) | 1;
  }
}
