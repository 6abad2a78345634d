/**
 * x87 loads and stores, BCD, the remainder instructions. SDM Vol. 1, 8.3.3, 4.7 (BCD); Vol. 2 for each.
 * Stores to memory take a linear address that the caller has probed for writing: they change the state first.
 */
import { Cpu_fsw } from '../generated/layout';
import { writeLinear16, writeLinear32, writeLinear64, writeLinear8 } from '../memory/memory';
import { Extended, integerBit } from '../softfloat/softfloat-80';
import { Convert } from '../softfloat/softfloat-convert';
import { Exception, Kind, Rounding, Soft } from '../softfloat/softfloat-state';
import { Wide } from '../softfloat/softfloat-wide';
import { Quick } from './x87-quick';
import { Status, X87 } from './x87-state';

/** FLD ST(index). */
export function x87LoadRegister(cpu: i32, index: i32): void {
  if (X87.isEmpty(cpu, index)) {
    if (X87.underflow(cpu)) X87.push(cpu);
    return;
  }
  if (X87.overflows(cpu)) return;
  const source = X87.st(cpu, index);
  Extended.set(load<u64>(source), load<u16>(source, 8));
  X87.clearC1(cpu);
  X87.push(cpu);
}

export function x87LoadSingle(cpu: i32, bits: i32): void {
  if (X87.overflows(cpu)) return;
  X87.enter(cpu);
  Convert.fromSingle(bits, true);
  X87.completePush(cpu);
}

export function x87LoadDouble(cpu: i32, bits: i64): void {
  if (X87.overflows(cpu)) return;
  const exponent = (<i32>(bits >> 52)) & 0x7ff;
  if (<u32>(exponent - 1) < 0x7fe) {
    // A normal number: no exception is possible.
    Extended.set(((<u64>bits) << 11) | integerBit, ((<i32>(bits >> 48)) & 0x8000) | (exponent + 15360));
    X87.clearC1(cpu);
    X87.push(cpu);
    return;
  }
  X87.enter(cpu);
  Convert.fromDouble(bits, true);
  X87.completePush(cpu);
}

export function x87LoadExtended(cpu: i32, significand: i64, signExponent: i32): void {
  if (X87.overflows(cpu)) return;
  Extended.set(significand, signExponent & 0xffff);
  X87.clearC1(cpu);
  X87.push(cpu);
}

export function x87LoadInteger(cpu: i32, value: i64): void {
  if (X87.overflows(cpu)) return;
  Convert.fromInteger(value);
  X87.clearC1(cpu);
  X87.push(cpu);
}

/** FLD1 FLDL2T FLDL2E FLDPI FLDLG2 FLDLN2 FLDZ are 0 to 6 (D9 E8-EE). Rounded by the rounding control. */
export function x87LoadConstant(cpu: i32, index: i32): void {
  if (X87.overflows(cpu)) return;
  X87.enter(cpu);
  const down = Soft.rounding == Rounding.down || Soft.rounding == Rounding.zero;
  if (index == 0) Extended.set(integerBit, 0x3fff);
  else if (index == 1) Extended.set(0xd49a_784b_cd1b_8afe + u64(Soft.rounding == Rounding.up), 0x4000);
  else if (index == 2) Extended.set(0xb8aa_3b29_5c17_f0bc - u64(down), 0x3fff);
  else if (index == 3) Extended.set(0xc90f_daa2_2168_c235 - u64(down), 0x4000);
  else if (index == 4) Extended.set(0x9a20_9a84_fbcf_f799 - u64(down), 0x3ffd);
  else if (index == 5) Extended.set(0xb172_17f7_d1cf_79ac - u64(down), 0x3ffe);
  else Extended.zero(0);
  X87.completePush(cpu);
}

