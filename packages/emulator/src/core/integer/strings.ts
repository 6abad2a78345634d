/**
 * String instructions: whole REP loops, in chunks that stay on one page of each operand. SDM Vol. 2 REP, MOVS, STOS, CMPS, SCAS,
 * LODS, INS, OUTS.
 *
 * Counting: the instruction itself is already paid for in Cpu.remaining; each iteration pays one more, and the end gives one back, so that
 * n iterations cost n, none costs one, and a fault after n iterations leaves n. Registers are written after each chunk, so a
 * fault or a stop leaves the state between two iterations. Functions answer 1 = finished, 0 = stopped, RIP stays at the instruction.
 */
import {
  Cpu_accessChecks,
  Cpu_flagAux,
  Cpu_flagResult,
  Cpu_gpr,
  Cpu_linearMask,
  Cpu_remaining,
  Cpu_segments,
  Cpu_stepMode,
  Cpu_systemFlags,
  Cpu_tlbView,
  Flag_af,
  Flag_df,
  Flag_of,
  PhysicalPage_addressMask,
  PhysicalPage_readOnly,
  RecordPrefix_rep,
  RecordPrefix_repne,
  Record_addressMask,
  Record_prefixes,
  Record_segment,
  SegmentField_base,
  SegmentField_limitMin,
  SegmentField_readEnd,
  SegmentField_writeEnd,
  Segment_es,
  Segment_fs,
  Segment_ss,
  StepMode_breakpoints,
  StepMode_trapFlag,
  segmentBytes,
} from '../generated/layout';
import { hitWatchpoint, isWatched, watching } from '../events/breakpoints';
import { segmentFault } from '../events/fault';
import { noteOperand } from '../events/hosted';
import { checkPorts, portIn, portOut, portsIn, portsOut } from '../memory/io';
import { checkCanonicalStack, probeWrite, readProgram, writeProgram } from '../memory/memory';
import { Access_read, Access_write } from '../memory/paging';
import { backingIndex, dropOverlappedCode, markDirty, pageEntry } from '../memory/physical';
import { code64 } from '../state';
import { resolve } from '../memory/tlb';

const rcx: i32 = Cpu_gpr + 8;
const rdx: i32 = Cpu_gpr + 16;
const rsi: i32 = Cpu_gpr + 48;
const rdi: i32 = Cpu_gpr + 56;
const esOffset: i32 = Cpu_segments + Segment_es * segmentBytes;
const fsOffset: i32 = Cpu_segments + Segment_fs * segmentBytes;
const ssOffset: i32 = Cpu_segments + Segment_ss * segmentBytes;
const anyRep: i32 = RecordPrefix_rep | RecordPrefix_repne;

function isRepeated(record: i32): bool {
  return ((load<u8>(record, Record_prefixes) as i32) & anyRep) != 0;
}

function addressMask(record: i32): i64 {
  return load<i64>(record, Record_addressMask);
}

/** Adds to a register with the address size: 16-bit leaves the upper part, 32-bit clears it. */
function advance(at: i32, delta: i64, mask: i64): void {
  if (mask == 0xffff) store<u16>(at, ((load<u16>(at) as i64) + delta) as u16);
  else store<i64>(at, (load<i64>(at) + delta) & mask);
}

/** Linear address of an element, after the checks of its segment. */
function elementAddress(cpu: i32, segmentOffset: i32, offset: i64, size: i32, write: bool): i64 {
  const segment = cpu + segmentOffset;
  if (code64(cpu)) {
    const la = segmentOffset >= fsOffset ? offset + load<i64>(segment, SegmentField_base) : offset;
    if (segmentOffset == ssOffset) checkCanonicalStack(cpu, la, size);
    return la;
  }
  const end = write ? load<i64>(segment, SegmentField_writeEnd) : load<i64>(segment, SegmentField_readEnd);
  if (offset < load<i64>(segment, SegmentField_limitMin) || offset + size > end)
    segmentFault(cpu, segmentOffset);
  return (load<i64>(segment, SegmentField_base) + offset) & load<i64>(cpu, Cpu_linearMask);
}

