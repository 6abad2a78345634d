/** What `revenant replay --check` found, as the textfile collector of Prometheus' node exporter reads it. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { cannotWrite } from '../errors.ts';

export interface CheckTotals {
  vm: string;
  same: number;
  different: number;
  noLog: number;
  /** When it ended, since 1970, and how long it took. */
  atMs: number;
  tookMs: number;
}

/** Exposition format, version 0.0.4. A VM's name needs no escapes. */
export function checkMetrics({ vm, same, different, noLog, atMs, tookMs }: CheckTotals): string {
  const lines = (name: string, help: string, values: readonly (readonly [string, number])[]): string[] => [
    `# HELP revenant_replay_check_${name} ${help}`,
    `# TYPE revenant_replay_check_${name} gauge`,
    ...values.map(([labels, value]) => `revenant_replay_check_${name}{vm="${vm}"${labels}} ${String(value)}`),
  ];
  const results = Object.entries({ same, different, no_log: noLog });
  return [
    ...lines(
      'spans',
      'Spans between checkpoints that were replayed, by how they came out.',
      results.map(([result, count]) => [`,result="${result}"`, count] as const),
    ),
    ...lines('timestamp_seconds', 'When the last check ended.', [['', atMs / 1000]]),
    ...lines('duration_seconds', 'How long it took.', [['', tookMs / 1000]]),
    '',
  ].join('\n');
}

/** The collector never sees half of it. */
export function writeMetrics(path: string, totals: CheckTotals): void {
  const part = `${path}.${String(process.pid)}.tmp`;
  try {
    writeFileSync(part, checkMetrics(totals));
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw cannotWrite(path, error);
  }
}