/** FST(P) ST(index). */
export function x87StoreRegister(cpu: i32, index: i32, pops: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, index, pops);
    return;
  }
  const source = X87.st(cpu, 0);
  Extended.set(load<u64>(source), load<u16>(source, 8));
  X87.clearC1(cpu);
  X87.writeFull(cpu, index);
  if (pops) X87.pop(cpu);
}

/** FST(P) m32fp at the linear address. */
export function x87StoreSingle(cpu: i32, address: i64, pops: i32): void {
  let bits: u32 = 0xffc0_0000;
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
  } else {
    const source = X87.st(cpu, 0);
    X87.enter(cpu);
    bits = Convert.toSingle(load<u64>(source), load<u16>(source, 8));
    if (storeRefused(cpu)) return;
  }
  writeLinear32(cpu, address, bits);
  if (pops) X87.pop(cpu);
}

/** FST(P) m64fp. */
export function x87StoreDouble(cpu: i32, address: i64, pops: i32): void {
  let bits: u64 = 0xfff8_0000_0000_0000;
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
  } else {
    const source = X87.st(cpu, 0);
    X87.enter(cpu);
    bits = Convert.toDouble(load<u64>(source), load<u16>(source, 8));
    if (storeRefused(cpu)) return;
  }
  writeLinear64(cpu, address, bits);
  if (pops) X87.pop(cpu);
}

/** ST(0) as FST m32 stores it while all exceptions are masked, with its flags; it is not popped. */
export function x87RoundSingle(cpu: i32): i32 {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflow(cpu);
    return 0xffc0_0000;
  }
  const source = X87.st(cpu, 0);
  const quick = Quick.narrow(cpu, load<u64>(source), load<u16>(source, 8), 24, 127);
  if (quick != Quick.none) return <i32>quick;
  X87.enter(cpu);
  const bits = Convert.toSingle(load<u64>(source), load<u16>(source, 8));
  X87.leave(cpu);
  return bits;
}

/** ST(0) as FST m64 stores it. */
export function x87RoundDouble(cpu: i32): i64 {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflow(cpu);
    return 0xfff8_0000_0000_0000;
  }
  const source = X87.st(cpu, 0);
  const quick = Quick.narrow(cpu, load<u64>(source), load<u16>(source, 8), 53, 1023);
  if (quick != Quick.none) return quick;
  X87.enter(cpu);
  const bits = Convert.toDouble(load<u64>(source), load<u16>(source, 8));
  X87.leave(cpu);
  return bits;
}

/** Flags of a store to memory; an unmasked invalid, overflow or underflow stores nothing. */
function storeRefused(cpu: i32): bool {
  const stops = Exception.before | Exception.overflow | Exception.underflow;
  const refused = (Soft.flags & stops & ~Soft.masks) != 0;
  // An unmasked overflow or underflow is reported before rounding.
  if (refused) Soft.flags &= ~Exception.precision;
  X87.leave(cpu);
  return refused;
}

/** FSTP m80fp. */
export function x87StoreExtended(cpu: i32, address: i64): void {
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
  } else {
    const source = X87.st(cpu, 0);
    Extended.set(load<u64>(source), load<u16>(source, 8));
    X87.clearC1(cpu);
  }
  writeLinear64(cpu, address, Soft.significand);
  writeLinear16(cpu, address + 8, Soft.signExponent);
  X87.pop(cpu);
}

/** FIST(P) and, with `truncates`, FISTTP of 2, 4 or 8 bytes. */
export function x87StoreInteger(cpu: i32, address: i64, bytes: i32, pops: i32, truncates: i32): void {
  const bits = bytes << 3;
  let value: i64 = <i64>((<u64>0xffff_ffff_ffff_ffff) << (bits - 1));
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
  } else {
    const source = X87.st(cpu, 0);
    X87.enter(cpu);
    if (truncates) Soft.rounding = Rounding.zero;
    value = Convert.toInteger(load<u64>(source), load<u16>(source, 8), bits);
    if (storeRefused(cpu)) return;
  }
  if (bytes == 8) writeLinear64(cpu, address, value);
  else if (bytes == 4) writeLinear32(cpu, address, <i32>value);
  else writeLinear16(cpu, address, <i32>value);
  if (pops) X87.pop(cpu);
}

