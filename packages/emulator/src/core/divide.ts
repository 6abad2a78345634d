/** 128-bit products and quotients, and CRC-32C: what WebAssembly has no instruction for. */
import { Cpu_gpr, Vector_de } from './generated/layout';
import { raise } from './fault';

const rdxOffset: i32 = Cpu_gpr + 16;

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

/** Remainder of the last `divideWide`. */
let remainder: u64 = 0;

/** high:low / divisor for high < divisor, so that the quotient fits: bit by bit. */
function divideWide(high: u64, low: u64, divisor: u64): u64 {
  if (high == 0) {
    remainder = low % divisor;
    return low / divisor;
  }
  let rest = high;
  let quotient: u64 = 0;
  for (let i = 63; i >= 0; i--) {
    const carry = rest >> 63;
    rest = (rest << 1) | ((low >> i) & 1);
    quotient <<= 1;
    if (carry != 0 || rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  remainder = rest;
  return quotient;
}

/** DIV r/m64: RDX:RAX / divisor; #DE. */
export function divide128(cpu: i32, divisor: i64): void {
  const high = load<u64>(cpu + rdxOffset);
  const low = load<u64>(cpu + Cpu_gpr);
  // Also true for a divisor of 0.
  if (high >= <u64>divisor) raise(cpu, Vector_de);
  store<u64>(cpu + Cpu_gpr, divideWide(high, low, <u64>divisor));
  store<u64>(cpu + rdxOffset, remainder);
}

/** IDIV r/m64: the quotient is cut towards zero, the remainder has the dividend's sign; #DE. */
export function divideSigned128(cpu: i32, divisor: i64): void {
  let high = load<u64>(cpu + rdxOffset);
  let low = load<u64>(cpu + Cpu_gpr);
  const negativeDividend = <i64>high < 0;
  if (negativeDividend) {
    low = 0 - low;
    high = ~high + (low == 0 ? 1 : 0);
  }
  const magnitude = divisor < 0 ? 0 - <u64>divisor : <u64>divisor;
  if (high >= magnitude) raise(cpu, Vector_de);
  const quotient = divideWide(high, low, magnitude);
  const negative = negativeDividend != divisor < 0;
  const limit: u64 = negative ? 0x8000_0000_0000_0000 : 0x7fff_ffff_ffff_ffff;
  if (quotient > limit) raise(cpu, Vector_de);
  store<u64>(cpu + Cpu_gpr, negative ? 0 - quotient : quotient);
  store<u64>(cpu + rdxOffset, negativeDividend ? 0 - remainder : remainder);
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
