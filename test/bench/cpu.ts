/** `npm run bench -- cpu`: guest benchmarks on our two engines and on other emulators, side by side in one run. */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, text, value, type Values } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { buildModules } from '@revenant/emulator/host-node';
import { chart } from './chart.ts';
import { browserMissing } from '../page/browser.ts';
import {
  browserEmulators,
  emulatorIds,
  emulators,
  revenantOf,
  whyMissing,
  type Emulator,
} from './emulators.ts';
import { CliError, ExitCode } from '../../packages/cli/src/errors.ts';
import {
  benchmarks,
  buildLinux,
  buildLoop,
  hasBits,
  outputFolder,
  type Benchmark,
  type Bits,
} from './guests.ts';
import { median, summaries, toMarkdown, wrongResults, type Report, type Row } from './report.ts';
import { canPin, runGuest, type GuestRun, type Measurement } from './run-guest.ts';
import { writeDocs } from './write-docs.ts';

const root = join(import.meta.dirname, '../..');
const timeoutMs = 300_000;
const quickDivisor = 20;

interface Options {
  emulators: readonly Emulator[];
  chosen: readonly Benchmark[];
  bits: readonly Bits[];
  runs: number;
  divisor: number;
  pinned: boolean;
  browser: boolean;
  folder: string;
  writeDocs: boolean;
}

/** What was typed, with what follows from it. Throws CliError when something is not there. */
function toOptions(options: Values<typeof optionTable>): Options {
  const ids: Emulator['id'][] = options.engines.map((one) => (one === 'translator' ? 'revenant' : one));
  const all = options.before === undefined ? emulators : [...emulators, revenantOf(options.before)];
  if (options.before !== undefined) ids.push('before');
  const { against, browser, pinned, quick } = options;
  const missing = [...against.map(whyMissing), browser ? browserMissing() : undefined].find(
    (why) => why !== undefined,
  );
  if (missing !== undefined) throw new CliError(ExitCode.unavailable, missing);
  if (pinned && !canPin())
    throw new CliError(ExitCode.unavailable, '--pinned needs taskset', 'apt-get install util-linux');
  return {
    emulators: (browser ? browserEmulators : all).filter(({ id }) => [...ids, ...against].includes(id)),
    chosen: benchmarks.filter(({ name }) => options.only.length === 0 || options.only.includes(name)),
    bits: options.bits.map((one) => Number(one) as Bits),
    runs: options.runs ?? (quick ? 1 : 3),
    divisor: options.scale ?? (quick ? quickDivisor : 1),
    pinned,
    browser,
    folder: options.out,
    writeDocs: options['write-docs'],
  };
}

function commit(): string {
  const git = (...words: string[]): string =>
    spawnSync('git', words, { cwd: root, encoding: 'utf8' }).stdout.trim();
  const changed = git('status', '--porcelain', '--untracked-files=no', 'packages', 'images') !== '';
  return git('rev-parse', '--short', 'HEAD') + (changed ? '+' : '');
}

/** All measurements of the runs so far. */
class Collected {
  readonly #seconds = new Map<string, number[]>();
  readonly #digests = new Map<string, string>();
  readonly troubles: string[] = [];

  add(benchmark: string, bits: Bits, { id }: Emulator, { seconds, digest }: Measurement): void {
    const key = `${benchmark} ${bits} ${id}`;
    const all = this.#seconds.get(key) ?? [];
    this.#seconds.set(key, [...all, seconds]);
    this.#digests.set(key, digest);
    process.stderr.write(`${benchmark.padEnd(10)} ${bits}-bit  ${id.padEnd(12)} ${seconds.toFixed(2)} s\n`);
  }

  failed(benchmark: string, bits: Bits, { id }: Emulator, run: GuestRun): void {
    this.troubles.push(`${benchmark} ${bits}-bit ${id}: ${run.trouble ?? 'no figure'}`);
    process.stderr.write(`${this.troubles.at(-1) ?? ''}\n`);
  }

  row(benchmark: string, bits: Bits): Row {
    const row: Row = { benchmark, bits, seconds: {}, digests: {} };
    for (const id of emulatorIds) {
      const all = this.#seconds.get(`${benchmark} ${bits} ${id}`);
      if (all !== undefined) row.seconds[id] = median(all);
      const digest = this.#digests.get(`${benchmark} ${bits} ${id}`);
      if (digest !== undefined && digest !== '') row.digests[id] = digest;
    }
    return row;
  }
}

async function runLoops(options: Options, bits: Bits, collected: Collected): Promise<void> {
  for (const benchmark of options.chosen.filter((one) => one.kind === 'loops' && hasBits(one, bits))) {
    const guest = buildLoop(benchmark, bits, options.divisor);
    for (const emulator of options.emulators.filter((one) => one.bits.includes(bits))) {
      const run = await runGuest(emulator, guest, { timeoutMs, pinned: options.pinned });
      const measurement = run.measurements.get(benchmark.name);
      if (measurement === undefined) collected.failed(benchmark.name, bits, emulator, run);
      else collected.add(benchmark.name, bits, emulator, measurement);
    }
  }
}