/** How many of `count` elements from `offset` on stay on the page of `la`, in the segment, and do not wrap; 0: use the single path. */
function chunk(
  cpu: i32,
  segmentOffset: i32,
  offset: i64,
  la: i64,
  size: i32,
  write: bool,
  mask: i64,
  count: i64,
): i64 {
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  const inPage = la & 0xfff;
  let room = backward ? inPage + size : 4096 - inPage;
  if (backward && inPage + size > 4096) return 0;
  const before = offset + size;
  const after = mask == -1 ? room : mask + 1 - offset;
  const unwrapped = backward ? (mask == -1 ? room : before) : after;
  if (unwrapped < room) room = unwrapped;
  if (!code64(cpu)) {
    const segment = cpu + segmentOffset;
    const end = write ? load<i64>(segment, SegmentField_writeEnd) : load<i64>(segment, SegmentField_readEnd);
    const inside = backward ? before - load<i64>(segment, SegmentField_limitMin) : end - offset;
    if (inside < room) room = inside;
  }
  const fits = room / size;
  return fits < count ? fits : count;
}

/** How many iterations may run now: up to the deadline, one when every iteration may trap. */
function allowance(cpu: i32, count: i64): i64 {
  const budget = load<i64>(cpu, Cpu_remaining) + 1;
  const allowed = budget < count ? budget : count;
  const stepped = (load<i32>(cpu, Cpu_stepMode) & (StepMode_trapFlag | StepMode_breakpoints)) != 0;
  return stepped && allowed > 1 ? 1 : allowed;
}

function pay(cpu: i32, iterations: i64): void {
  store<i64>(cpu, load<i64>(cpu, Cpu_remaining) - iterations, Cpu_remaining);
}

/** After the iterations that were allowed: gives the first one back; 1 when none is left. */
function finish(cpu: i32, record: i32, done: bool): i32 {
  pay(cpu, -1);
  return done || (load<i64>(cpu, rcx) & addressMask(record)) == 0 ? 1 : 0;
}

/** True while the loop may go on inside of this call: in step mode each iteration ends the call. */
function mayGoOn(cpu: i32): bool {
  if (load<i64>(cpu, Cpu_remaining) < 0 || hitWatchpoint()) return false;
  return (load<i32>(cpu, Cpu_stepMode) & (StepMode_trapFlag | StepMode_breakpoints)) == 0;
}

/** Linear-memory address for reading at `la`, or 0 for a device and a watched page. Raises #PF. */
function hostForRead<T>(cpu: i32, la: i64): u32 {
  noteOperand(cpu, sizeof<T>(), 0);
  const physical = resolve(cpu, la, Access_read, load<i32>(cpu, Cpu_tlbView));
  if (watching() && isWatched(la, physical)) return 0;
  const entry = pageEntry(physical);
  return entry == 0 ? 0 : (entry & PhysicalPage_addressMask) + ((physical as u32) & 0xfff);
}

/** Linear-memory address for writing [low, low + bytes) around `la` on its page, or 0 for devices, ROM and watched pages. Raises #PF. */
function hostForWrite<T>(cpu: i32, la: i64, low: i64, bytes: i64): u32 {
  noteOperand(cpu, sizeof<T>(), 0);
  const physical = resolve(cpu, la, Access_write, load<i32>(cpu, Cpu_tlbView));
  if (watching() && isWatched(la, physical)) return 0;
  const entry = pageEntry(physical);
  if (entry == 0 || (entry & PhysicalPage_readOnly) != 0) return 0;
  const page = entry & PhysicalPage_addressMask;
  const index = backingIndex(page);
  markDirty(index);
  dropOverlappedCode(index, (low as u32) & 0xfff, bytes as u32);
  return page + ((physical as u32) & 0xfff);
}

function canonicalStart(cpu: i32, la: i64): bool {
  return !code64(cpu) || (la << 16) >> 16 == la;
}

/** Copies elements as the loop would: a destination inside of the source's way sees what was just stored. */
function copyElements<T>(to: u32, from: u32, count: i32, backward: bool): void {
  const bytes = (count * sizeof<T>()) as u32;
  const step: i32 = backward ? -(sizeof<T>() as i32) : (sizeof<T>() as i32);
  const low = backward ? from + sizeof<T>() - bytes : from;
  const lowTo = backward ? to + sizeof<T>() - bytes : to;
  const overlaps = lowTo < low + bytes && low < lowTo + bytes;
  // memory.copy acts as if through a buffer: right unless a stored element is loaded again.
  const harmless = backward ? lowTo >= low : lowTo <= low;
  if (!overlaps || harmless) {
    memory.copy(lowTo, low, bytes);
    return;
  }
  for (let i = 0; i < count; i++) {
    store<T>(to, load<T>(from));
    to += step;
    from += step;
  }
}

