/**
 * String instructions in translated code: single ones, and REP MOVS and REP STOS that stay on one page of each operand, go
 * upwards, and fit into the budget. Everything else is left to the interpreter's handler. SDM Vol. 2, REP; core/strings.ts.
 */
import type { Code, Label } from '../wasm/code.ts';
import * as x from '../wasm/expr.ts';
import type { Expr, I32, I64, Int } from '../wasm/expr.ts';
import type { CoreFunctionRefs } from '../cpu/builder.ts';
import { Cpu, Flag, RecordPrefix, Tlb } from '../cpu/layout.ts';

export type StringOperation = 'movs' | 'cmps' | 'stos' | 'lods' | 'scas';

const rax = 0;
const rcx = 1;
const rsi = 6;
const rdi = 7;

/** What the string code needs of its instruction's builder. */
export interface StringContext {
  code: Code;
  cpu: I32;
  functions: CoreFunctionRefs;
  size: number;
  prefixes: number;
  /** Mask of the address size: 2^32 - 1 or -1. */
  mask: bigint;
  remaining: Expr<'i64'>;
  tlbRead: I32;
  tlbWrite: I32;
  gpr(number: number, bytes: number): Int;
  setGpr(number: number, bytes: number, value: Int): void;
  load(la: I64, bytes: number): Int;
  store(la: I64, value: Int, bytes: number): void;
  /** Flags of a - c. */
  compare(a: Int, c: Int): void;
  /** Pays for further iterations. */
  pay(iterations: I64): void;
  /** The interpreter's handler executes the instruction. */
  callout(): void;
}

export function emitString(c: StringContext, operation: StringOperation): void {
  if ((c.prefixes & (RecordPrefix.rep | RecordPrefix.repne)) === 0) {
    emitSingle(c, operation);
    return;
  }
  if (operation !== 'movs' && operation !== 'stos') {
    c.callout();
    return;
  }
  c.code.block((done) => {
    c.code.block((slow) => {
      emitRepeated(c, operation, slow);
      c.code.br(done);
    });
    c.callout();
  });
}

const pointer = (c: StringContext, register: number): Expr<'i64'> =>
  c.code.variable(x.and(c.gpr(register, 8) as I64, c.mask));

function emitSingle(c: StringContext, operation: StringOperation): void {
  const { code, size } = c;
  const backward = x.and(x.load('i32', 4, c.cpu, Cpu.systemFlags), Flag.df);
  const step = code.let(x.select(backward, x.i64(-size), x.i64(size)));
  const usesSource = operation === 'movs' || operation === 'lods' || operation === 'cmps';
  const usesTarget = operation !== 'lods';
  const from = usesSource ? pointer(c, rsi) : x.i64(0);
  const to = usesTarget ? pointer(c, rdi) : x.i64(0);
  if (operation === 'movs') c.store(to, c.load(from, size), size);
  else if (operation === 'stos') c.store(to, c.gpr(rax, size), size);
  else if (operation === 'lods') c.setGpr(rax, size, c.load(from, size));
  else {
    const first = operation === 'cmps' ? c.load(from, size) : c.gpr(rax, size);
    c.compare(first, c.load(to, size));
  }
  if (usesSource) c.setGpr(rsi, 8, x.and(x.add(from, step), c.mask));
  if (usesTarget) c.setGpr(rdi, 8, x.and(x.add(to, step), c.mask));
}

/** Host address of `bytes` (1-4096, at run time) bytes at `la`; branches to `slow` on a miss or when they leave the page. */
function hostOf(c: StringContext, table: I32, la: I64, bytes: I64, slow: Label): I32 {
  const { code } = c;
  const index = x.and(x.shrU(x.wrap(la), 8), (Tlb.entries - 1) * Tlb.entryBytes);
  const entry = code.let(x.add(table, index));
  const room = x.sub(x.i64(4097), bytes);
  code.brIf(slow, x.geU(x.xor(x.load('i64', 8, entry, Tlb.tag), la), room));
  return code.let(x.add(x.load('i32', 4, entry, Tlb.addend), x.wrap(la)));
}

function emitRepeated(c: StringContext, operation: 'movs' | 'stos', slow: Label): void {
  const { code, size, cpu } = c;
  const count = pointer(c, rcx);
  code.brIf(slow, x.gtU(x.sub(count, 1), 4096 / size - 1));
  // The instruction itself has been paid.
  code.brIf(slow, x.gtS(count, x.add(c.remaining, 1)));
  const hindrance = x.or(
    x.and(x.load('i32', 4, cpu, Cpu.systemFlags), Flag.df),
    x.or(x.load('i32', 4, cpu, Cpu.stepMode), x.load('i32', 4, cpu, Cpu.accessChecks)),
  );
  code.brIf(slow, hindrance);
  const bytes = code.let(x.mul(count, size));
  const to = pointer(c, rdi);
  const length = code.let(x.wrap(bytes));
  const target = hostOf(c, c.tlbWrite, to, bytes, slow);
  if (operation === 'movs') {
    const from = pointer(c, rsi);
    const source = hostOf(c, c.tlbRead, from, bytes, slow);
    // A destination inside of the source would see what has just been stored.
    code.brIf(slow, x.ltU(x.sub(target, source), length));
    code.call(c.functions.copyForward, target, source, length);
    c.setGpr(rsi, 8, x.and(x.add(from, bytes), c.mask));
  } else {
    code.call(c.functions.fillForward, target, length, pattern(c));
  }
  c.setGpr(rdi, 8, x.and(x.add(to, bytes), c.mask));
  c.setGpr(rcx, 8, x.i64(0));
  c.pay(x.sub(count, 1));
}

/** The element as eight bytes. */
function pattern(c: StringContext): I64 {
  const value = c.gpr(rax, c.size);
  if (c.size === 8) return value as I64;
  const repeat =
    { 1: 0x0101_0101_0101_0101n, 2: 0x0001_0001_0001_0001n, 4: 0x0000_0001_0000_0001n }[c.size] ?? 1n;
  return x.mul(x.extendU(value as I32), repeat);
}
