/** Vectors whose lanes are accesses of their own: VMASKMOV, VPMASKMOV and gathers. SDM Vol. 2; their lanes fault one by one. */
import {
  Cpu_linearMask,
  Cpu_scratch,
  Cpu_segments,
  Record_addressMask,
  Record_base,
  Record_displacement,
  Record_immediate2,
  Record_reg,
  Record_scale,
  Record_segment,
  Record_vvvv,
  SegmentField_base,
  SegmentField_limitMin,
  SegmentField_readEnd,
  SegmentField_writeEnd,
  Segment_fs,
  segmentBytes,
  upperHalf,
} from '../generated/layout';
import { segmentFault } from '../events/fault';
import { checkFlatAddress } from '../events/near';
import { probeWrite, readLinear32, readLinear64, writeLinear32, writeLinear64 } from '../memory/memory';
import { code64 } from '../state';

/** In Cpu.scratch: the mask, and behind it the value. */
const valueAt: i32 = 32;

/** Whether the lane at this address is chosen: its sign. */
function chosen(lane: i32, bytes: i32): bool {
  return load<i8>(lane + bytes - 1) < 0;
}

/**
 * The chosen lanes of `total` bytes at `offset`; the others become 0 and are not touched in memory. An offset does not wrap from one lane to the
 * next: what lies beyond the address size is beyond the limit (asked of a processor: test/native/fuzz.test.ts).
 */
export function maskedLoad(cpu: i32, rec: i32, offset: i64, bytes: i32, total: i32): void {
  const scratch = cpu + Cpu_scratch;
  for (let i = 0; i < total; i += bytes) {
    let value: i64 = 0;
    if (chosen(scratch + i, bytes)) {
      const la = linear(cpu, rec, offset + i, bytes, false);
      value = bytes == 8 ? readLinear64(cpu, la) : <i64>(<u32>readLinear32(cpu, la));
    }
    if (bytes == 8) store<i64>(scratch + valueAt + i, value);
    else store<i32>(scratch + valueAt + i, <i32>value);
  }
}

/** The chosen lanes to memory, after all of them were found to be writable. */
export function maskedStore(cpu: i32, rec: i32, offset: i64, bytes: i32, total: i32): void {
  const scratch = cpu + Cpu_scratch;
  for (let i = 0; i < total; i += bytes) {
    if (chosen(scratch + i, bytes)) probeWrite(cpu, linear(cpu, rec, offset + i, bytes, true), bytes);
  }
  for (let i = 0; i < total; i += bytes) {
    if (!chosen(scratch + i, bytes)) continue;
    const la = linear(cpu, rec, offset + i, bytes, true);
    if (bytes == 8) writeLinear64(cpu, la, load<i64>(scratch + valueAt + i));
    else writeLinear32(cpu, la, load<i32>(scratch + valueAt + i));
  }
}

/** Address of byte `at` of a vector register of 32 bytes in two halves. */
function laneAddress(cpu: i32, register: i32, at: i32): i32 {
  return cpu + register + (at < 16 ? at : at - 16 + upperHalf);
}

/** Linear address of an access of `bytes` at `offset` in the segment of the record. */
function linear(cpu: i32, rec: i32, offset: i64, bytes: i32, write: bool): i64 {
  const segmentOffset = <i32>load<u16>(rec, Record_segment);
  const segment = cpu + segmentOffset;
  if (code64(cpu)) {
    const based = segmentOffset >= Cpu_segments + Segment_fs * segmentBytes;
    const la = based ? offset + load<i64>(segment, SegmentField_base) : offset;
    checkFlatAddress(cpu, la, bytes, segmentOffset);
    return la;
  }
  const end = load<i64>(segment + (write ? SegmentField_writeEnd : SegmentField_readEnd));
  const inside = offset >= load<i64>(segment, SegmentField_limitMin) && offset + bytes <= end;
  if (!inside) segmentFault(cpu, segmentOffset);
  return (offset + load<i64>(segment, SegmentField_base)) & load<i64>(cpu, Cpu_linearMask);
}

function clearLane(lane: i32, bytes: i32): void {
  if (bytes == 8) store<i64>(lane, 0);
  else store<i32>(lane, 0);
}

/**
 * VPGATHER and VGATHER: the lanes whose mask is set, from the lowest on, each with its own access; what has been loaded stays, with its mask
 * cleared, when a later lane faults. At the end the mask and what lies behind the loaded lanes are 0.
 */
export function gather(cpu: i32, rec: i32, indexBytes: i32, bytes: i32, total: i32): void {
  const destination = <i32>load<u16>(rec, Record_reg);
  const mask = <i32>load<u16>(rec, Record_vvvv);
  const indices = load<i32>(rec, Record_immediate2);
  const base = load<i64>(cpu + load<u16>(rec, Record_base)) + load<i64>(rec, Record_displacement);
  const scale = <i64>load<u8>(rec, Record_scale);
  const lanes = total / max(indexBytes, bytes);
  for (let i = 0; i < lanes; i++) {
    const maskLane = laneAddress(cpu, mask, i * bytes);
    if (!chosen(maskLane, bytes)) {
      clearLane(maskLane, bytes);
      continue;
    }
    const at = laneAddress(cpu, indices, i * indexBytes);
    const index: i64 = indexBytes == 8 ? load<i64>(at) : <i64>load<i32>(at);
    const offset = (base + (index << scale)) & load<i64>(rec, Record_addressMask);
    const la = linear(cpu, rec, offset, bytes, false);
    const to = laneAddress(cpu, destination, i * bytes);
    if (bytes == 8) store<i64>(to, readLinear64(cpu, la));
    else store<i32>(to, readLinear32(cpu, la));
    clearLane(maskLane, bytes);
  }
  for (let i = 0; i < 32; i += 4) {
    store<i32>(laneAddress(cpu, mask, i), 0);
    if (i >= lanes * bytes) store<i32>(laneAddress(cpu, destination, i), 0);
  }
}
