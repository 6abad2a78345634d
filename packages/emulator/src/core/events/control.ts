/** Control registers (SDM Vol. 3A 2.5, 4.1, 9.8.5) and the mode transitions they make. */
import {
  CpuFeature_avx,
  CpuFeature_longMode,
  CpuFeature_xsavec,
  Cpu_cpl,
  Cpu_cr0,
  Cpu_cr2,
  Cpu_cr3,
  Cpu_cr4,
  Cpu_cr4Valid,
  Cpu_cr8,
  Cpu_efer,
  Cpu_halted,
  Cpu_physicalMask,
  Cpu_xcr0,
  Cpu_gpr,
  HaltState_halt,
  Machine_cpuCount,
  Region_machine,
  Segment_cs,
  Segment_gs,
  Segment_tr,
  Vector_ud,
} from '../generated/layout';
import { checkInterrupts } from './events';
import { generalProtection, raise } from './fault';
import { CpuEvent, cpuEvent } from '../host';
import { updateMode } from '../system/mode';
import { loadPdptes } from '../memory/paging';
import { componentsInUse } from '../x87/fxsave';
import { updateEnds } from '../system/segments';
import {
  Attribute_long,
  Cr0_am,
  Cr0_cd,
  Cr0_em,
  Cr0_et,
  Cr0_mp,
  Cr0_ne,
  Cr0_nw,
  Cr0_pe,
  Cr0_pg,
  Cr0_ts,
  Cr0_wp,
  Cr4_osxsave,
  Cr4_pae,
  Cr4_pge,
  Cr4_pse,
  Cr4_smap,
  Cr4_smep,
  Cr4_umip,
  Efer_lma,
  Efer_lme,
  code64,
  cr4Has,
  hasFeature,
  isCanonical,
  longMode,
  segmentAttributes,
} from '../state';
import { flushTlb, flushTlbAll, invalidateTranslation, protectReadOnly } from '../memory/tlb';

const cr0Bits: i64 =
  Cr0_pe | Cr0_mp | Cr0_em | Cr0_ts | Cr0_et | Cr0_ne | Cr0_wp | Cr0_am | Cr0_nw | Cr0_cd | Cr0_pg;

/** #GP(0) unless CPL is 0 (virtual-8086 mode has CPL 3). */
export function requirePrivilege(cpu: i32): void {
  if (load<i32>(cpu, Cpu_cpl) != 0) generalProtection(cpu, 0);
}

/** SGDT, SIDT, SLDT, STR, SMSW: #GP(0) outside of CPL 0 with CR4.UMIP. */
export function requireTableAccess(cpu: i32): void {
  if (load<i32>(cpu, Cpu_cpl) != 0 && cr4Has(cpu, Cr4_umip)) generalProtection(cpu, 0);
}

/** CR1, CR5-CR7 and CR9-CR15 do not exist: #UD. The others are for CPL 0. */
export function requireControl(cpu: i32, index: i32): void {
  const exists =
    index == 0 || (index >= 2 && index <= 4) || (index == 8 && hasFeature(cpu, CpuFeature_longMode));
  if (!exists) raise(cpu, Vector_ud);
  requirePrivilege(cpu);
}

/** MOV CRn, r. Raises #GP(0) for values that the manual refuses; updates the mode. */
export function writeControl(cpu: i32, index: i32, value: i64): void {
  requireControl(cpu, index);
  const written = code64(cpu) ? value : value & 0xffff_ffff;
  if (index == 0) writeCr0(cpu, written);
  else if (index == 2) store<i64>(cpu, written, Cpu_cr2);
  else if (index == 3) writeCr3(cpu, written);
  else if (index == 4) writeCr4(cpu, written);
  else writeCr8(cpu, written);
}

/** Paging is being switched on. */
function startPaging(cpu: i32): void {
  const efer = load<i64>(cpu, Cpu_efer);
  if ((efer & Efer_lme) == 0) return;
  const oldTss = (segmentAttributes(cpu, Segment_tr) & 8) == 0;
  const longCode = (segmentAttributes(cpu, Segment_cs) & Attribute_long) != 0;
  if (!cr4Has(cpu, Cr4_pae) || longCode || oldTss) generalProtection(cpu, 0);
  store<i64>(cpu, efer | Efer_lma, Cpu_efer);
}

function writeCr0(cpu: i32, value: i64): void {
  const old = load<i64>(cpu, Cpu_cr0);
  if ((value as u64) >> 32 != 0) generalProtection(cpu, 0);
  if ((value & Cr0_pg) != 0 && (value & Cr0_pe) == 0) generalProtection(cpu, 0);
  if ((value & Cr0_nw) != 0 && (value & Cr0_cd) == 0) generalProtection(cpu, 0);
  const written = (value & cr0Bits) | Cr0_et;
  const changed = old ^ written;
  const paging = (written & Cr0_pg) != 0;
  if ((changed & Cr0_pg) != 0 && !paging && code64(cpu)) generalProtection(cpu, 0);
  const longAfter = (load<i64>(cpu, Cpu_efer) & Efer_lme) != 0;
  if (paging && !longAfter && cr4Has(cpu, Cr4_pae) && (changed & (Cr0_pg | Cr0_cd | Cr0_nw)) != 0) {
    if (!loadPdptes(cpu, load<i64>(cpu, Cpu_cr3))) generalProtection(cpu, 0);
  }
  if ((changed & Cr0_pg) != 0) {
    if (paging) startPaging(cpu);
    else store<i64>(cpu, load<i64>(cpu, Cpu_efer) & ~Efer_lma, Cpu_efer);
  }
  store<i64>(cpu, written, Cpu_cr0);
  if ((changed & Cr0_pe) != 0) {
    store<i32>(cpu, 0, Cpu_cpl);
    for (let i = 0; i <= Segment_gs; i++) updateEnds(cpu, i);
  }
  if ((changed & (Cr0_pg | Cr0_pe)) != 0) flushTlbAll(cpu);
  else if ((changed & written & Cr0_wp) != 0) protectReadOnly(cpu);
  updateMode(cpu);
}

