/** The processor after RESET and INIT: SDM Vol. 3A table 10-1. */
import {
  Cpu_apicBase,
  Cpu_cpl,
  Cpu_cpuIndex,
  Cpu_cr0,
  Cpu_cr2,
  Cpu_cr3,
  Cpu_cr4,
  Cpu_cr8,
  Cpu_debugPending,
  Cpu_deliveringKind,
  Cpu_deliveringVector,
  Cpu_efer,
  Cpu_exact,
  Cpu_exitRequest,
  Cpu_externalBit,
  Cpu_faultRipValid,
  Cpu_fcs,
  Cpu_fcw,
  Cpu_fdp,
  Cpu_fds,
  Cpu_fip,
  Cpu_flagAux,
  Cpu_flagResult,
  Cpu_fop,
  Cpu_fpr,
  Cpu_fsw,
  Cpu_ftags,
  Cpu_gdtrBase,
  Cpu_gdtrLimit,
  Cpu_gpr,
  Cpu_halted,
  Cpu_idtrBase,
  Cpu_idtrLimit,
  Cpu_interruptShadow,
  Cpu_kernelGsBase,
  Cpu_mcgStatus,
  Cpu_microcodeRevision,
  Cpu_miscEnable,
  Cpu_mtrr,
  Cpu_mxcsr,
  Cpu_nmiBlocked,
  Cpu_nmiPending,
  Cpu_pat,
  Cpu_pdpte,
  Cpu_pendingVector,
  Cpu_rip,
  Cpu_startFlags,
  Cpu_stepMode,
  Cpu_sysenterCs,
  Cpu_systemFlags,
  Cpu_tscAux,
  Cpu_tscDeadline,
  Cpu_tscOffset,
  Cpu_xcr0,
  Cpu_xmm,
  Cpu_zero,
  HaltState_running,
  HaltState_startup,
  Segment_cs,
  Segment_gs,
  Segment_ldtr,
  Segment_tr,
} from '../generated/layout';
import { resetDebug } from '../events/debug';
import { updateMode } from './mode';
import { setSegment } from './segments';
import { resetTlb } from '../memory/tlb';
import { cpuid } from './cpuid';

const patReset: i64 = 0x0007_0406_0007_0406;
const miscEnableReset: i64 = 0x1801;

/** The others wait for a start-up message: SDM Vol. 3A 9.4. */
function isBootProcessor(cpu: i32): bool {
  return load<i32>(cpu, Cpu_cpuIndex) == 0;
}

