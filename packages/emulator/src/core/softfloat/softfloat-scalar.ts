/**
 * Single and double values as SSE treats them: DAZ, NaN rules, arithmetic, comparison, conversion.
 * SDM Vol. 1, 4.8.3 (table 4-7), 11.5. `bytes` is 4 or 8 and chooses the format; values travel as their bits in a u64.
 */
import { Arithmetic } from './softfloat-arithmetic';
import { Convert } from './softfloat-convert';
import { Round } from './softfloat-round';
import { Exception, Kind, Rounding, Soft } from './softfloat-state';

/** Relations of two values. */
export class Relation {
  static readonly less: i32 = 0;
  static readonly equal: i32 = 1;
  static readonly greater: i32 = 2;
  static readonly unordered: i32 = 3;
}

/** Operations, by the low digit of their opcode 0F 5x. */
export class Operation {
  static readonly squareRoot: i32 = 1;
  static readonly add: i32 = 8;
  static readonly multiply: i32 = 9;
  static readonly subtract: i32 = 12;
  static readonly minimum: i32 = 13;
  static readonly divide: i32 = 14;
  static readonly maximum: i32 = 15;
}

const quiet64: u64 = 0x0008_0000_0000_0000;
const quiet32: u64 = 0x0040_0000;

export class Scalar {
  static kind: i32 = 0;
  static denormal: i32 = 0;
  static sign: i32 = 0;
  static exponent: i32 = 0;
  static significand: u64 = 0;

  static unpack(bits: u64, bytes: i32): void {
    let fraction: u64;
    let exponent: i32;
    let top: i32;
    let bias: i32;
    if (bytes == 8) {
      Scalar.sign = <i32>(bits >> 63);
      exponent = (<i32>(bits >> 52)) & 0x7ff;
      fraction = bits << 12;
      top = 0x7ff;
      bias = 1023;
    } else {
      Scalar.sign = (<i32>(bits >> 31)) & 1;
      exponent = (<i32>(bits >> 23)) & 0xff;
      fraction = bits << 41;
      top = 0xff;
      bias = 127;
    }
    Scalar.denormal = 0;
    if (exponent == top) {
      Scalar.kind = fraction == 0 ? Kind.infinity : <i64>fraction < 0 ? Kind.quietNan : Kind.signalingNan;
    } else if (exponent != 0) {
      Scalar.kind = Kind.finite;
      Scalar.exponent = exponent - bias;
      Scalar.significand = (fraction >> 1) | 0x8000_0000_0000_0000;
    } else if (fraction == 0 || Soft.denormalsAreZero) {
      Scalar.kind = Kind.zero;
    } else {
      const shift = <i32>clz(fraction);
      Scalar.kind = Kind.finite;
      Scalar.denormal = 1;
      Scalar.exponent = -bias - shift;
      Scalar.significand = fraction << shift;
    }
  }

  static unpackA(bits: u64, bytes: i32): void {
    Scalar.unpack(bits, bytes);
    Soft.aKind = Scalar.kind;
    Soft.aSign = Scalar.sign;
    Soft.aExponent = Scalar.exponent;
    Soft.aSignificand = Scalar.significand;
  }

  static unpackB(bits: u64, bytes: i32): void {
    Scalar.unpack(bits, bytes);
    Soft.bKind = Scalar.kind;
    Soft.bSign = Scalar.sign;
    Soft.bExponent = Scalar.exponent;
    Soft.bSignificand = Scalar.significand;
  }

  static quiet(bits: u64, bytes: i32): u64 {
    return bits | (bytes == 8 ? quiet64 : quiet32);
  }

  static indefinite(bytes: i32): u64 {
    return bytes == 8 ? 0xfff8_0000_0000_0000 : 0xffc0_0000;
  }

