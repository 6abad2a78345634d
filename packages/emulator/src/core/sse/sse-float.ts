/**
 * SSE floating point, the exact path: operands lie in Cpu.scratch (destination at 0, source at 16), the result is
 * left at 32. Rows take it when their shortcut in WebAssembly arithmetic does not apply.
 */
import { Cpu_scratch } from '../generated/layout';
import { Scalar, Operation, Relation } from '../softfloat/softfloat-scalar';
import { Exception, Soft } from '../softfloat/softfloat-state';
import { Sse } from './sse-state';
import { setZeroParityCarry } from '../x87/x87-arithmetic';

/** Addends to Cpu.scratch. */
const source: i32 = 16;
const result: i32 = 32;

function lane(address: i32, bytes: i32): u64 {
  return bytes == 8 ? load<u64>(address) : <u64>load<u32>(address);
}

function setLane(address: i32, value: u64, bytes: i32): void {
  if (bytes == 8) store<u64>(address, value);
  else store<u32>(address, <u32>value);
}

/** Operation on the first `lanes` lanes; the others of the result are not defined. */
export function sseArithmetic(cpu: i32, operation: i32, bytes: i32, lanes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < lanes * bytes; i += bytes) {
    const value = Scalar.compute(operation, lane(base + i, bytes), lane(base + source + i, bytes), bytes);
    setLane(base + result + i, value, bytes);
  }
  Sse.leave(cpu);
}

/** ADDSUBPS, ADDSUBPD: odd lanes add, even lanes subtract. */
export function sseAddSubtract(cpu: i32, bytes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < 16; i += bytes) {
    const operation = i & bytes ? Operation.add : Operation.subtract;
    const value = Scalar.compute(operation, lane(base + i, bytes), lane(base + source + i, bytes), bytes);
    setLane(base + result + i, value, bytes);
  }
  Sse.leave(cpu);
}

/** Four bits for each predicate: whether it holds for less, equal, greater, unordered. SDM Vol. 2, CMPPD, table 3-1. */
const predicates: u64 = 0xf465_0b9a_7ced_8312;

/** CMPPS and so on: all ones where the predicate holds. From 16 on, those come again that a quiet NaN signals (or not) in the other way. */
export function sseComparePredicate(cpu: i32, predicate: i32, bytes: i32, lanes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  const kind = predicate & 3;
  const signals = (kind == 1 || kind == 2) != (predicate & 16) > 0;
  const holds = (<i32>(predicates >> ((predicate & 15) << 2))) & 15;
  for (let i = 0; i < lanes * bytes; i += bytes) {
    const relation = Scalar.compare(lane(base + i, bytes), lane(base + source + i, bytes), bytes, signals);
    setLane(base + result + i, (holds >> relation) & 1 ? 0xffff_ffff_ffff_ffff : 0, bytes);
  }
  Sse.leave(cpu);
}

/** COMISS, COMISD (signals = 1), UCOMISS, UCOMISD. */
export function sseCompareFlags(cpu: i32, a: i64, c: i64, bytes: i32, signals: i32): void {
  Sse.enter(cpu);
  const relation = Scalar.compare(a, c, bytes, signals != 0);
  Sse.leave(cpu);
  if (relation == Relation.unordered) setZeroParityCarry(cpu, 0x45);
  else if (relation == Relation.equal) setZeroParityCarry(cpu, 0x40);
  else setZeroParityCarry(cpu, relation == Relation.less ? 1 : 0);
}

/** CVTSS2SD (from 4), CVTSD2SS (from 8). */
export function sseConvertScalar(cpu: i32, value: i64, from: i32): i64 {
  Sse.enter(cpu);
  const converted = Scalar.convert(value, from);
  Sse.leave(cpu);
  return converted;
}

/** CVTPS2PD, CVTPD2PS: two lanes of the source. */
export function sseConvertPacked(cpu: i32, from: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  const to = 12 - from;
  const first = Scalar.convert(lane(base + source, from), from);
  const second = Scalar.convert(lane(base + source + from, from), from);
  store<u64>(base + result, 0, 8);
  setLane(base + result, first, to);
  setLane(base + result + to, second, to);
  Sse.leave(cpu);
}

/** CVTSI2SS, CVTSI2SD. */
export function sseFromInteger(cpu: i32, value: i64, bytes: i32): i64 {
  Sse.enter(cpu);
  const converted = Scalar.fromInteger(value, bytes);
  Sse.leave(cpu);
  return converted;
}

