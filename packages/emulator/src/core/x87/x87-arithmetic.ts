/** x87 arithmetic, comparison and the one-operand instructions. SDM Vol. 1, 8.3; Vol. 2 for each. */
import { Cpu_flagAux, Cpu_flagResult, Cpu_fsw } from '../generated/layout';
import { Extended, integerBit, quietBit } from '../softfloat/softfloat-80';
import { Convert } from '../softfloat/softfloat-convert';
import { Exception, Kind, Soft } from '../softfloat/softfloat-state';
import { Quick } from './x87-quick';
import { Status, X87 } from './x87-state';

/** Operations as encoded in the reg field of D8, DC and DE. */
class Operation {
  static readonly add: i32 = 0;
  static readonly multiply: i32 = 1;
  static readonly subtract: i32 = 4;
  static readonly subtractReversed: i32 = 5;
  static readonly divide: i32 = 6;
}

/** a op b into Soft.significand and signExponent. */
function compute(operation: i32, aSig: u64, aSe: i32, bSig: u64, bSe: i32): void {
  if (operation == Operation.add) Extended.add(aSig, aSe, bSig, bSe, 0);
  else if (operation == Operation.multiply) Extended.multiply(aSig, aSe, bSig, bSe);
  else if (operation == Operation.subtract) Extended.add(aSig, aSe, bSig, bSe, 1);
  else if (operation == Operation.subtractReversed) Extended.add(bSig, bSe, aSig, aSe, 1);
  else if (operation == Operation.divide) Extended.divide(aSig, aSe, bSig, bSe);
  else Extended.divide(bSig, bSe, aSig, aSe);
}

/** ST(destination) = ST(destination) op ST(source), then `pops` pops. `operation` is the reg field: 0 1 4 5 6 7. */
export function x87ArithmeticRegister(
  cpu: i32,
  operation: i32,
  destination: i32,
  source: i32,
  pops: i32,
): void {
  if (X87.isEmpty(cpu, destination) || X87.isEmpty(cpu, source)) {
    X87.underflowInto(cpu, destination, pops);
    return;
  }
  const a = X87.st(cpu, destination);
  const b = X87.st(cpu, source);
  if (Quick.compute(cpu, operation, a, load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8))) {
    if (pops) X87.pop(cpu);
    return;
  }
  X87.enter(cpu);
  compute(operation, load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8));
  X87.complete(cpu, destination, pops);
}

/** ST(0) = ST(0) op the packed operand in Soft.significand, signExponent. */
function arithmeticOperand(cpu: i32, operation: i32): void {
  const a = X87.st(cpu, 0);
  compute(operation, load<u64>(a), load<u16>(a, 8), Soft.significand, Soft.signExponent);
  X87.complete(cpu, 0, 0);
}

/** ST(0) = ST(0) op m32fp. */
export function x87ArithmeticSingle(cpu: i32, operation: i32, bits: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const exponent = (bits >> 23) & 0xff;
  if (<u32>(exponent - 1) < 0xfe) {
    const a = X87.st(cpu, 0);
    const sig = ((<u64>bits) << 40) | integerBit;
    const se = ((bits >> 16) & 0x8000) | (exponent + 16256);
    if (Quick.compute(cpu, operation, a, load<u64>(a), load<u16>(a, 8), sig, se)) return;
  }
  X87.enter(cpu);
  Convert.fromSingle(bits, false);
  forgetDenormalBesideNan(cpu);
  arithmeticOperand(cpu, operation);
}

/** ST(0) = ST(0) op m64fp. */
export function x87ArithmeticDouble(cpu: i32, operation: i32, bits: i64): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const exponent = (<i32>(bits >> 52)) & 0x7ff;
  if (<u32>(exponent - 1) < 0x7fe) {
    const a = X87.st(cpu, 0);
    const sig = ((<u64>bits) << 11) | integerBit;
    const se = ((<i32>(bits >> 48)) & 0x8000) | (exponent + 15360);
    if (Quick.compute(cpu, operation, a, load<u64>(a), load<u16>(a, 8), sig, se)) return;
  }
  X87.enter(cpu);
  Convert.fromDouble(bits, false);
  forgetDenormalBesideNan(cpu);
  arithmeticOperand(cpu, operation);
}

