/** GDTR, IDTR, LDTR, TR and the instructions that look at descriptors: SDM Vol. 2 LGDT, LLDT, LTR, LAR, LSL, VERR, ARPL. */
import {
  Cpu_cpl,
  Cpu_gdtrBase,
  Cpu_gdtrLimit,
  Cpu_idtrBase,
  Cpu_idtrLimit,
  SegmentField_attributes,
  Segment_ldtr,
  Segment_tr,
  Tlb_supervisorRead,
  Vector_gp,
  Vector_np,
  Vector_ud,
} from '../generated/layout';
import { requirePrivilege, requireTableAccess } from '../events/control';
import { generalProtection, raise, raiseError } from '../events/fault';
import { probeWrite, readProgram, readView, writeProgram, writeView } from '../memory/memory';
import {
  descriptorAddress,
  descriptorAttributes,
  descriptorExists,
  descriptorLimit,
  errorCodeOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  privilegeOf,
  setNullSegment,
  setSegment,
  systemDescriptorBase,
  systemDescriptorBytes,
} from '../system/segments';
import {
  Attribute_notSystem,
  Attribute_present,
  Attribute_writable,
  code64,
  isCanonical,
  longMode,
  paragraphMode,
  segmentAt,
  segmentSelector,
} from '../state';

function requireSegmentedProtection(cpu: i32): void {
  if (paragraphMode(cpu)) raise(cpu, Vector_ud);
}

/** SGDT (table 0) or SIDT (1) to linear address `la`. */
export function storeTable(cpu: i32, table: i32, la: i64): void {
  requireTableAccess(cpu);
  const at = table == 0 ? cpu + Cpu_gdtrBase : cpu + Cpu_idtrBase;
  const limit = load<i32>(cpu + (table == 0 ? Cpu_gdtrLimit : Cpu_idtrLimit));
  const long = code64(cpu);
  probeWrite(cpu, la, long ? 10 : 6);
  writeProgram<u16>(cpu, la, limit as u16);
  if (long) writeProgram<i64>(cpu, la + 2, load<i64>(at));
  else writeProgram<i32>(cpu, la + 2, load<i32>(at));
}

/** LGDT (table 0) or LIDT (1). With a 16-bit operand size the base has 24 bits. */
export function loadTable(cpu: i32, table: i32, la: i64, operandBytes: i32): void {
  requirePrivilege(cpu);
  const limit = readProgram<u16>(cpu, la) as i32;
  const long = code64(cpu);
  const narrow: i64 = operandBytes == 2 ? 0xff_ffff : 0xffff_ffff;
  const base: i64 = long ? readProgram<i64>(cpu, la + 2) : (readProgram<u32>(cpu, la + 2) as i64) & narrow;
  if (long && !isCanonical(base)) generalProtection(cpu, 0);
  store<i64>(cpu + (table == 0 ? Cpu_gdtrBase : Cpu_idtrBase), base);
  store<i32>(cpu + (table == 0 ? Cpu_gdtrLimit : Cpu_idtrLimit), limit);
}

/** SLDT (Segment_ldtr) or STR (Segment_tr): the selector. */
export function storeSystemSelector(cpu: i32, index: i32): i32 {
  requireSegmentedProtection(cpu);
  requireTableAccess(cpu);
  return segmentSelector(cpu, index);
}

function loadSystemSegment(cpu: i32, index: i32, selector: i32, descriptor: i64): void {
  if (!descriptorExists(cpu, selector, systemDescriptorBytes(cpu)))
    generalProtection(cpu, errorCodeOf(selector));
  const base = systemDescriptorBase(cpu, selector, descriptor);
  if (longMode(cpu)) {
    const upper = readView<i64>(cpu, descriptorAddress(cpu, selector) + 8, Tlb_supervisorRead);
    if (((upper >> 40) & 0x1f) != 0 || !isCanonical(base)) generalProtection(cpu, errorCodeOf(selector));
  }
  setSegment(cpu, index, selector, base, descriptorLimit(descriptor), descriptorAttributes(descriptor));
}

/** LLDT. */
export function loadLocalTable(cpu: i32, selector: i32): void {
  requireSegmentedProtection(cpu);
  requirePrivilege(cpu);
  const sel = selector & 0xffff;
  if (isNull(sel)) {
    setNullSegment(cpu, Segment_ldtr, sel);
    return;
  }
  if ((sel & 4) != 0) generalProtection(cpu, errorCodeOf(sel));
  const descriptor = fetchDescriptor(cpu, sel, Vector_gp);
  const attributes = descriptorAttributes(descriptor);
  if ((attributes & 0x1f) != 2) generalProtection(cpu, errorCodeOf(sel));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(sel));
  loadSystemSegment(cpu, Segment_ldtr, sel, descriptor);
}

