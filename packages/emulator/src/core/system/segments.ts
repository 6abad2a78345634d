/**
 * Segment registers and descriptors: SDM Vol. 3A chapters 3.4, 5 and 20. Checks come in the order of the pseudo-code of MOV and
 * LDS; each names its vector and error code.
 */
import {
  Cpu_cpl,
  Cpu_gdtrBase,
  Cpu_gdtrLimit,
  SegmentField_attributes,
  SegmentField_base,
  SegmentField_limit,
  SegmentField_limitMin,
  SegmentField_readEnd,
  SegmentField_selector,
  SegmentField_unusable,
  SegmentField_writeEnd,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_gs,
  Segment_ldtr,
  Segment_ss,
  Tlb_supervisorRead,
  Vector_gp,
  Vector_np,
  Vector_ss,
} from '../generated/layout';
import { generalProtection, raiseError } from '../events/fault';
import { commitFrame, popFrame, useCurrentStack } from '../events/frame';
import { readView, writeView } from '../memory/memory';
import { updateModeKey } from './mode';
import {
  Attribute_accessed,
  Attribute_big,
  Attribute_code,
  Attribute_expandDown,
  Attribute_granular,
  Attribute_notSystem,
  Attribute_present,
  Attribute_writable,
  code64,
  longMode,
  protectedMode,
  segmentAt,
  v86Mode,
} from '../state';

/** Selector's error code: without RPL. */
export function errorCodeOf(selector: i32): i32 {
  return selector & 0xfffc;
}

export function isNull(selector: i32): bool {
  return (selector & 0xfffc) == 0;
}

/** True when the descriptor (8 bytes) lies inside of its table. */
export function descriptorExists(cpu: i32, selector: i32, bytes: i32): bool {
  const end = (selector & 0xfff8) + bytes - 1;
  if ((selector & 4) == 0) return end <= load<i32>(cpu, Cpu_gdtrLimit);
  const ldtr = segmentAt(cpu, Segment_ldtr);
  return load<i32>(ldtr, SegmentField_unusable) == 0 && (end as u32) <= load<u32>(ldtr, SegmentField_limit);
}

export function descriptorAddress(cpu: i32, selector: i32): i64 {
  const base =
    (selector & 4) == 0
      ? load<i64>(cpu, Cpu_gdtrBase)
      : load<i64>(segmentAt(cpu, Segment_ldtr), SegmentField_base);
  return base + (selector & 0xfff8);
}

/** The descriptor of a selector; outside of its table raises `vector` with the selector. */
export function fetchDescriptor(cpu: i32, selector: i32, vector: i32): i64 {
  if (!descriptorExists(cpu, selector, 8)) raiseError(cpu, vector, errorCodeOf(selector));
  return readView<i64>(cpu, descriptorAddress(cpu, selector), Tlb_supervisorRead);
}

export function descriptorBase(descriptor: i64): i64 {
  return ((descriptor >> 16) & 0xff_ffff) | (((descriptor >> 56) & 0xff) << 24);
}

export function descriptorLimit(descriptor: i64): u32 {
  const raw = ((descriptor & 0xffff) | ((descriptor >> 32) & 0xf_0000)) as u32;
  return (descriptorAttributes(descriptor) & Attribute_granular) != 0 ? (raw << 12) | 0xfff : raw;
}

export function descriptorAttributes(descriptor: i64): i32 {
  return ((descriptor >> 40) & 0xf0ff) as i32;
}

export function privilegeOf(attributes: i32): i32 {
  return (attributes >> 5) & 3;
}

export function isCode(attributes: i32): bool {
  return (attributes & (Attribute_notSystem | Attribute_code)) == (Attribute_notSystem | Attribute_code);
}

export function isConforming(attributes: i32): bool {
  return (attributes & Attribute_expandDown) != 0;
}

export function isWritableData(attributes: i32): bool {
  const mask = Attribute_notSystem | Attribute_code | Attribute_writable;
  return (attributes & mask) == (Attribute_notSystem | Attribute_writable);
}