/** A denormal memory operand is not reported when ST(0) is a NaN or no number. */
function forgetDenormalBesideNan(cpu: i32): void {
  const a = X87.st(cpu, 0);
  if (Extended.kindOf(load<u64>(a), load<u16>(a, 8)) >= Kind.quietNan) Soft.flags = 0;
}

/** ST(0) = ST(0) op m16int or m32int (sign-extended). */
export function x87ArithmeticInteger(cpu: i32, operation: i32, value: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  X87.enter(cpu);
  Convert.fromInteger(value);
  arithmeticOperand(cpu, operation);
}

/** Sets C0-C3 from a comparison (C1 = 0), also with an unmasked exception; pops unless refused. */
function completeCompare(cpu: i32, conditions: i32, pops: i32): void {
  Soft.roundedUp = 0;
  X87.leave(cpu);
  setConditions(cpu, conditions);
  if (X87.refused()) return;
  for (let i = 0; i < pops; i++) X87.pop(cpu);
}

/** C0, C2 and C3 from `conditions` << 8; C1 = 0. */
function setConditions(cpu: i32, conditions: i32): void {
  const status = load<i32>(cpu + Cpu_fsw) & ~Status.conditions;
  store<i32>(cpu + Cpu_fsw, status | (conditions << 8));
}

/** An empty register compares as unordered. */
function compareUnderflow(cpu: i32, pops: i32): void {
  const masked = X87.underflow(cpu);
  setConditions(cpu, 0x45);
  if (!masked) return;
  for (let i = 0; i < pops; i++) X87.pop(cpu);
}

/** FCOM, FCOMP, FCOMPP, and with `quiet` FUCOM…: ST(0) with ST(source). */
export function x87CompareRegister(cpu: i32, source: i32, pops: i32, quiet: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, source)) {
    compareUnderflow(cpu, pops);
    return;
  }
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, source);
  const quick = Quick.compare(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8));
  if (quick >= 0) {
    setConditions(cpu, quick);
    for (let i = 0; i < pops; i++) X87.pop(cpu);
    return;
  }
  X87.enter(cpu);
  const conditions = Extended.compare(
    load<u64>(a),
    load<u16>(a, 8),
    load<u64>(b),
    load<u16>(b, 8),
    quiet != 0,
  );
  completeCompare(cpu, conditions, pops);
}

function compareOperand(cpu: i32, pops: i32): void {
  const a = X87.st(cpu, 0);
  const conditions = Extended.compare(
    load<u64>(a),
    load<u16>(a, 8),
    Soft.significand,
    Soft.signExponent,
    false,
  );
  completeCompare(cpu, conditions, pops);
}

/** FCOM(P) m32fp. */
export function x87CompareSingle(cpu: i32, bits: i32, pops: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    compareUnderflow(cpu, pops);
    return;
  }
  X87.enter(cpu);
  Convert.fromSingle(bits, false);
  forgetDenormalBesideNan(cpu);
  compareOperand(cpu, pops);
}

/** FCOM(P) m64fp. */
export function x87CompareDouble(cpu: i32, bits: i64, pops: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    compareUnderflow(cpu, pops);
    return;
  }
  X87.enter(cpu);
  Convert.fromDouble(bits, false);
  forgetDenormalBesideNan(cpu);
  compareOperand(cpu, pops);
}

