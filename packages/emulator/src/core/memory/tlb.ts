/**
 * The translation buffers. An entry of a write TLB exists only for writable memory that is marked dirty and holds no code.
 * Invariant: a linear address may be in the tables of every view at once; each was checked for its own view.
 */
import {
  Cpu_cpuIndex,
  Cpu_tlbLargeFilter,
  HostDuty_pages,
  Machine_backingPages,
  Machine_cpuCount,
  Machine_dirtyBitmap,
  PhysicalPage_addressMask,
  PhysicalPage_readOnly,
  Region_cpuBlocks,
  Region_machine,
  Region_tlbFills,
  Region_tlbs,
  Tlb_addend,
  Tlb_bytesPerCpu,
  Tlb_empty,
  Tlb_entries,
  Tlb_entryBytes,
  Tlb_fillBytesPerCpu,
  Tlb_fills,
  Tlb_fillsMax,
  Tlb_globalFills,
  Tlb_globalFillsMax,
  Tlb_readOnlyFills,
  Tlb_readOnlyFillsMax,
  Tlb_globalBit,
  Tlb_invalidTag,
  Tlb_largeBit,
  Tlb_physicalPage,
  Tlb_smapRead,
  Tlb_smapWrite,
  Tlb_supervisorExecute,
  Tlb_supervisorRead,
  Tlb_supervisorWrite,
  Tlb_tableBytes,
  Tlb_tables,
  Tlb_userExecute,
  Tlb_userRead,
  Tlb_userWrite,
  Tlb_watchedBit,
  cpuBlockBytes,
} from '../generated/layout';
import { isWatched, plantPage, replant } from '../events/breakpoints';
import { hostHas, hostPage } from '../events/hosted';
import { Access_execute, Access_write, Walk_global, Walk_large, Walk_readOnly, walk } from './paging';
import { backingIndex, codeMapAt, gateA20, isDirty, markDirty, pageEntry } from './physical';

const frameMask: i32 = ~(Tlb_globalBit | Tlb_largeBit);

/** Address of table number `table` of a vCPU. */
export function tlbTable(cpu: i32, table: i32): i32 {
  return Region_tlbs + load<i32>(cpu, Cpu_cpuIndex) * Tlb_bytesPerCpu + table * Tlb_tableBytes;
}

/** Address of the entry for linear address `la` in a table. */
export function tlbEntry(cpu: i32, table: i32, la: i64): i32 {
  return tlbTable(cpu, table) + ((((la as i32) >>> 12) & (Tlb_entries - 1)) << 4);
}

/**
 * Makes an entry match nothing. Tags are compared above bit 11 only, and a program can name any 64-bit address, so the tag must belong
 * to another entry of the table: Tlb.invalidTag does everywhere but in entry 0.
 */
function invalidate(entry: i32): void {
  const first = (entry & (Tlb_tableBytes - 1)) == 0;
  store<i64>(entry, first ? Tlb_invalidTag | 0x1000 : Tlb_invalidTag);
}

/** Number of the table for an access in a view. */
function tableOf(view: i32, access: i32): i32 {
  if (access == Access_execute) return view == Tlb_userRead ? Tlb_userExecute : Tlb_supervisorExecute;
  return view + access;
}

/**
 * Physical address (A20 applied) of `la` for an access, by TLB or page walk; enters the translation into the TLB where
 * that is allowed. Raises #PF. For writes the page is marked dirty.
 */
