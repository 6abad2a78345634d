/**
 * The builder of the interpreter's handlers: operands are read from the predecoded record at run time. A handler is a
 * function (vCPU block, record) → next record, or 0 to go back to the run loop with Cpu.rip set.
 */
import { callExpr } from '../wasm/code.ts';
import type { Code, Label, Local } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr, I32, I64, Int, V128 } from '../wasm/expr.ts';
import { InstructionBuilder, stackSegment } from './builder.ts';
import type { AccessThrough, CoreFunctionRefs } from './builder.ts';
import { Cpu, ModeKey, Record, Segment, SegmentField, Tlb, recordBytes, segmentBytes } from './layout.ts';
import { Form, memoryOperandIndex } from './table/row.ts';
import type { OperandSpec, Row } from './table/row.ts';

export interface HandlerOptions {
  code: Code;
  row: Row;
  size: number;
  form: number;
  functions: CoreFunctionRefs;
  /** The handler is a part of the run loop, not a function. */
  inline?: InlineHandler | undefined;
}

/** Places of the run loop: its current record, where it goes on with the next one, where it ends. */
export interface InlineHandler {
  record: Local<'i32'>;
  again: Label;
  leave: Label;
}

export class InterpreterBuilder extends InstructionBuilder {
  readonly isMemory: boolean;
  readonly #form: number;
  readonly #inline: InlineHandler | undefined;
  readonly #rec: I32;
  readonly #memoryIndex: number;
  /** Of the operand under `modify`: linear address, and host address or 0 for the slow path. */
  #modified: { la: I64; host: Local<'i32'> } | undefined;
  #la: I64 | undefined;
  #ended = false;

  constructor(options: HandlerOptions) {
    super({ ...options, cpu: options.code.param('i32', 0) });
    this.#form = options.form;
    this.isMemory = options.form !== Form.register;
    this.#inline = options.inline;
    this.#rec = options.inline?.record ?? options.code.param('i32', 1);
    this.#memoryIndex = memoryOperandIndex(options.row);
  }

  // ---- record fields ----

  #recordField(offset: number, bytes: number): I32 {
    return x.load('i32', bytes, this.#rec, offset);
  }

  #at(offsetField: number): I32 {
    return x.add(this.cpu, this.#recordField(offsetField, 2));
  }

  record(): I32 {
    return this.#rec;
  }

  immediate(): I64 {
    return x.load('i64', 8, this.#rec, Record.immediate);
  }

  immediate2(): I32 {
    return this.#recordField(Record.immediate2, 4);
  }

  // ---- operands ----

  #spec(index: number): OperandSpec {
    const spec = this.row.operands[index];
    if (spec === undefined) throw new Error(`${this.row.mnemonic} has no operand ${index}`);
    return spec;
  }

