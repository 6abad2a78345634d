/** SSE conversions between integers, singles and doubles: SDM Vol. 1, 11.4.1.4-11.4.1.6. See sse-float.ts for the shortcut. */
import * as x from '../../wasm/expr.ts';
import type { Expr, F32, F64, I32, I64, Int, V128 } from '../../wasm/expr.ts';
import type { InstructionBuilder } from '../builder.ts';
import { CpuFeature } from '../layout.ts';
import { row } from './row.ts';
import type { RowDraft, Semantics } from './row.ts';
import {
  beginMmx,
  beginSse,
  binary,
  enterMmx,
  lane64,
  shuffle,
  splatConstant,
  unary,
  v64,
  writeMmx,
  writeRegister,
} from './simd-common.ts';
import {
  allTrue,
  formatOf,
  fromScratch,
  noDenormal,
  quietEnvironment,
  safeResult,
  scratchResult,
  scratchSource,
} from './sse-float.ts';
import type { Bytes, Format } from './sse-float.ts';

const { sse, sse2 } = CpuFeature;

/** Opcode behind the 0xFC prefix: saturating truncation. */
const truncation = (type: 'i32' | 'i64', value: F32 | F64): Int => {
  const opcode = (type === 'i32' ? 0 : 4) + (value.type === 'f32' ? 0 : 2);
  return {
    type,
    emit(out) {
      value.emit(out);
      out.u8(0xfc);
      out.u8(opcode);
    },
  } as Int;
};

/** CVTSI2SS, CVTSI2SD. A double holds every 32-bit integer. */
const fromInteger =
  (bytes: Bytes): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const source = b.let(b.read(1) as I64) as Int;
    if (bytes === 8 && b.size === 4) {
      b.writeFloat(0, x.convertI32ToF64(source as I32));
      return;
    }
    const wide = b.let(b.signed64(source, b.size));
    b.if(
      quietEnvironment(b),
      () => b.writeFloat(0, bytes === 8 ? x.convertI64ToF64(wide) : x.convertI64ToF32(wide)),
      () => {
        const value = b.callValue('i64', 'sseFromInteger', wide, x.i32(bytes));
        b.writeLane(0, bytes, 0, bytes === 8 ? value : x.wrap(value));
      },
    );
  };
/** CVT(T)SS2SI, CVT(T)SD2SI: a value within the integer's range can only set PE. */
const toInteger =
  (bytes: Bytes, truncates: boolean): Semantics =>
  (b) => {
    beginSse(b, bytes === 4 ? sse : sse2);
    const source = b.let(b.read(1) as I64) as Int;
    const value = (bytes === 4 ? x.f32OfBits(source as I32) : x.f64OfBits(source as I64)) as Expr<
      'f32' | 'f64'
    >;
    const rounded = b.let(truncates ? value : x.nearest(value));
    const type = b.size === 8 ? 'i64' : 'i32';
    const result = b.variable(truncation(type, rounded as F64) as Expr<'i32' | 'i64'>);
    const inRange = x.lt(x.abs(rounded), 2 ** (b.size * 8 - 1));
    b.if(x.eqz(x.and(quietEnvironment(b), inRange)), () => {
      const bits = x.i32(b.size * 8);
      const exact = b.callValue(
        'i64',
        'sseToInteger',
        b.unsigned64(source),
        x.i32(bytes),
        bits,
        x.i32(truncates ? 1 : 0),
      );
      b.code.set(result, b.size === 8 ? exact : x.wrap(exact));
    });
    b.write(0, result as Int);
  };

type Call = (b: InstructionBuilder) => void;
/** The shortcut: its result, and the condition under which it is right to the last flag. */
type Shortcut = (b: InstructionBuilder, source: V128) => { result: V128; valid: I32 };

/** `shortcut` where it is valid, else the core function `call`. */
function convert(b: InstructionBuilder, source: V128, shortcut: Shortcut, call: Call): V128 {
  const quick = shortcut(b, source);
  const result = b.variable(quick.result);
  b.if(x.eqz(quick.valid), () => {
    b.setField(scratchSource, source, 16);
    call(b);
    b.code.set(result, fromScratch(b));
  });
  return result;
}

