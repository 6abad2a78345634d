/** Model-specific registers: SDM Vol. 4. Those that do not exist on the CPU model, and refused values, raise #GP(0). */
import {
  CpuFeature_apic,
  CpuFeature_longMode,
  CpuFeature_mce,
  CpuFeature_mtrr,
  CpuFeature_pat,
  CpuFeature_rdtscp,
  CpuFeature_smep,
  CpuFeature_syscall,
  CpuFeature_sysenter,
  CpuFeature_tsc,
  CpuFeature_tscDeadline,
  Cpu_apicBase,
  Cpu_cr0,
  Cpu_cstar,
  Cpu_efer,
  Cpu_eferValid,
  Cpu_gpr,
  Cpu_kernelGsBase,
  Cpu_lstar,
  Cpu_mcgStatus,
  Cpu_microcodeRevision,
  Cpu_miscEnable,
  Cpu_mtrr,
  Cpu_pat,
  Cpu_physicalMask,
  Cpu_sfmask,
  Cpu_star,
  Cpu_sysenterCs,
  Cpu_sysenterEip,
  Cpu_sysenterEsp,
  Cpu_tscAux,
  Cpu_tscDeadline,
  Cpu_tscDeadlineKept,
  Cpu_tscOffset,
  SegmentField_base,
  Segment_fs,
  Segment_gs,
} from '../generated/layout';
import { requirePrivilege } from '../events/control';
import { generalProtection } from '../events/fault';
import { CpuEvent, cpuEvent } from '../host';
import { updateMode } from './mode';
import { Cr0_pg, Efer_lma, Efer_lme, Efer_nxe, hasFeature, isCanonical, segmentAt } from '../state';
import { endOfRunNs, timestamp } from './time';
import { flushTlbAll } from '../memory/tlb';

const Msr_p5Address: i32 = 0;
const Msr_p5Type: i32 = 1;
const Msr_tsc: i32 = 0x10;
const Msr_apicBase: i32 = 0x1b;
const Msr_platformId: i32 = 0x17; // read-only: platform 0
const Msr_microcode: i32 = 0x8b;
const Msr_mtrrCapabilities: i32 = 0xfe;
const Msr_archCapabilities: i32 = 0x10a;
const Msr_sysenterCs: i32 = 0x174;
const Msr_sysenterEsp: i32 = 0x175;
const Msr_sysenterEip: i32 = 0x176;
const Msr_mcgCap: i32 = 0x179;
const Msr_mcgStatus: i32 = 0x17a;
const Msr_miscEnable: i32 = 0x1a0;
const Msr_debugControl: i32 = 0x1d9;
const Msr_mtrrPhysical: i32 = 0x200;
const Msr_pat: i32 = 0x277;
const Msr_mtrrDefault: i32 = 0x2ff;
const Msr_tscDeadline: i32 = 0x6e0;
const Msr_efer: i32 = 0xc000_0080;
const Msr_star: i32 = 0xc000_0081;
const Msr_lstar: i32 = 0xc000_0082;
const Msr_cstar: i32 = 0xc000_0083;
const Msr_sfmask: i32 = 0xc000_0084;
const Msr_fsBase: i32 = 0xc000_0100;
const Msr_gsBase: i32 = 0xc000_0101;
const Msr_kernelGsBase: i32 = 0xc000_0102;
const Msr_tscAux: i32 = 0xc000_0103;

/** Seven variable ranges (the vCPU block has room for these), fixed ranges, write-combining. */
const variableRanges: i32 = 7;
const mtrrCapabilities: i64 = 0x500 | variableRanges;
/**
 * Nothing here runs ahead of program order, so none of the speculation faults exist: RDCL_NO, SKIP_L1DFL, SSB_NO, MDS_NO,
 * PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, GDS_NO, RFDS_NO.
 */
const archCapabilities: i64 = 0x0c10_e179;
/** Fast strings (bit 0) can be switched; branch trace and PEBS (bits 11, 12) are absent. */
const miscEnableWritable: i64 = 1;

/** Slot of an MTRR in Cpu.mtrr, or -1. Slot 0: default type; then base/mask pairs; then the eleven fixed ranges. */
function mtrrSlot(msr: i32): i32 {
  if (msr == Msr_mtrrDefault) return 0;
  const variable = msr - Msr_mtrrPhysical;
  if (variable >= 0 && variable < 2 * variableRanges) return 1 + variable;
  const fixed = 1 + 2 * variableRanges;
  if (msr == 0x250) return fixed;
  if (msr == 0x258 || msr == 0x259) return fixed + 1 + (msr - 0x258);
  if (msr >= 0x268 && msr <= 0x26f) return fixed + 3 + (msr - 0x268);
  return -1;
}

