/**
 * What follows from CR0, CR4, EFER, EFLAGS, CPL and the segment registers: mode key, TLB pointers, linear mask, FPU traps,
 * step mode, access checks. Call `updateMode` after every change of one of them.
 */
import {
  AccessCheck_alignment,
  AccessCheck_breakpoints,
  Cpu_accessChecks,
  Cpu_cpl,
  Cpu_cr0,
  Cpu_dr,
  Cpu_fpuTrap,
  Cpu_linearMask,
  Cpu_modeKey,
  Cpu_ripMask,
  Cpu_stackMask,
  Cpu_stepMode,
  Cpu_systemFlags,
  Cpu_tlbExecute,
  Cpu_tlbRead,
  Cpu_tlbView,
  Cpu_tlbWrite,
  Cpu_xcr0,
  Flag_ac,
  Flag_rf,
  Flag_tf,
  Flag_vm,
  FpuTrap_avxUndefined,
  FpuTrap_mmxUndefined,
  FpuTrap_simdNotAvailable,
  FpuTrap_sseUndefined,
  FpuTrap_vexUndefined,
  FpuTrap_waitNotAvailable,
  FpuTrap_x87NotAvailable,
  ModeKey_code32,
  ModeKey_code64,
  ModeKey_flat,
  ModeKey_stack32,
  SegmentField_base,
  SegmentField_limitMin,
  SegmentField_readEnd,
  SegmentField_writeEnd,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_ss,
  StepMode_breakpoints,
  StepMode_resumeFlag,
  StepMode_trapFlag,
  Tlb_smapRead,
  Tlb_supervisorExecute,
  Tlb_supervisorRead,
  Tlb_userExecute,
  Tlb_userRead,
} from '../generated/layout';
import {
  Attribute_big,
  Attribute_long,
  Cr0_am,
  Cr0_em,
  Cr0_mp,
  Cr0_pe,
  Cr0_ts,
  Cr4_de,
  Cr4_osfxsr,
  Cr4_osxsave,
  Cr4_smap,
  cr4Has,
  longMode,
  segmentAt,
  segmentAttributes,
} from '../state';
import { emptyTable, tlbTable } from '../memory/tlb';

const wholeEnd: i64 = 0x1_0000_0000;

function flatSegment(cpu: i32, index: i32, write: bool): bool {
  const segment = segmentAt(cpu, index);
  return (
    load<i64>(segment, SegmentField_base) == 0 &&
    load<i64>(segment, SegmentField_limitMin) == 0 &&
    load<i64>(segment, SegmentField_readEnd) == wholeEnd &&
    (!write || load<i64>(segment, SegmentField_writeEnd) == wholeEnd)
  );
}

function computeModeKey(cpu: i32): i32 {
  const code = segmentAttributes(cpu, Segment_cs);
  if (longMode(cpu) && (code & Attribute_long) != 0) return ModeKey_code64 | ModeKey_stack32 | ModeKey_flat;
  let key = (code & Attribute_big) != 0 ? ModeKey_code32 : 0;
  if ((segmentAttributes(cpu, Segment_ss) & Attribute_big) != 0) key |= ModeKey_stack32;
  const flat =
    flatSegment(cpu, Segment_cs, false) &&
    flatSegment(cpu, Segment_ds, true) &&
    flatSegment(cpu, Segment_es, true) &&
    flatSegment(cpu, Segment_ss, true);
  return flat ? key | ModeKey_flat : key;
}

/** Components of XCR0 that hold what VEX instructions change: SSE and AVX state. */
const avxState: i64 = 6;

/** SDM Vol. 3A table 2-2 and 13.1, Vol. 2A 2.3 and 2.4: what CR0, CR4, XCR0 and the mode make of FPU, MMX, SSE and VEX instructions. */
function computeFpuTrap(cpu: i32): i32 {
  const cr0 = load<i64>(cpu, Cpu_cr0);
  const em = (cr0 & Cr0_em) != 0;
  const ts = (cr0 & Cr0_ts) != 0;
  let trap = 0;
  if (em || ts) trap |= FpuTrap_x87NotAvailable;
  if (ts && (cr0 & Cr0_mp) != 0) trap |= FpuTrap_waitNotAvailable;
  if (em) trap |= FpuTrap_mmxUndefined;
  if (em || !cr4Has(cpu, Cr4_osfxsr)) trap |= FpuTrap_sseUndefined;
  if (ts) trap |= FpuTrap_simdNotAvailable;
  const virtual86 = (load<i32>(cpu, Cpu_systemFlags) & Flag_vm) != 0;
  const noVex = (cr0 & Cr0_pe) == 0 || virtual86;
  if (noVex) trap |= FpuTrap_vexUndefined;
  if (noVex || !cr4Has(cpu, Cr4_osxsave) || (load<i64>(cpu, Cpu_xcr0) & avxState) != avxState)
    trap |= FpuTrap_avxUndefined;
  return trap;
}

