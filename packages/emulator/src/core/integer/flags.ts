/** EFLAGS: the lazy arithmetic flags (cpu/flags.ts) and the rules by which programs read and change the others. */
import {
  CpuFeature_cpuid,
  Cpu_cpl,
  Cpu_flagAux,
  Cpu_flagResult,
  Cpu_systemFlags,
  Flag_ac,
  Flag_af,
  Flag_cf,
  Flag_df,
  Flag_id,
  Flag_if,
  Flag_iopl,
  Flag_nt,
  Flag_of,
  Flag_pf,
  Flag_rf,
  Flag_sf,
  Flag_tf,
  Flag_vif,
  Flag_vip,
  Flag_vm,
  Flag_zf,
  arithmeticFlags,
} from '../generated/layout';
import { checkInterrupts } from '../events/events';
import { generalProtection } from '../events/fault';
import { updateAccess } from '../system/mode';
import { Cr4_pvi, Cr4_vme, cr4Has, hasFeature, ioPrivilege, protectedMode, v86Mode } from '../state';

const sfDelta: i32 = 0x80;
const accessFlags: i32 = Flag_tf | Flag_rf | Flag_ac;
/** Flags that POPF can change at any privilege. */
const plainFlags: i32 = arithmeticFlags | Flag_tf | Flag_df | Flag_nt;

/** All of EFLAGS. */
export function readFlags(cpu: i32): i32 {
  const result = load<i64>(cpu, Cpu_flagResult);
  const aux = load<i32>(cpu, Cpu_flagAux);
  let flags = (aux & (Flag_cf | Flag_af | Flag_of)) | load<i32>(cpu, Cpu_systemFlags) | 2;
  if (result == 0) flags |= Flag_zf;
  if (result < 0 != ((aux & sfDelta) != 0)) flags |= Flag_sf;
  const low = ((result as i32) ^ (aux >> 16)) & 0xff;
  if ((popcnt<i32>(low) & 1) == 0) flags |= Flag_pf;
  return flags;
}

function writeArithmetic(cpu: i32, flags: i32): void {
  const zero = (flags & Flag_zf) != 0;
  let aux = flags & (Flag_cf | Flag_af | Flag_of);
  if ((flags & Flag_sf) != 0) aux |= sfDelta;
  if (((flags & Flag_pf) != 0) != zero) aux |= 0x1_0000;
  store<i64>(cpu, zero ? 0 : 1, Cpu_flagResult);
  store<i32>(cpu, aux, Cpu_flagAux);
}

/** Writes the flags in `mask`, without any rule; keeps TLB pointers and step mode right (but not the mode key when VM changes). */
export function writeFlags(cpu: i32, value: i32, mask: i32): void {
  const old = readFlags(cpu);
  const flags = (old & ~mask) | (value & mask) | 2;
  if ((mask & arithmeticFlags) != 0) writeArithmetic(cpu, flags);
  store<i32>(cpu, flags & ~arithmeticFlags, Cpu_systemFlags);
  if (((old ^ flags) & accessFlags) != 0) updateAccess(cpu);
}

/** Flags beyond `plainFlags` that exist on this model (AC and ID came with CPUID). */
export function extendedFlags(cpu: i32): i32 {
  return hasFeature(cpu, CpuFeature_cpuid) ? Flag_ac | Flag_id : Flag_ac;
}

/** The image PUSHF pushes (SDM Vol. 2 PUSHF); #GP(0) in virtual-8086 mode unless IOPL is 3 or VME takes over. */
export function pushFlagsImage(cpu: i32, operandBytes: i32): i32 {
  const image = readFlags(cpu) & ~(Flag_vm | Flag_rf);
  if (v86Mode(cpu) && ioPrivilege(cpu) < 3) {
    if (!cr4Has(cpu, Cr4_vme) || operandBytes != 2) generalProtection(cpu, 0);
    // VME: VIF appears as IF, IOPL as 3.
    const virtualIf = (image & Flag_vif) != 0 ? Flag_if : 0;
    return (image & ~(Flag_if | Flag_iopl)) | virtualIf | Flag_iopl;
  }
  return image;
}

