/**
 * Raising guest faults. The fault is described in the vCPU block; throwFault unwinds through core and handlers to
 * the run loop, so nothing after a raise… call is executed.
 */
import {
  Cpu_externalBit,
  Cpu_faultAddress,
  Cpu_faultErrorCode,
  Cpu_faultHasErrorCode,
  Cpu_faultVector,
  Cpu_segments,
  Segment_ss,
  Vector_db,
  Vector_gp,
  Vector_pf,
  Vector_ss,
  segmentBytes,
} from '../generated/layout';

/** Import "fault.throwFault": throws the exception tag. */
export declare function throwFault(): void;

/** Cpu.faultVector of an access that must be repeated with Cpu.exact set, because it reaches a device. */
export const retryVector: i32 = -2;

/** Raises an exception without an error code. */
export function raise(cpu: i32, vector: i32): void {
  store<i32>(cpu, vector, Cpu_faultVector);
  store<i32>(cpu, 0, Cpu_faultErrorCode);
  store<i32>(cpu, 0, Cpu_faultHasErrorCode);
  throwFault();
}

/** Raises #TS, #NP, #SS, #GP (or #AC, #DF) with an error code; EXT is added while an external event is delivered. */
export function raiseError(cpu: i32, vector: i32, code: i32): void {
  store<i32>(cpu, vector, Cpu_faultVector);
  store<i32>(cpu, (code & 0xffff) | load<i32>(cpu, Cpu_externalBit), Cpu_faultErrorCode);
  store<i32>(cpu, 1, Cpu_faultHasErrorCode);
  throwFault();
}

/** Raises #PF; CR2 is loaded when the fault is recorded. */
export function raisePageFault(cpu: i32, linearAddress: i64, code: i32): void {
  store<i32>(cpu, Vector_pf, Cpu_faultVector);
  store<i32>(cpu, code, Cpu_faultErrorCode);
  store<i32>(cpu, 1, Cpu_faultHasErrorCode);
  store<i64>(cpu, linearAddress, Cpu_faultAddress);
  throwFault();
}

/** Raises #DB; the DR6 bits are set when it is recorded. */
export function raiseDebug(cpu: i32, dr6Bits: i32): void {
  store<i64>(cpu, dr6Bits, Cpu_faultAddress);
  raise(cpu, Vector_db);
}

export function generalProtection(cpu: i32, code: i32): void {
  raiseError(cpu, Vector_gp, code);
}

/** A limit or type violation of a memory operand: #SS(0) in the stack segment, #GP(0) elsewhere. */
export function segmentFault(cpu: i32, segmentOffset: i32): void {
  raiseError(cpu, segmentOffset == Cpu_segments + Segment_ss * segmentBytes ? Vector_ss : Vector_gp, 0);
}

/** A non-canonical address in 64-bit mode: #SS(0) for the stack segment, #GP(0) elsewhere. */
export function canonicalFault(cpu: i32, segmentOffset: i32): void {
  segmentFault(cpu, segmentOffset);
}

/** Gives up an access that reaches a device in the middle of a block. */
export function retryExactly(cpu: i32): void {
  store<i32>(cpu, retryVector, Cpu_faultVector);
  throwFault();
}