/** Bit n set: breakpoint n is enabled in DR7 and its R/W field is one of `kinds` (bit k: R/W value k). */
export function enabledBreakpoints(cpu: i32, kinds: i32): i32 {
  const dr7 = load<i64>(cpu, Cpu_dr + 56) as i32;
  if ((dr7 & 0xff) == 0) return 0;
  let found = 0;
  for (let i = 0; i < 4; i++) {
    const enabled = ((dr7 >> (i * 2)) & 3) != 0;
    const kind = (dr7 >> (16 + i * 4)) & 3;
    if (enabled && ((kinds >> kind) & 1) != 0) found |= 1 << i;
  }
  return found;
}

export const BreakpointKinds_execute: i32 = 1;
export const BreakpointKinds_data: i32 = 10;
export const BreakpointKinds_io: i32 = 4;

function computeStepMode(cpu: i32, flags: i32): void {
  let step = load<i32>(cpu, Cpu_stepMode) & ~(StepMode_trapFlag | StepMode_resumeFlag | StepMode_breakpoints);
  if ((flags & Flag_tf) != 0) step |= StepMode_trapFlag;
  if ((flags & Flag_rf) != 0) step |= StepMode_resumeFlag;
  const kinds = cr4Has(cpu, Cr4_de) ? 15 : 15 & ~BreakpointKinds_io;
  if (enabledBreakpoints(cpu, kinds) != 0) step |= StepMode_breakpoints;
  store<i32>(cpu, step, Cpu_stepMode);
}

/** TLB pointers, access checks and step mode: what follows from EFLAGS, CPL, CR0.AM, CR4.SMAP and DR7. */
export function updateAccess(cpu: i32): void {
  const flags = load<i32>(cpu, Cpu_systemFlags);
  const isUser = load<i32>(cpu, Cpu_cpl) == 3;
  const ac = (flags & Flag_ac) != 0;
  let view = Tlb_supervisorRead;
  if (isUser) view = Tlb_userRead;
  else if (ac && cr4Has(cpu, Cr4_smap)) view = Tlb_smapRead;
  let checks = 0;
  if (isUser && ac && (load<i64>(cpu, Cpu_cr0) & Cr0_am) != 0) checks |= AccessCheck_alignment;
  if (enabledBreakpoints(cpu, BreakpointKinds_data) != 0) checks |= AccessCheck_breakpoints;
  store<i32>(cpu, view, Cpu_tlbView);
  store<i32>(cpu, checks, Cpu_accessChecks);
  store<i32>(cpu, checks != 0 ? emptyTable(cpu) : tlbTable(cpu, view), Cpu_tlbRead);
  store<i32>(cpu, checks != 0 ? emptyTable(cpu) : tlbTable(cpu, view + 1), Cpu_tlbWrite);
  store<i32>(cpu, tlbTable(cpu, isUser ? Tlb_userExecute : Tlb_supervisorExecute), Cpu_tlbExecute);
  computeStepMode(cpu, flags);
}

function storeModeKey(cpu: i32): void {
  const key = computeModeKey(cpu);
  const code = key & 3;
  store<i32>(cpu, key, Cpu_modeKey);
  store<i64>(cpu, code == ModeKey_code64 ? -1 : 0xffff_ffff, Cpu_linearMask);
  store<i64>(cpu, code == ModeKey_code64 ? -1 : code == ModeKey_code32 ? 0xffff_ffff : 0xffff, Cpu_ripMask);
  const stack32: i64 = (key & ModeKey_stack32) != 0 ? 0xffff_ffff : 0xffff;
  store<i64>(cpu, code == ModeKey_code64 ? -1 : stack32, Cpu_stackMask);
}

/** Recomputes everything. */
export function updateMode(cpu: i32): void {
  storeModeKey(cpu);
  store<i32>(cpu, computeFpuTrap(cpu), Cpu_fpuTrap);
  updateAccess(cpu);
}

/** After a load of DS, ES or SS: only the mode key follows from them. */
export function updateModeKey(cpu: i32): void {
  storeModeKey(cpu);
}