/** Memory types: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB; PAT also has 7 (UC-). */
function validType(type: i32, pat: bool): bool {
  return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

function validTypes(value: i64, pat: bool): bool {
  for (let i = 0; i < 64; i += 8) if (!validType(((value >> i) & 0xff) as i32, pat)) return false;
  return true;
}

function validMtrr(cpu: i32, slot: i32, value: i64): bool {
  const physical = load<i64>(cpu, Cpu_physicalMask);
  if (slot == 0) return (value & ~0xcff) == 0 && validType((value & 0xff) as i32, false);
  if (slot > 2 * variableRanges) return validTypes(value, false);
  if ((slot & 1) != 0) return (value & ~(physical & ~0xf00)) == 0 && validType((value & 0xff) as i32, false);
  return (value & ~(physical & ~0x7ff)) == 0;
}

/** Offset in the vCPU block of an MSR that is a plain value, or -1. */
function plainOffset(cpu: i32, msr: i32): i32 {
  if (hasFeature(cpu, CpuFeature_sysenter)) {
    if (msr == Msr_sysenterCs) return Cpu_sysenterCs;
    if (msr == Msr_sysenterEsp) return Cpu_sysenterEsp;
    if (msr == Msr_sysenterEip) return Cpu_sysenterEip;
  }
  if (hasFeature(cpu, CpuFeature_mce) && msr == Msr_mcgStatus) return Cpu_mcgStatus;
  if (hasFeature(cpu, CpuFeature_pat) && msr == Msr_pat) return Cpu_pat;
  if (hasFeature(cpu, CpuFeature_syscall) && msr == Msr_star) return Cpu_star;
  if (hasFeature(cpu, CpuFeature_longMode)) {
    if (msr == Msr_lstar) return Cpu_lstar;
    if (msr == Msr_cstar) return Cpu_cstar;
    if (msr == Msr_sfmask) return Cpu_sfmask;
    if (msr == Msr_kernelGsBase) return Cpu_kernelGsBase;
    if (msr == Msr_fsBase) return segmentAt(0, Segment_fs) + SegmentField_base;
    if (msr == Msr_gsBase) return segmentAt(0, Segment_gs) + SegmentField_base;
  }
  if (hasFeature(cpu, CpuFeature_rdtscp) && msr == Msr_tscAux) return Cpu_tscAux;
  if (hasFeature(cpu, CpuFeature_mtrr)) {
    const slot = mtrrSlot(msr);
    if (slot >= 0) return Cpu_mtrr + slot * 8;
  }
  return -1;
}

function readValue(cpu: i32, msr: i32): i64 {
  const plain = plainOffset(cpu, msr);
  if (plain >= 0) return load<i64>(cpu + plain);
  if (msr == Msr_efer && load<i64>(cpu, Cpu_eferValid) != 0) return load<i64>(cpu, Cpu_efer);
  if (msr == Msr_tsc && hasFeature(cpu, CpuFeature_tsc)) return timestamp(cpu);
  if (msr == Msr_apicBase && hasFeature(cpu, CpuFeature_apic)) return load<i64>(cpu, Cpu_apicBase);
  if (hasFeature(cpu, CpuFeature_mce)) {
    if (msr == Msr_p5Address || msr == Msr_p5Type || msr == Msr_mcgCap) return 0;
  }
  if (hasFeature(cpu, CpuFeature_sysenter)) {
    if (msr == Msr_platformId) return 0;
    if (msr == Msr_microcode) return load<i64>(cpu, Cpu_microcodeRevision);
    if (msr == Msr_miscEnable) return load<i64>(cpu, Cpu_miscEnable);
    if (msr == Msr_debugControl) return 0;
  }
  if (msr == Msr_mtrrCapabilities && hasFeature(cpu, CpuFeature_mtrr)) return mtrrCapabilities;
  if (msr == Msr_archCapabilities && hasFeature(cpu, CpuFeature_smep)) return archCapabilities;
  generalProtection(cpu, 0);
  return 0;
}

function setResult(cpu: i32, value: i64): void {
  store<i64>(cpu, value & 0xffff_ffff, Cpu_gpr);
  store<i64>(cpu, (value >> 32) & 0xffff_ffff, Cpu_gpr + 16);
}

/** RDMSR: ECX → EDX:EAX. */
export function readMsr(cpu: i32): void {
  requirePrivilege(cpu);
  const msr = load<i32>(cpu, Cpu_gpr + 8);
  if (msr == Msr_tscDeadline && hasFeature(cpu, CpuFeature_tscDeadline)) {
    setResult(cpu, load<i64>(cpu, Cpu_tscDeadline));
    cpuEvent(cpu, CpuEvent.readTscDeadline);
    return;
  }
  setResult(cpu, readValue(cpu, msr));
}

function writePlain(cpu: i32, msr: i32, offset: i32, value: i64): void {
  const addresses = msr == Msr_lstar || msr == Msr_cstar || msr == Msr_sysenterEsp || msr == Msr_sysenterEip;
  const bases = msr == Msr_fsBase || msr == Msr_gsBase || msr == Msr_kernelGsBase;
  let written = value;
  if ((addresses || bases) && !isCanonical(value)) generalProtection(cpu, 0);
  if (msr == Msr_pat && !validTypes(value, true)) generalProtection(cpu, 0);
  if ((msr == Msr_sfmask || msr == Msr_tscAux) && (value as u64) >> 32 != 0) generalProtection(cpu, 0);
  if (msr == Msr_mcgStatus && (value & ~7) != 0) generalProtection(cpu, 0);
  if (msr == Msr_sysenterCs) written = value & 0xffff_ffff;
  if (offset >= Cpu_mtrr && offset < Cpu_mtrr + 26 * 8 && !validMtrr(cpu, (offset - Cpu_mtrr) >> 3, value)) {
    generalProtection(cpu, 0);
  }
  store<i64>(cpu + offset, written);
}

/** LME cannot change while paging is on; LMA is not writable. */
function writeEfer(cpu: i32, value: i64): void {
  const old = load<i64>(cpu, Cpu_efer);
  if ((value & ~(load<i64>(cpu, Cpu_eferValid) | Efer_lma)) != 0) generalProtection(cpu, 0);
  const paging = (load<i64>(cpu, Cpu_cr0) & Cr0_pg) != 0;
  if (paging && ((old ^ value) & Efer_lme) != 0) generalProtection(cpu, 0);
  store<i64>(cpu, (value & ~Efer_lma) | (old & Efer_lma), Cpu_efer);
  if (((old ^ value) & Efer_nxe) != 0) flushTlbAll(cpu);
  updateMode(cpu);
}

function writeApicBase(cpu: i32, value: i64): void {
  // Bit 8 (BSP) cannot change; there is no x2APIC mode (bit 10).
  const writable = (load<i64>(cpu, Cpu_physicalMask) & ~0xfff) | 0x900;
  if ((value & ~writable) != 0) generalProtection(cpu, 0);
  store<i64>(cpu, (value & ~0x100) | (load<i64>(cpu, Cpu_apicBase) & 0x100), Cpu_apicBase);
  cpuEvent(cpu, CpuEvent.apicBase);
}

/**
 * IA32_TSC_DEADLINE. The machine looks at the last value when its run of the engine ends, so it is told at once only of a deadline that comes
 * before that end.
 */
function writeTscDeadline(cpu: i32, value: i64): void {
  store<i64>(cpu, value, Cpu_tscDeadline);
  store<i32>(cpu, 1, Cpu_tscDeadlineKept);
  if (value == 0) return;
  const atNs = value - load<i64>(cpu, Cpu_tscOffset);
  if (value < 0 || atNs <= endOfRunNs(cpu)) cpuEvent(cpu, CpuEvent.writeTscDeadline);
}

/** WRMSR: EDX:EAX → ECX. */
export function writeMsr(cpu: i32): void {
  requirePrivilege(cpu);
  const msr = load<i32>(cpu, Cpu_gpr + 8);
  const value = (load<u32>(cpu, Cpu_gpr) as i64) | ((load<u32>(cpu, Cpu_gpr + 16) as i64) << 32);
  if (msr == Msr_tscDeadline && hasFeature(cpu, CpuFeature_tscDeadline)) {
    writeTscDeadline(cpu, value);
    return;
  }
  const plain = plainOffset(cpu, msr);
  if (plain >= 0) {
    writePlain(cpu, msr, plain, value);
  } else if (msr == Msr_efer && load<i64>(cpu, Cpu_eferValid) != 0) {
    writeEfer(cpu, value);
  } else if (msr == Msr_tsc && hasFeature(cpu, CpuFeature_tsc)) {
    // A deadline is an instant, by the offset at the time of its write.
    if (load<i32>(cpu, Cpu_tscDeadlineKept) != 0) cpuEvent(cpu, CpuEvent.writeTscDeadline);
    store<i64>(cpu, load<i64>(cpu, Cpu_tscOffset) + value - timestamp(cpu), Cpu_tscOffset);
  } else if (msr == Msr_apicBase && hasFeature(cpu, CpuFeature_apic)) {
    writeApicBase(cpu, value);
  } else if (msr == Msr_microcode && hasFeature(cpu, CpuFeature_sysenter)) {
    // Software clears the register before CPUID loads it; there is no microcode, revision 0.
    store<i64>(cpu, 0, Cpu_microcodeRevision);
  } else if (msr == Msr_miscEnable && hasFeature(cpu, CpuFeature_sysenter)) {
    const old = load<i64>(cpu, Cpu_miscEnable);
    store<i64>(cpu, (old & ~miscEnableWritable) | (value & miscEnableWritable), Cpu_miscEnable);
  } else if (msr == Msr_debugControl && value == 0 && hasFeature(cpu, CpuFeature_sysenter)) {
    // Branch records and branch stepping do not exist: only 0 can be written.
    return;
  } else generalProtection(cpu, 0);
}
