/** The benchmarks' command lines, charts and rules, and short runs of them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Input } from '../../packages/cli/src/command/command.ts';
import { find } from '../../packages/cli/src/command/dispatch.ts';
import { parseWords } from '../../packages/cli/src/command/parse.ts';
import { chart } from './chart.ts';
import { benchmarks } from './main.ts';
import { geometricMean, median, summaries, table, timesAsFast, wrongResults, type Report } from './report.ts';
import { markReader } from './run-guest.ts';

const report: Report = {
  date: '2026-01-02',
  machine: 'a machine',
  node: 'v24',
  commit: 'abc',
  runs: 1,
  pinned: false,
  divisor: 1,
  rows: [
    {
      benchmark: 'sieve',
      bits: 32,
      seconds: { revenant: 2, v86: 4, qemu: 1 },
      digests: { revenant: 'a', v86: 'a' },
    },
    { benchmark: 'crc', bits: 32, seconds: { revenant: 1, qemu: 8 }, digests: { revenant: 'b', qemu: 'c' } },
  ],
  troubles: [],
};

test('each example of each benchmark is a command line that it takes', async () => {
  for (const listed of Object.values(benchmarks.commands)) {
    assert.ok('load' in listed);
    const { command } = await listed.load();
    for (const example of command.examples) {
      const found = await find(benchmarks, example.split(' '));
      assert.ok('command' in found && found.command === command, example);
      assert.ok(parseWords(found.path, found.command, found.rest) instanceof Input, example);
    }
  }
});

test('ratios and means leave out what an emulator did not do', () => {
  assert.equal(timesAsFast(report.rows[0]!, 'v86'), 2);
  assert.equal(timesAsFast(report.rows[1]!, 'v86'), undefined);
  assert.equal(geometricMean([1, 4]), 2);
  assert.equal(geometricMean([]), undefined);
  assert.equal(median([3, 1, 2]), 2);
  assert.deepEqual(summaries(report)[0], {
    bits: 32,
    than: 'v86',
    geometricMean: 2,
    least: { benchmark: 'sieve', times: 2 },
  });
  const lines = table(report, 32).split('\n');
  assert.match(
    lines.find((line) => line.startsWith('| crc')) ?? '',
    /\| 1\.00 \| - \| 8\.00 \| - \| 8\.00 \|$/,
  );
  assert.match(lines.at(-2) ?? '', /\*\*2\.00\*\* \| \*\*2\.00\*\* \|$/);
  assert.match(lines.at(-1) ?? '', /\*\*2\.00\*\* \| \*\*0\.50\*\* \|$/);
});

test('a result that is not ours is reported', () => {
  assert.deepEqual(wrongResults(report), ['crc 32-bit in qemu: c instead of b']);
});

test('the chart has a bar for each figure and says where there is none', () => {
  const drawing = chart(report, 32) ?? '';
  assert.match(drawing, /speed relative to v86/);
  assert.match(drawing, />2\.00</);
  assert.equal(chart(report, 64), undefined);
});

test('marks become seconds', () => {
  const { run, read } = markReader(1000);
  assert.equal(read('@@ up\r', 3500), false);
  read('@@ begin sieve', 4000);
  read('noise', 4100);
  read('@@ end sieve 0af\r', 4500);
  read('@@ end crc 1', 4600);
  assert.equal(read('@@ done', 4700), true);
  assert.equal(run.bootSeconds, 2.5);
  assert.deepEqual([...run.measurements], [['sieve', { seconds: 0.5, digest: '0af' }]]);
});

test('npm run bench -- cpu --quick measures our engines', (context) => {
  if (spawnSync('gcc', ['--version']).status !== 0) {
    context.skip('gcc is missing');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'revenant-bench-'));
  try {
    const words = ['cpu', '--quick', '--bits', '64', '--only', 'sieve,calls', '--out', folder];
    const run = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), ...words], {
      encoding: 'utf8',
    });
    assert.equal(run.status, 0, run.stderr);
    const { rows } = JSON.parse(readFileSync(join(folder, 'cpu.json'), 'utf8')) as Report;
    assert.deepEqual(
      rows.map(({ benchmark }) => benchmark),
      ['sieve', 'calls'],
    );
    for (const { seconds, digests } of rows) {
      assert.ok((seconds.revenant ?? 0) > 0 && (seconds.interpreter ?? 0) > 0);
      assert.equal(digests.revenant, digests.interpreter);
    }
    assert.match(readFileSync(join(folder, 'cpu-64.svg'), 'utf8'), /^<svg/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('npm run bench -- churn samples memory', (context) => {
  if (spawnSync('gcc', ['--version']).status !== 0) {
    context.skip('gcc is missing');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'revenant-bench-'));
  try {
    const words = ['churn', '--minutes', '0.05', '--json', join(folder, 'churn.json')];
    const run = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), ...words], {
      encoding: 'utf8',
    });
    assert.match(run.stdout, /highest: \d+ MiB, \d+ live modules/, run.stderr);
    const { samples, peak } = JSON.parse(readFileSync(join(folder, 'churn.json'), 'utf8')) as {
      samples: { compiled: number; rssMiB: number }[];
      peak: { rssMiB: number };
    };
    // How many there are depends on how much of the processor this test gets.
    assert.ok(samples.length > 0);
    const last = samples.at(-1);
    assert.ok(last !== undefined && last.compiled > 20 && last.rssMiB <= peak.rssMiB);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
