/** Virtual time, a function of retired instructions (layout.ts, Machine). TSC ticks are 1 ns. */
import {
  Cpu_cpl,
  Cpu_deadline,
  Cpu_remaining,
  Cpu_tscOffset,
  Machine_timeBaseCount,
  Machine_timeBaseNs,
  Machine_timeRate,
  Region_machine,
} from '../generated/layout';
import { generalProtection } from '../events/fault';
import { Cr4_tsd, cr4Has } from '../state';

/** Virtual time in ns at this instruction; Cpu.remaining must be exact. */
export function virtualTimeNs(cpu: i32): i64 {
  return timeAt(load<i64>(cpu, Cpu_deadline) - load<i64>(cpu, Cpu_remaining));
}

/** Virtual time in ns when the engine has used up what it was given, unless more time is skipped before. */
export function endOfRunNs(cpu: i32): i64 {
  return timeAt(load<i64>(cpu, Cpu_deadline));
}

function timeAt(retired: i64): i64 {
  const since = retired - load<i64>(Region_machine, Machine_timeBaseCount);
  const elapsed = (since * (load<u32>(Region_machine, Machine_timeRate) as i64)) >> 16;
  return load<i64>(Region_machine, Machine_timeBaseNs) + elapsed;
}

/** The TSC, without privilege check (RDMSR). */
export function timestamp(cpu: i32): i64 {
  return virtualTimeNs(cpu) + load<i64>(cpu, Cpu_tscOffset);
}

/** RDTSC, RDTSCP: #GP(0) outside of CPL 0 with CR4.TSD. */
export function timestampCounter(cpu: i32): i64 {
  if (cr4Has(cpu, Cr4_tsd) && load<i32>(cpu, Cpu_cpl) != 0) generalProtection(cpu, 0);
  return timestamp(cpu);
}

/** RDPMC: there are no performance counters, so every index is refused. */
export function readPerformanceCounter(cpu: i32): void {
  generalProtection(cpu, 0);
}
