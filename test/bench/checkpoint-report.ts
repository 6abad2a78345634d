/** Tables of `bench checkpoint`. */
import type { CheckpointReport } from './checkpoint.ts';
import type { Cost, Restore } from './checkpoint-run.ts';
import { median } from './report.ts';

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? NaN;
}

const fixed = (value: number, digits = 1): string => (Number.isFinite(value) ? value.toFixed(digits) : '–');
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function costRow(cost: Cost): string {
  const { load, pausesMs, pages, bytes } = cost;
  // An idle guest has no speed.
  const slower = (speeds: readonly number[]): string =>
    load === 'idle' ? '–' : `${fixed((1 - median(speeds)) * 100)} %`;
  return row([
    String(cost.memoryMiB),
    load,
    String(cost.intervalMs),
    String(pages.length),
    fixed(median(pausesMs), 2),
    fixed(percentile(pausesMs, 0.99), 2),
    fixed(median(pages), 0),
    fixed(median(bytes) / 1024, 0),
    slower(cost.threadSpeeds),
    slower(cost.wallSpeeds),
    fixed(cost.rawBytes / 2 ** 20 / (cost.writeMs / 1000), 0),
  ]);
}

function restoreRow(memoryMiB: number, all: readonly Restore[]): string {
  const of = all.filter((one) => one.memoryMiB === memoryMiB);
  return row([
    String(memoryMiB),
    String(of[0]?.pages ?? 0),
    fixed(median(of.map(({ firstInstructionMs }) => firstInstructionMs)), 0),
    fixed(median(of.map(({ residentMs }) => residentMs)), 0),
  ]);
}

export function reportTables({ commit, host, costs, restores, v86 }: CheckpointReport): string {
  const memories = [...new Set(restores.map(({ memoryMiB }) => memoryMiB))];
  const lines = [
    `Commit ${commit}; ${host}; \`file:\` store.`,
    '',
    row([
      'MiB',
      'load',
      'interval ms',
      'checkpoints',
      'pause ms',
      'p99',
      'pages',
      'KiB stored',
      'slower by (its thread)',
      '(by the wall)',
      'MiB/s',
    ]),
    row([...Array<string>(2).fill('---'), ...Array<string>(9).fill('--:')]),
    ...costs.map(costRow),
    '',
    row(['MiB', 'pages not zero', 'first instruction after ms', 'all pages after ms']),
    row(Array<string>(4).fill('--:')),
    ...memories.map((memoryMiB) => restoreRow(memoryMiB, restores)),
    '',
  ];
  if (v86 !== undefined)
    lines.push(
      `v86, i386, 128 MiB: save_state ${fixed(v86.saveMs, 0)} ms, restore_state ${fixed(v86.restoreMs, 0)} ms, ${fixed(v86.bytes / 2 ** 20, 0)} MiB each time.`,
      '',
    );
  return lines.join('\n');
}
