/**
 * The x87 instructions, D8 to DF and 9B, with the undocumented aliases. SDM Vol. 2, appendix A.5 (tables );
 * Vol. 1, 8.3. What they do is in core/x87-*.ts and core/fxsave.ts.
 */
import * as x from '../../wasm/expr.ts';
import type { I32, I64 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import type { CoreFunctionName } from '../core-functions.ts';
import { Cpu, FpuTrap, Segment, SegmentField, segmentBytes } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, RowOptions, Semantics } from './row.ts';

/** #NM and pending exceptions, for instructions that wait. */
function wait(b: InstructionBuilder): void {
  b.guard(
    'x87 wait',
    () => {
      const trap = x.and(b.field('i32', Cpu.fpuTrap), FpuTrap.x87NotAvailable);
      return x.or(trap, x.and(b.field('i32', Cpu.fsw), 0x80));
    },
    () => b.call('x87Wait'),
  );
}

/** #NM alone, for FN… instructions. */
function noWait(b: InstructionBuilder): void {
  b.guard(
    'x87 available',
    () => x.and(b.field('i32', Cpu.fpuTrap), FpuTrap.x87NotAvailable),
    () => b.call('x87NoWait'),
  );
}

const selectorOf = (b: InstructionBuilder, segment: number): I32 =>
  b.field('i32', Cpu.segments + segment * segmentBytes + SegmentField.selector, 2);

/** Instruction and data pointers of the last instruction that is no control instruction (SDM Vol. 1, 8.1.8). */
function pointers(b: InstructionBuilder): void {
  b.setField(Cpu.fip, b.currentRip());
  b.setField(Cpu.fcs, selectorOf(b, Segment.cs));
  if (!b.isMemory) return;
  b.setField(Cpu.fdp, b.effectiveAddress());
  b.setField(Cpu.fds, selectorOf(b, Segment.ds));
}

type Body = (b: InstructionBuilder) => void;

/** A waiting instruction: checks, the body (which reads memory first), with pointers. */
const waiting =
  (body: Body): Semantics =>
  (b) => {
    wait(b);
    body(b);
  };

/** A core call with constant arguments. */
const plain = (name: CoreFunctionName, ...args: readonly number[]): Semantics =>
  waiting((b) => {
    pointers(b);
    b.call(name, ...args.map((n) => x.i32(n)));
  });

const sti = (b: InstructionBuilder): I32 => b.registerNumber(0);

/** A core call that takes ST(i) first, then constants. */
const withRegister = (name: CoreFunctionName, ...args: readonly number[]): Semantics =>
  waiting((b) => {
    pointers(b);
    b.call(name, sti(b), ...args.map((n) => x.i32(n)));
  });

/** The memory operand as the core takes it: bits of m32 and m64, sign-extended m16int. */
function memoryValue(b: InstructionBuilder, signed: boolean): I32 | I64 {
  const value = b.read(0);
  return (signed && b.operandBytes(0) === 2 ? b.let(x.extend16S(value as I32)) : b.let(value as I32)) as
    I32 | I64;
}

// ---- the register stack ----

const topOne = 0x800;
const topMask = 0x3800;
const c1 = 0x200;

/** Address of ST(index) when the status word is `fsw`. */
const stackSlot = (b: InstructionBuilder, fsw: I32, index: I32): I32 =>
  x.add(b.cpu, x.add(x.and(x.add(x.shrU(fsw, 7), x.shl(index, 4)), 0x70), Cpu.fpr));
/** Address of its tag byte: 0 full, 1 empty. */
const tagSlot = (b: InstructionBuilder, fsw: I32, index: I32): I32 =>
  x.add(b.cpu, x.add(x.and(x.add(x.shrU(fsw, 11), index), 7), Cpu.ftags));
const tagOf = (b: InstructionBuilder, fsw: I32, index: I32): I32 => x.load('i32', 1, tagSlot(b, fsw, index));
const withTop = (fsw: I32, change: number): I32 =>
  x.or(x.and(fsw, ~(topMask | c1)), x.and(x.add(fsw, change * topOne), topMask));
