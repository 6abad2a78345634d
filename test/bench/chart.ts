/** Draws the figures of `bench cpu` as SVG: for each benchmark one bar for each emulator, its speed relative to a base. */
import type { Emulator } from './emulators.ts';
import type { Bits } from './guests.ts';
import { geometricMean, present, rowsOf, type Report } from './report.ts';

const barHeight = 11;
const groupGap = 10;
const left = 125;
const plotWidth = 620;
const top = 78;
const colours: Record<Emulator['id'], string> = {
  revenant: '#0b6e4f',
  interpreter: '#9ccbb5',
  before: '#8a8a8a',
  v86: '#d1495b',
  qemu: '#30638e',
};

interface Group {
  label: string;
  /** Speed relative to the base, by emulator id. */
  speeds: Partial<Record<Emulator['id'], number>>;
}

function groupsOf(report: Report, bits: Bits, base: Emulator['id']): Group[] {
  const rows = rowsOf(report, bits).filter((row) => row.seconds[base] !== undefined);
  const groups = rows.map((row): Group => {
    const entries = Object.entries(row.seconds) as [Emulator['id'], number][];
    return {
      label: row.benchmark,
      speeds: Object.fromEntries(entries.map(([id, seconds]) => [id, (row.seconds[base] ?? 0) / seconds])),
    };
  });
  const means = present(rows).map(({ id }) => [
    id,
    geometricMean(groups.flatMap((group) => group.speeds[id] ?? [])),
  ]);
  return [...groups, { label: 'geometric mean', speeds: Object.fromEntries(means) as Group['speeds'] }];
}

function text(x: number, y: number, content: string, options = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${options}>${content}</text>`;
}

/** Powers of two that enclose all speeds, and 1. */
function scale(groups: readonly Group[]): { low: number; high: number } {
  const speeds = groups.flatMap(({ speeds: all }) => Object.values(all));
  const low = Math.floor(Math.log2(Math.min(1, ...speeds)));
  return { low, high: Math.max(low + 1, Math.ceil(Math.log2(Math.max(1, ...speeds)))) };
}

function legend(shown: readonly Emulator[]): string[] {
  return shown.flatMap(({ id, name }, i) => {
    const x = left + i * 165;
    return [`<rect x="${x}" y="44" width="12" height="12" fill="${colours[id]}"/>`, text(x + 17, 54, name)];
  });
}

/**
 * @returns an SVG document with a logarithmic scale, or undefined when nothing was compared
 */
export function chart(report: Report, bits: Bits): string | undefined {
  const rows = rowsOf(report, bits);
  const shown = present(rows);
  const base =
    shown.find(({ family }) => family !== 'revenant') ?? shown.find(({ id }) => id === 'interpreter');
  if (base === undefined) return undefined;
  const groups = groupsOf(report, bits, base.id);
  const { low, high } = scale(groups);
  const at = (speed: number): number => left + ((Math.log2(speed) - low) / (high - low)) * plotWidth;
  const groupHeight = shown.length * barHeight + groupGap;
  const bottom = top + groups.length * groupHeight;
  const parts = legend(shown);
  for (let power = low; power <= high; power++) {
    const x = at(2 ** power).toFixed(1);
    const colour = power === 0 ? '#444' : '#ddd';
    parts.push(`<line x1="${x}" y1="${top - 6}" x2="${x}" y2="${bottom}" stroke="${colour}"/>`);
    parts.push(
      text(
        at(2 ** power),
        bottom + 16,
        power < 0 ? `1/${2 ** -power}` : String(2 ** power),
        'text-anchor="middle"',
      ),
    );
  }
  groups.forEach((group, i) => {
    const y = top + i * groupHeight;
    const weight = i === groups.length - 1 ? ' font-weight="bold"' : '';
    parts.push(text(left - 8, y + groupHeight / 2, group.label, `text-anchor="end"${weight}`));
    shown.forEach(({ id }, n) => {
      const speed = group.speeds[id];
      const barY = y + n * barHeight;
      if (speed === undefined) {
        parts.push(text(at(1) + 4, barY + 9, 'absent', 'class="value"'));
        return;
      }
      const [from, to] = [Math.min(at(1), at(speed)), Math.max(at(1), at(speed))];
      const width = Math.max(1, to - from).toFixed(1);
      parts.push(
        `<rect x="${from.toFixed(1)}" y="${barY}" width="${width}" height="${barHeight - 1}" fill="${colours[id]}"/>`,
      );
      parts.push(text(to + 4, barY + 9, speed.toFixed(2), 'class="value"'));
    });
  });
  const title = `${bits}-bit guests: speed relative to ${base.name} (longer to the right is faster)`;
  const width = left + plotWidth + 60;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom + 50}" font-family="sans-serif" font-size="12">
<style>.value { font-size: 9px; fill: #555 }</style>
<rect width="100%" height="100%" fill="white"/>
${text(left, 26, title, 'font-size="15" font-weight="bold"')}
${parts.join('\n')}
${text(left, bottom + 36, `${report.machine}, ${report.date}${report.pinned ? ', bound to one processor' : ''}`, 'fill="#777"')}
</svg>
`;
}
