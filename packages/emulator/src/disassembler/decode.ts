/**
 * Finds the row of the instruction table for a byte string, without a machine: what core/decode.ts does for the engines, for people's
 * tools. SDM Vol. 2A chapter 2: prefixes, opcode maps, ModRM and SIB, displacement, immediate.
 */
import { instructionTable } from '../cpu/table/index.ts';
import type { MandatoryPrefix, Row } from '../cpu/table/row.ts';
import { candidatesByOpcode, immediateBytes } from './candidates.ts';

/** Size of code: 16, 32 or 64 bits. */
export type CodeMode = 16 | 32 | 64;

const maxInstructionBytes = 15;
export const segmentNames = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

export interface Prefixes {
  rex: number;
  operandSize: boolean;
  addressSize: boolean;
  lock: boolean;
  /** The last of F3 and F2; 0 for none. */
  repeat: 0 | 0xf2 | 0xf3;
  /** Of a VEX prefix; its R, X, B and (in 64-bit code) W stand in `rex` as REX has them. */
  vex?: { w: boolean; l: boolean; vvvv: number; prefix: MandatoryPrefix };
  /** Index into segmentNames; undefined without one that counts. */
  segment?: number;
}

export interface MemoryOperand {
  /** Register numbers. */
  base?: number;
  index?: number;
  /** 0 to 3: the index is shifted by so much. */
  scale: number;
  displacement: bigint;
  ripRelative: boolean;
}

export interface Decoded {
  row: Row;
  /** Operand size in bytes. */
  size: number;
  /** Address size in bytes. */
  addressBytes: 2 | 4 | 8;
  prefixes: Prefixes;
  opcode: number;
  modrm: number;
  /** Absent when ModRM names a register. */
  memory?: MemoryOperand;
  /** First and second immediate as they stand, sign-extended where the notation says so. */
  immediate: bigint;
  immediate2: number;
  length: number;
}

class OutOfBytes extends Error {}

