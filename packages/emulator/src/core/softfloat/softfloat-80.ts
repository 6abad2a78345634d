/**
 * The double extended format: unpacking, packing and NaN rules. SDM Vol. 1, 4.2.2, 4.8.3.4-4.8.3.7 and table 4-7.
 * A value travels as significand (u64, explicit integer bit) and signExponent (bit 15 sign, bits 0-14 exponent).
 */
import { Arithmetic } from './softfloat-arithmetic';
import { Round } from './softfloat-round';
import { Exception, Kind, Soft } from './softfloat-state';

export const integerBit: u64 = 0x8000_0000_0000_0000;
export const quietBit: u64 = 0x4000_0000_0000_0000;
export const exponentBias: i32 = 16383;
const lowestExponent = -16382;
const highestExponent = 16383;

export class Extended {
  /** Kind of an encoding; denormals and pseudo-denormals count as finite. */
  static kindOf(significand: u64, signExponent: i32): i32 {
    const exponent = signExponent & 0x7fff;
    if (exponent == 0) return significand == 0 ? Kind.zero : Kind.finite;
    if (<i64>significand >= 0) return Kind.invalid;
    if (exponent != 0x7fff) return Kind.finite;
    if (significand == integerBit) return Kind.infinity;
    return significand & quietBit ? Kind.quietNan : Kind.signalingNan;
  }

  static isDenormal(significand: u64, signExponent: i32): bool {
    return (signExponent & 0x7fff) == 0 && significand != 0;
  }

  static unpackA(significand: u64, signExponent: i32): void {
    Soft.aKind = Extended.kindOf(significand, signExponent);
    Soft.aSign = (signExponent >> 15) & 1;
    let exponent = (signExponent & 0x7fff) - exponentBias;
    if (Soft.aKind == Kind.finite && exponent == -exponentBias) {
      const shift = <i32>clz(significand);
      exponent = lowestExponent - shift;
      significand <<= shift;
    }
    Soft.aExponent = exponent;
    Soft.aSignificand = significand;
  }

  static unpackB(significand: u64, signExponent: i32): void {
    Soft.bKind = Extended.kindOf(significand, signExponent);
    Soft.bSign = (signExponent >> 15) & 1;
    let exponent = (signExponent & 0x7fff) - exponentBias;
    if (Soft.bKind == Kind.finite && exponent == -exponentBias) {
      const shift = <i32>clz(significand);
      exponent = lowestExponent - shift;
      significand <<= shift;
    }
    Soft.bExponent = exponent;
    Soft.bSignificand = significand;
  }

  /** Unpacks both operands when they are normal numbers, the common case; else returns false. */
  static unpackNormal(aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    const aExponent = aSe & 0x7fff;
    const bExponent = bSe & 0x7fff;
    if (<i64>(aSig & bSig) >= 0 || <u32>(aExponent - 1) >= 0x7ffe || <u32>(bExponent - 1) >= 0x7ffe)
      return false;
    Soft.aKind = Kind.finite;
    Soft.aSign = (aSe >> 15) & 1;
    Soft.aExponent = aExponent - exponentBias;
    Soft.aSignificand = aSig;
    Soft.bKind = Kind.finite;
    Soft.bSign = (bSe >> 15) & 1;
    Soft.bExponent = bExponent - exponentBias;
    Soft.bSignificand = bSig;
    return true;
  }

  /** The real indefinite quiet NaN. */
  static indefinite(): void {
    Soft.significand = integerBit | quietBit;
    Soft.signExponent = 0xffff;
  }

  static infinity(sign: i32): void {
    Soft.significand = integerBit;
    Soft.signExponent = (sign << 15) | 0x7fff;
  }

  static zero(sign: i32): void {
    Soft.significand = 0;
    Soft.signExponent = sign << 15;
  }

  static set(significand: u64, signExponent: i32): void {
    Soft.significand = significand;
    Soft.signExponent = signExponent;
  }

  /** Rounds the unrounded result by precision and rounding control, and packs it. */
  static finish(): void {
    if (Soft.kind == Kind.finite) {
      Round.toFormat(Soft.precision, lowestExponent, highestExponent, true);
    } else if (Soft.kind == Kind.invalid) {
      Soft.flags |= Exception.invalid;
      Extended.indefinite();
      return;
    }
    Extended.pack();
  }

  /** Packs a rounded result. */
  static pack(): void {
    if (Soft.kind == Kind.finite) {
      const biased = <i64>Soft.high < 0 ? (Soft.exponent + exponentBias) & 0x7fff : 0;
      Soft.significand = Soft.high;
      Soft.signExponent = (Soft.sign << 15) | biased;
    } else if (Soft.kind == Kind.zero) {
      Extended.zero(Soft.sign);
    } else {
      Extended.infinity(Soft.sign);
    }
  }

