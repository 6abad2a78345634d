/** The comparison itself: rows → cases → processor and emulator → differences, minimised. */
import { gprNames } from '../../packages/emulator/src/cpu/registers.ts';
import { Formatter, FormatterSyntax } from 'iced-x86';
import { Batch, type Case, caseBytes, vectorDone } from './case.ts';
import { differences, type Difference } from './compare.ts';
import { generate } from './generate.ts';
import { ignoredMemory } from './ignored.ts';
import type { Host } from './processors.ts';
import { decode, type RowInfo } from './rows.ts';
import { notCompared } from './undefined.ts';

export type Executor = (batch: Batch) => Batch;

export interface Failure {
  row: RowInfo;
  index: number;
  before: Case;
  expected: Case;
  got: Case;
  differences: Difference[];
}

export interface RowResult {
  row: RowInfo;
  cases: number;
  completed: number;
  failed: number;
  failures: Failure[];
}

export interface FuzzOptions {
  rows: readonly RowInfo[];
  casesPerRow: number;
  seed: number;
  native: Executor;
  /** The processor behind `native`. */
  host: Host;
  emulated: Executor;
  /** Failures kept for each row; all are counted. */
  keep: number;
  /** First case number. */
  firstIndex?: number;
}

const batchCases = 6000;

export function compareCase(row: RowInfo, before: Case, expected: Case, got: Case, host: Host): Difference[] {
  const { instruction } = decode(before.code, before.mode, before.startRip);
  return differences(
    before,
    expected,
    got,
    notCompared(row.mnemonic, instruction, before, host),
    host,
    ignoredMemory(row.name, instruction, before),
  );
}

export function fuzz(options: FuzzOptions): RowResult[] {
  const results = options.rows.map((row): RowResult => ({
    row,
    cases: 0,
    completed: 0,
    failed: 0,
    failures: [],
  }));
  let batch = new Batch(batchCases);
  let owners: { result: RowResult; index: number }[] = [];
  const flush = (): void => {
    if (batch.length === 0) return;
    const expected = options.native(batch);
    const got = options.emulated(batch);
    for (const [i, { result, index }] of owners.entries()) {
      const found = compareCase(result.row, batch.at(i), expected.at(i), got.at(i), options.host);
      result.cases++;
      if (expected.at(i).trap === vectorDone) result.completed++;
      if (found.length === 0) continue;
      result.failed++;
      if (result.failures.length < options.keep) {
        result.failures.push({
          row: result.row,
          index,
          before: batch.at(i).copy(),
          expected: expected.at(i).copy(),
          got: got.at(i).copy(),
          differences: found,
        });
      }
    }
    batch = new Batch(batchCases);
    owners = [];
  };
  const first = options.firstIndex ?? 0;
  for (const result of results) {
    for (let index = first; index < first + options.casesPerRow; index++) {
      if (!generate(batch.add(), result.row, options.seed, index, options.host)) {
        batch.length--;
        continue;
      }
      owners.push({ result, index });
      if (batch.length === batchCases) flush();
    }
  }
  flush();
  return results;
}

function single(c: Case): Batch {
  const batch = new Batch(1);
  batch.add().bytes.set(c.bytes);
  return batch;
}

