/**
 * The instructions that are compared: every legacy and VEX encoding that iced-x86 knows, in the features of the x86-64-v3 model.
 * The list is independent of the emulator's own table, so what that table forgets is seen here.
 */
import {
  Code,
  CodeExt,
  CpuidFeature,
  Decoder,
  EncodingKind,
  Instruction,
  MandatoryPrefix,
  OpCodeOperandKind,
  OpCodeTableKind,
} from 'iced-x86';
import type { Mode } from './case.ts';
import type { Random } from './random.ts';

/** CpuidFeature names of iced-x86 that make up the x86-64-v2 level and all before it. */
const olderFeatures: ReadonlySet<string> = new Set(
  (
    'INTEL8086 INTEL186 INTEL286 INTEL386 INTEL486 X64 FPU FPU287 FPU387 CMOV PAUSE MULTIBYTENOP SYSCALL SEP MSR TSC RDPMC CPUID ' +
    'MMX FXSR SSE SSE2 SSE3 SSSE3 SSE4_1 SSE4_2 CLFSH POPCNT CX8 CMPXCHG16B RDRAND MOVBE RDTSCP XSAVE PREFETCHW SMAP'
  ).split(' '),
);

/** The same for the x86-64-v3 model. */
export const levelFeatures: ReadonlySet<string> = new Set([
  ...olderFeatures,
  ...'RDSEED LZCNT BMI1 BMI2 ADX AVX AVX2 FMA F16C XSAVEOPT XSAVEC AES PCLMULQDQ SHA VAES VPCLMULQDQ'.split(
    ' ',
  ),
]);

export interface RowInfo {
  readonly code: Code;
  /** Name of the iced Code, for example `Add_rm32_r32`. */
  readonly name: string;
  /** `ADD r/m32, r32` */
  readonly text: string;
  readonly mnemonic: string;
  readonly modes: readonly Mode[];
  readonly operandSize: number;
  readonly addressSize: number;
  readonly mandatory: readonly number[];
  readonly opcode: readonly number[];
  readonly plusRegister: boolean;
  readonly plusStack: boolean;
  readonly groupIndex: number;
  readonly rmGroupIndex: number;
  readonly canLock: boolean;
  readonly canRep: boolean;
  readonly canRepne: boolean;
  readonly defaultOperandSize64: boolean;
  readonly privileged: boolean;
  /** Not in the x86-64-v2 level. */
  readonly newer: boolean;
  /** Fields of the VEX prefix; undefined where the instruction ignores them. */
  readonly vex?: {
    readonly l: number | undefined;
    readonly w: number | undefined;
    readonly pp: number;
    readonly map: number;
  };
}

const tableBytes: Record<number, readonly number[]> = {
  [OpCodeTableKind.Normal]: [],
  [OpCodeTableKind.T0F]: [0x0f],
  [OpCodeTableKind.T0F38]: [0x0f, 0x38],
  [OpCodeTableKind.T0F3A]: [0x0f, 0x3a],
};
/** VEX.mmmmm and VEX.pp. */
const vexMaps: Record<number, number> = {
  [OpCodeTableKind.T0F]: 1,
  [OpCodeTableKind.T0F38]: 2,
  [OpCodeTableKind.T0F3A]: 3,
};
const vexPrefixes: Record<number, number> = {
  [MandatoryPrefix.P66]: 1,
  [MandatoryPrefix.PF3]: 2,
  [MandatoryPrefix.PF2]: 3,
};
const mandatoryBytes: Record<number, readonly number[]> = {
  [MandatoryPrefix.P66]: [0x66],
  [MandatoryPrefix.PF3]: [0xf3],
  [MandatoryPrefix.PF2]: [0xf2],
};

