/**
 * Arithmetic on unpacked operands (Soft.a*, Soft.b*: zero, finite or infinity) into an unrounded result
 * (Soft.kind, sign, exponent, high:low). The same for all formats; NaNs never come here.
 * Kind.invalid as a result means an invalid operation.
 */
import { Exception, Kind, Rounding, Soft } from './softfloat-state';
import { Wide } from './softfloat-wide';

const two31: f64 = 2147483648.0;
const two63: f64 = two31 * two31 * 2.0;
const two64: f64 = two63 * 2.0;

export class Arithmetic {
  /** a + b, or a - b when `negate` is 1. */
  static add(negate: i32): void {
    const bSign = Soft.bSign ^ negate;
    Soft.sign = Soft.aSign;
    if (Soft.aKind == Kind.infinity) {
      Soft.kind = Soft.bKind == Kind.infinity && Soft.aSign != bSign ? Kind.invalid : Kind.infinity;
      return;
    }
    if (Soft.bKind == Kind.infinity) {
      Soft.kind = Kind.infinity;
      Soft.sign = bSign;
      return;
    }
    if (Soft.bKind == Kind.zero) {
      if (Soft.aKind == Kind.zero) {
        Soft.kind = Kind.zero;
        if (Soft.aSign != bSign) Soft.sign = i32(Soft.rounding == Rounding.down);
        return;
      }
      Arithmetic.exact(Soft.aExponent, Soft.aSignificand);
      return;
    }
    if (Soft.aKind == Kind.zero) {
      Soft.sign = bSign;
      Arithmetic.exact(Soft.bExponent, Soft.bSignificand);
      return;
    }
    Soft.kind = Kind.finite;
    if (Soft.aSign == bSign) Arithmetic.addMagnitudes();
    else Arithmetic.subtractMagnitudes(bSign);
  }

  /** A finite result that needs no more bits than a significand. */
  static exact(exponent: i32, significand: u64): void {
    Soft.kind = Kind.finite;
    Soft.exponent = exponent;
    Soft.high = significand;
    Soft.low = 0;
  }

  private static addMagnitudes(): void {
    const difference = Soft.aExponent - Soft.bExponent;
    let larger = Soft.aSignificand;
    Soft.exponent = Soft.aExponent;
    if (difference >= 0) {
      Wide.shiftRightJam(Soft.bSignificand, 0, difference);
    } else {
      larger = Soft.bSignificand;
      Soft.exponent = Soft.bExponent;
      Wide.shiftRightJam(Soft.aSignificand, 0, -difference);
    }
    const sum = larger + Wide.high;
    if (sum < larger) {
      Soft.low = (sum << 63) | (Wide.low >> 1) | (Wide.low & 1);
      Soft.high = (sum >> 1) | 0x8000_0000_0000_0000;
      Soft.exponent += 1;
    } else {
      Soft.high = sum;
      Soft.low = Wide.low;
    }
  }

  private static subtractMagnitudes(bSign: i32): void {
    let difference = Soft.aExponent - Soft.bExponent;
    if (difference == 0 && Soft.aSignificand == Soft.bSignificand) {
      Soft.kind = Kind.zero;
      Soft.sign = i32(Soft.rounding == Rounding.down);
      return;
    }
    let larger = Soft.aSignificand;
    let smaller = Soft.bSignificand;
    Soft.exponent = Soft.aExponent;
    if (difference < 0 || (difference == 0 && larger < smaller)) {
      larger = Soft.bSignificand;
      smaller = Soft.aSignificand;
      Soft.exponent = Soft.bExponent;
      Soft.sign = bSign;
      difference = -difference;
    }
    Wide.shiftRightJam(smaller, 0, difference);
    const low = 0 - Wide.low;
    const high = larger - Wide.high - u64(Wide.low != 0);
    Arithmetic.normalize(high, low);
  }

  /** Shifts high:low (not 0) left until bit 63 of the high word is set. */
  static normalize(high: u64, low: u64): void {
    const shift = high != 0 ? <i32>clz(high) : 64 + <i32>clz(low);
    Wide.shiftLeft(high, low, shift);
    Soft.high = Wide.high;
    Soft.low = Wide.low;
    Soft.exponent -= shift;
  }