/** FBLD: 18 packed digits in `low` and the first byte of `high`, sign in bit 15 of `high`. */
export function x87LoadBcd(cpu: i32, low: i64, high: i32): void {
  if (X87.overflows(cpu)) return;
  let value: i64 = (high >> 4) & 15;
  value = value * 10 + (high & 15);
  for (let shift: i64 = 60; shift >= 0; shift -= 4) value = value * 10 + ((low >> shift) & 15);
  Convert.fromInteger(value);
  if (high & 0x8000) Soft.signExponent |= 0x8000;
  X87.clearC1(cpu);
  X87.push(cpu);
}

/** FBSTP. */
export function x87StoreBcd(cpu: i32, address: i64): void {
  let low: u64 = 0xc000_0000_0000_0000;
  let high = 0xffff;
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
  } else {
    const source = X87.st(cpu, 0);
    X87.enter(cpu);
    const sign = load<u16>(source, 8) & 0x8000;
    const value = Convert.toInteger(load<u64>(source), load<u16>(source, 8), 64);
    let magnitude = value < 0 ? 0 - <u64>value : <u64>value;
    if (magnitude > 999_999_999_999_999_999) {
      Soft.flags = Exception.invalid;
      Soft.roundedUp = 0;
    }
    if (!(Soft.flags & Exception.invalid)) {
      low = 0;
      for (let shift: u64 = 0; shift < 64; shift += 4) {
        low |= (magnitude % 10) << shift;
        magnitude /= 10;
      }
      high = sign | (<i32>(magnitude % 10)) | ((<i32>(magnitude / 10)) << 4);
    }
    if (storeRefused(cpu)) return;
  }
  writeLinear64(cpu, address, low);
  writeLinear8(cpu, address + 8, high & 0xff);
  writeLinear8(cpu, address + 9, high >> 8);
  X87.pop(cpu);
}

/** FPREM (nearest = 0: quotient truncated) and FPREM1 (nearest = 1: IEEE remainder). */
export function x87Remainder(cpu: i32, nearest: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, 1)) {
    X87.underflowInto(cpu, 0, 0);
    store<i32>(cpu + Cpu_fsw, load<i32>(cpu + Cpu_fsw) & ~Status.c2);
    return;
  }
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, 1);
  X87.enter(cpu);
  const conditions = remainder(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8), nearest != 0);
  X87.leave(cpu);
  if (conditions < 0 || X87.refused()) store<i32>(cpu + Cpu_fsw, load<i32>(cpu + Cpu_fsw) & ~Status.c2);
  if (X87.refused()) return;
  X87.write(cpu, 0);
  if (conditions >= 0) {
    store<i32>(cpu + Cpu_fsw, (load<i32>(cpu + Cpu_fsw) & ~Status.conditions) | conditions);
  }
}

/** Result as packed; returns C0-C3 in their places, or -1 when they are not set. */
function remainder(aSig: u64, aSe: i32, bSig: u64, bSe: i32, nearest: bool): i32 {
  if (Extended.special2(aSig, aSe, bSig, bSe)) return -1;
  Extended.unpackA(aSig, aSe);
  Extended.unpackB(bSig, bSe);
  if (Soft.aKind == Kind.infinity || Soft.bKind == Kind.zero) {
    Soft.flags = Exception.invalid;
    Extended.indefinite();
    return -1;
  }
  if (Soft.aKind == Kind.zero || Soft.bKind == Kind.infinity) {
    Extended.set(aSig, aSe);
    if (Soft.aKind == Kind.finite) finishRemainder(Soft.aExponent, Soft.aSignificand, Soft.aSign);
    return 0;
  }
  const difference = Soft.aExponent - Soft.bExponent;
  if (difference >= 64) {
    // Partial: takes off between 32 and 63 bits (SDM: an implementation-dependent number; see reductionBits).
    const n = reductionBits(difference);
    const rest = modulo(Soft.aSignificand, Soft.bSignificand, n);
    finishRemainder(Soft.bExponent + difference - n, rest, Soft.aSign);
    return Status.c2;
  }
  return completeRemainder(difference, nearest);
}