/** One chunk of MOVS of at most `count` iterations; gives how many were done. */
function movsChunk<T>(cpu: i32, record: i32, mask: i64, count: i64): i64 {
  const size = sizeof<T>() as i32;
  const source = load<u16>(record, Record_segment) as i32;
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  const from = load<i64>(cpu, rsi) & mask;
  const to = load<i64>(cpu, rdi) & mask;
  const fromLa = elementAddress(cpu, source, from, size, false);
  let iterations: i64 = 1;
  const fast = count > 1 && load<i32>(cpu, Cpu_accessChecks) == 0;
  if (fast) {
    const toLa = elementAddress(cpu, esOffset, to, size, true);
    let n = chunk(cpu, source, from, fromLa, size, false, mask, count);
    n = chunk(cpu, esOffset, to, toLa, size, true, mask, n);
    if (n > 1 && canonicalStart(cpu, fromLa) && canonicalStart(cpu, toLa)) {
      const fromHost = hostForRead<T>(cpu, fromLa);
      const bytes = n * size;
      const toHost =
        fromHost == 0 ? 0 : hostForWrite<T>(cpu, toLa, backward ? toLa + size - bytes : toLa, bytes);
      if (toHost != 0) {
        copyElements<T>(toHost, fromHost, n as i32, backward);
        iterations = n;
      } else moveOne<T>(cpu, fromLa, to);
    } else moveOne<T>(cpu, fromLa, to);
  } else moveOne<T>(cpu, fromLa, to);
  const delta = backward ? -iterations * size : iterations * size;
  advance(cpu + rsi, delta, mask);
  advance(cpu + rdi, delta, mask);
  return iterations;
}

function moveOne<T>(cpu: i32, fromLa: i64, to: i64): void {
  const value = readProgram<T>(cpu, fromLa);
  writeProgram<T>(cpu, elementAddress(cpu, esOffset, to, sizeof<T>() as i32, true), value);
}

