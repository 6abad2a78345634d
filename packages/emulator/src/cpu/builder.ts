/**
 * What the semantics of an instruction are written against. A semantic function is run once per handler (row, operand
 * size, form) and emits code through `b`. It never knows where its operands come from: the interpreter's builder reads
 * them from a predecoded record, the translator's from constants and locals.
 *
 *   const add: Semantics = (b) => {
 *     const a = b.modify(0);              // operand 0, to be written back
 *     const c = b.read(1);
 *     const r = b.let(x.add(a, c));
 *     b.write(0, r);                      // may fault only if read or modify did not
 *     b.flags.add(a, c, r);
 *   };
 *
 * Values: integer operands are i32 (zero-extended) up to 4 bytes and i64 for 8; XMM operands are v128 through
 * readVector/writeVector. Expressions are used once; `let` binds one that is needed again.
 * Order: everything that can fault comes before the first change of state that survives: `modify` and `probeWrite` raise the faults of a write
 * beforehand, and `jumpRelative(true, change)` runs `change` (CALL's push, LOOP's count) when the target has been found to be good.
 */
import type { Code, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr, F32, F64, I32, I64, Int, V128, WasmType } from '../wasm/expr.ts';
import { callExpr } from '../wasm/code.ts';
import type { FunctionRef } from '../wasm/code.ts';
import type { CoreFunctionName } from './core-functions.ts';
import { FlagBuilder } from './flag-builder.ts';
import { Cpu, ModeKey, Segment, Vector, segmentBytes, upperHalf } from './layout.ts';
import { operandBytes } from './table/row.ts';
import type { Row } from './table/row.ts';

/** Segment a stack access goes through. */
export const stackSegment = Cpu.segments + Segment.ss * segmentBytes;

/** What a linear address was made with: only stack accesses raise #SS when it is not canonical. */
export type AccessThrough = 'stack' | 'operand' | 'segment';

const zero = (): V128 => x.v128(new Array<number>(16).fill(0));

export type CoreFunctionRefs = Record<CoreFunctionName, FunctionRef>;

export abstract class InstructionBuilder {
  readonly code: Code;
  readonly row: Row;
  /** Operand size of this instance: 1, 2, 4 or 8 bytes, of vectors 16 or 32. */
  readonly size: number;
  /** Address of the vCPU block. */
  readonly cpu: I32;
  readonly flags: FlagBuilder;
  protected readonly functions: CoreFunctionRefs;

  constructor(options: { code: Code; row: Row; size: number; cpu: I32; functions: CoreFunctionRefs }) {
    this.code = options.code;
    this.row = options.row;
    this.size = options.size;
    this.cpu = options.cpu;
    this.functions = options.functions;
    this.flags = new FlagBuilder(this);
  }

  // ---- operands ----

  /** Bytes of operand `index` in this instance. */
  operandBytes(index: number): number {
    const spec = this.row.operands[index];
    if (spec === undefined) throw new Error(`${this.row.mnemonic} has no operand ${index}`);
    return operandBytes(spec, this.size);
  }

