/**
 * From instruction bytes to a record (layout.ts, Record), driven by the decode tables. SDM Vol. 2A chapter 2: prefixes,
 * opcode maps, ModRM and SIB, displacement, immediate; at most 15 bytes. 2.3: VEX prefixes.
 */
import {
  CandidateFlag_b0,
  CandidateFlag_branch,
  CandidateFlag_default64,
  CandidateFlag_exit,
  CandidateFlag_force64,
  CandidateFlag_hasModrm,
  CandidateFlag_l0,
  CandidateFlag_l1,
  CandidateFlag_lock,
  CandidateFlag_memoryForms,
  CandidateFlag_modrmFixed,
  CandidateFlag_no64,
  CandidateFlag_only64,
  CandidateFlag_sizeVaries,
  CandidateFlag_string,
  CandidateFlag_vectorSize,
  CandidateFlag_vsib,
  CandidateFlag_vvvvGpr,
  CandidateFlag_vvvvVector,
  CandidateFlag_w0,
  CandidateFlag_w1,
  Candidate_bytes,
  Candidate_digit,
  Candidate_flags,
  Candidate_form,
  Candidate_handler,
  Candidate_immediate,
  Candidate_modrm,
  Candidate_prefix,
  Candidate_regFile,
  Candidate_row,
  Candidate_sizes,
  Cpu_segments,
  ModeKey_code16,
  ModeKey_code64,
  ModeKey_codeMask,
  RecordPrefix_lock,
  RecordPrefix_rep,
  RecordPrefix_repne,
  RecordPrefix_rex,
  Record_addressBytes,
  Record_addressMask,
  Record_handler,
  Record_length,
  Record_operandBytes,
  Record_prefixes,
  Record_row,
  Record_segment,
  Region_decodeTables,
  Segment_ds,
  SpecialHandler_tooLong,
  SpecialHandler_undefined,
  segmentBytes,
} from '../generated/layout';
import { fetch, Instruction, scanPrefixes } from './instruction';
import {
  decodeImmediate,
  decodeOperands,
  decodeVexOperands,
  isGather,
  memoryForm,
  registerExists,
} from './operands';

export const maxInstructionBytes: i32 = 15;

/** How the decoded instruction ends its block. */
export const End_none: i32 = 0;
export const End_exit: i32 = 1;
export const End_branch: i32 = 2;

/** End_… of the last decoded instruction. */
export function decodedEnding(): i32 {
  return Instruction.ending;
}

/** Operand size by prefixes and mode, fitted to the sizes that the row has. */
function operandSize(flags: i32, sizes: i32): i32 {
  if ((flags & CandidateFlag_sizeVaries) == 0) return sizes;
  if ((flags & CandidateFlag_vectorSize) != 0) return Instruction.vexL ? 32 : 16;
  const mode = Instruction.key & ModeKey_codeMask;
  let size: i32;
  if (mode == ModeKey_code64) {
    if ((flags & CandidateFlag_force64) != 0 || (Instruction.rex & 8) != 0) size = 8;
    else if (Instruction.operandPrefix) size = 2;
    else size = (flags & CandidateFlag_default64) != 0 ? 8 : 4;
  } else size = (mode == ModeKey_code16) != Instruction.operandPrefix ? 2 : 4;
  if ((sizes & size) != 0) return size;
  if (size == 2 && (sizes & 4) != 0) return 4;
  if (size == 8 && (sizes & 4) != 0) return 4;
  if (size == 4 && (sizes & 8) != 0 && mode == ModeKey_code64) return 8;
  return (sizes & 2) != 0 ? 2 : sizes;
}

/** The prefix that chooses among instructions, as the decode tables number it: 1 none, 2 66, 3 F3, 4 F2. */
function mandatoryPrefix(): i32 {
  if (Instruction.vex) return Instruction.vexPrefix;
  if (Instruction.repeat == 0xf3) return 3;
  if (Instruction.repeat == 0xf2) return 4;
  return Instruction.operandPrefix ? 2 : 1;
}

