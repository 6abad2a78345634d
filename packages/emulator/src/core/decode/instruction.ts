/** The bytes of one instruction, and what its prefixes say (SDM Vol. 2A, 2.1.1 and 2.2.1). */
import {
  ModeKey_code16,
  ModeKey_code64,
  ModeKey_codeMask,
  Segment_cs,
  Segment_ds,
  Segment_es,
  Segment_fs,
  Segment_gs,
  Segment_ss,
} from '../generated/layout';

/** The instruction that is being decoded: one at a time, so each part of the decoder finds it here. */
export class Instruction {
  /** Where its bytes begin, where the next one is, and where those end that may be read. */
  static start: u32 = 0;
  static cursor: u32 = 0;
  static limit: u32 = 0;
  static ranOut: bool = false;
  /** ModeKey_… */
  static key: i32 = 0;
  static rex: i32 = 0;
  static operandPrefix: bool = false;
  static lockPrefix: bool = false;
  /** The last of F3, F2; 0: none. */
  static repeat: i32 = 0;
  /** Segment_…; -1: by default. */
  static segment: i32 = -1;
  static addressBytes: i32 = 0;
  static opcode: i32 = 0;
  static modrm: i32 = 0;
  /** Of a VEX prefix, `rex` holds R, X, B and (in 64-bit code) W as REX has them. */
  static vex: bool = false;
  static vexW: bool = false;
  static vexL: bool = false;
  static vexPrefix: i32 = 0;
  static vvvv: i32 = 0;
  /** End_… */
  static ending: i32 = 0;
  static ripRelativeRecord: u32 = 0;
}

export function fetch<T>(): T {
  if (Instruction.cursor + sizeof<T>() > Instruction.limit) {
    Instruction.ranOut = true;
    Instruction.cursor = Instruction.limit;
    return 0 as T;
  }
  const value = load<T>(Instruction.cursor);
  Instruction.cursor += sizeof<T>();
  return value;
}

export function scanPrefixes(): i32 {
  const wide = (Instruction.key & ModeKey_codeMask) == ModeKey_code64;
  Instruction.rex = 0;
  Instruction.operandPrefix = false;
  Instruction.lockPrefix = false;
  Instruction.repeat = 0;
  Instruction.segment = -1;
  let addressPrefix = false;
  let byte: i32 = 0;
  while (!Instruction.ranOut) {
    byte = fetch<u8>() as i32;
    let isPrefix = true;
    switch (byte) {
      case 0x66:
        Instruction.operandPrefix = true;
        break;
      case 0x67:
        addressPrefix = true;
        break;
      case 0xf0:
        Instruction.lockPrefix = true;
        break;
      case 0xf2:
      case 0xf3:
        Instruction.repeat = byte;
        break;
      case 0x26:
        if (!wide) Instruction.segment = Segment_es;
        break;
      case 0x2e:
        if (!wide) Instruction.segment = Segment_cs;
        break;
      case 0x36:
        if (!wide) Instruction.segment = Segment_ss;
        break;
      case 0x3e:
        if (!wide) Instruction.segment = Segment_ds;
        break;
      case 0x64:
        Instruction.segment = Segment_fs;
        break;
      case 0x65:
        Instruction.segment = Segment_gs;
        break;
      default:
        isPrefix = false;
    }
    if (isPrefix) {
      Instruction.rex = 0; // REX counts only directly before the opcode
      continue;
    }
    if (wide && (byte & 0xf0) == 0x40) {
      Instruction.rex = byte;
      continue;
    }
    break;
  }
  if (wide) Instruction.addressBytes = addressPrefix ? 4 : 8;
  else
    Instruction.addressBytes =
      ((Instruction.key & ModeKey_codeMask) == ModeKey_code16) != addressPrefix ? 2 : 4;
  return byte;
}