/** How many bits of the quotient one partial step produces: leaves the exponent difference below D by a multiple of 32. */
function reductionBits(difference: i32): i32 {
  return (difference & 31) | 32;
}

/** significand * 2^bits mod divisor (both normalized); the low word of the quotient is left in Wide.low. 0 <= bits < 64. */
function modulo(significand: u64, divisor: u64, bits: i32): u64 {
  let rest = significand;
  let first: u64 = 0;
  if (rest >= divisor) {
    rest -= divisor;
    first = 1;
  }
  if (bits == 0) {
    Wide.low = first;
    return rest;
  }
  // rest * 2^bits as high:low
  const quotient = Wide.divide(rest >> (64 - bits), rest << bits, divisor);
  Wide.low = quotient + (first << bits);
  return Wide.high;
}

function completeRemainder(difference: i32, nearest: bool): i32 {
  let sign = Soft.aSign;
  let rest: u64;
  let quotient: u64 = 0;
  let exponent = Soft.bExponent;
  const divisor = Soft.bSignificand;
  if (difference < 0) {
    rest = Soft.aSignificand;
    exponent = Soft.aExponent;
    // |a| < |b|: quotient 0, or 1 when nearest and |a| > |b| / 2.
    if (nearest && difference == -1 && rest > divisor) {
      // b - a with both at the exponent of a: 2 * divisor - rest, at most 64 bits since rest > divisor.
      rest = (divisor << 1) - rest;
      quotient = 1;
      sign ^= 1;
    }
  } else {
    rest = modulo(Soft.aSignificand, divisor, difference);
    quotient = Wide.low;
    if (nearest) {
      const other = divisor - rest;
      if (rest > other || (rest == other && (quotient & 1) != 0)) {
        rest = other;
        quotient++;
        sign ^= 1;
      }
    }
  }
  if (rest == 0) Extended.zero(Soft.aSign);
  else finishRemainder(exponent, rest, sign);
  const q = <i32>quotient;
  return ((q & 4) << 6) | ((q & 1) << 9) | ((q & 2) << 13);
}

/** Packs rest * 2^(exponent - 63). It is exact, but may be denormal. */
function finishRemainder(exponent: i32, rest: u64, sign: i32): void {
  if (rest == 0) {
    Extended.zero(sign);
    return;
  }
  const shift = <i32>clz(rest);
  Soft.kind = Kind.finite;
  Soft.sign = sign;
  Soft.exponent = exponent - shift;
  Soft.high = rest << shift;
  Soft.low = 0;
  Soft.precision = 64;
  Extended.finish();
}

/** FSTPNCE (D9 D8+i): as FSTP ST(index), but an empty ST(0) is moved without an exception. */
export function x87StoreWithoutCheck(cpu: i32, index: i32): void {
  if (!X87.isEmpty(cpu, 0)) {
    x87StoreRegister(cpu, index, 1);
    return;
  }
  X87.clearC1(cpu);
  X87.pop(cpu);
}

/** FFREE, and with `pops` FFREEP. */
export function x87Free(cpu: i32, index: i32, pops: i32): void {
  store<u8>(X87.tag(cpu, index), 1);
  X87.clearC1(cpu);
  if (pops) X87.pop(cpu);
}

/** FDECSTP, FINCSTP, and FNOP with a change of 0. */
export function x87MoveTop(cpu: i32, change: i32): void {
  if (change == 0) return;
  X87.setTop(cpu, change);
  X87.clearC1(cpu);
}
