/**
 * The builder of translated code: the same semantics as the interpreter's, with operands that are known. General
 * registers, flags and the instruction budget live in locals of the region; a memory access that misses the TLB leaves the
 * region before the instruction, which the interpreter then executes.
 */
import { callExpr } from '../wasm/code.ts';
import type { Code, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr, I32, I64, Int, V128, WasmType } from '../wasm/expr.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { floatingPointUnit, pureFunctions, trapFunctions } from '../cpu/core-functions.ts';
import type { CoreFunctionName } from '../cpu/core-functions.ts';
import { Cpu, ModeKey, Segment, SegmentField, Tlb, segmentBytes } from '../cpu/layout.ts';
import { Form, memoryOperandIndex } from '../cpu/table/row.ts';
import type { OperandSpec } from '../cpu/table/row.ts';
import type { DecodedInstruction } from './decoded.ts';
import { FloatingBuilder, xmmNumber } from './floating-builder.ts';
import { notTranslatable } from './region-state.ts';
import type { RegionExits, RegionState } from './region-state.ts';
import { emitString } from './string-code.ts';
import type { StringOperation } from './string-code.ts';

const gprEnd = Cpu.gpr + 16 * 8;

export class TranslatorBuilder extends FloatingBuilder {
  readonly isMemory: boolean;
  protected readonly state: RegionState;
  readonly #exits: RegionExits;
  readonly #instruction: DecodedInstruction;
  readonly #memoryIndex: number;
  #modified: { la: I64; host: I32 } | undefined;
  #la: I64 | undefined;

  constructor(options: {
    code: Code;
    instruction: DecodedInstruction;
    state: RegionState;
    exits: RegionExits;
    functions: CoreFunctionRefs;
  }) {
    const { instruction, state } = options;
    super({
      code: options.code,
      functions: options.functions,
      row: instruction.row,
      size: instruction.size,
      cpu: state.cpu,
    });
    this.state = state;
    this.#exits = options.exits;
    this.#instruction = instruction;
    this.isMemory = instruction.form !== Form.register;
    this.#memoryIndex = memoryOperandIndex(instruction.row);
    state.straight.begin();
    if (instruction.form === Form.segmented) throw notTranslatable('segment limits');
  }

  // ---- registers ----