/** CVTDQ2PS, CVTDQ2PD, CVTPI2PS, CVTPI2PD: `lanes` doublewords of the source. */
export function sseFromIntegers(cpu: i32, bytes: i32, lanes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < lanes; i++) {
    setLane(base + result + i * bytes, Scalar.fromInteger(load<i32>(base + source + i * 4), bytes), bytes);
  }
  Sse.leave(cpu);
}

/** CVTSS2SI, CVTSD2SI and with `truncates` CVTT…; `bits` is 32 or 64. */
export function sseToInteger(cpu: i32, value: i64, bytes: i32, bits: i32, truncates: i32): i64 {
  Sse.enter(cpu);
  if (truncates) Scalar.truncate();
  const converted = Scalar.toInteger(value, bytes, bits);
  Sse.leave(cpu);
  return converted;
}

/** CVTPS2DQ, CVTPD2DQ, CVTPS2PI and so on: `lanes` lanes to doublewords, the rest of the result is 0. */
export function sseToIntegers(cpu: i32, bytes: i32, lanes: i32, truncates: i32): void {
  Sse.enter(cpu);
  if (truncates) Scalar.truncate();
  const base = cpu + Cpu_scratch;
  store<u64>(base + result, 0, 8);
  for (let i = 0; i < lanes; i++) {
    store<i32>(
      base + result + i * 4,
      <i32>Scalar.toInteger(lane(base + source + i * bytes, bytes), bytes, 32),
    );
  }
  Sse.leave(cpu);
}

/** ROUNDPS and so on; immediate: bits 0-1 rounding, 2 take it from MXCSR, 3 no precision exception. */
export function sseRound(cpu: i32, immediate: i32, bytes: i32, lanes: i32): void {
  Sse.enter(cpu);
  if ((immediate & 4) == 0) Soft.rounding = immediate & 3;
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < lanes * bytes; i += bytes) {
    setLane(base + result + i, Scalar.toIntegral(lane(base + source + i, bytes), bytes), bytes);
  }
  if (immediate & 8) Soft.flags &= ~Exception.precision;
  Sse.leave(cpu);
}

/** DPPS, DPPD: products chosen by the upper four bits, sum to the lanes of the lower four. SDM Vol. 2, DPPS. */
export function sseDotProduct(cpu: i32, immediate: i32, bytes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < 16; i += bytes) {
    const chosen = (immediate >> (4 + i / bytes)) & 1;
    const product = chosen
      ? Scalar.compute(Operation.multiply, lane(base + i, bytes), lane(base + source + i, bytes), bytes)
      : 0;
    setLane(base + result + i, product, bytes);
  }
  // An unmasked exception of the products stops before the sums.
  Sse.leave(cpu);
  const products = base + result;
  let sum = Scalar.compute(Operation.add, lane(products, bytes), lane(products + bytes, bytes), bytes);
  if (bytes == 4) {
    const upper = Scalar.compute(Operation.add, lane(products + 8, 4), lane(products + 12, 4), 4);
    Sse.leave(cpu);
    sum = Scalar.compute(Operation.add, sum, upper, 4);
  }
  Sse.leave(cpu);
  for (let i = 0; i < 16; i += bytes) {
    setLane(base + result + i, (immediate >> (i / bytes)) & 1 ? sum : 0, bytes);
  }
}

/** RCPPS (root = 0) and RSQRTPS (root = 1) on the first `lanes` lanes: no flags, DAZ always. */
export function sseApproximate(cpu: i32, root: i32, lanes: i32): void {
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < lanes * 4; i += 4) {
    store<u32>(base + result + i, approximate(load<u32>(base + source + i), root));
  }
}

/** Relative error below 1.5 * 2^-12 (SDM Vol. 2, RCPPS): the correct result rounded to 12 bits. Processors differ here. */
function approximate(bits: u32, root: i32): u32 {
  const sign = bits & 0x8000_0000;
  const exponent = (bits >> 23) & 0xff;
  if (exponent == 0) return sign | 0x7f80_0000;
  if (exponent == 0xff && bits & 0x7f_ffff) return bits | 0x40_0000;
  if (root && sign) return 0xffc0_0000;
  if (exponent == 0xff) return sign;
  const value = <f64>reinterpret<f32>(bits);
  const exact = reinterpret<u32>(<f32>(root ? 1.0 / Math.sqrt(value) : 1.0 / value));
  if ((exact & 0x7f80_0000) == 0) return sign;
  return (exact + 0x400) & 0xffff_f800;
}