function describe(code: Code, newer: boolean): RowInfo {
  const info = CodeExt.opCode(code);
  const kinds = Array.from({ length: info.opCount }, (_, i) => info.opKind(i));
  const registerInOpcode = [
    OpCodeOperandKind.r8_opcode,
    OpCodeOperandKind.r16_opcode,
    OpCodeOperandKind.r32_opcode,
    OpCodeOperandKind.r64_opcode,
  ];
  const opcode = info.opCodeLength === 2 ? [info.opCode >>> 8, info.opCode & 0xff] : [info.opCode];
  const text = info.instructionString;
  const row: RowInfo = {
    code,
    name: Code[code],
    text,
    mnemonic: text.split(' ')[0] ?? text,
    modes: ([16, 32, 64] as const).filter(
      (mode) => info.isAvailableInMode(mode) && (mode !== 64 || info.intelDecoder64),
    ),
    operandSize: info.operandSize,
    addressSize: info.addressSize,
    mandatory: mandatoryBytes[info.mandatoryPrefix] ?? [],
    opcode: [...(tableBytes[info.table] ?? []), ...opcode],
    plusRegister: kinds.some((kind) => registerInOpcode.includes(kind)),
    plusStack: kinds.includes(OpCodeOperandKind.sti_opcode),
    groupIndex: info.groupIndex,
    rmGroupIndex: info.rmGroupIndex,
    canLock: info.canUseLockPrefix,
    canRep: info.canUseRepPrefix,
    canRepne: info.canUseRepnePrefix,
    defaultOperandSize64: info.defaultOpSize64 || info.forceOpSize64,
    privileged: info.isPrivileged,
    newer,
    ...(info.encoding === EncodingKind.VEX
      ? {
          vex: {
            l: info.isLIG ? undefined : info.L,
            // VEX.W1 of VPEXTRD and VPINSRD outside of 64-bit code: ignored in Intel's manual, undefined on AMD's processors.
            w: info.isWIG || (info.isWIG32 && !/^VP(EXTR|INSR)D/.test(text)) ? undefined : info.W,
            pp: vexPrefixes[info.mandatoryPrefix] ?? 0,
            map: vexMaps[info.table] ?? 0,
          },
        }
      : {}),
  };
  info.free();
  return row;
}

/** CPUID features that iced says the instruction needs. */
export function featuresOf(instruction: Instruction): string[] {
  return Array.from(
    instruction.cpuidFeatures() as Iterable<CpuidFeature>,
    (feature) => CpuidFeature[feature],
  );
}

/** Every encoding of the level, system instructions included. WAIT + FNxxx pairs are two instructions here. */
export function allRows(): RowInfo[] {
  const rows: RowInfo[] = [];
  const instruction = new Instruction();
  for (const code of Object.values(Code)) {
    if (typeof code !== 'number') continue;
    const info = CodeExt.opCode(code);
    const wanted =
      (info.encoding === EncodingKind.Legacy || info.encoding === EncodingKind.VEX) &&
      info.isInstruction &&
      !info.fwait &&
      info.table in tableBytes;
    info.free();
    if (!wanted) continue;
    instruction.code = code;
    const features = featuresOf(instruction);
    if (features.every((feature) => levelFeatures.has(feature))) {
      const row = describe(code, !features.every((feature) => olderFeatures.has(feature)));
      if (row.modes.length > 0) rows.push(row);
    }
  }
  instruction.free();
  return rows;
}

const segmentPrefixes = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;

/** Prefixes for the row in a mode, in random order; REX follows. */
function prefixesFor(row: RowInfo, mode: Mode, random: Random): number[] {
  const prefixes: number[] = row.vex === undefined ? [...row.mandatory] : [];
  const defaultSize = mode === 16 ? 16 : 32;
  if ((row.operandSize === 16 || row.operandSize === 32) && row.operandSize !== defaultSize) {
    if (!(mode === 64 && row.operandSize === 32) && row.vex === undefined) prefixes.push(0x66);
  }
  if (row.addressSize !== 0) {
    if (row.addressSize !== mode) prefixes.push(0x67);
  } else if (random.chance(mode === 32 ? 0.06 : 0.12)) prefixes.push(0x67);
  if (random.chance(mode === 32 ? 0.2 : 0.12))
    prefixes.push(mode === 32 && random.chance(0.5) ? 0x64 : random.pick(segmentPrefixes));
  if (row.canRep && random.chance(0.5)) prefixes.push(row.canRepne && random.chance(0.5) ? 0xf2 : 0xf3);
  if (row.canLock && random.chance(0.25)) prefixes.push(0xf0);
  if (random.chance(0.03) && row.vex === undefined) prefixes.push(random.pick([0x66, 0xf2, 0xf3, 0x2e]));
  for (let i = prefixes.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [prefixes[i], prefixes[j]] = [prefixes[j] as number, prefixes[i] as number];
  }
  return prefixes;
}

