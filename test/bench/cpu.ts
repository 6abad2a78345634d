/** `npm run bench -- cpu`: guest benchmarks on our two engines and on other emulators, side by side in one run. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildModules } from '@revenant/emulator/host-node';
import { chart } from './chart.ts';
import { browserMissing } from '../page/browser.ts';
import { browserEmulators, emulators, whyMissing, type Emulator } from './emulators.ts';
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
import { UsageError } from './usage-error.ts';
import { writeDocs } from './write-docs.ts';

export const usage = `usage: npm run bench -- cpu [--against v86,qemu] [OPTIONS]

  --against LIST  other emulators to measure in the same run: v86, qemu
  --only LIST     benchmarks: ${benchmarks.map(({ name }) => name).join(' ')}
  --bits LIST     guests: 32, 64; default both
  --engines LIST  ours: translator, interpreter; default both
  --runs N        runs of each benchmark, emulators in turn; the median counts (default 3)
  --browser       emulators run inside Debian's Chromium instead of processes of their own
  --pinned        bind each emulator with all of its threads to one processor
  --scale N       divide the lengths of the benchmarks by N (default 1)
  --quick         one short run: --runs 1 --scale 20
  --out FOLDER    where cpu.json and cpu-32.svg, cpu-64.svg go (default build/bench)
  --write-docs    put the tables into docs/BENCHMARKS.md, the charts beside it
`;

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

/** Words of a comma-separated list, each of which must be known. */
function list<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  return text
    .split(',')
    .filter((word) => word !== '')
    .map((word) => {
      const found = known.find((one) => one === word);
      if (found === undefined) throw new UsageError(`--${option} knows ${known.join(', ')}, not "${word}"`);
      return found;
    });
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${option} is a whole number from 1`);
  return value;
}

function parseOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      against: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      bits: { type: 'string', default: '32,64' },
      engines: { type: 'string', default: 'translator,interpreter' },
      runs: { type: 'string' },
      scale: { type: 'string' },
      pinned: { type: 'boolean', default: false },
      browser: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: outputFolder },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  const others = list('against', values.against, ['v86', 'qemu']);
  const engines = list('engines', values.engines, ['translator', 'interpreter']);
  const ids = [...engines.map((one) => (one === 'translator' ? 'revenant' : one)), ...others];
  const only = list(
    'only',
    values.only,
    benchmarks.map(({ name }) => name),
  );
  const missing = [...others.map(whyMissing), values.browser ? browserMissing() : undefined].find(
    (why) => why !== undefined,
  );
  if (missing !== undefined) throw new UsageError(missing);
  if (values.pinned && !canPin()) throw new UsageError('--pinned needs taskset: apt-get install util-linux');
  return {
    emulators: (values.browser ? browserEmulators : emulators).filter(({ id }) => ids.includes(id)),
    chosen: benchmarks.filter(({ name }) => only.length === 0 || only.includes(name)),
    bits: list('bits', values.bits, ['32', '64']).map((one) => Number(one) as Bits),
    runs: positive('runs', values.runs ?? (values.quick ? '1' : '3')),
    divisor: positive('scale', values.scale ?? (values.quick ? String(quickDivisor) : '1')),
    pinned: values.pinned,
    browser: values.browser,
    folder: values.out,
    writeDocs: values['write-docs'],
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
    for (const { id } of emulators) {
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

export async function bench(argv: string[]): Promise<void> {
  const options = parseOptions(argv);
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
}
