/** 128-bit integers in pairs of u64. Results of two words are left in Wide.high and Wide.low. */

export class Wide {
  static high: u64 = 0;
  static low: u64 = 0;

  /** a * b. */
  static multiply(a: u64, b: u64): void {
    const a0 = a & 0xffff_ffff;
    const a1 = a >> 32;
    const b0 = b & 0xffff_ffff;
    const b1 = b >> 32;
    const p00 = a0 * b0;
    const p01 = a0 * b1;
    const p10 = a1 * b0;
    const middle = (p00 >> 32) + (p01 & 0xffff_ffff) + (p10 & 0xffff_ffff);
    Wide.high = a1 * b1 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
    Wide.low = (middle << 32) | (p00 & 0xffff_ffff);
  }

  /** The upper word of a * b. */
  static multiplyHigh(a: u64, b: u64): u64 {
    const a0 = a & 0xffff_ffff;
    const a1 = a >> 32;
    const b0 = b & 0xffff_ffff;
    const b1 = b >> 32;
    const p01 = a0 * b1;
    const p10 = a1 * b0;
    const middle = ((a0 * b0) >> 32) + (p01 & 0xffff_ffff) + (p10 & 0xffff_ffff);
    return a1 * b1 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
  }

  /** high:low >> count with every bit that falls out kept in bit 0; count >= 0. */
  static shiftRightJam(high: u64, low: u64, count: i32): void {
    if (count == 0) {
      Wide.high = high;
      Wide.low = low;
    } else if (count < 64) {
      const lost = low << (64 - count);
      Wide.high = high >> count;
      Wide.low = (high << (64 - count)) | (low >> count) | u64(lost != 0);
    } else if (count < 128) {
      const n = count - 64;
      const lost = n == 0 ? low : (high << (64 - n)) | low;
      Wide.high = 0;
      Wide.low = (high >> n) | u64(lost != 0);
    } else {
      Wide.high = 0;
      Wide.low = u64((high | low) != 0);
    }
  }

  /** high:low << count, 0 <= count < 128. */
  static shiftLeft(high: u64, low: u64, count: i32): void {
    if (count == 0) {
      Wide.high = high;
      Wide.low = low;
    } else if (count < 64) {
      Wide.high = (high << count) | (low >> (64 - count));
      Wide.low = low << count;
    } else {
      Wide.high = low << (count - 64);
      Wide.low = 0;
    }
  }

  /**
   * Quotient of high:low / divisor; divisor has bit 63 set and high < divisor. The remainder is left in Wide.high.
   * Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D with 32-bit digits.
   */
  static divide(high: u64, low: u64, divisor: u64): u64 {
    const d1 = divisor >> 32;
    const d0 = divisor & 0xffff_ffff;
    let remainder = high;
    let quotient: u64 = 0;
    for (let digit = 0; digit < 2; digit++) {
      const next = digit == 0 ? low >> 32 : low & 0xffff_ffff;
      let q = remainder / d1;
      let rest = remainder - q * d1;
      while (q > 0xffff_ffff || q * d0 > ((rest << 32) | next)) {
        q--;
        rest += d1;
        if (rest > 0xffff_ffff) break;
      }
      remainder = ((remainder << 32) | next) - q * divisor;
      quotient = (quotient << 32) | q;
    }
    Wide.high = remainder;
    return quotient;
  }
}