const statusWord = (b: InstructionBuilder): I32 => b.let(b.field('i32', Cpu.fsw));

/** New ST(0) in a register that is free; C1 = 0. */
function pushStack(b: InstructionBuilder, fsw: I32, significand: I64, signExponent: I32): void {
  const target = b.let(stackSlot(b, fsw, x.i32(7)));
  b.code.store(8, target, significand);
  b.code.store(8, target, x.extendU(signExponent), 8);
  b.code.store(1, tagSlot(b, fsw, x.i32(7)), x.i32(0));
  b.setField(Cpu.fsw, withTop(fsw, -1));
}

/** Frees ST(0). C1 stays. */
function popStack(b: InstructionBuilder): void {
  const fsw = statusWord(b);
  b.code.store(1, tagSlot(b, fsw, x.i32(0)), x.i32(1));
  b.setField(Cpu.fsw, x.or(x.and(fsw, ~topMask), x.and(x.add(fsw, topOne), topMask)));
}

const loadRegister: Semantics = waiting((b) => {
  pointers(b);
  const index = b.let(b.registerNumber(0));
  const fsw = statusWord(b);
  b.if(
    x.or(tagOf(b, fsw, index), x.eqz(tagOf(b, fsw, x.i32(7)))),
    () => b.call('x87LoadRegister', index),
    () => {
      const source = b.let(stackSlot(b, fsw, index));
      pushStack(b, fsw, b.let(x.load('i64', 8, source)), b.let(x.load('i32', 2, source, 8)));
    },
  );
});

const exchange: Semantics = waiting((b) => {
  pointers(b);
  const index = b.let(b.registerNumber(0));
  const fsw = statusWord(b);
  b.if(
    x.or(tagOf(b, fsw, x.i32(0)), tagOf(b, fsw, index)),
    () => b.call('x87Exchange', index),
    () => {
      const first = b.let(stackSlot(b, fsw, x.i32(0)));
      const second = b.let(stackSlot(b, fsw, index));
      const value = b.let(x.load('v128', 16, first));
      b.code.store(16, first, b.let(x.load('v128', 16, second)));
      b.code.store(16, second, value);
      b.setField(Cpu.fsw, x.and(fsw, ~c1));
    },
  );
});

const storeRegister = (pops: 0 | 1): Semantics =>
  waiting((b) => {
    pointers(b);
    const index = b.let(b.registerNumber(0));
    const fsw = statusWord(b);
    b.if(
      tagOf(b, fsw, x.i32(0)),
      () => b.call('x87StoreRegister', index, x.i32(pops)),
      () => {
        b.code.store(16, stackSlot(b, fsw, index), b.let(x.load('v128', 16, stackSlot(b, fsw, x.i32(0)))));
        b.code.store(1, tagSlot(b, fsw, index), x.i32(0));
        b.setField(Cpu.fsw, x.and(fsw, ~c1));
        if (pops) popStack(b);
      },
    );
  });

/** FABS (mask 0x7fff, flip 0) and FCHS (mask 0xffff, flip 0x8000). */
const changeSign = (mask: number, flip: number): Semantics =>
  waiting((b) => {
    pointers(b);
    const fsw = statusWord(b);
    b.if(
      tagOf(b, fsw, x.i32(0)),
      () => b.call('x87Sign', x.i32(mask), x.i32(flip)),
      () => {
        const at = b.let(stackSlot(b, fsw, x.i32(0)));
        b.code.store(2, at, x.xor(x.and(x.load('i32', 2, at, 8), mask), flip), 8);
        b.setField(Cpu.fsw, x.and(fsw, ~c1));
      },
    );
  });