/** FICOM(P). */
export function x87CompareInteger(cpu: i32, value: i32, pops: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    compareUnderflow(cpu, pops);
    return;
  }
  X87.enter(cpu);
  Convert.fromInteger(value);
  compareOperand(cpu, pops);
}

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP: to ZF PF CF; OF SF AF become 0, and C1 (SDM Vol. 2, FCOMI; AMD's processors keep it). */
export function x87CompareFlags(cpu: i32, source: i32, pops: i32, quiet: i32): void {
  let conditions = 0x45;
  let refused: bool;
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, source)) {
    refused = !X87.underflow(cpu);
  } else {
    const a = X87.st(cpu, 0);
    const b = X87.st(cpu, source);
    const quick = Quick.compare(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8));
    if (quick >= 0) {
      X87.clearC1(cpu);
      setZeroParityCarry(cpu, quick);
      if (pops) X87.pop(cpu);
      return;
    }
    X87.enter(cpu);
    conditions = Extended.compare(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8), quiet != 0);
    refused = X87.refused();
    X87.leave(cpu);
  }
  setZeroParityCarry(cpu, conditions);
  if (refused) return;
  for (let i = 0; i < pops; i++) X87.pop(cpu);
}

/** EFLAGS from C3 (ZF), C2 (PF), C0 (CF) at bits 6, 2, 0, in the lazy form of cpu/flags.ts. */
export function setZeroParityCarry(cpu: i32, conditions: i32): void {
  const zero = (conditions >> 6) & 1;
  const parity = (conditions >> 2) & 1;
  store<i64>(cpu + Cpu_flagResult, zero ? 0 : 1);
  // A result of 0 has PF = 1, a result of 1 has PF = 0: bit 16 makes up for the difference.
  store<i32>(cpu + Cpu_flagAux, (conditions & 1) | ((parity ^ zero) << 16));
}

/** FTST: ST(0) with +0. */
export function x87Test(cpu: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    compareUnderflow(cpu, 0);
    return;
  }
  X87.enter(cpu);
  Extended.zero(0);
  compareOperand(cpu, 0);
}

/** FXAM: class of ST(0) into C3 C2 C0, its sign into C1. */
export function x87Examine(cpu: i32): void {
  const a = X87.st(cpu, 0);
  const significand = load<u64>(a);
  const signExponent = <i32>load<u16>(a, 8);
  const kind = Extended.kindOf(significand, signExponent);
  let conditions = (signExponent >> 15) << 1;
  if (X87.isEmpty(cpu, 0)) conditions |= 0x41;
  else if (kind == Kind.zero) conditions |= 0x40;
  else if (kind == Kind.infinity) conditions |= 5;
  else if (kind == Kind.quietNan || kind == Kind.signalingNan) conditions |= 1;
  else if (kind == Kind.finite) conditions |= Extended.isDenormal(significand, signExponent) ? 0x44 : 4;
  setConditions(cpu, conditions);
}

/** FABS (mask 0x7fff, flip 0) and FCHS (mask 0xffff, flip 0x8000). */
export function x87Sign(cpu: i32, mask: i32, flip: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const a = X87.st(cpu, 0);
  store<u16>(a, (load<u16>(a, 8) & mask) ^ flip, 8);
  X87.clearC1(cpu);
}

/** FSQRT. */
export function x87SquareRoot(cpu: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const a = X87.st(cpu, 0);
  X87.enter(cpu);
  Extended.squareRoot(load<u64>(a), load<u16>(a, 8));
  X87.complete(cpu, 0, 0);
}

/** FRNDINT. */
export function x87RoundToInteger(cpu: i32): void {
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
    if (Soft.aKind == Kind.finite) {
      Convert.toIntegral();
      Extended.pack();
    } else {
      Extended.set(significand, signExponent);
    }
  }
  X87.complete(cpu, 0, 0);
}

/** FXCH ST(index). */
export function x87Exchange(cpu: i32, index: i32): void {
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, index);
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, index)) {
    if (!X87.underflow(cpu)) return;
    // Each empty register takes the indefinite, then they are exchanged.
    if (X87.isEmpty(cpu, 0)) X87.writeFull(cpu, 0);
    if (X87.isEmpty(cpu, index)) X87.writeFull(cpu, index);
  }
  const significand = load<u64>(a);
  const signExponent = load<u64>(a, 8);
  store<u64>(a, load<u64>(b));
  store<u64>(a, load<u64>(b, 8), 8);
  store<u64>(b, significand);
  store<u64>(b, signExponent, 8);
  X87.clearC1(cpu);
}

