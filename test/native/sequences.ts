/**
 * Several instructions in a row: what single steps can't show, above all flags that one instruction leaves behind lazily
 * and another reads. A flag that the manual leaves undefined is never read, and not compared at the end.
 */
import type { Code } from 'iced-x86';
import {
  Formatter,
  FormatterSyntax,
  type Instruction,
  InstructionInfoFactory,
  OpAccess,
  Register,
  RegisterExt,
  RflagsBits,
  type UsedRegister,
} from 'iced-x86';
import { Batch, type Case, maximumCodeBytes, optionSequence, Place, vectorDone } from './case.ts';
import { type Difference, differences } from './compare.ts';
import type { Executor } from './fuzz-rows.ts';
import { canEnter, fillState, gprNumber, placeMemory, usesFloatingPoint, whyExcluded } from './generate.ts';
import type { Host } from './processors.ts';
import { Random, seedFor } from './random.ts';
import { allRows, decode, encode, type Encoded, type RowInfo } from './rows.ts';
import { defined, undefinedOf } from './undefined.ts';

const factory = new InstructionInfoFactory();

/** Rows whose effects are the same everywhere and that go on to the next instruction. */
export function sequenceRows(host: Host): RowInfo[] {
  const branches = /^(J|CALL|RET|LOOP|UD|HLT|BOUND|CMPS[BWDQ]$|POPA|XBEGIN|POPF|PUSHF|ENTER|LEAVE)/;
  const inexact =
    /^(F2XM1|FYL2X|FYL2XP1|FSIN|FCOS|FSINCOS|FPTAN|FPATAN|V?RCP|V?RSQRT|FX|FN?SAVE|FRSTOR|FN?STENV|FLDENV|LDMXCSR|BSWAP|SHLD|SHRD|DIV|IDIV)/;
  const privileged =
    /^(CLI|STI|LGDT|LIDT|LLDT|LTR|LMSW|INVLPG|CLTS|SWAPGS|WRMSR|RDMSR|INVD|WBINVD|CLAC|STAC)/;
  return allRows().filter(
    (row) =>
      whyExcluded(row, host) === undefined &&
      !dependsOnHost(row.mnemonic, host) &&
      !branches.test(row.mnemonic) &&
      !inexact.test(row.mnemonic) &&
      !privileged.test(row.mnemonic) &&
      !/_(cr|dr)|Reservednop/.test(row.name),
  );
}

function dependsOnHost(mnemonic: string, host: Host): boolean {
  if (/^FU?COMIP?$/.test(mnemonic)) return !host.agrees('compareFlagsC1');
  if (mnemonic.startsWith('FCMOV')) return !host.agrees('conditionalMoveC1');
  if (/^BS[FR]$/.test(mnemonic)) return !host.agrees('bitScanOfZero');
  if (mnemonic.startsWith('MASKMOV')) return !host.agrees('emptyMaskedMove');
  if (/^SHA(1|256)/.test(mnemonic)) return !host.agrees('shaAlignment');
  return mnemonic === 'FBLD' && !host.agrees('outOfDomain');
}

/** iced's bits of flags in their places in EFLAGS. */
// prettier-ignore
const flagPlaces: readonly (readonly [number, number])[] = [
  [RflagsBits.OF, 0x800], [RflagsBits.SF, 0x80], [RflagsBits.ZF, 0x40], [RflagsBits.AF, 0x10], [RflagsBits.CF, 1], [RflagsBits.PF, 4],
];

function flagsOf(bits: number): number {
  return flagPlaces.reduce((mask, [from, to]) => mask | (bits & from ? to : 0), 0);
}

interface FlagEffect {
  read: number;
  defined: number;
  undefinedAfter: number;
}

/** Effect on the flags whatever the operands are: a shift may leave all of them, or leave some undefined. */
function flagEffect(instruction: Instruction, mnemonic: string, c: Case): FlagEffect {
  const undefinedAfter = flagsOf(instruction.rflagsUndefined) | undefinedOf(mnemonic, instruction, c).flags;
  const shift = /^(S[HA][LR]|RO[LR]|RC[LR])$/.test(mnemonic);
  const conditional = shift || instruction.hasRepPrefix || instruction.hasRepnePrefix;
  const possible = shift ? 0x811 : 0;
  return {
    read: flagsOf(instruction.rflagsRead),
    defined: conditional ? 0 : flagsOf(instruction.rflagsModified) & ~undefinedAfter,
    undefinedAfter: undefinedAfter | possible,
  };
}

