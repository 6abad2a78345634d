/** The rule by which `bench churn` tells a leak from memory that fills once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { judgeMemory, type MemorySample } from './plateau.ts';

const KiB = 1 / 1024;

/** Sixty samples of a run: memory fills to `plateau` MiB until `filled` modules, then `leak` MiB more for each; a sawtooth of 12 MiB on top. */
function run(options: { each: number; filled?: number; leak?: number }): MemorySample[] {
  const { each, filled = 30_000, leak = 0 } = options;
  return Array.from({ length: 60 }, (_, i) => {
    const compiled = (i + 1) * each;
    const fill = 100 * Math.min(1, compiled / filled);
    return { compiled, rssMiB: Math.round(260 + fill + leak * compiled - (i % 7) * 2) };
  });
}

describe('the rule of bench churn', () => {
  test('accepts memory that fills first and then stays', () => {
    const verdict = judgeMemory(run({ each: 1300 }));
    assert.equal(verdict.kind, 'bounded');
  });

  test('finds modules that are not let go, down to 2 KiB each', () => {
    for (const leak of [2 * KiB, 5 * KiB, 20 * KiB]) {
      const verdict = judgeMemory(run({ each: 1300, leak }));
      assert.ok(verdict.kind === 'leak', `${leak}`);
      assert.ok(Math.abs(verdict.bytesPerModule / 2 ** 20 - leak) < 0.3 * leak, `${verdict.bytesPerModule}`);
    }
  });

  test('finds a leak that begins after memory has filled', () => {
    const samples = run({ each: 1300 }).map((sample) => ({
      ...sample,
      rssMiB: sample.rssMiB + Math.max(0, sample.compiled - 40_000) * 4 * KiB,
    }));
    assert.equal(judgeMemory(samples).kind, 'leak');
  });

  test('does not judge before memory can have filled, nor too few modules', () => {
    assert.equal(judgeMemory([]).kind, 'too short');
    assert.equal(judgeMemory(run({ each: 1000 })).kind, 'too short');
    const stopped = run({ each: 1300 }).map((sample, i) =>
      i < 30 ? sample : { ...sample, compiled: 40_000 },
    );
    assert.equal(judgeMemory(stopped).kind, 'too short');
  });

  test('one late peak is no leak', () => {
    const samples = run({ each: 1300 }).map((sample, i) => (i > 56 ? { ...sample, rssMiB: 600 } : sample));
    assert.equal(judgeMemory(samples).kind, 'bounded');
  });
});