function matches(candidate: u32, flags: i32): bool {
  const prefix = load<u8>(candidate, Candidate_prefix);
  if (prefix != 0 && (prefix as i32) != mandatoryPrefix()) return false;
  const wide = (Instruction.key & ModeKey_codeMask) == ModeKey_code64;
  if ((flags & (wide ? CandidateFlag_no64 : CandidateFlag_only64)) != 0) return false;
  const w = Instruction.vex ? Instruction.vexW : (Instruction.rex & 8) != 0;
  if ((flags & CandidateFlag_w0) != 0 && w) return false;
  if ((flags & CandidateFlag_b0) != 0 && (Instruction.rex & 1) != 0) return false;
  if ((flags & CandidateFlag_w1) != 0 && !w) return false;
  if ((flags & (Instruction.vexL ? CandidateFlag_l0 : CandidateFlag_l1)) != 0) return false;
  if ((flags & CandidateFlag_hasModrm) == 0) return true;
  if ((flags & CandidateFlag_modrmFixed) != 0)
    return (load<u8>(candidate, Candidate_modrm) as i32) == Instruction.modrm;
  const form = load<u8>(candidate, Candidate_form);
  if (form != 0 && (form == 2) != Instruction.modrm >= 0xc0) return false;
  const digit = load<u8>(candidate, Candidate_digit);
  return digit == 0xff || (digit as i32) == ((Instruction.modrm >> 3) & 7);
}

function refuse(rec: u32, handler: i32): i32 {
  store<u16>(rec, handler as u16, Record_handler);
  store<u16>(rec, 0xffff, Record_row);
  store<u8>(rec, (Instruction.cursor - Instruction.start) as u8, Record_length);
  Instruction.ending = End_branch;
  return (Instruction.cursor - Instruction.start) as i32;
}

/** Whether `first` begins a VEX prefix: outside of 64-bit mode it is LES or LDS when a memory operand follows. */
function isVex(first: i32): bool {
  if (first != 0xc4 && first != 0xc5) return false;
  if ((Instruction.key & ModeKey_codeMask) == ModeKey_code64) return true;
  const next = fetch<u8>() as i32;
  if (Instruction.ranOut) return false;
  Instruction.cursor--;
  return next >= 0xc0;
}

/** As `findCandidate`, behind C4 or C5. SDM Vol. 2A, 2.3.5; 2.3.2: no other prefix may change the instruction. */
function findVexCandidate(first: i32): u32 {
  const wide = (Instruction.key & ModeKey_codeMask) == ModeKey_code64;
  const forbidden =
    Instruction.lockPrefix || Instruction.operandPrefix || Instruction.repeat != 0 || Instruction.rex != 0;
  let map = 1;
  let last = fetch<u8>() as i32;
  let extension = (~last >> 5) & 4; // R
  Instruction.vexW = false;
  if (first == 0xc4) {
    map = last & 31;
    extension = (~last >> 5) & 7; // R, X, B
    last = fetch<u8>() as i32;
    Instruction.vexW = (last & 0x80) != 0;
  }
  Instruction.rex = wide ? 0x40 | extension | (Instruction.vexW ? 8 : 0) : 0;
  Instruction.vex = true;
  Instruction.vvvv = (~last >> 3) & 15;
  Instruction.vexL = (last & 4) != 0;
  Instruction.vexPrefix = prefixOfVex(last & 3);
  if (Instruction.ranOut || forbidden || map == 0 || map > 3) return 0;
  const candidate = searchCandidate(map + 3, fetch<u8>() as i32);
  if (candidate == 0) return 0;
  const named = load<i32>(candidate, Candidate_flags) & (CandidateFlag_vvvvGpr | CandidateFlag_vvvvVector);
  if (named == 0 && Instruction.vvvv != 0) return 0;
  if (!wide) Instruction.vvvv &= 7;
  return candidate;
}

/** VEX.pp as a prefix of the decode tables: none, 66, F3, F2. */
function prefixOfVex(pp: i32): i32 {
  return pp + 1;
}

/** The candidate for the opcode at the cursor, or 0; ModRM is fetched when the opcode has one. */
function findCandidate(first: i32): u32 {
  let map = 0;
  let byte = first;
  if (byte == 0x0f) {
    map = 1;
    byte = fetch<u8>() as i32;
    if (byte == 0x38 || byte == 0x3a) {
      map = byte == 0x38 ? 2 : 3;
      byte = fetch<u8>() as i32;
    }
  }
  return searchCandidate(map, byte);
}

function searchCandidate(map: i32, byte: i32): u32 {
  if (Instruction.ranOut) return 0;
  Instruction.opcode = byte;
  const entry = load<u32>(Region_decodeTables + (((map << 8) | byte) << 2));
  const count = (entry & 0xff) as i32;
  if (count == 0) return 0;
  let candidate = Region_decodeTables + (entry >> 8);
  if ((load<i32>(candidate, Candidate_flags) & CandidateFlag_hasModrm) != 0)
    Instruction.modrm = fetch<u8>() as i32;
  for (let i = 0; i < count; i++) {
    if (matches(candidate, load<i32>(candidate, Candidate_flags))) return candidate;
    candidate += Candidate_bytes;
  }
  return 0;
}