  #isMemoryOperand(index: number): boolean {
    return this.isMemory && index === this.#memoryIndex;
  }

  registerAddress(index: number): I32 {
    const spec = this.#spec(index);
    if (spec.place === 'fixed')
      return x.add(this.cpu, fixedOffset(spec.fixed ?? 0, this.operandBytes(index)));
    if (spec.place === 'is4') return x.add(this.cpu, this.#recordField(Record.immediate2, 4));
    return this.#at(spec.place === 'reg' ? Record.reg : spec.place === 'vvvv' ? Record.vvvv : Record.rm);
  }

  registerNumber(index: number): I32 {
    const spec = this.#spec(index);
    // The decoder puts the number itself into the field of files that are not addressed by offset.
    return this.#recordField(spec.place === 'reg' ? Record.reg : Record.rm, 2);
  }

  read(index: number): Int {
    const spec = this.#spec(index);
    const bytes = this.operandBytes(index);
    if (spec.place === 'immediate' || spec.place === 'relative')
      return this.let(this.immediateValue(bytes) as Expr<'i32' | 'i64'>) as Int;
    if (spec.place === 'fixed' && spec.text === '1') return x.i32(1);
    if (this.#isMemoryOperand(index))
      return this.loadLinear(this.#operandAddress(bytes, 'read'), bytes, 'operand');
    return this.let(this.#loadRegister(this.registerAddress(index), bytes) as Expr<'i32' | 'i64'>) as Int;
  }

  modify(index: number): Int {
    const bytes = this.operandBytes(index);
    if (!this.#isMemoryOperand(index)) return this.read(index);
    const la = this.#operandAddress(bytes, 'write');
    const host = this.code.variable(x.i32(0));
    const type = bytes === 8 ? 'i64' : 'i32';
    const value = this.code.local(type) as Local<'i32' | 'i64'>;
    const entry = this.#tlbEntry(la, Cpu.tlbWrite);
    this.if(
      this.#tlbHit(entry, la, bytes),
      () => {
        this.code.set(host, this.#hostAddress(entry, la));
        this.code.set(value, x.load(type, bytes, host));
      },
      () => {
        this.probeWrite(la, bytes, 'operand');
        this.code.set(value, this.#slowLoad(la, bytes));
      },
    );
    this.#modified = { la, host };
    return value as Int;
  }

  write(index: number, value: Int): void {
    const bytes = this.operandBytes(index);
    if (!this.#isMemoryOperand(index)) {
      this.#storeRegister(this.registerAddress(index), bytes, value);
      return;
    }
    if (this.#modified === undefined) {
      this.storeLinear(this.#operandAddress(bytes, 'write'), value, bytes, 'operand');
      return;
    }
    const { la, host } = this.#modified;
    const bound = this.let(value as Expr<'i32' | 'i64'>);
    this.if(
      host,
      () => this.code.store(bytes, host, bound),
      () => this.#slowStore(la, bound as Int, bytes),
    );
  }

  readVector(index: number): V128 {
    if (!this.#isMemoryOperand(index)) return this.let(x.load('v128', 16, this.registerAddress(index)));
    const la = this.#operandAddress(16, 'read');
    if (this.row.options.aligned === true) this.#requireAlignment(la, 16);
    const value = this.code.local('v128');
    const entry = this.#tlbEntry(la, Cpu.tlbRead);
    this.if(
      this.#tlbHit(entry, la, 16),
      () => this.code.set(value, x.load('v128', 16, this.#hostAddress(entry, la))),
      () => {
        this.checkStack(la, 16, 'operand');
        this.call('probeRead', la, x.i32(16));
        const low = this.#slowLoad(la, 8) as I64;
        const high = this.#slowLoad(x.add(la, 8), 8) as I64;
        this.code.set(value, x.simd('v128', 0x1e, [x.simd('v128', 0x12, [low]), high], [1]));
      },
    );
    return value;
  }

  writeVector(index: number, value: V128): void {
    if (!this.#isMemoryOperand(index)) {
      this.code.store(16, this.registerAddress(index), value);
      return;
    }
    const bound = this.let(value);
    const la = this.#operandAddress(16, 'write');
    if (this.row.options.aligned === true) this.#requireAlignment(la, 16);
    const entry = this.#tlbEntry(la, Cpu.tlbWrite);
    this.if(
      this.#tlbHit(entry, la, 16),
      () => this.code.store(16, this.#hostAddress(entry, la), bound),
      () => {
        this.probeWrite(la, 16, 'operand');
        this.#slowStore(la, x.simd('i64', 0x1d, [bound], [0]), 8);
        this.#slowStore(x.add(la, 8), x.simd('i64', 0x1d, [bound], [1]), 8);
      },
    );
  }

  readWide(index: number): readonly [V128, V128] {
    if (!this.#isMemoryOperand(index)) return [this.readVectorRegister(index), this.readUpper(index)];
    const la = this.#operandAddress(32, 'read');
    if (this.row.options.aligned === true) this.#requireAlignment(la, 32);
    const from = this.code.local('i32');
    const entry = this.#tlbEntry(la, Cpu.tlbRead);
    this.if(
      this.#tlbHit(entry, la, 32),
      () => this.code.set(from, this.#hostAddress(entry, la)),
      () => {
        this.checkStack(la, 32, 'operand');
        this.call('readWide', la);
        this.code.set(from, x.add(this.cpu, Cpu.scratch));
      },
    );
    return [this.let(x.load('v128', 16, from)), this.let(x.load('v128', 16, from, 16))];
  }

  writeWide(index: number, low: V128, high: V128): void {
    if (!this.#isMemoryOperand(index)) {
      this.writeVectorRegister(index, low);
      this.writeUpper(index, high);
      return;
    }
    const halves = [this.let(low), this.let(high)] as const;
    const la = this.#operandAddress(32, 'write');
    if (this.row.options.aligned === true) this.#requireAlignment(la, 32);
    const to = this.code.local('i32');
    const entry = this.#tlbEntry(la, Cpu.tlbWrite);
    this.if(
      this.#tlbHit(entry, la, 32),
      () => {
        this.code.set(to, this.#hostAddress(entry, la));
        this.code.store(16, to, halves[0]);
        this.code.store(16, to, halves[1], 16);
      },
      () => {
        this.checkStack(la, 32, 'operand');
        this.setField(Cpu.scratch, halves[0], 16);
        this.setField(Cpu.scratch + 16, halves[1], 16);
        this.call('writeWide', la);
      },
    );
  }

  #requireAlignment(la: I64, bytes: number): void {
    this.if(x.and(x.wrap(la), bytes - 1), () => this.raiseError('gp', 0));
  }

  #loadRegister(address: I32, bytes: number): Int {
    return bytes === 8 ? x.load('i64', 8, address) : x.load('i32', bytes, address);
  }

  #storeRegister(address: I32, bytes: number, value: Int): void {
    if (bytes === 4) this.code.store(8, address, x.extendU(value as I32));
    else this.code.store(bytes, address, value);
  }

  gpr(number: number, bytes: number): Int {
    return this.let(
      this.#loadRegister(x.add(this.cpu, Cpu.gpr + number * 8), bytes) as Expr<'i32' | 'i64'>,
    ) as Int;
  }

  setGpr(number: number, bytes: number, value: Int): void {
    this.#storeRegister(x.add(this.cpu, Cpu.gpr + number * 8), bytes, value);
  }

  // ---- addresses ----

  effectiveAddress(): I64 {
    const base = x.load('i64', 8, this.#at(Record.base));
    const index = x.shl(
      x.load('i64', 8, this.#at(Record.index)),
      x.extendU(this.#recordField(Record.scale, 1)),
    );
    const displacement = x.load('i64', 8, this.#rec, Record.displacement);
    return x.and(x.add(x.add(base, index), displacement), this.addressMask());
  }

  addressMask(): I64 {
    return x.load('i64', 8, this.#rec, Record.addressMask);
  }

  #operandAddress(bytes: number, access: 'read' | 'write'): I64 {
    this.#la ??= this.linearAddress(bytes, access);
    return this.#la;
  }

  linearAddress(bytes: number, access: 'read' | 'write'): I64 {
    const offset = this.let(this.effectiveAddress());
    if (this.#form === Form.flat) return offset;
    const segment = this.let(this.#at(Record.segment));
    const base = x.load('i64', 8, segment, SegmentField.base);
    if (this.#form === Form.based) return this.let(x.add(offset, base));
    this.#checkLimit({ segment, segmentOffset: this.#recordField(Record.segment, 2), offset, bytes, access });
    return this.let(x.and(x.add(offset, base), 0xffff_ffffn));
  }

  implicitAddress(offset: I64, bytes: number, access: 'read' | 'write'): I64 {
    const bound = this.let(x.and(offset, this.addressMask()));
    const segment = this.let(this.#at(Record.segment));
    const base = this.let(x.load('i64', 8, segment, SegmentField.base));
    const la = this.code.local('i64');
    const key = this.field('i32', Cpu.modeKey);
    this.if(
      x.eq(x.and(key, ModeKey.codeMask), ModeKey.code64),
      () => {
        // Only FS and GS have a base in 64-bit mode.
        const based = x.geU(this.#recordField(Record.segment, 2), Cpu.segments + Segment.fs * segmentBytes);
        this.code.set(la, x.add(bound, x.select(based, base, 0)));
      },
      () => {
        this.#checkLimit({
          segment,
          segmentOffset: this.#recordField(Record.segment, 2),
          offset: bound,
          bytes,
          access,
        });
        this.code.set(la, x.and(x.add(bound, base), 0xffff_ffffn));
      },
    );
    return la;
  }

  #checkLimit(o: {
    segment: I32;
    segmentOffset: I32;
    offset: I64;
    bytes: number;
    access: 'read' | 'write';
  }): void {
    const end = o.access === 'read' ? SegmentField.readEnd : SegmentField.writeEnd;
    const inside = x.and(
      x.geS(o.offset, x.load('i64', 8, o.segment, SegmentField.limitMin)),
      x.leS(x.add(o.offset, o.bytes), x.load('i64', 8, o.segment, end)),
    );
    this.if(x.eqz(inside), () => {
      // Misalignment is reported before the limit, as the processor does; only with SS does it make a difference.
      if (o.bytes >= 16 && this.row.options.aligned === true)
        this.#requireAlignment(x.add(o.offset, x.load('i64', 8, o.segment, SegmentField.base)), o.bytes);
      this.call('segmentFault', o.segmentOffset);
    });
  }

  stackPointer(delta: number): I64 {
    return this.let(
      x.and(x.add(x.load('i64', 8, this.cpu, Cpu.gpr + 32), delta), this.field('i64', Cpu.stackMask)),
    );
  }

  setStackPointer(value: I64): void {
    const mask = this.field('i64', Cpu.stackMask);
    const kept = x.and(x.load('i64', 8, this.cpu, Cpu.gpr + 32), x.xor(mask, -1n));
    this.code.store(8, this.cpu, x.or(kept, x.and(value, mask)), Cpu.gpr + 32);
  }

  stackAddress(offset: I64, bytes: number, access: 'read' | 'write'): I64 {
    const bound = this.let(offset);
    const la = this.code.variable(bound);
    const key = this.field('i32', Cpu.modeKey);
    this.if(x.eqz(x.and(key, ModeKey.flat)), () => {
      const segment = x.add(this.cpu, stackSegment);
      this.#checkLimit({ segment, segmentOffset: x.i32(stackSegment), offset: bound, bytes, access });
      this.code.set(la, x.and(x.add(bound, x.load('i64', 8, segment, SegmentField.base)), 0xffff_ffffn));
    });
    return la;
  }

  // ---- memory ----

  #tlbEntry(la: I64, table: number): I32 {
    const index = x.and(x.shrU(x.wrap(la), 8), (Tlb.entries - 1) * Tlb.entryBytes);
    return this.let(x.add(x.load('i32', 4, this.cpu, table), index));
  }

  #tlbHit(entry: I32, la: I64, bytes: number): I32 {
    return x.ltU(x.xor(x.load('i64', 8, entry, Tlb.tag), la), x.i64(4096 - (bytes - 1)));
  }

  #hostAddress(entry: I32, la: I64): I32 {
    return x.add(x.load('i32', 4, entry, Tlb.addend), x.wrap(la));
  }

  protected override checkStack(la: I64, bytes: number, through: AccessThrough): void {
    super.checkStack(la, bytes, through);
    if (through === 'operand' && this.#form === Form.flat)
      this.call('checkFlatAddress', la, x.i32(bytes), this.#recordField(Record.segment, 2));
  }

  loadLinear(address: I64, bytes: number, through: AccessThrough = 'segment'): Int {
    const la = this.let(address);
    const type = bytes === 8 ? 'i64' : 'i32';
    const value = this.code.local(type) as Local<'i32' | 'i64'>;
    const entry = this.#tlbEntry(la, Cpu.tlbRead);
    this.if(
      this.#tlbHit(entry, la, bytes),
      () => this.code.set(value, x.load(type, bytes, this.#hostAddress(entry, la))),
      () => {
        this.checkStack(la, bytes, through);
        this.code.set(value, this.#slowLoad(la, bytes));
      },
    );
    return value as Int;
  }

  storeLinear(address: I64, value: Int, bytes: number, through: AccessThrough = 'segment'): void {
    const la = this.let(address);
    const bound = this.let(value as Expr<'i32' | 'i64'>) as Int;
    const entry = this.#tlbEntry(la, Cpu.tlbWrite);
    this.if(
      this.#tlbHit(entry, la, bytes),
      () => this.code.store(bytes, this.#hostAddress(entry, la), bound as Expr),
      () => {
        this.checkStack(la, bytes, through);
        this.#slowStore(la, bound, bytes);
      },
    );
  }

  #slowLoad(la: I64, bytes: number): Int {
    if (bytes === 8) return callExpr('i64', this.functions.readLinear64, this.cpu, la);
    const name = bytes === 1 ? 'readLinear8' : bytes === 2 ? 'readLinear16' : 'readLinear32';
    return callExpr('i32', this.functions[name], this.cpu, la);
  }

  #slowStore(la: I64, value: Int, bytes: number): void {
    const name =
      bytes === 1
        ? 'writeLinear8'
        : bytes === 2
          ? 'writeLinear16'
          : bytes === 4
            ? 'writeLinear32'
            : 'writeLinear64';
    this.call(name, la, value);
  }

  // ---- flags ----

  getFlagResult(): I64 {
    return x.load('i64', 8, this.cpu, Cpu.flagResult);
  }

  getFlagAux(): I32 {
    return x.load('i32', 4, this.cpu, Cpu.flagAux);
  }

  setFlagResult(value: I64): void {
    this.code.store(8, this.cpu, value, Cpu.flagResult);
  }

  setFlagAux(value: I32): void {
    this.code.store(4, this.cpu, value, Cpu.flagAux);
  }

  // ---- control flow ----

  currentRip(): I64 {
    return x.add(x.load('i64', 8, this.cpu, Cpu.ripPage), x.extendU(this.#recordField(Record.pageOffset, 2)));
  }

  nextRip(): I64 {
    return x.and(
      x.add(this.currentRip(), x.extendU(this.#recordField(Record.length, 1))),
      this.field('i64', Cpu.ripMask),
    );
  }

  jump(target: I64): void {
    this.code.store(8, this.cpu, target, Cpu.rip);
    this.goOn(callExpr('i32', this.functions.followNear, this.cpu, this.#rec), 'or-leave');
    this.#ended = true;
  }

  leaveTo(target: I64): void {
    this.code.store(8, this.cpu, target, Cpu.rip);
    this.leave();
  }

  leave(): void {
    if (this.#inline === undefined) this.code.return(x.i32(0));
    else this.code.br(this.#inline.leave);
    this.#ended = true;
  }

  /** On to the record at `next`; with `or-leave`, 0 leaves. */
  goOn(next: I32, zero?: 'or-leave'): void {
    if (this.#inline === undefined) {
      this.code.return(next);
      return;
    }
    const { record, again, leave } = this.#inline;
    if (zero === undefined) this.code.set(record, next);
    else {
      const found = this.let(next);
      this.code.brIf(leave, x.eqz(found));
      this.code.set(record, found);
    }
    this.code.br(again);
  }

  /** Follows the link of the record where the budget suffices; else core links, or the run loop goes on at RIP. */
  jumpRelative(taken: boolean, change?: () => void): void {
    const link = this.let(this.#recordField(taken ? Record.link : Record.fallLink, 4));
    if (taken) {
      // What is linked was found to be good before.
      this.if(x.eqz(link), () => {
        this.checkNearTarget(this.let(this.#relativeTarget()));
      });
    }
    change?.();
    this.if(link, () => {
      const left = this.let(
        x.sub(x.load('i64', 8, this.cpu, Cpu.remaining), x.load('i64', 1, link, Record.toEnd)),
      );
      this.if(x.geS(left, 0), () => {
        this.code.store(8, this.cpu, left, Cpu.remaining);
        this.goOn(link);
      });
    });
    this.code.store(8, this.cpu, taken ? this.#relativeTarget() : this.nextRip(), Cpu.rip);
    this.goOn(
      callExpr('i32', this.functions.linkJump, this.cpu, this.#rec, x.i32(taken ? 1 : 0)),
      'or-leave',
    );
    this.#ended = true;
  }

  /** With a 16-bit operand size IP is cut to 16 bits, with 32 bits to 32. */
  #relativeTarget(): I64 {
    const target = x.add(this.nextRip(), this.immediate());
    return this.size === 8 ? target : x.and(target, this.size === 2 ? 0xffff : 0xffff_ffffn);
  }

  /** Ends the handler: on to the next record, unless the semantics ended on every path. */
  finish(): void {
    if (!this.#ended || this.row.options.end !== 'branch') this.goOn(x.add(this.#rec, recordBytes));
    if (this.#inline === undefined) this.code.unreachable();
  }
}

/** Offset of a fixed register; AH-BH are numbers 4-7 of one byte. */
function fixedOffset(number: number, bytes: number): number {
  return bytes === 1 && number >= 4 ? Cpu.gpr + (number - 4) * 8 + 1 : Cpu.gpr + number * 8;
}
