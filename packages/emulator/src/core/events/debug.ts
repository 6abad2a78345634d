/** Debug registers, breakpoints and single-stepping: SDM Vol. 3B chapter 18. */
import {
  Cpu_cpl,
  Cpu_debugPending,
  Cpu_dr,
  Cpu_interruptShadow,
  Cpu_pendingErrorCode,
  Cpu_pendingKind,
  Cpu_pendingVector,
  Cpu_rip,
  Cpu_startFlags,
  Cpu_systemFlags,
  EventKind_exception,
  Flag_rf,
  Flag_tf,
  InterruptShadow_movSs,
  Segment_cs,
  Vector_db,
  Vector_ud,
} from '../generated/layout';
import { generalProtection, raise, raiseDebug } from './fault';
import {
  BreakpointKinds_data,
  BreakpointKinds_execute,
  BreakpointKinds_io,
  enabledBreakpoints,
  updateAccess,
} from '../system/mode';
import { Access_read } from '../memory/paging';
import { Cr4_de, code64, cr4Has, protectedMode, segmentBase } from '../state';

export const Dr6_generalDetect: i32 = 0x2000;
const Dr6_singleStep: i32 = 0x4000;
export const Dr6_taskSwitch: i32 = 0x8000;
const Dr6_breakpoints: i64 = 15;
const Dr6_fixed: i64 = 0xffff_0ff0;
const Dr6_writable: i64 = 0xe00f;
const Dr7_generalDetect: i64 = 0x2000;
const Dr7_writable: i64 = 0xffff_23ff;
const Dr7_fixed: i64 = 0x400;
/** In Cpu.startFlags: the instruction began in the shadow of MOV SS. */
const startedInShadow: i32 = 1;

function dr7(cpu: i32): i32 {
  return load<i64>(cpu, Cpu_dr + 56) as i32;
}

/** Breakpoints among `candidates` whose range meets [address, address + size). LEN codes: 1, 2, 8, 4 bytes. */
function matching(cpu: i32, candidates: i32, address: i64, size: i32): i32 {
  let found = 0;
  for (let i = 0; i < 4; i++) {
    if (((candidates >> i) & 1) == 0) continue;
    const code = (dr7(cpu) >> (18 + i * 4)) & 3;
    const length: i64 = code == 2 ? 8 : code + 1;
    const start = load<i64>(cpu + i * 8, Cpu_dr) & ~(length - 1);
    if (address < start + length && start < address + size) found |= 1 << i;
  }
  return found;
}

/** Notes the data breakpoints that an access meets; the trap comes after the instruction. */
export function checkDataBreakpoints(cpu: i32, la: i64, size: i32, access: i32): void {
  const kinds = access == Access_read ? 8 : BreakpointKinds_data;
  const found = matching(cpu, enabledBreakpoints(cpu, kinds), la, size);
  if (found != 0) store<i32>(cpu, load<i32>(cpu, Cpu_debugPending) | found, Cpu_debugPending);
}

/** Notes the I/O breakpoints (CR4.DE) that a port access meets. */
export function checkIoBreakpoints(cpu: i32, port: i32, size: i32): void {
  if (!cr4Has(cpu, Cr4_de)) return;
  const candidates = enabledBreakpoints(cpu, BreakpointKinds_io);
  if (candidates == 0) return;
  const found = matching(cpu, candidates, port, size);
  if (found != 0) store<i32>(cpu, load<i32>(cpu, Cpu_debugPending) | found, Cpu_debugPending);
}

/** Step mode, before an instruction is fetched: raises #DB for an instruction breakpoint (a fault; RF suppresses it). */
export function beforeInstruction(cpu: i32): void {
  const flags = load<i32>(cpu, Cpu_systemFlags);
  const shadow = (load<i32>(cpu, Cpu_interruptShadow) & InterruptShadow_movSs) != 0;
  store<i32>(cpu, (flags & (Flag_tf | Flag_rf)) | (shadow ? startedInShadow : 0), Cpu_startFlags);
  if ((flags & Flag_rf) != 0 || shadow) return;
  const candidates = enabledBreakpoints(cpu, BreakpointKinds_execute);
  if (candidates == 0) return;
  let address = load<i64>(cpu, Cpu_rip);
  if (!code64(cpu)) address = (address + segmentBase(cpu, Segment_cs)) & 0xffff_ffff;
  const found = matching(cpu, candidates, address, 1);
  if (found != 0) raiseDebug(cpu, found);
}

/**
 * Step mode, after an instruction that did not fault, Cpu.rip being the next one: clears RF, and makes #DB the pending event for
 * a single step or the breakpoints met. MOV SS and POP SS put the traps off to the end of the instruction after.
 */
