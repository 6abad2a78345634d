/**
 * Exceptions and interrupts: recording faults (double and triple fault), injecting, and choosing how to deliver. SDM Vol. 3A
 * chapter 6. Delivery itself is in delivery.ts.
 */
import {
  Cpu_cr2,
  Cpu_deadline,
  Cpu_debugPending,
  Cpu_deliveringKind,
  Cpu_deliveringVector,
  Cpu_exact,
  Cpu_externalBit,
  Cpu_faultAddress,
  Cpu_faultErrorCode,
  Cpu_faultHasErrorCode,
  Cpu_faultRip,
  Cpu_faultRipValid,
  Cpu_faultVector,
  Cpu_halted,
  Cpu_interruptShadow,
  Cpu_intrPending,
  Cpu_nmiBlocked,
  Cpu_nmiPending,
  Cpu_pendingErrorCode,
  Cpu_pendingKind,
  Cpu_pendingVector,
  Cpu_remaining,
  Cpu_reserve,
  Cpu_rip,
  Cpu_systemFlags,
  EventKind_exception,
  EventKind_external,
  EventKind_icebp,
  EventKind_nmi,
  EventKind_none,
  EventKind_software,
  Flag_if,
  HostDuty_events,
  Vector_db,
  Vector_df,
  Vector_nmi,
  Vector_pf,
} from '../generated/layout';
import { forgetHits } from './breakpoints';
import { Dr6_generalDetect, endSingleStep, recordDebug, recordIcebp } from './debug';
import { deliverProtected, deliverReal, deliverVirtual } from './delivery';
import { generalProtection, raise, raiseError, segmentFault } from './fault';
import { hostHas, leaveEvent } from './hosted';
import { Cr4_vme, cr4Has, ioPrivilege, protectedMode, v86Mode } from '../state';

export { raise, raiseError, segmentFault };

/** #DE, #TS, #NP, #SS, #GP (SDM Vol. 3A table 6-4). */
const contributory: i32 = (1 << 0) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13);

function isContributory(vector: i32): bool {
  return vector < 32 && ((contributory >> vector) & 1) != 0;
}

/** SDM Vol. 3A table 6-5: whether a second exception while the first is delivered makes a double fault. */
function doubles(first: i32, second: i32): bool {
  if (first == Vector_pf) return second == Vector_pf || isContributory(second);
  return isContributory(first) && isContributory(second);
}

/**
 * Makes the fault that was thrown the pending event, Cpu.rip being that of the faulting instruction. Answers 1 when the processor shuts
 * down (triple fault).
 */
export function recordFault(cpu: i32): i32 {
  let vector = load<i32>(cpu, Cpu_faultVector);
  let errorCode = load<i32>(cpu, Cpu_faultHasErrorCode) != 0 ? load<i32>(cpu, Cpu_faultErrorCode) : 0;
  if (load<i32>(cpu, Cpu_faultRipValid) != 0) {
    store<i64>(cpu, load<i64>(cpu, Cpu_faultRip), Cpu_rip);
    store<i32>(cpu, 0, Cpu_faultRipValid);
  }
  store<i32>(cpu, 0, Cpu_externalBit);
  store<i32>(cpu, 0, Cpu_debugPending);
  forgetHits(cpu);
  const first = load<i32>(cpu, Cpu_deliveringVector);
  const firstKind = load<i32>(cpu, Cpu_deliveringKind);
  store<i32>(cpu, -1, Cpu_deliveringVector);
  if (vector == Vector_pf) store<i64>(cpu, load<i64>(cpu, Cpu_faultAddress), Cpu_cr2);
  if (vector == Vector_db) {
    const bits = load<i64>(cpu, Cpu_faultAddress) as i32;
    recordDebug(cpu, bits);
    // #DB pushes no error code: the field tells delivery whether it is a fault that sets RF (general detect).
    errorCode = bits & Dr6_generalDetect;
  }
  if (first >= 0 && firstKind == EventKind_exception) {
    if (first == Vector_df) {
      store<i32>(cpu, -1, Cpu_pendingVector);
      return 1;
    }
    if (doubles(first, vector)) {
      vector = Vector_df;
      errorCode = 0;
    }
  }
  store<i32>(cpu, vector, Cpu_pendingVector);
  store<i32>(cpu, errorCode, Cpu_pendingErrorCode);
  store<i32>(cpu, EventKind_exception, Cpu_pendingKind);
  return 0;
}

