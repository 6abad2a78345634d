/** `npm run bench -- cpu`: the loops of images/bench on our emulator and on others, side by side in one run. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchmarkNames, buildBenchImage, type BenchmarkName, type Bits } from './image.ts';
import { qemuMissing, runners, type Runner } from './runners.ts';
import { geometricMean, measurements, median } from './timeline.ts';
import { UsageError } from './usage-error.ts';

export const usage = `usage: npm run bench -- cpu [--against v86,qemu] [--bits 32,64] [--runs N] [--json FILE] [--write-docs]

  --against LIST  other emulators to measure in the same run: v86, qemu
  --bits LIST     guests: 32 (protected mode), 64 (long mode); default both
  --runs N        runs of each emulator, in turn; the median counts (default 3)
  --scale N       divide the lengths of the loops by N (default 1)
  --json FILE     where the figures go (default build/bench/cpu.json)
  --write-docs    put the tables into docs/BENCHMARKS.md
`;

const root = join(import.meta.dirname, '../..');
const timeoutMs = 300_000;

interface Row {
  emulator: string;
  bits: Bits;
  /** Median seconds of each benchmark. */
  seconds: Record<BenchmarkName, number>;
  checksums: Record<BenchmarkName, string>;
}

interface Report {
  date: string;
  machine: string;
  node: string;
  runs: number;
  /** Instructions of each benchmark, counted by our emulator (they are the same on every processor). */
  instructions: Partial<Record<Bits, Record<BenchmarkName, number>>>;
  rows: Row[];
}

interface Options {
  families: ReadonlySet<string>;
  bits: Bits[];
  runs: number;
  divisor: number;
}

function parseOptions(argv: string[]): { options: Options; json: string; writeDocs: boolean } {
  const { values } = parseArgs({
    args: argv,
    options: {
      against: { type: 'string', default: '' },
      bits: { type: 'string', default: '32,64' },
      runs: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
      json: { type: 'string', default: join(root, 'build/bench/cpu.json') },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  const others = values.against.split(',').filter((name) => name !== '');
  for (const name of others)
    if (name !== 'v86' && name !== 'qemu')
      throw new UsageError(`--against knows v86 and qemu, not "${name}"`);
  const bits = values.bits.split(',').map(Number);
  for (const value of bits)
    if (value !== 32 && value !== 64) throw new UsageError('--bits is 32, 64 or 32,64');
  const runs = Number(values.runs);
  const divisor = Number(values.scale);
  if (!Number.isInteger(runs) || runs < 1) throw new UsageError('--runs is a whole number from 1');
  if (!Number.isInteger(divisor) || divisor < 1) throw new UsageError('--scale is a whole number from 1');
  const missing = others.includes('qemu') ? qemuMissing() : undefined;
  if (missing !== undefined) throw new UsageError(missing);
  const options = { families: new Set(['revenant', ...others]), bits: bits as Bits[], runs, divisor };
  return { options, json: values.json, writeDocs: values['write-docs'] };
}

function summarise(runner: Runner, bits: Bits, runs: ReturnType<typeof measurements>[]): Row {
  const seconds = {} as Record<BenchmarkName, number>;
  const checksums = {} as Record<BenchmarkName, string>;
  for (const [index, name] of benchmarkNames.entries()) {
    seconds[name] = median(runs.map((run) => run[index]?.seconds ?? NaN));
    checksums[name] = runs[0]?.[index]?.checksum ?? '';
  }
  return { emulator: runner.name, bits, seconds, checksums };
}

async function measure(options: Options): Promise<Report> {
  const processor = cpus()[0]?.model ?? arch();
  const report: Report = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${processor}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform}`,
    node: process.version,
    runs: options.runs,
    instructions: {},
    rows: [],
  };
  for (const bits of options.bits) {
    const image = buildBenchImage(bits, options.divisor);
    const chosen = runners.filter(
      (runner) => options.families.has(runner.family) && runner.bits.includes(bits),
    );
    const results = new Map<Runner, ReturnType<typeof measurements>[]>(chosen.map((runner) => [runner, []]));
    for (let run = 0; run < options.runs; run++) {
      for (const runner of chosen) {
        process.stderr.write(`${bits}-bit, run ${run + 1} of ${options.runs}: ${runner.name}\n`);
        const measured = measurements(await runner.run(image, timeoutMs));
        results.get(runner)?.push(measured);
        if (measured.every((one) => one.instructions !== undefined)) {
          report.instructions[bits] = Object.fromEntries(
            measured.map((one) => [one.name, Number(one.instructions)]),
          ) as Record<BenchmarkName, number>;
        }
      }
    }
    for (const [runner, runs] of results) report.rows.push(summarise(runner, bits, runs));
  }
  return report;
}

/** Names of benchmarks in which an emulator's results differ from ours. */
function wrongResults(report: Report): string[] {
  const wrong: string[] = [];
  for (const row of report.rows) {
    const ours = report.rows.find((other) => other.bits === row.bits);
    for (const name of benchmarkNames)
      if (row.checksums[name] !== ours?.checksums[name])
        wrong.push(`${row.emulator} ${row.bits}-bit ${name}`);
  }
  return wrong;
}

function table(report: Report, bits: Bits): string {
  const instructions = report.instructions[bits];
  const rows = report.rows.filter((row) => row.bits === bits);
  const speed = (row: Row, name: BenchmarkName): number =>
    (instructions?.[name] ?? NaN) / row.seconds[name] / 1e6;
  const lines = [
    `| ${bits}-bit guest, million instructions a second | ${benchmarkNames.join(' | ')} | median | geometric mean |`,
    `| --- |${' ---: |'.repeat(benchmarkNames.length + 2)}`,
  ];
  for (const row of rows) {
    const speeds = benchmarkNames.map((name) => speed(row, name));
    const cells = [...speeds, median(speeds), geometricMean(speeds)].map((value) => value.toFixed(0));
    lines.push(`| ${row.emulator} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

const docsStart = '<!-- bench cpu: begin -->';
const docsEnd = '<!-- bench cpu: end -->';

function writeDocs(text: string): void {
  const path = join(root, 'docs/BENCHMARKS.md');
  const old = readFileSync(path, 'utf8');
  const start = old.indexOf(docsStart);
  const end = old.indexOf(docsEnd);
  if (start < 0 || end < start) throw new Error(`${path} lacks the lines ${docsStart} and ${docsEnd}`);
  writeFileSync(path, `${old.slice(0, start + docsStart.length)}\n\n${text}\n${old.slice(end)}`);
}

export async function bench(argv: string[]): Promise<void> {
  const { options, json, writeDocs: toDocs } = parseOptions(argv);
  const report = await measure(options);
  const tables = options.bits.map((bits) => table(report, bits)).join('\n\n');
  const text = `${report.date}, ${report.machine}, Node ${report.node}, median of ${report.runs} runs.\n\n${tables}\n`;
  process.stdout.write(text);
  mkdirSync(dirname(json), { recursive: true });
  writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  process.stderr.write(`figures: ${json}\n`);
  if (toDocs) writeDocs(text);
  const wrong = wrongResults(report);
  if (wrong.length > 0) throw new Error(`results differ from ours: ${wrong.join(', ')}`);
}
