/** The string instructions as rows call them: chosen by the record's operand size. Answers as in strings.ts. */
import { Record_operandBytes } from '../generated/layout';
import { cmpsLoop, insLoop, lodsLoop, movsLoop, outsLoop, scasLoop, stosLoop } from './strings';

function operandBytes(record: i32): i32 {
  return load<u8>(record, Record_operandBytes) as i32;
}

export function movs(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return movsLoop<u8>(cpu, record);
  if (size == 2) return movsLoop<u16>(cpu, record);
  if (size == 4) return movsLoop<u32>(cpu, record);
  return movsLoop<u64>(cpu, record);
}

export function stos(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return stosLoop<u8>(cpu, record);
  if (size == 2) return stosLoop<u16>(cpu, record);
  if (size == 4) return stosLoop<u32>(cpu, record);
  return stosLoop<u64>(cpu, record);
}

export function lods(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return lodsLoop<u8>(cpu, record);
  if (size == 2) return lodsLoop<u16>(cpu, record);
  if (size == 4) return lodsLoop<u32>(cpu, record);
  return lodsLoop<u64>(cpu, record);
}

export function scas(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return scasLoop<i8>(cpu, record);
  if (size == 2) return scasLoop<i16>(cpu, record);
  if (size == 4) return scasLoop<i32>(cpu, record);
  return scasLoop<i64>(cpu, record);
}

export function cmps(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return cmpsLoop<i8>(cpu, record);
  if (size == 2) return cmpsLoop<i16>(cpu, record);
  if (size == 4) return cmpsLoop<i32>(cpu, record);
  return cmpsLoop<i64>(cpu, record);
}

export function ins(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return insLoop<u8>(cpu, record);
  if (size == 2) return insLoop<u16>(cpu, record);
  return insLoop<u32>(cpu, record);
}

export function outs(cpu: i32, record: i32): i32 {
  const size = operandBytes(record);
  if (size == 1) return outsLoop<u8>(cpu, record);
  if (size == 2) return outsLoop<u16>(cpu, record);
  return outsLoop<u32>(cpu, record);
}
