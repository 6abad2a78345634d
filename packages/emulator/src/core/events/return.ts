/** Far RET and IRET in all forms (SDM Vol. 2 RET, IRET; Vol. 3A 5.8.6, 7.3, 21.3). */
import {
  Cpu_cpl,
  Cpu_frameMask,
  Cpu_framePointer,
  Cpu_gpr,
  Cpu_nmiBlocked,
  Cpu_rip,
  Cpu_startFlags,
  Cpu_systemFlags,
  Flag_df,
  Flag_if,
  Flag_iopl,
  Flag_nt,
  Flag_rf,
  Flag_tf,
  Flag_vif,
  Flag_vip,
  Flag_vm,
  SegmentField_base,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_fs,
  Segment_gs,
  Segment_ss,
  Segment_tr,
  Tlb_supervisorRead,
  Vector_gp,
  Vector_np,
  Vector_ts,
  arithmeticFlags,
} from '../generated/layout';
import { checkInterrupts } from './events';
import { generalProtection, raiseError } from './fault';
import { extendedFlags, writeFlags } from '../integer/flags';
import { commitFrame, popFrame, skipFrame, useCurrentStack } from './frame';
import { readView } from '../memory/memory';
import { updateMode } from '../system/mode';
import {
  descriptorAttributes,
  dropPrivilegedSegments,
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
  Attribute_present,
  Cr4_vme,
  code64,
  cr4Has,
  ioPrivilege,
  longMode,
  paragraphMode,
  segmentAt,
  segmentLimit,
  v86Mode,
  writeMasked,
} from '../state';
import { TaskSource_return, switchTask } from './tasks';
import {
  Type_tss16Busy,
  Type_tss32Busy,
  checkLongBits,
  checkTarget,
  enterCode,
  isLongCode,
} from './transfer';

const rspOffset: i32 = Cpu_gpr + 32;
const plainFlags: i32 = arithmeticFlags | Flag_tf | Flag_df | Flag_nt;

/** The code segment to return to. */
function fetchReturnCode(cpu: i32, selector: i32): i64 {
  if (isNull(selector)) generalProtection(cpu, 0);
  const descriptor = fetchDescriptor(cpu, selector, Vector_gp);
  const attributes = descriptorAttributes(descriptor);
  const rpl = selector & 3;
  const dpl = privilegeOf(attributes);
  const wrong =
    !isCode(attributes) ||
    rpl < load<i32>(cpu, Cpu_cpl) ||
    (isConforming(attributes) ? dpl > rpl : dpl != rpl);
  if (wrong) generalProtection(cpu, errorCodeOf(selector));
  checkLongBits(cpu, selector, attributes);
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  return descriptor;
}

