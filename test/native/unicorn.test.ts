/** Random sequences of instructions by Unicorn's interface, and natively: REVENANT_SEQUENCES says how many, REVENANT_FUZZ_SEED which. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harnessMissing, runNatively, thisHost } from './harness.ts';
import { fuzzSequences } from './sequences.ts';
import { unicornExecutor } from './unicorn-executor.ts';

const count = Number(process.env['REVENANT_SEQUENCES'] ?? 10_000);
const seed = Number(process.env['REVENANT_FUZZ_SEED'] ?? 1);

test(
  `${String(count)} sequences give the registers, flags and memory of the processor (seed ${String(seed)})`,
  { skip: harnessMissing() },
  () => {
    // Its processor is an x86-64-v2.
    const real = thisHost();
    const host = { ...real, system: { ...real.system, newer: false } };
    const result = fuzzSequences({ count, seed, native: runNatively, host, emulated: unicornExecutor() });
    assert.deepEqual(result.failures, []);
    assert.ok(result.completed > result.cases * 0.7, 'most sequences run to their end');
  },
);
