/**
 * Hardware task switches (SDM Vol. 3A chapter 8). Faults before the old task is saved are raised in the old task; those after the
 * switch (descriptors of the new task) in the new one, as the manual says: state is then already the new task's.
 */
import {
  Cpu_cpl,
  Cpu_cr0,
  Cpu_cr3,
  Cpu_cr4,
  Cpu_dr,
  Cpu_faultRip,
  Cpu_faultRipValid,
  Cpu_gpr,
  Cpu_rip,
  Cpu_startFlags,
  Flag_nt,
  Flag_rf,
  Flag_vm,
  SegmentField_attributes,
  SegmentField_base,
  SegmentField_selector,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_fs,
  Segment_gs,
  Segment_ldtr,
  Segment_ss,
  Segment_tr,
  Tlb_supervisorRead,
  Vector_np,
  Vector_ss,
  Vector_ts,
} from '../generated/layout';
import { Dr6_taskSwitch, pendDebugTrap } from './debug';
import { checkInterrupts } from './events';
import { generalProtection, raiseError } from './fault';
import { readFlags, writeFlags } from '../integer/flags';
import { commitFrame, pushFrame, useCurrentStack } from './frame';
import { probeWriteView, readView, writeView } from '../memory/memory';
import { updateMode } from '../system/mode';
import { loadPdptes } from '../memory/paging';
import {
  descriptorAddress,
  descriptorAttributes,
  descriptorBase,
  descriptorExists,
  descriptorLimit,
  errorCodeOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  isWritableData,
  markAccessed,
  privilegeOf,
  setFromDescriptor,
  setNullSegment,
  setParagraphSegment,
} from '../system/segments';
import {
  Attribute_notSystem,
  Attribute_present,
  Attribute_writable,
  Cr0_pg,
  Cr0_ts,
  Cr4_pae,
  segmentAt,
  segmentLimit,
  segmentSelector,
} from '../state';
import { flushTlb } from '../memory/tlb';

export const TaskSource_jump: i32 = 0;
export const TaskSource_call: i32 = 1;
export const TaskSource_return: i32 = 2;
/** Interrupt or exception through a task gate: nests like CALL. */
export const TaskSource_event: i32 = 3;

const busyBit: i32 = 2;

function read16(cpu: i32, la: i64): i32 {
  return readView<u16>(cpu, la, Tlb_supervisorRead) as i32;
}

function read32(cpu: i32, la: i64): i32 {
  return readView<i32>(cpu, la, Tlb_supervisorRead);
}

function write16(cpu: i32, la: i64, value: i32): void {
  writeView<u16>(cpu, la, value as u16, Tlb_supervisorRead);
}

function write32(cpu: i32, la: i64, value: i32): void {
  writeView<i32>(cpu, la, value, Tlb_supervisorRead);
}

function setBusy(cpu: i32, selector: i32, busy: bool): void {
  const address = descriptorAddress(cpu, selector) + 5;
  const type = readView<u8>(cpu, address, Tlb_supervisorRead) as i32;
  writeView<u8>(cpu, address, (busy ? type | busyBit : type & ~busyBit) as u8, Tlb_supervisorRead);
}

/** Saves the dynamic part of the outgoing task: EIP, EFLAGS, registers, ES to GS. */
function saveTask(cpu: i32, base: i64, wide: bool, rip: i64, flags: i32): void {
  if (wide) {
    write32(cpu, base + 32, rip as i32);
    write32(cpu, base + 36, flags);
    for (let i = 0; i < 8; i++) write32(cpu, base + 40 + i * 4, load<i32>(cpu + i * 8, Cpu_gpr));
    for (let i = 0; i < 6; i++) write16(cpu, base + 72 + i * 4, segmentSelector(cpu, i));
    return;
  }
  write16(cpu, base + 14, rip as i32);
  write16(cpu, base + 16, flags);
  for (let i = 0; i < 8; i++) write16(cpu, base + 18 + i * 2, load<i32>(cpu + i * 8, Cpu_gpr));
  for (let i = 0; i < 4; i++) write16(cpu, base + 34 + i * 2, segmentSelector(cpu, i));
}

/** Loads EIP and the registers of the incoming task; gives its EFLAGS image. */
function loadRegisters(cpu: i32, base: i64, wide: bool): i32 {
  if (wide) {
    store<i64>(cpu, read32(cpu, base + 32) as u32 as i64, Cpu_rip);
    for (let i = 0; i < 8; i++)
      store<i64>(cpu + i * 8, read32(cpu, base + 40 + i * 4) as u32 as i64, Cpu_gpr);
    return read32(cpu, base + 36);
  }
  store<i64>(cpu, read16(cpu, base + 14), Cpu_rip);
  // The upper halves of the registers become all ones on the processors that were measured (SDM: undefined).
  for (let i = 0; i < 8; i++) {
    store<i64>(cpu + i * 8, (read16(cpu, base + 18 + i * 2) | 0xffff_0000) as u32 as i64, Cpu_gpr);
  }
  return read16(cpu, base + 16);
}

