/** 128-bit products and quotients, and CRC-32C: what WebAssembly has no instruction for. */
import { Wide } from '../softfloat/softfloat-wide';

/** Upper half of the unsigned product. */
export function multiplyHigh(cpu: i32, a: i64, b: i64): i64 {
  const aLow = (<u64>a) & 0xffff_ffff;
  const aHigh = (<u64>a) >> 32;
  const bLow = (<u64>b) & 0xffff_ffff;
  const bHigh = (<u64>b) >> 32;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >> 32);
  const other = aLow * bHigh + (middle & 0xffff_ffff);
  return <i64>(aHigh * bHigh + (middle >> 32) + (other >> 32));
}

/** Upper half of the signed product. */
export function multiplyHighSigned(cpu: i32, a: i64, b: i64): i64 {
  return multiplyHigh(cpu, a, b) - ((a >> 63) & b) - ((b >> 63) & a);
}

/** Quotient of high:low / divisor; high < divisor, so that it fits. */
export function quotient128(cpu: i32, high: i64, low: i64, divisor: i64): i64 {
  const shift = clz(<u64>divisor);
  const upper = shift == 0 ? <u64>high : ((<u64>high) << shift) | ((<u64>low) >> (64 - shift));
  return <i64>Wide.divide(upper, (<u64>low) << shift, (<u64>divisor) << shift);
}

function magnitudeHigh(high: i64, low: i64): u64 {
  return high < 0 ? ~(<u64>high) + u64(low == 0) : <u64>high;
}

function magnitude(value: i64): u64 {
  return value < 0 ? 0 - <u64>value : <u64>value;
}

/** 1 when the signed quotient of high:low / divisor exists and fits, else 0. */
export function fitsSigned128(cpu: i32, high: i64, low: i64, divisor: i64): i32 {
  const upper = magnitudeHigh(high, low);
  if (upper >= magnitude(divisor)) return 0;
  const lower = high < 0 ? 0 - low : low;
  const quotient = <u64>quotient128(cpu, upper, lower, magnitude(divisor));
  const limit: u64 = high < 0 != divisor < 0 ? 0x8000_0000_0000_0000 : 0x7fff_ffff_ffff_ffff;
  return i32(quotient <= limit);
}

/** Signed quotient of high:low / divisor, cut towards zero; it fits. */
export function quotientSigned128(cpu: i32, high: i64, low: i64, divisor: i64): i64 {
  const lower = high < 0 ? 0 - low : low;
  const quotient = quotient128(cpu, magnitudeHigh(high, low), lower, magnitude(divisor));
  return high < 0 != divisor < 0 ? 0 - quotient : quotient;
}

/** CRC-32C (reflected polynomial 82F63B78H) of the low `bytes` bytes of `value`, a nibble at a time. */
const nibbles = memory.data<u32>([
  0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78,
  0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
]);

export function crc32c(cpu: i32, crc: i32, value: i64, bytes: i32): i32 {
  let c = <u32>crc;
  let v = <u64>value;
  for (let i = 0; i < bytes * 2; i++) {
    c = (c >> 4) ^ load<u32>(nibbles + (((c ^ (<u32>v)) & 15) << 2));
    v >>= 4;
  }
  return <i32>c;
}