export function movsLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  if (!isRepeated(record)) {
    movsChunk<T>(cpu, record, mask, 1);
    return 1;
  }
  let count = load<i64>(cpu, rcx) & mask;
  if (count == 0) return 1;
  do {
    const done = movsChunk<T>(cpu, record, mask, chunkable(allowance(cpu, count)));
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
    count = load<i64>(cpu, rcx) & mask;
  } while (count != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

/** Counts are unsigned up to 64 bits; a chunk needs no more than a page. */
function chunkable(count: i64): i64 {
  return (count as u64) > 4096 ? 4096 : count;
}

function repeatsBytes<T>(value: T): bool {
  if (sizeof<T>() == 1) return true;
  const first = (value as u64) & 0xff;
  let pattern = first | (first << 8);
  if (sizeof<T>() >= 4) pattern |= pattern << 16;
  if (sizeof<T>() == 8) pattern |= pattern << 32;
  return (value as u64) == pattern;
}

function fillElements<T>(to: u32, value: T, count: i32, backward: bool): void {
  const bytes = (count * sizeof<T>()) as u32;
  let at = backward ? to + sizeof<T>() - bytes : to;
  if (repeatsBytes<T>(value)) {
    memory.fill(at, value as u8, bytes);
    return;
  }
  for (const end = at + bytes; at < end; at += sizeof<T>()) store<T>(at, value);
}

function stosChunk<T>(cpu: i32, mask: i64, count: i64): i64 {
  const size = sizeof<T>() as i32;
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  const value = load<T>(cpu, Cpu_gpr);
  const to = load<i64>(cpu, rdi) & mask;
  const la = elementAddress(cpu, esOffset, to, size, true);
  let iterations: i64 = 1;
  let host: u32 = 0;
  if (count > 1 && load<i32>(cpu, Cpu_accessChecks) == 0 && canonicalStart(cpu, la)) {
    const n = chunk(cpu, esOffset, to, la, size, true, mask, count);
    const bytes = n * size;
    if (n > 1) host = hostForWrite<T>(cpu, la, backward ? la + size - bytes : la, bytes);
    if (host != 0) {
      fillElements<T>(host, value, n as i32, backward);
      iterations = n;
    }
  }
  if (host == 0) writeProgram<T>(cpu, la, value);
  advance(cpu + rdi, backward ? -iterations * size : iterations * size, mask);
  return iterations;
}

export function stosLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  if (!isRepeated(record)) {
    stosChunk<T>(cpu, mask, 1);
    return 1;
  }
  let count = load<i64>(cpu, rcx) & mask;
  if (count == 0) return 1;
  do {
    const done = stosChunk<T>(cpu, mask, chunkable(allowance(cpu, count)));
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
    count = load<i64>(cpu, rcx) & mask;
  } while (count != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

export function lodsLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  const size = sizeof<T>() as i32;
  const source = load<u16>(record, Record_segment) as i32;
  const repeated = isRepeated(record);
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  if (repeated && (load<i64>(cpu, rcx) & mask) == 0) return 1;
  do {
    const la = elementAddress(cpu, source, load<i64>(cpu, rsi) & mask, size, false);
    const value = readProgram<T>(cpu, la);
    if (sizeof<T>() == 4) store<i64>(cpu, value as u32 as i64, Cpu_gpr);
    else store<T>(cpu, value, Cpu_gpr);
    advance(cpu + rsi, backward ? -size : size, mask);
    if (!repeated) return 1;
    advance(cpu + rcx, -1, mask);
    pay(cpu, 1);
  } while ((load<i64>(cpu, rcx) & mask) != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

/** Flags of a - b. T is signed. */
function compare<T>(cpu: i32, a: T, b: T): void {
  const bits = sizeof<T>() * 8;
  const x = a as i64;
  const y = b as i64;
  const wide = x - y;
  const result = bits == 64 ? wide : (wide << (64 - bits)) >> (64 - bits);
  const unsignedMask: u64 = bits == 64 ? <u64>-1 : ((<u64>1) << bits) - 1;
  const borrow = ((x as u64) & unsignedMask) < ((y as u64) & unsignedMask);
  const overflow = ((x ^ y) & (x ^ result)) < 0;
  let aux = ((x ^ y ^ result) as i32) & Flag_af;
  if (borrow) aux |= 1;
  if (overflow) aux |= Flag_of;
  store<i64>(cpu, result, Cpu_flagResult);
  store<i32>(cpu, aux, Cpu_flagAux);
}

/** REPE goes on while equal, REPNE while different. */
function stops(record: i32, equal: bool): bool {
  const repne = ((load<u8>(record, Record_prefixes) as i32) & RecordPrefix_repne) != 0;
  return equal == repne;
}

export function scasLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  const size = sizeof<T>() as i32;
  const repeated = isRepeated(record);
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  const step = backward ? -size : size;
  const value = load<T>(cpu, Cpu_gpr);
  if (repeated && (load<i64>(cpu, rcx) & mask) == 0) return 1;
  do {
    const offset = load<i64>(cpu, rdi) & mask;
    const la = elementAddress(cpu, esOffset, offset, size, false);
    let n: i64 = repeated ? chunkable(allowance(cpu, load<i64>(cpu, rcx) & mask)) : 1;
    if (n > 1)
      n =
        load<i32>(cpu, Cpu_accessChecks) == 0 && canonicalStart(cpu, la)
          ? chunk(cpu, esOffset, offset, la, size, false, mask, n)
          : 1;
    let host: u32 = n > 1 ? hostForRead<T>(cpu, la) : 0;
    let other: T;
    let done: i64 = 1;
    if (host == 0) other = readProgram<T>(cpu, la);
    else {
      other = load<T>(host);
      while (done < n && !stops(record, other == value)) {
        host += step;
        other = load<T>(host);
        done++;
      }
    }
    compare<T>(cpu, value, other);
    advance(cpu + rdi, step * done, mask);
    if (!repeated) return 1;
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
    if (stops(record, other == value)) return finish(cpu, record, true);
  } while ((load<i64>(cpu, rcx) & mask) != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

export function cmpsLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  const size = sizeof<T>() as i32;
  const repeated = isRepeated(record);
  const source = load<u16>(record, Record_segment) as i32;
  const backward = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0;
  const step = backward ? -size : size;
  if (repeated && (load<i64>(cpu, rcx) & mask) == 0) return 1;
  do {
    const fromOffset = load<i64>(cpu, rsi) & mask;
    const toOffset = load<i64>(cpu, rdi) & mask;
    const fromLa = elementAddress(cpu, source, fromOffset, size, false);
    let n: i64 = repeated ? chunkable(allowance(cpu, load<i64>(cpu, rcx) & mask)) : 1;
    if (load<i32>(cpu, Cpu_accessChecks) != 0 || !canonicalStart(cpu, fromLa)) n = 1;
    if (n > 1) n = chunk(cpu, source, fromOffset, fromLa, size, false, mask, n);
    let fromHost: u32 = n > 1 ? hostForRead<T>(cpu, fromLa) : 0;
    let first: T = fromHost == 0 ? readProgram<T>(cpu, fromLa) : load<T>(fromHost);
    const toLa = elementAddress(cpu, esOffset, toOffset, size, false);
    if (fromHost == 0 || !canonicalStart(cpu, toLa)) n = 1;
    if (n > 1) n = chunk(cpu, esOffset, toOffset, toLa, size, false, mask, n);
    let toHost: u32 = n > 1 ? hostForRead<T>(cpu, toLa) : 0;
    let second: T = toHost == 0 ? readProgram<T>(cpu, toLa) : load<T>(toHost);
    if (toHost == 0) n = 1;
    let done: i64 = 1;
    while (done < n && !stops(record, first == second)) {
      fromHost += step;
      toHost += step;
      first = load<T>(fromHost);
      second = load<T>(toHost);
      done++;
    }
    compare<T>(cpu, first, second);
    advance(cpu + rsi, step * done, mask);
    advance(cpu + rdi, step * done, mask);
    if (!repeated) return 1;
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
    if (stops(record, first == second)) return finish(cpu, record, true);
  } while ((load<i64>(cpu, rcx) & mask) != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

/** How many of the next iterations of INS or OUTS may go at once, from those allowed: upwards, on one page, without a look at each. */
function portChunk(
  cpu: i32,
  segmentOffset: i32,
  offset: i64,
  la: i64,
  size: i32,
  write: bool,
  mask: i64,
): i64 {
  const allowed = chunkable(allowance(cpu, load<i64>(cpu, rcx) & mask));
  if (allowed < 2 || load<i32>(cpu, Cpu_accessChecks) != 0 || !canonicalStart(cpu, la)) return 0;
  if ((load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0) return 0;
  return chunk(cpu, segmentOffset, offset, la, size, write, mask, allowed);
}

/** INS of what a device has ready; 0: one by one. */
function insChunk<T>(cpu: i32, port: i32, offset: i64, la: i64, mask: i64): i64 {
  const size = sizeof<T>() as i32;
  const count = portChunk(cpu, esOffset, offset, la, size, true, mask);
  const target = count > 1 ? hostForWrite<T>(cpu, la, la, count * size) : 0;
  return target == 0 ? 0 : portsIn(port, size, target, count as i32);
}

export function insLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  const size = sizeof<T>() as i32;
  const repeated = isRepeated(record);
  const step = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0 ? -size : size;
  const port = load<u16>(cpu, rdx) as i32;
  if (repeated && (load<i64>(cpu, rcx) & mask) == 0) return 1;
  do {
    checkPorts(cpu, port, size);
    // The destination must take the item before the device gives it up.
    const offset = load<i64>(cpu, rdi) & mask;
    const la = elementAddress(cpu, esOffset, offset, size, true);
    let done: i64 = repeated ? insChunk<T>(cpu, port, offset, la, mask) : 0;
    if (done == 0) {
      probeWrite(cpu, la, size);
      writeProgram<T>(cpu, la, portIn(cpu, port, size) as T);
      done = 1;
    }
    advance(cpu + rdi, step * done, mask);
    if (!repeated) return 1;
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
  } while ((load<i64>(cpu, rcx) & mask) != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}

/** OUTS of what a device only keeps; 0: one by one. */
function outsChunk<T>(cpu: i32, port: i32, segmentOffset: i32, offset: i64, la: i64, mask: i64): i64 {
  const size = sizeof<T>() as i32;
  const count = portChunk(cpu, segmentOffset, offset, la, size, false, mask);
  const source = count > 1 ? hostForRead<T>(cpu, la) : 0;
  return source == 0 ? 0 : portsOut(port, size, source, count as i32);
}

export function outsLoop<T>(cpu: i32, record: i32): i32 {
  const mask = addressMask(record);
  const size = sizeof<T>() as i32;
  const repeated = isRepeated(record);
  const source = load<u16>(record, Record_segment) as i32;
  const step = (load<i32>(cpu, Cpu_systemFlags) & Flag_df) != 0 ? -size : size;
  const port = load<u16>(cpu, rdx) as i32;
  if (repeated && (load<i64>(cpu, rcx) & mask) == 0) return 1;
  do {
    checkPorts(cpu, port, size);
    const offset = load<i64>(cpu, rsi) & mask;
    const la = elementAddress(cpu, source, offset, size, false);
    let done: i64 = repeated ? outsChunk<T>(cpu, port, source, offset, la, mask) : 0;
    if (done == 0) {
      portOut(cpu, port, size, readProgram<T>(cpu, la) as i32);
      done = 1;
    }
    advance(cpu + rsi, step * done, mask);
    if (!repeated) return 1;
    advance(cpu + rcx, -done, mask);
    pay(cpu, done);
  } while ((load<i64>(cpu, rcx) & mask) != 0 && mayGoOn(cpu));
  return finish(cpu, record, false);
}
