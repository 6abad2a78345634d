/** Delivery of an event through the IVT or IDT: SDM Vol. 3A 6.12-6.14, 21.3; Vol. 2 INT n. */
import {
  Cpu_cpl,
  Cpu_frameMask,
  Cpu_framePointer,
  Cpu_gpr,
  Cpu_idtrBase,
  Cpu_idtrLimit,
  Cpu_rip,
  Cpu_systemFlags,
  EventKind_exception,
  EventKind_software,
  Flag_ac,
  Flag_if,
  Flag_iopl,
  Flag_nt,
  Flag_rf,
  Flag_tf,
  Flag_vif,
  Flag_vm,
  SegmentField_base,
  SegmentField_limit,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_fs,
  Segment_gs,
  Segment_ss,
  Segment_tr,
  Tlb_supervisorRead,
  Vector_db,
  Vector_df,
  Vector_gp,
  Vector_np,
} from '../generated/layout';
import { generalProtection, raiseError } from './fault';
import { readFlags, writeFlags } from '../integer/flags';
import { commitFrame, pushFrame, useCurrentStack, useStack } from './frame';
import { readView } from '../memory/memory';
import { updateMode } from '../system/mode';
import {
  descriptorAttributes,
  errorCodeOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  privilegeOf,
  setFromDescriptor,
  setNullSegment,
  setNullStack,
  setParagraphSegment,
} from '../system/segments';
import {
  Attribute_big,
  Attribute_long,
  Attribute_present,
  Cr4_vme,
  cr4Has,
  ioPrivilege,
  longMode,
  segmentAt,
  segmentLimit,
  segmentSelector,
  v86Mode,
  writeMasked,
} from '../state';
import { TaskSource_event, switchTask } from './tasks';
import {
  Type_interruptGate16,
  Type_interruptGate32,
  Type_taskGate,
  Type_trapGate16,
  Type_trapGate32,
  checkTarget,
  enterCode,
  fetchInnerStack,
  fetchTaskDescriptor,
  gateOffset,
  innerStackPointer,
  innerStackSelector,
  useDescriptorStack,
} from './transfer';

const rspOffset: i32 = Cpu_gpr + 32;