  /** Rounds the unrounded result into the format and packs it. */
  static finish(bytes: i32): u64 {
    if (Soft.kind == Kind.invalid) {
      Soft.flags |= Exception.invalid;
      return Scalar.indefinite(bytes);
    }
    if (bytes == 8) {
      if (Soft.kind == Kind.finite) Round.toFormat(53, -1022, 1023, false);
      return Convert.packNarrow(53, 1023, 11);
    }
    if (Soft.kind == Kind.finite) Round.toFormat(24, -126, 127, false);
    return Convert.packNarrow(24, 127, 8);
  }

  /** a op c; the square root is that of c. */
  static compute(operation: i32, a: u64, c: u64, bytes: i32): u64 {
    if (operation == Operation.squareRoot) return Scalar.squareRoot(c, bytes);
    Scalar.unpackA(a, bytes);
    let denormal = Scalar.denormal;
    Scalar.unpackB(c, bytes);
    denormal |= Scalar.denormal;
    const isMinMax = (operation & ~2) == Operation.minimum;
    if (max(Soft.aKind, Soft.bKind) >= Kind.quietNan) {
      if (isMinMax) {
        Soft.flags |= Exception.invalid;
        return Scalar.flushed(c, bytes);
      }
      return Scalar.propagateNan(a, c, bytes);
    }
    // A division by zero is reported without the denormal operand.
    if (denormal && !(operation == Operation.divide && Soft.bKind == Kind.zero))
      Soft.flags |= Exception.denormal;
    if (isMinMax) return Scalar.minMax(operation, a, c, bytes);
    if (operation == Operation.add) Arithmetic.add(0);
    else if (operation == Operation.subtract) Arithmetic.add(1);
    else if (operation == Operation.multiply) Arithmetic.multiply();
    else Arithmetic.divide();
    return Scalar.finish(bytes);
  }

  /** The first NaN, quieted. */
  private static propagateNan(a: u64, c: u64, bytes: i32): u64 {
    if (Soft.aKind == Kind.signalingNan || Soft.bKind == Kind.signalingNan) Soft.flags |= Exception.invalid;
    return Scalar.quiet(Soft.aKind >= Kind.quietNan ? a : c, bytes);
  }

  /** A denormal becomes a zero of its sign under DAZ. */
  static flushed(bits: u64, bytes: i32): u64 {
    if (!Soft.denormalsAreZero) return bits;
    if (bytes == 8) return (bits & 0x7ff0_0000_0000_0000) == 0 ? bits & 0x8000_0000_0000_0000 : bits;
    return (bits & 0x7f80_0000) == 0 ? bits & 0x8000_0000 : bits;
  }

  private static minMax(operation: i32, a: u64, c: u64, bytes: i32): u64 {
    const relation = Scalar.relation();
    const first = operation == Operation.minimum ? relation == Relation.less : relation == Relation.greater;
    return Scalar.flushed(first ? a : c, bytes);
  }

  /** Of the unpacked operands, which are no NaNs. */
  private static relation(): i32 {
    if (Soft.aKind == Kind.zero && Soft.bKind == Kind.zero) return Relation.equal;
    if (Soft.aKind == Kind.zero) return Soft.bSign ? Relation.greater : Relation.less;
    if (Soft.bKind == Kind.zero) return Soft.aSign ? Relation.less : Relation.greater;
    if (Soft.aSign != Soft.bSign) return Soft.aSign ? Relation.less : Relation.greater;
    let magnitude: i32;
    if (Soft.aKind == Kind.infinity || Soft.bKind == Kind.infinity) {
      magnitude = Soft.aKind - Soft.bKind;
    } else if (Soft.aExponent != Soft.bExponent) {
      magnitude = Soft.aExponent - Soft.bExponent;
    } else {
      magnitude = i32(Soft.aSignificand > Soft.bSignificand) - i32(Soft.aSignificand < Soft.bSignificand);
    }
    if (magnitude == 0) return Relation.equal;
    return magnitude < 0 == (Soft.aSign == 0) ? Relation.less : Relation.greater;
  }

