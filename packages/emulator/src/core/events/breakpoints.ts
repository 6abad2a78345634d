/**
 * Breakpoints and watchpoints of a debugger outside of the guest, which never sees them: not a byte of its memory and no translation changes.
 *
 * A breakpoint costs nothing where it is not: the instruction under it is *planted* (its record runs it alone, as one that reaches a device does),
 * and only then the run loop compares addresses. It is planted where code is decoded, for every page that a linear page with breakpoints is
 * mapped to; so it holds in every address space. Watched pages miss the inline compare of the TLB (Tlb.watchedBit).
 */
import {
  Cpu_exact,
  Cpu_exitRequest,
  Cpu_rip,
  Debug_breakpointFilter,
  Debug_breakpointList,
  Debug_breakpoints,
  Debug_hitAccess,
  Debug_hitAddress,
  Debug_hitWatchpoint,
  Debug_hits,
  Debug_planted,
  Debug_plantedMax,
  Debug_plantedSet,
  Debug_plantedSlots,
  Debug_watchBytes,
  Debug_watchList,
  Debug_watchpoints,
  ExitReason_requested,
  Machine_currentCpu,
  Region_debug,
  Region_machine,
  Segment_cs,
  Watchpoint_calls,
  Watchpoint_end,
  Watchpoint_kinds,
  Watchpoint_physical,
  Watchpoint_start,
} from '../generated/layout';
import { retryExactly } from './fault';
import { memoryAccess } from '../host';
import { invalidateCode } from '../decode/blocks';
import { plantAll } from '../memory/tlb';
import { backingIndex } from '../memory/physical';
import { code64, segmentBase } from '../state';

const filterBytes: i32 = 512;
const emptySlot: u32 = 0;

// --- breakpoints ---

function filterByte(la: i64): i32 {
  return Region_debug + Debug_breakpointFilter + ((((la as u32) >> 12) & 4095) >> 3);
}

function mayHold(la: i64): bool {
  return ((load<u8>(filterByte(la)) >> (((la as u32) >> 12) & 7)) & 1) != 0;
}

function breakpointAt(n: u32): i64 {
  return load<i64>(Region_debug + Debug_breakpointList + (n << 3));
}

/** Whether a breakpoint lies on the byte at a linear address. */
export function breakpointOn(la: i64): bool {
  if (!mayHold(la)) return false;
  const count = load<u32>(Region_debug + Debug_breakpoints);
  for (let n: u32 = 0; n < count; n++) if (breakpointAt(n) == la) return true;
  return false;
}

/** Whether a breakpoint lies on the instruction at Cpu.rip. */
export function atBreakpoint(cpu: i32): i32 {
  if (load<u32>(Region_debug + Debug_breakpoints) == 0) return 0;
  let la = load<i64>(cpu, Cpu_rip);
  if (!code64(cpu)) la = (la + segmentBase(cpu, Segment_cs)) & 0xffff_ffff;
  return breakpointOn(la) ? 1 : 0;
}

function plantedSlot(host: u32): u32 {
  let slot = (host * 0x9e37_79b1) >> 20;
  let at: u32 = Region_debug + Debug_plantedSet + (slot << 2);
  for (let found = load<u32>(at); found != host && found != emptySlot; found = load<u32>(at)) {
    slot = (slot + 1) & (Debug_plantedSlots - 1);
    at = Region_debug + Debug_plantedSet + (slot << 2);
  }
  return at;
}

/** Whether the instruction at an address of linear memory is to be executed alone. */
export function isPlanted(host: u32): bool {
  return load<u32>(Region_debug + Debug_planted) != 0 && load<u32>(plantedSlot(host)) == host;
}

/** A linear page is executed from the page at `host`: its breakpoints are planted there. */
export function plantPage(la: i64, host: u32): void {
  const count = load<u32>(Region_debug + Debug_breakpoints);
  if (count == 0 || !mayHold(la)) return;
  for (let n: u32 = 0; n < count; n++) {
    const breakpoint = breakpointAt(n);
    if (((breakpoint ^ la) as u64) >> 12 != 0) continue;
    const at = (host & ~4095) + ((breakpoint as u32) & 4095);
    const slot = plantedSlot(at);
    if (load<u32>(slot) == at) continue;
    store<u32>(slot, at);
    const planted = load<i32>(Region_debug + Debug_planted) + 1;
    store<i32>(Region_debug + Debug_planted, planted);
    invalidateCode(backingIndex(at & ~4095), at & 4095, 1);
    if (planted >= Debug_plantedMax) {
      // Many address spaces came and went. Those in the tables now have two pages each breakpoint at most: room is left.
      replant();
      plantPage(la, host);
      return;
    }
  }
}