/** FCMOVcc: ST(0) = ST(index) when `condition`. */
export function x87ConditionalMove(cpu: i32, index: i32, condition: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, index)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  if (!condition) return;
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, index);
  store<u64>(a, load<u64>(b));
  store<u64>(a, load<u64>(b, 8), 8);
}

/** FXTRACT: ST(0) = exponent, then push of the significand. */
export function x87Extract(cpu: i32): void {
  if (X87.isEmpty(cpu, 0)) {
    if (!X87.underflow(cpu)) return;
    X87.writeFull(cpu, 0);
    X87.push(cpu);
    return;
  }
  if (!X87.isEmpty(cpu, 7)) {
    if (!X87.stackFault(cpu, Status.c1)) return;
    X87.writeFull(cpu, 0);
    X87.push(cpu);
    return;
  }
  const a = X87.st(cpu, 0);
  let significand = load<u64>(a);
  let signExponent = <i32>load<u16>(a, 8);
  X87.enter(cpu);
  if (Extended.special1(significand, signExponent)) {
    significand = Soft.significand;
    signExponent = Soft.signExponent;
  } else {
    Extended.unpackA(significand, signExponent);
    const sign = signExponent & 0x8000;
    if (Soft.aKind == Kind.zero) {
      Soft.flags |= Exception.divideByZero;
      Extended.infinity(1);
    } else if (Soft.aKind == Kind.infinity) {
      Extended.infinity(0);
    } else {
      Convert.fromInteger(Soft.aExponent);
      significand = Soft.aSignificand;
      signExponent = sign | 16383;
    }
  }
  X87.leave(cpu);
  if (X87.refused()) return;
  X87.write(cpu, 0);
  Extended.set(significand, signExponent);
  X87.push(cpu);
}

/** FSCALE: ST(0) = ST(0) * 2^trunc(ST(1)). */
export function x87Scale(cpu: i32): void {
  if (X87.isEmpty(cpu, 0) || X87.isEmpty(cpu, 1)) {
    X87.underflowInto(cpu, 0, 0);
    return;
  }
  const a = X87.st(cpu, 0);
  const b = X87.st(cpu, 1);
  X87.enter(cpu);
  scale(load<u64>(a), load<u16>(a, 8), load<u64>(b), load<u16>(b, 8));
  X87.complete(cpu, 0, 0);
}

function scale(aSig: u64, aSe: i32, bSig: u64, bSe: i32): void {
  if (Extended.special2(aSig, aSe, bSig, bSe)) return;
  Extended.unpackA(aSig, aSe);
  Extended.unpackB(bSig, bSe);
  if (Soft.bKind == Kind.infinity) {
    if (Soft.bSign) {
      // x * 2^-infinity = 0; infinity * 0 is invalid.
      if (Soft.aKind == Kind.infinity) invalid();
      else Extended.zero(Soft.aSign);
    } else {
      if (Soft.aKind == Kind.zero) invalid();
      else Extended.infinity(Soft.aSign);
    }
    return;
  }
  if (Soft.aKind != Kind.finite) {
    Extended.set(aSig, aSe);
    return;
  }
  let change = 0;
  if (Soft.bKind == Kind.finite && Soft.bExponent >= 0) {
    change = Soft.bExponent > 16 ? 0x1_ffff : <i32>(Soft.bSignificand >> (63 - Soft.bExponent));
    if (Soft.bSign) change = -change;
  }
  Soft.sign = Soft.aSign;
  Soft.kind = Kind.finite;
  Soft.exponent = Soft.aExponent + change;
  Soft.high = Soft.aSignificand;
  Soft.low = 0;
  // FSCALE ignores the precision control.
  Soft.precision = 64;
  Extended.finish();
}

function invalid(): void {
  Soft.flags = Exception.invalid;
  Extended.set(integerBit | quietBit, 0xffff);
}