  static multiply(): void {
    Soft.sign = Soft.aSign ^ Soft.bSign;
    if (Soft.aKind == Kind.infinity || Soft.bKind == Kind.infinity) {
      Soft.kind = Soft.aKind == Kind.zero || Soft.bKind == Kind.zero ? Kind.invalid : Kind.infinity;
      return;
    }
    if (Soft.aKind == Kind.zero || Soft.bKind == Kind.zero) {
      Soft.kind = Kind.zero;
      return;
    }
    Soft.kind = Kind.finite;
    Soft.exponent = Soft.aExponent + Soft.bExponent + 1;
    Wide.multiply(Soft.aSignificand, Soft.bSignificand);
    if (<i64>Wide.high < 0) {
      Soft.high = Wide.high;
      Soft.low = Wide.low;
    } else {
      Soft.exponent -= 1;
      Soft.high = (Wide.high << 1) | (Wide.low >> 63);
      Soft.low = Wide.low << 1;
    }
  }

  /** a / b; sets the divide-by-zero flag for a finite a. */
  static divide(): void {
    Soft.sign = Soft.aSign ^ Soft.bSign;
    if (Soft.aKind == Kind.infinity) {
      Soft.kind = Soft.bKind == Kind.infinity ? Kind.invalid : Kind.infinity;
      return;
    }
    if (Soft.bKind == Kind.infinity) {
      Soft.kind = Kind.zero;
      return;
    }
    if (Soft.bKind == Kind.zero) {
      if (Soft.aKind == Kind.zero) {
        Soft.kind = Kind.invalid;
      } else {
        Soft.flags |= Exception.divideByZero;
        Soft.kind = Kind.infinity;
      }
      return;
    }
    if (Soft.aKind == Kind.zero) {
      Soft.kind = Kind.zero;
      return;
    }
    Arithmetic.divideMagnitudes();
  }

  private static divideMagnitudes(): void {
    const divisor = Soft.bSignificand;
    let high = Soft.aSignificand;
    let low: u64 = 0;
    Soft.kind = Kind.finite;
    Soft.exponent = Soft.aExponent - Soft.bExponent;
    if (high >= divisor) {
      low = high << 63;
      high >>= 1;
    } else {
      Soft.exponent -= 1;
    }
    Soft.high = Wide.divide(high, low, divisor);
    const remainder = Wide.high;
    // The next bit is 1 when 2 * remainder >= divisor.
    const rest = divisor - remainder;
    Soft.low = remainder >= rest ? 0x8000_0000_0000_0000 | u64(remainder != rest) : u64(remainder != 0);
  }

  /** The square root of a. */
  static squareRoot(): void {
    Soft.sign = Soft.aSign;
    if (Soft.aKind == Kind.zero) {
      Soft.kind = Kind.zero;
      return;
    }
    if (Soft.aSign) {
      Soft.kind = Kind.invalid;
      return;
    }
    if (Soft.aKind == Kind.infinity) {
      Soft.kind = Kind.infinity;
      return;
    }
    Soft.kind = Kind.finite;
    Soft.exponent = Soft.aExponent >> 1;
    // Radicand in [2^126, 2^128), root in [2^63, 2^64).
    const odd = Soft.aExponent & 1;
    const high = odd ? Soft.aSignificand : Soft.aSignificand >> 1;
    const low: u64 = odd ? 0 : Soft.aSignificand << 63;
    Arithmetic.integerRoot(high, low);
  }

  /** floor(sqrt(high:low)) into Soft.high, with the next bit and the sticky bit in Soft.low. */
  private static integerRoot(high: u64, low: u64): void {
    // 2^31 <= sqrt(high) <= 2^32, so that the estimate without its last bit fits 63 bits.
    const estimate = sqrt<f64>(<f64>high) * two31;
    let root: u64 = estimate >= two63 ? u64.MAX_VALUE : (<u64>estimate) << 1;
    // One Newton step: the remainder fits in about 78 bits, so its upper bits in an f64 suffice.
    Wide.multiply(root, root);
    let restLow = low - Wide.low;
    let restHigh = high - Wide.high - u64(low < Wide.low);
    const rest = <f64>(<i64>restHigh) * two64 + <f64>restLow;
    const step = <i64>floor<f64>(rest / (2.0 * <f64>root));
    if (step > 0 && root + <u64>step < root) root = 0xffff_ffff_ffff_ffff;
    else root += <u64>step;
    let change: i32;
    do {
      Wide.multiply(root, root);
      restLow = low - Wide.low;
      restHigh = high - Wide.high - u64(low < Wide.low);
      // The remainder is at least 0 and at most 2 * root, which is at least 2^64.
      if (<i64>restHigh < 0) change = -1;
      else change = i32(restHigh > 1 || (restHigh == 1 && restLow > root << 1));
      root += <u64>change;
    } while (change != 0);
    Soft.high = root;
    // (root + 1/2)^2 = root^2 + root + 1/4: the next bit is 1 when the remainder exceeds root. A tie can't be.
    if (restHigh != 0 || restLow > root) Soft.low = 0xc000_0000_0000_0000;
    else Soft.low = u64(restLow != 0);
  }
}