/** Pushes FLAGS, CS, IP on the current 16-bit stack and enters the handler of the table at `table` (real mode and VME). */
function enterVector(cpu: i32, table: i64, vector: i32, flags: i32, rip: i64): void {
  const target = readView<u32>(cpu, table + vector * 4, Tlb_supervisorRead);
  useCurrentStack(cpu, true);
  pushFrame(cpu, 2, flags);
  pushFrame(cpu, 2, segmentSelector(cpu, Segment_cs));
  pushFrame(cpu, 2, rip);
  const offset = (target & 0xffff) as i64;
  if ((offset as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
  commitFrame(cpu);
  setParagraphSegment(cpu, Segment_cs, (target >>> 16) as i32);
  store<i64>(cpu, offset, Cpu_rip);
}

/** SDM Vol. 3A 20.1.4: real-address mode, through the table at IDTR. */
export function deliverReal(cpu: i32, vector: i32, rip: i64): void {
  if (vector * 4 + 3 > load<i32>(cpu, Cpu_idtrLimit)) generalProtection(cpu, vector * 8 + 2);
  enterVector(cpu, load<i64>(cpu, Cpu_idtrBase), vector, readFlags(cpu), rip);
  writeFlags(cpu, 0, Flag_if | Flag_tf | Flag_ac | Flag_rf);
  updateMode(cpu);
}

/**
 * INT n in virtual-8086 mode with VME: when the redirection bitmap of the TSS has a 0 for the vector, the handler of the
 * virtual-8086 program's own table runs (SDM Vol. 3A 21.3.3.4, methods 5 and 6). Answers false for the protected-mode methods.
 */
export function deliverVirtual(cpu: i32, vector: i32, rip: i64): bool {
  if (!cr4Has(cpu, Cr4_vme)) return false;
  const tr = segmentAt(cpu, Segment_tr);
  const base = load<i64>(tr, SegmentField_base);
  const limit = load<u32>(tr, SegmentField_limit);
  const iopl = ioPrivilege(cpu);
  let redirect = false;
  if (limit >= 103) {
    const map = (readView<u16>(cpu, base + 102, Tlb_supervisorRead) as i32) - 32 + (vector >> 3);
    if (map >= 0 && (map as u32) <= limit) {
      redirect = (((readView<u8>(cpu, base + map, Tlb_supervisorRead) as i32) >> (vector & 7)) & 1) == 0;
    }
  }
  if (!redirect) {
    if (iopl < 3) generalProtection(cpu, 0);
    return false;
  }
  let image = readFlags(cpu) & 0xffff;
  if (iopl < 3) {
    const interrupts = (load<i32>(cpu, Cpu_systemFlags) & Flag_vif) != 0;
    image = (image & ~Flag_if) | Flag_iopl | (interrupts ? Flag_if : 0);
  }
  enterVector(cpu, 0, vector, image, rip);
  writeFlags(cpu, 0, (iopl < 3 ? Flag_vif : Flag_if) | Flag_tf | Flag_ac | Flag_nt);
  updateMode(cpu);
  return true;
}

/**
 * Fault-class exceptions push RF set, so that an instruction breakpoint is not met twice (SDM Vol. 3B 18.3.1.1). Not so #DB, but for
 * general detect (`errorCode` is then not 0), nor the trap and abort classes.
 */
function isFault(vector: i32, kind: i32, errorCode: i32): bool {
  if (kind != EventKind_exception) return false;
  if (vector == Vector_db) return errorCode != 0;
  return vector != Vector_df && vector != 3 && vector != 4;
}

function isEventGate(cpu: i32, type: i32): bool {
  if (type == Type_interruptGate32 || type == Type_trapGate32) return true;
  if (longMode(cpu)) return false;
  return type == Type_interruptGate16 || type == Type_trapGate16 || type == Type_taskGate;
}

/** Protected and IA-32e mode: checks the gate, then enters its handler. */
export function deliverProtected(
  cpu: i32,
  vector: i32,
  kind: i32,
  hasErrorCode: bool,
  errorCode: i32,
  rip: i64,
): void {
  const gateBytes = longMode(cpu) ? 16 : 8;
  const gateCode = vector * 8 + 2;
  if (vector * gateBytes + gateBytes - 1 > load<i32>(cpu, Cpu_idtrLimit)) generalProtection(cpu, gateCode);
  const address = load<i64>(cpu, Cpu_idtrBase) + vector * gateBytes;
  const gate = readView<i64>(cpu, address, Tlb_supervisorRead);
  const attributes = descriptorAttributes(gate);
  const type = attributes & 0x1f;
  if (!isEventGate(cpu, type)) generalProtection(cpu, gateCode);
  if (kind == EventKind_software && privilegeOf(attributes) < load<i32>(cpu, Cpu_cpl))
    generalProtection(cpu, gateCode);
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, gateCode);
  const fault = isFault(vector, kind, errorCode);
  if (type == Type_taskGate) {
    if (fault) writeFlags(cpu, Flag_rf, Flag_rf);
    const tss = ((gate >> 16) & 0xffff) as i32;
    const descriptor = fetchTaskDescriptor(cpu, tss, Vector_gp);
    switchTask(cpu, tss, descriptor, TaskSource_event, rip, hasErrorCode ? 1 : 0, errorCode);
    return;
  }
  const upper = longMode(cpu) ? readView<i64>(cpu, address + 8, Tlb_supervisorRead) : 0;
  const codeSelector = ((gate >> 16) & 0xffff) as i32;
  if (isNull(codeSelector)) generalProtection(cpu, 0);
  const code = fetchDescriptor(cpu, codeSelector, Vector_gp);
  checkHandler(cpu, codeSelector, descriptorAttributes(code));
  const offset = gateOffset(cpu, gate, type, upper);
  const image = fault ? readFlags(cpu) | Flag_rf : readFlags(cpu);
  if (longMode(cpu)) enterLong(cpu, gate, code, offset, image, hasErrorCode, errorCode, rip);
  else enterHandler(cpu, gate, type, code, offset, image, hasErrorCode, errorCode, rip);
}

/** The handler's code segment: at CPL or further in, present; 64-bit in IA-32e mode; at level 0 when it interrupts virtual-8086 mode. */
function checkHandler(cpu: i32, selector: i32, attributes: i32): void {
  const dpl = privilegeOf(attributes);
  if (!isCode(attributes) || dpl > load<i32>(cpu, Cpu_cpl)) generalProtection(cpu, errorCodeOf(selector));
  if (longMode(cpu) && (attributes & (Attribute_long | Attribute_big)) != Attribute_long) {
    generalProtection(cpu, errorCodeOf(selector));
  }
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  if (v86Mode(cpu) && (isConforming(attributes) || dpl != 0)) generalProtection(cpu, errorCodeOf(selector));
}

/** Flags on entry: TF, NT, VM, RF are cleared, and IF by interrupt gates. */
function enterFlags(cpu: i32, type: i32): void {
  const interruptGate = (type & 1) == 0;
  writeFlags(cpu, 0, Flag_tf | Flag_nt | Flag_vm | Flag_rf | (interruptGate ? Flag_if : 0));
}

function enterHandler(
  cpu: i32,
  gate: i64,
  type: i32,
  code: i64,
  offset: i64,
  image: i32,
  hasErrorCode: bool,
  errorCode: i32,
  rip: i64,
): void {
  const selector = ((gate >> 16) & 0xffff) as i32;
  const attributes = descriptorAttributes(code);
  const cpl = load<i32>(cpu, Cpu_cpl);
  const bytes = (type & 8) != 0 ? 4 : 2;
  const dpl = privilegeOf(attributes);
  const virtual = v86Mode(cpu);
  const inner = !isConforming(attributes) && dpl < cpl;
  let stackSelector = 0;
  let stack: i64 = 0;
  if (inner) {
    const pointer = innerStackPointer(cpu, dpl);
    stackSelector = innerStackSelector(cpu, dpl);
    stack = fetchInnerStack(cpu, stackSelector, dpl);
    useDescriptorStack(cpu, stackSelector, stack, pointer, dpl);
    if (virtual) {
      pushFrame(cpu, bytes, segmentSelector(cpu, Segment_gs));
      pushFrame(cpu, bytes, segmentSelector(cpu, Segment_fs));
      pushFrame(cpu, bytes, segmentSelector(cpu, Segment_ds));
      pushFrame(cpu, bytes, segmentSelector(cpu, Segment_es));
    }
    pushFrame(cpu, bytes, segmentSelector(cpu, Segment_ss));
    pushFrame(cpu, bytes, load<u32>(cpu, rspOffset) as i64);
  } else useCurrentStack(cpu, true);
  pushFrame(cpu, bytes, image);
  pushFrame(cpu, bytes, segmentSelector(cpu, Segment_cs));
  pushFrame(cpu, bytes, rip);
  if (hasErrorCode) pushFrame(cpu, bytes, errorCode);
  checkTarget(cpu, code, offset);
  const pointer = load<i64>(cpu, Cpu_framePointer);
  const mask = load<i64>(cpu, Cpu_frameMask);
  if (inner) stack = markAccessed(cpu, stackSelector, stack);
  // Nothing below faults but the accessed bit of CS, which lies in the table that was just read.
  const marked = markAccessed(cpu, selector, code);
  enterFlags(cpu, type);
  if (virtual)
    for (let i = Segment_es; i <= Segment_gs; i++)
      if (i != Segment_cs && i != Segment_ss) setNullSegment(cpu, i, 0);
  if (inner) setFromDescriptor(cpu, Segment_ss, stackSelector, stack);
  enterCode(cpu, selector, marked, inner ? dpl : cpl, offset);
  writeMasked(cpu + rspOffset, pointer, mask);
}

/** SDM Vol. 3A 6.14: the stack pointer comes from IST, the TSS, or stays; it is aligned to 16 bytes; five items are always pushed. */
function enterLong(
  cpu: i32,
  gate: i64,
  code: i64,
  offset: i64,
  image: i32,
  hasErrorCode: bool,
  errorCode: i32,
  rip: i64,
): void {
  const selector = ((gate >> 16) & 0xffff) as i32;
  const attributes = descriptorAttributes(code);
  const cpl = load<i32>(cpu, Cpu_cpl);
  const dpl = privilegeOf(attributes);
  const inner = !isConforming(attributes) && dpl < cpl;
  const newCpl = inner ? dpl : cpl;
  const ist = ((gate >> 32) & 7) as i32;
  let pointer = load<i64>(cpu, rspOffset);
  if (ist != 0) pointer = innerStackPointer(cpu, ist + 2);
  else if (inner) pointer = innerStackPointer(cpu, dpl);
  useStack(cpu, 0, 0, 0, -1, pointer & ~15, inner ? newCpl : 0, newCpl);
  pushFrame(cpu, 8, segmentSelector(cpu, Segment_ss));
  pushFrame(cpu, 8, load<i64>(cpu, rspOffset));
  pushFrame(cpu, 8, image);
  pushFrame(cpu, 8, segmentSelector(cpu, Segment_cs));
  pushFrame(cpu, 8, rip);
  if (hasErrorCode) pushFrame(cpu, 8, errorCode);
  checkTarget(cpu, code, offset);
  pointer = load<i64>(cpu, Cpu_framePointer);
  const marked = markAccessed(cpu, selector, code);
  enterFlags(cpu, ((gate >> 40) & 15) as i32);
  if (inner) setNullStack(cpu, newCpl);
  enterCode(cpu, selector, marked, newCpl, offset);
  store<i64>(cpu, pointer, rspOffset);
}
