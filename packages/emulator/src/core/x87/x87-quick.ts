/**
 * x87 arithmetic where everything is as usual: all exceptions masked, rounding to nearest with 64 bits of precision, normal
 * operands, a normal result. Then only PE and C1 can change (SDM Vol. 1, 8.1.5, 8.5.6), and values stay in locals. Every
 * function answers false, with nothing changed, when something is not as usual: the exact path must do it.
 */
import { Cpu_fcw, Cpu_fsw } from '../generated/layout';
import { Wide } from '../softfloat/softfloat-wide';
import { Status } from './x87-state';

/** Masks, precision and rounding control of the control word. */
const controlMask: i32 = 0xf3f;
const usualControl: i32 = 0x33f;
const maskBits: i32 = 0x3f;
const precisionFlag: i32 = 0x20;
const top: u64 = 0x8000_0000_0000_0000;
const bias: i32 = 16383;

export class Quick {
  static isUsual(cpu: i32): bool {
    return (load<i32>(cpu, Cpu_fcw) & controlMask) == usualControl;
  }

  /** With any rounding and precision. */
  static allMasked(cpu: i32): bool {
    return (load<i32>(cpu, Cpu_fcw) & maskBits) == maskBits;
  }

  static isNormal(significand: u64, signExponent: i32): bool {
    return <i64>significand < 0 && <u32>((signExponent & 0x7fff) - 1) < 0x7ffe;
  }

  /** Sets PE when `tail` is not 0, and C1 when the magnitude was rounded up. */
  // @ts-expect-error: AssemblyScript allows decorators of methods
  @inline
  static setStatus(cpu: i32, tail: u64, up: u64): void {
    const status = load<i32>(cpu, Cpu_fsw) & ~Status.c1;
    store<i32>(cpu, status | (tail != 0 ? precisionFlag : 0) | ((<i32>up) << 9), Cpu_fsw);
  }

  /** Rounds high:low (bit 63 of high set) to nearest and stores it; `sign` is bit 15. */
  // @ts-expect-error: AssemblyScript allows decorators of methods
  @inline
  static finish(cpu: i32, target: i32, sign: i32, exponent: i32, high: u64, low: u64): bool {
    const up = u64(low > top) | (u64(low == top) & high);
    const rounds = up & 1;
    let rounded = high + rounds;
    if (rounded < high) {
      rounded = top;
      exponent++;
    }
    if (<u32>(exponent - 1) >= 0x7ffe) return false;
    Quick.setStatus(cpu, low, rounds);
    store<u64>(target, rounded);
    store<u64>(target, <u64>(sign | exponent), 8);
    return true;
  }

  static multiply(cpu: i32, target: i32, aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    if (!Quick.isNormal(aSig, aSe) || !Quick.isNormal(bSig, bSe)) return false;
    let exponent = (aSe & 0x7fff) + (bSe & 0x7fff) - bias + 1;
    const a0 = aSig & 0xffff_ffff;
    const a1 = aSig >> 32;
    const b0 = bSig & 0xffff_ffff;
    const b1 = bSig >> 32;
    const p00 = a0 * b0;
    const p01 = a0 * b1;
    const p10 = a1 * b0;
    const middle = (p00 >> 32) + (p01 & 0xffff_ffff) + (p10 & 0xffff_ffff);
    let high = a1 * b1 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
    let low = (middle << 32) | (p00 & 0xffff_ffff);
    if (<i64>high >= 0) {
      high = (high << 1) | (low >> 63);
      low <<= 1;
      exponent--;
    }
    return Quick.finish(cpu, target, (aSe ^ bSe) & 0x8000, exponent, high, low);
  }

