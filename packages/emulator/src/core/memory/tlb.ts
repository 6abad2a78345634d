/**
 * The translation buffers. An entry of a write TLB exists only for writable memory that is marked dirty and holds no code.
 * Invariant: a linear address may be in the tables of every view at once; each was checked for its own view.
 */
import {
  Cpu_cpuIndex,
  Cpu_tlbLargeFilter,
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
  Tlb_globalBit,
  Tlb_invalidTag,
  Tlb_largeBit,
  Tlb_physicalPage,
  Tlb_smapWrite,
  Tlb_supervisorExecute,
  Tlb_supervisorWrite,
  Tlb_tableBytes,
  Tlb_tables,
  Tlb_userExecute,
  Tlb_userRead,
  Tlb_userWrite,
  cpuBlockBytes,
} from '../generated/layout';
import { Access_execute, Access_write, Walk_global, Walk_large, walk } from './paging';
import { backingIndex, codeMapAt, gateA20, markDirty, pageEntry } from './physical';

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
  if ((load<i64>(entry) ^ offset) == la) {
    return (((load<i32>(entry, Tlb_physicalPage) & frameMask) as i64) << 12) | offset;
  }
  const translation = walk(cpu, la, access, view);
  const physical = gateA20(translation & ~0xfff);
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
  store<i64>(entry, la & ~0xfff);
  store<i32>(entry, (host as i32) - ((la & ~0xfff) as i32), Tlb_addend);
  store<i32>(entry, frame, Tlb_physicalPage);
  if ((translation & Walk_global) == 0) noteFill(cpu, entry);
  return physical | offset;
}

/** The entries that have been filled since the last flush, but for global ones: a count, and addresses as far as there is room. */
function fills(cpu: i32): i32 {
  return Region_tlbFills + load<i32>(cpu, Cpu_cpuIndex) * Tlb_fillBytesPerCpu;
}

const maxFills: i32 = Tlb_fillBytesPerCpu / 4 - 1;

function noteFill(cpu: i32, entry: i32): void {
  const list = fills(cpu);
  const count = load<i32>(list);
  if (count > maxFills) return;
  store<i32>(list, count + 1);
  if (count < maxFills) store<i32>(list + 4 + (count << 2), entry);
}

/** Empties every table of a vCPU; with `keepGlobal`, only translations that are not global. */
function empty(cpu: i32, keepGlobal: bool): void {
  const end = tlbTable(cpu, Tlb_tables);
  for (let entry = tlbTable(cpu, 0); entry < end; entry += Tlb_entryBytes) {
    if (keepGlobal && (load<i32>(entry, Tlb_physicalPage) & Tlb_globalBit) != 0) continue;
    invalidate(entry);
  }
  if (!keepGlobal) store<i64>(cpu, 0, Cpu_tlbLargeFilter);
  store<i32>(fills(cpu), 0);
}

/** Forgets all translations that are not global (a write of CR3). */
export function flushTlb(cpu: i32): void {
  const list = fills(cpu);
  const count = load<i32>(list);
  if (count > maxFills) {
    empty(cpu, true);
    return;
  }
  for (let i = 0; i < count; i++) {
    const entry = load<i32>(list + 4 + (i << 2));
    if ((load<i32>(entry, Tlb_physicalPage) & Tlb_globalBit) == 0) invalidate(entry);
  }
  store<i32>(list, 0);
}

/** Forgets all translations. */
export function flushTlbAll(cpu: i32): void {
  empty(cpu, false);
}

/** INVLPG: forgets the translations of `la`, global ones too, and every part of a large page around it. */
export function invalidateTranslation(cpu: i32, la: i64): void {
  for (let table = 0; table < Tlb_tables; table++) {
    const entry = tlbEntry(cpu, table, la);
    if (load<i64>(entry) == (la & ~0xfff)) invalidate(entry);
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