async function runLinux(options: Options, bits: Bits, collected: Collected): Promise<void> {
  const names = options.chosen.filter(({ kind }) => kind === 'linux').map(({ name }) => name);
  const boot = options.chosen.some(({ kind }) => kind === 'boot');
  if (names.length === 0 && !boot) return;
  const guest = await buildLinux(names, bits, options.divisor);
  for (const emulator of options.emulators.filter((one) => one.bits.includes(bits))) {
    const run = await runGuest(emulator, guest, { timeoutMs, pinned: options.pinned });
    if (boot && run.bootSeconds !== undefined)
      collected.add('boot', bits, emulator, { seconds: run.bootSeconds, digest: '' });
    else if (boot) collected.failed('boot', bits, emulator, run);
    for (const name of names) {
      const measurement = run.measurements.get(name);
      if (measurement === undefined) collected.failed(name, bits, emulator, run);
      else collected.add(name, bits, emulator, measurement);
    }
  }
}

/** Runs everything that the options ask for. */
async function measure(options: Options): Promise<Report> {
  buildModules((line) => process.stderr.write(`${line}\n`));
  const collected = new Collected();
  for (const bits of options.bits)
    for (let run = 0; run < options.runs; run++) {
      await runLoops(options, bits, collected);
      await runLinux(options, bits, collected);
    }
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0]?.model ?? arch()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform}`,
    node: process.version,
    commit: commit(),
    runs: options.runs,
    pinned: options.pinned,
    divisor: options.divisor,
    rows: options.bits.flatMap((bits) =>
      options.chosen.filter((one) => hasBits(one, bits)).map(({ name }) => collected.row(name, bits)),
    ),
    troubles: collected.troubles,
  };
}

const optionTable = {
  against: value(
    'LIST',
    'other emulators to measure in the same run: v86, qemu',
    commaSeparated(oneOf(['v86', 'qemu'])),
    [],
  ),
  before: text('FOLDER', 'another checkout of this repository, built: measure its engine in the same run'),
  only: value(
    'LIST',
    `benchmarks (default: all):\n${benchmarks.map(({ name }) => name).join(' ')}`,
    commaSeparated(oneOf(benchmarks.map(({ name }) => name))),
    [],
  ),
  bits: value('LIST', 'guests: 32, 64 (default: both)', commaSeparated(oneOf(['32', '64'])), ['32', '64']),
  engines: value(
    'LIST',
    'ours: translator, interpreter (default: both)',
    commaSeparated(oneOf(['translator', 'interpreter'])),
    ['translator', 'interpreter'],
  ),
  runs: value(
    'N',
    'runs of each benchmark, emulators in turn; the median counts (default 3)',
    wholeNumber(1),
  ),
  browser: flag("emulators run inside Debian's Chromium instead of processes of their own"),
  pinned: flag('bind each emulator with all of its threads to one processor'),
  scale: value('N', 'divide the lengths of the benchmarks by N (default 1)', wholeNumber(1)),
  quick: flag('one short run: --runs 1 --scale 20'),
  out: value(
    'FOLDER',
    'where cpu.json and cpu-32.svg, cpu-64.svg go (default build/bench)',
    asTyped,
    outputFolder,
  ),
  'write-docs': flag('put the tables into docs/BENCHMARKS.md, the charts beside it'),
};

export const command = define({
  words: [],
  options: optionTable,
  examples: [
    'cpu --against v86,qemu',
    'cpu --engines translator --only boot,syscalls,dhrystone --before ../revenant-before',
  ],
  async run(input) {
    const options = toOptions(input.options);
    const report = await measure(options);
    const text = toMarkdown(report);
    process.stdout.write(text);
    mkdirSync(options.folder, { recursive: true });
    const name = ['cpu', options.browser ? '-browser' : '', options.pinned ? '-pinned' : ''].join('');
    writeFileSync(
      join(options.folder, `${name}.json`),
      `${JSON.stringify({ ...report, summaries: summaries(report) }, null, 2)}\n`,
    );
    for (const bits of options.bits) {
      const drawing = chart(report, bits);
      if (drawing === undefined) continue;
      writeFileSync(join(options.folder, `${name}-${bits}.svg`), drawing);
      if (options.writeDocs) writeFileSync(join(root, 'docs', `bench-${name}-${bits}.svg`), drawing);
    }
    process.stderr.write(`figures and charts: ${options.folder}\n`);
    if (options.writeDocs) writeDocs(`bench ${name.replaceAll('-', ' ')}`, text);
    const wrong = wrongResults(report);
    if (wrong.length > 0) throw new Error(`results differ from ours: ${wrong.join('; ')}`);
    return undefined;
  },
});