  /** a + b; subtractions come with the sign of b changed. */
  static add(cpu: i32, target: i32, aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    if (!Quick.isNormal(aSig, aSe) || !Quick.isNormal(bSig, bSe)) return false;
    let difference = (aSe & 0x7fff) - (bSe & 0x7fff);
    if (difference < 0 || (difference == 0 && aSig < bSig)) {
      const sig = aSig;
      const se = aSe;
      aSig = bSig;
      aSe = bSe;
      bSig = sig;
      bSe = se;
      difference = -difference;
    }
    if (difference > 63) return false;
    let exponent = aSe & 0x7fff;
    const smaller = bSig >> difference;
    let low = difference == 0 ? 0 : bSig << (64 - difference);
    let high: u64;
    if (((aSe ^ bSe) & 0x8000) == 0) {
      high = aSig + smaller;
      if (high < aSig) {
        low = (high << 63) | (low >> 1) | (low & 1);
        high = (high >> 1) | top;
        exponent++;
      }
    } else {
      high = aSig - smaller - u64(low != 0);
      low = 0 - low;
      if (<i64>high >= 0) {
        if (high == 0) {
          // Equal magnitudes give 0; else 64 bits or more have gone.
          if (low != 0) return false;
          Quick.setStatus(cpu, 0, 0);
          store<u64>(target, 0);
          store<u64>(target, 0, 8);
          return true;
        }
        const shift = <i32>clz(high);
        high = (high << shift) | (low >> (64 - shift));
        low <<= shift;
        exponent -= shift;
      }
    }
    return Quick.finish(cpu, target, aSe & 0x8000, exponent, high, low);
  }

  static divide(cpu: i32, target: i32, aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    if (!Quick.isNormal(aSig, aSe) || !Quick.isNormal(bSig, bSe)) return false;
    let exponent = (aSe & 0x7fff) - (bSe & 0x7fff) + bias;
    let low: u64 = 0;
    if (aSig >= bSig) {
      low = aSig << 63;
      aSig >>= 1;
    } else {
      exponent--;
    }
    const quotient = Wide.divide(aSig, low, bSig);
    // The next bit is 1 when 2 * remainder >= divisor.
    const remainder = Wide.high;
    const rest = bSig - remainder;
    const tail = remainder >= rest ? top | u64(remainder != rest) : u64(remainder != 0);
    return Quick.finish(cpu, target, (aSe ^ bSe) & 0x8000, exponent, quotient, tail);
  }

  /** Operations as encoded in the reg field of D8. */
  static compute(cpu: i32, operation: i32, target: i32, aSig: u64, aSe: i32, bSig: u64, bSe: i32): bool {
    if (!Quick.isUsual(cpu)) return false;
    if (operation == 0) return Quick.add(cpu, target, aSig, aSe, bSig, bSe);
    if (operation == 1) return Quick.multiply(cpu, target, aSig, aSe, bSig, bSe);
    if (operation == 4) return Quick.add(cpu, target, aSig, aSe, bSig, bSe ^ 0x8000);
    if (operation == 5) return Quick.add(cpu, target, aSig, aSe ^ 0x8000, bSig, bSe);
    if (operation == 6) return Quick.divide(cpu, target, aSig, aSe, bSig, bSe);
    return Quick.divide(cpu, target, bSig, bSe, aSig, aSe);
  }

  /** No result of `narrow`: a NaN, which it never gives. */
  static readonly none: i64 = -1;

  /** A normal number rounded to a normal single (24, 127) or double (53, 1023), with PE and C1; else `none`. */
  // @ts-expect-error: AssemblyScript allows decorators of methods
  @inline
  static narrow(cpu: i32, significand: u64, signExponent: i32, precision: i32, range: i32): i64 {
    const exponent = (signExponent & 0x7fff) - bias + range;
    // One below the highest, so that a carry still fits.
    if (<u32>(exponent - 1) >= <u32>(2 * range - 1) || <i64>significand >= 0 || !Quick.isUsual(cpu))
      return Quick.none;
    const tail = significand << precision;
    const kept = significand >> (64 - precision);
    const rounds = (u64(tail > top) | (u64(tail == top) & kept)) & 1;
    Quick.setStatus(cpu, tail, rounds);
    // The integer bit of `kept`, or its carry, adds to the exponent.
    const magnitude = ((<u64>(exponent - 1)) << (precision - 1)) + kept + rounds;
    const sign = (<u64>(signExponent >> 15)) << (precision == 24 ? 31 : 63);
    return <i64>(sign | magnitude);
  }

  /** Comparison of normal numbers as Extended.compare gives it; -1 when one is not normal. */
  static compare(aSig: u64, aSe: i32, bSig: u64, bSe: i32): i32 {
    if (!Quick.isNormal(aSig, aSe) || !Quick.isNormal(bSig, bSe)) return -1;
    if (aSe == bSe) {
      if (aSig == bSig) return 0x40;
      return i32(aSig < bSig) ^ (aSe >> 15);
    }
    if ((aSe ^ bSe) & 0x8000) return aSe >> 15;
    return i32(aSe < bSe) ^ (aSe >> 15);
  }
}