export function afterInstruction(cpu: i32): void {
  const start = load<i32>(cpu, Cpu_startFlags);
  if ((start & Flag_rf) != 0) {
    store<i32>(cpu, load<i32>(cpu, Cpu_systemFlags) & ~Flag_rf, Cpu_systemFlags);
    updateAccess(cpu);
  }
  const shadow = (load<i32>(cpu, Cpu_interruptShadow) & InterruptShadow_movSs) != 0;
  if (shadow && (start & startedInShadow) == 0) return;
  let bits = load<i32>(cpu, Cpu_debugPending);
  if ((start & Flag_tf) != 0) bits |= Dr6_singleStep;
  if (bits != 0) pendDebugTrap(cpu, bits);
}

/**
 * INT1 is a #DB of its own with no bit in DR6. Breakpoints met by the MOV SS before it, whose shadow put them off, are told by the same #DB
 * (SDM Vol. 3B 18.3; a processor calls the handler once).
 */
export function recordIcebp(cpu: i32): void {
  recordDebug(cpu, load<i32>(cpu, Cpu_debugPending));
}

/**
 * No single-step trap after an instruction that goes to a handler by itself: INT n, INT3, INTO, INT1, or a SYSCALL that masks TF (SDM
 * Vol. 3B 18.3.1.4). Breakpoints that were met are still told, behind the transfer.
 */
export function endSingleStep(cpu: i32): void {
  store<i32>(cpu, load<i32>(cpu, Cpu_startFlags) & ~Flag_tf, Cpu_startFlags);
}

/** SYSRET that sets TF traps at once, before the first instruction it returns to, unlike IRET and POPF. */
export function stepAfterReturn(cpu: i32): void {
  if ((load<i32>(cpu, Cpu_systemFlags) & Flag_tf) != 0) pendDebugTrap(cpu, Dr6_singleStep);
  else endSingleStep(cpu);
}

/** Makes #DB, with `bits` in DR6, the event to deliver before the next instruction. */
export function pendDebugTrap(cpu: i32, bits: i32): void {
  recordDebug(cpu, bits);
  store<i32>(cpu, Vector_db, Cpu_pendingVector);
  store<i32>(cpu, 0, Cpu_pendingErrorCode);
  store<i32>(cpu, EventKind_exception, Cpu_pendingKind);
}

/**
 * Sets the bits of a #DB in DR6. B0-B3 tell of this #DB alone, the others stay until a program clears them (SDM Vol. 3B 18.2.3).
 * Entering the handler ends general detection.
 */
export function recordDebug(cpu: i32, bits: i32): void {
  store<i64>(cpu, (load<i64>(cpu, Cpu_dr + 48) & ~Dr6_breakpoints) | (bits as i64), Cpu_dr + 48);
  store<i64>(cpu, load<i64>(cpu, Cpu_dr + 56) & ~Dr7_generalDetect, Cpu_dr + 56);
  store<i32>(cpu, 0, Cpu_debugPending);
}

/** The register that MOV DR names, after its checks: #UD for DR4/DR5 with CR4.DE, #GP(0), #DB when DR7.GD is set. */
function checkedIndex(cpu: i32, index: i32): i32 {
  const alias = index == 4 || index == 5;
  if (index > 7 || (alias && cr4Has(cpu, Cr4_de))) raise(cpu, Vector_ud);
  if (protectedMode(cpu) && load<i32>(cpu, Cpu_cpl) != 0) generalProtection(cpu, 0);
  if ((load<i64>(cpu, Cpu_dr + 56) & Dr7_generalDetect) != 0) raiseDebug(cpu, Dr6_generalDetect);
  return alias ? index + 2 : index;
}

/** MOV r, DRn. */
export function readDebug(cpu: i32, index: i32): i64 {
  return load<i64>(cpu + checkedIndex(cpu, index) * 8, Cpu_dr);
}

/** MOV DRn, r. In 64-bit mode DR6 and DR7 refuse bits above 31. */
export function writeDebug(cpu: i32, index: i32, value: i64): void {
  const register = checkedIndex(cpu, index);
  let written = code64(cpu) ? value : value & 0xffff_ffff;
  if (register >= 6 && (written as u64) >> 32 != 0) generalProtection(cpu, 0);
  if (register == 6) written = (written & Dr6_writable) | Dr6_fixed;
  if (register == 7) written = (written & Dr7_writable) | Dr7_fixed;
  store<i64>(cpu + register * 8, written, Cpu_dr);
  if (register == 7) updateAccess(cpu);
}

/** Debug registers at reset (SDM Vol. 3A table 10-1). */
export function resetDebug(cpu: i32): void {
  for (let i = 0; i < 4; i++) store<i64>(cpu + i * 8, 0, Cpu_dr);
  store<i64>(cpu, Dr6_fixed, Cpu_dr + 48);
  store<i64>(cpu, Dr7_fixed, Cpu_dr + 56);
}
