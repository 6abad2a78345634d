/**
 * SSE floating point. Each row computes in WebAssembly arithmetic when that is exact to the last flag: rounding to nearest,
 * all exceptions masked, PE already set, no denormal operand, and a result that is neither zero, tiny, infinite nor
 * NaN. Everything else goes through core/sse-float.ts. SDM Vol. 1, 11.5.
 */
import * as x from '../../wasm/expr.ts';
import type { Expr, F32, F64, I32, I64, Int, V128, WasmType } from '../../wasm/expr.ts';
import type { Local } from '../../wasm/code.ts';
import type { InstructionBuilder } from '../builder.ts';
import { Cpu, CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import {
  and,
  beginSse,
  binary,
  immediateByte,
  lane64,
  or,
  readRegister,
  shuffle,
  splatConstant,
  unary,
} from './simd-common.ts';

const { sse, sse2, sse3, sse41, sse42 } = CpuFeature;

export type Bytes = 4 | 8;

/** Scratch operands of core/sse-float.ts. */
export const scratchSource = Cpu.scratch + 16;
export const scratchResult = Cpu.scratch + 32;

const toScratch = (b: InstructionBuilder, a: V128, c: V128): void => {
  b.setField(Cpu.scratch, a, 16);
  b.setField(scratchSource, c, 16);
};
export const fromScratch = (b: InstructionBuilder): V128 => b.field('v128', scratchResult, 16);

/** Nearest, all masked, no DAZ, PE set: flags can only stay as they are. With `kept` also no FTZ: tiny results stay. */
export const quietEnvironment = (b: InstructionBuilder, kept = false): I32 =>
  x.eq(x.and(b.field('i32', Cpu.mxcsr), kept ? 0xffe0 : 0x7fe0), 0x1fa0);

/** SIMD opcodes of the format. */
export interface Format {
  bytes: Bytes;
  abs: number;
  eq: number;
  lt: number;
  ge: number;
  allTrue: number;
  smallest: bigint;
  /** Twice the smallest normal number: results from here on can't have been tiny before rounding. */
  safe: bigint;
  infinity: bigint;
}
// prettier-ignore
const single: Format = {
  bytes: 4, abs: 224, eq: 65, lt: 67, ge: 70, allTrue: 163,
  smallest: 0x0080_0000n, safe: 0x0100_0000n, infinity: 0x7f80_0000n,
};
// prettier-ignore
const double: Format = {
  bytes: 8, abs: 236, eq: 71, lt: 73, ge: 76, allTrue: 195,
  smallest: 0x0010_0000_0000_0000n, safe: 0x0020_0000_0000_0000n, infinity: 0x7ff0_0000_0000_0000n,
};
export const formatOf = (bytes: Bytes): Format => (bytes === 4 ? single : double);

/** Lanes of a that are zero or normal (or infinite). */
export function noDenormal(f: Format, a: V128): V128 {
  const normal = binary(f.ge, unary(f.abs, a), splatConstant(f.bytes, f.smallest));
  return or(normal, binary(f.eq, a, splatConstant(f.bytes, 0)));
}

/** All lanes of r have a safe, finite magnitude. */
export function safeResult(b: InstructionBuilder, f: Format, r: V128): V128 {
  const magnitude = b.let(unary(f.abs, r));
  return and(
    binary(f.ge, magnitude, splatConstant(f.bytes, f.safe)),
    binary(f.lt, magnitude, splatConstant(f.bytes, f.infinity)),
  );
}

export const allTrue = (f: Format, a: V128): I32 => x.simd('i32', f.allTrue, [a]);

/** Finite lanes of r. Sums and differences are exact when they are tiny, so nothing else can happen to them. */
const finiteResult = (f: Format, r: V128): V128 =>
  binary(f.lt, unary(f.abs, r), splatConstant(f.bytes, f.infinity));

/** Operations of core's Operation with WebAssembly's opcodes for f32x4 and f64x2. */
interface Arithmetic {
  name: string;
  digit: number;
  simd: readonly [number, number];
  /** The same on two scalars; the square root and the extrema are treated apart. */
  scalar?: <T extends WasmType>(a: Expr<T>, c: Expr<T>) => Expr<T>;
}
const operations: readonly Arithmetic[] = [
  { name: 'SQRT', digit: 1, simd: [227, 239] },
  { name: 'ADD', digit: 8, simd: [228, 240], scalar: x.add },
  { name: 'MUL', digit: 9, simd: [230, 242], scalar: x.mul },
  { name: 'SUB', digit: 12, simd: [229, 241], scalar: x.sub },
  { name: 'MIN', digit: 13, simd: [234, 246] },
  { name: 'DIV', digit: 14, simd: [231, 243], scalar: x.div },
  { name: 'MAX', digit: 15, simd: [235, 247] },
];

/**
 * The result lanes of a op c. MIN and MAX are WebAssembly's pseudo-minimum with operands exchanged: the second operand
 * unless the first is smaller.
 */
function compute(b: InstructionBuilder, o: Arithmetic, bytes: Bytes, a: V128, c: V128): V128 {
  const f = formatOf(bytes);
  const opcode = o.simd[bytes === 4 ? 0 : 1];
  const result = b.variable(
    isRoot(o) ? unary(opcode, c) : isMinMax(o) ? binary(opcode, c, a) : binary(opcode, a, c),
  );
  const operands = isRoot(o) ? noDenormal(f, c) : and(noDenormal(f, a), noDenormal(f, c));
  // MIN and MAX are exact: only NaN and denormals matter, and noDenormal is false for NaN.
  const fine = isMinMax(o)
    ? operands
    : and(operands, isSum(o) ? finiteResult(f, result) : safeResult(b, f, result));
  b.if(x.eqz(x.and(quietEnvironment(b, isSum(o)), allTrue(f, fine))), () => {
    const exactly = (): void => {
      toScratch(b, a, c);
      b.call('sseArithmetic', x.i32(o.digit), x.i32(bytes), x.i32(16 / bytes));
      b.code.set(result, fromScratch(b));
    };
    if (isSum(o) || isMinMax(o)) {
      exactly();
      return;
    }
    const zeros = and(zeroLanes(f, result), zeroCause(o, zeroLanes(f, a), zeroLanes(f, c), or));
    const again = isRoot(o) ? noDenormal(f, c) : and(noDenormal(f, a), noDenormal(f, c));
    const harmless = and(again, or(safeResult(b, f, result), zeros));
    b.if(x.eqz(x.and(quietEnvironment(b), allTrue(f, harmless))), exactly);
  });
  return result;
}

const zeroLanes = (f: Format, a: V128): V128 => binary(f.eq, a, splatConstant(f.bytes, 0));
/** Whether a result of 0 is exact, from a and c being 0: a factor, the dividend, the radicand. */
function zeroCause<T>(o: Arithmetic, a: T, c: T, either: (a: T, c: T) => T): T {
  if (isRoot(o)) return c;
  return o.digit === 14 ? a : either(a, c);
}

const isRoot = (o: Arithmetic): boolean => o.digit === 1;
const isMinMax = (o: Arithmetic): boolean => o.digit === 13 || o.digit === 15;
const isSum = (o: Arithmetic): boolean => o.digit === 8 || o.digit === 12;

/** Bits of a scalar, shifted left by one: the magnitude. */
const magnitude = (bits: Int): Int => x.shl(bits as I64, 1);
/** Zero, normal, infinite or NaN. */
const notDenormal = (f: Format, bits: Int): I32 =>
  x.geU(x.sub(magnitude(bits) as I64, 1), BigInt(f.smallest) * 2n - 1n);

/** A scalar operand: its bits, and the number. */
interface Scalar {
  bits: Int;
  value: Expr<'f32' | 'f64'>;
}
function scalarOperand(b: InstructionBuilder, index: number, bytes: Bytes): Scalar {
  const value = b.readFloat(index, bytes) as Expr<'f32' | 'f64'>;
  return { value, bits: b.let(bitsOf(value)) as Int };
}
const bitsOf = (value: Expr<'f32' | 'f64'>): Expr<'i32' | 'i64'> =>
  value.type === 'f32' ? x.bitsOfF32(value as F32) : x.bitsOfF64(value as F64);

/** Whether a scalar result is such that nothing but PE can have happened. */
function scalarFine(
  b: InstructionBuilder,
  o: Arithmetic,
  f: Format,
  a: Scalar,
  c: Scalar,
  r: Expr<'f32' | 'f64'>,
): I32 {
  const operands = isRoot(o) ? notDenormal(f, c.bits) : x.and(notDenormal(f, a.bits), notDenormal(f, c.bits));
  if (isMinMax(o)) return x.and(operands, x.or(x.le(a.value, c.value), x.gt(a.value, c.value)));
  const size = magnitude(b.let(bitsOf(r)) as Int) as I64;
  const inside = isSum(o)
    ? x.ltU(size, f.infinity * 2n)
    : x.ltU(x.sub(size, f.safe * 2n), (f.infinity - f.safe) * 2n);
  return x.and(operands, inside);
}

/** The low lane of the destination. */
const scalarArithmetic =
  (o: Arithmetic, bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const f = formatOf(bytes);
    const c = scalarOperand(b, 1, bytes);
    const a = isRoot(o) ? c : scalarOperand(b, 0, bytes);
    let quick: Expr<'f32' | 'f64'>;
    if (isRoot(o)) quick = x.sqrt(c.value);
    else if (o.scalar !== undefined) quick = o.scalar(a.value, c.value);
    else {
      const first = o.digit === 13 ? x.lt(a.value, c.value) : x.gt(a.value, c.value);
      quick = x.select(first, a.value, c.value);
    }
    const result = b.variable(quick);
    b.if(x.eqz(x.and(quietEnvironment(b, isSum(o)), scalarFine(b, o, f, a, c, result))), () => {
      const exactly = (): void => {
        b.setField(Cpu.scratch, a.bits, bytes);
        b.setField(scratchSource, c.bits, bytes);
        b.call('sseArithmetic', x.i32(o.digit), x.i32(bytes), x.i32(1));
        b.code.set(result, b.field(result.type, scratchResult, bytes));
      };
      if (isSum(o) || isMinMax(o)) {
        exactly();
        return;
      }
      const cause = zeroCause(o, x.eq(a.value, 0), x.eq(c.value, 0), (first, second) => x.or(first, second));
      const again = isRoot(o) ? x.i32(1) : x.and(notDenormal(f, a.bits), notDenormal(f, c.bits));
      const harmless = x.and(x.and(x.eq(result, 0), cause), again);
      b.if(x.eqz(x.and(quietEnvironment(b), harmless)), exactly);
    });
    b.writeFloat(0, result as F32 | F64);
  };

const splat = (bytes: Bytes, value: Int): V128 => x.simd('v128', bytes === 4 ? 17 : 18, [value]);

/** A scalar operand repeated in all lanes. */
export const readScalar = (b: InstructionBuilder, index: number, bytes: Bytes): V128 =>
  b.let(splat(bytes, b.read(index)));

/** Stores the low lane of `value` into the destination, the rest stays. */
function writeScalar(b: InstructionBuilder, bytes: Bytes, value: V128): void {
  b.writeLane(0, bytes, 0, bytes === 4 ? x.simd('i32', 27, [value], [0]) : lane64(value, 0));
}

const packedArithmetic =
  (o: Arithmetic, bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const c = b.readVector(1);
    b.writeVector(0, compute(b, o, bytes, readRegister(b, 0), c));
  };
const hex = (digit: number): string => digit.toString(16).toUpperCase();
const arithmetic = operations.flatMap((o) => {
  const opcode = `0F 5${hex(o.digit)}`;
  return [
    row(`NP ${opcode}`, `${o.name}PS`, 'Vx,Wx', { aligned: true }, packedArithmetic(o, 4)),
    row(`66 ${opcode}`, `${o.name}PD`, 'Vx,Wx', { aligned: true }, packedArithmetic(o, 8)),
    row(`F3 ${opcode}`, `${o.name}SS`, 'Vd,Wd', {}, scalarArithmetic(o, 4)),
    row(`F2 ${opcode}`, `${o.name}SD`, 'Vq,Wq', {}, scalarArithmetic(o, 8)),
  ];
});

// ---- horizontal and alternating ----

const addition = operations[1] as Arithmetic;
const subtraction = operations[3] as Arithmetic;
const even4 = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const even8 = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const horizontal =
  (o: Arithmetic, bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, sse3);
    const c = b.readVector(1);
    const a = readRegister(b, 0);
    const even = bytes === 4 ? even4 : even8;
    const first = b.let(shuffle(a, c, even));
    const second = b.let(
      shuffle(
        a,
        c,
        even.map((i) => i + bytes),
      ),
    );
    b.writeVector(0, compute(b, o, bytes, first, second));
  };