/** LTR: the descriptor becomes busy. */
export function loadTaskRegister(cpu: i32, selector: i32): void {
  requireSegmentedProtection(cpu);
  requirePrivilege(cpu);
  const sel = selector & 0xffff;
  if (isNull(sel)) generalProtection(cpu, 0);
  if ((sel & 4) != 0) generalProtection(cpu, errorCodeOf(sel));
  const descriptor = fetchDescriptor(cpu, sel, Vector_gp);
  const attributes = descriptorAttributes(descriptor);
  const type = attributes & 0x1f;
  if (type != 9 && (type != 1 || longMode(cpu))) generalProtection(cpu, errorCodeOf(sel));
  if ((attributes & Attribute_present) == 0) raiseError(cpu, Vector_np, errorCodeOf(sel));
  const busy = (((descriptor >> 40) & 0xff) | 2) as u8;
  if (!descriptorExists(cpu, sel, systemDescriptorBytes(cpu))) generalProtection(cpu, errorCodeOf(sel));
  writeView<u8>(cpu, descriptorAddress(cpu, sel) + 5, busy, Tlb_supervisorRead);
  loadSystemSegment(cpu, Segment_tr, sel, descriptor);
  const tr = segmentAt(cpu, Segment_tr);
  store<i32>(tr, load<i32>(tr, SegmentField_attributes) | 2, SegmentField_attributes);
}

/** The descriptor of `selector` when it is visible at CPL and RPL, else 0 (LAR, LSL, VERR, VERW then clear ZF). */
function visibleDescriptor(cpu: i32, selector: i32): i64 {
  requireSegmentedProtection(cpu);
  const sel = selector & 0xffff;
  if (isNull(sel) || !descriptorExists(cpu, sel, 8)) return 0;
  const descriptor = fetchDescriptor(cpu, sel, Vector_gp);
  const attributes = descriptorAttributes(descriptor);
  if (isCode(attributes) && isConforming(attributes)) return descriptor;
  const dpl = privilegeOf(attributes);
  return dpl < load<i32>(cpu, Cpu_cpl) || dpl < (sel & 3) ? 0 : descriptor;
}

/** Bit n: system type n has access rights (LAR) or a limit (LSL) to show. */
const rightsTypes: i32 =
  (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const rightsTypesLong: i32 = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12);
const limitTypes: i32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);
const limitTypesLong: i32 = (1 << 2) | (1 << 9) | (1 << 11);

function showsType(attributes: i32, types: i32): bool {
  return (attributes & Attribute_notSystem) != 0 || ((types >> (attributes & 15)) & 1) != 0;
}

/** LAR: the access rights, or -1 when ZF is to be cleared. */
export function loadAccessRights(cpu: i32, selector: i32): i64 {
  const descriptor = visibleDescriptor(cpu, selector);
  if (descriptor == 0) return -1;
  if (!showsType(descriptorAttributes(descriptor), longMode(cpu) ? rightsTypesLong : rightsTypes)) return -1;
  return (descriptor >> 32) & 0xf0_ff00;
}

/** LSL: the byte-granular limit, or -1 when ZF is to be cleared. */
export function loadSegmentLimit(cpu: i32, selector: i32): i64 {
  const descriptor = visibleDescriptor(cpu, selector);
  if (descriptor == 0) return -1;
  if (!showsType(descriptorAttributes(descriptor), longMode(cpu) ? limitTypesLong : limitTypes)) return -1;
  return descriptorLimit(descriptor) as i64;
}

/** VERR: 1 when the segment is readable. */
export function verifyRead(cpu: i32, selector: i32): i32 {
  const descriptor = visibleDescriptor(cpu, selector);
  if (descriptor == 0) return 0;
  const attributes = descriptorAttributes(descriptor);
  if ((attributes & Attribute_notSystem) == 0) return 0;
  return !isCode(attributes) || (attributes & Attribute_writable) != 0 ? 1 : 0;
}

/** VERW: 1 when the segment is writable. */
export function verifyWrite(cpu: i32, selector: i32): i32 {
  const descriptor = visibleDescriptor(cpu, selector);
  if (descriptor == 0) return 0;
  const attributes = descriptorAttributes(descriptor);
  if ((attributes & Attribute_notSystem) == 0 || isCode(attributes)) return 0;
  return (attributes & Attribute_writable) != 0 ? 1 : 0;
}

/** ARPL is #UD outside of protected mode. */
export function requireProtectedMode(cpu: i32): void {
  requireSegmentedProtection(cpu);
}
