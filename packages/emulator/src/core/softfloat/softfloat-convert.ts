/** Conversions between the double extended format, single, double and integers. SDM Vol. 1, 4.8 and 8.3. */
import { exponentBias, Extended, integerBit, quietBit } from './softfloat-80';
import { Round } from './softfloat-round';
import { Exception, Kind, Soft } from './softfloat-state';
import { Wide } from './softfloat-wide';

export class Convert {
  /** Single to extended, with invalid and denormal flags, as FLD m32 and the arithmetic with an m32 operand see it. */
  static fromSingle(bits: u32, quiets: bool): void {
    const sign = (<i32>(bits >> 16)) & 0x8000;
    const exponent = (<i32>(bits >> 23)) & 0xff;
    const fraction: u64 = (bits & 0x7f_ffff) as u64;
    Convert.widen(sign, exponent, 0xff, fraction << 41, 127, quiets);
  }

  static fromDouble(bits: u64, quiets: bool): void {
    const sign = (<i32>(bits >> 48)) & 0x8000;
    const exponent = (<i32>(bits >> 52)) & 0x7ff;
    Convert.widen(sign, exponent, 0x7ff, (bits << 12) & 0xffff_ffff_ffff_f000, 1023, quiets);
  }

  /**
   * `fraction` has its first bit at bit 63. With `quiets` a signaling NaN is quieted and flagged (a load); without, it stays one,
   * and a denormal is flagged in both cases.
   */
  private static widen(sign: i32, exponent: i32, top: i32, fraction: u64, bias: i32, quiets: bool): void {
    if (exponent == top) {
      let significand = (fraction >> 1) | integerBit;
      if (quiets && fraction != 0 && (significand & quietBit) == 0) {
        Soft.flags |= Exception.invalid;
        significand |= quietBit;
      }
      Extended.set(significand, sign | 0x7fff);
    } else if (exponent != 0) {
      Extended.set((fraction >> 1) | integerBit, sign | (exponent - bias + exponentBias));
    } else if (fraction == 0) {
      Extended.set(0, sign);
    } else {
      Soft.flags |= Exception.denormal;
      const shift = <i32>clz(fraction);
      Extended.set(fraction << shift, sign | (exponentBias - bias - shift));
    }
  }

  static fromInteger(value: i64): void {
    if (value == 0) {
      Extended.zero(0);
      return;
    }
    const magnitude = value < 0 ? <u64>-value : <u64>value;
    const shift = <i32>clz(magnitude);
    Extended.set(magnitude << shift, (value < 0 ? 0x8000 : 0) | (exponentBias + 63 - shift));
  }

  /** Extended to single. An unmasked overflow or underflow leaves the flag set and no usable result. */
  static toSingle(sig: u64, se: i32): u32 {
    return <u32>Convert.narrow(sig, se, 24, 127, 8);
  }

  static toDouble(sig: u64, se: i32): u64 {
    return Convert.narrow(sig, se, 53, 1023, 11);
  }

  private static narrow(sig: u64, se: i32, precision: i32, bias: i32, exponentBits: i32): u64 {
    const fractionBits = precision - 1;
    const sign = (<u64>((se >> 15) & 1)) << (fractionBits + exponentBits);
    const top: u64 = (((<u64>1) << exponentBits) - 1) << fractionBits;
    const kind = Extended.kindOf(sig, se);
    if (kind == Kind.zero) return sign;
    if (kind == Kind.infinity) return sign | top;
    if (kind == Kind.invalid) {
      Soft.flags |= Exception.invalid;
      return ((<u64>1) << (fractionBits + exponentBits)) | top | ((<u64>1) << (fractionBits - 1));
    }
    if (kind >= Kind.quietNan) {
      if (kind == Kind.signalingNan) Soft.flags |= Exception.invalid;
      return sign | top | (((sig | quietBit) << 1) >> (64 - fractionBits));
    }
    Extended.unpackA(sig, se);
    Soft.sign = Soft.aSign;
    Soft.exponent = Soft.aExponent;
    Soft.high = Soft.aSignificand;
    Soft.low = 0;
    Round.toFormat(precision, 1 - bias, bias, false);
    return Convert.packNarrow(precision, bias, exponentBits);
  }