/** Ranges of a case that may be cleared without making it another kind of case. */
const simplifications: ((c: Case) => void)[] = [
  ...Array.from({ length: 16 }, (_, i) => (c: Case) => void (i !== 4 && c.setGpr(i, 0n))),
  (c) => void (c.rflags = 0x202),
  (c) => void c.fxsave.fill(0, 160),
  (c) => void c.fxsave.fill(0, 32, 160),
  ...Array.from({ length: 16 }, (_, i) => (c: Case) => void c.fxsave.fill(0, 160 + 16 * i, 176 + 16 * i)),
  ...Array.from({ length: 8 }, (_, i) => (c: Case) => void c.fxsave.fill(0, 32 + 16 * i, 48 + 16 * i)),
  (c) => {
    c.fxsave.fill(0, 0, 4);
    c.fxsave[0] = 0x7f;
    c.fxsave[1] = 3;
  },
  (c) => {
    c.fxsave[24] = 0x80;
    c.fxsave[25] = 0x1f;
  },
  (c) => void c.uppers.fill(0),
  ...Array.from({ length: 16 }, (_, i) => (c: Case) => void c.uppers.fill(0, 16 * i, 16 * i + 16)),
  (c) => void c.windowA.fill(0),
  (c) => void c.windowB.fill(0),
  (c) => void c.windowS.fill(0),
  (c) => void (c.codeOffset = 0x100),
];

/** A simpler case that differs in the same places. */
export function minimise(failure: Failure, native: Executor, emulated: Executor, host: Host): Failure {
  const wanted = failure.differences[0]?.what;
  let best = failure;
  for (const simplify of simplifications) {
    const candidate = best.before.copy();
    simplify(candidate);
    if (Buffer.compare(candidate.bytes.subarray(0, caseBytes), best.before.bytes) === 0) continue;
    const batch = single(candidate);
    const expected = native(batch).at(0);
    const got = emulated(batch).at(0);
    const found = compareCase(failure.row, candidate, expected, got, host);
    if (found.length > 0 && found[0]?.what === wanted)
      best = { ...best, before: candidate, expected, got, differences: found };
  }
  return best;
}

const formatter = new Formatter(FormatterSyntax.Intel);

/** One line: mode, bytes, disassembly, how to repeat it, what it needed, what differs. */
export function describeFailure(failure: Failure, seed: number): string {
  const { before } = failure;
  const { instruction } = decode(before.code, before.mode, before.startRip);
  const state: string[] = [];
  for (let i = 0; i < 16; i++)
    if (before.gpr(i) !== 0n && i !== 4) state.push(`${gprNames[i]}=${before.gpr(i).toString(16)}`);
  if (before.rflags !== 0x202) state.push(`fl=${before.rflags.toString(16)}`);
  const fp = new DataView(before.fxsave.buffer, before.fxsave.byteOffset, 512);
  if (fp.getUint16(0, true) !== 0x37f || fp.getUint16(2, true) !== 0)
    state.push(`fcw=${fp.getUint16(0, true).toString(16)} fsw=${fp.getUint16(2, true).toString(16)}`);
  if (fp.getUint8(4) !== 0) state.push(`ftw=${fp.getUint8(4).toString(16)}`);
  for (let i = 0; i < 8; i++) {
    const [s, e] = [fp.getBigUint64(32 + 16 * i, true), fp.getUint16(40 + 16 * i, true)];
    if (s !== 0n || e !== 0) state.push(`st${i}=${e.toString(16)}:${s.toString(16)}`);
  }
  if (fp.getUint32(24, true) !== 0x1f80) state.push(`mxcsr=${fp.getUint32(24, true).toString(16)}`);
  for (let i = 0; i < 16; i++) {
    const [low, high] = [fp.getBigUint64(160 + 16 * i, true), fp.getBigUint64(168 + 16 * i, true)];
    if (low !== 0n || high !== 0n) state.push(`xmm${i}=${high.toString(16)}:${low.toString(16)}`);
    const upper = Buffer.from(before.uppers.slice(16 * i, 16 * i + 16).reverse());
    if (upper.some((byte) => byte !== 0)) state.push(`upper${i}=${upper.toString('hex')}`);
  }
  const what = failure.differences.map((d) => `${d.what} ${d.expected} (got ${d.got})`).join(', ');
  const bytes = Buffer.from(before.code).toString('hex');
  return `${before.mode}-bit ${bytes} ${formatter.format(instruction)} | ${failure.row.name} seed ${seed} #${failure.index} | ${state.join(' ')} | expected ${what}`;
}
