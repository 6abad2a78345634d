/**
 * A short round of the native comparison with a fixed seed; `node test/native/fuzz.ts` does 1,000 cases for each row. Where the
 * processor can't be asked (no gcc, another architecture) the reason is said; CI installs what it needs.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Batch, modes, optionSequence } from './case.ts';
import { emulatedExecutor } from './emulated.ts';
import { describeFailure, type Executor, fuzz } from './fuzz-rows.ts';
import { fillState, whyExcluded } from './generate.ts';
import { harnessMissing, runNatively, thisHost } from './harness.ts';
import { observeFacts } from './observe.ts';
import { emulatedHost, leftOut } from './processors.ts';
import { Random } from './random.ts';
import { allRows } from './rows.ts';
import { fuzzSequences } from './sequences.ts';
import { requireToolsInCi } from './toolchain.ts';

const casesPerRow = Number(process.env['REVENANT_FUZZ_CASES'] ?? 20);
const seed = Number(process.env['REVENANT_FUZZ_SEED'] ?? 1);
requireToolsInCi(['gcc']);
const missing = harnessMissing();
const rbx = 3;
const rbp = 5;
const rdi = 7;
/** Offset in FXSAVE's image. */
const xmm1 = 176;

describe('the processor is right', { skip: missing }, () => {
  const host = missing === undefined ? thisHost() : emulatedHost;

  test('the host is what the table of processors says of it', (t) => {
    t.diagnostic(leftOut(host));
    const facts = observeFacts(runNatively);
    // For a model that is not in the table, this is what its row would say.
    if (!host.known) t.diagnostic(`${host.name}: ${JSON.stringify(facts)}`);
    for (const [fact, value] of Object.entries(host.facts))
      assert.equal(facts[fact as keyof typeof facts], value, `${host.name}: ${fact}`);
  });

  test(`every encoding agrees with the host's processor (seed ${seed}, ${casesPerRow} cases each)`, async () => {
    const emulated = await emulatedExecutor();
    const rows = allRows().filter((row) => whyExcluded(row, host) === undefined);
    assert.ok(rows.length > (host.system.modes.length === modes.length ? 1300 : 1000));
    const results = fuzz({ rows, casesPerRow, seed, native: runNatively, host, emulated, keep: 1 });
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
      host,
      emulated: await emulatedExecutor(),
    });
    assert.deepEqual(result.failures, []);
    assert.ok(result.completed > result.cases * 0.7, 'most sequences run to their end');
  });

  test('ENTER with 32-bit operands on a 16-bit stack gives EBP the whole stack pointer', async (t) => {
    if (!host.system.modes.includes(16)) {
      t.skip('the system runs no 16-bit code');
      return;
    }
    const batch = new Batch(1);
    const c = batch.add();
    fillState(c, false, new Random(seed));
    c.mode = 16;
    c.codeOffset = 0x100;
    c.options = optionSequence;
    // MOV ESP, 50800h; ENTER 8, 1
    c.code = Uint8Array.from([0x66, 0xbc, 0x00, 0x08, 0x05, 0x00, 0x66, 0xc8, 0x08, 0x00, 0x01]);
    const got = (await emulatedExecutor())(batch).at(0).gpr(rbp);
    assert.equal(got, 0x507fcn);
    // An interrupt of the host between the two loses the upper half of ESP (Linux returns to 16-bit stacks in a way of its own).
    const attempts = Array.from({ length: 5 }, () => runNatively(batch).at(0).gpr(rbp));
    assert.ok(
      attempts.includes(got),
      `the processor: ${attempts.map((value) => value.toString(16)).join(' ')}`,
    );
  });

  test('lanes of a masked move lie behind each other, whatever the address size', async () => {
    // VMASKMOVPS XMM0, XMM1, [last address]; in 64-bit code with an address size of 32, which ends before the address space does.
    const load = [0xc4, 0xe2, 0x71, 0x2c];
    const moves = {
      16: { code: [...load, 0x07], last: 0xfffcn },
      32: { code: [...load, 0x03], last: 0xffff_fffcn },
      64: { code: [0x67, ...load, 0x03], last: 0xffff_fffcn },
    };
    const chosen = host.system.modes.flatMap((mode) => [0, 1, 2, 3].map((lane) => ({ mode, lane })));
    const batch = new Batch(chosen.length);
    for (const { mode, lane } of chosen) {
      const c = batch.add();
      c.mode = mode;
      fillState(c, true, new Random(seed));
      c.codeOffset = 0x100;
      c.code = Uint8Array.from(moves[mode].code);
      c.setGpr(rbx, moves[mode].last);
      c.setGpr(rdi, 0n);
      const mask = new DataView(c.fxsave.buffer, c.fxsave.byteOffset + xmm1, 16);
      for (let i = 0; i < 4; i++) mask.setUint32(4 * i, i === lane ? 0x8000_0000 : 0, true);
    }
    const ends = (execute: Executor): string[] => {
      const after = execute(batch);
      return chosen.map(({ mode, lane }, i) => {
        const { trap, cr2 } = after.at(i);
        return `${String(mode)} bits, lane ${String(lane)}: ${String(trap)}${trap === 14 ? ` at ${cr2.toString(16)}` : ''}`;
      });
    };
    const emulated = ends(await emulatedExecutor());
    assert.deepEqual(emulated, ends(runNatively));
    assert.ok(emulated.includes('64 bits, lane 1: 14 at 100000000'));
  });

  test('the harness gives the same answer twice', () => {
    const rows = allRows().filter((row) => whyExcluded(row, host) === undefined);
    const results = fuzz({
      rows,
      casesPerRow: 2,
      seed: seed + 1,
      native: runNatively,
      host,
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
