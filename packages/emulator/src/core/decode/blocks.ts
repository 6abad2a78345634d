/**
 * The cache of decoded blocks. A block is a run of records that starts at one linear-memory address in one mode and stays
 * on its page; it is found by a hash of both. Records are only ever appended to the pool; when it is full, all code
 * is dropped, which happens between blocks alone. A store into a block turns its records stale in place, so that
 * a block which overwrites itself notices at its next record.
 */
import {
  End_exit,
  decodeInstruction,
  decodedEnding,
  decodedRipRelative,
  maxInstructionBytes,
} from './decode';
import { generalProtection } from '../events/fault';
import {
  Block_changes,
  Block_codeBytes,
  Block_hashNext,
  Block_host,
  Block_key,
  Block_pageNext,
  Block_records,
  Cpu_modeKey,
  Cpu_remaining,
  Cpu_reserve,
  Cpu_rip,
  Cpu_ripMask,
  Cpu_ripPage,
  Cpu_scratch,
  Cpu_scratchRecord,
  Cpu_segments,
  Cpu_tlbExecute,
  JumpCache_bytes,
  JumpCache_entries,
  JumpCache_entry,
  JumpCache_entryBytes,
  JumpCache_host,
  JumpCache_key,
  Machine_blockHash,
  Machine_blockHashMask,
  Machine_blockHeads,
  Machine_codeChanges,
  Machine_codeGeneration,
  Machine_codeMap,
  Machine_hotThreshold,
  Machine_backingPages,
  Machine_recordPool,
  Machine_recordPoolEnd,
  Machine_recordPoolNext,
  ModeKey_code64,
  ModeKey_codeMask,
  ModeKey_flat,
  Record_block,
  Record_displacement,
  Record_fallLink,
  Record_handler,
  Record_heat,
  Record_length,
  Record_link,
  Record_pageOffset,
  Record_row,
  Record_toEnd,
  Region_jumpCache,
  Region_machine,
  SegmentField_base,
  SegmentField_limit,
  Segment_cs,
  SpecialHandler_exactly,
  SpecialHandler_exit,
  SpecialHandler_fallThrough,
  SpecialHandler_head,
  SpecialHandler_stale,
  Tlb_addend,
  Tlb_entries,
  Tlb_entryBytes,
  Tlb_tag,
  cpuBlockBytes,
  recordBytes,
  segmentBytes,
} from '../generated/layout';
import { atBreakpoint, isPlanted } from '../events/breakpoints';
import { CpuEvent, cpuEvent } from '../host';
import { fetchDevice8, translateExecute } from '../memory/memory';
import { backingIndex, codeMapAt } from '../memory/physical';
import { flushWriteTlbPage } from '../memory/tlb';

const maxBlockInstructions: i32 = 64;
const maxBlockBytes: u32 = (maxBlockInstructions + 3) * recordBytes;
const pageMask: u32 = 4095;

function machine(field: i32): u32 {
  return load<u32>(Region_machine + field);
}

function hashSlot(host: u32, key: i32): u32 {
  const hash = (host ^ (key << 24)) * 0x9e37_79b1;
  return machine(Machine_blockHash) + (((hash >> 12) & machine(Machine_blockHashMask)) << 2);
}

/** Where a block is entered: at its head record while code is translated, else at its first instruction. */
function entryOf(block: u32): u32 {
  return block + (machine(Machine_hotThreshold) != 0 ? recordBytes : 2 * recordBytes);
}

/** Makes the head record count entries from the start (again). */
function resetHead(block: u32): void {
  const head = block + recordBytes;
  store<u16>(head, SpecialHandler_head as u16, Record_handler);
  store<i64>(head, machine(Machine_hotThreshold) as i64, Record_displacement);
}

function jumpSlot(host: u32): u32 {
  return Region_jumpCache + ((host ^ (host >> 9)) & (JumpCache_entries - 1)) * JumpCache_entryBytes;
}

/** As `findCached`, for jumps: what was found last is found without a search. */
function findQuickly(host: u32, key: i32): u32 {
  const slot = jumpSlot(host);
  if (load<u32>(slot, JumpCache_host) == host && load<i32>(slot, JumpCache_key) == key)
    return load<u32>(slot, JumpCache_entry);
  const entry = findCached(host, key);
  if (entry != 0) {
    store<u32>(slot, host, JumpCache_host);
    store<i32>(slot, key, JumpCache_key);
    store<u32>(slot, entry, JumpCache_entry);
  }
  return entry;
}

