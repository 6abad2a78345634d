/**
 * Random programs for the comparison of engines. A program is a chain of sequences: a loop around random instructions of every row
 * and of the snippets. An exception ends one turn of the loop.
 */
import { disassembleOne } from '@revenant/emulator';
import { Cpu } from '../../packages/emulator/src/cpu/layout.ts';
import { decode } from '../../packages/emulator/src/disassembler/decode.ts';
import type { Mode } from '../native/case.ts';
import { whyExcluded } from '../native/generate.ts';
import { emulatedHost } from '../native/processors.ts';
import { Random } from '../native/random.ts';
import { allRows, encode, type RowInfo } from '../native/rows.ts';
import { little, Place, type ProgramMode } from './memory-layout.ts';
import { Assembly, snippets } from './snippets.ts';

/** Sequences in each program. */
export const sequencesPerProgram = 8;
const functionCount = 8;

const controlRows =
  /^(J|CALL|RET|LOOP|INT|IRET|SYSCALL|SYSENTER|SYSRET|SYSEXIT|HLT|UD|LEAVE|ENTER|BOUND|ICEBP)/;
export const rowsOf: Record<ProgramMode, RowInfo[]> = { 32: usable(32), 64: usable(64) };
const snippetWeight = snippets.reduce((sum, [weight]) => sum + weight, 0);

function usable(mode: Mode): RowInfo[] {
  return allRows().filter(
    (row) =>
      row.modes.includes(mode) &&
      !row.privileged &&
      whyExcluded(row, emulatedHost) === undefined &&
      !controlRows.test(row.mnemonic),
  );
}

export interface Program {
  mode: ProgramMode;
  entry: number;
  code: Uint8Array;
  functions: Uint8Array;
  data: Uint8Array;
  controlWords: Uint8Array;
  registers: bigint[];
  /** What else the vCPU block holds in the beginning: offsets and bytes. */
  state: readonly (readonly [number, Uint8Array])[];
  /** Where each sequence begins. */
  starts: number[];
  /** Instruction counts at which the engines are compared, ascending. */
  stops: number[];
}

/** Chooses the row of the next instruction. */
export type PickRow = (random: Random, mode: ProgramMode) => RowInfo;
const anyRow: PickRow = (random, mode) => random.pick(rowsOf[mode]);

/** A memory operand that has a chance to hit memory: no index, no far displacement. Others now and then. */
function likely(bytes: Uint8Array, mode: ProgramMode, random: Random): boolean {
  const memory = decode(bytes, mode)?.memory;
  if (memory === undefined) return true;
  const near = memory.displacement < 0x200n && memory.displacement > -0x200n;
  return (near && memory.base !== undefined && memory.index === undefined) || random.chance(0.03);
}

function randomInstruction(a: Assembly, random: Random, pick: PickRow): void {
  const row = pick(random, a.mode);
  for (let tries = 0; tries < 8; tries++) {
    const encoded = encode(row, a.mode, BigInt(a.here), random);
    if (encoded === undefined || !likely(encoded.bytes, a.mode, random)) continue;
    a.emit(...encoded.bytes);
    return;
  }
}

function randomSnippet(a: Assembly, random: Random, functions: readonly number[]): void {
  let at = random.below(snippetWeight);
  for (const [weight, snippet] of snippets) {
    at -= weight;
    if (at >= 0) continue;
    snippet(a, random, functions);
    return;
  }
}

/** Instructions, some of them jumped over. */
function body(a: Assembly, random: Random, count: number, functions: readonly number[], pick: PickRow): void {
  const open: { until: number; close: () => void }[] = [];
  for (let i = 0; i < count; i++) {
    for (let n = open.length - 1; n >= 0; n--)
      if ((open[n]?.until ?? 0) <= i) open.splice(n, 1).forEach(({ close }) => close());
    const kind = random.u32() / 2 ** 32;
    if (kind < 0.12) {
      a.emit(0x0f, 0x80 | random.below(16));
      open.push({ until: i + random.between(1, 4), close: a.forward(4) });
    } else if (kind < 0.4 && functions.length > 0) randomSnippet(a, random, functions);
    else randomInstruction(a, random, pick);
  }
  open.forEach(({ close }) => close());
}

function address(random: Random): number {
  const kind = random.below(16);
  if (kind === 0) return Place.data + 4096 - random.below(16);
  if (kind === 1) return Place.data + (Place.dataPages + 1) * 4096 - random.below(16);
  if (kind < 8) return Place.data + 16 * random.between(32, 400);
  return Place.data + random.between(512, Place.dataPages * 4096);
}