/** A VEX prefix with everything that the instruction leaves open at random, and the opcode. */
function vexBytes({ vex, opcode }: RowInfo, mode: Mode, random: Random): number[] {
  if (vex === undefined) return [];
  const wide = mode === 64;
  const extension = wide ? 7 ^ (random.chance(0.5) ? random.below(8) : 0) : 7;
  const vvvv = random.chance(0.4) ? 15 : wide ? random.below(16) : 8 | random.below(8);
  const w = vex.w ?? (random.chance(0.2) ? 1 : 0);
  const last = (vvvv << 3) | ((vex.l ?? (random.chance(0.2) ? 1 : 0)) << 2) | vex.pp;
  const code = opcode.at(-1) as number;
  if (vex.map === 1 && w === 0 && (extension & 3) === 3 && random.chance(0.7))
    return [0xc5, ((extension & 4) << 5) | last, code];
  return [0xc4, (extension << 5) | vex.map, (w << 7) | last, code];
}

function immediateByte(random: Random): number {
  return random.chance(0.4) ? random.pick([0, 1, 0x7f, 0x80, 0xff]) : random.below(256);
}

function modRm(row: RowInfo, random: Random): number {
  const mod = random.chance(0.4) ? 3 : random.below(3);
  const reg = row.groupIndex >= 0 ? row.groupIndex : random.below(8);
  const rm = row.rmGroupIndex >= 0 ? row.rmGroupIndex : random.below(8);
  return ((row.rmGroupIndex >= 0 ? 3 : mod) << 6) | (reg << 3) | rm;
}

/** Decoder over one buffer that is refilled for each attempt. */
class Attempt {
  readonly bytes = new Uint8Array(15);
  readonly instruction = new Instruction();
  constantOffset = 0;
  constantSize = 0;

  decode(mode: Mode, ip: bigint): boolean {
    const decoder = new Decoder(mode, this.bytes, 0);
    decoder.ip = ip;
    decoder.decodeOut(this.instruction);
    const constants = decoder.getConstantOffsets(this.instruction);
    this.constantOffset = constants.displacementOffset;
    this.constantSize = constants.displacementSize;
    constants.free();
    decoder.free();
    return !this.instruction.isInvalid;
  }
}
const attempt = new Attempt();

export interface Encoded {
  readonly bytes: Uint8Array;
  /** Valid until the next call. */
  readonly instruction: Instruction;
  readonly displacementOffset: number;
  readonly displacementSize: number;
}

/** Decodes at `ip`; the instruction is shared and valid until the next call. */
export function decode(bytes: Uint8Array, mode: Mode, ip: bigint): Encoded {
  attempt.bytes.fill(0);
  attempt.bytes.set(bytes.subarray(0, attempt.bytes.length));
  attempt.decode(mode, ip);
  return {
    bytes: attempt.bytes.slice(0, attempt.instruction.length),
    instruction: attempt.instruction,
    displacementOffset: attempt.constantOffset,
    displacementSize: attempt.constantSize,
  };
}

/** A random valid encoding of the row, or undefined when none was found. */
export function encode(row: RowInfo, mode: Mode, ip: bigint, random: Random): Encoded | undefined {
  for (let tries = 0; tries < 60; tries++) {
    const bytes = prefixesFor(row, mode, random);
    if (mode === 64 && row.vex === undefined) {
      const wide = row.operandSize === 64 && !row.defaultOperandSize64;
      const rex =
        (wide ? 8 : random.chance(0.05) && row.operandSize === 0 ? 8 : 0) |
        (random.chance(0.6) ? random.below(8) : 0);
      if (rex !== 0 || random.chance(0.1)) bytes.push(0x40 | rex);
    }
    bytes.push(...(row.vex === undefined ? row.opcode : vexBytes(row, mode, random)));
    if (row.plusRegister || row.plusStack)
      bytes[bytes.length - 1] = (bytes.at(-1) as number) + random.below(8);
    if (bytes.length > 14) continue;
    attempt.bytes.fill(0);
    attempt.bytes.set(bytes);
    attempt.bytes[bytes.length] = modRm(row, random);
    for (let i = bytes.length + 1; i < 15; i++)
      attempt.bytes[i] = i === bytes.length + 1 ? random.below(256) : immediateByte(random);
    if (!attempt.decode(mode, ip) || attempt.instruction.code !== row.code) continue;
    return {
      bytes: attempt.bytes.slice(0, attempt.instruction.length),
      instruction: attempt.instruction,
      displacementOffset: attempt.constantOffset,
      displacementSize: attempt.constantSize,
    };
  }
  return undefined;
}
