/**
 * One instruction, one row. A row says how an encoding looks (opcode and operands in the notation of SDM Vol. 2,
 * appendix A.2), what decoding must know, and what the instruction does. Decoder tables, the interpreter, the
 * translator, the disassembler's names and the test generators are derived from it.
 *
 * Opcode notation: optional mandatory prefix (NP 66 F3 F2), escape bytes, opcode byte, then
 *   `50+r`   the low three bits of the opcode name a register (operand Z…)
 *   `/4`     ModRM.reg extends the opcode
 *   `E8`     a further byte: the whole ModRM byte is fixed (D9 E8, 0F 01 D0)
 *   `mem`, `reg`  only the memory or only the register form of ModRM
 *   `W0`, `W1`    only without or with REX.W (or VEX.W); `noB` only without REX.B
 *   `VEX` in front: with a VEX prefix; `L0`, `L1` only for vectors of 128 or of 256 bits
 * Operand notation: a letter for where, letters for how large:
 *   E register or memory · M memory · R register (ModRM.rm) · G register (ModRM.reg) · Z register (opcode) · S segment register · C control · D debug
 *   H XMM (VEX.vvvv) · B register (VEX.vvvv) · L XMM (upper four bits of the immediate) · X memory whose index is an XMM register (VSIB)
 *   I immediate (Ib zero-extended, Ibs sign-extended, Iz 16/32, Iv 16/32/64) · J relative target · A far pointer · O offset without ModRM
 *   P MMX (reg) · Q MMX or memory · N MMX (rm) · V XMM (reg) · W XMM or memory · U XMM (rm) · ST, STi x87
 *   b 1, w 2, d 4, q 8, dq/x 16, t 10 bytes; with VEX x is 16 or 32, xh, xq, xe a half, a quarter, an eighth of it; v operand size (2, 4, 8), z (2, 4), y (4, 8), p far pointer, or nothing where only the address counts
 *   AL CL DX rAX and so on: that register; 1: the number
 */
import type { InstructionBuilder } from '../builder.ts';
import { type FlagEffect, flagEffect } from './flag-effects.ts';

export type Semantics = (b: InstructionBuilder) => void;

export interface RowOptions {
  /** Operand sizes of `v` rows; default [2, 4, 8]. */
  sizes?: readonly number[];
  /** Undefined in 64-bit mode, or only defined there. */
  no64?: boolean;
  only64?: boolean;
  /** In 64-bit mode the operand size is 8 by default (2 with 66), or always 8. */
  default64?: boolean;
  force64?: boolean;
  /** LOCK may stand before the memory form. */
  lock?: boolean;
  /** Ends its block: `exit` returns to the run loop, `branch` sets RIP itself on every path. */
  end?: 'exit' | 'branch';
  /** A string instruction: with REP it ends its block and may be interrupted. */
  string?: boolean;
  /** Uses the record itself (core functions that walk it); the translator leaves it to the interpreter. */
  record?: boolean;
  /** Memory operands of 16 bytes must be aligned (legacy SSE). */
  aligned?: boolean;
  /** Feature bit (CpuFeature) without which the encoding is undefined; tested when it is executed. */
  feature?: bigint;
  /** Operand size is not chosen by 66 and REX.W: this many bytes. */
  fixedSize?: number;
}

export type OperandPlace =
  | 'rm'
  | 'memory'
  | 'register-rm'
  | 'reg'
  | 'vvvv'
  | 'is4'
  | 'opcode'
  | 'immediate'
  | 'relative'
  | 'far'
  | 'offset'
  | 'fixed';
export type OperandFile = 'gpr' | 'segment' | 'control' | 'debug' | 'mmx' | 'xmm' | 'x87';

export interface OperandSpec {
  text: string;
  place: OperandPlace;
  file: OperandFile;
  /** Bytes; 0 = the operand size of the instance; -1 = only the address counts. */
  bytes: number;
  /** With `bytes` 0: the operand is this part (2: a half) of the operand size. */
  fraction?: number;
  /** Register number of a fixed operand; value of a literal. */
  fixed?: number;
  signExtended?: boolean;
}

export type MandatoryPrefix = 'any' | 'none' | '66' | 'F3' | 'F2';

