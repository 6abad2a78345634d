/** Figures of one run of `bench cpu`: the JSON file, ratios, geometric means, tables. */
import { benchmarks, type Bits } from './guests.ts';
import { emulatorIds, emulators, revenantOf, type Emulator } from './emulators.ts';

export interface Row {
  benchmark: string;
  bits: Bits;
  /** Median seconds by emulator id; an emulator that failed the benchmark is absent. */
  seconds: Partial<Record<Emulator['id'], number>>;
  /** Digests of the results by emulator id. */
  digests: Partial<Record<Emulator['id'], string>>;
}

export interface Report {
  date: string;
  machine: string;
  node: string;
  /** Commit that was measured, with + when files differ from it. */
  commit: string;
  runs: number;
  /** All emulators bound to one processor. */
  pinned: boolean;
  /** Loops ran 1/divisor of their length. */
  divisor: number;
  rows: Row[];
  /** What failed, one line each. */
  troubles: string[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  if (high === undefined) throw new RangeError('median of nothing');
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2;
}

/** Undefined of nothing. */
export function geometricMean(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** How many times faster Revenant's translator is than another emulator on one benchmark; undefined when either has no figure. */
export function timesAsFast(row: Row, other: Emulator['id']): number | undefined {
  const ours = row.seconds.revenant;
  const theirs = row.seconds[other];
  return ours === undefined || theirs === undefined ? undefined : theirs / ours;
}

/** Emulators that have a figure in these rows, in the order of `emulators`. */
export function present(rows: readonly Row[]): Emulator[] {
  return [...emulators.slice(0, 2), revenantOf('.'), ...emulators.slice(2)].filter(({ id }) =>
    rows.some((row) => row.seconds[id] !== undefined),
  );
}

export function rowsOf(report: Report, bits: Bits): Row[] {
  return report.rows.filter((row) => row.bits === bits);
}

/** `row, emulator: digest instead of digest` for every result that is not ours. */
export function wrongResults(report: Report): string[] {
  return report.rows.flatMap((row) => {
    const ours = row.digests.revenant;
    return Object.entries(row.digests)
      .filter(([, digest]) => ours !== undefined && digest !== ours)
      .map(([id, digest]) => `${row.benchmark} ${row.bits}-bit in ${id}: ${digest} instead of ${ours ?? ''}`);
  });
}

export interface Summary {
  bits: Bits;
  than: Emulator['id'];
  /** How many times as fast as the other ours is: over all benchmarks that both have, and on the worst one. */
  geometricMean: number;
  least: { benchmark: string; times: number };
}

/** Our translator against each other one that has a figure. */
export function summaries(report: Report): Summary[] {
  return ([32, 64] as const).flatMap((bits) =>
    emulatorIds.flatMap((id): Summary[] => {
      if (id === 'revenant') return [];
      const compared = rowsOf(report, bits)
        .flatMap((row) => ({ benchmark: row.benchmark, times: timesAsFast(row, id) ?? NaN }))
        .filter(({ times }) => !Number.isNaN(times))
        .sort((a, b) => a.times - b.times);
      const mean = geometricMean(compared.map(({ times }) => times));
      const [least] = compared;
      return mean === undefined || least === undefined
        ? []
        : [{ bits, than: id, geometricMean: mean, least }];
    }),
  );
}

/** `-` where a figure is absent. */
function cell(value: number | undefined, digits = 2): string {
  return value === undefined ? '-' : value.toFixed(digits);
}

/** A Markdown table: seconds of everybody, and how many times as fast as each other one ours is. */
export function table(report: Report, bits: Bits): string {
  const rows = rowsOf(report, bits);
  const columns = present(rows);
  const others = columns.filter(({ id }) => id !== 'revenant');
  const header = [
    `${bits}-bit guest`,
    ...columns.map(({ name }) => `${name}, s`),
    ...others.map(({ name }) => `× ${name}`),
  ];
  const lines = [
    `| ${header.join(' | ')} |`,
    `| --- |${' ---: |'.repeat(header.length - 1)}`,
    ...rows.map((row) => {
      const title = benchmarks.find(({ name }) => name === row.benchmark)?.title ?? row.benchmark;
      const cells = [
        ...columns.map(({ id }) => cell(row.seconds[id])),
        ...others.map(({ id }) => cell(timesAsFast(row, id))),
      ];
      return `| ${row.benchmark} (${title}) | ${cells.join(' | ')} |`;
    }),
  ];
  const all = summaries(report).filter((one) => one.bits === bits);
  const means = others.map(({ id }) => all.find(({ than }) => than === id)?.geometricMean);
  const least = others.map(({ id }) => all.find(({ than }) => than === id)?.least.times);
  const summary = (label: string, values: (number | undefined)[]): string =>
    `| **${label}** | ${[...columns.map(() => ''), ...values.map((value) => `**${cell(value)}**`)].join(' | ')} |`;
  lines.push(summary('geometric mean', means), summary('least', least));
  return lines.join('\n');
}

/** Everything a reader wants, as Markdown. */
export function toMarkdown(report: Report): string {
  const bits = ([32, 64] as const).filter((one) => rowsOf(report, one).length > 0);
  const scaled = report.divisor === 1 ? '' : `, at 1/${report.divisor} of the full length`;
  const place = report.pinned ? 'each emulator bound to one processor' : 'all processors for each emulator';
  const head = `${report.date}, commit ${report.commit}, ${report.machine}, Node ${report.node}, median of ${report.runs} runs${scaled}, ${place}.`;
  return `${head}\n\n${bits.map((one) => table(report, one)).join('\n\n')}\n`;
}
