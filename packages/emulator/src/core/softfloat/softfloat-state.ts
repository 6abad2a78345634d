/**
 * The working registers of the software floating point. They carry values between the functions of one
 * instruction only (AssemblyScript has no multiple results); nothing in them outlives an instruction.
 *
 * An unpacked finite number is (-1)^sign * significand * 2^(exponent - 63), with bit 63 of the significand set.
 */

/** What an unpacked operand or an unrounded result is. */
export class Kind {
  static readonly zero: i32 = 0;
  static readonly finite: i32 = 1;
  static readonly infinity: i32 = 2;
  static readonly quietNan: i32 = 3;
  static readonly signalingNan: i32 = 4;
  /** An 80-bit encoding the processor refuses (unnormal, pseudo-NaN, pseudo-infinity); as a result: invalid operation. */
  static readonly invalid: i32 = 5;
}

/** Exception flags; the same places in the x87 status word and in MXCSR. Masks are the same bits, set = masked. */
export class Exception {
  static readonly invalid: i32 = 1;
  static readonly denormal: i32 = 2;
  static readonly divideByZero: i32 = 4;
  static readonly overflow: i32 = 8;
  static readonly underflow: i32 = 16;
  static readonly precision: i32 = 32;
  static readonly all: i32 = 63;
  /** Those found before computing: when one of them is unmasked, there is no result. */
  static readonly before: i32 = 7;
}

/** Rounding control, as encoded in FCW and MXCSR. */
export class Rounding {
  static readonly nearest: i32 = 0;
  static readonly down: i32 = 1;
  static readonly up: i32 = 2;
  static readonly zero: i32 = 3;
}

export class Soft {
  /** Environment of the instruction. */
  static rounding: i32 = 0;
  /** Bits of precision of x87 results: 24, 53 or 64. */
  static precision: i32 = 64;
  static masks: i32 = 63;
  static denormalsAreZero: i32 = 0;
  static flushToZero: i32 = 0;

  /** What happened: Exception bits, and whether the last rounding increased the magnitude (x87 C1). */
  static flags: i32 = 0;
  static roundedUp: i32 = 0;

  /** Unpacked operands. */
  static aKind: i32 = 0;
  static aSign: i32 = 0;
  static aExponent: i32 = 0;
  static aSignificand: u64 = 0;
  static bKind: i32 = 0;
  static bSign: i32 = 0;
  static bExponent: i32 = 0;
  static bSignificand: u64 = 0;

  /** Unrounded, then rounded result: high:low is a 128-bit significand, bit 0 of low is sticky. */
  static kind: i32 = 0;
  static sign: i32 = 0;
  static exponent: i32 = 0;
  static high: u64 = 0;
  static low: u64 = 0;

  /** A packed 80-bit result: significand, and sign with exponent. */
  static significand: u64 = 0;
  static signExponent: i32 = 0;
}