function findCached(host: u32, key: i32): u32 {
  let block = load<u32>(hashSlot(host, key));
  while (block != 0) {
    if (load<u32>(block, Block_host) == host && load<i32>(block, Block_key) == key) return entryOf(block);
    block = load<u32>(block, Block_hashNext);
  }
  return 0;
}

/** Drops all decoded code. No record may be in use. */
export function dropAllCode(): void {
  const pages = machine(Machine_backingPages);
  memory.fill(machine(Machine_blockHash), 0, (machine(Machine_blockHashMask) + 1) << 2);
  memory.fill(Region_jumpCache, 0, JumpCache_bytes);
  memory.fill(machine(Machine_blockHeads), 0, pages << 2);
  memory.fill(machine(Machine_codeMap), 0, pages << 3);
  store<u32>(Region_machine, machine(Machine_recordPool), Machine_recordPoolNext);
  store<u32>(Region_machine, machine(Machine_codeGeneration) + 1, Machine_codeGeneration);
}

function finishRecord(rec: u32, pageOffset: u32, length: i32): void {
  store<u16>(rec, pageOffset as u16, Record_pageOffset);
  if (decodedRipRelative())
    store<i64>(rec, load<i64>(rec, Record_displacement) + pageOffset + length, Record_displacement);
}

function terminate(rec: u32, pageOffset: u32, handler: i32): void {
  memory.fill(rec, 0, recordBytes);
  store<u16>(rec, handler as u16, Record_handler);
  store<u16>(rec, pageOffset as u16, Record_pageOffset);
  store<u16>(rec, 0xffff, Record_row);
}

/** Decodes a block at `host`; 0 when its first instruction goes over the page's end or the pool is full. */
function build(host: u32, key: i32): u32 {
  const header = machine(Machine_recordPoolNext);
  if (header + maxBlockBytes > machine(Machine_recordPoolEnd)) return 0;
  const pageEnd = (host | pageMask) + 1;
  const first = header + 2 * recordBytes;
  let rec = first;
  let at = host;
  let count = 0;
  let ending = 0;
  while (count < maxBlockInstructions && at < pageEnd && ending == 0) {
    const length = decodeInstruction(at, pageEnd, key, rec);
    if (length == 0) break;
    finishRecord(rec, at & pageMask, length);
    store<u32>(rec, header, Record_block);
    if (isPlanted(at)) store<u16>(rec, SpecialHandler_exactly as u16, Record_handler);
    ending = decodedEnding();
    at += length;
    rec += recordBytes;
    count++;
  }
  if (count == 0) return 0;
  for (let i = 0; i < count; i++) store<u8>(first + i * recordBytes, (count - i) as u8, Record_toEnd);
  // A terminator's offset may be 4096: the first byte of the next page.
  terminate(
    rec,
    at - (host & ~pageMask),
    ending == End_exit ? SpecialHandler_exit : SpecialHandler_fallThrough,
  );
  store<u32>(rec, header, Record_block);
  rec += recordBytes;
  store<u32>(Region_machine, rec, Machine_recordPoolNext);
  terminate(first - recordBytes, host & pageMask, SpecialHandler_head);
  store<u8>(first - recordBytes, count as u8, Record_toEnd);
  store<u32>(first - recordBytes, header, Record_block);
  enter(header, host, key, count + 2, at - host);
  resetHead(header);
  return entryOf(header);
}

/** Enters a finished block into the hash, the list of its page and the code map. */
function enter(header: u32, host: u32, key: i32, records: i32, codeBytes: u32): void {
  memory.fill(header, 0, recordBytes);
  store<u32>(header, host, Block_host);
  store<i32>(header, key, Block_key);
  store<i32>(header, records, Block_records);
  store<u32>(header, codeBytes, Block_codeBytes);
  const slot = hashSlot(host, key);
  store<u32>(header, load<u32>(slot), Block_hashNext);
  store<u32>(slot, header);
  const index = backingIndex(host & ~pageMask);
  const head = machine(Machine_blockHeads) + (index << 2);
  store<u32>(header, load<u32>(head), Block_pageNext);
  store<u32>(head, header);
  const map = codeMapAt(index);
  const before = load<u64>(map);
  store<u64>(map, before | granules(host & pageMask, codeBytes));
  if (before == 0) flushWriteTlbPage(host & ~pageMask);
}