/** FLD m32 and m64: a normal number needs no more than room. */
const loadFloat = (bytes: 4 | 8): Semantics =>
  waiting((b) => {
    const bits = b.let(memoryValue(b, false) as I64);
    pointers(b);
    const fsw = statusWord(b);
    const wide = b.let(b.unsigned64(bits));
    const [fraction, exponentMask, bias] = bytes === 8 ? [52, 0x7ff, 15360] : [23, 0xff, 16256];
    const exponent = b.let(x.and(x.wrap(x.shrU(wide, fraction)), exponentMask));
    const special = x.geU(x.sub(exponent, 1), exponentMask - 1);
    b.if(
      x.or(special, x.eqz(tagOf(b, fsw, x.i32(7)))),
      () => b.call(bytes === 8 ? 'x87LoadDouble' : 'x87LoadSingle', bits),
      () => {
        const significand = x.or(x.shl(wide, 63 - fraction), 1n << 63n);
        const sign = x.and(x.wrap(x.shrU(wide, bytes * 8 - 16)), 0x8000);
        pushStack(b, fsw, b.let(significand), b.let(x.or(sign, x.add(exponent, bias))));
      },
    );
  });

/** FST(P) m32 and m64: with all exceptions masked the value is always stored. */
const storeFloat = (bytes: 4 | 8, pops: 0 | 1): Semantics =>
  waiting((b) => {
    const la = b.let(b.linearAddress(bytes, 'write'));
    b.probeWrite(la, bytes, 'operand');
    pointers(b);
    b.if(
      b.x87Masked(),
      () => {
        const value =
          bytes === 8 ? b.callValue('i64', 'x87RoundDouble') : b.callValue('i32', 'x87RoundSingle');
        b.storeLinear(la, value as I64, bytes, 'operand');
        if (pops) popStack(b);
      },
      () => b.call(bytes === 8 ? 'x87StoreDouble' : 'x87StoreSingle', la, x.i32(pops)),
    );
  });

interface Source {
  opcode: string;
  operand: string;
  arithmetic: CoreFunctionName;
  compare: CoreFunctionName;
  prefix: string;
}
const sources: readonly Source[] = [
  {
    opcode: 'D8',
    operand: 'Md',
    arithmetic: 'x87ArithmeticSingle',
    compare: 'x87CompareSingle',
    prefix: 'F',
  },
  {
    opcode: 'DC',
    operand: 'Mq',
    arithmetic: 'x87ArithmeticDouble',
    compare: 'x87CompareDouble',
    prefix: 'F',
  },
  {
    opcode: 'DA',
    operand: 'Md',
    arithmetic: 'x87ArithmeticInteger',
    compare: 'x87CompareInteger',
    prefix: 'FI',
  },
  {
    opcode: 'DE',
    operand: 'Mw',
    arithmetic: 'x87ArithmeticInteger',
    compare: 'x87CompareInteger',
    prefix: 'FI',
  },
];
const names = ['ADD', 'MUL', 'COM', 'COMP', 'SUB', 'SUBR', 'DIV', 'DIVR'] as const;

const memoryArithmetic = sources.flatMap((source) =>
  names.map((name, n) =>
    row(`${source.opcode} /${n}`, source.prefix + name, source.operand, {}, (b) => {
      wait(b);
      const value = memoryValue(b, true);
      pointers(b);
      if (n === 2 || n === 3) b.call(source.compare, value, x.i32(n - 2));
      else b.call(source.arithmetic, x.i32(n), value);
    }),
  ),
);

const st0WithRegister = names.map((name, n) =>
  row(
    `D8 /${n}`,
    `F${name}`,
    'STi',
    {},
    n === 2 || n === 3
      ? withRegister('x87CompareRegister', n - 2, 0)
      : waiting((b) => {
          pointers(b);
          b.call('x87ArithmeticRegister', x.i32(n), x.i32(0), sti(b), x.i32(0));
        }),
  ),
);

