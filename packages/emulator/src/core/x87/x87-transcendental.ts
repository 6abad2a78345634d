/**
 * F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS. SDM Vol. 1, 8.3.7-8.3.10; special operands after the
 * tables of each in Vol. 2. Results are rounded from about 120 good bits, so they are the correctly rounded ones; processors
 * may differ from them in the last bit. The precision control does not apply.
 */
import { Cpu_fsw } from '../generated/layout';
import { Extended, integerBit } from '../softfloat/softfloat-80';
import { Functions } from '../softfloat/softfloat-functions';
import { Constant, Num } from '../softfloat/softfloat-number';
import { Exception, Kind, Soft } from '../softfloat/softfloat-state';
import { Status, X87 } from './x87-state';

/** Rounds slot 0 and packs it. */
function finish(exact: bool): void {
  Soft.precision = 64;
  if (Num.high(0) == 0) {
    Extended.zero(Num.sign(0));
    return;
  }
  Num.toResult(0, exact);
  Soft.kind = Kind.finite;
  Extended.finish();
}

function invalid(): void {
  Soft.flags = (Soft.flags & ~Exception.denormal) | Exception.invalid;
  Extended.indefinite();
}

/** F2XM1: ST(0) = 2^ST(0) - 1 for -1 <= ST(0) <= 1. Beyond, the operand is returned (undefined in the manual). */
export function x87PowerMinusOne(cpu: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const a = X87.st(cpu, 0);
  const significand = load<u64>(a);
  const signExponent = <i32>load<u16>(a, 8);
  X87.enter(cpu);
  if (!Extended.special1(significand, signExponent)) {
    Extended.unpackA(significand, signExponent);
    powerMinusOne(significand, signExponent);
  }
  X87.complete(cpu, 0, 0);
}

function powerMinusOne(significand: u64, signExponent: i32): void {
  if (Soft.aKind == Kind.infinity) {
    if (Soft.aSign) Extended.set(integerBit, 0xbfff);
    else Extended.set(significand, signExponent);
    return;
  }
  if (Soft.aKind == Kind.zero) {
    Extended.set(significand, signExponent);
    return;
  }
  if (Soft.aExponent > 0 || (Soft.aExponent == 0 && Soft.aSignificand != integerBit)) {
    Soft.flags |= Exception.precision;
    Extended.set(significand, signExponent);
    return;
  }
  if (Soft.aExponent == 0) {
    Soft.flags |= Exception.precision;
    if (Soft.aSign) Extended.set(integerBit, 0xbffe);
    else Extended.set(integerBit, 0x3fff);
    return;
  }
  Num.set(0, Soft.aSign, Soft.aExponent, Soft.aSignificand, 0);
  Num.loadConstant(1, Constant.ln2);
  Num.multiply(0, 0, 1);
  Functions.expm1();
  finish(false);
}

/** FYL2X (plusOne = 0): ST(1) * log2(ST(0)); FYL2XP1: ST(1) * log2(ST(0) + 1). Result in ST(1), pop. */
export function x87Logarithm(cpu: i32, plusOne: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, 1)) {
    X87.underflowInto(cpu, 1, 1);
    return;
  }
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, 1);
  X87.enter(cpu);
  if (!Extended.special2(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8))) {
    Extended.unpackA(load<u64>(a), load<u16>(a, 8));
    Extended.unpackB(load<u64>(b), load<u16>(b, 8));
    if (plusOne) logarithmPlusOne(load<u64>(a), load<u16>(a, 8));
    else logarithm();
  }
  X87.complete(cpu, 1, 1);
}

/** Of the unpacked operands x = a, y = b. */
function logarithm(): void {
  if (Soft.aKind == Kind.zero) {
    if (Soft.bKind == Kind.zero) {
      invalid();
      return;
    }
    if (Soft.bKind == Kind.finite) Soft.flags = (Soft.flags & ~Exception.denormal) | Exception.divideByZero;
    Extended.infinity(Soft.bSign ^ 1);
    return;
  }
  if (Soft.aSign) {
    invalid();
    return;
  }
  if (Soft.aKind == Kind.infinity) {
    if (Soft.bKind == Kind.zero) invalid();
    else Extended.infinity(Soft.bSign);
    return;
  }
  const isOne = Soft.aExponent == 0 && Soft.aSignificand == integerBit;
  const below = i32(Soft.aExponent < 0);
  if (Soft.bKind == Kind.infinity) {
    if (isOne) invalid();
    else Extended.infinity(Soft.bSign ^ below);
    return;
  }
  if (Soft.bKind == Kind.zero || isOne) {
    Extended.zero(Soft.bSign ^ (isOne ? 0 : below));
    return;
  }
  const exact = Soft.aSignificand == integerBit;
  Functions.log2(Soft.aExponent, Soft.aSignificand);
  timesB(exact);
}

