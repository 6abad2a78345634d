/**
 * Far JMP and CALL (SDM Vol. 2 JMP, CALL; Vol. 3A 5.8): direct, through call gates, to tasks. Everything that can fault is done
 * before a register changes.
 */
import {
  Cpu_cpl,
  Cpu_frameMask,
  Cpu_framePointer,
  Cpu_gpr,
  Cpu_rip,
  SegmentField_attributes,
  SegmentField_base,
  SegmentField_limit,
  SegmentField_readEnd,
  SegmentField_limitMin,
  Segment_cs,
  Segment_ss,
  Segment_tr,
  Tlb_supervisorRead,
  Vector_gp,
  Vector_np,
  Vector_ss,
  Vector_ts,
} from '../generated/layout';
import { generalProtection, raiseError } from './fault';
import { commitFrame, pushFrame, useCurrentStack, useStack } from './frame';
import { readProgram, readView } from '../memory/memory';
import { updateMode } from '../system/mode';
import {
  descriptorAddress,
  descriptorAttributes,
  descriptorBase,
  descriptorExists,
  descriptorLimit,
  errorCodeOf,
  fetchDescriptor,
  fetchStackDescriptor,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  privilegeOf,
  setFromDescriptor,
  setNullStack,
  setParagraphSegment,
} from '../system/segments';
import {
  Attribute_big,
  Attribute_long,
  Attribute_notSystem,
  Attribute_present,
  isCanonical,
  longMode,
  paragraphMode,
  segmentAt,
  segmentLimit,
  segmentSelector,
  stackMask,
  writeMasked,
} from '../state';
import { TaskSource_call, TaskSource_jump, switchTask } from './tasks';

const rspOffset: i32 = Cpu_gpr + 32;

/** System descriptor types (SDM Vol. 3A table 3-2). */
export const Type_tss16: i32 = 1;
export const Type_ldt: i32 = 2;
export const Type_tss16Busy: i32 = 3;
export const Type_callGate16: i32 = 4;
export const Type_taskGate: i32 = 5;
export const Type_interruptGate16: i32 = 6;
export const Type_trapGate16: i32 = 7;
export const Type_tss32: i32 = 9;
export const Type_tss32Busy: i32 = 11;
export const Type_callGate32: i32 = 12;
export const Type_interruptGate32: i32 = 14;
export const Type_trapGate32: i32 = 15;

export function truncate(offset: i64, bytes: i32): i64 {
  if (bytes == 8) return offset;
  return bytes == 4 ? offset & 0xffff_ffff : offset & 0xffff;
}

/** True when code of this descriptor runs in 64-bit mode. */
export function isLongCode(cpu: i32, attributes: i32): bool {
  return longMode(cpu) && (attributes & Attribute_long) != 0;
}

/** #GP(0) unless the new instruction pointer is inside of the new code segment. */
export function checkTarget(cpu: i32, descriptor: i64, offset: i64): void {
  if (isLongCode(cpu, descriptorAttributes(descriptor))) {
    if (!isCanonical(offset)) generalProtection(cpu, 0);
  } else if ((offset as u64) > (descriptorLimit(descriptor) as u64)) generalProtection(cpu, 0);
}

/** L and D together are refused in IA-32e mode. */
export function checkLongBits(cpu: i32, selector: i32, attributes: i32): void {
  const both = Attribute_long | Attribute_big;
  if (longMode(cpu) && (attributes & both) == both) generalProtection(cpu, errorCodeOf(selector));
}

/** Loads CS at privilege `cpl` and RIP; the descriptor has been checked. */
export function enterCode(cpu: i32, selector: i32, descriptor: i64, cpl: i32, offset: i64): void {
  const marked = markAccessed(cpu, selector, descriptor);
  setFromDescriptor(cpu, Segment_cs, (selector & ~3) | cpl, marked);
  store<i32>(cpu, cpl, Cpu_cpl);
  store<i64>(cpu, offset, Cpu_rip);
  updateMode(cpu);
}

/** Checks of a code segment that a direct far JMP or CALL names (same privilege). */
function checkDirectCode(cpu: i32, selector: i32, attributes: i32): void {
  const cpl = load<i32>(cpu, Cpu_cpl);
  const dpl = privilegeOf(attributes);
  const bad = isConforming(attributes) ? dpl > cpl : (selector & 3) > cpl || dpl != cpl;
  if (bad) generalProtection(cpu, errorCodeOf(selector));
  checkLongBits(cpu, selector, attributes);
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
}

function fetchTarget(cpu: i32, selector: i32): i64 {
  if (isNull(selector)) generalProtection(cpu, 0);
  return fetchDescriptor(cpu, selector, Vector_gp);
}