function selectorIn(cpu: i32, base: i64, wide: bool, index: i32): i32 {
  if (!wide) return index < 4 ? read16(cpu, base + 34 + index * 2) : 0;
  return read16(cpu, base + 72 + index * 4);
}

/** The new TSS must be large enough, and both must be reachable, before anything changes. */
function checkTss(cpu: i32, selector: i32, descriptor: i64, oldBase: i64, oldWide: bool): void {
  const attributes = descriptorAttributes(descriptor);
  const wide = (attributes & 8) != 0;
  const size = wide ? 104 : 44;
  if (descriptorLimit(descriptor) < ((size - 1) as u32)) raiseError(cpu, Vector_ts, errorCodeOf(selector));
  const base = descriptorBase(descriptor);
  for (let i = 0; i < size; i += 4) readView<u16>(cpu, base + i, Tlb_supervisorRead);
  readView<u16>(cpu, base + size - 2, Tlb_supervisorRead);
  const oldSize = oldWide ? 62 : 28;
  probeWriteView(cpu, oldBase + (oldWide ? 32 : 14), oldSize, Tlb_supervisorRead);
}

function loadLdt(cpu: i32, selector: i32): void {
  if (isNull(selector)) {
    setNullSegment(cpu, Segment_ldtr, selector);
    return;
  }
  if ((selector & 4) != 0 || !descriptorExists(cpu, selector, 8))
    raiseError(cpu, Vector_ts, errorCodeOf(selector));
  const descriptor = fetchDescriptor(cpu, selector, Vector_ts);
  const attributes = descriptorAttributes(descriptor);
  if ((attributes & 0x1f) != 2 || (attributes & Attribute_present) == 0)
    raiseError(cpu, Vector_ts, errorCodeOf(selector));
  setFromDescriptor(cpu, Segment_ldtr, selector, descriptor);
}