/** What RESET and INIT share. Caches, FPU, MTRRs and most MSRs survive an INIT. */
function resetState(cpu: i32): void {
  // CPUID leaf 1 names the processor: EDX after reset.
  memory.fill(cpu + Cpu_gpr, 0, 128);
  store<i64>(cpu, 1, Cpu_gpr);
  cpuid(cpu);
  const signature = load<i64>(cpu, Cpu_gpr);
  memory.fill(cpu + Cpu_gpr, 0, 128);
  store<i64>(cpu, signature, Cpu_gpr + 16);
  store<i64>(cpu, 0, Cpu_zero);
  store<i64>(cpu, 0xfff0, Cpu_rip);
  store<i64>(cpu, 1, Cpu_flagResult);
  store<i32>(cpu, 0, Cpu_flagAux);
  store<i32>(cpu, 2, Cpu_systemFlags);
  store<i64>(cpu, 0, Cpu_cr2);
  store<i64>(cpu, 0, Cpu_cr3);
  store<i64>(cpu, 0, Cpu_cr4);
  store<i64>(cpu, 0, Cpu_cr8);
  store<i64>(cpu, 0, Cpu_efer);
  store<i32>(cpu, 0, Cpu_cpl);
  for (let i = 0; i <= Segment_gs; i++) setSegment(cpu, i, 0, 0, 0xffff, 0x93);
  setSegment(cpu, Segment_cs, 0xf000, 0xffff_0000, 0xffff, 0x93);
  setSegment(cpu, Segment_ldtr, 0, 0, 0xffff, 0x82);
  setSegment(cpu, Segment_tr, 0, 0, 0xffff, 0x8b);
  store<i64>(cpu, 0, Cpu_gdtrBase);
  store<i64>(cpu, 0, Cpu_idtrBase);
  store<i32>(cpu, 0xffff, Cpu_gdtrLimit);
  store<i32>(cpu, 0xffff, Cpu_idtrLimit);
  for (let i = 0; i < 4; i++) store<i64>(cpu + i * 8, 0, Cpu_pdpte);
  resetDebug(cpu);
  store<i64>(cpu, 0, Cpu_kernelGsBase);
  store<i32>(cpu, isBootProcessor(cpu) ? HaltState_running : HaltState_startup, Cpu_halted);
  store<i32>(cpu, 0, Cpu_interruptShadow);
  store<i32>(cpu, 0, Cpu_nmiPending);
  store<i32>(cpu, 0, Cpu_nmiBlocked);
  store<i32>(cpu, -1, Cpu_deliveringVector);
  store<i32>(cpu, 0, Cpu_deliveringKind);
  store<i32>(cpu, -1, Cpu_pendingVector);
  store<i32>(cpu, 0, Cpu_externalBit);
  store<i32>(cpu, 0, Cpu_debugPending);
  store<i32>(cpu, 0, Cpu_startFlags);
  store<i32>(cpu, 0, Cpu_faultRipValid);
  store<i32>(cpu, 0, Cpu_exitRequest);
  store<i32>(cpu, 0, Cpu_exact);
  store<i32>(cpu, 0, Cpu_stepMode);
}

function resetFpu(cpu: i32): void {
  memory.fill(cpu + Cpu_fpr, 0, 128);
  memory.fill(cpu + Cpu_ftags, 0, 8);
  memory.fill(cpu + Cpu_xmm, 0, 512);
  store<i32>(cpu, 0x40, Cpu_fcw);
  store<i32>(cpu, 0, Cpu_fsw);
  store<i32>(cpu, 0, Cpu_fop);
  store<i32>(cpu, 0, Cpu_fcs);
  store<i32>(cpu, 0, Cpu_fds);
  store<i64>(cpu, 0, Cpu_fip);
  store<i64>(cpu, 0, Cpu_fdp);
  store<i32>(cpu, 0x1f80, Cpu_mxcsr);
  store<i64>(cpu, 1, Cpu_xcr0);
}

/** Power-on RESET. Cpu.cpuIndex and the fields of the CPU model must be set before. */
export function resetCpu(cpu: i32): void {
  store<i64>(cpu, 0x6000_0010, Cpu_cr0);
  resetState(cpu);
  resetFpu(cpu);
  memory.fill(cpu + Cpu_sysenterCs, 0, Cpu_pat - Cpu_sysenterCs);
  store<i64>(cpu, patReset, Cpu_pat);
  store<i64>(cpu, 0xfee0_0800 | (isBootProcessor(cpu) ? 0x100 : 0), Cpu_apicBase);
  store<i64>(cpu, 0, Cpu_tscAux);
  store<i64>(cpu, 0, Cpu_tscOffset);
  store<i64>(cpu, 0, Cpu_tscDeadline);
  store<i64>(cpu, 0, Cpu_mcgStatus);
  store<i64>(cpu, 0, Cpu_microcodeRevision);
  store<i64>(cpu, miscEnableReset, Cpu_miscEnable);
  memory.fill(cpu + Cpu_mtrr, 0, 26 * 8);
  resetTlb(cpu);
  updateMode(cpu);
}

/** INIT: keeps CR0.CD and NW, the FPU and the MSRs. */
export function initCpu(cpu: i32): void {
  store<i64>(cpu, (load<i64>(cpu, Cpu_cr0) & 0x6000_0000) | 0x10, Cpu_cr0);
  resetState(cpu);
  resetTlb(cpu);
  updateMode(cpu);
}