/** DC and DE: the destination is ST(i), and SUB and SUBR, DIV and DIVR have changed places. */
const registerWithSt0 = (['DC', 'DE'] as const).flatMap((opcode, pops) =>
  names.flatMap((name, n) => {
    if (n === 2 || n === 3) return [];
    const swapped = n >= 4 ? n ^ 1 : n;
    return [
      row(
        `${opcode} /${n}`,
        `F${names[swapped] ?? name}${pops ? 'P' : ''}`,
        'STi',
        {},
        waiting((b) => {
          pointers(b);
          b.call('x87ArithmeticRegister', x.i32(swapped), sti(b), x.i32(0), x.i32(pops));
        }),
      ),
    ];
  }),
);

const comparisons: RowDraft[] = [
  row('DC /2', 'FCOM', 'STi', {}, withRegister('x87CompareRegister', 0, 0)), // alias FCOM2
  row('DC /3', 'FCOMP', 'STi', {}, withRegister('x87CompareRegister', 1, 0)), // alias FCOMP3
  row('DE /2', 'FCOMP', 'STi', {}, withRegister('x87CompareRegister', 1, 0)), // alias FCOMP5
  row('DE D9', 'FCOMPP', '', {}, plain('x87CompareRegister', 1, 2, 0)),
  row('DD /4', 'FUCOM', 'STi', {}, withRegister('x87CompareRegister', 0, 1)),
  row('DD /5', 'FUCOMP', 'STi', {}, withRegister('x87CompareRegister', 1, 1)),
  row('DA E9', 'FUCOMPP', '', {}, plain('x87CompareRegister', 1, 2, 1)),
  row('DB /5', 'FUCOMI', 'STi', {}, withRegister('x87CompareFlags', 0, 1)),
  row('DB /6', 'FCOMI', 'STi', {}, withRegister('x87CompareFlags', 0, 0)),
  row('DF /5', 'FUCOMIP', 'STi', {}, withRegister('x87CompareFlags', 1, 1)),
  row('DF /6', 'FCOMIP', 'STi', {}, withRegister('x87CompareFlags', 1, 0)),
  row('D9 E4', 'FTST', '', {}, plain('x87Test')),
  row('D9 E5', 'FXAM', '', {}, plain('x87Examine')),
];

// ---- loads and stores ----

const loadInteger: Semantics = waiting((b) => {
  const value = memoryValue(b, true);
  pointers(b);
  b.call('x87LoadInteger', value.type === 'i64' ? value : x.extendS(value));
});
/** FLD m80fp and FBLD: eight bytes, then two. */
const loadTen = (name: CoreFunctionName): Semantics =>
  waiting((b) => {
    const la = b.let(b.linearAddress(10, 'read'));
    const low = b.let(b.loadLinear(la, 8, 'operand') as I64);
    const high = b.let(b.loadLinear(x.add(la, 8), 2, 'operand') as I32);
    pointers(b);
    b.call(name, low, high);
  });
/** Stores check and write through the core: nothing may change when they fault. */
const storeMemory = (name: CoreFunctionName, ...args: readonly number[]): Semantics =>
  waiting((b) => {
    const bytes = b.operandBytes(0);
    const la = b.let(b.linearAddress(bytes, 'write'));
    b.probeWrite(la, bytes, 'operand');
    pointers(b);
    b.call(name, la, ...args.map((n) => x.i32(n)));
  });
/** Arguments after the address: bytes, pops, truncates. */
const storeInteger = (bytes: number, pops: number, truncates: number): Semantics =>
  storeMemory('x87StoreInteger', bytes, pops, truncates);

