/**
 * From instruction bytes to a record (layout.ts, Record), driven by the decode tables. SDM Vol. 2A chapter 2: prefixes,
 * opcode maps, ModRM and SIB, displacement, immediate; at most 15 bytes. 2.3: VEX prefixes.
 */
/* eslint-disable max-lines -- a hundred of them name the constants of the layout; the rest is one automaton over its variables */
import {
  CandidateFlag_is4,
  CandidateFlag_l0,
  CandidateFlag_l1,
  CandidateFlag_vectorSize,
  CandidateFlag_vsib,
  CandidateFlag_vvvvGpr,
  CandidateFlag_vvvvVector,
  Record_vvvv,
  CandidateFlag_b0,
  CandidateFlag_default64,
  CandidateFlag_exit,
  CandidateFlag_branch,
  CandidateFlag_force64,
  CandidateFlag_hasModrm,
  CandidateFlag_lock,
  CandidateFlag_memoryForms,
  CandidateFlag_modrmFixed,
  CandidateFlag_no64,
  CandidateFlag_only64,
  CandidateFlag_registerInOpcode,
  CandidateFlag_sizeVaries,
  CandidateFlag_string,
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
  Candidate_rmFile,
  Candidate_row,
  Candidate_sizes,
  Cpu_fpr,
  Cpu_ripPage,
  Cpu_segments,
  Cpu_xmm,
  Cpu_zero,
  ImmediateKind_ap,
  ImmediateKind_ib,
  ImmediateKind_ibs,
  ImmediateKind_iv,
  ImmediateKind_iw,
  ImmediateKind_iwIb,
  ImmediateKind_iz,
  ImmediateKind_jz,
  ImmediateKind_moffs,
  ImmediateKind_none,
  ModeKey_code16,
  ModeKey_code64,
  ModeKey_codeMask,
  ModeKey_flat,
  RecordPrefix_lock,
  RecordPrefix_rep,
  RecordPrefix_repne,
  RecordPrefix_rex,
  Record_addressBytes,
  Record_addressMask,
  Record_base,
  Record_displacement,
  Record_handler,
  Record_immediate,
  Record_immediate2,
  Record_index,
  Record_length,
  Record_operandBytes,
  Record_prefixes,
  Record_reg,
  Record_rm,
  Record_row,
  Record_scale,
  Record_segment,
  Region_decodeTables,
  RegisterFile_control,
  RegisterFile_debug,
  RegisterFile_gpr,
  RegisterFile_gpr8,
  RegisterFile_mmx,
  RegisterFile_segment,
  RegisterFile_x87,
  RegisterFile_xmm,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_fs,
  Segment_gs,
  Segment_ss,
  SpecialHandler_tooLong,
  SpecialHandler_undefined,
  segmentBytes,
} from '../generated/layout';

export const maxInstructionBytes: i32 = 15;
const rbp: i32 = 5;
const rsp: i32 = 4;
const rbx: i32 = 3;
const rsi: i32 = 6;
const rdi: i32 = 7;

/** How the decoded instruction ends its block. */
export const End_none: i32 = 0;
export const End_exit: i32 = 1;
export const End_branch: i32 = 2;

// The instruction being decoded.
let cursor: u32 = 0;
let start: u32 = 0;
let limit: u32 = 0;
let ranOut: bool = false;
let key: i32 = 0;
let rex: i32 = 0;
let operandPrefix: bool = false;
let lockPrefix: bool = false;
let repeat: i32 = 0; // last of F3, F2; 0 none
let segment: i32 = -1;
let addressBytes: i32 = 0;
let opcode: i32 = 0;
let modrm: i32 = 0;
// Of a VEX prefix, `rex` holds R, X, B and (in 64-bit code) W as REX has them.
let vex: bool = false;
let vexW: bool = false;
let vexL: bool = false;
let vexPrefix: i32 = 0;
let vvvv: i32 = 0;
let ending: i32 = 0;
let ripRelativeRecord: u32 = 0;

/** End_… of the last decoded instruction. */
export function decodedEnding(): i32 {
  return ending;
}

function fetch<T>(): T {
  if (cursor + sizeof<T>() > limit) {
    ranOut = true;
    cursor = limit;
    return 0 as T;
  }
  const value = load<T>(cursor);
  cursor += sizeof<T>();
  return value;
}