export function resolve(cpu: i32, la: i64, access: i32, view: i32): i64 {
  const entry = tlbEntry(cpu, tableOf(view, access), la);
  const offset = la & 0xfff;
  const tag = load<i64>(entry) ^ offset;
  if (tag == la || tag == (la ^ Tlb_watchedBit)) {
    if (tag != la && access == Access_write) writeKept(entry, la);
    return (((load<i32>(entry, Tlb_physicalPage) & frameMask) as i64) << 12) | offset;
  }
  const translation = walk(cpu, la, access, view);
  let physical = gateA20(translation & ~0xfff);
  if (hostHas(HostDuty_pages)) physical = hostPage(cpu, la, physical, access);
  const page = pageEntry(physical);
  if (page == 0) return physical | offset;
  const host = page & PhysicalPage_addressMask;
  if (access == Access_write) {
    if ((page & PhysicalPage_readOnly) != 0) return physical | offset;
    const index = backingIndex(host);
    markDirty(index);
    if (load<u64>(codeMapAt(index)) != 0) return physical | offset;
  }
  let frame = (physical >> 12) as i32;
  if ((translation & Walk_global) != 0) frame |= Tlb_globalBit;
  if ((translation & Walk_large) != 0) {
    frame |= Tlb_largeBit;
    store<i64>(cpu, load<i64>(cpu, Cpu_tlbLargeFilter) | ((<i64>1) << ((la >> 30) & 63)), Cpu_tlbLargeFilter);
  }
  fill(entry, la & ~0xfff, host, frame, access != Access_execute && isWatched(la, physical));
  if (access == Access_execute) plantPage(la, host);
  if ((translation & Walk_global) == 0) note(cpu, Tlb_fills, Tlb_fillsMax, entry);
  else note(cpu, Tlb_globalFills, Tlb_globalFillsMax, entry);
  if ((translation & Walk_readOnly) != 0) note(cpu, Tlb_readOnlyFills, Tlb_readOnlyFillsMax, entry);
  return physical | offset;
}

/** The addend of a watched page's entry gives its host page from its tag, as everywhere: who drops entries by host page finds it. */
function fill(entry: i32, page: i64, host: u32, frame: i32, watched: bool): void {
  const tag = watched ? page ^ Tlb_watchedBit : page;
  store<i64>(entry, tag);
  store<i32>(entry, (host as i32) - (tag as i32), Tlb_addend);
  store<i32>(entry, frame, Tlb_physicalPage);
}

/** A write by an entry that misses on purpose: marks the page, and lets further writes hit unless the page is watched or holds code. */
function writeKept(entry: i32, la: i64): void {
  const host = load<u32>(entry) + load<u32>(entry, Tlb_addend);
  const index = backingIndex(host);
  markDirty(index);
  const frame = load<i32>(entry, Tlb_physicalPage);
  const isOpen = load<u64>(codeMapAt(index)) == 0 && !isWatched(la, ((frame & frameMask) as i64) << 12);
  if (isOpen) fill(entry, la & ~0xfff, host, frame, false);
}

/** After a debugger changed its lists: entries for reads and writes miss, or match again, as the watchpoints say. Translations stay. */
function watchTable(table: i32, writes: bool): void {
  for (let i = 0; i < Tlb_entries; i++) {
    const entry = table + i * Tlb_entryBytes;
    const tag = load<i64>(entry);
    if ((tag & 1) != 0) continue;
    const page = (((tag as i32) >>> 12) & (Tlb_entries - 1)) == i ? tag : tag ^ Tlb_watchedBit;
    const frame = load<i32>(entry, Tlb_physicalPage);
    const host = (tag as u32) + load<u32>(entry, Tlb_addend);
    const index = backingIndex(host);
    const isKept = writes && (!isDirty(index) || load<u64>(codeMapAt(index)) != 0);
    fill(entry, page, host, frame, isKept || isWatched(page, ((frame & frameMask) as i64) << 12));
  }
}

function plantTable(table: i32): void {
  for (let i = 0; i < Tlb_entries; i++) {
    const entry = table + i * Tlb_entryBytes;
    const tag = load<i64>(entry);
    if ((tag & 1) == 0) plantPage(tag, (tag as u32) + load<u32>(entry, Tlb_addend));
  }
}