/** Bits of the 64-byte granules that [offset, offset + size) touches. */
function granules(offset: u32, size: u32): u64 {
  const first = offset >> 6;
  const last = (offset + size - 1) >> 6;
  const through: u64 = last >= 63 ? <u64>-1 : ((<u64>1) << (last + 1)) - 1;
  return through & ~(((<u64>1) << first) - 1);
}

function unhash(block: u32): void {
  const jump = jumpSlot(load<u32>(block, Block_host));
  if (load<u32>(jump, JumpCache_entry) == entryOf(block)) store<u32>(jump, 0, JumpCache_host);
  let link = hashSlot(load<u32>(block, Block_host), load<i32>(block, Block_key));
  while (load<u32>(link) != block) link = load<u32>(link) + Block_hashNext;
  store<u32>(link, load<u32>(block, Block_hashNext));
}

/** Drops the blocks that overlap bytes [offset, offset + size) of a backing page; SDM Vol. 3A 11.6, self-modifying code. */
export function invalidateCode(index: u32, offset: u32, size: u32): void {
  store<u32>(Region_machine, machine(Machine_codeChanges) + 1, Machine_codeChanges);
  let link = machine(Machine_blockHeads) + (index << 2);
  let map: u64 = 0;
  let block = load<u32>(link);
  while (block != 0) {
    const next = load<u32>(block, Block_pageNext);
    const from = load<u32>(block, Block_host) & pageMask;
    const codeBytes = load<u32>(block, Block_codeBytes);
    if (from < offset + size && offset < from + codeBytes) {
      store<u32>(link, next);
      unhash(block);
      change(block);
      const records = load<i32>(block, Block_records);
      for (let i = 1; i <= records; i++)
        store<u16>(block + i * recordBytes, SpecialHandler_stale as u16, Record_handler);
    } else {
      map |= granules(from, codeBytes);
      link = block + Block_pageNext;
    }
    block = next;
  }
  store<u64>(codeMapAt(index), map);
  // A translated region may hold code of any block of its page.
  for (
    block = load<u32>(machine(Machine_blockHeads) + (index << 2));
    block != 0;
    block = load<u32>(block, Block_pageNext)
  ) {
    resetHead(block);
    change(block);
  }
}

/** Regions of other pages look at this when they enter the page. */
function change(block: u32): void {
  store<u32>(block, load<u32>(block, Block_changes) + 1, Block_changes);
}

/** The instruction at `la`, one that lies on two pages or on a device, alone in the scratch record. */
function gather(cpu: i32, la: i64, key: i32): u32 {
  const buffer = (cpu + Cpu_scratch) as u32;
  let available: u32 = 0;
  let length = 0;
  const rec = (cpu + Cpu_scratchRecord) as u32;
  while (length == 0) {
    const at = la + available;
    const host = translateExecute(cpu, at) as u32;
    store<u8>(buffer + available, host == 0 ? (fetchDevice8(cpu, at) as u8) : load<u8>(host));
    available++;
    // The limit of what is read grows byte by byte, so that no byte behind the instruction is touched.
    length = decodeInstruction(buffer, buffer + available, key, rec);
    if (available > <u32>maxInstructionBytes) break;
  }
  return finishSingle(cpu, (la as u32) & pageMask, length);
}

function finishSingle(cpu: i32, pageOffset: u32, length: i32): u32 {
  const rec = (cpu + Cpu_scratchRecord) as u32;
  finishRecord(rec, pageOffset, length);
  store<u8>(rec, 1, Record_toEnd);
  terminate(rec + recordBytes, pageOffset + length, SpecialHandler_exit);
  return rec;
}