  /** Integer value of an operand (register, memory, immediate): i32 zero-extended up to 4 bytes, i64 for 8. */
  abstract read(index: number): Int;
  /** As `read`, and prepares the operand for `write`: memory is probed for writing. */
  abstract modify(index: number): Int;
  /** Writes an operand. A 4-byte register write clears the upper half. */
  abstract write(index: number, value: Int): void;
  /** Effective address of the memory operand without segment base, cut to the address size. */
  abstract effectiveAddress(): I64;
  /** Mask of the address size: 0xffff, 0xffff_ffff or ~0. */
  abstract addressMask(): I64;
  /** Linear address of the memory operand, checked for `bytes` bytes through its segment (not through paging). */
  abstract linearAddress(bytes: number, access: 'read' | 'write'): I64;
  /** Linear address of an implicit operand at `offset` in the segment of the prefix, else DS (XLAT, MASKMOVQ). */
  abstract implicitAddress(offset: I64, bytes: number, access: 'read' | 'write'): I64;
  /** True in the instance that has a memory operand. */
  abstract readonly isMemory: boolean;
  /** The immediate as i64, sign-extended as decoded; far pointers: offset. */
  abstract immediate(): I64;
  /** Second immediate: selector of a far pointer, nesting level of ENTER. */
  abstract immediate2(): I32;
  /** XMM operands (16 bytes); memory is read with its alignment rule. */
  abstract readVector(index: number): V128;
  abstract writeVector(index: number, value: V128): void;
  /** The two halves of an operand of 32 bytes, register or memory with its alignment rule. */
  abstract readWide(index: number): readonly [V128, V128];
  abstract writeWide(index: number, low: V128, high: V128): void;
  /** Address (i32) of the register operand's storage: XMM, MMX, x87, segment or general register. */
  abstract registerAddress(index: number): I32;
  /** Number of the register operand (segment, control, debug, x87 STi). */
  abstract registerNumber(index: number): I32;

  // ---- XMM register operands ----

  /** The whole register, whatever its width in the row. */
  readVectorRegister(index: number): V128 {
    return this.let(x.load('v128', 16, this.registerAddress(index)));
  }

  writeVectorRegister(index: number, value: V128): void {
    this.code.store(16, this.registerAddress(index), value);
  }

  /** Bits 128-255 of the YMM register. */
  readUpper(index: number): V128 {
    return this.let(x.load('v128', 16, this.registerAddress(index), upperHalf));
  }

  writeUpper(index: number, value: V128): void {
    this.code.store(16, this.registerAddress(index), value, upperHalf);
  }

  /** Lane `lane` of `bytes` bytes (4 as i32, 8 as i64). */
  readLane(index: number, bytes: 4 | 8, lane: number): Int {
    const at = this.registerAddress(index);
    return this.let(
      (bytes === 8 ? x.load('i64', 8, at, lane * 8) : x.load('i32', 4, at, lane * 4)) as Expr<'i32' | 'i64'>,
    ) as Int;
  }

  /** Writes one lane, the others stay. */
  writeLane(index: number, bytes: 4 | 8, lane: number, value: Int): void {
    this.code.store(bytes, this.registerAddress(index), value, lane * bytes);
  }

  /** A register or memory operand of 4 or 8 bytes as a floating-point number. */
  readFloat(index: number, bytes: 4 | 8): F32 | F64 {
    const bits = this.read(index);
    return this.let(
      (bytes === 4 ? x.f32OfBits(bits as I32) : x.f64OfBits(bits as I64)) as Expr<'f32' | 'f64'>,
    ) as F32 | F64;
  }

  /** Writes the low lane of a register operand. */
  writeFloat(index: number, value: F32 | F64): void {
    this.code.store(value.type === 'f32' ? 4 : 8, this.registerAddress(index), value);
  }

  /** XMM0, the implicit operand of a few instructions. */
  readVector0(): V128 {
    return this.field('v128', Cpu.xmm, 16);
  }

  writeVector0(value: V128): void {
    this.setField(Cpu.xmm, value, 16);
  }

  /** Bits 128-255 of all registers that the mode has (16 in 64-bit code, else 8), and with `whole` the others too. */
  clearVectors(whole: boolean): void {
    const clear = (first: number): void => {
      for (let n = first; n < first + 8; n++) {
        if (whole) this.setField(Cpu.xmm + n * 16, zero(), 16);
        this.setField(Cpu.ymmHigh + n * 16, zero(), 16);
      }
    };
    clear(0);
    this.if(x.eq(x.and(this.field('i32', Cpu.modeKey), ModeKey.codeMask), ModeKey.code64), () => {
      clear(8);
    });
  }

  /** Bits 128-255 of YMM0. */
  clearUpper0(): void {
    this.setField(Cpu.ymmHigh, zero(), 16);
  }

