/** PCMPESTRI/M, PCMPISTRI/M (SDM Vol. 1, 12.10.3; Vol. 2, 4.1), MPSADBW, PHMINPOSUW. Operands in Cpu.scratch as in sse-float. */
import { Cpu_flagAux, Cpu_flagResult, Cpu_scratch } from '../generated/layout';

const sourceOffset: i32 = 16;
const resultOffset: i32 = 32;

/** Element `index` of a string of bytes or words, signed or not. */
function element(address: i32, index: i32, format: i32): i32 {
  if (format & 1)
    return format & 2 ? <i32>load<i16>(address + index * 2) : <i32>load<u16>(address + index * 2);
  return format & 2 ? <i32>load<i8>(address + index) : <i32>load<u8>(address + index);
}

function implicitLength(address: i32, format: i32): i32 {
  const count = format & 1 ? 8 : 16;
  let length = 0;
  while (length < count && element(address, length, format) != 0) length++;
  return length;
}

/** |value| limited to the number of elements. */
function explicitLength(value: i64, format: i32): i32 {
  const count: i64 = format & 1 ? 8 : 16;
  if (value == i64.MIN_VALUE || value > count || value < -count) return <i32>count;
  return <i32>(value < 0 ? -value : value);
}

/** Equal any, ranges, equal each, equal ordered: bit j of the result for element j of the second string. */
function aggregate(a: i32, aLength: i32, c: i32, cLength: i32, control: i32): i32 {
  const format = control & 3;
  const count = format & 1 ? 8 : 16;
  const mode = (control >> 2) & 3;
  let bits = 0;
  for (let j = 0; j < count; j++) {
    let hit = false;
    if (mode == 0) {
      for (let i = 0; i < aLength && j < cLength; i++)
        hit = hit || element(a, i, format) == element(c, j, format);
    } else if (mode == 1) {
      for (let i = 0; i + 1 < aLength && j < cLength; i += 2) {
        const value = element(c, j, format);
        hit = hit || (element(a, i, format) <= value && value <= element(a, i + 1, format));
      }
    } else if (mode == 2) {
      const aValid = j < aLength;
      const cValid = j < cLength;
      hit = aValid && cValid ? element(a, j, format) == element(c, j, format) : aValid == cValid;
    } else {
      hit = true;
      for (let i = 0; i < aLength && j + i < count; i++) {
        if (j + i >= cLength || element(a, i, format) != element(c, j + i, format)) {
          hit = false;
          break;
        }
      }
    }
    if (hit) bits |= 1 << j;
  }
  return bits;
}

/**
 * The comparison: returns the bits after polarity and sets the flags. With `explicit` the lengths are `aValue` and
 * `cValue` (RAX and RDX, sign-extended).
 */
export function sseCompareStrings(cpu: i32, control: i32, explicit: i32, aValue: i64, cValue: i64): i32 {
  const a = cpu + Cpu_scratch;
  const c = a + sourceOffset;
  const format = control & 3;
  const count = format & 1 ? 8 : 16;
  const aLength = explicit ? explicitLength(aValue, format) : implicitLength(a, format);
  const cLength = explicit ? explicitLength(cValue, format) : implicitLength(c, format);
  const all = (1 << count) - 1;
  let bits = aggregate(a, aLength, c, cLength, control);
  const polarity = (control >> 4) & 3;
  if (polarity == 1) bits ^= all;
  else if (polarity == 3) bits ^= (1 << cLength) - 1;
  bits &= all;
  const carry = i32(bits != 0);
  const zero = i32(cLength < count);
  const sign = i32(aLength < count);
  const overflow = bits & 1;
  // Lazy form of cpu/flags.ts: result 0 has PF = 1 and SF = 0, result 1 PF = 0; PF and AF must be 0.
  store<i64>(cpu + Cpu_flagResult, zero ? 0 : 1);
  store<i32>(cpu + Cpu_flagAux, carry | (overflow << 11) | (sign << 7) | (zero << 16));
  return bits;
}

/** Index for PCMPxSTRI: lowest or (control bit 6) highest set bit; the number of elements when there is none. */
export function sseStringIndex(cpu: i32, bits: i32, control: i32): i32 {
  if (bits == 0) return control & 1 ? 8 : 16;
  return control & 0x40 ? 31 - clz(bits) : ctz(bits);
}

/** Mask for PCMPxSTRM at the result: bits, or (control bit 6) whole elements. */
export function sseStringMask(cpu: i32, bits: i32, control: i32): void {
  const result = cpu + Cpu_scratch + resultOffset;
  store<u64>(result, <u64>bits);
  store<u64>(result, 0, 8);
  if ((control & 0x40) == 0) return;
  if (control & 1) for (let i = 0; i < 8; i++) store<u16>(result + i * 2, (bits >> i) & 1 ? 0xffff : 0);
  else for (let i = 0; i < 16; i++) store<u8>(result + i, (bits >> i) & 1 ? 0xff : 0);
}

/** MPSADBW. */
export function sseMultipleSums(cpu: i32, control: i32): void {
  const a = cpu + Cpu_scratch + (control & 4);
  const c = cpu + Cpu_scratch + sourceOffset + ((control & 3) << 2);
  const result = cpu + Cpu_scratch + resultOffset;
  for (let i = 0; i < 8; i++) {
    let sum = 0;
    for (let j = 0; j < 4; j++) {
      const difference = <i32>load<u8>(a + i + j) - <i32>load<u8>(c + j);
      sum += difference < 0 ? -difference : difference;
    }
    store<u16>(result + i * 2, sum);
  }
}

/** PHMINPOSUW. */
export function sseHorizontalMinimum(cpu: i32): void {
  const source = cpu + Cpu_scratch + sourceOffset;
  let index = 0;
  for (let i = 1; i < 8; i++) if (load<u16>(source + i * 2) < load<u16>(source + index * 2)) index = i;
  const result = cpu + Cpu_scratch + resultOffset;
  store<u64>(result, (<u64>load<u16>(source + index * 2)) | ((<u64>index) << 16));
  store<u64>(result, 0, 8);
}