function scanPrefixes(): i32 {
  const wide = (key & ModeKey_codeMask) == ModeKey_code64;
  rex = 0;
  operandPrefix = false;
  lockPrefix = false;
  repeat = 0;
  segment = -1;
  let addressPrefix = false;
  let byte: i32 = 0;
  while (!ranOut) {
    byte = fetch<u8>() as i32;
    let isPrefix = true;
    switch (byte) {
      case 0x66:
        operandPrefix = true;
        break;
      case 0x67:
        addressPrefix = true;
        break;
      case 0xf0:
        lockPrefix = true;
        break;
      case 0xf2:
      case 0xf3:
        repeat = byte;
        break;
      case 0x26:
        if (!wide) segment = Segment_es;
        break;
      case 0x2e:
        if (!wide) segment = Segment_cs;
        break;
      case 0x36:
        if (!wide) segment = Segment_ss;
        break;
      case 0x3e:
        if (!wide) segment = Segment_ds;
        break;
      case 0x64:
        segment = Segment_fs;
        break;
      case 0x65:
        segment = Segment_gs;
        break;
      default:
        isPrefix = false;
    }
    if (isPrefix) {
      rex = 0; // REX counts only directly before the opcode
      continue;
    }
    if (wide && (byte & 0xf0) == 0x40) {
      rex = byte;
      continue;
    }
    break;
  }
  if (wide) addressBytes = addressPrefix ? 4 : 8;
  else addressBytes = ((key & ModeKey_codeMask) == ModeKey_code16) != addressPrefix ? 2 : 4;
  return byte;
}

/** Operand size by prefixes and mode, fitted to the sizes that the row has. */
function operandSize(flags: i32, sizes: i32): i32 {
  if ((flags & CandidateFlag_sizeVaries) == 0) return sizes;
  if ((flags & CandidateFlag_vectorSize) != 0) return vexL ? 32 : 16;
  const mode = key & ModeKey_codeMask;
  let size: i32;
  if (mode == ModeKey_code64) {
    if ((flags & CandidateFlag_force64) != 0 || (rex & 8) != 0) size = 8;
    else if (operandPrefix) size = 2;
    else size = (flags & CandidateFlag_default64) != 0 ? 8 : 4;
  } else size = (mode == ModeKey_code16) != operandPrefix ? 2 : 4;
  if ((sizes & size) != 0) return size;
  if (size == 2 && (sizes & 4) != 0) return 4;
  if (size == 8 && (sizes & 4) != 0) return 4;
  if (size == 4 && (sizes & 8) != 0 && mode == ModeKey_code64) return 8;
  return (sizes & 2) != 0 ? 2 : sizes;
}

function matches(candidate: u32, flags: i32): bool {
  const prefix = load<u8>(candidate, Candidate_prefix);
  if (prefix != 0) {
    const present = vex ? vexPrefix : repeat == 0xf3 ? 3 : repeat == 0xf2 ? 4 : operandPrefix ? 2 : 1;
    if ((prefix as i32) != present) return false;
  }
  const wide = (key & ModeKey_codeMask) == ModeKey_code64;
  if ((flags & (wide ? CandidateFlag_no64 : CandidateFlag_only64)) != 0) return false;
  const w = vex ? vexW : (rex & 8) != 0;
  if ((flags & CandidateFlag_w0) != 0 && w) return false;
  if ((flags & CandidateFlag_b0) != 0 && (rex & 1) != 0) return false;
  if ((flags & CandidateFlag_w1) != 0 && !w) return false;
  if ((flags & (vexL ? CandidateFlag_l0 : CandidateFlag_l1)) != 0) return false;
  if ((flags & CandidateFlag_hasModrm) == 0) return true;
  if ((flags & CandidateFlag_modrmFixed) != 0) return (load<u8>(candidate, Candidate_modrm) as i32) == modrm;
  const form = load<u8>(candidate, Candidate_form);
  if (form != 0 && (form == 2) != modrm >= 0xc0) return false;
  const digit = load<u8>(candidate, Candidate_digit);
  return digit == 0xff || (digit as i32) == ((modrm >> 3) & 7);
}

function gprOffset(number: i32): i32 {
  return number << 3;
}

function registerOffset(file: i32, number: i32): i32 {
  switch (file) {
    case RegisterFile_gpr8:
      return rex == 0 && number >= 4 && number < 8 ? gprOffset(number - 4) + 1 : gprOffset(number);
    case RegisterFile_gpr:
      return gprOffset(number);
    case RegisterFile_mmx:
      return Cpu_fpr + ((number & 7) << 4);
    case RegisterFile_xmm:
      return Cpu_xmm + (number << 4);
    case RegisterFile_segment:
    case RegisterFile_x87:
      return number & 7;
    default:
      return number;
  }
}

