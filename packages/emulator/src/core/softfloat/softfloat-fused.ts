/** The fused multiply-add: an exact product, an exact sum, one rounding. SDM Vol. 1, 14.5.3; IEEE 754-2019, 5.4.1. */
import { Arithmetic } from './softfloat-arithmetic';
import { Exception, Kind, Rounding, Soft } from './softfloat-state';
import { Scalar } from './softfloat-scalar';
import { Wide } from './softfloat-wide';

export class Fused {
  /**
   * x * y + z; with `negateProduct` -(x * y), with `negateAddend` - z. `first`, `second`, `third` are the operands in the order of the
   * encoding, in which NaNs take precedence.
   */
  static multiplyAdd(x: u64, y: u64, z: u64, negateProduct: i32, negateAddend: i32, bytes: i32): u64 {
    Scalar.unpack(z, bytes);
    const zKind = Scalar.kind;
    const zSign = Scalar.sign ^ negateAddend;
    const zExponent = Scalar.exponent;
    const zSignificand = Scalar.significand;
    let denormal = Scalar.denormal;
    Scalar.unpackA(x, bytes);
    denormal |= Scalar.denormal;
    Scalar.unpackB(y, bytes);
    denormal |= Scalar.denormal;
    const worst = max(max(Soft.aKind, Soft.bKind), zKind);
    if (worst >= Kind.quietNan) {
      if (worst == Kind.signalingNan) Soft.flags |= Exception.invalid;
      if (Soft.aKind >= Kind.quietNan) return Scalar.quiet(x, bytes);
      return Scalar.quiet(Soft.bKind >= Kind.quietNan ? y : z, bytes);
    }
    Arithmetic.multiply();
    Soft.sign ^= negateProduct;
    if (Soft.kind == Kind.infinity && zKind == Kind.infinity && Soft.sign != zSign) Soft.kind = Kind.invalid;
    if (Soft.kind != Kind.invalid) {
      if (denormal) Soft.flags |= Exception.denormal;
      Fused.add(zKind, zSign, zExponent, zSignificand);
    }
    return Scalar.finish(bytes);
  }

  /** Adds to the unrounded result. */
  private static add(kind: i32, sign: i32, exponent: i32, significand: u64): void {
    if (Soft.kind == Kind.infinity) return;
    if (kind == Kind.infinity) {
      Soft.kind = Kind.infinity;
      Soft.sign = sign;
    } else if (kind == Kind.zero) {
      if (Soft.kind == Kind.zero && Soft.sign != sign) Soft.sign = i32(Soft.rounding == Rounding.down);
    } else if (Soft.kind == Kind.zero) {
      Soft.sign = sign;
      Arithmetic.exact(exponent, significand);
    } else if (Soft.sign == sign) {
      Fused.addMagnitude(exponent, significand);
    } else {
      Fused.subtractMagnitude(sign, exponent, significand);
    }
  }

  private static addMagnitude(exponent: i32, significand: u64): void {
    const difference = Soft.exponent - exponent;
    let high = Soft.high;
    let low = Soft.low;
    if (difference >= 0) {
      Wide.shiftRightJam(significand, 0, difference);
    } else {
      Wide.shiftRightJam(high, low, -difference);
      high = significand;
      low = 0;
      Soft.exponent = exponent;
    }
    const sumLow = low + Wide.low;
    const carry = u64(sumLow < low);
    const partial = high + Wide.high;
    const sumHigh = partial + carry;
    if (partial < high || sumHigh < partial) {
      Soft.exponent += 1;
      Soft.high = (sumHigh >> 1) | 0x8000_0000_0000_0000;
      Soft.low = (sumHigh << 63) | (sumLow >> 1) | (sumLow & 1);
    } else {
      Soft.high = sumHigh;
      Soft.low = sumLow;
    }
  }

  /** Nothing is lost where the exponents are so close that leading bits can vanish: both have more zeros at the end than they are shifted. */
  private static subtractMagnitude(sign: i32, exponent: i32, significand: u64): void {
    let high = Soft.high;
    let low = Soft.low;
    const difference = Soft.exponent - exponent;
    const larger =
      difference > 0 || (difference == 0 && (high > significand || (high == significand && low != 0)));
    if (difference == 0 && high == significand && low == 0) {
      Soft.kind = Kind.zero;
      Soft.sign = i32(Soft.rounding == Rounding.down);
      return;
    }
    if (larger) {
      Wide.shiftRightJam(significand, 0, difference);
    } else {
      Wide.shiftRightJam(high, low, -difference);
      high = significand;
      low = 0;
      Soft.exponent = exponent;
      Soft.sign = sign;
    }
    const borrow = u64(low < Wide.low);
    Arithmetic.normalize(high - Wide.high - borrow, low - Wide.low);
  }
}