/** Return within real-address or virtual-8086 mode, frame popped. */
function enterParagraph(cpu: i32, selector: i32, offset: i64): void {
  if ((offset as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
  commitFrame(cpu);
  setParagraphSegment(cpu, Segment_cs, selector);
  store<i64>(cpu, offset, Cpu_rip);
  updateMode(cpu);
}

/** Null SS is allowed on a return to 64-bit code at CPL 0-2; 0 is returned for it. */
function fetchReturnStack(cpu: i32, selector: i32, code: i64, cpl: i32): i64 {
  if (isNull(selector)) {
    if (
      !isLongCode(cpu, descriptorAttributes(code)) ||
      cpl == 3 ||
      (longMode(cpu) && (selector & 3) != cpl)
    ) {
      generalProtection(cpu, 0);
    }
    return 0;
  }
  return fetchStackDescriptor(cpu, selector, cpl, Vector_gp);
}

/** Makes a checked stack the current one; `extra` bytes of parameters are released. */
function enterStack(cpu: i32, selector: i32, descriptor: i64, pointer: i64, extra: i32): void {
  if (descriptor == 0) setNullStack(cpu, selector);
  else setFromDescriptor(cpu, Segment_ss, selector, descriptor);
  let mask: i64 = -1;
  if (!code64(cpu))
    mask = descriptor != 0 && (descriptorAttributes(descriptor) & Attribute_big) != 0 ? 0xffff_ffff : 0xffff;
  writeMasked(cpu + rspOffset, (pointer + extra) & mask, mask);
  updateMode(cpu);
}

/** Far RET; `popBytes` is its immediate. Sets Cpu.rip. */
export function farReturn(cpu: i32, operandBytes: i32, popBytes: i32): void {
  useCurrentStack(cpu, false);
  const offset = popFrame(cpu, operandBytes);
  const selector = (popFrame(cpu, operandBytes) & 0xffff) as i32;
  if (paragraphMode(cpu)) {
    skipFrame(cpu, popBytes);
    enterParagraph(cpu, selector, offset);
    return;
  }
  const code = fetchReturnCode(cpu, selector);
  const rpl = selector & 3;
  skipFrame(cpu, popBytes);
  if (rpl == load<i32>(cpu, Cpu_cpl)) {
    checkTarget(cpu, code, offset);
    const pointer = load<i64>(cpu, Cpu_framePointer);
    const mask = load<i64>(cpu, Cpu_frameMask);
    enterCode(cpu, selector, code, rpl, offset);
    writeMasked(cpu + rspOffset, pointer, mask);
    return;
  }
  const pointer = popFrame(cpu, operandBytes);
  const stackSelector = (popFrame(cpu, operandBytes) & 0xffff) as i32;
  let stack = fetchReturnStack(cpu, stackSelector, code, rpl);
  checkTarget(cpu, code, offset);
  if (stack != 0) stack = markAccessed(cpu, stackSelector, stack);
  enterCode(cpu, selector, code, rpl, offset);
  enterStack(cpu, stackSelector, stack, pointer, popBytes);
  dropPrivilegedSegments(cpu);
  updateMode(cpu);
}

/** Writes the flags an IRET popped; `cpl` and `iopl` are those before the return. */
function restoreFlags(cpu: i32, flags: i32, operandBytes: i32, cpl: i32, iopl: i32): void {
  let mask = plainFlags;
  if (cpl <= iopl) mask |= Flag_if;
  if (cpl == 0) mask |= Flag_iopl;
  if (operandBytes != 2) {
    mask |= extendedFlags(cpu) | Flag_rf;
    if (cpl == 0) mask |= Flag_vif | Flag_vip;
  }
  writeFlags(cpu, flags, mask);
  // RF that IRET loads holds for the next instruction, so the end of this one must not clear it.
  store<i32>(cpu, load<i32>(cpu, Cpu_startFlags) & ~Flag_rf, Cpu_startFlags);
}

/** IRET in virtual-8086 mode with IOPL below 3 and VME (SDM Vol. 3A 21.3): IF goes to VIF. */
function returnVirtual(cpu: i32, offset: i64, selector: i32, flags: i32): void {
  const interrupts = (flags & Flag_if) != 0;
  const pending = (load<i32>(cpu, Cpu_systemFlags) & Flag_vip) != 0;
  if ((flags & Flag_tf) != 0 || (interrupts && pending)) generalProtection(cpu, 0);
  enterParagraph(cpu, selector, offset);
  writeFlags(cpu, (flags & ~Flag_vif) | (interrupts ? Flag_vif : 0), plainFlags | Flag_vif);
}

function returnParagraph(cpu: i32, operandBytes: i32): void {
  const v86 = v86Mode(cpu);
  const iopl = ioPrivilege(cpu);
  const virtualized = v86 && iopl < 3;
  if (virtualized && (!cr4Has(cpu, Cr4_vme) || operandBytes != 2)) generalProtection(cpu, 0);
  useCurrentStack(cpu, false);
  const offset = popFrame(cpu, operandBytes);
  const selector = (popFrame(cpu, operandBytes) & 0xffff) as i32;
  const flags = popFrame(cpu, operandBytes) as i32;
  if (virtualized) {
    returnVirtual(cpu, offset, selector, flags);
    return;
  }
  enterParagraph(cpu, selector, offset);
  if (v86) restoreFlags(cpu, flags, operandBytes, 3, iopl);
  else restoreFlags(cpu, flags & ~(Flag_vif | Flag_vip), operandBytes, 0, 3);
}

/** IRET of a nested task (EFLAGS.NT). */
function returnFromTask(cpu: i32, nextRip: i64): void {
  if (longMode(cpu)) generalProtection(cpu, 0);
  const tr = load<i64>(segmentAt(cpu, Segment_tr), SegmentField_base);
  const link = readView<u16>(cpu, tr, Tlb_supervisorRead) as i32;
  if ((link & 4) != 0) raiseError(cpu, Vector_ts, errorCodeOf(link));
  const descriptor = fetchDescriptor(cpu, link, Vector_ts);
  const type = descriptorAttributes(descriptor) & 0x1f;
  if (type != Type_tss16Busy && type != Type_tss32Busy) raiseError(cpu, Vector_ts, errorCodeOf(link));
  if ((descriptorAttributes(descriptor) & Attribute_present) == 0)
    raiseError(cpu, Vector_np, errorCodeOf(link));
  switchTask(cpu, link, descriptor, TaskSource_return, nextRip, 0, 0);
}

/** IRETD at CPL 0 with VM set in the popped flags: CS, EIP and EFLAGS are popped. */
function returnToV86(cpu: i32, offset: i64, selector: i32, flags: i32): void {
  const pointer = popFrame(cpu, 4);
  const ss = popFrame(cpu, 4) as i32;
  const es = popFrame(cpu, 4) as i32;
  const ds = popFrame(cpu, 4) as i32;
  const fs = popFrame(cpu, 4) as i32;
  const gs = popFrame(cpu, 4) as i32;
  if (offset > 0xffff) generalProtection(cpu, 0);
  restoreFlags(cpu, flags, 4, 0, 3);
  store<i32>(cpu, load<i32>(cpu, Cpu_systemFlags) | Flag_vm, Cpu_systemFlags);
  store<i32>(cpu, 3, Cpu_cpl);
  setParagraphSegment(cpu, Segment_cs, selector);
  setParagraphSegment(cpu, Segment_ss, ss);
  setParagraphSegment(cpu, Segment_es, es);
  setParagraphSegment(cpu, Segment_ds, ds);
  setParagraphSegment(cpu, Segment_fs, fs);
  setParagraphSegment(cpu, Segment_gs, gs);
  store<i64>(cpu, pointer, Cpu_gpr + 32);
  store<i64>(cpu, offset, Cpu_rip);
  updateMode(cpu);
}

function returnProtected(cpu: i32, operandBytes: i32): void {
  const cpl = load<i32>(cpu, Cpu_cpl);
  const iopl = ioPrivilege(cpu);
  useCurrentStack(cpu, false);
  const offset = popFrame(cpu, operandBytes);
  const selector = (popFrame(cpu, operandBytes) & 0xffff) as i32;
  const flags = popFrame(cpu, operandBytes) as i32;
  if ((flags & Flag_vm) != 0 && operandBytes == 4 && cpl == 0 && !longMode(cpu)) {
    returnToV86(cpu, offset, selector, flags);
    return;
  }
  const code = fetchReturnCode(cpu, selector);
  const rpl = selector & 3;
  if (rpl == cpl && !code64(cpu)) {
    checkTarget(cpu, code, offset);
    const pointer = load<i64>(cpu, Cpu_framePointer);
    const mask = load<i64>(cpu, Cpu_frameMask);
    enterCode(cpu, selector, code, rpl, offset);
    writeMasked(cpu + rspOffset, pointer, mask);
    restoreFlags(cpu, flags, operandBytes, cpl, iopl);
    return;
  }
  const pointer = popFrame(cpu, operandBytes);
  const stackSelector = (popFrame(cpu, operandBytes) & 0xffff) as i32;
  let stack = fetchReturnStack(cpu, stackSelector, code, rpl);
  checkTarget(cpu, code, offset);
  if (stack != 0) stack = markAccessed(cpu, stackSelector, stack);
  enterCode(cpu, selector, code, rpl, offset);
  restoreFlags(cpu, flags, operandBytes, cpl, iopl);
  enterStack(cpu, stackSelector, stack, pointer, 0);
  if (rpl > cpl) {
    dropPrivilegedSegments(cpu);
    updateMode(cpu);
  }
}

/** IRET/IRETD/IRETQ. `nextRip` is saved when it returns to another task. Unblocks NMIs, also when it faults. Sets Cpu.rip. */
export function interruptReturn(cpu: i32, operandBytes: i32, nextRip: i64): void {
  store<i32>(cpu, 0, Cpu_nmiBlocked);
  if (paragraphMode(cpu)) returnParagraph(cpu, operandBytes);
  else if ((load<i32>(cpu, Cpu_systemFlags) & Flag_nt) != 0) returnFromTask(cpu, nextRip);
  else returnProtected(cpu, operandBytes);
  checkInterrupts(cpu);
}
