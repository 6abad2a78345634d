/** The operands of one instruction, into its record: registers, addresses by ModRM and SIB (SDM Vol. 2A, 2.1.5), immediates. */
import {
  CandidateFlag_hasModrm,
  CandidateFlag_is4,
  CandidateFlag_registerInOpcode,
  CandidateFlag_vsib,
  CandidateFlag_vvvvGpr,
  Candidate_immediate,
  Candidate_regFile,
  Candidate_rmFile,
  Cpu_fpr,
  Cpu_ripPage,
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
  ModeKey_code64,
  ModeKey_codeMask,
  ModeKey_flat,
  Record_base,
  Record_displacement,
  Record_immediate,
  Record_immediate2,
  Record_index,
  Record_reg,
  Record_rm,
  Record_scale,
  Record_vvvv,
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
  Segment_fs,
  Segment_gs,
  Segment_ss,
} from '../generated/layout';
import { fetch, Instruction } from './instruction';

const rbp: i32 = 5;
const rsp: i32 = 4;
const rbx: i32 = 3;
const rsi: i32 = 6;
const rdi: i32 = 7;

function gprOffset(number: i32): i32 {
  return number << 3;
}

function registerOffset(file: i32, number: i32): i32 {
  switch (file) {
    case RegisterFile_gpr8:
      return Instruction.rex == 0 && number >= 4 && number < 8
        ? gprOffset(number - 4) + 1
        : gprOffset(number);
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
  if (Instruction.segment < 0) Instruction.segment = defaultSegment;
}

function decodeAddress16(rec: u32): void {
  const mod = Instruction.modrm >> 6;
  const rm = Instruction.modrm & 7;
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
  const mod = Instruction.modrm >> 6;
  let rm = Instruction.modrm & 7;
  let base = Cpu_zero;
  let index = Cpu_zero;
  let scale = 0;
  let stack = false;
  let ripRelative = false;
  let displacement32 = mod == 2;
  if (rm == 4) {
    const sib = fetch<u8>() as i32;
    const indexNumber = ((sib >> 3) & 7) | ((Instruction.rex & 2) << 2);
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
      base = gprOffset(rm | ((Instruction.rex & 1) << 3));
      stack = (rm == rsp || rm == rbp) && (Instruction.rex & 1) == 0;
    }
  } else if (rm == 5 && mod == 0) {
    displacement32 = true;
    if ((Instruction.key & ModeKey_codeMask) == ModeKey_code64) {
      base = Cpu_ripPage;
      ripRelative = true;
    }
  } else {
    base = gprOffset(rm | ((Instruction.rex & 1) << 3));
    stack = rm == rbp && (Instruction.rex & 1) == 0;
  }
  let displacement: i64 = 0;
  if (mod == 1) displacement = fetch<i8>() as i64;
  else if (displacement32) displacement = fetch<i32>() as i64;
  setAddress(rec, base, index, scale, displacement, stack ? Segment_ss : Segment_ds);
  return ripRelative;
}

export function decodeImmediate(rec: u32, kind: i32, size: i32): void {
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
        Instruction.addressBytes == 2
          ? (fetch<u16>() as i64)
          : Instruction.addressBytes == 4
            ? (fetch<u32>() as i64)
            : fetch<i64>();
      setAddress(rec, Cpu_zero, Cpu_zero, 0, offset, Segment_ds);
      break;
    }
    default:
      break;
  }
  store<i64>(rec, value, Record_immediate);
}

/** The operands in VEX.vvvv and in the immediate. */
export function decodeVexOperands(rec: u32, flags: i32): void {
  const file = (flags & CandidateFlag_vvvvGpr) != 0 ? RegisterFile_gpr : RegisterFile_xmm;
  store<u16>(rec, registerOffset(file, Instruction.vvvv) as u16, Record_vvvv);
  if ((flags & CandidateFlag_is4) == 0) return;
  const wide = (Instruction.key & ModeKey_codeMask) == ModeKey_code64;
  const number = (load<u8>(rec, Record_immediate) as i32) >> 4;
  store<i32>(rec, registerOffset(RegisterFile_xmm, wide ? number : number & 7), Record_immediate2);
}

/** An index by vector needs a SIB byte (SDM Vol. 2A, 2.3.12); destination, mask and index are three registers. */
export function isGather(rec: u32): bool {
  if ((Instruction.modrm & 7) != rsp || Instruction.addressBytes == 2) return false;
  const destination = load<u16>(rec, Record_reg) as i32;
  const mask = load<u16>(rec, Record_vvvv) as i32;
  const index = load<i32>(rec, Record_immediate2);
  return destination != mask && destination != index && mask != index;
}

/** Register and memory operands; returns whether the operand in ModRM (or the offset) is in memory. */
export function decodeOperands(rec: u32, candidate: u32, flags: i32): bool {
  const rmFile = load<u8>(candidate, Candidate_rmFile) as i32;
  const regFile = load<u8>(candidate, Candidate_regFile) as i32;
  if ((flags & CandidateFlag_registerInOpcode) != 0)
    store<u16>(
      rec,
      registerOffset(rmFile, (Instruction.opcode & 7) | ((Instruction.rex & 1) << 3)) as u16,
      Record_rm,
    );
  if ((flags & CandidateFlag_hasModrm) == 0)
    return load<u8>(candidate, Candidate_immediate) == ImmediateKind_moffs;
  let number = (Instruction.modrm >> 3) & 7;
  if (regFile != RegisterFile_segment) number |= (Instruction.rex & 4) << 1;
  store<u16>(rec, registerOffset(regFile, number) as u16, Record_reg);
  // MOV to and from control and debug registers ignores mod.
  if (Instruction.modrm >= 0xc0 || regFile == RegisterFile_control || regFile == RegisterFile_debug) {
    store<u16>(
      rec,
      registerOffset(rmFile, (Instruction.modrm & 7) | ((Instruction.rex & 1) << 3)) as u16,
      Record_rm,
    );
    return false;
  }
  if (Instruction.addressBytes == 2) decodeAddress16(rec);
  else if (decodeAddress32(rec, (flags & CandidateFlag_vsib) != 0)) Instruction.ripRelativeRecord = rec;
  return true;
}

export function memoryForm(): i32 {
  const wide = (Instruction.key & ModeKey_codeMask) == ModeKey_code64;
  if (Instruction.segment == Segment_fs || Instruction.segment == Segment_gs) return wide ? 2 : 3;
  // Nothing can be written through CS, and flat mode says nothing of CS being readable.
  return wide || ((Instruction.key & ModeKey_flat) != 0 && Instruction.segment != Segment_cs) ? 1 : 3;
}

/** Whether ModRM.reg names a register of the file: there are six segment registers, CR0 2 3 4 8, DR0-7; CS can't be loaded by MOV. */
export function registerExists(file: i32): bool {
  const number = (Instruction.modrm >> 3) & 7;
  if (file == RegisterFile_segment)
    return number <= Segment_gs && !(Instruction.opcode == 0x8e && number == Segment_cs);
  if (file == RegisterFile_control) return ((0x11d >> (number | ((Instruction.rex & 4) << 1))) & 1) != 0;
  return file != RegisterFile_debug || (Instruction.rex & 4) == 0;
}