// prettier-ignore
const transfers: RowDraft[] = [
  row('D9 /0', 'FLD', 'Md', {}, loadFloat(4)),
  row('DD /0', 'FLD', 'Mq', {}, loadFloat(8)),
  row('DB /5', 'FLD', 'Mt', {}, loadTen('x87LoadExtended')),
  row('DF /4', 'FBLD', 'Mt', {}, loadTen('x87LoadBcd')),
  row('DF /0', 'FILD', 'Mw', {}, loadInteger),
  row('DB /0', 'FILD', 'Md', {}, loadInteger),
  row('DF /5', 'FILD', 'Mq', {}, loadInteger),
  row('D9 /2', 'FST', 'Md', {}, storeFloat(4, 0)),
  row('D9 /3', 'FSTP', 'Md', {}, storeFloat(4, 1)),
  row('DD /2', 'FST', 'Mq', {}, storeFloat(8, 0)),
  row('DD /3', 'FSTP', 'Mq', {}, storeFloat(8, 1)),
  row('DB /7', 'FSTP', 'Mt', {}, storeMemory('x87StoreExtended')),
  row('DF /6', 'FBSTP', 'Mt', {}, storeMemory('x87StoreBcd')),
  row('DF /2', 'FIST', 'Mw', {}, storeInteger(2, 0, 0)),
  row('DF /3', 'FISTP', 'Mw', {}, storeInteger(2, 1, 0)),
  row('DB /2', 'FIST', 'Md', {}, storeInteger(4, 0, 0)),
  row('DB /3', 'FISTP', 'Md', {}, storeInteger(4, 1, 0)),
  row('DF /7', 'FISTP', 'Mq', {}, storeInteger(8, 1, 0)),
  row('DF /1', 'FISTTP', 'Mw', {}, storeInteger(2, 1, 1)),
  row('DB /1', 'FISTTP', 'Md', {}, storeInteger(4, 1, 1)),
  row('DD /1', 'FISTTP', 'Mq', {}, storeInteger(8, 1, 1)),
  row('D9 /0', 'FLD', 'STi', {}, loadRegister),
  row('DD /2', 'FST', 'STi', {}, storeRegister(0)),
  row('DD /3', 'FSTP', 'STi', {}, storeRegister(1)),
  row('D9 /3', 'FSTPNCE', 'STi', {}, withRegister('x87StoreWithoutCheck')),
  row('DF /2', 'FSTP', 'STi', {}, storeRegister(1)), // alias FSTP8
  row('DF /3', 'FSTP', 'STi', {}, storeRegister(1)), // alias FSTP9
  row('D9 /1', 'FXCH', 'STi', {}, exchange),
  row('DD /1', 'FXCH', 'STi', {}, exchange), // alias FXCH4
  row('DF /1', 'FXCH', 'STi', {}, exchange), // alias FXCH7
  ...['FLD1', 'FLDL2T', 'FLDL2E', 'FLDPI', 'FLDLG2', 'FLDLN2', 'FLDZ'].map((name, n) =>
    row(`D9 E${(8 + n).toString(16).toUpperCase()}`, name, '', {}, plain('x87LoadConstant', n)),
  ),
  ...['B', 'E', 'BE', 'U'].flatMap((condition, n) =>
    [0, 1].map((inverted) =>
      row(`${inverted ? 'DB' : 'DA'} /${n}`, `FCMOV${inverted ? 'N' : ''}${condition}`, 'STi', {}, waiting((b) => {
        pointers(b);
        const code = ([2, 4, 6, 10][n] ?? 0) + inverted;
        b.call('x87ConditionalMove', sti(b), b.flags.condition(code));
      })),
    ),
  ),
];

// ---- one operand, control, environment ----

const single: readonly (readonly [string, string, CoreFunctionName, ...number[]])[] = [
  ['D9 F0', 'F2XM1', 'x87PowerMinusOne'],
  ['D9 F1', 'FYL2X', 'x87Logarithm', 0],
  ['D9 F2', 'FPTAN', 'x87Tangent'],
  ['D9 F3', 'FPATAN', 'x87Arctangent'],
  ['D9 F4', 'FXTRACT', 'x87Extract'],
  ['D9 F9', 'FYL2XP1', 'x87Logarithm', 1],
  ['D9 FB', 'FSINCOS', 'x87SineCosine'],
  ['D9 FE', 'FSIN', 'x87Sine', 0],
  ['D9 FF', 'FCOS', 'x87Sine', 1],
  ['D9 F5', 'FPREM1', 'x87Remainder', 1],
  ['D9 F6', 'FDECSTP', 'x87MoveTop', -1],
  ['D9 F7', 'FINCSTP', 'x87MoveTop', 1],
  ['D9 F8', 'FPREM', 'x87Remainder', 0],
  ['D9 FA', 'FSQRT', 'x87SquareRoot'],
  ['D9 FC', 'FRNDINT', 'x87RoundToInteger'],
  ['D9 FD', 'FSCALE', 'x87Scale'],
  ['D9 D0', 'FNOP', 'x87MoveTop', 0],
];