function setAddress(
  rec: u32,
  base: i32,
  index: i32,
  scale: i32,
  displacement: i64,
  defaultSegment: i32,
): void {
  store<u16>(rec, base as u16, Record_base);
  store<u16>(rec, index as u16, Record_index);
  store<u8>(rec, scale as u8, Record_scale);
  store<i64>(rec, displacement, Record_displacement);
  if (segment < 0) segment = defaultSegment;
}

function decodeAddress16(rec: u32): void {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  let base = rm < 2 || rm == 7 ? rbx : rm < 4 || rm == 6 ? rbp : rm == 4 ? rsi : rdi;
  const index = rm == 0 || rm == 2 ? rsi : rm == 1 || rm == 3 ? rdi : -1;
  let displacement: i64 = 0;
  let stack = base == rbp;
  if (mod == 0 && rm == 6) {
    base = -1;
    stack = false;
    displacement = fetch<u16>() as i64;
  } else if (mod == 1) displacement = fetch<i8>() as i64;
  else if (mod == 2) displacement = fetch<i16>() as i64;
  setAddress(
    rec,
    base < 0 ? Cpu_zero : gprOffset(base),
    index < 0 ? Cpu_zero : gprOffset(index),
    0,
    displacement,
    stack ? Segment_ss : Segment_ds,
  );
}

/** 32- and 64-bit forms; returns true when RIP-relative. `vsib`: the index is a vector register. */
function decodeAddress32(rec: u32, vsib: bool): bool {
  const mod = modrm >> 6;
  let rm = modrm & 7;
  let base = Cpu_zero;
  let index = Cpu_zero;
  let scale = 0;
  let stack = false;
  let ripRelative = false;
  let displacement32 = mod == 2;
  if (rm == 4) {
    const sib = fetch<u8>() as i32;
    const indexNumber = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (vsib) {
      store<i32>(rec, registerOffset(RegisterFile_xmm, indexNumber), Record_immediate2);
      scale = sib >> 6;
    } else if (indexNumber != 4) {
      index = gprOffset(indexNumber);
      scale = sib >> 6;
    }
    rm = sib & 7;
    if (rm == 5 && mod == 0) displacement32 = true;
    else {
      base = gprOffset(rm | ((rex & 1) << 3));
      stack = (rm == rsp || rm == rbp) && (rex & 1) == 0;
    }
  } else if (rm == 5 && mod == 0) {
    displacement32 = true;
    if ((key & ModeKey_codeMask) == ModeKey_code64) {
      base = Cpu_ripPage;
      ripRelative = true;
    }
  } else {
    base = gprOffset(rm | ((rex & 1) << 3));
    stack = rm == rbp && (rex & 1) == 0;
  }
  let displacement: i64 = 0;
  if (mod == 1) displacement = fetch<i8>() as i64;
  else if (displacement32) displacement = fetch<i32>() as i64;
  setAddress(rec, base, index, scale, displacement, stack ? Segment_ss : Segment_ds);
  return ripRelative;
}

function decodeImmediate(rec: u32, kind: i32, size: i32): void {
  let value: i64 = 0;
  switch (kind) {
    case ImmediateKind_none:
      break;
    case ImmediateKind_ib:
      value = fetch<u8>() as i64;
      break;
    case ImmediateKind_ibs:
      value = fetch<i8>() as i64;
      break;
    case ImmediateKind_iw:
      value = fetch<u16>() as i64;
      break;
    case ImmediateKind_iz:
    case ImmediateKind_jz:
      value = size == 2 ? (fetch<i16>() as i64) : (fetch<i32>() as i64);
      break;
    case ImmediateKind_iv:
      value = size == 2 ? (fetch<i16>() as i64) : size == 4 ? (fetch<i32>() as i64) : fetch<i64>();
      break;
    case ImmediateKind_ap:
      value = size == 2 ? (fetch<u16>() as i64) : (fetch<u32>() as i64);
      store<i32>(rec, fetch<u16>() as i32, Record_immediate2);
      break;
    case ImmediateKind_iwIb:
      value = fetch<u16>() as i64;
      store<i32>(rec, fetch<u8>() as i32, Record_immediate2);
      break;
    case ImmediateKind_moffs: {
      const offset: i64 =
        addressBytes == 2 ? (fetch<u16>() as i64) : addressBytes == 4 ? (fetch<u32>() as i64) : fetch<i64>();
      setAddress(rec, Cpu_zero, Cpu_zero, 0, offset, Segment_ds);
      break;
    }
    default:
      break;
  }
  store<i64>(rec, value, Record_immediate);
}