/** Functions that end in RET, on both pages at the same offsets; the last one lies across the two pages. */
function makeFunctions(mode: ProgramMode, random: Random): { bytes: Uint8Array; starts: number[] } {
  const bytes = new Uint8Array(2 * 4096).fill(0xc3);
  const starts: number[] = [];
  for (let i = 0; i < functionCount; i++) {
    const offset = i === functionCount - 1 ? 4096 - random.between(1, 10) : i * 512 + random.below(64);
    for (const page of offset < 4000 ? [0, 4096] : [0]) {
      const a = new Assembly(mode, Place.functions + page + offset);
      body(a, random, random.between(1, 4), [], anyRow);
      a.emit(0xc3);
      bytes.set(a.bytes.slice(0, bytes.length - page - offset), page + offset);
    }
    starts.push(Place.functions + offset);
  }
  return { bytes, starts };
}

/** Loads some registers with addresses and small numbers. */
function loads(a: Assembly, random: Random): void {
  for (const register of [0, 1, 2, 3, 5, 6, 7])
    if (random.chance(0.5)) a.load(register, random.chance(0.7) ? address(random) : random.below(16));
}

function sequence(
  a: Assembly,
  random: Random,
  number: number,
  functions: readonly number[],
  pick: PickRow,
): void {
  a.absolute([0xc6], 0, Place.sequenceCell);
  a.emit(number);
  // mov [resumeCell], tail: an exception ends this turn of the loop
  a.absolute([0xc7], 0, Place.resumeCell);
  const resume = a.bytes.length;
  a.emit(0, 0, 0, 0);
  a.absolute([0xc7], 0, Place.counterCell);
  a.emit(random.between(2, 12), 0, 0, 0);
  const loadsInside = random.chance(0.6);
  if (!loadsInside) loads(a, random);
  const loop = a.here;
  if (loadsInside) loads(a, random);
  body(a, random, random.between(2, 12), functions, pick);
  little(a.here).forEach((byte, i) => (a.bytes[resume + i] = byte));
  a.absolute([0xff], 1, Place.counterCell); // dec
  a.emit(0x0f, 0x85);
  a.emit(...little(loop - (a.here + 4)));
}

function controlWords(random: Random): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 32; i++) {
    // Mostly masked; every rounding and precision, DAZ and FTZ.
    const masks = random.chance(0.75) ? 0x3f : random.below(64);
    view.setUint16(i * 8, masks | (random.below(16) << 8), true);
    view.setUint32(
      i * 8 + 4,
      (masks << 7) |
        (random.below(4) << 13) |
        (random.chance(0.2) ? 0x40 : 0) |
        (random.chance(0.2) ? 0x8000 : 0),
      true,
    );
  }
  return bytes;
}

/** The program of a seed. */
export function makeProgram(seed: number): Program {
  return chainSequences(new Random(seed), anyRow);
}

/** A program of sequences whose instructions `pick` chooses. */
export function chainSequences(random: Random, pick: PickRow): Program {
  const mode: ProgramMode = random.chance(0.6) ? 64 : 32;
  const functions = makeFunctions(mode, random);
  const a = new Assembly(mode, Place.code + random.below(4096));
  const starts: number[] = [];
  for (let i = 0; i < sequencesPerProgram; i++) {
    starts.push(a.here);
    sequence(a, random, i, functions.starts, pick);
  }
  a.absolute([0xc6], 0, Place.sequenceCell);
  a.emit(sequencesPerProgram);
  a.emit(0xeb, 0xfe);
  const values = Array.from({ length: 16 }, (): bigint => {
    const kind = random.below(10);
    if (kind < 6) return BigInt(address(random));
    if (kind < 8) return BigInt(random.below(16));
    return kind === 8 ? random.u64() : BigInt.asUintN(64, -BigInt(random.below(256)));
  });
  values[4] = BigInt(Place.stackTop - 64 - 8 * random.below(16));
  const data = new Uint8Array((Place.dataPages + 1) * 4096);
  for (let i = 0; i < data.length; i += 4) new DataView(data.buffer).setUint32(i, random.u32(), true);
  return {
    ...{ mode, entry: starts[0] ?? 0, code: Uint8Array.from(a.bytes), functions: functions.bytes, data },
    ...{ controlWords: controlWords(random), starts },
    registers: mode === 64 ? values : values.map((value) => BigInt.asUintN(32, value)),
    state: [[Cpu.xmm, new Uint8Array(BigUint64Array.from({ length: 32 }, () => random.u64()).buffer)]],
    stops: [...new Set([random.between(1, 400), random.between(200, 2000), 5000])].sort((x, y) => x - y),
  };
}

/** The program's own code as text, for messages. */
export function listing({ code, entry, mode, starts }: Program): string {
  const lines: string[] = [];
  for (let at = 0; at < code.length;) {
    const one = disassembleOne(code.subarray(at), mode, BigInt(entry + at));
    const mark = starts.includes(entry + at) ? '> ' : '  ';
    lines.push(
      `${mark}${(entry + at).toString(16)}  ${Buffer.from(one.bytes).toString('hex').padEnd(22)} ${one.text}`,
    );
    at += one.length;
  }
  return lines.join('\n');
}
