/**
 * Compares the emulator with the host's processor, instruction by instruction. `--help` says with which options.
 *
 * A failure is one line with the bytes, the state it needs (minimised) and what differs; `--first N --cases 1` repeats case N.
 */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { flag, value, type Values } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { CliError, ExitCode } from '../../packages/cli/src/errors.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { whyExcluded } from './generate.ts';
import { describeFailure, type Executor, fuzz, minimise } from './fuzz-rows.ts';
import { runNatively, thisHost } from './harness.ts';
import { type Host, leftOut } from './processors.ts';
import { allRows } from './rows.ts';
import { fuzzSequences } from './sequences.ts';

const vectorUndefined = 6;

function pattern(text: string, name: string): RegExp {
  try {
    return new RegExp(text, 'i');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(ExitCode.usage, `${name}: ${why}`, "for example '^(adc|sbb)$'", error);
  }
}

const optionTable = {
  rows: value(
    'REGEXP',
    "only encodings of iced-x86 whose name ('^Add_') or mnemonic matches",
    pattern,
    /(?:)/,
  ),
  cases: value('N', 'cases of each encoding (default 1000)', wholeNumber(1), 1000),
  seed: value('N', 'which ones (default 1)', wholeNumber(), 1),
  first: value('N', 'number of the first case (default 0)', wholeNumber(), 0),
  keep: value('N', 'failures to show of each encoding (default 1)', wholeNumber(1), 1),
  self: flag('compare the processor with itself: shows what the harness itself cannot reproduce'),
  list: flag('only list the encodings, and why some are left out'),
  sequences: value('N', 'compare N sequences of instructions instead', wholeNumber(1)),
};

const command = define({
  words: [],
  about: 'Exit code 1: something differs.',
  options: optionTable,
  examples: ["--rows '^(adc|sbb)$' --cases 5000", '--sequences 30000 --seed 9'],
  run: ({ options }) => compare(options),
});

type Chosen = Values<typeof optionTable>;

function listRows(host: Host): void {
  for (const row of allRows())
    process.stdout.write(
      `${row.name}\t${row.text}\t${row.modes.join(',')}\t${whyExcluded(row, host) ?? 'compared'}\n`,
    );
}

/** Compares sequences of instructions; returns the exit code. */
function compareSequences(values: Chosen, count: number, host: Host, emulated: Executor): number {
  const { seed, first } = values;
  const result = fuzzSequences({
    count,
    seed,
    native: runNatively,
    host,
    emulated,
    first,
  });
  for (const failure of result.failures) process.stdout.write(`${failure.text}\n`);
  const line = `${result.cases} sequences (${result.completed} to their end), seed ${seed}: ${result.failures.length} differences`;
  process.stdout.write(`${line}\n`);
  return result.failures.length === 0 ? 0 : 1;
}

/** Compares single instructions of every encoding; returns the exit code. */
function compareRows(values: Chosen, host: Host, emulated: Executor): number {
  const { rows: wanted, seed } = values;
  const rows = allRows().filter(
    (row) => whyExcluded(row, host) === undefined && (wanted.test(row.name) || wanted.test(row.mnemonic)),
  );
  const started = performance.now();
  const results = fuzz({
    rows,
    casesPerRow: values.cases,
    seed,
    native: runNatively,
    host,
    emulated,
    keep: values.keep,
    firstIndex: values.first,
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

async function compare(values: Chosen): Promise<number> {
  const host = thisHost();
  if (values.list) {
    listRows(host);
    return 0;
  }
  process.stderr.write(`${leftOut(host)}\n`);
  const emulated: Executor = values.self
    ? runNatively
    : await (await import('./emulated.ts')).emulatedExecutor();
  return values.sequences === undefined
    ? compareRows(values, host, emulated)
    : compareSequences(values, values.sequences, host, emulated);
}

process.exitCode = await inOneLine('fuzz', () =>
  dispatchOne(
    {
      path: 'node test/native/fuzz.ts',
      summary: "the emulator beside the host's processor, instruction by instruction",
      command,
    },
    process.argv.slice(2),
  ),
);