  /**
   * Runs `trap`, which does not come back, when `condition` holds. `key` names a condition that stays false from one
   * instruction to the next as long as nothing but translated code runs.
   */
  guard(_key: string, condition: () => I32, trap: () => void): void {
    this.if(condition(), trap);
  }

  /** Whether all x87 exceptions are masked. */
  x87Masked(): I32 {
    return x.eq(x.and(this.field('i32', Cpu.fcw), 0x3f), 0x3f);
  }

  // ---- memory by linear address ----

  abstract loadLinear(la: I64, bytes: number, through?: AccessThrough): Int;
  abstract storeLinear(la: I64, value: Int, bytes: number, through?: AccessThrough): void;

  /** Raises the faults of a write of `bytes` at `la` without writing. */
  probeWrite(la: I64, bytes: number, through: AccessThrough = 'segment'): void {
    this.checkStack(la, bytes, through);
    this.call('probeWrite', la, x.i32(bytes));
  }

  /** On slow paths: what the TLB hit has made sure of, and must come before a page fault. */
  protected checkStack(la: I64, bytes: number, through: AccessThrough): void {
    if (through === 'stack') this.call('checkFlatAddress', la, x.i32(bytes), x.i32(stackSegment));
  }

  // ---- registers and fields of the vCPU block ----

  /** General register `number` (0-15), `bytes` wide; i32 up to 4 bytes, i64 for 8. Not for AH-BH. */
  abstract gpr(number: number, bytes: number): Int;
  abstract setGpr(number: number, bytes: number, value: Int): void;

  field<T extends WasmType>(
    type: T,
    offset: number,
    bytes = type === 'i64' || type === 'f64' ? 8 : type === 'v128' ? 16 : 4,
  ): Expr<T> {
    return this.code.let(x.load(type, bytes, this.cpu, offset));
  }

  setField(
    offset: number,
    value: Expr,
    bytes = value.type === 'i64' || value.type === 'f64' ? 8 : value.type === 'v128' ? 16 : 4,
  ): void {
    this.code.store(bytes, this.cpu, value, offset);
  }

  abstract getFlagResult(): I64;
  abstract getFlagAux(): I32;
  abstract setFlagResult(value: I64): void;
  abstract setFlagAux(value: I32): void;

  // ---- control flow of the guest ----

  /** Offset of the next instruction in CS. */
  abstract nextRip(): I64;
  /** Offset of this instruction in CS. */
  abstract currentRip(): I64;
  /** A near jump: goes on at `target` (offset in CS), already cut to its size. */
  abstract jump(target: I64): void;
  /** Goes on at `target` by way of the run loop, which looks at what is to be done between instructions. */
  abstract leaveTo(target: I64): void;
  /**
   * Goes on at the relative operand, or behind this instruction. `change` makes the instruction's other changes of state
   * once the target has been found to be good.
   */
  abstract jumpRelative(taken: boolean, change?: () => void): void;
  /** RIP has been set (by a core function): back to the run loop. */
  abstract leave(): void;
  /** Address of the record for core functions that walk it (rows with `record`). */
  abstract record(): I32;

  /** A string instruction: core runs it, with REP until it is done or interrupted. */
  string(operation: 'movs' | 'cmps' | 'stos' | 'lods' | 'scas'): void {
    const rip = this.let(this.currentRip());
    this.if(x.eqz(callExpr('i32', this.coreFunction(operation), this.cpu, this.record())), () => {
      this.leaveTo(rip);
    });
  }

  // ---- helpers ----

  get type(): 'i32' | 'i64' {
    return this.size === 8 ? 'i64' : 'i32';
  }

  let<T extends WasmType>(expr: Expr<T>): Expr<T> {
    return this.code.let(expr);
  }

  variable<T extends WasmType>(expr: Expr<T>): Local<T> {
    return this.code.variable(expr);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.code.if(condition, then, otherwise);
  }

