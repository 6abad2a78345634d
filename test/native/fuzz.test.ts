/**
 * A short round of the native comparison with a fixed seed; `node test/native/fuzz.ts` does 1,000 cases for each row. Where the
 * processor can't be asked (no gcc, another architecture) the reason is said; CI installs what it needs.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { emulatedExecutor } from './emulated.ts';
import { describeFailure, fuzz } from './fuzz-rows.ts';
import { whyExcluded } from './generate.ts';
import { harnessMissing, runNatively } from './harness.ts';
import { allRows } from './rows.ts';
import { fuzzSequences } from './sequences.ts';
import { requireToolsInCi } from './toolchain.ts';

const casesPerRow = Number(process.env['REVENANT_FUZZ_CASES'] ?? 20);
const seed = Number(process.env['REVENANT_FUZZ_SEED'] ?? 1);
requireToolsInCi(['gcc']);
const missing = harnessMissing();

describe('the processor is right', { skip: missing }, () => {
  test(`every encoding agrees with the host's processor (seed ${seed}, ${casesPerRow} cases each)`, async () => {
    const emulated = await emulatedExecutor();
    const rows = allRows().filter((row) => whyExcluded(row) === undefined);
    assert.ok(rows.length > 1300);
    const results = fuzz({ rows, casesPerRow, seed, native: runNatively, emulated, keep: 1 });
    const failures = results.flatMap((result) =>
      result.failures.map((failure) => describeFailure(failure, seed)),
    );
    assert.deepEqual(failures, []);
  });

  test(`sequences of instructions agree (seed ${seed})`, async () => {
    const result = fuzzSequences({
      count: casesPerRow * 150,
      seed,
      native: runNatively,
      emulated: await emulatedExecutor(),
    });
    assert.deepEqual(result.failures, []);
    assert.ok(result.completed > result.cases * 0.7, 'most sequences run to their end');
  });

  test('the harness gives the same answer twice', () => {
    const rows = allRows().filter((row) => whyExcluded(row) === undefined);
    const results = fuzz({
      rows,
      casesPerRow: 2,
      seed: seed + 1,
      native: runNatively,
      emulated: runNatively,
      keep: 1,
    });
    assert.deepEqual(
      results.flatMap((result) => result.failures.map((failure) => describeFailure(failure, seed + 1))),
      [],
    );
    const completed = results.reduce((sum, result) => sum + result.completed, 0);
    const cases = results.reduce((sum, result) => sum + result.cases, 0);
    assert.ok(completed > cases * 0.8, 'most cases run to their end');
  });
});
