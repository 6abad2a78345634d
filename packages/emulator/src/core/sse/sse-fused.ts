/** FMA and F16C on operands in Cpu.scratch. SDM Vol. 2; Vol. 1, 14.4 and 14.5. */
import { Cpu_scratch } from '../generated/layout';
import { Convert } from '../softfloat/softfloat-convert';
import { Fused } from '../softfloat/softfloat-fused';
import { Round } from '../softfloat/softfloat-round';
import { Scalar } from '../softfloat/softfloat-scalar';
import { Exception, Kind, Soft } from '../softfloat/softfloat-state';
import { Sse } from './sse-state';

/** Addends to Cpu.scratch: the second and third operand of the encoding, the result. */
const second: i32 = 16;
const third: i32 = 48;
const result: i32 = 32;

/** Bits of `control`: which operands are multiplied, and signs. */
const order213: i32 = 1;
const order231: i32 = 2;
const negateProduct: i32 = 4;
const negateAddend: i32 = 8;
/** Even lanes have the addend's sign the other way round. */
const alternates: i32 = 16;

function lane(address: i32, bytes: i32): u64 {
  return bytes == 8 ? load<u64>(address) : <u64>load<u32>(address);
}

/** VFMADD, VFMSUB, VFNMADD, VFNMSUB, VFMADDSUB, VFMSUBADD of the three orders on the first `lanes` lanes. */
export function sseMultiplyAdd(cpu: i32, control: i32, bytes: i32, lanes: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < lanes * bytes; i += bytes) {
    const a = lane(base + i, bytes);
    const b = lane(base + second + i, bytes);
    const c = lane(base + third + i, bytes);
    let x = a;
    let y = c;
    let z = b;
    if (control & order213) {
      x = b;
      y = a;
      z = c;
    } else if (control & order231) {
      x = b;
      y = c;
      z = a;
    }
    let subtracts = i32((control & negateAddend) != 0);
    if (control & alternates && (i & bytes) == 0) subtracts ^= 1;
    const value = Fused.multiplyAdd(x, y, z, i32((control & negateProduct) != 0), subtracts, bytes);
    if (bytes == 8) store<u64>(base + result + i, value);
    else store<u32>(base + result + i, <u32>value);
  }
  Sse.leave(cpu);
}

/** VCVTPH2PS: four halves of the source to singles. Denormals are neither flagged nor taken for 0. */
export function sseFromHalves(cpu: i32): void {
  Sse.enter(cpu);
  const base = cpu + Cpu_scratch;
  for (let i = 0; i < 4; i++)
    store<u32>(base + result + i * 4, singleOfHalf(load<u16>(base + second + i * 2)));
  Sse.leave(cpu);
}

function singleOfHalf(half: u32): u32 {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  let fraction = half & 0x3ff;
  if (exponent == 31) {
    if (fraction == 0) return sign | 0x7f80_0000;
    if ((fraction & 0x200) == 0) Soft.flags |= Exception.invalid;
    return sign | 0x7fc0_0000 | (fraction << 13);
  }
  if (exponent != 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction == 0) return sign;
  const shift = clz(fraction) - 21;
  fraction = (fraction << shift) & 0x3ff;
  return sign | ((113 - shift) << 23) | (fraction << 13);
}

/** VCVTPS2PH: four singles to halves. The immediate chooses the rounding as that of ROUNDPS does; FTZ does not count. */
export function sseToHalves(cpu: i32, immediate: i32): void {
  Sse.enter(cpu);
  if ((immediate & 4) == 0) Soft.rounding = immediate & 3;
  Soft.flushToZero = 0;
  const base = cpu + Cpu_scratch;
  store<u64>(base + result, 0, 8);
  for (let i = 0; i < 4; i++)
    store<u16>(base + result + i * 2, <u16>halfOfSingle(load<u32>(base + second + i * 4)));
  Sse.leave(cpu);
}

function halfOfSingle(bits: u32): u64 {
  Scalar.unpackA(bits, 4);
  if (Soft.aKind >= Kind.quietNan) {
    if (Soft.aKind == Kind.signalingNan) Soft.flags |= Exception.invalid;
    return ((bits >> 16) & 0x8000) | 0x7e00 | ((bits >> 13) & 0x1ff);
  }
  if (Scalar.denormal) Soft.flags |= Exception.denormal;
  Soft.sign = Soft.aSign;
  Soft.kind = Soft.aKind;
  Soft.exponent = Soft.aExponent;
  Soft.high = Soft.aSignificand;
  Soft.low = 0;
  if (Soft.kind == Kind.finite) Round.toFormat(11, -14, 15, false);
  return Convert.packNarrow(11, 15, 5);
}