export interface Encoding {
  prefix: MandatoryPrefix;
  vex: boolean;
  /** VEX.L, where it is part of the encoding. */
  vexL?: 0 | 1;
  /** 0 one-byte, 1 0F, 2 0F 38, 3 0F 3A. */
  map: 0 | 1 | 2 | 3;
  opcode: number;
  registerInOpcode: boolean;
  /** ModRM.reg, ModRM as a whole, and form, where they are part of the encoding. */
  digit?: number;
  modrm?: number;
  form: 'any' | 'memory' | 'register';
  rexW?: 0 | 1;
  /** Only without REX.B. */
  rexB?: 0;
}

export interface Row {
  id: number;
  mnemonic: string;
  opcodeText: string;
  encoding: Encoding;
  operands: readonly OperandSpec[];
  hasModrm: boolean;
  /** Operand sizes for which there are handlers; one entry when the size does not vary. */
  sizes: readonly number[];
  options: RowOptions;
  /** What it does with the arithmetic flags. */
  flags: FlagEffect;
  semantics: Semantics;
}

export type RowDraft = Omit<Row, 'id'>;

// prettier-ignore
const places: Record<string, [OperandPlace, OperandFile]> = {
  E: ['rm', 'gpr'], M: ['memory', 'gpr'], R: ['register-rm', 'gpr'], G: ['reg', 'gpr'], Z: ['opcode', 'gpr'], S: ['reg', 'segment'],
  C: ['reg', 'control'], D: ['reg', 'debug'], I: ['immediate', 'gpr'], J: ['relative', 'gpr'], A: ['far', 'gpr'], O: ['offset', 'gpr'],
  P: ['reg', 'mmx'], Q: ['rm', 'mmx'], N: ['register-rm', 'mmx'], V: ['reg', 'xmm'], W: ['rm', 'xmm'], U: ['register-rm', 'xmm'],
  H: ['vvvv', 'xmm'], B: ['vvvv', 'gpr'], L: ['is4', 'xmm'], X: ['memory', 'gpr'],
};
const sizeBytes: Record<string, number> = {
  b: 1,
  bs: 0,
  w: 2,
  d: 4,
  q: 8,
  x: 16,
  dq: 16,
  t: 10,
  v: 0,
  z: 0,
  y: 0,
  p: -1,
  a: -1,
  '': -1,
};
// prettier-ignore
const fixedRegisters: Record<string, [number, number]> = {
  AL: [0, 1], CL: [1, 1], DL: [2, 1], BL: [3, 1], AH: [4, 1], AX: [0, 2], CX: [1, 2], DX: [2, 2], EAX: [0, 4], rAX: [0, 0], rCX: [1, 0], rDX: [2, 0],
};

/** What a VEX prefix makes of the letters of a vector's size. */
const vectorFractions: Record<string, number> = { x: 1, xh: 2, xq: 4, xe: 8 };

function parseOperand(text: string, vex: boolean): OperandSpec {
  if (text === '1') return { text, place: 'fixed', file: 'gpr', bytes: 1, fixed: 1 };
  if (text === 'ST') return { text, place: 'fixed', file: 'x87', bytes: 10, fixed: 0 };
  if (text === 'STi') return { text, place: 'register-rm', file: 'x87', bytes: 10 };
  const register = fixedRegisters[text];
  if (register !== undefined)
    return { text, place: 'fixed', file: 'gpr', bytes: register[1], fixed: register[0] };
  const place = places[text[0] ?? ''];
  const fraction = vex ? vectorFractions[text.slice(1)] : undefined;
  if (place !== undefined && fraction !== undefined)
    return { text, place: place[0], file: place[1], bytes: 0, fraction };
  const bytes = sizeBytes[text.slice(1)];
  if (place === undefined || bytes === undefined) throw new Error(`operand ${text} is not in the notation`);
  return { text, place: place[0], file: place[1], bytes, ...(text === 'Ibs' ? { signExtended: true } : {}) };
}

/** An opcode byte in the notation. */
export const hexOpcode = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0');

/** Conditions of Jcc, SETcc and CMOVcc by their code. SDM Vol. 2, appendix B.1.4.7. */
// prettier-ignore
export const conditionNames = [
  'O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE',
] as const;

const hexByte = /^[0-9A-F]{2}$/;

