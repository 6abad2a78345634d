/**
 * Makes interpreter.wasm from the instruction table: the handlers, the decode tables and the run loop.
 *
 * The run loop alternates between its slow part (events, deadline, finding the block at Cpu.rip) and the fast part,
 * which calls handler after handler until one returns 0. A guest fault unwinds to its catch with `record` still naming
 * the faulting instruction (0: the fault arose between instructions and Cpu.rip is right).
 */
import { callExpr, callIndirect } from '../wasm/code.ts';
import type { Code, FunctionRef, FunctionType, Label } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { I32 } from '../wasm/expr.ts';
import { ModuleWriter } from '../wasm/module.ts';
import type { CoreFunctionRefs } from './builder.ts';
import { coreFunctions } from './core-functions.ts';
import { assignHandlers, buildDecodeTables } from './decode-tables.ts';
import type { HandlerSlot } from './decode-tables.ts';
import { isHot } from './hot-handlers.ts';
import { InterpreterBuilder } from './interpreter-builder.ts';
import type { InlineHandler } from './interpreter-builder.ts';
import {
  Cpu,
  ExitReason,
  Flag,
  Record,
  Region,
  SpecialHandler,
  StepMode,
  recordBytes,
  retryVector,
} from './layout.ts';
import { row } from './table/row.ts';
import type { Row } from './table/row.ts';

const handlerType: FunctionType = { params: ['i32', 'i32'], result: 'i32' };
const loopType: FunctionType = { params: ['i32'], result: 'i32' };

/** Core functions that the run loop itself calls. */
const loopFunctions = {
  findBlock: { params: ['i32'], result: 'i32' },
  findInstruction: { params: ['i32'], result: 'i32' },
  deliverEvent: { params: ['i32'] },
  recordFault: { params: ['i32'], result: 'i32' },
  beforeInstruction: { params: ['i32'] },
  afterInstruction: { params: ['i32'] },
  atBreakpoint: { params: ['i32'], result: 'i32' },
} as const satisfies Record<string, FunctionType>;
type LoopFunctionRefs = Record<keyof typeof loopFunctions, FunctionRef>;

/** The module with the exception that stands for a guest fault. */
export function makeFaultModule(): Uint8Array<ArrayBuffer> {
  const writer = new ModuleWriter();
  const tag = writer.tag();
  const { ref, code } = writer.function({ params: [] });
  code.throw(tag);
  writer.export('fault', 'tag', tag);
  writer.export('throwFault', 'function', ref.index);
  return writer.toBytes();
}

export function makeInterpreterModule(rows: readonly Row[]): Uint8Array<ArrayBuffer> {
  const writer = new ModuleWriter();
  writer.importSharedMemory('env', 'memory', { initial: 1, maximum: 65536 });
  const tag = writer.importTag('fault', 'fault');
  const importAll = <N extends string>(functions: Record<N, FunctionType>): Record<N, FunctionRef> =>
    Object.fromEntries(
      Object.entries<FunctionType>(functions).map(([name, type]) => [
        name,
        writer.importFunction('core', name, type),
      ]),
    ) as Record<N, FunctionRef>;
  const core = importAll(coreFunctions);
  const loop = importAll(loopFunctions);

  const { slots, bases, count } = assignHandlers(rows);
  const handlers = new Array<FunctionRef>(count);
  const special = makeSpecialHandlers(writer, core);
  handlers.fill(special[SpecialHandler.undefined] as FunctionRef);
  special.forEach((ref, slot) => (handlers[slot] = ref));
  for (const { row: r, size, form, slot } of slots) {
    const { ref, code } = writer.function(handlerType);
    const builder = new InterpreterBuilder({ code, row: r, size, form, functions: core });
    try {
      r.semantics(builder);
    } catch (cause) {
      throw new Error(`${r.opcodeText} ${r.mnemonic}, size ${size}, form ${form}: ${String(cause)}`, {
        cause,
      });
    }
    builder.finish();
    handlers[slot] = ref;
  }
  writer.table({ initial: count });
  writer.element(0, handlers);
  writer.export('handlers', 'table', 0);
  writer.dataSegment(Region.decodeTables, decodeTableBytes(rows, bases));
  makeLoops(writer, tag, loop, inlineSlots(slots, core));
  return writer.toBytes();
}

/** A handler that is a part of the run loop. */
interface InlineSlot {
  slot: number;
  emit: (code: Code, inline: InlineHandler) => void;
}