const control =
  (waits: boolean, body: Body): Semantics =>
  (b) => {
    if (waits) wait(b);
    else noWait(b);
    body(b);
  };
const environmentSizes: RowOptions = { sizes: [2, 4, 8] };
/** Bytes of an environment, and of one with the eight registers. */
const environmentBytes = (b: InstructionBuilder): number => (b.size === 2 ? 14 : 28);
const image = (
  name: CoreFunctionName,
  access: 'read' | 'write',
  registers: boolean,
  waits: boolean,
): Semantics =>
  control(waits, (b) => {
    const la = b.linearAddress(environmentBytes(b) + (registers ? 80 : 0), access);
    b.call(name, la, x.i32(b.size));
  });
const nothing: Body = () => undefined;

const controls: RowDraft[] = [
  row('D9 E0', 'FCHS', '', {}, changeSign(0xffff, 0x8000)),
  row('D9 E1', 'FABS', '', {}, changeSign(0x7fff, 0)),
  ...single.map(([opcode, name, core, ...args]) => row(opcode, name, '', {}, plain(core, ...args))),
  row('DD /0', 'FFREE', 'STi', {}, withRegister('x87Free', 0)),
  row('DF /0', 'FFREEP', 'STi', {}, withRegister('x87Free', 1)),
  row('D9 /4', 'FLDENV', 'M', environmentSizes, image('x87LoadEnvironment', 'read', false, true)),
  row('D9 /6', 'FNSTENV', 'M', environmentSizes, image('x87StoreEnvironment', 'write', false, false)),
  row('DD /4', 'FRSTOR', 'M', environmentSizes, image('x87Restore', 'read', true, true)),
  row('DD /6', 'FNSAVE', 'M', environmentSizes, image('x87Save', 'write', true, false)),
  row(
    'D9 /5',
    'FLDCW',
    'Mw',
    {},
    control(true, (b) => b.call('x87LoadControl', b.read(0))),
  ),
  row(
    'D9 /7',
    'FNSTCW',
    'Mw',
    {},
    control(false, (b) => b.write(0, b.field('i32', Cpu.fcw))),
  ),
  row(
    'DD /7',
    'FNSTSW',
    'Mw',
    {},
    control(false, (b) => b.write(0, b.field('i32', Cpu.fsw))),
  ),
  row(
    'DF E0',
    'FNSTSW',
    'AX',
    {},
    control(false, (b) => b.write(0, b.field('i32', Cpu.fsw))),
  ),
  row('DB E0', 'FNENI', '', {}, control(false, nothing)),
  row('DB E1', 'FNDISI', '', {}, control(false, nothing)),
  row(
    'DB E2',
    'FNCLEX',
    '',
    {},
    control(false, (b) => b.call('x87ClearExceptions')),
  ),
  row(
    'DB E3',
    'FNINIT',
    '',
    {},
    control(false, (b) => b.call('x87Initialize')),
  ),
  row('DB E4', 'FNSETPM', '', {}, control(false, nothing)),
  row('9B', 'WAIT', '', {}, (b) => {
    b.if(x.and(b.field('i32', Cpu.fpuTrap), FpuTrap.waitNotAvailable), () => b.raise('nm'));
    b.if(x.and(b.field('i32', Cpu.fsw), 0x80), () => b.call('x87PendingError'));
  }),
];

export const rows: RowDraft[] = [
  ...memoryArithmetic,
  ...st0WithRegister,
  ...registerWithSt0,
  ...comparisons,
  ...transfers,
  ...controls,
];