/** Flags that are undefined after a sequence that ran to its end, or that stopped at a fault somewhere in it. */
function undefinedFlagsAfter(c: Case, completed: boolean): number {
  let flags = 0;
  let skippable = false;
  for (let at = 0; at < c.code.length;) {
    const { instruction, bytes } = decode(c.code.subarray(at), c.mode, c.startRip + BigInt(at));
    at += bytes.length;
    if (isJump(instruction)) {
      skippable = true;
      continue;
    }
    const mnemonic = rowsByCode().get(instruction.code)?.mnemonic ?? '';
    const effect = flagEffect(instruction, mnemonic, c);
    flags = (flags & ~(skippable || !completed ? 0 : effect.defined)) | effect.undefinedAfter;
    skippable = false;
  }
  return flags;
}

function isJump(instruction: Instruction): boolean {
  return instruction.isJccShort;
}

let byCode: Map<Code, RowInfo> | undefined;
function rowsByCode(): Map<Code, RowInfo> {
  byCode ??= new Map(allRows().map((row) => [row.code, row]));
  return byCode;
}

/** General registers that the instruction writes. */
function writtenRegisters(instruction: Instruction): Set<number> {
  const written = new Set<number>();
  const info = factory.info(instruction);
  for (const used of info.usedRegisters() as UsedRegister[]) {
    const writes =
      used.access !== OpAccess.Read &&
      used.access !== OpAccess.CondRead &&
      used.access !== OpAccess.NoMemAccess;
    if (writes && RegisterExt.isGPR(used.register)) written.add(gprNumber(used.register));
    used.free();
  }
  info.free();
  return written;
}

function addressRegisters(instruction: Instruction): number[] {
  return [instruction.memoryBase, instruction.memoryIndex]
    .filter((register) => register !== Register.None && RegisterExt.isGPR(register))
    .map((register) => gprNumber(register));
}

interface Progress {
  bytes: number[];
  written: Set<number>;
  fixed: Set<number>;
  poison: number;
  /** An earlier conditional jump may skip the next instruction. */
  skippable: boolean;
}

/** Whether the instruction can stand next: its addresses are still known, and it reads no undefined flag. */
function fits(encoded: Encoded, row: RowInfo, c: Case, progress: Progress): boolean {
  const { instruction } = encoded;
  if (progress.bytes.length + encoded.bytes.length > maximumCodeBytes) return false;
  const registers = addressRegisters(instruction);
  if (registers.some((number) => progress.written.has(number))) return false;
  if (registers.length > 0 && registers.some((number) => progress.fixed.has(number))) return false;
  const implicit =
    instruction.isStringInstruction || row.mnemonic.startsWith('XLAT') || row.mnemonic.startsWith('MASKMOV');
  if (implicit && [1, 3, 6, 7].some((number) => progress.written.has(number) || progress.fixed.has(number)))
    return false;
  return (flagEffect(instruction, row.mnemonic, c).read & progress.poison) === 0;
}

function append(c: Case, encoded: Encoded, row: RowInfo, random: Random, progress: Progress): void {
  const { instruction } = encoded;
  const effect = flagEffect(instruction, row.mnemonic, c);
  const written = writtenRegisters(instruction);
  const ip = Number(c.startRip) + progress.bytes.length;
  placeMemory(c, row, encoded, ip, random, progress.fixed);
  for (const number of addressRegisters(instruction)) progress.fixed.add(number);
  for (const number of written) progress.written.add(number);
  if (instruction.isStringInstruction) for (const number of [1, 6, 7]) progress.written.add(number);
  progress.poison = (progress.poison & ~(progress.skippable ? 0 : effect.defined)) | effect.undefinedAfter;
  progress.bytes.push(...encoded.bytes);
}

const conditionFlags = [0x800, 1, 0x40, 0x41, 0x80, 4, 0x880, 0x8c0];