function unplant(): void {
  for (let slot = 0; slot < Debug_plantedSlots; slot++) {
    const at: u32 = Region_debug + Debug_plantedSet + (slot << 2);
    const host = load<u32>(at);
    if (host == emptySlot) continue;
    store<u32>(at, emptySlot);
    invalidateCode(backingIndex(host & ~4095), host & 4095, 1);
  }
  store<u32>(Region_debug + Debug_planted, 0);
}

/** Makes what is planted again from the list of breakpoints. */
export function replant(): void {
  unplant();
  memory.fill(Region_debug + Debug_breakpointFilter, 0, filterBytes);
  const count = load<u32>(Region_debug + Debug_breakpoints);
  for (let n: u32 = 0; n < count; n++) {
    const la = breakpointAt(n);
    const at = filterByte(la);
    store<u8>(at, <u8>((<u32>load<u8>(at)) | (1 << (((la as u32) >> 12) & 7))));
  }
  if (count != 0) plantAll();
}

// --- watchpoints ---

/** Whether there are any. */
export function watching(): bool {
  return load<u32>(Region_debug + Debug_watchpoints) != 0;
}

/** Whether one lies on the page of a linear address, or on the physical page. */
export function isWatched(la: i64, physical: i64): bool {
  const count = load<u32>(Region_debug + Debug_watchpoints);
  for (let n: u32 = 0; n < count; n++) {
    const watch = Region_debug + Debug_watchList + n * Debug_watchBytes;
    const page = (load<u32>(watch, Watchpoint_physical) != 0 ? physical : la) & ~0xfff;
    const last = load<i64>(watch, Watchpoint_end) - 1;
    if (page >= (load<i64>(watch, Watchpoint_start) & ~0xfff) && page <= last) return true;
  }
  return false;
}

/** Notes the first watchpoint that a write to physical memory from outside of the processor meets. */
export function noteHostWrite(physical: i64, size: i64): void {
  note(load<i32>(Region_machine, Machine_currentCpu), -1, physical, size, 2);
}

/**
 * Before an access (kind: AccessKind) inside of one page: one that meets a watchpoint is executed alone, so that the run ends
 * exactly behind its instruction.
 */
export function noteAccess(cpu: i32, la: i64, physical: i64, size: i32, kind: i32): void {
  note(cpu, la, physical, size, kind);
}

function note(cpu: i32, la: i64, physical: i64, size: i64, kind: i32): void {
  const count = load<u32>(Region_debug + Debug_watchpoints);
  for (let n: u32 = 0; n < count; n++) {
    const watch = Region_debug + Debug_watchList + n * Debug_watchBytes;
    if ((load<i32>(watch, Watchpoint_kinds) & kind) == 0 || load<u32>(watch, Watchpoint_calls) != 0) continue;
    const isPhysical = load<u32>(watch, Watchpoint_physical) != 0;
    if (!isPhysical && la == -1) continue;
    const at = isPhysical ? physical : la;
    if (at >= load<i64>(watch, Watchpoint_end) || at + size <= load<i64>(watch, Watchpoint_start)) continue;
    if (la != -1 && load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
    const hits = load<u32>(Region_debug + Debug_hits);
    store<u32>(Region_debug + Debug_hits, hits + 1);
    store<i32>(cpu, ExitReason_requested, Cpu_exitRequest);
    if (hits != 0) return;
    store<u32>(Region_debug + Debug_hitWatchpoint, n);
    store<i64>(Region_debug + Debug_hitAddress, at);
    store<u32>(Region_debug + Debug_hitAccess, kind);
    return;
  }
}

/** An access by a program at a linear address, inside of one instruction that is executed alone: the host is told where it wants to be. */
export function tellAccess(cpu: i32, la: i64, size: i32, kind: i32, value: i64): void {
  const count = load<u32>(Region_debug + Debug_watchpoints);
  for (let n: u32 = 0; n < count; n++) {
    const watch = Region_debug + Debug_watchList + n * Debug_watchBytes;
    if (load<u32>(watch, Watchpoint_calls) == 0 || (load<i32>(watch, Watchpoint_kinds) & kind) == 0) continue;
    if (la >= load<i64>(watch, Watchpoint_end) || la + size <= load<i64>(watch, Watchpoint_start)) continue;
    if (load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
    memoryAccess(la as i32, (la >> 32) as i32, size, kind, value as i32, (value >> 32) as i32);
    return;
  }
}

/** Whether the instruction that is being executed has met a watchpoint: a repeated one ends behind this iteration. */
export function hitWatchpoint(): bool {
  return load<u32>(Region_debug + Debug_hits) != 0;
}

/** The instruction faulted: it will access again. */
export function forgetHits(cpu: i32): void {
  if (!hitWatchpoint()) return;
  store<u32>(Region_debug + Debug_hits, 0);
  store<i32>(cpu, 0, Cpu_exitRequest);
}