function writeCr3(cpu: i32, value: i64): void {
  if (longMode(cpu)) {
    if ((value & ~(load<i64>(cpu, Cpu_physicalMask) | 0xfff)) != 0) generalProtection(cpu, 0);
  } else if ((load<i64>(cpu, Cpu_cr0) & Cr0_pg) != 0 && cr4Has(cpu, Cr4_pae)) {
    if (!loadPdptes(cpu, value)) generalProtection(cpu, 0);
  }
  store<i64>(cpu, value, Cpu_cr3);
  flushTlb(cpu);
}

function writeCr4(cpu: i32, value: i64): void {
  if ((value & ~load<i64>(cpu, Cpu_cr4Valid)) != 0) generalProtection(cpu, 0);
  if (longMode(cpu) && (value & Cr4_pae) == 0) generalProtection(cpu, 0);
  const changed = load<i64>(cpu, Cpu_cr4) ^ value;
  const paging = (load<i64>(cpu, Cpu_cr0) & Cr0_pg) != 0;
  const layout = Cr4_pae | Cr4_pse | Cr4_pge | Cr4_smep;
  if (paging && !longMode(cpu) && (value & Cr4_pae) != 0 && (changed & layout) != 0) {
    if (!loadPdptes(cpu, load<i64>(cpu, Cpu_cr3))) generalProtection(cpu, 0);
  }
  store<i64>(cpu, value, Cpu_cr4);
  if ((changed & (layout | Cr4_smap)) != 0) flushTlbAll(cpu);
  updateMode(cpu);
}

function writeCr8(cpu: i32, value: i64): void {
  if ((value & ~15) != 0) generalProtection(cpu, 0);
  store<i64>(cpu, value, Cpu_cr8);
  cpuEvent(cpu, CpuEvent.taskPriority);
  checkInterrupts(cpu);
}

/** LMSW: sets PE, MP, EM, TS; cannot clear PE. */
export function loadMachineStatus(cpu: i32, value: i32): void {
  requirePrivilege(cpu);
  const old = load<i64>(cpu, Cpu_cr0);
  writeCr0(cpu, (old & ~14) | (value & 15) | (old & Cr0_pe));
}

/** SMSW: the low bits of CR0. */
export function storeMachineStatus(cpu: i32): i64 {
  requireTableAccess(cpu);
  return load<i64>(cpu, Cpu_cr0);
}

/** CLTS. */
export function clearTaskSwitched(cpu: i32): void {
  requirePrivilege(cpu);
  store<i64>(cpu, load<i64>(cpu, Cpu_cr0) & ~Cr0_ts, Cpu_cr0);
  updateMode(cpu);
}

/** INVLPG: `la` is the operand's linear address, not checked against limits. */
export function invalidatePage(cpu: i32, la: i64): void {
  requirePrivilege(cpu);
  const address = longMode(cpu) ? la : la & 0xffff_ffff;
  if (isCanonical(address) || !longMode(cpu)) invalidateTranslation(cpu, address);
}

/** HLT. */
export function halt(cpu: i32): void {
  requirePrivilege(cpu);
  store<i32>(cpu, HaltState_halt, Cpu_halted);
}

/** PAUSE: with several processors, what this one waits for is another's to do. */
export function pause(cpu: i32): void {
  if (load<u32>(Region_machine, Machine_cpuCount) > 1) cpuEvent(cpu, CpuEvent.pause);
}

/** INVD, WBINVD: caches are not modelled. */
export function flushCaches(cpu: i32): void {
  requirePrivilege(cpu);
}

/** XGETBV: ECX = 0 reads XCR0 into EDX:EAX, ECX = 1 those of its components that are in use. */
export function readExtendedControl(cpu: i32): void {
  if (!cr4Has(cpu, Cr4_osxsave)) raise(cpu, Vector_ud);
  const number = load<i32>(cpu, Cpu_gpr + 8);
  if (number != 0 && (number != 1 || !hasFeature(cpu, CpuFeature_xsavec))) generalProtection(cpu, 0);
  let value = load<i64>(cpu, Cpu_xcr0);
  if (number == 1) value &= componentsInUse(cpu);
  store<i64>(cpu, value & 0xffff_ffff, Cpu_gpr);
  store<i64>(cpu, (value >> 32) & 0xffff_ffff, Cpu_gpr + 16);
}

/** XSETBV: x87 must be set; AVX state, where the model has it, only together with SSE state. SDM Vol. 1, 13.3. */
export function writeExtendedControl(cpu: i32): void {
  if (!cr4Has(cpu, Cr4_osxsave)) raise(cpu, Vector_ud);
  requirePrivilege(cpu);
  const value = (load<u32>(cpu, Cpu_gpr) as i64) | ((load<u32>(cpu, Cpu_gpr + 16) as i64) << 32);
  const known: i64 = hasFeature(cpu, CpuFeature_avx) ? 7 : 3;
  if (load<i32>(cpu, Cpu_gpr + 8) != 0 || (value & ~known) != 0 || (value & 1) == 0 || (value & 6) == 4)
    generalProtection(cpu, 0);
  store<i64>(cpu, value, Cpu_xcr0);
  updateMode(cpu);
}