/** Computes limitMin, readEnd and writeEnd from limit and attributes. In real mode every segment is readable and writable. */
export function updateEnds(cpu: i32, index: i32): void {
  const segment = segmentAt(cpu, index);
  const attributes = load<i32>(segment, SegmentField_attributes);
  const limit = load<u32>(segment, SegmentField_limit) as i64;
  let min: i64 = 0;
  let readEnd = limit + 1;
  let writeEnd = limit + 1;
  if (protectedMode(cpu)) {
    if (load<i32>(segment, SegmentField_unusable) != 0 || (attributes & Attribute_present) == 0) {
      readEnd = -1;
      writeEnd = -1;
    } else if ((attributes & Attribute_code) != 0) {
      if ((attributes & Attribute_writable) == 0) readEnd = -1;
      writeEnd = -1;
    } else {
      if ((attributes & Attribute_expandDown) != 0) {
        min = limit + 1;
        readEnd = (attributes & Attribute_big) != 0 ? 0x1_0000_0000 : 0x1_0000;
      }
      writeEnd = (attributes & Attribute_writable) != 0 ? readEnd : -1;
    }
  }
  store<i64>(segment, min, SegmentField_limitMin);
  store<i64>(segment, readEnd, SegmentField_readEnd);
  store<i64>(segment, writeEnd, SegmentField_writeEnd);
}

/** Fills a segment register. The caller updates the mode. */
export function setSegment(
  cpu: i32,
  index: i32,
  selector: i32,
  base: i64,
  limit: u32,
  attributes: i32,
): void {
  const segment = segmentAt(cpu, index);
  store<i64>(segment, base, SegmentField_base);
  store<u32>(segment, limit, SegmentField_limit);
  store<i32>(segment, attributes, SegmentField_attributes);
  store<i32>(segment, selector & 0xffff, SegmentField_selector);
  store<i32>(segment, 0, SegmentField_unusable);
  updateEnds(cpu, index);
}

/** Fills a segment register from a checked descriptor. */
export function setFromDescriptor(cpu: i32, index: i32, selector: i32, descriptor: i64): void {
  const attributes = descriptorAttributes(descriptor);
  setSegment(cpu, index, selector, descriptorBase(descriptor), descriptorLimit(descriptor), attributes);
}

/** Gives a segment a null selector; base, limit and type stay. */
function setUnusable(cpu: i32, index: i32, selector: i32): void {
  const segment = segmentAt(cpu, index);
  store<i32>(segment, selector & 0xffff, SegmentField_selector);
  store<i32>(segment, 1, SegmentField_unusable);
  updateEnds(cpu, index);
}

/** A load of a null selector: the base is 0 then (as on Intel processors); limit and type stay for real mode. */
export function setNullSegment(cpu: i32, index: i32, selector: i32): void {
  store<i64>(segmentAt(cpu, index), 0, SegmentField_base);
  setUnusable(cpu, index, selector);
}

/** Null SS of 64-bit mode; its DPL is the CPL. */
export function setNullStack(cpu: i32, selector: i32): void {
  const segment = segmentAt(cpu, Segment_ss);
  const attributes = load<i32>(segment, SegmentField_attributes) & ~0x60;
  store<i32>(segment, attributes | ((selector & 3) << 5), SegmentField_attributes);
  setNullSegment(cpu, Segment_ss, selector);
}

/** Real-address mode: selector and base only; limit and attributes stay ("unreal" mode). Virtual-8086: all fixed. */
export function setParagraphSegment(cpu: i32, index: i32, selector: i32): void {
  const segment = segmentAt(cpu, index);
  const base = ((selector & 0xffff) as i64) << 4;
  if (v86Mode(cpu)) {
    setSegment(cpu, index, selector, base, 0xffff, 0xf3);
    return;
  }
  store<i64>(segment, base, SegmentField_base);
  store<i32>(segment, selector & 0xffff, SegmentField_selector);
  if (load<i32>(segment, SegmentField_unusable) != 0) {
    store<i32>(segment, 0, SegmentField_unusable);
    store<i32>(segment, 0x93, SegmentField_attributes);
  }
  updateEnds(cpu, index);
}

/** Sets the accessed bit in the table, when it is not. */
export function markAccessed(cpu: i32, selector: i32, descriptor: i64): i64 {
  const bit = (Attribute_accessed as i64) << 40;
  if ((descriptor & bit) != 0) return descriptor;
  const address = descriptorAddress(cpu, selector) + 5;
  writeView<u8>(cpu, address, (((descriptor >> 40) as i32) | Attribute_accessed) as u8, Tlb_supervisorRead);
  return descriptor | bit;
}

