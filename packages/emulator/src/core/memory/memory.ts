/**
 * Linear memory accesses: the slow paths behind the TLB check that handlers carry inline, usable alone too.
 *
 * Always: an access translates all of its pages before it changes a byte; a device is reached only while Cpu.exact is set.
 * Order of checks (SDM Vol. 3A 6.9 and 4.7): canonical form, alignment, then the page walk of the lower and of the upper page.
 */
import {
  AccessCheck_alignment,
  AccessCheck_breakpoints,
  AccessKind_read,
  AccessKind_readAfter,
  AccessKind_write,
  Cpu_accessChecks,
  Cpu_exact,
  Cpu_linearMask,
  Cpu_modeKey,
  Cpu_scratch,
  Cpu_tlbView,
  ModeKey_code64,
  ModeKey_codeMask,
  ModeKey_flat,
  PhysicalPage_addressMask,
  PhysicalPage_readOnly,
  Tlb_addend,
  Tlb_supervisorRead,
  Vector_ac,
  Vector_gp,
  Vector_ss,
} from '../generated/layout';
import { noteAccess, noteHostWrite, tellAccess, watching } from '../events/breakpoints';
import { checkDataBreakpoints } from '../events/debug';
import { raiseError, retryExactly } from '../events/fault';
import { noteOperand } from '../events/hosted';
import { mmioRead, mmioWrite } from '../host';
import { Access_execute, Access_read, Access_write, Walk_none, walkQuietly } from './paging';
import { backingIndex, dropOverlappedCode, gateA20, markDirty, pageEntry, storeBacked } from './physical';
import { isCanonical, longMode } from '../state';
import { resolve, tlbEntry } from './tlb';

/** True when an access of `size` bytes at page offset `la` lies on two pages. */
function crosses(la: i64, size: i32): bool {
  return ((la as i32) & 0xfff) + size > 4096;
}

function checkCanonical(cpu: i32, la: i64, size: i32, vector: i32): void {
  if (!longMode(cpu)) return;
  if (!isCanonical(la) || !isCanonical(la + size - 1)) raiseError(cpu, vector, 0);
}

/**
 * A flat 32-bit access that wraps at 4 GiB goes beyond its segment's limit, which handlers of flat code do not check; it comes here
 * because it crosses a page.
 */
function checkWrap(cpu: i32, la: i64, size: i32, vector: i32): void {
  if (la + size <= 0x1_0000_0000 || la > 0xffff_ffff) return;
  const key = load<i32>(cpu, Cpu_modeKey);
  if ((key & ModeKey_flat) != 0 && (key & ModeKey_codeMask) != ModeKey_code64) raiseError(cpu, vector, 0);
}

/** Raises #SS(0) when an access through SS is not canonical, or wraps; call before the slow path of stack accesses. */
export function checkCanonicalStack(cpu: i32, la: i64, size: i32): void {
  checkCanonical(cpu, la, size, Vector_ss);
  checkWrap(cpu, la, size, Vector_ss);
}

/** Alignment check (CPL 3, CR0.AM, EFLAGS.AC) and data breakpoints of a program's own access. */
function checkAccess(cpu: i32, la: i64, size: i32, access: i32): void {
  const checks = load<i32>(cpu, Cpu_accessChecks);
  if (checks == 0) return;
  if ((checks & AccessCheck_alignment) != 0 && ((la as i32) & (size - 1) & 7) != 0)
    raiseError(cpu, Vector_ac, 0);
  if ((checks & AccessCheck_breakpoints) != 0) checkDataBreakpoints(cpu, la, size, access);
}