/** #DF, #TS, #NP, #SS, #GP, #PF, #AC push an error code (not in real-address mode). */
function pushesErrorCode(vector: i32): bool {
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

function deliver(cpu: i32, vector: i32, kind: i32, hasErrorCode: bool, errorCode: i32, rip: i64): void {
  store<i32>(cpu, 0, Cpu_halted);
  if (hostHas(HostDuty_events)) {
    leaveEvent(cpu, vector, kind, errorCode, rip);
    return;
  }
  store<i32>(cpu, vector, Cpu_deliveringVector);
  store<i32>(cpu, kind, Cpu_deliveringKind);
  store<i32>(cpu, kind == EventKind_software ? 0 : 1, Cpu_externalBit);
  const exact = load<i32>(cpu, Cpu_exact);
  store<i32>(cpu, 1, Cpu_exact);
  if (protectedMode(cpu)) deliverProtected(cpu, vector, kind, hasErrorCode, errorCode, rip);
  else deliverReal(cpu, vector, rip);
  store<i32>(cpu, exact, Cpu_exact);
  store<i32>(cpu, 0, Cpu_externalBit);
  store<i32>(cpu, 0, Cpu_interruptShadow);
  store<i32>(cpu, -1, Cpu_deliveringVector);
  store<i32>(cpu, EventKind_none, Cpu_deliveringKind);
}

/** Delivers the pending exception. Call it before the next instruction while Cpu.pendingVector >= 0. */
export function deliverEvent(cpu: i32): void {
  const vector = load<i32>(cpu, Cpu_pendingVector);
  if (vector < 0) return;
  store<i32>(cpu, -1, Cpu_pendingVector);
  const kind = load<i32>(cpu, Cpu_pendingKind);
  const hasErrorCode = kind == EventKind_exception && pushesErrorCode(vector);
  deliver(cpu, vector, kind, hasErrorCode, load<i32>(cpu, Cpu_pendingErrorCode), load<i64>(cpu, Cpu_rip));
}

/** Accepts an external interrupt; the machine has acknowledged the vector. Call it only between instructions. */
export function injectInterrupt(cpu: i32, vector: i32): void {
  deliverLater(cpu, vector, EventKind_external);
}

/** Accepts an NMI; further ones wait until IRET. */
export function injectNmi(cpu: i32): void {
  store<i32>(cpu, 0, Cpu_nmiPending);
  store<i32>(cpu, 1, Cpu_nmiBlocked);
  deliverLater(cpu, Vector_nmi, EventKind_nmi);
}

/** Faults of the delivery must unwind to the run loop, so the event only becomes the pending one. */
function deliverLater(cpu: i32, vector: i32, kind: i32): void {
  store<i32>(cpu, 0, Cpu_halted);
  store<i32>(cpu, vector, Cpu_pendingVector);
  store<i32>(cpu, 0, Cpu_pendingErrorCode);
  store<i32>(cpu, kind, Cpu_pendingKind);
}

/**
 * INT n, INT3, INTO (kind software) and INT1 (kind icebp): delivers at once with the next instruction as return address. `opcode`
 * is 1 for INT n itself, which virtual-8086 mode checks against IOPL and redirects with VME.
 */
export function softwareInterrupt(cpu: i32, vector: i32, nextRip: i64, kind: i32, opcode: i32): void {
  if (kind == EventKind_icebp) recordIcebp(cpu);
  endSingleStep(cpu);
  if (v86Mode(cpu) && opcode != 0 && deliverVirtual(cpu, vector, nextRip)) return;
  if (v86Mode(cpu) && opcode != 0 && ioPrivilege(cpu) < 3 && !cr4Has(cpu, Cr4_vme)) generalProtection(cpu, 0);
  deliver(cpu, vector, kind, false, 0, nextRip);
}

/** 1 when an NMI or an external interrupt can be taken before the next instruction. */
export function interruptReady(cpu: i32): i32 {
  if (load<i32>(cpu, Cpu_interruptShadow) != 0) return 0;
  if (load<i32>(cpu, Cpu_nmiPending) != 0 && load<i32>(cpu, Cpu_nmiBlocked) == 0) return 1;
  if (load<i32>(cpu, Cpu_intrPending) == 0) return 0;
  return (load<i32>(cpu, Cpu_systemFlags) & Flag_if) != 0 ? 1 : 0;
}

/** Makes the run loop stop after this instruction when an interrupt may have become possible. Cpu.remaining must be exact. */
export function checkInterrupts(cpu: i32): void {
  const nmi = load<i32>(cpu, Cpu_nmiPending) != 0 && load<i32>(cpu, Cpu_nmiBlocked) == 0;
  const intr = load<i32>(cpu, Cpu_intrPending) != 0 && (load<i32>(cpu, Cpu_systemFlags) & Flag_if) != 0;
  if (!nmi && !intr) return;
  store<i64>(cpu, load<i64>(cpu, Cpu_deadline) - load<i64>(cpu, Cpu_remaining), Cpu_deadline);
  store<i64>(cpu, 0, Cpu_remaining);
  store<i64>(cpu, 0, Cpu_reserve);
}