  /** Relation of a to c with flags; a quiet NaN is invalid when `signals`. */
  static compare(a: u64, c: u64, bytes: i32, signals: bool): i32 {
    Scalar.unpackA(a, bytes);
    let denormal = Scalar.denormal;
    Scalar.unpackB(c, bytes);
    denormal |= Scalar.denormal;
    const worst = max(Soft.aKind, Soft.bKind);
    if (worst >= Kind.quietNan) {
      if (signals || worst == Kind.signalingNan) Soft.flags |= Exception.invalid;
      return Relation.unordered;
    }
    if (denormal) Soft.flags |= Exception.denormal;
    return Scalar.relation();
  }

  private static squareRoot(c: u64, bytes: i32): u64 {
    Scalar.unpackA(c, bytes);
    if (Soft.aKind >= Kind.quietNan) {
      if (Soft.aKind == Kind.signalingNan) Soft.flags |= Exception.invalid;
      return Scalar.quiet(c, bytes);
    }
    const denormal = Scalar.denormal;
    Arithmetic.squareRoot();
    if (denormal && Soft.kind != Kind.invalid) Soft.flags |= Exception.denormal;
    return Scalar.finish(bytes);
  }

  /** A value of `from` bytes in the other format. */
  static convert(bits: u64, from: i32): u64 {
    const to = 12 - from;
    Scalar.unpackA(bits, from);
    if (Soft.aKind >= Kind.quietNan) {
      if (Soft.aKind == Kind.signalingNan) Soft.flags |= Exception.invalid;
      if (from == 4) {
        return ((bits & 0x8000_0000) << 32) | 0x7ff8_0000_0000_0000 | ((bits & 0x7f_ffff) << 29);
      }
      return ((bits >> 32) & 0x8000_0000) | 0x7fc0_0000 | ((bits >> 29) & 0x7f_ffff);
    }
    if (Scalar.denormal) Soft.flags |= Exception.denormal;
    Soft.sign = Soft.aSign;
    Soft.kind = Soft.aKind;
    Soft.exponent = Soft.aExponent;
    Soft.high = Soft.aSignificand;
    Soft.low = 0;
    return Scalar.finish(to);
  }

  static fromInteger(value: i64, bytes: i32): u64 {
    if (value == 0) return 0;
    const magnitude = value < 0 ? 0 - <u64>value : <u64>value;
    const shift = <i32>clz(magnitude);
    Soft.sign = i32(value < 0);
    Soft.kind = Kind.finite;
    Soft.exponent = 63 - shift;
    Soft.high = magnitude << shift;
    Soft.low = 0;
    return Scalar.finish(bytes);
  }

  /** To an integer of 32 or 64 bits; the integer indefinite with the invalid flag when it does not fit. */
  static toInteger(value: u64, bytes: i32, bits: i32): i64 {
    Scalar.unpackA(value, bytes);
    if (Soft.aKind == Kind.zero) return 0;
    if (Soft.aKind != Kind.finite) {
      Soft.flags |= Exception.invalid;
      return bits == 32 ? i64(i32.MIN_VALUE) : i64.MIN_VALUE;
    }
    return Convert.finiteToInteger(bits);
  }

  /** To an integral value; the caller has set Soft.rounding. */
  static toIntegral(value: u64, bytes: i32): u64 {
    Scalar.unpackA(value, bytes);
    if (Soft.aKind >= Kind.quietNan) {
      if (Soft.aKind == Kind.signalingNan) Soft.flags |= Exception.invalid;
      return Scalar.quiet(value, bytes);
    }
    if (Soft.aKind != Kind.finite) return Scalar.flushed(value, bytes);
    Convert.toIntegral();
    return bytes == 8 ? Convert.packNarrow(53, 1023, 11) : Convert.packNarrow(24, 127, 8);
  }

  static truncate(): void {
    Soft.rounding = Rounding.zero;
  }
}
