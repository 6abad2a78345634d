/**
 * Elementary functions on 128-bit numbers (slots of Num). Arguments and results are in slot 0 and, where said, 1;
 * slots 2 to 6 and 13 to 15 are used. The first term of a series is multiplied and added as a Num, which keeps its bits however small it is: that
 * decides where a result goes that is rounded up or down.
 */
import { Constant, Num } from './softfloat-number';
import { Series } from './softfloat-series';

/** Angle reduction: pi / 2 as the processors have it, 68 bits in units of 2^-67 (SDM Vol. 1, 8.3.8). */
const halfPiHigh: u64 = 0xc;
const halfPiLow: u64 = 0x90fd_aa22_168c_234c;

export class Functions {
  /** slot 0 = e^x - 1 for |x| < 1. */
  static expm1(): void {
    // x + x^2 (1/2! + x/3! + …)
    Series.exponential(2, 0, Num.sign(0) != 0);
    Num.multiply(2, 2, 0);
    Num.multiply(2, 2, 0);
    Num.add(0, 0, 2);
  }

  /**
   * slot 0 = 2 * atanh(z), or with `circular` atan(z), for z in slot 0, |z| <= 0.18.
   */
  static inverseTangent(circular: bool): void {
    // z + z^3 (1/3 + z^2/5 + …)
    Num.multiply(2, 0, 0);
    Series.inverse(3, 2, circular);
    Num.multiply(3, 3, 2);
    Num.multiply(3, 3, 0);
    if (circular) Num.negate(3);
    Num.add(0, 0, 3);
    if (!circular) Num.scale(0, 1);
  }

  /** slot 0 = log2(1 + x) of x in slot 0 with -0.3 < x < 0.42. */
  static log2OnePlus(): void {
    // ln(1 + x) = 2 atanh(x / (2 + x))
    Num.fromInteger(2, 2);
    Num.add(2, 2, 0);
    Num.divide(0, 0, 2);
    Functions.inverseTangent(false);
    Num.loadConstant(2, Constant.log2e);
    Num.multiply(0, 0, 2);
  }

  /** slot 0 = log2 of the positive number significand * 2^(exponent - 63). */
  static log2(exponent: i32, significand: u64): void {
    let power = exponent;
    let scaled = 0;
    // Mantissa between sqrt(1/2) and sqrt(2).
    if (significand > 0xb504_f333_f9de_6484) {
      power++;
      scaled = -1;
    }
    Num.set(0, 0, scaled, significand, 0);
    Num.fromInteger(1, -1);
    Num.add(0, 0, 1);
    if (Num.high(0) != 0) Functions.log2OnePlus();
    Num.fromInteger(1, power);
    Num.add(0, 0, 1);
  }

  /** slot 0 = atan of the number in slot 0, between 0 and 1. */
  static arctangent(): void {
    // atan(q) = atan(c) + atan((q - c) / (1 + q c)) with c = i / 8 next to q
    let index = 0;
    const exponent = Num.exponent(0);
    if (exponent >= -4) index = (<i32>((Num.high(0) >> (59 - exponent)) + 1)) >> 1;
    if (index > 0) {
      Num.fromInteger(5, index);
      Num.scale(5, -3);
      Num.multiply(6, 0, 5);
      Num.fromInteger(4, 1);
      Num.add(6, 6, 4);
      Num.negate(5);
      Num.add(0, 0, 5);
      Num.divide(0, 0, 6);
    }
    if (Num.high(0) != 0) Functions.inverseTangent(true);
    if (index > 0) {
      Num.loadConstant(1, Constant.arctangent + index - 1);
      Num.add(0, 0, 1);
    }
  }

  /** slot 0 = sin or cos (`even` = 1) of the angle in slot 6, at most pi / 4. Slot 6 stays. */
  static sineSeries(even: i32): void {
    if (even) Num.fromInteger(0, 1);
    else Num.copy(0, 6);
    if (Num.high(6) == 0) return;
    // x - x^3 (1/3! - x^2/5! + …), or 1 - x^2 (1/2! - x^2/4! + …)
    Num.multiply(2, 6, 6);
    Series.circular(3, 2, even);
    Num.multiply(3, 3, 2);
    if (!even) Num.multiply(3, 3, 6);
    Num.negate(3);
    Num.add(0, 0, 3);
  }

  /**
   * Reduces the positive angle significand * 2^(exponent - 63), exponent < 63, to slot 6 between 0 and pi / 4. Returns the
   * octant: the angle is octant * pi / 4 + slot 6 when even, (octant + 1) * pi / 4 - slot 6 when odd.
   */
  static reduceAngle(exponent: i32, significand: u64): i32 {
    if (exponent < -4) {
      Num.set(6, 0, exponent, significand, 0);
      return 0;
    }
    let high: u64 = 0;
    let low = significand;
    let quadrant = 0;
    // In units of 2^-67: significand * 2^(exponent + 4) modulo pi / 2, bit by bit.
    for (let i = exponent + 4; i > 0; i--) {
      high = (high << 1) | (low >> 63);
      low <<= 1;
      quadrant <<= 1;
      if (high > halfPiHigh || (high == halfPiHigh && low >= halfPiLow)) {
        high = high - halfPiHigh - u64(low < halfPiLow);
        low -= halfPiLow;
        quadrant |= 1;
      }
    }
    // The rest of pi / 2 is nearer when twice the angle exceeds it.
    let octant = (quadrant & 3) << 1;
    const twiceHigh = (high << 1) | (low >> 63);
    const twiceLow = low << 1;
    if (twiceHigh > halfPiHigh || (twiceHigh == halfPiHigh && twiceLow > halfPiLow)) {
      high = halfPiHigh - high - u64(halfPiLow < low);
      low = halfPiLow - low;
      octant++;
    }
    // Value (high:low) * 2^-67 with the binary point of Num behind bit 127.
    Num.setNormalized(6, 0, 60, high, low);
    return octant;
  }

  /** slot 0 = sin (`cosine` = 0) or cos of sign, octant and slot 6 from reduceAngle. */
  static sine(octant: i32, sign: i32, cosine: i32): void {
    const turned = octant + 1;
    // Octants 0 3 4 7 have the function itself, 1 2 5 6 the other one.
    const exchanged = (turned >> 1) & 1;
    Functions.sineSeries(cosine ^ exchanged);
    const negative = cosine ? i32(octant >= 2 && octant <= 5) : i32(octant >= 4) ^ sign;
    if (negative) Num.negate(0);
  }
}