/** Breakpoints in pages whose translations are known: the next fill would plant them only when these are forgotten. */
export function plantAll(): void {
  const count = load<i32>(Region_machine, Machine_cpuCount);
  for (let i = 0; i < count; i++) {
    const cpu = Region_cpuBlocks + i * cpuBlockBytes;
    plantTable(tlbTable(cpu, Tlb_supervisorExecute));
    plantTable(tlbTable(cpu, Tlb_userExecute));
  }
}

/** The host has changed the lists of Debug. Forgets no translation: that could change what the guest sees. */
export function debugChanged(): void {
  replant();
  const count = load<i32>(Region_machine, Machine_cpuCount);
  for (let i = 0; i < count; i++) {
    const cpu = Region_cpuBlocks + i * cpuBlockBytes;
    watchTable(tlbTable(cpu, Tlb_supervisorRead), false);
    watchTable(tlbTable(cpu, Tlb_userRead), false);
    watchTable(tlbTable(cpu, Tlb_smapRead), false);
    watchWrites(cpu);
  }
}

function watchWrites(cpu: i32): void {
  watchTable(tlbTable(cpu, Tlb_supervisorWrite), true);
  watchTable(tlbTable(cpu, Tlb_userWrite), true);
  watchTable(tlbTable(cpu, Tlb_smapWrite), true);
}

/** Takes all dirty marks back, as `beginDirtyInterval` does, but forgets no translation: the guest can't notice. */
export function clearDirty(): void {
  const bytes = (load<u32>(Region_machine, Machine_backingPages) + 7) >> 3;
  memory.fill(load<u32>(Region_machine, Machine_dirtyBitmap), 0, bytes);
  const count = load<i32>(Region_machine, Machine_cpuCount);
  for (let i = 0; i < count; i++) watchWrites(Region_cpuBlocks + i * cpuBlockBytes);
}

/** Address of one of the lists of filled entries. */
function fillList(cpu: i32, list: i32): i32 {
  return Region_tlbFills + load<i32>(cpu, Cpu_cpuIndex) * Tlb_fillBytesPerCpu + list;
}

function note(cpu: i32, list: i32, max: i32, entry: i32): void {
  const at = fillList(cpu, list);
  const count = load<i32>(at);
  if (count > max) return;
  store<i32>(at, count + 1);
  if (count < max) store<i32>(at + 4 + (count << 2), entry);
}

/** Invalidates the entries of a list, and empties it; with `keepGlobal`, not those that hold a global translation by now. */
function invalidateListed(cpu: i32, list: i32, keepGlobal: bool): void {
  const at = fillList(cpu, list);
  const count = load<i32>(at);
  for (let i = 0; i < count; i++) {
    const entry = load<i32>(at + 4 + (i << 2));
    if (!keepGlobal || (load<i32>(entry, Tlb_physicalPage) & Tlb_globalBit) == 0) invalidate(entry);
  }
  store<i32>(at, 0);
}

/** Empties every table of a vCPU; with `keepGlobal`, only translations that are not global. */
function empty(cpu: i32, keepGlobal: bool): void {
  const end = tlbTable(cpu, Tlb_tables);
  for (let entry = tlbTable(cpu, 0); entry < end; entry += Tlb_entryBytes) {
    if (keepGlobal && (load<i32>(entry, Tlb_physicalPage) & Tlb_globalBit) != 0) continue;
    invalidate(entry);
  }
}

/** Forgets all translations that are not global (a write of CR3). */
export function flushTlb(cpu: i32): void {
  if (load<i32>(fillList(cpu, Tlb_fills)) <= Tlb_fillsMax) {
    invalidateListed(cpu, Tlb_fills, true);
    return;
  }
  empty(cpu, true);
  store<i32>(fillList(cpu, Tlb_fills), 0);
}