function logarithmPlusOne(significand: u64, signExponent: i32): void {
  if (Soft.aKind == Kind.infinity) {
    if (Soft.aSign || Soft.bKind == Kind.zero) invalid();
    else Extended.infinity(Soft.bSign);
    return;
  }
  if (Soft.bKind == Kind.infinity) {
    if (Soft.aKind == Kind.zero) invalid();
    else Extended.infinity(Soft.aSign ^ Soft.bSign);
    return;
  }
  if (Soft.aKind == Kind.zero || Soft.bKind == Kind.zero) {
    Extended.zero(Soft.aSign ^ Soft.bSign);
    return;
  }
  Num.set(0, Soft.aSign, Soft.aExponent, Soft.aSignificand, 0);
  // Small arguments as they are; others through 1 + x, which a Num holds with enough bits.
  if (Soft.aExponent < -2) {
    Functions.log2OnePlus();
  } else {
    Num.fromInteger(1, 1);
    Num.add(0, 0, 1);
    if (Num.high(0) == 0 || Num.sign(0)) {
      // x <= -1: undefined in the manual; this is what AMD's processors do.
      Soft.flags |= Exception.precision;
      Extended.set(significand, signExponent);
      return;
    }
    logarithmOfSlot();
  }
  timesB(false);
}

/** slot 0 = log2(slot 0) for a Num with more than 64 bits. */
function logarithmOfSlot(): void {
  let power = Num.exponent(0);
  Num.scale(0, -power);
  if (Num.high(0) > 0xb504_f333_f9de_6484) {
    power++;
    Num.scale(0, -1);
  }
  Num.fromInteger(1, -1);
  Num.add(0, 0, 1);
  if (Num.high(0) != 0) Functions.log2OnePlus();
  Num.fromInteger(1, power);
  Num.add(0, 0, 1);
}

/** Result y * slot 0. */
function timesB(exact: bool): void {
  Num.set(1, Soft.bSign, Soft.bExponent, Soft.bSignificand, 0);
  Num.multiply(0, 0, 1);
  finish(exact);
  // Reported as inexact even when the logarithm is an integer; and what is inexact and tiny underflows.
  Soft.flags |= Exception.precision;
  if ((Soft.signExponent & 0x7fff) == 0 && Soft.significand != 0) Soft.flags |= Exception.underflow;
}

/** FPATAN: arctangent of ST(1) / ST(0) with the quadrant of the point (ST(0), ST(1)). Result in ST(1), pop. */
export function x87Arctangent(cpu: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, 1)) {
    X87.underflowInto(cpu, 1, 1);
    return;
  }
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, 1);
  X87.enter(cpu);
  if (!Extended.special2(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8))) {
    Extended.unpackA(load<u64>(a), load<u16>(a, 8));
    Extended.unpackB(load<u64>(b), load<u16>(b, 8));
    arctangent();
  }
  X87.complete(cpu, 1, 1);
}

/** Angle of the unpacked point (x = a, y = b). */
function arctangent(): void {
  const xKind = Soft.aKind;
  const yKind = Soft.bKind;
  const sign = Soft.bSign;
  if (yKind == Kind.zero || (xKind == Kind.infinity && yKind != Kind.infinity)) {
    // On the x axis: 0 or pi.
    if (Soft.aSign) multipleOfPi(sign, 1, 0);
    else Extended.zero(sign);
    return;
  }
  if (xKind == Kind.infinity) {
    multipleOfPi(sign, Soft.aSign ? 3 : 1, -2);
    return;
  }
  if (yKind == Kind.infinity || xKind == Kind.zero) {
    multipleOfPi(sign, 1, -1);
    return;
  }
  const steep =
    Soft.bExponent > Soft.aExponent ||
    (Soft.bExponent == Soft.aExponent && Soft.bSignificand > Soft.aSignificand);
  Num.set(7, 0, Soft.aExponent, Soft.aSignificand, 0);
  Num.set(8, 0, Soft.bExponent, Soft.bSignificand, 0);
  if (steep) Num.divide(0, 7, 8);
  else Num.divide(0, 8, 7);
  // A quotient that is exact: its arctangent is not, except in the limit of tiny results.
  Functions.arctangent();
  if (steep) {
    // pi / 2 - angle, or with a negative x pi / 2 + angle
    if (!Soft.aSign) Num.negate(0);
    Num.loadConstant(1, Constant.pi);
    Num.scale(1, -1);
    Num.add(0, 0, 1);
  } else if (Soft.aSign) {
    Num.negate(0);
    Num.loadConstant(1, Constant.pi);
    Num.add(0, 0, 1);
  }
  if (sign) Num.negate(0);
  finish(false);
}

/** (-1)^sign * factor * pi * 2^power. */
function multipleOfPi(sign: i32, factor: i32, power: i32): void {
  Num.loadConstant(0, Constant.pi);
  Num.fromInteger(1, factor);
  Num.multiply(0, 0, 1);
  Num.scale(0, power);
  if (sign) Num.negate(0);
  finish(false);
}