  /**
   * Checks the operands of a two-operand operation. Returns true when the result is already known
   * (invalid encoding or a NaN), with flags set; else flags a denormal operand.
   */
  static special2(aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    const a = Extended.kindOf(aSig, aSe);
    const b = Extended.kindOf(bSig, bSe);
    if (max(a, b) >= Kind.quietNan) {
      if (a == Kind.invalid || b == Kind.invalid) {
        Soft.flags |= Exception.invalid;
        Extended.indefinite();
      } else {
        Extended.propagateNan(aSig, aSe, a, bSig, bSe, b);
      }
      return true;
    }
    if (Extended.isDenormal(aSig, aSe) || Extended.isDenormal(bSig, bSe)) Soft.flags |= Exception.denormal;
    return false;
  }

  /** The same for one operand. */
  static special1(sig: u64, se: i32): bool {
    const kind = Extended.kindOf(sig, se);
    if (kind >= Kind.quietNan) {
      if (kind == Kind.invalid) {
        Soft.flags |= Exception.invalid;
        Extended.indefinite();
      } else {
        if (kind == Kind.signalingNan) Soft.flags |= Exception.invalid;
        Extended.set(sig | quietBit, se);
      }
      return true;
    }
    if (Extended.isDenormal(sig, se)) Soft.flags |= Exception.denormal;
    return false;
  }

  /** SDM Vol. 1, table 4-7: rules for x87. */
  private static propagateNan(aSig: u64, aSe: i32, a: i32, bSig: u64, bSe: i32, b: i32): void {
    if (a == Kind.signalingNan || b == Kind.signalingNan) Soft.flags |= Exception.invalid;
    let first: bool;
    if (a < Kind.quietNan) first = false;
    else if (b < Kind.quietNan) first = true;
    else if (a != b) first = a == Kind.quietNan;
    else if (aSig != bSig) first = aSig > bSig;
    else first = (aSe & 0x8000) <= (bSe & 0x8000);
    if (first) Extended.set(aSig | quietBit, aSe);
    else Extended.set(bSig | quietBit, bSe);
  }

  static add(aSig: u64, aSe: i32, bSig: u64, bSe: i32, negate: i32): void {
    if (!Extended.unpackNormal(aSig, aSe, bSig, bSe)) {
      if (Extended.special2(aSig, aSe, bSig, bSe)) return;
      Extended.unpackA(aSig, aSe);
      Extended.unpackB(bSig, bSe);
    }
    Arithmetic.add(negate);
    Extended.finish();
  }

  static multiply(aSig: u64, aSe: i32, bSig: u64, bSe: i32): void {
    if (!Extended.unpackNormal(aSig, aSe, bSig, bSe)) {
      if (Extended.special2(aSig, aSe, bSig, bSe)) return;
      Extended.unpackA(aSig, aSe);
      Extended.unpackB(bSig, bSe);
    }
    Arithmetic.multiply();
    Extended.finish();
  }

  static divide(aSig: u64, aSe: i32, bSig: u64, bSe: i32): void {
    if (!Extended.unpackNormal(aSig, aSe, bSig, bSe)) {
      if (Extended.special2(aSig, aSe, bSig, bSe)) return;
      Extended.unpackA(aSig, aSe);
      Extended.unpackB(bSig, bSe);
    }
    Arithmetic.divide();
    // A division by zero is reported without the denormal operand.
    if (Soft.flags & Exception.divideByZero) Soft.flags &= ~Exception.denormal;
    Extended.finish();
  }

  static squareRoot(sig: u64, se: i32): void {
    if (Extended.special1(sig, se)) return;
    Extended.unpackA(sig, se);
    Arithmetic.squareRoot();
    // An invalid operand (negative) is not reported as denormal as well.
    if (Soft.kind == Kind.invalid) Soft.flags &= ~Exception.denormal;
    Extended.finish();
  }

  /** Result of a comparison: C0 = 1 (a < b), C3 = 0x40 (equal), C0 C2 C3 = 0x45 (unordered). */
  static compare(aSig: u64, aSe: i32, bSig: u64, bSe: i32, quiet: bool): i32 {
    const a = Extended.kindOf(aSig, aSe);
    const b = Extended.kindOf(bSig, bSe);
    const worst = max(a, b);
    if (worst >= Kind.quietNan) {
      if (!quiet || worst > Kind.quietNan) Soft.flags |= Exception.invalid;
      return 0x45;
    }
    if (Extended.isDenormal(aSig, aSe) || Extended.isDenormal(bSig, bSe)) Soft.flags |= Exception.denormal;
    if (a == Kind.zero && b == Kind.zero) return 0x40;
    const aSign = aSe & 0x8000;
    if (aSign != (bSe & 0x8000)) return aSign ? 1 : 0;
    // A pseudo-denormal has the value of exponent 1.
    const aExponent = max(aSe & 0x7fff, 1);
    const bExponent = max(bSe & 0x7fff, 1);
    if (aExponent == bExponent && aSig == bSig) return 0x40;
    const less = aExponent < bExponent || (aExponent == bExponent && aSig < bSig);
    return less == (aSign == 0) ? 1 : 0;
  }
}