/** Forgets all translations (a change of CR4.PGE, say): those listed, where the lists know of all. */
export function flushTlbAll(cpu: i32): void {
  const fills = fillList(cpu, Tlb_fills);
  const globalFills = fillList(cpu, Tlb_globalFills);
  if (load<i32>(fills) <= Tlb_fillsMax && load<i32>(globalFills) <= Tlb_globalFillsMax) {
    invalidateListed(cpu, Tlb_fills, false);
    invalidateListed(cpu, Tlb_globalFills, false);
  } else {
    empty(cpu, false);
    store<i32>(fills, 0);
    store<i32>(globalFills, 0);
  }
  store<i32>(fillList(cpu, Tlb_readOnlyFills), 0);
  store<i64>(cpu, 0, Cpu_tlbLargeFilter);
}

/** Empties every table and list, whatever they hold: a new processor's memory. */
export function resetTlb(cpu: i32): void {
  empty(cpu, false);
  store<i32>(fillList(cpu, Tlb_fills), 0);
  store<i32>(fillList(cpu, Tlb_globalFills), 0);
  store<i32>(fillList(cpu, Tlb_readOnlyFills), 0);
  store<i64>(cpu, 0, Cpu_tlbLargeFilter);
}

/**
 * CR0.WP was set: forgets what a supervisor might write only without it. The other translations stay, as on processors; WP belongs to the
 * access, not to the translation (SDM Vol. 3A 4.6, 4.10.4.1).
 */
export function protectReadOnly(cpu: i32): void {
  if (load<i32>(fillList(cpu, Tlb_readOnlyFills)) <= Tlb_readOnlyFillsMax)
    invalidateListed(cpu, Tlb_readOnlyFills, false);
  else flushTlbAll(cpu);
}

/** INVLPG: forgets the translations of `la`, global ones too, and every part of a large page around it. */
export function invalidateTranslation(cpu: i32, la: i64): void {
  for (let table = 0; table < Tlb_tables; table++) {
    const entry = tlbEntry(cpu, table, la);
    const tag = load<i64>(entry);
    if (tag == (la & ~0xfff) || tag == ((la & ~0xfff) ^ Tlb_watchedBit)) invalidate(entry);
  }
  // The largest pages have 1 GiB, which is the unit of the filter.
  if (((load<i64>(cpu, Cpu_tlbLargeFilter) >> ((la >> 30) & 63)) & 1) == 0) return;
  const end = tlbTable(cpu, Tlb_tables);
  for (let entry = tlbTable(cpu, 0); entry < end; entry += Tlb_entryBytes) {
    if ((load<i32>(entry, Tlb_physicalPage) & Tlb_largeBit) == 0) continue;
    if (((load<i64>(entry) ^ la) as u64) >> 30 == 0) invalidate(entry);
  }
}

function dropWriteEntries(table: i32, page: u32): void {
  for (let i = 0; i < Tlb_entries; i++) {
    const entry = table + i * Tlb_entryBytes;
    const tag = load<i64>(entry);
    if ((tag & 1) != 0) continue;
    if (page == 0 || (tag as u32) + load<u32>(entry, Tlb_addend) == page) invalidate(entry);
  }
}

/** Removes a backing page (its linear-memory address; 0 = all) from the write TLBs of every vCPU. */
export function flushWriteTlbPage(page: u32): void {
  const count = load<i32>(Region_machine, Machine_cpuCount);
  for (let i = 0; i < count; i++) {
    const cpu = Region_cpuBlocks + i * cpuBlockBytes;
    dropWriteEntries(tlbTable(cpu, Tlb_supervisorWrite), page);
    dropWriteEntries(tlbTable(cpu, Tlb_userWrite), page);
    dropWriteEntries(tlbTable(cpu, Tlb_smapWrite), page);
  }
}

/** Starts a checkpoint interval: no page is dirty. */
export function beginDirtyInterval(): void {
  const bytes = (load<u32>(Region_machine, Machine_backingPages) + 7) >> 3;
  memory.fill(load<u32>(Region_machine, Machine_dirtyBitmap), 0, bytes);
  flushWriteTlbPage(0);
}

/** The table that never holds an entry. */
export function emptyTable(cpu: i32): i32 {
  return tlbTable(cpu, Tlb_empty);
}