/** Sets or clears C2: the operand was out of range (2^63 and beyond) and is left as it is. */
function setIncomplete(cpu: i32, incomplete: bool): void {
  const status = load<i32>(cpu + Cpu_fsw) & ~Status.c2;
  store<i32>(cpu + Cpu_fsw, incomplete ? (status & ~Status.c1) | Status.c2 : status);
}

/** The unpacked operand is finite and too large. */
function outOfRange(): bool {
  return Soft.aKind == Kind.finite && Soft.aExponent >= 63;
}

/** FSIN (cosine = 0) and FCOS (cosine = 1). */
export function x87Sine(cpu: i32, cosine: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    setIncomplete(cpu, false);
    return;
  }
  const a = X87.st(cpu, 0);
  X87.enter(cpu);
  if (!Extended.special1(load<u64>(a), load<u16>(a, 8))) {
    Extended.unpackA(load<u64>(a), load<u16>(a, 8));
    if (outOfRange()) {
      setIncomplete(cpu, true);
      return;
    }
    sine(cosine);
  }
  setIncomplete(cpu, false);
  X87.complete(cpu, 0, 0);
}

/** Packs sin or cos of the unpacked operand. */
function sine(cosine: i32): void {
  if (Soft.aKind == Kind.infinity) {
    invalid();
  } else if (Soft.aKind == Kind.zero) {
    if (cosine) Extended.set(integerBit, 0x3fff);
    else Extended.zero(Soft.aSign);
  } else {
    const octant = Functions.reduceAngle(Soft.aExponent, Soft.aSignificand);
    Functions.sine(octant, Soft.aSign, cosine);
    finish(false);
  }
}

/** FSINCOS: ST(0) = sin, then push of cos. */
export function x87SineCosine(cpu: i32): void {
  if (pushUnderflows(cpu)) return;
  const a = X87.st(cpu, 0);
  const significand = load<u64>(a);
  const signExponent = <i32>load<u16>(a, 8);
  X87.enter(cpu);
  if (Extended.special1(significand, signExponent)) {
    finishPair(cpu, Soft.significand, Soft.signExponent);
    return;
  }
  Extended.unpackA(significand, signExponent);
  if (outOfRange()) {
    setIncomplete(cpu, true);
    return;
  }
  sine(0);
  const sineSignificand = Soft.significand;
  const sineSignExponent = Soft.signExponent;
  sine(1);
  const cosineSignificand = Soft.significand;
  const cosineSignExponent = Soft.signExponent;
  Extended.set(sineSignificand, sineSignExponent);
  finishPair(cpu, cosineSignificand, cosineSignExponent);
}

/** FPTAN: ST(0) = tan, then push of 1.0 (of the NaN for a NaN). */
export function x87Tangent(cpu: i32): void {
  if (pushUnderflows(cpu)) return;
  const a = X87.st(cpu, 0);
  const significand = load<u64>(a);
  const signExponent = <i32>load<u16>(a, 8);
  X87.enter(cpu);
  if (Extended.special1(significand, signExponent)) {
    finishPair(cpu, Soft.significand, Soft.signExponent);
    return;
  }
  Extended.unpackA(significand, signExponent);
  if (outOfRange()) {
    setIncomplete(cpu, true);
    return;
  }
  if (Soft.aKind == Kind.infinity) {
    invalid();
    finishPair(cpu, Soft.significand, Soft.signExponent);
    return;
  }
  if (Soft.aKind == Kind.zero) {
    Extended.zero(Soft.aSign);
  } else {
    const octant = Functions.reduceAngle(Soft.aExponent, Soft.aSignificand);
    Functions.sine(octant, Soft.aSign, 0);
    Num.copy(7, 0);
    Functions.sine(octant, Soft.aSign, 1);
    Num.copy(8, 0);
    Num.divide(0, 7, 8);
    finish(false);
  }
  finishPair(cpu, integerBit, 0x3fff);
}

/** Stack underflow and overflow of an instruction that replaces ST(0) and pushes. */
function pushUnderflows(cpu: i32): bool {
  const empty = X87.isEmpty(cpu, 0);
  if (!empty && X87.isEmpty(cpu, 7)) return false;
  if (X87.stackFault(cpu, empty ? 0 : Status.c1)) {
    X87.writeFull(cpu, 0);
    X87.push(cpu);
  }
  setIncomplete(cpu, false);
  return true;
}

/** Flags, the packed result to ST(0), and a push of the second one, unless refused. */
function finishPair(cpu: i32, significand: u64, signExponent: i32): void {
  setIncomplete(cpu, false);
  X87.leave(cpu);
  if (X87.refused()) return;
  X87.write(cpu, 0);
  Extended.set(significand, signExponent);
  X87.push(cpu);
}