/** Conversion of a whole source operand; the result fills the destination. */
const convertPacked =
  (shortcut: Shortcut, call: Call): Semantics =>
  (b) => {
    beginSse(b, sse2);
    b.writeVector(0, convert(b, b.readVector(1), shortcut, call));
  };
/** Conversion of eight bytes of source. */
const convertHalf =
  (shortcut: Shortcut, call: Call): Semantics =>
  (b) => {
    beginSse(b, sse2);
    const source = b.let(v64(b.read(1) as I64, x.i64(0)));
    writeRegister(b, 0, convert(b, source, shortcut, call));
  };
const convertScalar =
  (from: Bytes): Semantics =>
  (b) => {
    beginSse(b, sse2);
    const source = b.let(v64(b.unsigned64(b.read(1)), x.i64(0)));
    const result = lane64(
      convert(b, source, from === 4 ? widen : narrow(true), (c) => {
        c.setField(scratchResult, c.callValue('i64', 'sseConvertScalar', lane64(source, 0), x.i32(from)), 8);
      }),
      0,
    );
    if (from === 4) b.writeLane(0, 8, 0, result);
    else b.writeLane(0, 4, 0, x.wrap(result));
  };

const duplicateLow = (b: InstructionBuilder, a: V128): V128 => {
  const bound = b.let(a);
  return shuffle(bound, bound, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
};

/** Singles to doubles: exact but for denormals (#D) and NaNs. */
const widen: Shortcut = (_b, source) => ({
  result: unary(95, source),
  valid: allTrue(formatOf(4), noDenormal(formatOf(4), source)),
});
/** Doubles to singles. In a scalar the upper lane is 0 and does not count. */
const narrow =
  (scalar: boolean): Shortcut =>
  (b, source) => {
    const result = b.let(unary(94, source));
    const lanes = scalar
      ? x.simd<'v128'>('v128', 17, [x.simd('i32', 27, [result], [0])])
      : duplicateLow(b, result);
    const safe = allTrue(formatOf(4), safeResult(b, formatOf(4), b.let(lanes)));
    const operands = allTrue(formatOf(8), noDenormal(formatOf(8), source));
    return { result, valid: x.and(x.and(quietEnvironment(b), safe), operands) };
  };
/** Doublewords to singles can only set PE; to doubles they are exact. */
const singlesOfIntegers: Shortcut = (b, source) => ({
  result: unary(250, source),
  valid: quietEnvironment(b),
});
const doublesOfIntegers: Shortcut = (_b, source) => ({ result: unary(254, source), valid: x.i32(1) });
/** To doublewords: rounded values within their range can only set PE. */
const toDoublewords =
  (bytes: Bytes, truncates: boolean): Shortcut =>
  (b, source) => {
    const f: Format = formatOf(bytes);
    const rounded = b.let(truncates ? source : unary(bytes === 4 ? 106 : 148, source));
    const limit = splatConstant(bytes, bytes === 4 ? 0x4f00_0000n : 0x41e0_0000_0000_0000n);
    const inRange = allTrue(f, binary(f.lt, unary(f.abs, rounded), limit));
    return { result: unary(bytes === 4 ? 248 : 252, rounded), valid: x.and(quietEnvironment(b), inRange) };
  };

const callFromIntegers =
  (bytes: Bytes, lanes: number): Call =>
  (b) =>
    b.call('sseFromIntegers', x.i32(bytes), x.i32(lanes));
const callToIntegers =
  (bytes: Bytes, truncates: boolean): Call =>
  (b) =>
    b.call('sseToIntegers', x.i32(bytes), x.i32(16 / bytes), x.i32(truncates ? 1 : 0));
const callConvert =
  (from: Bytes): Call =>
  (b) =>
    b.call('sseConvertPacked', x.i32(from));

/** CVTPI2PS (low half of the destination) and CVTPI2PD; a memory source leaves the x87 state alone. */
const fromMmx =
  (bytes: Bytes): Semantics =>
  (b) => {
    const feature = bytes === 4 ? sse : sse2;
    if (b.isMemory) beginSse(b, feature);
    else beginMmx(b, feature);
    b.setField(scratchSource, b.read(1) as I64, 8);
    if (!b.isMemory) enterMmx(b);
    b.call('sseFromIntegers', x.i32(bytes), x.i32(2));
    const result = fromScratch(b);
    if (bytes === 4) b.writeLane(0, 8, 0, lane64(result, 0));
    else writeRegister(b, 0, result);
  };
/** CVTPS2PI, CVTPD2PI and their truncating forms. */
const toMmx =
  (bytes: Bytes, truncates: boolean): Semantics =>
  (b) => {
    beginMmx(b, bytes === 4 ? sse : sse2);
    if (bytes === 4) b.setField(scratchSource, b.read(1) as I64, 8);
    else b.setField(scratchSource, b.readVector(1), 16);
    enterMmx(b);
    b.call('sseToIntegers', x.i32(bytes), x.i32(2), x.i32(truncates ? 1 : 0));
    writeMmx(b, 0, lane64(fromScratch(b), 0));
  };

const sizes = { sizes: [4, 8] };
const wide = { aligned: true };
export const rows: RowDraft[] = [
  row('F3 0F 2A', 'CVTSI2SS', 'Vd,Ey', sizes, fromInteger(4)),
  row('F2 0F 2A', 'CVTSI2SD', 'Vq,Ey', sizes, fromInteger(8)),
  row('F3 0F 2C', 'CVTTSS2SI', 'Gy,Wd', sizes, toInteger(4, true)),
  row('F2 0F 2C', 'CVTTSD2SI', 'Gy,Wq', sizes, toInteger(8, true)),
  row('F3 0F 2D', 'CVTSS2SI', 'Gy,Wd', sizes, toInteger(4, false)),
  row('F2 0F 2D', 'CVTSD2SI', 'Gy,Wq', sizes, toInteger(8, false)),
  row('F3 0F 5A', 'CVTSS2SD', 'Vq,Wd', {}, convertScalar(4)),
  row('F2 0F 5A', 'CVTSD2SS', 'Vd,Wq', {}, convertScalar(8)),
  row('NP 0F 5A', 'CVTPS2PD', 'Vx,Wq', {}, convertHalf(widen, callConvert(4))),
  row('66 0F 5A', 'CVTPD2PS', 'Vx,Wx', wide, convertPacked(narrow(false), callConvert(8))),
  row('NP 0F 5B', 'CVTDQ2PS', 'Vx,Wx', wide, convertPacked(singlesOfIntegers, callFromIntegers(4, 4))),
  row(
    '66 0F 5B',
    'CVTPS2DQ',
    'Vx,Wx',
    wide,
    convertPacked(toDoublewords(4, false), callToIntegers(4, false)),
  ),
  row('F3 0F 5B', 'CVTTPS2DQ', 'Vx,Wx', wide, convertPacked(toDoublewords(4, true), callToIntegers(4, true))),
  row('66 0F E6', 'CVTTPD2DQ', 'Vx,Wx', wide, convertPacked(toDoublewords(8, true), callToIntegers(8, true))),
  row(
    'F2 0F E6',
    'CVTPD2DQ',
    'Vx,Wx',
    wide,
    convertPacked(toDoublewords(8, false), callToIntegers(8, false)),
  ),
  row('F3 0F E6', 'CVTDQ2PD', 'Vx,Wq', {}, convertHalf(doublesOfIntegers, callFromIntegers(8, 2))),
  row('NP 0F 2A', 'CVTPI2PS', 'Vq,Qq', {}, fromMmx(4)),
  row('66 0F 2A', 'CVTPI2PD', 'Vx,Qq', {}, fromMmx(8)),
  row('NP 0F 2C', 'CVTTPS2PI', 'Pq,Wq', {}, toMmx(4, true)),
  row('NP 0F 2D', 'CVTPS2PI', 'Pq,Wq', {}, toMmx(4, false)),
  row('66 0F 2C', 'CVTTPD2PI', 'Pq,Wx', wide, toMmx(8, true)),
  row('66 0F 2D', 'CVTPD2PI', 'Pq,Wx', wide, toMmx(8, false)),
];