function memoryForm(): i32 {
  const wide = (key & ModeKey_codeMask) == ModeKey_code64;
  if (segment == Segment_fs || segment == Segment_gs) return wide ? 2 : 3;
  // Nothing can be written through CS, and flat mode says nothing of CS being readable.
  return wide || ((key & ModeKey_flat) != 0 && segment != Segment_cs) ? 1 : 3;
}

function refuse(rec: u32, handler: i32): i32 {
  store<u16>(rec, handler as u16, Record_handler);
  store<u16>(rec, 0xffff, Record_row);
  store<u8>(rec, (cursor - start) as u8, Record_length);
  ending = End_branch;
  return (cursor - start) as i32;
}

/** Whether `first` begins a VEX prefix: outside of 64-bit mode it is LES or LDS when a memory operand follows. */
function isVex(first: i32): bool {
  if (first != 0xc4 && first != 0xc5) return false;
  if ((key & ModeKey_codeMask) == ModeKey_code64) return true;
  const next = fetch<u8>() as i32;
  if (ranOut) return false;
  cursor--;
  return next >= 0xc0;
}

/** As `findCandidate`, behind C4 or C5. SDM Vol. 2A, 2.3.5; 2.3.2: no other prefix may change the instruction. */
function findVexCandidate(first: i32): u32 {
  const wide = (key & ModeKey_codeMask) == ModeKey_code64;
  const forbidden = lockPrefix || operandPrefix || repeat != 0 || rex != 0;
  let map = 1;
  let last = fetch<u8>() as i32;
  let extension = (~last >> 5) & 4; // R
  vexW = false;
  if (first == 0xc4) {
    map = last & 31;
    extension = (~last >> 5) & 7; // R, X, B
    last = fetch<u8>() as i32;
    vexW = (last & 0x80) != 0;
  }
  rex = wide ? 0x40 | extension | (vexW ? 8 : 0) : 0;
  vex = true;
  vvvv = (~last >> 3) & 15;
  vexL = (last & 4) != 0;
  vexPrefix = prefixOfVex(last & 3);
  if (ranOut || forbidden || map == 0 || map > 3) return 0;
  const candidate = searchCandidate(map + 3, fetch<u8>() as i32);
  if (candidate == 0) return 0;
  const named = load<i32>(candidate, Candidate_flags) & (CandidateFlag_vvvvGpr | CandidateFlag_vvvvVector);
  if (named == 0 && vvvv != 0) return 0;
  if (!wide) vvvv &= 7;
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
  if (ranOut) return 0;
  opcode = byte;
  const entry = load<u32>(Region_decodeTables + (((map << 8) | byte) << 2));
  const count = (entry & 0xff) as i32;
  if (count == 0) return 0;
  let candidate = Region_decodeTables + (entry >> 8);
  if ((load<i32>(candidate, Candidate_flags) & CandidateFlag_hasModrm) != 0) modrm = fetch<u8>() as i32;
  for (let i = 0; i < count; i++) {
    if (matches(candidate, load<i32>(candidate, Candidate_flags))) return candidate;
    candidate += Candidate_bytes;
  }
  return 0;
}

/** Whether ModRM.reg names a register of the file: there are six segment registers, CR0 2 3 4 8, DR0-7; CS can't be loaded by MOV. */
function registerExists(file: i32): bool {
  const number = (modrm >> 3) & 7;
  if (file == RegisterFile_segment) return number <= Segment_gs && !(opcode == 0x8e && number == Segment_cs);
  if (file == RegisterFile_control) return ((0x11d >> (number | ((rex & 4) << 1))) & 1) != 0;
  return file != RegisterFile_debug || (rex & 4) == 0;
}

/**
 * Decodes the instruction at `bytes`, of which those below `end` may be read, into the record.
 * Returns its length, or 0 when it goes on behind `end` (no more than 15 bytes are needed to know).
 */
