/**
 * Compares the emulator with the host's processor, instruction by instruction.
 *
 *   node test/native/fuzz.ts --sequences N [--seed N] [--first N]
 *   node test/native/fuzz.ts [--rows REGEXP] [--cases N] [--seed N] [--first N] [--keep N] [--self] [--list]
 *
 * REGEXP matches names of iced-x86's encodings (`^Add_`) or mnemonics. A failure is one line with the bytes, the state it
 * needs (minimised) and what differs; `--first N --cases 1` repeats case N.
 */
import { parseArgs } from 'node:util';
import { whyExcluded } from './generate.ts';
import { describeFailure, type Executor, fuzz, minimise } from './fuzz-rows.ts';
import { hostProcessor, runNatively } from './harness.ts';
import { hostOf, leftOut } from './processors.ts';
import { allRows } from './rows.ts';
import { fuzzSequences } from './sequences.ts';

const vectorUndefined = 6;

type Host = ReturnType<typeof hostOf>;

function parseOptions() {
  return parseArgs({
    options: {
      rows: { type: 'string', default: '' },
      cases: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      first: { type: 'string', default: '0' },
      keep: { type: 'string', default: '1' },
      /** Compare the processor with itself: what the harness itself can't reproduce. */
      self: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      /** Compare this many sequences of instructions instead. */
      sequences: { type: 'string', default: '0' },
    },
  }).values;
}

type Values = ReturnType<typeof parseOptions>;

function listRows(host: Host): void {
  for (const row of allRows())
    process.stdout.write(
      `${row.name}\t${row.text}\t${row.modes.join(',')}\t${whyExcluded(row, host) ?? 'compared'}\n`,
    );
}

/** Compares sequences of instructions; returns the exit code. */
function compareSequences(values: Values, host: Host, emulated: Executor): number {
  const seed = Number(values.seed);
  const result = fuzzSequences({
    count: Number(values.sequences),
    seed,
    native: runNatively,
    host,
    emulated,
    first: Number(values.first),
  });
  for (const failure of result.failures) process.stdout.write(`${failure.text}\n`);
  const line = `${result.cases} sequences (${result.completed} to their end), seed ${seed}: ${result.failures.length} differences`;
  process.stdout.write(`${line}\n`);
  return result.failures.length === 0 ? 0 : 1;
}

/** Compares single instructions of every encoding; returns the exit code. */
function compareRows(values: Values, host: Host, emulated: Executor): number {
  const wanted = new RegExp(values.rows, 'i');
  const rows = allRows().filter(
    (row) => whyExcluded(row, host) === undefined && (wanted.test(row.name) || wanted.test(row.mnemonic)),
  );
  const seed = Number(values.seed);
  const started = performance.now();
  const results = fuzz({
    rows,
    casesPerRow: Number(values.cases),
    seed,
    native: runNatively,
    host,
    emulated,
    keep: Number(values.keep),
    firstIndex: Number(values.first),
  });
  let cases = 0;
  let failed = 0;
  let badRows = 0;
  for (const result of results) {
    cases += result.cases;
    failed += result.failed;
    if (result.failed > 0) badRows++;
    const missing = result.failures.every(
      (failure) => failure.got.trap === vectorUndefined && failure.differences[0]?.what === 'trap',
    );
    if (result.failed > 0 && missing) {
      process.stdout.write(`${result.failed}/${result.cases} ${result.row.name}: undefined here\n`);
      continue;
    }
    for (const failure of result.failures) {
      process.stdout.write(
        `${result.failed}/${result.cases} ${describeFailure(minimise(failure, runNatively, emulated, host), seed)}\n`,
      );
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(
    `${results.length} rows, ${cases} cases, seed ${seed}: ${failed} differences in ${badRows} rows (${seconds} s)\n`,
  );
  return failed === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const values = parseOptions();
  const host = hostOf(hostProcessor());
  if (values.list) {
    listRows(host);
    return 0;
  }
  process.stderr.write(`${leftOut(host)}\n`);
  const emulated: Executor = values.self
    ? runNatively
    : await (await import('./emulated.ts')).emulatedExecutor();
  return Number(values.sequences) > 0
    ? compareSequences(values, host, emulated)
    : compareRows(values, host, emulated);
}

process.exitCode = await main();