const alternating =
  (bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, sse3);
    const c = b.readVector(1);
    toScratch(b, readRegister(b, 0), c);
    b.call('sseAddSubtract', x.i32(bytes));
    b.writeVector(0, fromScratch(b));
  };

// ---- comparison ----

/** COMIS and UCOMIS. Ordered operands without denormals need no flags: C, Z from two comparisons. */
const compareFlags =
  (bytes: Bytes, signals: boolean): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const c = scalarOperand(b, 1, bytes);
    const a = scalarOperand(b, 0, bytes);
    const f = formatOf(bytes);
    const carry = b.let(x.lt(a.value, c.value));
    const zero = b.let(x.eq(a.value, c.value));
    const ordered = x.or(x.or(carry, zero), x.gt(a.value, c.value));
    const normal = x.and(notDenormal(f, a.bits), notDenormal(f, c.bits));
    b.if(
      x.and(ordered, normal),
      () => {
        b.flags.setZeroParityCarry(zero, x.i32(0), carry);
      },
      () => {
        const wide = (value: Int): I64 => b.unsigned64(value);
        b.call('sseCompareFlags', wide(a.bits), wide(c.bits), x.i32(bytes), x.i32(signals ? 1 : 0));
      },
    );
  };

/** Comparisons of WebAssembly for the predicates equal, less, less or equal: f32x4, f64x2. */
const predicates = [
  [65, 71],
  [67, 73],
  [69, 75],
] as const;