function readDevice<T>(cpu: i32, physical: i64): T {
  if (load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
  const low = physical as i32;
  const high = (physical >> 32) as i32;
  if (sizeof<T>() == 8) {
    const first = mmioRead(low, high, 4) as u32;
    return <T>((first as u64) | ((mmioRead(low + 4, high, 4) as u64) << 32));
  }
  if (sizeof<T>() == 1 || (low & (sizeof<T>() - 1)) == 0) return <T>mmioRead(low, high, sizeof<T>());
  let value: u32 = 0;
  for (let i = 0; i < <i32>sizeof<T>(); i++) value |= ((mmioRead(low + i, high, 1) & 0xff) as u32) << (i * 8);
  return <T>value;
}

function writeDevice<T>(cpu: i32, physical: i64, value: T): void {
  if (load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
  const low = physical as i32;
  const high = (physical >> 32) as i32;
  if (sizeof<T>() == 8) {
    mmioWrite(low, high, 4, <i32>value);
    mmioWrite(low + 4, high, 4, <i32>((<u64>value) >> 32));
  } else if (sizeof<T>() == 1 || (low & (sizeof<T>() - 1)) == 0) {
    mmioWrite(low, high, sizeof<T>(), <i32>value);
  } else {
    for (let i = 0; i < <i32>sizeof<T>(); i++) mmioWrite(low + i, high, 1, ((<i32>value) >> (i * 8)) & 0xff);
  }
}

/** Reads inside of one page at a physical address. */
function readAt<T>(cpu: i32, physical: i64): T {
  const entry = pageEntry(physical);
  if (entry == 0) return readDevice<T>(cpu, physical);
  return load<T>((entry & PhysicalPage_addressMask) + ((physical as u32) & 0xfff));
}

/** Writes inside of one page at a physical address; writes to ROM are dropped. */
function writeAt<T>(cpu: i32, physical: i64, value: T): void {
  const entry = pageEntry(physical);
  if (entry == 0) writeDevice<T>(cpu, physical, value);
  else if ((entry & PhysicalPage_readOnly) == 0) {
    storeBacked<T>(entry & PhysicalPage_addressMask, (physical as u32) & 0xfff, value);
  }
}

function isDevice(physical: i64): bool {
  return pageEntry(physical) == 0;
}

function nextPage(la: i64, mask: i64): i64 {
  return ((la | 0xfff) + 1) & mask;
}

/** An access over a page's end, for watchpoints: its part on each page. */
function noteCrossing(cpu: i32, la: i64, next: i64, first: i64, second: i64, size: i32, kind: i32): void {
  const inFirst = 4096 - ((la as i32) & 0xfff);
  noteAccess(cpu, la, first, inFirst, kind);
  noteAccess(cpu, next, second, size - inFirst, kind);
}

function readCrossing<T>(cpu: i32, la: i64, mask: i64, view: i32): T {
  const first = resolve(cpu, la, Access_read, view);
  const second = resolve(cpu, nextPage(la, mask), Access_read, view);
  const inFirst = 4096 - ((la as i32) & 0xfff);
  if (watching()) noteCrossing(cpu, la, nextPage(la, mask), first, second, sizeof<T>(), AccessKind_read);
  let value: u64 = 0;
  for (let i = 0; i < <i32>sizeof<T>(); i++) {
    const physical = i < inFirst ? first + i : second + (i - inFirst);
    value |= (readAt<u8>(cpu, physical) as u64) << (i * 8);
  }
  return <T>value;
}

function writeCrossing<T>(cpu: i32, la: i64, mask: i64, value: T, view: i32): void {
  const first = resolve(cpu, la, Access_write, view);
  const second = resolve(cpu, nextPage(la, mask), Access_write, view);
  if (watching()) noteCrossing(cpu, la, nextPage(la, mask), first, second, sizeof<T>(), AccessKind_write);
  if ((isDevice(first) || isDevice(second)) && load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
  const inFirst = 4096 - ((la as i32) & 0xfff);
  for (let i = 0; i < <i32>sizeof<T>(); i++) {
    const physical = i < inFirst ? first + i : second + (i - inFirst);
    writeAt<u8>(cpu, physical, ((<u64>value) >> (i * 8)) as u8);
  }
}

function readMasked<T>(cpu: i32, la: i64, mask: i64, view: i32): T {
  const entry = tlbEntry(cpu, view, la);
  if (((load<i64>(entry) ^ la) as u64) < 4097 - (sizeof<T>() as u64)) {
    return load<T>((la as i32) + load<i32>(entry, Tlb_addend));
  }
  checkCanonical(cpu, la, sizeof<T>(), Vector_gp);
  noteOperand(cpu, sizeof<T>(), 0);
  if (!watching()) return readSlowly<T>(cpu, la, mask, view);
  tellAccess(cpu, la, sizeof<T>(), AccessKind_read, 0);
  const value = readSlowly<T>(cpu, la, mask, view);
  tellAccess(cpu, la, sizeof<T>(), AccessKind_readAfter, (<u64>value) as i64);
  return value;
}

function readSlowly<T>(cpu: i32, la: i64, mask: i64, view: i32): T {
  if (crosses(la, sizeof<T>())) return readCrossing<T>(cpu, la, mask, view);
  const physical = resolve(cpu, la, Access_read, view);
  if (watching()) noteAccess(cpu, la, physical, sizeof<T>(), AccessKind_read);
  return readAt<T>(cpu, physical);
}

function writeMaskedView<T>(cpu: i32, la: i64, mask: i64, value: T, view: i32): void {
  const entry = tlbEntry(cpu, view + 1, la);
  if (((load<i64>(entry) ^ la) as u64) < 4097 - (sizeof<T>() as u64)) {
    store<T>((la as i32) + load<i32>(entry, Tlb_addend), value);
    return;
  }
  checkCanonical(cpu, la, sizeof<T>(), Vector_gp);
  noteOperand(cpu, sizeof<T>(), (<u64>value) as i64);
  if (watching()) tellAccess(cpu, la, sizeof<T>(), AccessKind_write, (<u64>value) as i64);
  if (crosses(la, sizeof<T>())) {
    writeCrossing<T>(cpu, la, mask, value, view);
    return;
  }
  const physical = resolve(cpu, la, Access_write, view);
  if (watching()) noteAccess(cpu, la, physical, sizeof<T>(), AccessKind_write);
  writeAt<T>(cpu, physical, value);
}

/** Linear addresses of the system's own accesses have 64 bits in all of IA-32e mode. */
function systemMask(cpu: i32): i64 {
  return longMode(cpu) ? -1 : 0xffff_ffff;
}

/** Reads with an explicit privilege (`view`), without alignment check and breakpoints. */
export function readView<T>(cpu: i32, address: i64, view: i32): T {
  const mask = systemMask(cpu);
  return readMasked<T>(cpu, address & mask, mask, view);
}

/** Writes with an explicit privilege (`view`), without alignment check and breakpoints. */
export function writeView<T>(cpu: i32, address: i64, value: T, view: i32): void {
  const mask = systemMask(cpu);
  writeMaskedView<T>(cpu, address & mask, mask, value, view);
}

/** Reads as the running program, with all checks. */
export function readProgram<T>(cpu: i32, address: i64): T {
  const mask = load<i64>(cpu, Cpu_linearMask);
  const la = address & mask;
  checkWrap(cpu, la, sizeof<T>(), Vector_gp);
  if (load<i32>(cpu, Cpu_accessChecks) != 0) {
    checkCanonical(cpu, la, sizeof<T>(), Vector_gp);
    checkAccess(cpu, la, sizeof<T>(), Access_read);
  }
  return readMasked<T>(cpu, la, mask, load<i32>(cpu, Cpu_tlbView));
}

/** Writes as the running program, with all checks. */
export function writeProgram<T>(cpu: i32, address: i64, value: T): void {
  const mask = load<i64>(cpu, Cpu_linearMask);
  const la = address & mask;
  checkWrap(cpu, la, sizeof<T>(), Vector_gp);
  if (load<i32>(cpu, Cpu_accessChecks) != 0) {
    checkCanonical(cpu, la, sizeof<T>(), Vector_gp);
    checkAccess(cpu, la, sizeof<T>(), Access_write);
  }
  writeMaskedView<T>(cpu, la, mask, value, load<i32>(cpu, Cpu_tlbView));
}

export function readLinear8(cpu: i32, la: i64): i32 {
  return readProgram<u8>(cpu, la);
}
export function readLinear16(cpu: i32, la: i64): i32 {
  return readProgram<u16>(cpu, la);
}
export function readLinear32(cpu: i32, la: i64): i32 {
  return readProgram<i32>(cpu, la);
}
export function readLinear64(cpu: i32, la: i64): i64 {
  return readProgram<i64>(cpu, la);
}
export function writeLinear8(cpu: i32, la: i64, value: i32): void {
  writeProgram<u8>(cpu, la, value as u8);
}
export function writeLinear16(cpu: i32, la: i64, value: i32): void {
  writeProgram<u16>(cpu, la, value as u16);
}
export function writeLinear32(cpu: i32, la: i64, value: i32): void {
  writeProgram<i32>(cpu, la, value);
}
export function writeLinear64(cpu: i32, la: i64, value: i64): void {
  writeProgram<i64>(cpu, la, value);
}
export function readSupervisor16(cpu: i32, la: i64): i32 {
  return readView<u16>(cpu, la, Tlb_supervisorRead);
}
export function readSupervisor32(cpu: i32, la: i64): i32 {
  return readView<i32>(cpu, la, Tlb_supervisorRead);
}
export function readSupervisor64(cpu: i32, la: i64): i64 {
  return readView<i64>(cpu, la, Tlb_supervisorRead);
}
export function writeSupervisor16(cpu: i32, la: i64, value: i32): void {
  writeView<u16>(cpu, la, value as u16, Tlb_supervisorRead);
}
export function writeSupervisor32(cpu: i32, la: i64, value: i32): void {
  writeView<i32>(cpu, la, value, Tlb_supervisorRead);
}
export function writeSupervisor64(cpu: i32, la: i64, value: i64): void {
  writeView<i64>(cpu, la, value, Tlb_supervisorRead);
}

function probe(cpu: i32, address: i64, size: i32, access: i32): void {
  const mask = load<i64>(cpu, Cpu_linearMask);
  const view = load<i32>(cpu, Cpu_tlbView);
  const la = address & mask;
  checkCanonical(cpu, la, size, Vector_gp);
  checkWrap(cpu, la, size, Vector_gp);
  checkAccess(cpu, la, size, access);
  noteOperand(cpu, size, 0);
  const first = resolve(cpu, la, access, view);
  let device = isDevice(first);
  // An area (FXSAVE, XSAVE) may be as large as a page; it lies on at most two.
  if (crosses(la, size)) device = isDevice(resolve(cpu, nextPage(la, mask), access, view)) || device;
  if (device && load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
}

/** Makes sure that `size` (at most 4096) bytes can be read; changes no guest byte. */
export function probeRead(cpu: i32, la: i64, size: i32): void {
  probe(cpu, la, size, Access_read);
}

/** Makes sure that `size` (at most 4096) bytes can be written; changes no guest byte. */
export function probeWrite(cpu: i32, la: i64, size: i32): void {
  probe(cpu, la, size, Access_write);
}

/** Makes sure of a write with an explicit privilege. */
export function probeWriteView(cpu: i32, address: i64, size: i32, view: i32): void {
  const mask = systemMask(cpu);
  const la = address & mask;
  checkCanonical(cpu, la, size, Vector_gp);
  resolve(cpu, la, Access_write, view);
  if (crosses(la, size)) resolve(cpu, nextPage(la, mask), Access_write, view);
}

/** Linear-memory address of the code byte at `la`, or 0 when it is not backed by memory. Raises #PF, or #GP(0) when not canonical. */
export function translateExecute(cpu: i32, la: i64): i32 {
  checkCanonical(cpu, la, 1, Vector_gp);
  const view = load<i32>(cpu, Cpu_tlbView);
  const physical = resolve(cpu, la, Access_execute, view);
  const entry = pageEntry(physical);
  if (entry == 0) return 0;
  return ((entry & PhysicalPage_addressMask) + ((physical as u32) & 0xfff)) as i32;
}

/** One code byte from a page without backing (translateExecute gave 0). */
export function fetchDevice8(cpu: i32, la: i64): i32 {
  return readDevice<u8>(cpu, resolve(cpu, la, Access_execute, load<i32>(cpu, Cpu_tlbView)));
}

/** Physical address of `la` without side effects, or -1. */
export function translateDebug(cpu: i32, la: i64): i64 {
  if (longMode(cpu) && !isCanonical(la)) return -1;
  const translation = walkQuietly(cpu, la & systemMask(cpu));
  if (translation == Walk_none) return -1;
  return gateA20(translation & ~0xfff) | (la & 0xfff);
}

/** Before the host writes guest memory: marks the pages dirty and drops code. `physical` is not gated by A20. */
export function hostWritePrepare(physical: i64, length: i32): void {
  let at = physical;
  const end = physical + length;
  while (at < end) {
    const offset = (at as u32) & 0xfff;
    const room = 4096 - offset;
    const left = (end - at) as u64;
    const size = left < (room as u64) ? (left as u32) : room;
    const entry = pageEntry(at);
    if (entry != 0) {
      const index = backingIndex(entry & PhysicalPage_addressMask);
      markDirty(index);
      dropOverlappedCode(index, offset, size);
      if (watching()) noteHostWrite(at, size);
    }
    at += size;
  }
}

/** 32 bytes at `la` into Cpu.scratch: the slow path of a vector of 256 bits. */
export function readWide(cpu: i32, la: i64): void {
  probeRead(cpu, la, 32);
  for (let i = 0; i < 32; i += 8) store<i64>(cpu + i, readLinear64(cpu, la + i), Cpu_scratch);
}

/** 32 bytes of Cpu.scratch to `la`; all of it faults before any of it is written. */
export function writeWide(cpu: i32, la: i64): void {
  probeWrite(cpu, la, 32);
  for (let i = 0; i < 32; i += 8) writeLinear64(cpu, la + i, load<i64>(cpu + i, Cpu_scratch));
}
