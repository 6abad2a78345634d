/** SYSENTER/SYSEXIT, SYSCALL/SYSRET, SWAPGS: SDM Vol. 2 and Vol. 3A 5.8.7-5.8.8. Flat segments are made, not read from tables. */
import {
  CpuFeature_longMode,
  CpuFeature_syscall,
  CpuFeature_sysenter,
  Cpu_cpl,
  Cpu_efer,
  Cpu_gpr,
  Cpu_kernelGsBase,
  Cpu_lstar,
  Cpu_rip,
  Cpu_sfmask,
  Cpu_star,
  Cpu_sysenterCs,
  Cpu_sysenterEip,
  Cpu_sysenterEsp,
  Cpu_systemFlags,
  Flag_if,
  Flag_rf,
  Flag_tf,
  Flag_vm,
  HostDuty_syscall,
  HostDuty_sysenter,
  SegmentField_base,
  Segment_cs,
  Segment_gs,
  Segment_ss,
  Vector_ud,
} from '../generated/layout';
import { endSingleStep, stepAfterReturn } from './debug';
import { requirePrivilege } from './control';
import { checkInterrupts } from './events';
import { generalProtection, raise } from './fault';
import { hostTakes } from './hosted';
import { readFlags, writeFlags } from '../integer/flags';
import { updateMode } from '../system/mode';
import { setSegment } from '../system/segments';
import { Efer_sce, code64, hasFeature, isCanonical, longMode, protectedMode, segmentAt } from '../state';

const rcx: i32 = Cpu_gpr + 8;
const rdx: i32 = Cpu_gpr + 16;
const rsp: i32 = Cpu_gpr + 32;
const r11: i32 = Cpu_gpr + 88;

/** Present, granular, code, readable, accessed; D or L and the DPL are added. */
const flatCode: i32 = 0x809b;
/** Present, granular, big, data, writable, accessed. */
const flatData: i32 = 0xc093;

function setFlat(cpu: i32, codeSelector: i32, stackSelector: i32, long: bool, privilege: i32): void {
  const dpl = privilege << 5;
  store<i32>(cpu, privilege, Cpu_cpl);
  setSegment(cpu, Segment_cs, codeSelector, 0, 0xffff_ffff, flatCode | (long ? 0x2000 : 0x4000) | dpl);
  setSegment(cpu, Segment_ss, stackSelector, 0, 0xffff_ffff, flatData | dpl);
  updateMode(cpu);
}

/** SYSENTER. Sets Cpu.rip. */
export function sysenter(cpu: i32, nextRip: i64): void {
  if (hostTakes(cpu, HostDuty_sysenter)) {
    store<i64>(cpu, nextRip, Cpu_rip);
    return;
  }
  if (!hasFeature(cpu, CpuFeature_sysenter)) raise(cpu, Vector_ud);
  const selector = (load<i64>(cpu, Cpu_sysenterCs) & 0xfffc) as i32;
  if (!protectedMode(cpu) || selector == 0) generalProtection(cpu, 0);
  const long = longMode(cpu);
  writeFlags(cpu, 0, Flag_vm | Flag_if | Flag_rf);
  const mask: i64 = long ? -1 : 0xffff_ffff;
  store<i64>(cpu, load<i64>(cpu, Cpu_sysenterEsp) & mask, rsp);
  store<i64>(cpu, load<i64>(cpu, Cpu_sysenterEip) & mask, Cpu_rip);
  setFlat(cpu, selector, selector + 8, long, 0);
}

/** SYSEXIT. Sets Cpu.rip. */
export function sysexit(cpu: i32, operandBytes: i32): void {
  if (!hasFeature(cpu, CpuFeature_sysenter)) raise(cpu, Vector_ud);
  const selector = (load<i64>(cpu, Cpu_sysenterCs) & 0xfffc) as i32;
  if (!protectedMode(cpu) || selector == 0) generalProtection(cpu, 0);
  requirePrivilege(cpu);
  if (operandBytes == 8) {
    const target = load<i64>(cpu, rdx);
    const stack = load<i64>(cpu, rcx);
    if (!isCanonical(target) || !isCanonical(stack)) generalProtection(cpu, 0);
    store<i64>(cpu, stack, rsp);
    store<i64>(cpu, target, Cpu_rip);
    setFlat(cpu, (selector + 32) | 3, (selector + 40) | 3, true, 3);
    return;
  }
  store<i64>(cpu, load<u32>(cpu, rcx) as i64, rsp);
  store<i64>(cpu, load<u32>(cpu, rdx) as i64, Cpu_rip);
  setFlat(cpu, (selector + 16) | 3, (selector + 24) | 3, false, 3);
}

function requireSyscall(cpu: i32): void {
  const enabled = (load<i64>(cpu, Cpu_efer) & Efer_sce) != 0;
  if (!hasFeature(cpu, CpuFeature_syscall) || !enabled || !code64(cpu)) raise(cpu, Vector_ud);
}

/** SYSCALL (64-bit mode only, as on Intel processors). Sets Cpu.rip. */
export function syscall(cpu: i32, nextRip: i64): void {
  if (hostTakes(cpu, HostDuty_syscall)) {
    store<i64>(cpu, nextRip, Cpu_rip);
    return;
  }
  requireSyscall(cpu);
  const selector = ((load<i64>(cpu, Cpu_star) >> 32) & 0xfffc) as i32;
  store<i64>(cpu, nextRip, rcx);
  store<i64>(cpu, readFlags(cpu) as u32 as i64, r11);
  store<i64>(cpu, load<i64>(cpu, Cpu_lstar), Cpu_rip);
  writeFlags(cpu, 0, (load<i64>(cpu, Cpu_sfmask) as i32) | Flag_rf);
  if ((load<i32>(cpu, Cpu_systemFlags) & Flag_tf) == 0) endSingleStep(cpu);
  setFlat(cpu, selector, selector + 8, true, 0);
}

/** SYSRET. Sets Cpu.rip. A non-canonical RCX faults at CPL 0, as on Intel processors. */
export function sysret(cpu: i32, operandBytes: i32): void {
  requireSyscall(cpu);
  requirePrivilege(cpu);
  const selector = ((load<i64>(cpu, Cpu_star) >> 48) & 0xffff) as i32;
  const target = load<i64>(cpu, rcx);
  if (operandBytes == 8 && !isCanonical(target)) generalProtection(cpu, 0);
  const long = operandBytes == 8;
  store<i64>(cpu, long ? target : target & 0xffff_ffff, Cpu_rip);
  setFlat(cpu, (long ? selector + 16 : selector) | 3, (selector + 8) | 3, long, 3);
  // RF, VM and the reserved bits are cleared.
  writeFlags(cpu, load<i32>(cpu, r11), 0x3c_7fd7);
  writeFlags(cpu, 0, Flag_rf | Flag_vm);
  stepAfterReturn(cpu);
  checkInterrupts(cpu);
}

/** SWAPGS. */
export function swapgs(cpu: i32): void {
  if (!hasFeature(cpu, CpuFeature_longMode) || !code64(cpu)) raise(cpu, Vector_ud);
  requirePrivilege(cpu);
  const gs = segmentAt(cpu, Segment_gs);
  const base = load<i64>(gs, SegmentField_base);
  store<i64>(gs, load<i64>(cpu, Cpu_kernelGsBase), SegmentField_base);
  store<i64>(cpu, base, Cpu_kernelGsBase);
}
