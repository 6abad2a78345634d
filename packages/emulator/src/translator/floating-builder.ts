/**
 * XMM registers, which live in locals of the region, and the calls of core functions that touch nothing but the
 * floating-point state: they need neither flush nor reload, but raise exceptions unless these are masked.
 */
import type { Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr, F32, F64, I32, Int, V128 } from '../wasm/expr.ts';
import { InstructionBuilder } from '../cpu/builder.ts';
import { flagFunctions } from '../cpu/core-functions.ts';
import type { CoreFunctionName } from '../cpu/core-functions.ts';
import { Cpu } from '../cpu/layout.ts';
import { notTranslatable } from './region-state.ts';
import type { RegionState } from './region-state.ts';

const xmmEnd = Cpu.xmm + 16 * 16;

/** Number of the XMM register at an offset of the vCPU block. */
export const xmmNumber = (offset: number): number | undefined =>
  offset >= Cpu.xmm && offset < xmmEnd ? (offset - Cpu.xmm) >> 4 : undefined;

const zero = (): V128 => x.v128(new Array<number>(16).fill(0));

export abstract class FloatingBuilder extends InstructionBuilder {
  protected abstract readonly state: RegionState;

  /** Offset of a register operand's storage in the vCPU block. */
  protected abstract registerOffset(index: number): number;
  protected abstract isMemoryOperand(index: number): boolean;
  /** Leaves the region before this instruction. */
  protected abstract bailIf(condition: I32): void;

  // ---- XMM registers ----

  #vectorLocal(number: number, written: boolean): Local<'v128'> {
    const { used } = this.state;
    used.vectors |= 1 << number;
    if (written) used.vectorsWritten |= 1 << number;
    return this.state.xmm[number] as Local<'v128'>;
  }

  protected vectorOperand(index: number, written: boolean): Local<'v128'> {
    const number = xmmNumber(this.registerOffset(index));
    if (number === undefined) throw notTranslatable('no XMM register');
    return this.#vectorLocal(number, written);
  }

  override readVectorRegister(index: number): V128 {
    return this.code.variable(this.vectorOperand(index, false));
  }

  override writeVectorRegister(index: number, value: V128): void {
    this.code.set(this.vectorOperand(index, true), value);
  }

  #upperOperand(index: number, written: boolean): Local<'v128'> {
    const number = xmmNumber(this.registerOffset(index));
    if (number === undefined) throw notTranslatable('no YMM register');
    return this.#upperLocal(number, written);
  }

  #upperLocal(number: number, written: boolean): Local<'v128'> {
    const { used } = this.state;
    used.uppers |= 1 << number;
    if (written) used.uppersWritten |= 1 << number;
    return this.state.upper[number] as Local<'v128'>;
  }

  override readUpper(index: number): V128 {
    return this.code.variable(this.#upperOperand(index, false));
  }

  override writeUpper(index: number, value: V128): void {
    this.code.set(this.#upperOperand(index, true), value);
  }

  override readLane(index: number, bytes: 4 | 8, lane: number): Int {
    const vector = this.vectorOperand(index, false);
    return this.let(
      (bytes === 8 ? x.simd('i64', 29, [vector], [lane]) : x.simd('i32', 27, [vector], [lane])) as Expr<
        'i32' | 'i64'
      >,
    ) as Int;
  }

  override writeLane(index: number, bytes: 4 | 8, lane: number, value: Int): void {
    const vector = this.vectorOperand(index, true);
    this.code.set(vector, x.simd('v128', bytes === 8 ? 30 : 28, [vector, value], [lane]));
  }

  override readFloat(index: number, bytes: 4 | 8): F32 | F64 {
    if (this.isMemoryOperand(index)) return super.readFloat(index, bytes);
    const vector = this.vectorOperand(index, false);
    return bytes === 8
      ? this.let(x.simd<'f64'>('f64', 33, [vector], [0]))
      : this.let(x.simd<'f32'>('f32', 31, [vector], [0]));
  }

  override writeFloat(index: number, value: F32 | F64): void {
    const vector = this.vectorOperand(index, true);
    this.code.set(vector, x.simd('v128', value.type === 'f64' ? 34 : 32, [vector, value], [0]));
  }

  override readVector0(): V128 {
    return this.code.variable(this.#vectorLocal(0, false));
  }

  override writeVector0(value: V128): void {
    this.code.set(this.#vectorLocal(0, true), value);
  }

  /** Whether the code is 64-bit code. */
  protected abstract readonly wideCode: boolean;

  override clearVectors(whole: boolean): void {
    for (let n = 0; n < (this.wideCode ? 16 : 8); n++) {
      if (whole) this.code.set(this.#vectorLocal(n, true), zero());
      this.code.set(this.#upperLocal(n, true), zero());
    }
  }

  override clearUpper0(): void {
    this.code.set(this.#upperLocal(0, true), zero());
  }

  override guard(key: string, condition: () => I32, trap: () => void): void {
    if (this.state.straight.hasPassed(key)) return;
    super.guard(key, condition, trap);
  }

  // ---- calls ----

  /** Core functions of the unit raise nothing then; else the interpreter executes the instruction. */
  protected requireMasked(unit: 'sse' | 'x87'): void {
    if (this.state.straight.hasPassed(`${unit} masked`)) return;
    const masks = unit === 'sse' ? 0x1f80 : 0x3f;
    const control = this.field('i32', unit === 'sse' ? Cpu.mxcsr : Cpu.fcw);
    this.bailIf(x.ne(x.and(control, masks), masks));
  }

  override x87Masked(): I32 {
    this.requireMasked('x87');
    return x.i32(1);
  }

  protected afterStateFunction(name: CoreFunctionName): void {
    const { straight } = this.state;
    if (name.startsWith('sse')) straight.changed(Cpu.mxcsr);
    else straight.changed(Cpu.fsw, Cpu.fcw);
    if (name === 'x87LoadControl' || name === 'x87Initialize') straight.forgetChecks();
    if (!flagFunctions.has(name)) return;
    this.setFlagResult(x.load('i64', 8, this.state.cpu, Cpu.flagResult));
    this.setFlagAux(x.load('i32', 4, this.state.cpu, Cpu.flagAux));
  }
}