/**
 * Decodes the instruction at `bytes`, of which those below `end` may be read, into the record.
 * Returns its length, or 0 when it goes on behind `end` (no more than 15 bytes are needed to know).
 */
export function decodeInstruction(bytes: u32, end: u32, modeKey: i32, rec: u32): i32 {
  Instruction.start = bytes;
  Instruction.cursor = bytes;
  Instruction.limit = min<u32>(end, bytes + maxInstructionBytes);
  Instruction.ranOut = false;
  Instruction.key = modeKey;
  Instruction.ending = End_none;
  Instruction.ripRelativeRecord = 0;
  Instruction.vex = false;
  Instruction.vexL = false;
  memory.fill(rec, 0, 64);
  const first = scanPrefixes();
  const candidate = Instruction.ranOut ? 0 : isVex(first) ? findVexCandidate(first) : findCandidate(first);
  if (candidate == 0)
    return Instruction.ranOut ? outOfBytes(rec, end) : refuse(rec, SpecialHandler_undefined);

  const flags = load<i32>(candidate, Candidate_flags);
  const size = operandSize(flags, load<u8>(candidate, Candidate_sizes) as i32);
  const isMemory = decodeOperands(rec, candidate, flags);
  decodeImmediate(rec, load<u8>(candidate, Candidate_immediate) as i32, size);
  if (Instruction.vex) decodeVexOperands(rec, flags);
  if (Instruction.ranOut) return outOfBytes(rec, end);
  if ((flags & CandidateFlag_vsib) != 0 && !isGather(rec)) return refuse(rec, SpecialHandler_undefined);
  if (!registerExists(load<u8>(candidate, Candidate_regFile) as i32))
    return refuse(rec, SpecialHandler_undefined);
  if (Instruction.lockPrefix && ((flags & CandidateFlag_lock) == 0 || !isMemory))
    return refuse(rec, SpecialHandler_undefined);

  const length = (Instruction.cursor - Instruction.start) as i32;
  if (Instruction.segment < 0) Instruction.segment = Segment_ds;
  store<u16>(rec, (Cpu_segments + Instruction.segment * segmentBytes) as u16, Record_segment);
  store<i64>(
    rec,
    Instruction.addressBytes == 2 ? 0xffff : Instruction.addressBytes == 4 ? 0xffff_ffff : -1,
    Record_addressMask,
  );
  store<u8>(rec, Instruction.addressBytes as u8, Record_addressBytes);
  store<u8>(rec, size as u8, Record_operandBytes);
  store<u8>(rec, length as u8, Record_length);
  store<u16>(rec, load<u16>(candidate, Candidate_row), Record_row);
  store<u8>(rec, prefixBits() as u8, Record_prefixes);

  const sizes = load<u8>(candidate, Candidate_sizes) as i32;
  let slot = load<u16>(candidate, Candidate_handler) as i32;
  const sizeIndex = (flags & CandidateFlag_sizeVaries) != 0 ? popcnt(sizes & (size - 1)) : 0;
  const hasForms = (flags & CandidateFlag_memoryForms) != 0;
  slot += sizeIndex * (hasForms ? 4 : 1);
  if (hasForms && isMemory) slot += memoryForm();
  store<u16>(rec, slot as u16, Record_handler);

  if ((flags & CandidateFlag_branch) != 0) Instruction.ending = End_branch;
  else if (
    (flags & CandidateFlag_exit) != 0 ||
    ((flags & CandidateFlag_string) != 0 && Instruction.repeat != 0)
  )
    Instruction.ending = End_exit;
  return length;
}

function prefixBits(): i32 {
  return (
    (Instruction.lockPrefix ? RecordPrefix_lock : 0) |
    (Instruction.repeat == 0xf3 ? RecordPrefix_rep : Instruction.repeat == 0xf2 ? RecordPrefix_repne : 0) |
    (Instruction.rex != 0 ? RecordPrefix_rex : 0)
  );
}

/** True when the last decoded instruction has a RIP-relative operand: blocks.ts adds the place of the next instruction. */
export function decodedRipRelative(): bool {
  return Instruction.ripRelativeRecord != 0;
}

/** More bytes than a page end or the 15-byte limit allows. */
function outOfBytes(rec: u32, end: u32): i32 {
  if (Instruction.start + maxInstructionBytes <= end) return refuse(rec, SpecialHandler_tooLong);
  return 0;
}
