/**
 * Rounding of an unrounded result (Soft.sign, exponent, high:low) into a format.
 * SDM Vol. 1, 4.8.4 (rounding), 4.9.1.4-4.9.1.6 (overflow, underflow, inexact), 8.5 (x87), 11.5 (SSE).
 * Tininess is detected after rounding.
 */
import { Exception, Kind, Rounding, Soft } from './softfloat-state';
import { Wide } from './softfloat-wide';

/** What x87 adds to (subtracts from) the exponent of a result when underflow (overflow) is unmasked. */
const exponentWrap = 24576;

export class Round {
  /** Rounds high:low to its upper `precision` bits; a carry out goes into the exponent. Returns 1 when inexact. */
  static toPrecision(precision: i32): i32 {
    const tail = precision == 64 ? Soft.low : (Soft.high << precision) | u64(Soft.low != 0);
    const ulp: u64 = 1 << (64 - precision);
    let kept = Soft.high & ~(ulp - 1);
    Soft.low = 0;
    Soft.roundedUp = 0;
    if (tail == 0) {
      Soft.high = kept;
      return 0;
    }
    if (Round.increments(tail, (kept & ulp) != 0)) {
      Soft.roundedUp = 1;
      kept += ulp;
      if (kept == 0) {
        kept = 0x8000_0000_0000_0000;
        Soft.exponent += 1;
      }
    }
    Soft.high = kept;
    return 1;
  }

  /** Whether a magnitude with this tail (a fraction of 2^64, not 0) and this last kept bit is to be rounded up. */
  static increments(tail: u64, odd: bool): bool {
    if (Soft.rounding == Rounding.nearest) {
      return tail > 0x8000_0000_0000_0000 || (tail == 0x8000_0000_0000_0000 && odd);
    }
    if (Soft.rounding == Rounding.zero) return false;
    return (Soft.rounding == Rounding.up) == (Soft.sign == 0);
  }

  /** Whether rounding with an unbounded exponent would carry into the next exponent. */
  private static carries(precision: i32): bool {
    const ulp: u64 = 1 << (64 - precision);
    if ((Soft.high | (ulp - 1)) != 0xffff_ffff_ffff_ffff) return false;
    const tail = precision == 64 ? Soft.low : (Soft.high << precision) | u64(Soft.low != 0);
    return tail != 0 && Round.increments(tail, true);
  }

  /**
   * Rounds to a format of `precision` bits with exponents from `lowest` to `highest`, and sets the flags.
   * With `wraps` (x87 register results) an unmasked underflow or overflow yields the result with a wrapped exponent;
   * without, the result is of no use and the caller sees the flag.
   * Afterwards Soft.kind is finite, zero or infinity; a denormal result has bit 63 of Soft.high clear.
   */
  static toFormat(precision: i32, lowest: i32, highest: i32, wraps: bool): void {
    let inexact: i32;
    Soft.kind = Kind.finite;
    if (Soft.exponent < lowest) {
      const tiny = Soft.exponent < lowest - 1 || !Round.carries(precision);
      if (tiny && (Soft.masks & Exception.underflow) == 0) {
        Soft.flags |= Exception.underflow;
        if (wraps) Soft.exponent += exponentWrap;
        if (Round.toPrecision(precision)) Soft.flags |= Exception.precision;
        if (wraps && Soft.exponent < lowest) {
          // Only FSCALE gets so far down: 0, whatever the rounding.
          Soft.flags |= Exception.precision;
          Soft.kind = Kind.zero;
          Soft.roundedUp = 0;
        }
        return;
      }
      if (tiny && Soft.flushToZero) {
        Soft.flags |= Exception.underflow | Exception.precision;
        Soft.kind = Kind.zero;
        return;
      }
      Wide.shiftRightJam(Soft.high, Soft.low, lowest - Soft.exponent);
      Soft.high = Wide.high;
      Soft.low = Wide.low;
      Soft.exponent = lowest;
      inexact = Round.toPrecision(precision);
      if (inexact && tiny) Soft.flags |= Exception.underflow;
      if (Soft.high == 0) Soft.kind = Kind.zero;
    } else {
      inexact = Round.toPrecision(precision);
      if (Soft.exponent > highest) {
        Round.overflow(precision, highest, inexact, wraps);
        return;
      }
    }
    if (inexact) Soft.flags |= Exception.precision;
  }

  private static overflow(precision: i32, highest: i32, inexact: i32, wraps: bool): void {
    Soft.flags |= Exception.overflow;
    if ((Soft.masks & Exception.overflow) == 0) {
      if (wraps) Soft.exponent -= exponentWrap;
      if (inexact) Soft.flags |= Exception.precision;
      if (wraps && Soft.exponent > highest) {
        // Only FSCALE gets so far up: infinity, whatever the rounding.
        Soft.flags |= Exception.precision;
        Soft.kind = Kind.infinity;
        Soft.roundedUp = 1;
      }
      return;
    }
    Soft.flags |= Exception.precision;
    const toInfinity =
      Soft.rounding == Rounding.nearest ||
      (Soft.rounding != Rounding.zero && (Soft.rounding == Rounding.up) == (Soft.sign == 0));
    if (toInfinity) {
      Soft.kind = Kind.infinity;
      Soft.roundedUp = 1;
    } else {
      Soft.exponent = highest;
      Soft.high = ~((u64(1) << (64 - precision)) - 1);
      Soft.roundedUp = 0;
    }
  }
}