  /** Calls a core function without result. */
  call(name: CoreFunctionName, ...args: x.Operand[]): void {
    this.code.call(this.functions[name], this.cpu, ...args);
  }

  /** Calls a core function now and binds its result. */
  callValue<T extends WasmType>(type: T, name: CoreFunctionName, ...args: x.Operand[]): Expr<T> {
    return this.code.let(callExpr(type, this.functions[name], this.cpu, ...args));
  }

  /** A core function, for calls inside of expressions (not after a state change, when it can fault). */
  coreFunction(name: CoreFunctionName): FunctionRef {
    return this.functions[name];
  }

  /** Raises an exception without error code. */
  raise(vector: keyof typeof Vector): void {
    this.call('raise', x.i32(Vector[vector]));
  }

  raiseError(vector: keyof typeof Vector, errorCode: number): void {
    this.call('raiseError', x.i32(Vector[vector]), x.i32(errorCode));
  }

  /** `value` cut to `bytes` (i32 values of 1 and 2 bytes are kept zero-extended). */
  cut(value: Int, bytes: number): Int {
    if (bytes === 1) return x.and(value as I32, 0xff);
    if (bytes === 2) return x.and(value as I32, 0xffff);
    return value;
  }

  /** Sign-extends a zero-extended value of `bytes` within its own type. */
  signed(value: Int, bytes: number): Int {
    if (bytes === 1) return x.extend8S(value as I32);
    if (bytes === 2) return x.extend16S(value as I32);
    return value;
  }

  /** Sign-extended to 64 bits. */
  signed64(value: Int, bytes: number): I64 {
    return bytes === 8 ? (value as I64) : x.extendS(this.signed(value, bytes) as I32);
  }

  /** Zero-extended to 64 bits. */
  unsigned64(value: Int): I64 {
    return value.type === 'i64' ? value : x.extendU(value);
  }

  /** The low `bytes` of an i64 as an operand value. */
  narrow(value: I64, bytes: number): Int {
    return bytes === 8 ? value : this.cut(x.wrap(value), bytes);
  }

  /** Value of the immediate operand at the operand size of the instance. */
  immediateValue(bytes = this.size): Int {
    return this.narrow(this.immediate(), bytes);
  }

  /** Pushes `value` with `bytes` bytes; faults before RSP changes. */
  push(value: Int, bytes: number): void {
    const stored = this.let(value as Expr<'i32' | 'i64'>) as Int;
    const rsp = this.stackPointer(-bytes);
    this.storeLinear(this.stackAddress(rsp, bytes, 'write'), stored, bytes, 'stack');
    this.setStackPointer(rsp);
  }

  /** Reads the top of the stack without moving RSP: value and the new stack pointer for `setStackPointer`. */
  peek(bytes: number, skip = 0): { value: Int; rsp: I64 } {
    const top = this.stackPointer(skip);
    const value = this.let(
      this.loadLinear(this.stackAddress(top, bytes, 'read'), bytes, 'stack') as Expr<'i32' | 'i64'>,
    ) as Int;
    return { value, rsp: this.stackPointer(skip + bytes) };
  }

  /** #GP(0) unless `target` (bound) lies inside of CS or is canonical. */
  checkNearTarget(target: I64): void {
    const key = this.field('i32', Cpu.modeKey);
    const outside = x.ne(x.shrU(x.add(target, 1n << 47n), 48), 0);
    this.if(x.or(x.eqz(x.and(key, ModeKey.flat)), outside), () => {
      this.call('checkNearTarget', target);
    });
  }

  /** (E/R)SP + delta, cut to the stack's size. */
  abstract stackPointer(delta: number): I64;
  abstract setStackPointer(value: I64): void;
  /** Linear address of a stack access of `bytes` at `offset` in SS, checked against its limit. */
  abstract stackAddress(offset: I64, bytes: number, access: 'read' | 'write'): I64;
}