function inlineSlots(slots: readonly HandlerSlot[], functions: CoreFunctionRefs): InlineSlot[] {
  const hot = slots.filter(isHot).map(({ row: r, size, form, slot }): InlineSlot => {
    const emit = (code: Code, inline: InlineHandler): void => {
      const builder = new InterpreterBuilder({ code, row: r, size, form, functions, inline });
      r.semantics(builder);
      builder.finish();
    };
    return { slot, emit };
  });
  hot.push({
    slot: SpecialHandler.fallThrough,
    emit: (code, inline) => {
      new InterpreterBuilder({ code, row: noRow, size: 4, form: 0, functions, inline }).jumpRelative(false);
    },
  });
  hot.push({
    slot: SpecialHandler.head,
    emit: (code, inline) => {
      emitHead(new InterpreterBuilder({ code, row: noRow, size: 4, form: 0, functions, inline }));
    },
  });
  return hot;
}

function decodeTableBytes(rows: readonly Row[], bases: ReadonlyMap<number, number>): Uint8Array {
  const bytes = buildDecodeTables(rows, bases);
  if (bytes.length > Region.decodeTablesEnd - Region.decodeTables)
    throw new Error('the decode tables outgrow their region');
  return bytes;
}

/** Stands for the row of the special handlers. */
const noRow: Row = { ...row('90', 'special', '', { end: 'branch' }, () => undefined), id: -1 };

/** RIP and the budget as they were before the block at this record was entered. */
function giveBack(b: InterpreterBuilder): void {
  b.setField(
    Cpu.remaining,
    x.add(x.load('i64', 8, b.cpu, Cpu.remaining), x.load('i64', 1, b.record(), Record.toEnd)),
  );
  b.setField(Cpu.rip, b.currentRip());
}

/** Counts an entry; the last one asks for a translation. */
function emitHead(b: InterpreterBuilder): void {
  const left = b.let(x.sub(x.load('i64', 8, b.record(), Record.displacement), 1));
  b.code.store(8, b.record(), left, Record.displacement);
  b.if(x.eqz(left), () => {
    giveBack(b);
    b.setField(Cpu.hotBlock, b.record());
    b.setField(Cpu.exitRequest, x.i32(ExitReason.translate));
    b.leave();
  });
  b.goOn(x.add(b.record(), recordBytes));
}

function makeSpecialHandlers(writer: ModuleWriter, core: CoreFunctionRefs): FunctionRef[] {
  const make = (emit: (b: InterpreterBuilder) => void): FunctionRef => {
    const { ref, code } = writer.function(handlerType);
    const b = new InterpreterBuilder({ code, row: noRow, size: 4, form: 0, functions: core });
    emit(b);
    code.unreachable();
    return ref;
  };
  const handlers: Record<keyof typeof SpecialHandler, ((b: InterpreterBuilder) => void) | undefined> = {
    stale: (b) => {
      giveBack(b);
      b.leave();
    },
    undefined: (b) => {
      b.raise('ud');
    },
    tooLong: (b) => {
      b.raiseError('gp', 0);
    },
    fallThrough: (b) => {
      b.jumpRelative(false);
    },
    exit: (b) => {
      b.leaveTo(b.nextRip());
    },
    exactly: (b) => {
      giveBack(b);
      b.setField(Cpu.stepMode, x.or(x.load('i32', 4, b.cpu, Cpu.stepMode), StepMode.once));
      b.leave();
    },
    head: emitHead,
    count: undefined,
  };
  const refs: FunctionRef[] = [];
  for (const [name, emit] of Object.entries(handlers)) {
    if (emit !== undefined) refs[SpecialHandler[name as keyof typeof SpecialHandler]] = make(emit);
  }
  return refs;
}

class LoopWriter {
  readonly code: Code;
  readonly cpu: I32;
  readonly record;
  readonly #handlerTypeIndex: number;
  readonly #loop: LoopFunctionRefs;

  constructor(code: Code, handlerTypeIndex: number, loop: LoopFunctionRefs) {
    this.code = code;
    this.cpu = code.param('i32', 0);
    this.record = code.local('i32');
    this.#handlerTypeIndex = handlerTypeIndex;
    this.#loop = loop;
  }

  field32(offset: number): I32 {
    return x.load('i32', 4, this.cpu, offset);
  }