/** POPF in virtual-8086 mode with IOPL below 3 and VME: IF goes to VIF. */
function popVirtualFlags(cpu: i32, value: i32): void {
  const flags = load<i32>(cpu, Cpu_systemFlags);
  const interrupts = (value & Flag_if) != 0;
  if ((value & Flag_tf) != 0 || (interrupts && (flags & Flag_vip) != 0)) generalProtection(cpu, 0);
  writeFlags(cpu, (value & ~Flag_vif) | (interrupts ? Flag_vif : 0), plainFlags | Flag_vif);
}

/** POPF with the rules of privilege (SDM Vol. 2 POPF). The caller has popped `value` and commits RSP after this. */
export function popFlags(cpu: i32, value: i32, operandBytes: i32): void {
  let mask = plainFlags;
  if (operandBytes != 2) mask |= extendedFlags(cpu) | Flag_rf;
  let written = value & ~Flag_rf;
  if (v86Mode(cpu)) {
    if (ioPrivilege(cpu) < 3) {
      if (!cr4Has(cpu, Cr4_vme) || operandBytes != 2) generalProtection(cpu, 0);
      popVirtualFlags(cpu, value);
      return;
    }
    mask |= Flag_if;
  } else {
    const cpl = load<i32>(cpu, Cpu_cpl);
    const iopl = ioPrivilege(cpu);
    if (!protectedMode(cpu) || cpl == 0) mask |= Flag_iopl | Flag_if;
    else if (cpl <= iopl) mask |= Flag_if;
    if (operandBytes != 2 && cpl == 0) {
      // CPL 0 clears the virtual interrupt flags.
      mask |= Flag_vif | Flag_vip;
      written &= ~(Flag_vif | Flag_vip);
    }
  }
  writeFlags(cpu, written, mask);
  checkInterrupts(cpu);
}

/** Who may change the interrupt flag: 1 = IF, 2 = VIF (VME or PVI); raises #GP(0) otherwise. */
function interruptFlagAccess(cpu: i32): i32 {
  if (!protectedMode(cpu)) return 1;
  const iopl = ioPrivilege(cpu);
  if (v86Mode(cpu)) {
    if (iopl == 3) return 1;
    if (cr4Has(cpu, Cr4_vme)) return 2;
  } else {
    const cpl = load<i32>(cpu, Cpu_cpl);
    if (cpl <= iopl) return 1;
    if (cpl == 3 && cr4Has(cpu, Cr4_pvi)) return 2;
  }
  generalProtection(cpu, 0);
  return 0;
}

/** CLI. */
export function clearInterruptFlag(cpu: i32): void {
  const flag = interruptFlagAccess(cpu) == 1 ? Flag_if : Flag_vif;
  store<i32>(cpu, load<i32>(cpu, Cpu_systemFlags) & ~flag, Cpu_systemFlags);
}

/** STI: answers 1 when IF went from 0 to 1, so that the caller opens the interrupt shadow. */
export function setInterruptFlag(cpu: i32): i32 {
  const flags = load<i32>(cpu, Cpu_systemFlags);
  if (interruptFlagAccess(cpu) == 1) {
    store<i32>(cpu, flags | Flag_if, Cpu_systemFlags);
    return (flags & Flag_if) == 0 ? 1 : 0;
  }
  if ((flags & Flag_vip) != 0) generalProtection(cpu, 0);
  store<i32>(cpu, flags | Flag_vif, Cpu_systemFlags);
  return 0;
}

/** STAC (1) and CLAC (0); the caller has checked CPL and feature. */
export function setAlignmentFlag(cpu: i32, value: i32): void {
  writeFlags(cpu, value != 0 ? Flag_ac : 0, Flag_ac);
}
