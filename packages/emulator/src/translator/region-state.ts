/** What the code of a region's instructions shares. */
import type { Local } from '../wasm/code.ts';
import type { I64 } from '../wasm/expr.ts';
import type { StraightLine } from './straight-line.ts';

/** Thrown while a semantic is emitted: this instruction must be executed by its interpreter handler. */
export class NotTranslatable extends Error {
  override readonly name = 'NotTranslatable';
}

const reasons = new Map<string, NotTranslatable>();

/** The one error of each reason: it is caught at once, and a stack trace would cost more than the translation. */
export function notTranslatable(reason: string): NotTranslatable {
  const error = reasons.get(reason) ?? new NotTranslatable(reason);
  reasons.set(reason, error);
  return error;
}

/** Locals of a region that stand for the state of the processor. */
export interface RegionState {
  cpu: Local<'i32'>;
  gpr: readonly Local<'i64'>[];
  flagResult: Local<'i64'>;
  flagAux: Local<'i32'>;
  /** The instruction budget that is left. */
  remaining: Local<'i64'>;
  ripPage: Local<'i64'>;
  tlbRead: Local<'i32'>;
  tlbWrite: Local<'i32'>;
  xmm: readonly Local<'v128'>[];
  /** Upper halves of the YMM registers; none in a region without VEX instructions. */
  upper: readonly Local<'v128'>[];
  straight: StraightLine;
  /** Notes that a general or XMM register is read or written (bit number). */
  used: {
    registers: number;
    written: number;
    flags: boolean;
    vectors: number;
    vectorsWritten: number;
    uppers: number;
    uppersWritten: number;
  };
}

/** Where control can go from an instruction. */
export interface RegionExits {
  /** Leaves the region before this instruction; the interpreter goes on with its record. */
  bail(): void;
  /** The relative operand's target, or the instruction behind. */
  relative(taken: boolean, target: I64): void;
  /** An offset in CS known only at run time. */
  indirect(target: I64): void;
  /** Executes the instruction by its interpreter handler; code goes on behind it. */
  callout(): void;
}