  setField32(offset: number, value: I32 | number): void {
    this.code.store(4, this.cpu, x.coerce('i32', value), offset);
  }

  addRemaining(delta: x.I64): void {
    this.code.store(8, this.cpu, x.add(x.load('i64', 8, this.cpu, Cpu.remaining), delta), Cpu.remaining);
  }

  /** Handler after handler, until one leaves. Those in `inline` are parts of the loop, the others are called. */
  runRecords(inline: readonly InlineSlot[] = []): void {
    const { code, record } = this;
    code.block((leave) => {
      code.loop((again) => {
        const slot = code.variable(x.load('i32', 2, record, Record.handler));
        const open = (index: number, labels: readonly Label[]): void => {
          const part = inline[index];
          if (part === undefined) {
            code.block((called) => {
              const table = new Array<Label>(Math.max(0, ...inline.map((one) => one.slot + 1))).fill(called);
              inline.forEach((one, i) => (table[one.slot] = labels[i] ?? called));
              if (table.length > 0) code.brTable(slot, table, called);
            });
            const next = code.variable(callIndirect('i32', this.#handlerTypeIndex, slot, this.cpu, record));
            code.brIf(leave, x.eqz(next));
            code.set(record, next);
            code.br(again);
            return;
          }
          code.block((label) => {
            open(index + 1, [...labels, label]);
          });
          code.sharingLocals(() => {
            part.emit(code, { record, again, leave });
          });
        };
        open(0, []);
      });
    });
  }

  /** Back to the host when a debugger's breakpoint lies on the instruction at Cpu.rip. */
  stopAtBreakpoint(): void {
    const { code, cpu } = this;
    code.if(callExpr('i32', this.#loop.atBreakpoint, cpu), () => {
      this.setField32(Cpu.stepMode, x.and(this.field32(Cpu.stepMode), ~StepMode.once));
      code.return(x.i32(ExitReason.breakpoint));
    });
  }

  /** The one instruction at Cpu.rip, with an exact count. */
  stepOne(): void {
    const { code, cpu } = this;
    const debug = code.variable(x.and(this.field32(Cpu.stepMode), StepMode.once - 1));
    code.if(debug, () => {
      code.call(this.#loop.beforeInstruction, cpu);
    });
    this.setField32(Cpu.interruptShadow, 0);
    // Exact from here on: the instruction itself may be fetched from a device.
    this.setField32(Cpu.exact, 1);
    code.set(this.record, callExpr('i32', this.#loop.findInstruction, cpu));
    this.addRemaining(x.i64(-1));
    this.runRecords();
    code.set(this.record, 0);
    this.setField32(Cpu.exact, 0);
    this.setField32(Cpu.stepMode, x.and(this.field32(Cpu.stepMode), ~StepMode.once));
    code.if(debug, () => {
      code.call(this.#loop.afterInstruction, cpu);
    });
  }

  /** In the catch: gives back what did not retire, puts RIP on the faulting instruction. */
  rewind(): void {
    const { code, cpu } = this;
    const callout = code.let(this.field32(Cpu.calloutRecord));
    code.if(callout, () => {
      code.set(this.record, callout);
      this.setField32(Cpu.calloutRecord, 0);
    });
    code.if(this.record, () => {
      this.addRemaining(x.load('i64', 1, this.record, Record.toEnd));
      const rip = x.add(x.load('i64', 8, cpu, Cpu.ripPage), x.load('i64', 2, this.record, Record.pageOffset));
      code.store(8, cpu, x.and(rip, x.load('i64', 8, cpu, Cpu.ripMask)), Cpu.rip);
    });
    this.setField32(Cpu.exact, 0);
  }

  recordFault(): I32 {
    return callExpr('i32', this.#loop.recordFault, this.cpu);
  }

  /** Returns to the host when something there is to be done before the next instruction. */
  exitChecks(): void {
    const { code, cpu } = this;
    const leave = (condition: I32, reason: number): void => {
      code.if(condition, () => {
        code.return(x.i32(reason));
      });
    };
    code.if(x.ne(this.field32(Cpu.pendingVector), -1), () => {
      // A delivery counts as an instruction: a guest that faults for ever without retiring one meets its deadline.
      this.addRemaining(x.i64(-1));
      code.call(this.#loop.deliverEvent, cpu);
    });
    const request = code.let(this.field32(Cpu.exitRequest));
    code.if(request, () => {
      this.setField32(Cpu.exitRequest, 0);
      code.return(request);
    });
    const shadow = code.let(this.field32(Cpu.interruptShadow));
    const nmi = x.and(x.ne(this.field32(Cpu.nmiPending), 0), x.eqz(this.field32(Cpu.nmiBlocked)));
    const intr = x.and(
      x.ne(this.field32(Cpu.intrPending), 0),
      x.ne(x.and(this.field32(Cpu.systemFlags), Flag.if), 0),
    );
    const takeable = code.let(x.and(x.or(nmi, intr), x.eqz(shadow)));
    leave(x.leS(x.load('i64', 8, cpu, Cpu.remaining), 0), ExitReason.deadline);
    leave(takeable, ExitReason.interruptWindow);
    leave(x.ne(this.field32(Cpu.halted), 0), ExitReason.halt);
  }

  /** Not 0 when there may be more to do between blocks than to look at the deadline. */
  unquiet(): I32 {
    const { pendingVector, exitRequest, interruptShadow, nmiPending, intrPending, halted, stepMode } = Cpu;
    return [exitRequest, interruptShadow, nmiPending, intrPending, halted, stepMode].reduce(
      (all, field) => x.or(all, this.field32(field)),
      x.xor(this.field32(pendingVector), -1),
    );
  }

  findBlock(): I32 {
    return callExpr('i32', this.#loop.findBlock, this.cpu);
  }
}

function makeLoops(
  writer: ModuleWriter,
  tag: number,
  loop: LoopFunctionRefs,
  inline: readonly InlineSlot[],
): void {
  const typeIndex = writer.typeIndex(handlerType);
  const run = writer.function(loopType);
  makeRun(run.code, tag, new LoopWriter(run.code, typeIndex, loop), inline);
  writer.export('run', 'function', run.ref.index);
  const step = writer.function(loopType);
  makeStep(step.code, tag, new LoopWriter(step.code, typeIndex, loop));
  writer.export('step', 'function', step.ref.index);
}

/** run(cpu): ExitReason. Runs until the deadline or until the host is needed. */
function makeRun(code: Code, tag: number, w: LoopWriter, inline: readonly InlineSlot[]): void {
  const left = code.local('i64');
  code.loop((restart) => {
    code.tryCatch(
      tag,
      () => {
        code.loop((next) => {
          code.set(w.record, 0);
          code.if(w.unquiet(), () => {
            w.exitChecks();
            code.if(x.or(w.field32(Cpu.stepMode), w.field32(Cpu.interruptShadow)), () => {
              w.stopAtBreakpoint();
              w.stepOne();
              code.br(next);
            });
          });
          code.if(x.leS(x.load('i64', 8, w.cpu, Cpu.remaining), 0), () => {
            code.return(x.i32(ExitReason.deadline));
          });
          const first = code.variable(w.findBlock());
          code.set(
            left,
            x.sub(x.load('i64', 8, w.cpu, Cpu.remaining), x.load('i64', 1, first, Record.toEnd)),
          );
          code.if(x.ltS(left, 0), () => {
            w.stopAtBreakpoint();
            w.stepOne();
            code.br(next);
          });
          code.store(8, w.cpu, left, Cpu.remaining);
          code.set(w.record, first);
          w.runRecords(inline);
          code.br(next);
        });
      },
      () => {
        w.rewind();
        code.if(
          x.eq(w.field32(Cpu.faultVector), retryVector),
          () => {
            code.if(w.record, () => {
              code.store(2, w.record, x.i32(SpecialHandler.exactly), Record.handler);
            });
            w.setField32(Cpu.stepMode, x.or(w.field32(Cpu.stepMode), StepMode.once));
          },
          () => {
            code.if(w.recordFault(), () => {
              code.return(x.i32(ExitReason.shutdown));
            });
          },
        );
        code.br(restart);
      },
    );
  });
  code.unreachable();
}

/** step(cpu): 0 = one instruction retired, 1 = it faulted and the event is pending, ExitReason.shutdown = triple fault. */
function makeStep(code: Code, tag: number, w: LoopWriter): void {
  code.set(w.record, 0);
  code.tryCatch(
    tag,
    () => {
      w.stepOne();
    },
    () => {
      w.rewind();
      code.if(w.recordFault(), () => {
        code.return(x.i32(ExitReason.shutdown));
      });
      code.return(x.i32(1));
    },
  );
  code.return(x.i32(0));
  code.unreachable();
}