/** Checks a descriptor for SS at privilege `cpl`; `vector` is #GP for loads and returns, #TS for stack switches. */
export function fetchStackDescriptor(cpu: i32, selector: i32, cpl: i32, vector: i32): i64 {
  const descriptor = fetchDescriptor(cpu, selector, vector);
  const attributes = descriptorAttributes(descriptor);
  if ((selector & 3) != cpl || !isWritableData(attributes) || privilegeOf(attributes) != cpl) {
    raiseError(cpu, vector, errorCodeOf(selector));
  }
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_ss, errorCodeOf(selector));
  return descriptor;
}

function loadStack(cpu: i32, selector: i32): void {
  const cpl = load<i32>(cpu, Cpu_cpl);
  if (isNull(selector)) {
    if (!code64(cpu) || cpl == 3 || (selector & 3) != cpl) generalProtection(cpu, 0);
    setNullStack(cpu, selector);
    return;
  }
  const descriptor = fetchStackDescriptor(cpu, selector, cpl, Vector_gp);
  setFromDescriptor(cpu, Segment_ss, selector, markAccessed(cpu, selector, descriptor));
}

/** Checks a descriptor for DS, ES, FS, GS. */
export function fetchDataDescriptor(cpu: i32, selector: i32, vector: i32): i64 {
  const descriptor = fetchDescriptor(cpu, selector, vector);
  const attributes = descriptorAttributes(descriptor);
  const code = isCode(attributes);
  const readable =
    (attributes & Attribute_notSystem) != 0 && (!code || (attributes & Attribute_writable) != 0);
  if (!readable) raiseError(cpu, vector, errorCodeOf(selector));
  if (!code || !isConforming(attributes)) {
    const dpl = privilegeOf(attributes);
    if ((selector & 3) > dpl || load<i32>(cpu, Cpu_cpl) > dpl) raiseError(cpu, vector, errorCodeOf(selector));
  }
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(selector));
  return descriptor;
}

/** Loads ES, SS, DS, FS or GS (Segment index) from a program; raises #GP, #NP, #SS. */
export function loadSegment(cpu: i32, index: i32, selector: i32): void {
  const sel = selector & 0xffff;
  if (!protectedMode(cpu) || v86Mode(cpu)) {
    setParagraphSegment(cpu, index, sel);
  } else if (index == Segment_ss) {
    loadStack(cpu, sel);
  } else if (isNull(sel)) {
    setNullSegment(cpu, index, sel);
  } else {
    const descriptor = fetchDataDescriptor(cpu, sel, Vector_gp);
    setFromDescriptor(cpu, index, sel, markAccessed(cpu, sel, descriptor));
  }
  if (index <= Segment_ds) updateModeKey(cpu);
}

/**
 * After a return to an outer level: ES, DS, FS, GS that the new privilege may not use become null (SDM Vol. 2, RET). Only the selector
 * does, and the segment is unusable: FS and GS keep their bases, through which 64-bit code goes on to address memory.
 */
export function dropPrivilegedSegments(cpu: i32): void {
  const cpl = load<i32>(cpu, Cpu_cpl);
  for (let index = Segment_es; index <= Segment_gs; index++) {
    if (index == Segment_cs || index == Segment_ss) continue;
    const segment = segmentAt(cpu, index);
    // A null segment keeps the base that an MSR may have given it.
    if (load<i32>(segment, SegmentField_unusable) != 0) continue;
    const attributes = load<i32>(segment, SegmentField_attributes);
    if (isCode(attributes) && isConforming(attributes)) continue;
    if (privilegeOf(attributes) < cpl) setUnusable(cpu, index, 0);
  }
}

/** In IA-32e mode system descriptors have 16 bytes. */
export function systemDescriptorBytes(cpu: i32): i32 {
  return longMode(cpu) ? 16 : 8;
}

/** Base of a system segment, with its upper half in IA-32e mode. */
export function systemDescriptorBase(cpu: i32, selector: i32, descriptor: i64): i64 {
  const base = descriptorBase(descriptor);
  if (!longMode(cpu)) return base;
  return base | (readView<i64>(cpu, descriptorAddress(cpu, selector) + 8, Tlb_supervisorRead) << 32);
}

/** POP of a segment register: the stack pointer moves by the stack size that was valid before. */
export function popSegment(cpu: i32, index: i32, bytes: i32): void {
  useCurrentStack(cpu, false);
  const selector = popFrame(cpu, bytes) as i32;
  loadSegment(cpu, index, selector);
  commitFrame(cpu);
}