/** Linear address of Cpu.rip; sets ripPage. */
function linearRip(cpu: i32, key: i32): i64 {
  const rip = load<i64>(cpu, Cpu_rip) & load<i64>(cpu, Cpu_ripMask);
  store<i64>(cpu, rip, Cpu_rip);
  let la = rip;
  if ((key & ModeKey_codeMask) != ModeKey_code64)
    la = (rip + load<i64>(cpu + Cpu_segments + Segment_cs * segmentBytes, SegmentField_base)) & 0xffff_ffff;
  store<i64>(cpu, rip - (la & 0xfff), Cpu_ripPage);
  return la;
}

function codeHost(cpu: i32, la: i64): u32 {
  const entry = load<u32>(cpu, Cpu_tlbExecute) + (((la as u32) >> 12) & (Tlb_entries - 1)) * Tlb_entryBytes;
  if ((load<u64>(entry, Tlb_tag) ^ (la as u64)) < 4096) return load<u32>(entry, Tlb_addend) + (la as u32);
  return translateExecute(cpu, la) as u32;
}

/** #GP(0) when bytes [rip, rip + bytes) go over the limit of CS. */
function insideLimit(cpu: i32, bytes: i64): bool {
  return (
    load<i64>(cpu, Cpu_rip) + bytes - 1 <=
    (load<u32>(cpu + Cpu_segments + Segment_cs * segmentBytes, SegmentField_limit) as i64)
  );
}

/** First record of the block at Cpu.rip, decoded when needed; may raise a fault. The run loop calls it between blocks. */
export function findBlock(cpu: i32): u32 {
  const key = load<i32>(cpu, Cpu_modeKey);
  const la = linearRip(cpu, key);
  const host = codeHost(cpu, la);
  if (host == 0) return stopping(cpu, checkedGather(cpu, la, key));
  let rec = findQuickly(host, key);
  if (rec == 0) {
    if (machine(Machine_recordPoolNext) + maxBlockBytes > machine(Machine_recordPoolEnd)) dropAllCode();
    rec = build(host, key);
    if (rec == 0) return stopping(cpu, checkedGather(cpu, la, key));
  }
  if (
    (key & (ModeKey_flat | ModeKey_code64)) == 0 &&
    !insideLimit(cpu, load<u32>(load<u32>(rec, Record_block), Block_codeBytes) as i64)
  )
    return stopping(cpu, checkedGather(cpu, la, key));
  countEntry(rec);
  return rec;
}

/** An instruction in the scratch record is planted when a breakpoint lies on it. */
function stopping(cpu: i32, rec: u32): u32 {
  if (atBreakpoint(cpu) != 0) store<u16>(rec, SpecialHandler_exactly as u16, Record_handler);
  return rec;
}

/** Control comes from another page or through a register or the stack: a good place to enter translated code. */
function countEntry(entry: u32): void {
  if (machine(Machine_hotThreshold) == 0) return;
  store<u32>(entry, load<u32>(entry, Record_heat) + 1, Record_heat);
}

function checkedGather(cpu: i32, la: i64, key: i32): u32 {
  const narrow = (key & (ModeKey_flat | ModeKey_code64)) == 0;
  if (narrow && !insideLimit(cpu, 1)) generalProtection(cpu, 0);
  const rec = gather(cpu, la, key);
  if (narrow && !insideLimit(cpu, load<u8>(rec, Record_length) as i64)) generalProtection(cpu, 0);
  return rec;
}

/** The instruction at Cpu.rip alone, in the scratch record: for single steps and exact device accesses. May raise a fault. */
export function findInstruction(cpu: i32): u32 {
  const key = load<i32>(cpu, Cpu_modeKey);
  const la = linearRip(cpu, key);
  const host = codeHost(cpu, la);
  const narrow = (key & (ModeKey_flat | ModeKey_code64)) == 0;
  if (host == 0 || narrow) return checkedGather(cpu, la, key);
  const length = decodeInstruction(host, (host | pageMask) + 1, key, cpu + Cpu_scratchRecord);
  if (length == 0) return checkedGather(cpu, la, key);
  return finishSingle(cpu, host & pageMask, length);
}

/**
 * Record to go on with at Cpu.rip when its page is in the TLB and its block is decoded, paid for; else 0: the run loop finds it.
 * Never faults. Like a link, it goes on without the checks between blocks: nothing that asks for one ends in a near jump.
 */
