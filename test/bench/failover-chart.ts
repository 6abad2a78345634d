/** Draws each failover of `bench failover` as a dot on a time line, one line for each kind and profile, with its median. */
import type { ProfileName } from '@revenant/cluster';

export const kinds = ['kill', 'freeze', 'move'] as const;
export type Kind = (typeof kinds)[number];

export interface FailoverRow {
  kind: Kind;
  profile: ProfileName;
  guest: string;
  /** kill, freeze: until the first instructions elsewhere; move: how long the guest stood still. */
  ms: number[];
}

/** The value below which a share `p` of the sorted values lies. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? NaN;
}

const left = 150;
const plotWidth = 600;
const rowHeight = 34;
const top = 50;
const colours = { kill: '#d1495b', freeze: '#30638e', move: '#0b6e4f' } as const;

/** @returns an SVG document; times from zero, in seconds */
export function failoverChart(rows: readonly FailoverRow[]): string {
  const longest = Math.max(1000, ...rows.flatMap(({ ms }) => ms));
  const step = longest > 4000 ? 1000 : longest > 1500 ? 500 : 200;
  const end = Math.ceil(longest / step) * step;
  const x = (ms: number): string => (left + (ms / end) * plotWidth).toFixed(1);
  const height = top + rows.length * rowHeight + 30;
  const ticks = Array.from({ length: end / step + 1 }, (_, i) => i * step).map(
    (ms) =>
      `<line x1="${x(ms)}" x2="${x(ms)}" y1="${top - 8}" y2="${height - 28}" stroke="#ddd"/><text x="${x(ms)}" y="${height - 10}" text-anchor="middle">${ms / 1000} s</text>`,
  );
  const lines = rows.map(({ kind, profile, ms }, i) => {
    const y = top + i * rowHeight + rowHeight / 2;
    const dots = ms.map(
      (each) => `<circle cx="${x(each)}" cy="${y}" r="4" fill="${colours[kind]}" fill-opacity="0.45"/>`,
    );
    const median = quantile(ms, 0.5);
    return [
      `<text x="${left - 12}" y="${y + 4}" text-anchor="end">${kind}, ${profile}</text>`,
      ...dots,
      `<line x1="${x(median)}" x2="${x(median)}" y1="${y - 11}" y2="${y + 11}" stroke="${colours[kind]}" stroke-width="2"/>`,
      `<text x="${Number(x(median)) + 5}" y="${y - 8}" font-size="10">${Math.round(median)} ms</text>`,
    ].join('\n');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${left + plotWidth + 40}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="12" y="22" font-size="15">Until the guest goes on elsewhere (move: how long it stands still)</text>`,
    ...ticks,
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
