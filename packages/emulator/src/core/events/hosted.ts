/**
 * A program that runs alone on the processor: the host stands for the system below it. Which of its duties it has is in
 * Machine.hostDuties (HostDuty); in a machine these are none, and the guest's own system has them all.
 */
import {
  Cpu_accessBytes,
  Cpu_accessValue,
  Cpu_exact,
  Cpu_exitRequest,
  Cpu_faultAddress,
  Cpu_faultErrorCode,
  Cpu_faultHasErrorCode,
  Cpu_faultVector,
  Cpu_hostErrorCode,
  Cpu_hostKind,
  Cpu_hostVector,
  Cpu_rip,
  ExitReason_event,
  HostDuty_pages,
  Machine_hostDuties,
  Region_machine,
  hostFaultVector,
} from '../generated/layout';
import { retryExactly, throwFault } from './fault';
import { instruction, translatePage } from '../host';

export function hostHas(duty: i32): bool {
  return (load<i32>(Region_machine, Machine_hostDuties) & duty) != 0;
}

/** HostDuty.events: ends the run at Cpu.rip, which is where the handler would return to. */
export function leaveEvent(cpu: i32, vector: i32, kind: i32, errorCode: i32, rip: i64): void {
  store<i32>(cpu, vector, Cpu_hostVector);
  store<i32>(cpu, kind, Cpu_hostKind);
  store<i32>(cpu, errorCode, Cpu_hostErrorCode);
  store<i64>(cpu, rip, Cpu_rip);
  store<i32>(cpu, ExitReason_event, Cpu_exitRequest);
}

/** HostDuty.pages: notes what the access that may look for a page would do. */
export function noteOperand(cpu: i32, bytes: i32, value: i64): void {
  if (!hostHas(HostDuty_pages)) return;
  store<i32>(cpu, bytes, Cpu_accessBytes);
  store<i64>(cpu, value, Cpu_accessValue);
}

/** HostDuty.pages: address of the page that the host has for a physical one. Raises its fault where there is none. */
export function hostPage(cpu: i32, la: i64, physical: i64, access: i32): i64 {
  const frame = translatePage(physical as i32, (physical >> 32) as i32, access);
  if (frame < 0) {
    store<i32>(cpu, hostFaultVector, Cpu_faultVector);
    store<i32>(cpu, access, Cpu_faultErrorCode);
    store<i32>(cpu, 1, Cpu_faultHasErrorCode);
    store<i64>(cpu, la, Cpu_faultAddress);
    throwFault();
  }
  return (frame as i64) << 12;
}

/** Offers an instruction to the host; true: it has done all there is to do. `duty` is one of HostDuty. */
export function hostTakes(cpu: i32, duty: i32): bool {
  if (!hostHas(duty)) return false;
  if (load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
  return instruction(duty) != 0;
}