export function followJump(cpu: i32): u32 {
  const key = load<i32>(cpu, Cpu_modeKey);
  if ((key & (ModeKey_flat | ModeKey_code64)) == 0) return 0;
  const la = linearRip(cpu, key);
  const entry = load<u32>(cpu, Cpu_tlbExecute) + (((la as u32) >> 12) & (Tlb_entries - 1)) * Tlb_entryBytes;
  if ((load<u64>(entry, Tlb_tag) ^ (la as u64)) >= 4096) return 0;
  const target = findQuickly(load<u32>(entry, Tlb_addend) + (la as u32), key);
  if (target != 0) countEntry(target);
  return enterPaid(cpu, target);
}

/** As `followJump`, for the interpreter behind the near jump at `rec`; 0 for an instruction that is executed alone. */
export function followNear(cpu: i32, rec: u32): u32 {
  return isAlone(cpu, rec) ? 0 : followJump(cpu);
}

/** Whether a record is not in a block, but the vCPU's own one. */
function isAlone(cpu: i32, rec: u32): bool {
  return rec - (cpu as u32) < <u32>cpuBlockBytes;
}

/**
 * The entry record, its block paid for; 0 when there is none or the budget ends before. A look at the host that is near happens here and now: the
 * processor is between two instructions, and goes on at an entry.
 */
function enterPaid(cpu: i32, target: u32): u32 {
  if (target == 0) return 0;
  const paid = load<u8>(target, Record_toEnd) as i64;
  let left = load<i64>(cpu, Cpu_remaining) - paid;
  const reserve = load<i64>(cpu, Cpu_reserve);
  if (reserve != 0 && left < reserve) {
    cpuEvent(cpu, CpuEvent.look);
    left = load<i64>(cpu, Cpu_remaining) - paid;
  }
  if (left < 0) return 0;
  store<i64>(cpu, left, Cpu_remaining);
  return target;
}

/**
 * Record to go on with after a direct jump (taken 1) or at the end of a block (taken 0), RIP being set: linked when it lies on the same page.
 * 0: the run loop goes on at RIP. Never faults.
 */
export function linkJump(cpu: i32, rec: u32, taken: i32): u32 {
  const key = load<i32>(cpu, Cpu_modeKey);
  if ((key & (ModeKey_flat | ModeKey_code64)) == 0 || isAlone(cpu, rec)) return 0;
  const rip = load<i64>(cpu, Cpu_rip) & load<i64>(cpu, Cpu_ripMask);
  const offset = rip - load<i64>(cpu, Cpu_ripPage);
  if ((offset as u64) >= 4096) return followJump(cpu);
  if (load<u16>(rec, Record_handler) == SpecialHandler_stale) return 0;
  const host = (load<u32>(load<u32>(rec, Record_block), Block_host) & ~pageMask) + (offset as u32);
  let target = findCached(host, key);
  if (target == 0) target = build(host, key);
  if (target == 0) return 0;
  if (offset > (load<u16>(rec, Record_pageOffset) as i64)) target = withoutCount(target);
  if (taken != 0) store<u32>(rec, target, Record_link);
  else store<u32>(rec, target, Record_fallLink);
  return enterPaid(cpu, target);
}

/**
 * The first instruction of a block that is entered at its head record, unless it has been translated. A jump forward need not count: every cycle has a
 * jump back, or a call or return that is found by followJump.
 */
function withoutCount(entry: u32): u32 {
  return load<u16>(entry, Record_handler) == SpecialHandler_head ? entry + recordBytes : entry;
}

/** First instruction's record of the decoded block at a linear-memory address; 0 when there is none. For the translator. */
export function blockAt(host: u32, key: i32): u32 {
  const entry = findCached(host, key);
  return entry == 0 ? 0 : load<u32>(entry, Record_block) + 2 * recordBytes;
}

/** For tests: decodes bytes at `source`; length, 0 when more than `available` bytes are needed, -1 when undefined or too long. */
export function decodeOnly(cpu: i32, source: u32, available: i32, key: i32): i32 {
  const rec = (cpu + Cpu_scratchRecord) as u32;
  const length = decodeInstruction(source, source + available, key, rec);
  return length != 0 && load<u16>(rec, Record_row) == 0xffff ? -1 : length;
}