/** CMPPS and so on where no operand is a NaN or denormal: then there is no flag to set. */
function comparedLanes(b: InstructionBuilder, bytes: Bytes, a: V128, c: V128): Local<'v128'> {
  const at = bytes === 4 ? 0 : 1;
  const [equal, less, lessEqual] = predicates;
  const imm = immediateByte(b);
  const result = b.variable(binary(equal[at], a, c));
  b.if(x.eq(x.and(imm, 3), 1), () => b.code.set(result, binary(less[at], a, c)));
  b.if(x.eq(x.and(imm, 3), 2), () => b.code.set(result, binary(lessEqual[at], a, c)));
  b.if(x.eq(x.and(imm, 3), 3), () => b.code.set(result, splatConstant(1, 0)));
  b.if(x.and(imm, 4), () => b.code.set(result, unary(77, result)));
  return result;
}

function predicateResult(b: InstructionBuilder, bytes: Bytes, lanes: number, a: V128, c: V128): V128 {
  const f = formatOf(bytes);
  const result = comparedLanes(b, bytes, a, c);
  b.if(x.eqz(allTrue(f, and(noDenormal(f, a), noDenormal(f, c)))), () => {
    toScratch(b, a, c);
    b.call('sseComparePredicate', x.and(immediateByte(b), 7), x.i32(bytes), x.i32(lanes));
    b.code.set(result, fromScratch(b));
  });
  return result;
}
const comparePacked =
  (bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const c = b.readVector(1);
    b.writeVector(0, predicateResult(b, bytes, 16 / bytes, readRegister(b, 0), c));
  };