  /** Packs the rounded result into single or double. */
  static packNarrow(precision: i32, bias: i32, exponentBits: i32): u64 {
    const fractionBits = precision - 1;
    const sign = (<u64>Soft.sign) << (fractionBits + exponentBits);
    if (Soft.kind == Kind.zero) return sign;
    if (Soft.kind == Kind.infinity) return sign | ((((<u64>1) << exponentBits) - 1) << fractionBits);
    const biased: u64 = <i64>Soft.high < 0 ? <u64>(Soft.exponent + bias) : 0;
    return sign | (biased << fractionBits) | ((Soft.high << 1) >> (64 - fractionBits));
  }

  /**
   * Extended to an integer of `bits` bits (16, 32, 64) by the rounding in Soft.rounding; the integer indefinite
   * and the invalid flag when it doesn't fit.
   */
  static toInteger(sig: u64, se: i32, bits: i32): i64 {
    const indefinite: i64 = <i64>((<u64>0xffff_ffff_ffff_ffff) << (bits - 1));
    const kind = Extended.kindOf(sig, se);
    if (kind == Kind.zero) return 0;
    if (kind != Kind.finite) {
      Soft.flags |= Exception.invalid;
      return indefinite;
    }
    Extended.unpackA(sig, se);
    return Convert.finiteToInteger(bits);
  }

  /** The same for the unpacked finite operand a. */
  static finiteToInteger(bits: i32): i64 {
    const indefinite: i64 = <i64>((<u64>0xffff_ffff_ffff_ffff) << (bits - 1));
    if (Soft.aExponent >= 64) {
      Soft.flags |= Exception.invalid;
      return indefinite;
    }
    Soft.sign = Soft.aSign;
    Wide.shiftRightJam(Soft.aSignificand, 0, 63 - Soft.aExponent);
    let magnitude = Wide.high;
    let up = 0;
    const inexact = Wide.low != 0;
    if (inexact && Round.increments(Wide.low, (magnitude & 1) != 0)) {
      up = 1;
      magnitude++;
      if (magnitude == 0) {
        Soft.flags |= Exception.invalid;
        return indefinite;
      }
    }
    const limit: u64 = (<u64>1) << (bits - 1);
    if (magnitude > limit || (magnitude == limit && !Soft.aSign)) {
      Soft.flags |= Exception.invalid;
      Soft.roundedUp = 0;
      return indefinite;
    }
    if (inexact) Soft.flags |= Exception.precision;
    Soft.roundedUp = up;
    return Soft.aSign ? -(<i64>magnitude) : <i64>magnitude;
  }

  /** Rounds the unpacked finite operand a to an integral value, in Soft.kind, sign, exponent, high (FRNDINT, ROUNDPD). */
  static toIntegral(): void {
    Soft.sign = Soft.aSign;
    Soft.kind = Kind.finite;
    Soft.exponent = Soft.aExponent;
    Soft.high = Soft.aSignificand;
    Soft.low = 0;
    if (Soft.aExponent >= 63) return;
    Wide.shiftRightJam(Soft.aSignificand, 0, 63 - Soft.aExponent);
    let magnitude = Wide.high;
    if (Wide.low == 0) return;
    Soft.flags |= Exception.precision;
    if (Round.increments(Wide.low, (magnitude & 1) != 0)) {
      Soft.roundedUp = 1;
      magnitude++;
    }
    if (magnitude == 0) {
      Soft.kind = Kind.zero;
      return;
    }
    const shift = <i32>clz(magnitude);
    Soft.high = magnitude << shift;
    Soft.exponent = 63 - shift;
  }
}