/** A gate or TSS may be used by CPL and RPL up to its DPL, and must be present. */
function checkGateAccess(cpu: i32, selector: i32, attributes: i32): void {
  const dpl = privilegeOf(attributes);
  if (dpl < load<i32>(cpu, Cpu_cpl) || dpl < (selector & 3)) generalProtection(cpu, errorCodeOf(selector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
}

/** The code segment behind a call gate, checked but for privilege. */
function fetchGateCode(cpu: i32, selector: i32): i64 {
  const descriptor = fetchTarget(cpu, selector);
  const attributes = descriptorAttributes(descriptor);
  if (!isCode(attributes) || privilegeOf(attributes) > load<i32>(cpu, Cpu_cpl)) {
    generalProtection(cpu, errorCodeOf(selector));
  }
  if (longMode(cpu) && (attributes & (Attribute_long | Attribute_big)) != Attribute_long) {
    generalProtection(cpu, errorCodeOf(selector));
  }
  return descriptor;
}

/** Offset in a call, interrupt or trap gate: 16, 32 or (IA-32e mode) 64 bits. */
export function gateOffset(cpu: i32, gate: i64, type: i32, upper: i64): i64 {
  const low = gate & 0xffff;
  if ((type & 8) == 0) return low;
  const offset = low | ((gate >> 32) & 0xffff_0000);
  return longMode(cpu) ? offset | (upper << 32) : offset;
}

/** Upper half of a 64-bit call gate; its type field must be 0. */
function fetchUpperGate(cpu: i32, selector: i32): i64 {
  if (!longMode(cpu)) return 0;
  if (!descriptorExists(cpu, selector, 16)) generalProtection(cpu, errorCodeOf(selector));
  const upper = readView<i64>(cpu, descriptorAddress(cpu, selector) + 8, Tlb_supervisorRead);
  if (((upper >> 40) & 0x1f) != 0) generalProtection(cpu, errorCodeOf(selector));
  return upper;
}

function isCallGate(cpu: i32, type: i32): bool {
  return type == Type_callGate32 || (type == Type_callGate16 && !longMode(cpu));
}

function isTask(cpu: i32, type: i32): bool {
  return !longMode(cpu) && (type == Type_tss16 || type == Type_tss32 || type == Type_taskGate);
}

/** JMP or CALL to a TSS or through a task gate. */
function transferToTask(cpu: i32, selector: i32, descriptor: i64, source: i32, nextRip: i64): void {
  const attributes = descriptorAttributes(descriptor);
  checkGateAccess(cpu, selector, attributes);
  if ((attributes & 15) != Type_taskGate) {
    switchTask(cpu, selector, descriptor, source, nextRip, 0, 0);
    return;
  }
  const tss = ((descriptor >> 16) & 0xffff) as i32;
  switchTask(cpu, tss, fetchTaskDescriptor(cpu, tss, Vector_gp), source, nextRip, 0, 0);
}

/** The available TSS that a task gate names: in the GDT, present. */
export function fetchTaskDescriptor(cpu: i32, selector: i32, vector: i32): i64 {
  if ((selector & 4) != 0) raiseError(cpu, vector, errorCodeOf(selector));
  const descriptor = fetchDescriptor(cpu, selector, vector);
  const attributes = descriptorAttributes(descriptor);
  const type = attributes & 0x1f;
  if (type != Type_tss16 && type != Type_tss32) raiseError(cpu, vector, errorCodeOf(selector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  return descriptor;
}

/** Far JMP to selector:offset. `nextRip` is saved when it switches tasks. Sets Cpu.rip. */
export function farJump(cpu: i32, selector: i32, offset: i64, operandBytes: i32, nextRip: i64): void {
  const target = truncate(offset, operandBytes);
  const sel = selector & 0xffff;
  if (paragraphMode(cpu)) {
    if ((target as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
    setParagraphSegment(cpu, Segment_cs, sel);
    store<i64>(cpu, target, Cpu_rip);
    updateMode(cpu);
    return;
  }
  const descriptor = fetchTarget(cpu, sel);
  const attributes = descriptorAttributes(descriptor);
  const type = attributes & 15;
  if (isCode(attributes)) {
    checkDirectCode(cpu, sel, attributes);
    checkTarget(cpu, descriptor, target);
    enterCode(cpu, sel, descriptor, load<i32>(cpu, Cpu_cpl), target);
  } else if ((attributes & Attribute_notSystem) == 0 && isCallGate(cpu, type)) {
    checkGateAccess(cpu, sel, attributes);
    jumpThroughGate(cpu, descriptor, type, fetchUpperGate(cpu, sel));
  } else if ((attributes & Attribute_notSystem) == 0 && isTask(cpu, type)) {
    transferToTask(cpu, sel, descriptor, TaskSource_jump, nextRip);
  } else generalProtection(cpu, errorCodeOf(sel));
}

function jumpThroughGate(cpu: i32, gate: i64, type: i32, upper: i64): void {
  const codeSelector = ((gate >> 16) & 0xffff) as i32;
  const code = fetchGateCode(cpu, codeSelector);
  const attributes = descriptorAttributes(code);
  const cpl = load<i32>(cpu, Cpu_cpl);
  if (!isConforming(attributes) && privilegeOf(attributes) != cpl)
    generalProtection(cpu, errorCodeOf(codeSelector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(codeSelector));
  const offset = gateOffset(cpu, gate, type, upper);
  checkTarget(cpu, code, offset);
  enterCode(cpu, codeSelector, code, cpl, offset);
}

/** Far CALL to selector:offset; pushes CS and `nextRip`. Sets Cpu.rip. */
export function farCall(cpu: i32, selector: i32, offset: i64, operandBytes: i32, nextRip: i64): void {
  const target = truncate(offset, operandBytes);
  const sel = selector & 0xffff;
  const cs = segmentSelector(cpu, Segment_cs);
  if (paragraphMode(cpu)) {
    useCurrentStack(cpu, true);
    pushFrame(cpu, operandBytes, cs);
    pushFrame(cpu, operandBytes, nextRip);
    if ((target as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
    commitFrame(cpu);
    setParagraphSegment(cpu, Segment_cs, sel);
    store<i64>(cpu, target, Cpu_rip);
    updateMode(cpu);
    return;
  }
  const descriptor = fetchTarget(cpu, sel);
  const attributes = descriptorAttributes(descriptor);
  const type = attributes & 15;
  if (isCode(attributes)) {
    checkDirectCode(cpu, sel, attributes);
    callSamePrivilege(cpu, sel, descriptor, target, operandBytes, nextRip);
  } else if ((attributes & Attribute_notSystem) == 0 && isCallGate(cpu, type)) {
    checkGateAccess(cpu, sel, attributes);
    callThroughGate(cpu, descriptor, type, fetchUpperGate(cpu, sel), nextRip);
  } else if ((attributes & Attribute_notSystem) == 0 && isTask(cpu, type)) {
    transferToTask(cpu, sel, descriptor, TaskSource_call, nextRip);
  } else generalProtection(cpu, errorCodeOf(sel));
}

function callSamePrivilege(
  cpu: i32,
  selector: i32,
  code: i64,
  offset: i64,
  operandBytes: i32,
  nextRip: i64,
): void {
  useCurrentStack(cpu, true);
  pushFrame(cpu, operandBytes, segmentSelector(cpu, Segment_cs));
  pushFrame(cpu, operandBytes, nextRip);
  checkTarget(cpu, code, offset);
  const pointer = load<i64>(cpu, Cpu_framePointer);
  const mask = load<i64>(cpu, Cpu_frameMask);
  enterCode(cpu, selector, code, load<i32>(cpu, Cpu_cpl), offset);
  writeMasked(cpu + rspOffset, pointer, mask);
}

function callThroughGate(cpu: i32, gate: i64, type: i32, upper: i64, nextRip: i64): void {
  const codeSelector = ((gate >> 16) & 0xffff) as i32;
  const code = fetchGateCode(cpu, codeSelector);
  const attributes = descriptorAttributes(code);
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(codeSelector));
  const offset = gateOffset(cpu, gate, type, upper);
  const bytes = longMode(cpu) ? 8 : (type & 8) != 0 ? 4 : 2;
  const dpl = privilegeOf(attributes);
  if (isConforming(attributes) || dpl == load<i32>(cpu, Cpu_cpl)) {
    callSamePrivilege(cpu, codeSelector, code, offset, bytes, nextRip);
    return;
  }
  const parameters = longMode(cpu) ? 0 : (((gate >> 32) & 31) as i32);
  callInnerPrivilege(cpu, codeSelector, code, offset, bytes, parameters, nextRip);
}

/** Stack selector of the inner stack for privilege `dpl`, from the TSS. Raises #TS(TSS) when it is too short. */
export function innerStackSelector(cpu: i32, dpl: i32): i32 {
  const tr = segmentAt(cpu, Segment_tr);
  const base = load<i64>(tr, SegmentField_base);
  const wide = (tssType(cpu) & 8) != 0;
  const offset = wide ? 8 + dpl * 8 : 4 + dpl * 4;
  if (((offset + 1) as u32) > load<u32>(tr, SegmentField_limit)) {
    raiseError(cpu, Vector_ts, errorCodeOf(segmentSelector(cpu, Segment_tr)));
  }
  return readView<u16>(cpu, base + offset, Tlb_supervisorRead);
}

/** Stack pointer of the inner stack for privilege `dpl` (in IA-32e mode for `slot` 0-2: RSP, 3-9: IST1-7). */
export function innerStackPointer(cpu: i32, slot: i32): i64 {
  const tr = segmentAt(cpu, Segment_tr);
  const base = load<i64>(tr, SegmentField_base);
  const limit = load<u32>(tr, SegmentField_limit);
  const code = errorCodeOf(segmentSelector(cpu, Segment_tr));
  if (longMode(cpu)) {
    const at = slot < 3 ? 4 + slot * 8 : 36 + (slot - 3) * 8;
    if (((at + 7) as u32) > limit) raiseError(cpu, Vector_ts, code);
    return readView<i64>(cpu, base + at, Tlb_supervisorRead);
  }
  if ((tssType(cpu) & 8) != 0) {
    const at = 4 + slot * 8;
    if (((at + 5) as u32) > limit) raiseError(cpu, Vector_ts, code);
    return readView<u32>(cpu, base + at, Tlb_supervisorRead) as i64;
  }
  const at = 2 + slot * 4;
  if (((at + 3) as u32) > limit) raiseError(cpu, Vector_ts, code);
  return readView<u16>(cpu, base + at, Tlb_supervisorRead) as i64;
}

function tssType(cpu: i32): i32 {
  return load<i32>(segmentAt(cpu, Segment_tr), SegmentField_attributes) & 15;
}

/** The inner stack's descriptor: #TS(0) for a null selector, #TS or #SS with the selector. */
export function fetchInnerStack(cpu: i32, selector: i32, dpl: i32): i64 {
  if (isNull(selector)) raiseError(cpu, Vector_ts, 0);
  return fetchStackDescriptor(cpu, selector, dpl, Vector_ts);
}

/** Makes the stack of a checked descriptor the frame's. */
export function useDescriptorStack(
  cpu: i32,
  selector: i32,
  descriptor: i64,
  pointer: i64,
  privilege: i32,
): void {
  const attributes = descriptorAttributes(descriptor);
  const limit = descriptorLimit(descriptor) as i64;
  const big = (attributes & Attribute_big) != 0;
  const down = (attributes & 4) != 0;
  const end: i64 = down ? (big ? 0x1_0000_0000 : 0x1_0000) : limit + 1;
  const mask: i64 = big ? 0xffff_ffff : 0xffff;
  useStack(cpu, descriptorBase(descriptor), down ? limit + 1 : 0, end, mask, pointer, selector, privilege);
}

function callInnerPrivilege(
  cpu: i32,
  codeSelector: i32,
  code: i64,
  offset: i64,
  bytes: i32,
  parameters: i32,
  nextRip: i64,
): void {
  const dpl = privilegeOf(descriptorAttributes(code));
  const oldSs = segmentSelector(cpu, Segment_ss);
  const oldSp = load<i64>(cpu, rspOffset);
  const oldMask = stackMask(cpu);
  const pointer = innerStackPointer(cpu, dpl);
  let stackSelector = dpl;
  let stack: i64 = 0;
  if (longMode(cpu)) {
    useStack(cpu, 0, 0, 0, -1, pointer, 0, dpl);
  } else {
    stackSelector = innerStackSelector(cpu, dpl);
    stack = fetchInnerStack(cpu, stackSelector, dpl);
    useDescriptorStack(cpu, stackSelector, stack, pointer, dpl);
  }
  pushFrame(cpu, bytes, oldSs);
  pushFrame(cpu, bytes, oldSp & (bytes == 8 ? -1 : 0xffff_ffff));
  for (let i = parameters - 1; i >= 0; i--)
    pushFrame(cpu, bytes, readParameter(cpu, (oldSp + i * bytes) & oldMask, bytes));
  pushFrame(cpu, bytes, segmentSelector(cpu, Segment_cs));
  pushFrame(cpu, bytes, nextRip);
  checkTarget(cpu, code, offset);
  const newPointer = load<i64>(cpu, Cpu_framePointer);
  const newMask = load<i64>(cpu, Cpu_frameMask);
  if (!longMode(cpu)) stack = markAccessed(cpu, stackSelector, stack);
  enterCode(cpu, codeSelector, code, dpl, offset);
  if (longMode(cpu)) setNullStack(cpu, stackSelector);
  else setFromDescriptor(cpu, Segment_ss, stackSelector, stack);
  writeMasked(cpu + rspOffset, newPointer, newMask);
  updateMode(cpu);
}

/** One parameter on the caller's stack, with the limit of SS. */
function readParameter(cpu: i32, pointer: i64, bytes: i32): i64 {
  const ss = segmentAt(cpu, Segment_ss);
  if (
    pointer < load<i64>(ss, SegmentField_limitMin) ||
    pointer + bytes > load<i64>(ss, SegmentField_readEnd)
  ) {
    raiseError(cpu, Vector_ss, 0);
  }
  const address = load<i64>(ss, SegmentField_base) + pointer;
  return bytes == 2 ? (readProgram<u16>(cpu, address) as i64) : (readProgram<u32>(cpu, address) as i64);
}