export function decodeInstruction(bytes: u32, end: u32, modeKey: i32, rec: u32): i32 {
  start = bytes;
  cursor = bytes;
  limit = min<u32>(end, bytes + maxInstructionBytes);
  ranOut = false;
  key = modeKey;
  ending = End_none;
  ripRelativeRecord = 0;
  vex = false;
  vexL = false;
  memory.fill(rec, 0, 64);
  const first = scanPrefixes();
  const candidate = ranOut ? 0 : isVex(first) ? findVexCandidate(first) : findCandidate(first);
  if (candidate == 0) return ranOut ? outOfBytes(rec, end) : refuse(rec, SpecialHandler_undefined);

  const flags = load<i32>(candidate, Candidate_flags);
  const size = operandSize(flags, load<u8>(candidate, Candidate_sizes) as i32);
  const isMemory = decodeOperands(rec, candidate, flags);
  decodeImmediate(rec, load<u8>(candidate, Candidate_immediate) as i32, size);
  if (vex) decodeVexOperands(rec, flags);
  if (ranOut) return outOfBytes(rec, end);
  if ((flags & CandidateFlag_vsib) != 0 && !isGather(rec)) return refuse(rec, SpecialHandler_undefined);
  if (!registerExists(load<u8>(candidate, Candidate_regFile) as i32))
    return refuse(rec, SpecialHandler_undefined);
  if (lockPrefix && ((flags & CandidateFlag_lock) == 0 || !isMemory))
    return refuse(rec, SpecialHandler_undefined);

  const length = (cursor - start) as i32;
  if (segment < 0) segment = Segment_ds;
  store<u16>(rec, (Cpu_segments + segment * segmentBytes) as u16, Record_segment);
  store<i64>(rec, addressBytes == 2 ? 0xffff : addressBytes == 4 ? 0xffff_ffff : -1, Record_addressMask);
  store<u8>(rec, addressBytes as u8, Record_addressBytes);
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

  if ((flags & CandidateFlag_branch) != 0) ending = End_branch;
  else if ((flags & CandidateFlag_exit) != 0 || ((flags & CandidateFlag_string) != 0 && repeat != 0))
    ending = End_exit;
  return length;
}

function prefixBits(): i32 {
  return (
    (lockPrefix ? RecordPrefix_lock : 0) |
    (repeat == 0xf3 ? RecordPrefix_rep : repeat == 0xf2 ? RecordPrefix_repne : 0) |
    (rex != 0 ? RecordPrefix_rex : 0)
  );
}

/** The operands in VEX.vvvv and in the immediate. */
function decodeVexOperands(rec: u32, flags: i32): void {
  const file = (flags & CandidateFlag_vvvvGpr) != 0 ? RegisterFile_gpr : RegisterFile_xmm;
  store<u16>(rec, registerOffset(file, vvvv) as u16, Record_vvvv);
  if ((flags & CandidateFlag_is4) == 0) return;
  const wide = (key & ModeKey_codeMask) == ModeKey_code64;
  const number = (load<u8>(rec, Record_immediate) as i32) >> 4;
  store<i32>(rec, registerOffset(RegisterFile_xmm, wide ? number : number & 7), Record_immediate2);
}

/** An index by vector needs a SIB byte (SDM Vol. 2A, 2.3.12); destination, mask and index are three registers. */
function isGather(rec: u32): bool {
  if ((modrm & 7) != rsp || addressBytes == 2) return false;
  const destination = load<u16>(rec, Record_reg) as i32;
  const mask = load<u16>(rec, Record_vvvv) as i32;
  const index = load<i32>(rec, Record_immediate2);
  return destination != mask && destination != index && mask != index;
}

/** Register and memory operands; returns whether the operand in ModRM (or the offset) is in memory. */
function decodeOperands(rec: u32, candidate: u32, flags: i32): bool {
  const rmFile = load<u8>(candidate, Candidate_rmFile) as i32;
  const regFile = load<u8>(candidate, Candidate_regFile) as i32;
  if ((flags & CandidateFlag_registerInOpcode) != 0)
    store<u16>(rec, registerOffset(rmFile, (opcode & 7) | ((rex & 1) << 3)) as u16, Record_rm);
  if ((flags & CandidateFlag_hasModrm) == 0)
    return load<u8>(candidate, Candidate_immediate) == ImmediateKind_moffs;
  let number = (modrm >> 3) & 7;
  if (regFile != RegisterFile_segment) number |= (rex & 4) << 1;
  store<u16>(rec, registerOffset(regFile, number) as u16, Record_reg);
  // MOV to and from control and debug registers ignores mod.
  if (modrm >= 0xc0 || regFile == RegisterFile_control || regFile == RegisterFile_debug) {
    store<u16>(rec, registerOffset(rmFile, (modrm & 7) | ((rex & 1) << 3)) as u16, Record_rm);
    return false;
  }
  if (addressBytes == 2) decodeAddress16(rec);
  else if (decodeAddress32(rec, (flags & CandidateFlag_vsib) != 0)) ripRelativeRecord = rec;
  return true;
}

/** True when the last decoded instruction has a RIP-relative operand: blocks.ts adds the place of the next instruction. */
export function decodedRipRelative(): bool {
  return ripRelativeRecord != 0;
}

/** More bytes than a page end or the 15-byte limit allows. */
function outOfBytes(rec: u32, end: u32): i32 {
  if (start + maxInstructionBytes <= end) return refuse(rec, SpecialHandler_tooLong);
  return 0;
}