function parseOpcode(text: string): Encoding {
  const tokens = text.split(' ');
  const vex = tokens[0] === 'VEX';
  if (vex) tokens.shift();
  const result: Encoding = { prefix: 'any', vex, map: 0, opcode: 0, registerInOpcode: false, form: 'any' };
  const isByte = (token: string | undefined): boolean =>
    token !== undefined && /^[0-9A-F]{2}(\+r)?$/.test(token);
  if (tokens[0] === 'NP') {
    result.prefix = 'none';
    tokens.shift();
  } else if ((tokens[0] === '66' || tokens[0] === 'F3' || tokens[0] === 'F2') && isByte(tokens[1])) {
    result.prefix = tokens[0];
    tokens.shift();
  }
  if (tokens[0] === '0F' && isByte(tokens[1])) {
    tokens.shift();
    result.map = 1;
    const escape = tokens.at(0);
    if ((escape === '38' || escape === '3A') && isByte(tokens[1])) {
      tokens.shift();
      result.map = escape === '38' ? 2 : 3;
    }
  }
  const opcode = tokens.shift() ?? '';
  if (!isByte(opcode)) throw new Error(`no opcode byte in "${text}"`);
  result.opcode = parseInt(opcode, 16);
  result.registerInOpcode = opcode.endsWith('+r');
  for (const token of tokens) {
    if (hexByte.test(token)) result.modrm = parseInt(token, 16);
    else if (/^\/[0-7]$/.test(token)) result.digit = Number(token[1]);
    else if (token === 'mem') result.form = 'memory';
    else if (token === 'reg') result.form = 'register';
    else if (token === 'noB') result.rexB = 0;
    else if (token === 'W0') result.rexW = 0;
    else if (token === 'W1') result.rexW = 1;
    else if (token === 'L0') result.vexL = 0;
    else if (token === 'L1') result.vexL = 1;
    else throw new Error(`"${token}" in "${text}" is not in the notation`);
  }
  return result;
}

/** A row of the instruction table; throws on a notation error (found by every build). */
export function row(
  opcodeText: string,
  mnemonic: string,
  operandText: string,
  options: RowOptions,
  semantics: Semantics,
): RowDraft {
  const encoding = parseOpcode(opcodeText);
  const operands =
    operandText === '' ? [] : operandText.split(',').map((text) => parseOperand(text, encoding.vex));
  const modrmPlaces: readonly OperandPlace[] = ['rm', 'memory', 'register-rm', 'reg'];
  const hasModrm =
    encoding.digit !== undefined ||
    encoding.modrm !== undefined ||
    encoding.form !== 'any' ||
    operands.some((o) => modrmPlaces.includes(o.place));
  if (operands.some((o) => o.place === 'memory')) encoding.form = 'memory';
  // MOV to and from control and debug registers ignores ModRM.mod.
  const anyMod = operands.some((o) => o.file === 'control' || o.file === 'debug');
  if ((operands.some((o) => o.place === 'register-rm') && !anyMod) || encoding.modrm !== undefined)
    encoding.form = 'register';
  const varies = operands.some((o) => o.bytes === 0) || options.sizes !== undefined;
  const vectors = operands.some((o) => o.fraction !== undefined);
  const vectorSizes = encoding.vexL === undefined ? [16, 32] : [encoding.vexL === 0 ? 16 : 32];
  const sizes =
    options.fixedSize !== undefined
      ? [options.fixedSize]
      : varies
        ? (options.sizes ?? (vectors ? vectorSizes : encoding.vex ? [4, 8] : [2, 4, 8]))
        : [operands.find((o) => o.bytes > 0 && o.file === 'gpr')?.bytes ?? 4];
  const vector = operands.some((o) => o.file === 'xmm');
  const flags = flagEffect(mnemonic, anyMod ? 'system' : vector ? 'vector' : 'other');
  return { mnemonic, opcodeText, encoding, operands, hasModrm, sizes, options, flags, semantics };
}

/** Index of the operand that can be memory, or -1. */
export function memoryOperandIndex(r: RowDraft): number {
  return r.operands.findIndex(
    (o) =>
      ((o.place === 'rm' || o.place === 'memory') && r.encoding.form !== 'register') || o.place === 'offset',
  );
}

/** Bytes of an operand in the instance of this operand size; -1 where only the address counts. */
export function operandBytes(spec: OperandSpec, size: number): number {
  return spec.bytes === 0 ? size / (spec.fraction ?? 1) : spec.bytes;
}

/** Forms of a handler, in the order of their slots. */
export const Form = { register: 0, flat: 1, based: 2, segmented: 3 } as const;
export const formCount = 4;