const compareScalar =
  (bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const c = readScalar(b, 1, bytes);
    writeScalar(b, bytes, predicateResult(b, bytes, 1, readScalar(b, 0, bytes), c));
  };

// ---- approximation, rounding, dot product, strings ----

const approximate =
  (root: boolean, scalar: boolean): Semantics =>
  (b) => {
    beginSse(b, sse);
    b.setField(scratchSource, scalar ? readScalar(b, 1, 4) : b.readVector(1), 16);
    b.call('sseApproximate', x.i32(root ? 1 : 0), x.i32(scalar ? 1 : 4));
    if (scalar) writeScalar(b, 4, fromScratch(b));
    else b.writeVector(0, fromScratch(b));
  };
const round =
  (bytes: Bytes, scalar: boolean): Semantics =>
  (b) => {
    beginSse(b, sse41);
    b.setField(scratchSource, scalar ? readScalar(b, 1, bytes) : b.readVector(1), 16);
    b.call('sseRound', immediateByte(b), x.i32(bytes), x.i32(scalar ? 1 : 16 / bytes));
    if (scalar) writeScalar(b, bytes, fromScratch(b));
    else b.writeVector(0, fromScratch(b));
  };
/** A core function on both operands with the immediate. */
const withImmediate =
  (feature: number, call: (b: InstructionBuilder, immediate: I32) => void): Semantics =>
  (b) => {
    beginSse(b, feature);
    const c = b.readVector(1);
    toScratch(b, readRegister(b, 0), c);
    call(b, immediateByte(b));
    b.writeVector(0, fromScratch(b));
  };

