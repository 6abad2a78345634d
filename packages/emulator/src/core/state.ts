/** Small readings of the processor's state, shared by all of the core. */
import {
  Cpu_cr0,
  Cpu_cr4,
  Cpu_efer,
  Cpu_features,
  Cpu_modeKey,
  Cpu_segments,
  Cpu_systemFlags,
  Flag_iopl,
  Flag_vm,
  ModeKey_code64,
  ModeKey_codeMask,
  SegmentField_attributes,
  SegmentField_base,
  SegmentField_limit,
  SegmentField_selector,
  SegmentField_unusable,
  Segment_ss,
  segmentBytes,
} from './generated/layout';

export const Cr0_pe: i64 = 1;
export const Cr0_mp: i64 = 2;
export const Cr0_em: i64 = 4;
export const Cr0_ts: i64 = 8;
export const Cr0_et: i64 = 0x10;
export const Cr0_ne: i64 = 0x20;
export const Cr0_wp: i64 = 0x1_0000;
export const Cr0_am: i64 = 0x4_0000;
export const Cr0_nw: i64 = 0x2000_0000;
export const Cr0_cd: i64 = 0x4000_0000;
export const Cr0_pg: i64 = 0x8000_0000;

export const Cr4_vme: i64 = 1;
export const Cr4_pvi: i64 = 2;
export const Cr4_tsd: i64 = 4;
export const Cr4_de: i64 = 8;
export const Cr4_pse: i64 = 0x10;
export const Cr4_pae: i64 = 0x20;
export const Cr4_mce: i64 = 0x40;
export const Cr4_pge: i64 = 0x80;
export const Cr4_pce: i64 = 0x100;
export const Cr4_osfxsr: i64 = 0x200;
export const Cr4_osxmmexcpt: i64 = 0x400;
export const Cr4_umip: i64 = 0x800;
export const Cr4_osxsave: i64 = 0x4_0000;
export const Cr4_smep: i64 = 0x10_0000;
export const Cr4_smap: i64 = 0x20_0000;

export const Efer_sce: i64 = 1;
export const Efer_lme: i64 = 0x100;
export const Efer_lma: i64 = 0x400;
export const Efer_nxe: i64 = 0x800;

/** Attribute bits of a segment (SegmentField.attributes). */
export const Attribute_typeMask: i32 = 15;
export const Attribute_accessed: i32 = 1;
/** Data: writable. Code: readable. */
export const Attribute_writable: i32 = 2;
/** Data: expand-down. Code: conforming. */
export const Attribute_expandDown: i32 = 4;
export const Attribute_code: i32 = 8;
export const Attribute_notSystem: i32 = 0x10;
export const Attribute_present: i32 = 0x80;
export const Attribute_long: i32 = 0x2000;
export const Attribute_big: i32 = 0x4000;
export const Attribute_granular: i32 = 0x8000;

export function protectedMode(cpu: i32): bool {
  return (load<i64>(cpu, Cpu_cr0) & Cr0_pe) != 0;
}

export function v86Mode(cpu: i32): bool {
  return (load<i32>(cpu, Cpu_systemFlags) & Flag_vm) != 0;
}

/** Real-address or virtual-8086 mode: segments are paragraphs. */
export function paragraphMode(cpu: i32): bool {
  return !protectedMode(cpu) || v86Mode(cpu);
}

/** EFER.LMA: IA-32e mode, 64-bit or compatibility. */
export function longMode(cpu: i32): bool {
  return (load<i64>(cpu, Cpu_efer) & Efer_lma) != 0;
}

/** Code runs in 64-bit mode. */
export function code64(cpu: i32): bool {
  return (load<i32>(cpu, Cpu_modeKey) & ModeKey_codeMask) == ModeKey_code64;
}

export function cr4Has(cpu: i32, bit: i64): bool {
  return (load<i64>(cpu, Cpu_cr4) & bit) != 0;
}

export function hasFeature(cpu: i32, bit: i64): bool {
  return (load<i64>(cpu, Cpu_features) & bit) != 0;
}

export function ioPrivilege(cpu: i32): i32 {
  return (load<i32>(cpu, Cpu_systemFlags) & Flag_iopl) >> 12;
}

/** Address of a segment register's block. */
export function segmentAt(cpu: i32, index: i32): i32 {
  return cpu + Cpu_segments + index * segmentBytes;
}

export function segmentBase(cpu: i32, index: i32): i64 {
  return load<i64>(segmentAt(cpu, index), SegmentField_base);
}

export function segmentLimit(cpu: i32, index: i32): u32 {
  return load<u32>(segmentAt(cpu, index), SegmentField_limit);
}

export function segmentSelector(cpu: i32, index: i32): i32 {
  return load<u16>(segmentAt(cpu, index), SegmentField_selector);
}

export function segmentAttributes(cpu: i32, index: i32): i32 {
  return load<i32>(segmentAt(cpu, index), SegmentField_attributes);
}

export function segmentUnusable(cpu: i32, index: i32): bool {
  return load<i32>(segmentAt(cpu, index), SegmentField_unusable) != 0;
}

/** Mask of the stack pointer: 64 bits in 64-bit mode, else by SS.B. */
export function stackMask(cpu: i32): i64 {
  if (code64(cpu)) return -1;
  return (segmentAttributes(cpu, Segment_ss) & Attribute_big) != 0 ? 0xffff_ffff : 0xffff;
}

/** Bits 63..47 are all equal (48-bit linear addresses). */
export function isCanonical(address: i64): bool {
  return (address << 16) >> 16 == address;
}

/** Writes a register the way stack pointers are written: only the masked part, and 32-bit writes clear the upper half. */
export function writeMasked(address: i32, value: i64, mask: i64): void {
  if (mask == 0xffff) store<u16>(address, value as u16);
  else store<i64>(address, value & mask);
}