  #local(number: number): Local<'i64'> {
    this.state.used.registers |= 1 << number;
    return this.state.gpr[number] as Local<'i64'>;
  }

  /** Value of a general register; `high` for AH-BH. */
  #readRegister(number: number, bytes: number, high: boolean): Int {
    const whole = this.#local(number);
    if (bytes === 8) return whole;
    if (bytes === 4) return x.wrap(whole);
    if (bytes === 2) return x.and(x.wrap(whole), 0xffff);
    return x.and(high ? x.shrU(x.wrap(whole), 8) : x.wrap(whole), 0xff);
  }

  #writeRegister(number: number, bytes: number, high: boolean, value: Int): void {
    const whole = this.#local(number);
    this.state.used.written |= 1 << number;
    let next: I64;
    if (bytes === 8) next = value as I64;
    else if (bytes === 4) next = x.extendU(value as I32);
    else if (bytes === 2) next = x.or(x.and(whole, ~0xffffn), x.and(x.extendU(value as I32), 0xffff));
    else if (high) next = x.or(x.and(whole, ~0xff00n), x.shl(x.and(x.extendU(value as I32), 0xff), 8));
    else next = x.or(x.and(whole, ~0xffn), x.and(x.extendU(value as I32), 0xff));
    this.code.set(whole, next);
  }

  gpr(number: number, bytes: number): Int {
    return this.code.variable(this.#readRegister(number, bytes, false) as Expr<'i32' | 'i64'>) as Int;
  }

  setGpr(number: number, bytes: number, value: Int): void {
    this.#writeRegister(number, bytes, false, value);
  }

  override field<T extends WasmType>(type: T, offset: number, bytes?: number): Expr<T> {
    if (offset < gprEnd) {
      const width = bytes ?? 8;
      const value = this.#readRegister(offset >> 3, width, (offset & 7) === 1);
      return this.code.variable((type === 'i64' ? this.unsigned64(value) : value) as unknown as Expr<T>);
    }
    return (this.state.straight.field(offset) as Expr<T> | undefined) ?? super.field(type, offset, bytes);
  }

  override setField(offset: number, value: Expr, bytes = value.type === 'i64' ? 8 : 4): void {
    if (offset < gprEnd) {
      const narrowed = bytes === 8 || value.type === 'i32' ? value : x.wrap(value as I64);
      this.#writeRegister(offset >> 3, bytes, (offset & 7) === 1, narrowed as Int);
      return;
    }
    super.setField(offset, value, bytes);
    this.state.straight.stored(offset);
    if (offset === Cpu.mxcsr || offset === Cpu.fcw) this.state.straight.forgetChecks();
  }

  #spec(index: number): OperandSpec {
    const spec = this.row.operands[index];
    if (spec === undefined) throw new Error(`${this.row.mnemonic} has no operand ${index}`);
    return spec;
  }

  protected isMemoryOperand(index: number): boolean {
    return this.isMemory && index === this.#memoryIndex;
  }

  /** Offset of a register operand's storage in the vCPU block. */
  protected registerOffset(index: number): number {
    const spec = this.#spec(index);
    if (spec.place === 'fixed') {
      const number = spec.fixed ?? 0;
      return this.operandBytes(index) === 1 && number >= 4 ? (number - 4) * 8 + 1 : number * 8;
    }
    const { reg, vvvv, immediate2, rm } = this.#instruction;
    return spec.place === 'reg' ? reg : spec.place === 'vvvv' ? vvvv : spec.place === 'is4' ? immediate2 : rm;
  }

  registerAddress(index: number): I32 {
    const offset = this.registerOffset(index);
    if (offset < gprEnd || xmmNumber(offset) !== undefined)
      throw notTranslatable('a register of the region by address');
    return x.add(this.state.cpu, offset);
  }

  registerNumber(index: number): I32 {
    return x.i32(this.registerOffset(index));
  }

  // ---- operands ----

  immediate(): I64 {
    return x.i64(this.#instruction.immediate);
  }

  immediate2(): I32 {
    return x.i32(this.#instruction.immediate2);
  }

  read(index: number): Int {
    const spec = this.#spec(index);
    const bytes = this.operandBytes(index);
    if (spec.place === 'immediate' || spec.place === 'relative') return this.immediateValue(bytes);
    if (spec.place === 'fixed' && spec.text === '1') return x.i32(1);
    if (this.isMemoryOperand(index)) return this.loadLinear(this.#operandAddress(bytes), bytes);
    const offset = this.registerOffset(index);
    if (xmmNumber(offset) !== undefined) return this.#lowLane(index, bytes);
    if (offset >= gprEnd)
      return this.let(
        bytes === 8
          ? x.load('i64', 8, this.state.cpu, offset)
          : (x.load('i32', bytes, this.state.cpu, offset) as Expr<'i32' | 'i64'>),
      ) as Int;
    // The value must not change when the register is written later: copied unless it is derived anyway.
    return this.code.variable(
      this.#readRegister(offset >> 3, bytes, (offset & 7) === 1) as Expr<'i32' | 'i64'>,
    ) as Int;
  }

  #lowLane(index: number, bytes: number): Int {
    if (bytes === 8 || bytes === 4) return this.readLane(index, bytes, 0);
    // i16x8.extract_lane_u
    if (bytes === 2) return this.let(x.simd('i32', 25, [this.vectorOperand(index, false)], [0]));
    throw notTranslatable('a byte of an XMM register');
  }

  modify(index: number): Int {
    const bytes = this.operandBytes(index);
    if (!this.isMemoryOperand(index)) return this.read(index);
    const la = this.#operandAddress(bytes);
    const host = this.#host(la, bytes, this.state.tlbWrite);
    this.#modified = { la, host };
    return this.let(
      (bytes === 8 ? x.load('i64', 8, host) : x.load('i32', bytes, host)) as Expr<'i32' | 'i64'>,
    ) as Int;
  }

  write(index: number, value: Int): void {
    const bytes = this.operandBytes(index);
    if (this.isMemoryOperand(index)) {
      if (this.#modified !== undefined) this.code.store(bytes, this.#modified.host, value);
      else this.storeLinear(this.#operandAddress(bytes), value, bytes);
      return;
    }
    const offset = this.registerOffset(index);
    if (offset < gprEnd) this.#writeRegister(offset >> 3, bytes, (offset & 7) === 1, value);
    else if (xmmNumber(offset) !== undefined) this.writeLane(index, bytes === 8 ? 8 : 4, 0, value);
    else this.code.store(bytes, this.state.cpu, value, offset);
  }

  readVector(index: number): V128 {
    if (!this.isMemoryOperand(index)) return this.readVectorRegister(index);
    const la = this.#operandAddress(16);
    this.#requireAlignment(la, 16);
    return this.let(x.load('v128', 16, this.#host(la, 16, this.state.tlbRead)));
  }

  readWide(index: number): readonly [V128, V128] {
    if (!this.isMemoryOperand(index)) return [this.readVectorRegister(index), this.readUpper(index)];
    const la = this.#operandAddress(32);
    this.#requireAlignment(la, 32);
    const host = this.#host(la, 32, this.state.tlbRead);
    return [this.let(x.load('v128', 16, host)), this.let(x.load('v128', 16, host, 16))];
  }

  writeWide(index: number, low: V128, high: V128): void {
    const halves = [this.let(low), this.let(high)] as const;
    if (!this.isMemoryOperand(index)) {
      this.writeVectorRegister(index, halves[0]);
      this.writeUpper(index, halves[1]);
      return;
    }
    const la = this.#operandAddress(32);
    this.#requireAlignment(la, 32);
    const host = this.#host(la, 32, this.state.tlbWrite);
    this.code.store(16, host, halves[0]);
    this.code.store(16, host, halves[1], 16);
  }

  writeVector(index: number, value: V128): void {
    if (!this.isMemoryOperand(index)) {
      this.writeVectorRegister(index, value);
      return;
    }
    const bound = this.let(value);
    const la = this.#operandAddress(16);
    this.#requireAlignment(la, 16);
    this.code.store(16, this.#host(la, 16, this.state.tlbWrite), bound);
  }

  #requireAlignment(la: I64, bytes: number): void {
    if (this.row.options.aligned === true) this.bailIf(x.and(x.wrap(la), bytes - 1));
  }

  // ---- addresses ----

  addressMask(): I64 {
    return x.i64(this.#instruction.addressMask);
  }

  effectiveAddress(): I64 {
    const { base, index, scale, displacement, addressMask } = this.#instruction;
    let sum: I64 | undefined;
    if (base === Cpu.ripPage) sum = this.state.ripPage;
    else if (base !== Cpu.zero) sum = this.#local(base >> 3);
    if (index !== Cpu.zero) {
      const scaled = x.shl(this.#local(index >> 3), scale);
      sum = sum === undefined ? scaled : x.add(sum, scaled);
    }
    const offset = sum === undefined ? x.i64(displacement) : x.add(sum, displacement);
    return addressMask === -1n ? offset : x.and(offset, addressMask);
  }

  #operandAddress(bytes: number): I64 {
    this.#la ??= this.linearAddress(bytes, 'read');
    return this.#la;
  }

  linearAddress(_bytes: number, _access: 'read' | 'write'): I64 {
    const offset = this.effectiveAddress();
    if (this.#instruction.form === Form.flat) return this.code.variable(offset);
    return this.code.variable(
      x.add(offset, x.load('i64', 8, this.state.cpu, this.#instruction.segment + SegmentField.base)),
    );
  }

  implicitAddress(offset: I64, _bytes: number, _access: 'read' | 'write'): I64 {
    const firstBased = Cpu.segments + Segment.fs * segmentBytes;
    if (this.#instruction.segment >= firstBased) throw notTranslatable('implicit FS or GS operand');
    return this.code.variable(x.and(offset, this.addressMask()));
  }

  protected get wideCode(): boolean {
    return (this.#instruction.key & ModeKey.codeMask) === ModeKey.code64;
  }

  get #stackMask(): bigint {
    const { key } = this.#instruction;
    if ((key & ModeKey.codeMask) === ModeKey.code64) return -1n;
    return (key & ModeKey.stack32) !== 0 ? 0xffff_ffffn : 0xffffn;
  }

  stackPointer(delta: number): I64 {
    return this.code.variable(x.and(x.add(this.#local(4), delta), this.#stackMask));
  }

  setStackPointer(value: I64): void {
    const rsp = this.#local(4);
    this.state.used.written |= 1 << 4;
    const mask = this.#stackMask;
    if (mask === -1n) this.code.set(rsp, value);
    else this.code.set(rsp, x.or(x.and(rsp, ~mask), x.and(value, mask)));
  }

  stackAddress(offset: I64): I64 {
    return offset;
  }

  // ---- memory ----

  /** Address in linear memory of a guest access; leaves the region on a miss. */
  #host(la: I64, bytes: number, table: Local<'i32'>): I32 {
    const index = x.and(x.shrU(x.wrap(la), 8), (Tlb.entries - 1) * Tlb.entryBytes);
    const entry = this.let(x.add(table, index));
    this.bailIf(x.geU(x.xor(x.load('i64', 8, entry, Tlb.tag), la), x.i64(4096 - (bytes - 1))));
    return this.let(x.add(x.load('i32', 4, entry, Tlb.addend), x.wrap(la)));
  }

  protected bailIf(condition: I32): void {
    this.code.if(condition, () => {
      this.#exits.bail();
    });
  }

  loadLinear(address: I64, bytes: number): Int {
    const la = this.let(address);
    const host = this.#host(la, bytes, this.state.tlbRead);
    return this.let(
      (bytes === 8 ? x.load('i64', 8, host) : x.load('i32', bytes, host)) as Expr<'i32' | 'i64'>,
    ) as Int;
  }

  storeLinear(address: I64, value: Int, bytes: number): void {
    const la = this.let(address);
    const bound = this.let(value as Expr<'i32' | 'i64'>);
    this.code.store(bytes, this.#host(la, bytes, this.state.tlbWrite), bound);
  }

  // ---- flags ----

  getFlagResult(): I64 {
    this.state.used.flags = true;
    return this.state.flagResult;
  }

  getFlagAux(): I32 {
    this.state.used.flags = true;
    return this.state.flagAux;
  }

  setFlagResult(value: I64): void {
    this.state.used.flags = true;
    this.code.set(this.state.flagResult, value);
  }

  setFlagAux(value: I32): void {
    this.state.used.flags = true;
    this.code.set(this.state.flagAux, value);
  }

  override string(operation: StringOperation): void {
    const instruction = this.#instruction;
    const { state, code } = this;
    const usesSource = operation !== 'stos' && operation !== 'scas';
    const firstBased = Cpu.segments + Segment.fs * segmentBytes;
    const mask = instruction.addressMask;
    if ((usesSource && instruction.segment >= firstBased) || (mask !== -1n && mask !== 0xffff_ffffn)) {
      this.#exits.callout();
      return;
    }
    emitString(
      {
        code,
        cpu: state.cpu,
        functions: this.functions,
        size: this.size,
        prefixes: instruction.prefixes,
        mask,
        remaining: state.remaining,
        tlbRead: state.tlbRead,
        tlbWrite: state.tlbWrite,
        gpr: (number, bytes) => this.gpr(number, bytes),
        setGpr: (number, bytes, value) => {
          this.setGpr(number, bytes, value);
        },
        load: (la, bytes) => this.loadLinear(la, bytes),
        store: (la, value, bytes) => {
          this.storeLinear(la, value, bytes);
        },
        compare: (a, c) => {
          this.flags.sub(a, c, this.let(this.cut(x.sub(a as I32, c as I32), this.size) as I32));
        },
        pay: (iterations) => {
          code.set(state.remaining, x.sub(state.remaining, iterations));
        },
        callout: () => {
          this.#exits.callout();
        },
      },
      operation,
    );
  }

  // ---- calls ----

  override call(name: CoreFunctionName, ...args: x.Operand[]): void {
    if (trapFunctions.has(name)) {
      // The interpreter executes the instruction again and raises.
      this.#exits.bail();
      return;
    }
    const unit = floatingPointUnit(name);
    if (unit !== undefined) {
      this.requireMasked(unit);
      super.call(name, ...args);
      this.afterStateFunction(name);
      return;
    }
    switch (name) {
      case 'checkNearTarget':
        this.checkNearTarget(x.coerce('i64', args[0] ?? 0));
        return;
      case 'probeWrite':
        this.#host(
          this.let(x.coerce('i64', args[0] ?? 0)),
          Number(x.coerce('i32', args[1] ?? 0).constant ?? 0),
          this.state.tlbWrite,
        );
        return;
      default:
        throw notTranslatable(name);
    }
  }

  override callValue<T extends WasmType>(type: T, name: CoreFunctionName, ...args: x.Operand[]): Expr<T> {
    const unit = floatingPointUnit(name);
    if (unit === undefined) return this.let(callExpr(type, this.coreFunction(name), this.state.cpu, ...args));
    this.requireMasked(unit);
    const result = super.callValue(type, name, ...args);
    this.afterStateFunction(name);
    return result;
  }

  override coreFunction(name: CoreFunctionName): CoreFunctionRefs[CoreFunctionName] {
    if (!pureFunctions.has(name)) throw notTranslatable(name);
    return super.coreFunction(name);
  }

  override checkNearTarget(target: I64): void {
    const { key } = this.#instruction;
    if ((key & ModeKey.codeMask) !== ModeKey.code64) return; // flat code: the limit is 4 GiB
    const bound = this.let(target);
    this.bailIf(x.ne(x.shrS(x.shl(bound, 16), 16), bound));
  }

  // ---- control flow ----

  record(): I32 {
    throw notTranslatable('works on its record');
  }

  #cutRip(value: I64): I64 {
    const mode = this.#instruction.key & ModeKey.codeMask;
    return mode === ModeKey.code64 ? value : x.and(value, mode === ModeKey.code32 ? 0xffff_ffffn : 0xffffn);
  }

  currentRip(): I64 {
    return this.#cutRip(x.add(this.state.ripPage, this.#instruction.pageOffset));
  }

  nextRip(): I64 {
    return this.#cutRip(x.add(this.state.ripPage, this.#instruction.pageOffset + this.#instruction.length));
  }

  jump(target: I64): void {
    this.#exits.indirect(target);
  }

  leaveTo(): void {
    throw notTranslatable('looks at what is to be done between instructions');
  }

  leave(): void {
    throw notTranslatable('sets RIP itself');
  }

  jumpRelative(taken: boolean, change?: () => void): void {
    if (!taken) {
      change?.();
      this.#exits.relative(false, this.nextRip());
      return;
    }
    const sum = x.add(this.nextRip(), this.#instruction.immediate);
    const target = this.let(this.size === 8 ? sum : x.and(sum, this.size === 2 ? 0xffff : 0xffff_ffffn));
    this.checkNearTarget(target);
    change?.();
    this.#exits.relative(true, target);
  }
}
