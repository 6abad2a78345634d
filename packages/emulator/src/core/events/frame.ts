/**
 * The stack that a far transfer or an event reads or writes: it may be another one than the current, so its segment is held in
 * the frame fields of the vCPU block until the transfer is certain. A fault on it is #SS with the selector as error code.
 */
import {
  Cpu_frameBase,
  Cpu_frameEnd,
  Cpu_frameMask,
  Cpu_frameMin,
  Cpu_framePointer,
  Cpu_frameSelector,
  Cpu_frameView,
  Cpu_gpr,
  Cpu_tlbView,
  SegmentField_base,
  SegmentField_limitMin,
  SegmentField_readEnd,
  SegmentField_writeEnd,
  Segment_ss,
  Tlb_supervisorRead,
  Tlb_userRead,
  Vector_ss,
} from '../generated/layout';
import { raiseError } from './fault';
import { readProgram, readView, writeProgram, writeView } from '../memory/memory';
import { code64, isCanonical, segmentAt, stackMask, writeMasked } from '../state';

const rspOffset: i32 = Cpu_gpr + 32;

/** The frame is on the current stack, at the current stack pointer. */
export function useCurrentStack(cpu: i32, forWriting: bool): void {
  const segment = segmentAt(cpu, Segment_ss);
  const mask = stackMask(cpu);
  store<i64>(cpu, code64(cpu) ? 0 : load<i64>(segment, SegmentField_base), Cpu_frameBase);
  store<i64>(cpu, load<i64>(segment, SegmentField_limitMin), Cpu_frameMin);
  const end = forWriting
    ? load<i64>(segment, SegmentField_writeEnd)
    : load<i64>(segment, SegmentField_readEnd);
  store<i64>(cpu, end, Cpu_frameEnd);
  store<i64>(cpu, mask, Cpu_frameMask);
  store<i64>(cpu, load<i64>(cpu, rspOffset) & mask, Cpu_framePointer);
  store<i32>(cpu, 0, Cpu_frameSelector);
  store<i32>(cpu, load<i32>(cpu, Cpu_tlbView), Cpu_frameView);
}

/** The frame is on another stack. `selector` becomes the error code; `privilege` is that of the new code. */
export function useStack(
  cpu: i32,
  base: i64,
  min: i64,
  end: i64,
  mask: i64,
  pointer: i64,
  selector: i32,
  privilege: i32,
): void {
  store<i64>(cpu, base, Cpu_frameBase);
  store<i64>(cpu, min, Cpu_frameMin);
  store<i64>(cpu, end, Cpu_frameEnd);
  store<i64>(cpu, mask, Cpu_frameMask);
  store<i64>(cpu, pointer & mask, Cpu_framePointer);
  store<i32>(cpu, selector & 0xfffc, Cpu_frameSelector);
  store<i32>(cpu, privilege == 3 ? Tlb_userRead : Tlb_supervisorRead, Cpu_frameView);
}

function frameAddress(cpu: i32, pointer: i64, size: i32): i64 {
  if (load<i64>(cpu, Cpu_frameMask) == -1) {
    if (!isCanonical(pointer) || !isCanonical(pointer + size - 1)) {
      raiseError(cpu, Vector_ss, load<i32>(cpu, Cpu_frameSelector));
    }
    return pointer;
  }
  if (pointer < load<i64>(cpu, Cpu_frameMin) || pointer + size > load<i64>(cpu, Cpu_frameEnd)) {
    raiseError(cpu, Vector_ss, load<i32>(cpu, Cpu_frameSelector));
  }
  return (pointer + load<i64>(cpu, Cpu_frameBase)) & 0xffff_ffff;
}

/** Pushes 2, 4 or 8 bytes onto the frame's stack. */
export function pushFrame(cpu: i32, size: i32, value: i64): void {
  const pointer = (load<i64>(cpu, Cpu_framePointer) - size) & load<i64>(cpu, Cpu_frameMask);
  const address = frameAddress(cpu, pointer, size);
  const view = load<i32>(cpu, Cpu_frameView);
  if (view == load<i32>(cpu, Cpu_tlbView) && size != 8) {
    if (size == 2) writeProgram<u16>(cpu, address, value as u16);
    else writeProgram<i32>(cpu, address, value as i32);
  } else if (size == 2) writeView<u16>(cpu, address, value as u16, view);
  else if (size == 4) writeView<i32>(cpu, address, value as i32, view);
  else writeView<i64>(cpu, address, value, view);
  store<i64>(cpu, pointer, Cpu_framePointer);
}

/** Pops 2, 4 or 8 bytes (zero-extended) from the frame's stack. */
export function popFrame(cpu: i32, size: i32): i64 {
  const pointer = load<i64>(cpu, Cpu_framePointer);
  const value = peekFrame(cpu, size, 0);
  store<i64>(cpu, (pointer + size) & load<i64>(cpu, Cpu_frameMask), Cpu_framePointer);
  return value;
}

/** Reads `size` bytes at `offset` above the frame's pointer. */
export function peekFrame(cpu: i32, size: i32, offset: i32): i64 {
  const pointer = (load<i64>(cpu, Cpu_framePointer) + offset) & load<i64>(cpu, Cpu_frameMask);
  const address = frameAddress(cpu, pointer, size);
  const view = load<i32>(cpu, Cpu_frameView);
  if (view == load<i32>(cpu, Cpu_tlbView) && size != 8) {
    return size == 2 ? (readProgram<u16>(cpu, address) as i64) : (readProgram<u32>(cpu, address) as i64);
  }
  if (size == 2) return readView<u16>(cpu, address, view) as i64;
  if (size == 4) return readView<u32>(cpu, address, view) as i64;
  return readView<i64>(cpu, address, view);
}

/** Moves the frame's pointer up. */
export function skipFrame(cpu: i32, bytes: i64): void {
  const pointer = (load<i64>(cpu, Cpu_framePointer) + bytes) & load<i64>(cpu, Cpu_frameMask);
  store<i64>(cpu, pointer, Cpu_framePointer);
}

/** Makes the frame's pointer the stack pointer. */
export function commitFrame(cpu: i32): void {
  writeMasked(cpu + rspOffset, load<i64>(cpu, Cpu_framePointer), load<i64>(cpu, Cpu_frameMask));
}