/** Reads an instruction byte by byte; throws OutOfBytes behind the end or the fifteenth. */
class Cursor {
  readonly #view: DataView;
  readonly #limit: number;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#limit = Math.min(bytes.length, maxInstructionBytes);
  }

  unsigned(bytes: number): bigint {
    if (this.at + bytes > this.#limit) throw new OutOfBytes();
    let value = 0n;
    for (let i = 0; i < bytes; i++) value |= BigInt(this.#view.getUint8(this.at + i)) << BigInt(8 * i);
    this.at += bytes;
    return value;
  }

  byte(): number {
    return Number(this.unsigned(1));
  }

  peek(): number {
    const value = this.byte();
    this.at--;
    return value;
  }

  signed(bytes: number): bigint {
    return BigInt.asIntN(8 * bytes, this.unsigned(bytes));
  }
}

const segmentOf: Partial<Record<number, number>> = { 0x26: 0, 0x2e: 1, 0x36: 2, 0x3e: 3, 0x64: 4, 0x65: 5 };

/** Prefixes, and the first byte that is none. */
function readPrefixes(cursor: Cursor, mode: CodeMode): { prefixes: Prefixes; first: number } {
  const prefixes: Prefixes = { rex: 0, operandSize: false, addressSize: false, lock: false, repeat: 0 };
  for (;;) {
    const byte = cursor.byte();
    const segment = segmentOf[byte];
    if (byte === 0x66) prefixes.operandSize = true;
    else if (byte === 0x67) prefixes.addressSize = true;
    else if (byte === 0xf0) prefixes.lock = true;
    else if (byte === 0xf2 || byte === 0xf3) prefixes.repeat = byte;
    else if (segment !== undefined) {
      // In 64-bit mode the old four are ignored.
      if (mode !== 64 || segment >= 4) prefixes.segment = segment;
    } else if (mode === 64 && (byte & 0xf0) === 0x40) {
      prefixes.rex = byte;
      continue;
    } else return { prefixes, first: byte };
    prefixes.rex = 0; // REX counts only directly before the opcode
  }
}

function operandSize(row: Row, mode: CodeMode, prefixes: Prefixes): number {
  const { options, sizes } = row;
  const varies =
    options.fixedSize === undefined &&
    (sizes.length > 1 || options.sizes !== undefined || row.operands.some(({ bytes }) => bytes === 0));
  if (!varies) return sizes[0] ?? 4;
  if (row.operands.some(({ fraction }) => fraction !== undefined)) return prefixes.vex?.l === true ? 32 : 16;
  let size: number;
  if (mode !== 64) size = (mode === 16) !== prefixes.operandSize ? 2 : 4;
  else if (options.force64 === true || (prefixes.rex & 8) !== 0) size = 8;
  else if (prefixes.operandSize) size = 2;
  else size = options.default64 === true ? 8 : 4;
  if (sizes.includes(size)) return size;
  if (size !== 4 && sizes.includes(4)) return 4;
  if (size === 4 && mode === 64 && sizes.includes(8)) return 8;
  return sizes.includes(2) ? 2 : (sizes[0] ?? 4);
}

/** VEX.pp. */
const vexPrefixes = ['none', '66', 'F3', 'F2'] as const;

/** The prefix behind C4 or C5, or undefined where it is not allowed: SDM Vol. 2A, 2.3. Sets `prefixes.rex`. */
function readVex(cursor: Cursor, first: number, mode: CodeMode, prefixes: Prefixes): number | undefined {
  const forbidden = prefixes.lock || prefixes.operandSize || prefixes.repeat !== 0 || prefixes.rex !== 0;
  let map = 1;
  let last = cursor.byte();
  let extension = (~last >> 5) & 4;
  let w = false;
  if (first === 0xc4) {
    map = last & 31;
    extension = (~last >> 5) & 7;
    last = cursor.byte();
    w = (last & 0x80) !== 0;
  }
  if (mode === 64) prefixes.rex = 0x40 | extension | (w ? 8 : 0);
  const vvvv = (~last >> 3) & 15;
  prefixes.vex = { w, l: (last & 4) !== 0, vvvv, prefix: vexPrefixes[last & 3] ?? 'none' };
  return forbidden || map === 0 || map > 3 ? undefined : map + 3;
}

function matches({ encoding, options }: Row, mode: CodeMode, prefixes: Prefixes, modrm: number): boolean {
  if (encoding.prefix !== 'any') {
    const present =
      prefixes.vex?.prefix ??
      (prefixes.repeat === 0xf3
        ? 'F3'
        : prefixes.repeat === 0xf2
          ? 'F2'
          : prefixes.operandSize
            ? '66'
            : 'none');
    if (encoding.prefix !== present) return false;
  }
  if (mode === 64 ? options.no64 === true : options.only64 === true) return false;
  const w = prefixes.vex?.w ?? (prefixes.rex & 8) !== 0;
  if (encoding.rexW !== undefined && (encoding.rexW === 1) !== w) return false;
  if (encoding.vexL !== undefined && (encoding.vexL === 1) !== prefixes.vex?.l) return false;
  if (encoding.rexB === 0 && (prefixes.rex & 1) !== 0) return false;
  if (encoding.modrm !== undefined) return encoding.modrm === modrm;
  if (encoding.form !== 'any' && (encoding.form === 'register') !== modrm >= 0xc0) return false;
  return encoding.digit === undefined || encoding.digit === ((modrm >> 3) & 7);
}

/** SDM Vol. 2A, table 2-1. */
function readAddress16(cursor: Cursor, modrm: number): MemoryOperand {
  const [bx, bp, si, di] = [3, 5, 6, 7];
  const mod = modrm >> 6;
  const rm = modrm & 7;
  const result: MemoryOperand = { scale: 0, displacement: 0n, ripRelative: false };
  if (mod === 0 && rm === 6) return { ...result, displacement: cursor.unsigned(2) };
  result.base = ([bx, bx, bp, bp, si, di, bp, bx] as const)[rm] as number;
  if (rm < 4) result.index = rm % 2 === 0 ? si : di;
  if (mod === 1) result.displacement = cursor.signed(1);
  if (mod === 2) result.displacement = cursor.signed(2);
  return result;
}

/** SDM Vol. 2A, tables 2-2 and 2-3. */
function readAddress32(
  cursor: Cursor,
  modrm: number,
  rex: number,
  mode: CodeMode,
  vsib: boolean,
): MemoryOperand {
  const mod = modrm >> 6;
  let rm = modrm & 7;
  const result: MemoryOperand = { scale: 0, displacement: 0n, ripRelative: false };
  let without = mod === 0 && rm === 5;
  if (without) result.ripRelative = mode === 64;
  if (rm === 4) {
    const sib = cursor.byte();
    const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (vsib || index !== 4) {
      result.index = index;
      result.scale = sib >> 6;
    }
    rm = sib & 7;
    without = mod === 0 && rm === 5;
  }
  if (!without) result.base = rm | ((rex & 1) << 3);
  if (mod === 1) result.displacement = cursor.signed(1);
  else if (mod === 2 || without) result.displacement = cursor.signed(4);
  return result;
}

/** There are six segment registers, CR0, 2, 3, 4, 8 and DR0 to 7; CS can't be loaded by MOV. */
function registerExists(row: Row, opcode: number, modrm: number, rex: number): boolean {
  const file = row.operands.find(({ place }) => place === 'reg')?.file;
  const number = (modrm >> 3) & 7;
  if (file === 'segment') return number < segmentNames.length && !(opcode === 0x8e && number === 1);
  if (file === 'control') return [0, 2, 3, 4, 8].includes(number | ((rex & 4) << 1));
  return file !== 'debug' || (rex & 4) === 0;
}

function readOpcode(cursor: Cursor, first: number): { map: number; opcode: number } {
  if (first !== 0x0f) return { map: 0, opcode: first };
  const second = cursor.byte();
  if (second !== 0x38 && second !== 0x3a) return { map: 1, opcode: second };
  return { map: second === 0x38 ? 2 : 3, opcode: cursor.byte() };
}

/** Number of the register in VEX.vvvv: outside of 64-bit code there are eight. */
export const vvvvNumber = ({ vex }: Prefixes, mode: CodeMode): number =>
  (vex?.vvvv ?? 0) & (mode === 64 ? 15 : 7);

/** Whether two of destination, mask and index of a gather are the same register. */
function sharesRegister({ modrm, prefixes, memory }: Decoded, mode: CodeMode): boolean {
  const destination = ((modrm >> 3) & 7) | ((prefixes.rex & 4) << 1);
  const mask = vvvvNumber(prefixes, mode);
  return destination === mask || memory?.index === destination || memory?.index === mask;
}

function decodeThrowing(bytes: Uint8Array, mode: CodeMode): Decoded | undefined {
  const cursor = new Cursor(bytes);
  const { prefixes, first } = readPrefixes(cursor, mode);
  const isVex = (first === 0xc4 || first === 0xc5) && (mode === 64 || cursor.peek() >= 0xc0);
  const vexMap = isVex ? readVex(cursor, first, mode, prefixes) : undefined;
  if (isVex && vexMap === undefined) return undefined;
  const { map, opcode } =
    vexMap === undefined ? readOpcode(cursor, first) : { map: vexMap, opcode: cursor.byte() };
  const candidates = candidatesByOpcode(instructionTable).get(map * 256 + opcode) ?? [];
  const modrm = candidates[0]?.hasModrm === true ? cursor.byte() : 0;
  const row = candidates.find((candidate) => matches(candidate, mode, prefixes, modrm));
  if (row === undefined) return undefined;
  const addressBytes =
    mode === 64 ? (prefixes.addressSize ? 4 : 8) : (mode === 16) !== prefixes.addressSize ? 2 : 4;
  const size = operandSize(row, mode, prefixes);
  const result: Decoded = {
    ...{ row, size, addressBytes, prefixes, opcode, modrm },
    ...{ immediate: 0n, immediate2: 0, length: 0 },
  };
  const named = row.operands.some(({ place }) => place === 'vvvv');
  if ((prefixes.vex?.vvvv ?? 0) !== 0 && !named) return undefined;
  const vsib = row.operands.some(({ text }) => text.startsWith('X'));
  if (vsib && ((modrm & 7) !== 4 || addressBytes === 2)) return undefined;
  const reg = row.operands.find(({ place }) => place === 'reg')?.file;
  if (row.hasModrm && modrm < 0xc0 && reg !== 'control' && reg !== 'debug')
    result.memory =
      addressBytes === 2
        ? readAddress16(cursor, modrm)
        : readAddress32(cursor, modrm, prefixes.rex, mode, vsib);
  if (row.operands.some(({ place }) => place === 'offset'))
    result.memory = { scale: 0, displacement: cursor.unsigned(addressBytes), ripRelative: false };
  const [one, two] = immediateBytes(row, size);
  if (one !== 0) result.immediate = one < 0 ? cursor.signed(-one) : cursor.unsigned(one);
  if (two !== 0) result.immediate2 = Number(cursor.unsigned(two));
  if (!registerExists(row, opcode, modrm, prefixes.rex)) return undefined;
  if (prefixes.lock && (row.options.lock !== true || result.memory === undefined)) return undefined;
  if (vsib && sharesRegister(result, mode)) return undefined;
  result.length = cursor.at;
  return result;
}

/**
 * Decodes one instruction at the start of `bytes`.
 * @returns undefined when it is undefined, longer than fifteen bytes, or goes on behind the end
 */
export function decode(bytes: Uint8Array, mode: CodeMode): Decoded | undefined {
  try {
    return decodeThrowing(bytes, mode);
  } catch (error) {
    if (error instanceof OutOfBytes) return undefined;
    throw error;
  }
}