function loadTaskCode(cpu: i32, selector: i32): void {
  if (isNull(selector)) raiseError(cpu, Vector_ts, 0);
  const descriptor = fetchDescriptor(cpu, selector, Vector_ts);
  const attributes = descriptorAttributes(descriptor);
  const rpl = selector & 3;
  const dpl = privilegeOf(attributes);
  const wrong = !isCode(attributes) || (isConforming(attributes) ? dpl > rpl : dpl != rpl);
  if (wrong) raiseError(cpu, Vector_ts, errorCodeOf(selector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  setFromDescriptor(cpu, Segment_cs, selector, markAccessed(cpu, selector, descriptor));
}

function loadTaskStack(cpu: i32, selector: i32, cpl: i32): void {
  if (isNull(selector)) raiseError(cpu, Vector_ts, 0);
  const descriptor = fetchDescriptor(cpu, selector, Vector_ts);
  const attributes = descriptorAttributes(descriptor);
  const wrong = !isWritableData(attributes) || privilegeOf(attributes) != cpl || (selector & 3) != cpl;
  if (wrong) raiseError(cpu, Vector_ts, errorCodeOf(selector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_ss, errorCodeOf(selector));
  setFromDescriptor(cpu, Segment_ss, selector, markAccessed(cpu, selector, descriptor));
}

function loadTaskData(cpu: i32, index: i32, selector: i32, cpl: i32): void {
  if (isNull(selector)) return;
  const descriptor = fetchDescriptor(cpu, selector, Vector_ts);
  const attributes = descriptorAttributes(descriptor);
  const code = isCode(attributes);
  let wrong = (attributes & Attribute_notSystem) == 0 || (code && (attributes & Attribute_writable) == 0);
  if (!(code && isConforming(attributes))) {
    const dpl = privilegeOf(attributes);
    wrong = wrong || dpl < cpl || dpl < (selector & 3);
  }
  if (wrong) raiseError(cpu, Vector_ts, errorCodeOf(selector));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  setFromDescriptor(cpu, index, selector, markAccessed(cpu, selector, descriptor));
}

/** Loads the segments of the new task. Selectors are all loaded first, so that a fault shows them. */
function loadSegments(cpu: i32, base: i64, wide: bool, flags: i32): void {
  if ((flags & Flag_vm) != 0) {
    store<i32>(cpu, 3, Cpu_cpl);
    for (let i = 0; i < 6; i++) setParagraphSegment(cpu, i, selectorIn(cpu, base, wide, i));
    loadLdt(cpu, read16(cpu, base + 96));
    updateMode(cpu);
    return;
  }
  const cs = selectorIn(cpu, base, wide, Segment_cs);
  const ss = selectorIn(cpu, base, wide, Segment_ss);
  const cpl = cs & 3;
  for (let i = 0; i < 6; i++) setNullSegment(cpu, i, selectorIn(cpu, base, wide, i));
  store<i32>(cpu, cpl, Cpu_cpl);
  updateMode(cpu);
  loadLdt(cpu, wide ? read16(cpu, base + 96) : read16(cpu, base + 42));
  loadTaskCode(cpu, cs);
  updateMode(cpu);
  loadTaskStack(cpu, ss, cpl);
  loadTaskData(cpu, Segment_ds, selectorIn(cpu, base, wide, Segment_ds), cpl);
  loadTaskData(cpu, Segment_es, selectorIn(cpu, base, wide, Segment_es), cpl);
  loadTaskData(cpu, Segment_fs, selectorIn(cpu, base, wide, Segment_fs), cpl);
  loadTaskData(cpu, Segment_gs, selectorIn(cpu, base, wide, Segment_gs), cpl);
  updateMode(cpu);
}

/** Loads CR3 of a 32-bit TSS; only with paging. */
function switchPages(cpu: i32, cr3: i64): void {
  if ((load<i64>(cpu, Cpu_cr0) & Cr0_pg) == 0) return;
  if ((load<i64>(cpu, Cpu_cr4) & Cr4_pae) != 0 && !loadPdptes(cpu, cr3)) generalProtection(cpu, 0);
  store<i64>(cpu, cr3, Cpu_cr3);
  flushTlb(cpu);
}

/**
 * Switches to the task of `selector` (descriptor checked for access, type and presence). `rip` is saved in the old task: the next
 * instruction, or the interrupted one for events. An error code is pushed on the new task's stack when `hasErrorCode`.
 */
export function switchTask(
  cpu: i32,
  selector: i32,
  descriptor: i64,
  source: i32,
  rip: i64,
  hasErrorCode: i32,
  errorCode: i32,
): void {
  const tr = segmentAt(cpu, Segment_tr);
  const oldSelector = load<u16>(tr, SegmentField_selector) as i32;
  const oldBase = load<i64>(tr, SegmentField_base);
  const oldWide = (load<i32>(tr, SegmentField_attributes) & 8) != 0;
  const attributes = descriptorAttributes(descriptor);
  const wide = (attributes & 8) != 0;
  const base = descriptorBase(descriptor);
  checkTss(cpu, selector, descriptor, oldBase, oldWide);
  const nests = source == TaskSource_call || source == TaskSource_event;

  let flags = readFlags(cpu);
  if (source == TaskSource_jump || source == TaskSource_return) setBusy(cpu, oldSelector, false);
  if (source == TaskSource_return) flags &= ~Flag_nt;
  saveTask(cpu, oldBase, oldWide, rip, flags);

  // From here on the processor is in the new task.
  if (nests) write16(cpu, base, oldSelector);
  if (source != TaskSource_return) setBusy(cpu, selector, true);
  store<i64>(cpu, load<i64>(cpu, Cpu_cr0) | Cr0_ts, Cpu_cr0);
  setFromDescriptor(cpu, Segment_tr, selector, descriptor);
  store<i32>(tr, load<i32>(tr, SegmentField_attributes) | busyBit, SegmentField_attributes);
  // Local breakpoint enables do not survive a task switch.
  store<i64>(cpu, load<i64>(cpu, Cpu_dr + 56) & ~0x155, Cpu_dr + 56);
  const cr3 = wide ? (read32(cpu, base + 28) as u32 as i64) : 0;
  let newFlags = loadRegisters(cpu, base, wide);
  const trap = wide ? read16(cpu, base + 100) & 1 : 0;
  const low = wide ? 0 : readFlags(cpu) & 0xffff_0000 & ~Flag_vm & ~Flag_rf;
  newFlags = (newFlags & (wide ? 0x3f_7fd5 : 0x7fd5)) | low | 2;
  if (nests) newFlags |= Flag_nt;
  store<i64>(cpu, load<i64>(cpu, Cpu_rip), Cpu_faultRip);
  store<i32>(cpu, 1, Cpu_faultRipValid);
  if (wide) switchPages(cpu, cr3);
  writeFlags(cpu, newFlags, -1);
  store<i32>(cpu, load<i32>(cpu, Cpu_startFlags) & ~Flag_rf, Cpu_startFlags);
  loadSegments(cpu, base, wide, newFlags);
  if (hasErrorCode != 0) {
    useCurrentStack(cpu, true);
    pushFrame(cpu, wide ? 4 : 2, errorCode);
    commitFrame(cpu);
  }
  if ((load<i64>(cpu, Cpu_rip) as u64) > (segmentLimit(cpu, Segment_cs) as u64)) generalProtection(cpu, 0);
  store<i32>(cpu, 0, Cpu_faultRipValid);
  checkInterrupts(cpu);
  if (trap != 0) pendDebugTrap(cpu, Dr6_taskSwitch);
}