/** PCMPESTRM 60, PCMPESTRI 61, PCMPISTRM 62, PCMPISTRI 63. */
const compareStrings =
  (explicit: boolean, index: boolean): Semantics =>
  (b) => {
    beginSse(b, sse42);
    const c = b.readVector(1);
    toScratch(b, readRegister(b, 0), c);
    const control = immediateByte(b);
    const bytes = b.size === 8 ? 8 : 4;
    const lengths = explicit
      ? [b.signed64(b.gpr(0, bytes), bytes), b.signed64(b.gpr(2, bytes), bytes)]
      : [x.i64(0), x.i64(0)];
    const bits = b.callValue('i32', 'sseCompareStrings', control, x.i32(explicit ? 1 : 0), ...lengths);
    if (index) {
      b.setGpr(1, 4, b.callValue('i32', 'sseStringIndex', bits, control));
    } else {
      b.call('sseStringMask', bits, control);
      b.writeVector0(fromScratch(b));
    }
  };
const stringRows = (['PCMPESTRM', 'PCMPESTRI', 'PCMPISTRM', 'PCMPISTRI'] as const).map((name, n) =>
  row(
    `66 0F 3A 6${n}`,
    name,
    'Vx,Wx,Ib',
    n < 2 ? { sizes: [4, 8] } : {},
    compareStrings(n < 2, (n & 1) === 1),
  ),
);

const wide = { aligned: true };

export const rows: RowDraft[] = [
  ...arithmetic,
  row('66 0F 7C', 'HADDPD', 'Vx,Wx', wide, horizontal(addition, 8)),
  row('F2 0F 7C', 'HADDPS', 'Vx,Wx', wide, horizontal(addition, 4)),
  row('66 0F 7D', 'HSUBPD', 'Vx,Wx', wide, horizontal(subtraction, 8)),
  row('F2 0F 7D', 'HSUBPS', 'Vx,Wx', wide, horizontal(subtraction, 4)),
  row('66 0F D0', 'ADDSUBPD', 'Vx,Wx', wide, alternating(8)),
  row('F2 0F D0', 'ADDSUBPS', 'Vx,Wx', wide, alternating(4)),
  row('NP 0F 2E', 'UCOMISS', 'Vd,Wd', {}, compareFlags(4, false)),
  row('66 0F 2E', 'UCOMISD', 'Vq,Wq', {}, compareFlags(8, false)),
  row('NP 0F 2F', 'COMISS', 'Vd,Wd', {}, compareFlags(4, true)),
  row('66 0F 2F', 'COMISD', 'Vq,Wq', {}, compareFlags(8, true)),
  row('NP 0F C2', 'CMPPS', 'Vx,Wx,Ib', wide, comparePacked(4)),
  row('66 0F C2', 'CMPPD', 'Vx,Wx,Ib', wide, comparePacked(8)),
  row('F3 0F C2', 'CMPSS', 'Vd,Wd,Ib', {}, compareScalar(4)),
  row('F2 0F C2', 'CMPSD', 'Vq,Wq,Ib', {}, compareScalar(8)),
  row('NP 0F 52', 'RSQRTPS', 'Vx,Wx', wide, approximate(true, false)),
  row('F3 0F 52', 'RSQRTSS', 'Vd,Wd', {}, approximate(true, true)),
  row('NP 0F 53', 'RCPPS', 'Vx,Wx', wide, approximate(false, false)),
  row('F3 0F 53', 'RCPSS', 'Vd,Wd', {}, approximate(false, true)),
  row('66 0F 3A 08', 'ROUNDPS', 'Vx,Wx,Ib', wide, round(4, false)),
  row('66 0F 3A 09', 'ROUNDPD', 'Vx,Wx,Ib', wide, round(8, false)),
  row('66 0F 3A 0A', 'ROUNDSS', 'Vd,Wd,Ib', {}, round(4, true)),
  row('66 0F 3A 0B', 'ROUNDSD', 'Vq,Wq,Ib', {}, round(8, true)),
  row(
    '66 0F 3A 40',
    'DPPS',
    'Vx,Wx,Ib',
    wide,
    withImmediate(sse41, (b, i) => b.call('sseDotProduct', i, x.i32(4))),
  ),
  row(
    '66 0F 3A 41',
    'DPPD',
    'Vx,Wx,Ib',
    wide,
    withImmediate(sse41, (b, i) => b.call('sseDotProduct', i, x.i32(8))),
  ),
  row(
    '66 0F 3A 42',
    'MPSADBW',
    'Vx,Wx,Ib',
    wide,
    withImmediate(sse41, (b, i) => b.call('sseMultipleSums', i)),
  ),
  row('66 0F 38 41', 'PHMINPOSUW', 'Vx,Wx', wide, (b) => {
    beginSse(b, sse41);
    b.setField(scratchSource, b.readVector(1), 16);
    b.call('sseHorizontalMinimum');
    b.writeVector(0, fromScratch(b));
  }),
  ...stringRows,
];