/** Jcc over the instruction that comes next; false when its flags are undefined. */
function skipNext(random: Random, length: number, progress: Progress): boolean {
  const condition = random.below(16);
  if (((conditionFlags[condition >> 1] ?? 0) & progress.poison) !== 0) return false;
  if (progress.bytes.length + 2 + length > maximumCodeBytes) return false;
  progress.bytes.push(0x70 | condition, length);
  return true;
}

/** Fills `c` with sequence number `index`; false when nothing came together. */
export function generateSequence(
  c: Case,
  rows: readonly RowInfo[],
  seed: number,
  index: number,
  host: Host,
): boolean {
  const random = new Random(seedFor(seed, `sequence#${index}`));
  c.bytes.fill(0);
  c.mode = random.pick([32, 64, 64, 16]);
  if (!host.system.modes.includes(c.mode)) return false;
  c.codeOffset = random.chance(0.1) ? 0x1000 - random.below(40) : 0x10 + random.below(0xf80);
  c.options = optionSequence;
  const floatingPoint = random.chance(0.3);
  const usable = rows.filter(
    (row) => row.modes.includes(c.mode) && usesFloatingPoint.test(row.text) === floatingPoint,
  );
  fillState(c, floatingPoint, random);
  const progress: Progress = { bytes: [], written: new Set(), fixed: new Set(), poison: 0, skippable: false };
  const wanted = random.between(2, 8);
  for (let count = 0, tries = 0; count < wanted && tries < 60; tries++) {
    const row = random.pick(usable);
    const skip = count > 0 && random.chance(0.25);
    const ip = c.startRip + BigInt(progress.bytes.length + (skip ? 2 : 0));
    const encoded = encode(row, c.mode, ip, random);
    if (encoded === undefined || !fits(encoded, row, c, progress)) continue;
    if (skip && !skipNext(random, encoded.bytes.length, progress)) continue;
    progress.skippable = skip;
    append(c, encoded, row, random, progress);
    count++;
  }
  c.code = Uint8Array.from(progress.bytes);
  const fitting = progress.bytes.length > 0 && c.codeOffset + progress.bytes.length < Place.codeBytes;
  return fitting && canEnter(c, host);
}

export interface SequenceFailure {
  index: number;
  text: string;
}

const batchCases = 5000;
const formatter = new Formatter(FormatterSyntax.Intel);

function describe(c: Case, seed: number, index: number, found: readonly Difference[]): string {
  const lines: string[] = [];
  for (let at = 0; at < c.code.length;) {
    const { instruction, bytes } = decode(c.code.subarray(at), c.mode, c.startRip + BigInt(at));
    lines.push(formatter.format(instruction));
    at += bytes.length;
  }
  const what = found.map((one) => `${one.what} ${one.expected} (got ${one.got})`).join(', ');
  return `${c.mode}-bit ${Buffer.from(c.code).toString('hex')} ${lines.join('; ')} | sequence seed ${seed} #${index} | expected ${what}`;
}

/** Compares sequences number 0 to `count` - 1. Returns the number that ran and those that differ. */
export function fuzzSequences(o: {
  count: number;
  seed: number;
  native: Executor;
  /** The processor behind `native`. */
  host: Host;
  emulated: Executor;
  first?: number;
}): { cases: number; completed: number; failures: SequenceFailure[] } {
  const rows = sequenceRows(o.host);
  const result = { cases: 0, completed: 0, failures: [] as SequenceFailure[] };
  const first = o.first ?? 0;
  for (let start = first; start < first + o.count; start += batchCases) {
    const batch = new Batch(batchCases);
    const owners: number[] = [];
    for (let index = start; index < Math.min(start + batchCases, first + o.count); index++) {
      if (generateSequence(batch.add(), rows, o.seed, index, o.host)) owners.push(index);
      else batch.length--;
    }
    const expected = o.native(batch);
    const got = o.emulated(batch);
    for (const [i, index] of owners.entries()) {
      const completed = expected.at(i).trap === vectorDone;
      const flags = undefinedFlagsAfter(batch.at(i), completed);
      const parts = { ...defined, flags, alignment: true };
      const found = differences(batch.at(i), expected.at(i), got.at(i), parts, o.host);
      result.cases++;
      if (completed) result.completed++;
      if (found.length > 0)
        result.failures.push({ index, text: describe(batch.at(i), o.seed, index, found) });
    }
  }
  return result;
}
