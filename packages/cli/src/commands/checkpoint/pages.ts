/** `checkpoint pages`: a map of zero, shared, changed and unchanged pages, as text or as PNG. */
import {
  classifyPages,
  formatId,
  pageChanged,
  pageShared,
  pageUnchanged,
  pageZero,
  type PageKinds,
} from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { writeOutput } from '../../output/file.ts';
import { encodePng } from '../../output/png.ts';
import { bytesText, countText, hex } from '../../output/text.ts';

/** By PAGE_ constant. */
const letters = ['.', '-', '#', '='] as const;
const kindNames = ['zero', 'unchanged', 'changed', 'shared'] as const;
const palette = [
  [24, 24, 32],
  [70, 110, 160],
  [240, 120, 50],
  [110, 190, 110],
  [0, 0, 0],
] as const;
const backgroundColour = 4;
const columns = 64;
const maxRows = 64;
/** What a cell of several pages shows: the first of these that is among them. */
const priority = [pageChanged, pageUnchanged, pageShared, pageZero];

/** Rows of at most `columns` cells; several pages share a cell where there are too many. */
export function textMap({ kinds, pageSize }: Pick<PageKinds, 'kinds' | 'pageSize'>): {
  pagesPerCell: number;
  lines: string[];
} {
  let pagesPerCell = 1;
  while (kinds.length / pagesPerCell > columns * maxRows) pagesPerCell *= 2;
  const lines: string[] = [];
  const perRow = pagesPerCell * columns;
  for (let at = 0; at < kinds.length; at += perRow) {
    let line = '';
    for (let cell = at; cell < Math.min(at + perRow, kinds.length); cell += pagesPerCell) {
      const inside = kinds.subarray(cell, cell + pagesPerCell);
      line += letters[priority.find((kind) => inside.includes(kind)) ?? pageZero] ?? '?';
    }
    lines.push(`${(at * pageSize).toString(16).padStart(9, '0')}  ${line}`);
  }
  return { pagesPerCell, lines };
}

/** One pixel a page, 512 or fewer in a row. */
export function pagesPng({ kinds }: Pick<PageKinds, 'kinds'>): Buffer {
  const width = Math.min(512, Math.max(1, 2 ** Math.ceil(Math.log2(Math.sqrt(kinds.length || 1)))));
  const height = Math.max(1, Math.ceil(kinds.length / width));
  const pixels = new Uint8Array(width * height).fill(backgroundColour);
  pixels.set(kinds);
  return encodePng({ width, height, pixels, palette });
}

/** Kinds as runs, for programs. */
function runs(kinds: Uint8Array): { first: number; count: number; kind: string }[] {
  const found: { first: number; count: number; kind: string }[] = [];
  for (const [page, kind] of kinds.entries()) {
    const last = found.at(-1);
    const name = kindNames[kind] ?? '';
    if (last?.kind === name) last.count++;
    else found.push({ first: page, count: 1, kind: name });
  }
  return found;
}

function mapText(kinds: PageKinds, compared: string | undefined): string {
  const { pagesPerCell, lines } = textMap(kinds);
  const { space, pageSize, totals } = kinds;
  const legend = kindNames.map((name, n) => `${letters[n] ?? ''} ${name} ${countText(totals[n] ?? 0)}`);
  const note =
    compared === undefined
      ? 'nothing to compare with: what is not shared counts as changed'
      : `compared with ${compared}`;
  const cellBytes = pagesPerCell * pageSize;
  const cell = pagesPerCell === 1 ? 'a page' : `${pagesPerCell} pages`;
  return [
    `${space}: ${countText(kinds.kinds.length)} pages, ${note}`,
    legend.join('   '),
    `a character is ${cell} (${bytesText(cellBytes)}), a row ${hex(cellBytes * columns)}`,
    '',
    ...lines,
  ].join('\n');
}

export const command = define({
  words: ['CHECKPOINT', '[SPACE]'],
  about: 'SPACE is ram (default), vram, disk0, …',
  options: {
    since: text(
      'CHECKPOINT',
      `what changed since then (default: since the checkpoint before it; for files: nothing to
compare with)`,
    ),
    png: text('FILE', 'one pixel a page: dark zero, blue unchanged, orange changed, green shared'),
    ...storeOptions,
  },
  examples: [
    'checkpoint pages vm1@12 --store file:/srv/revenant',
    'checkpoint pages vm1@12 --since vm1@3 --png pages.png --store file:/srv/revenant',
  ],
  async run(input) {
    const { since, png } = input.options;
    await inspecting(input.options, async (opener) => {
      const reader = await opener.checkpoint(input.word(0));
      const before =
        since === undefined ? await opener.before(input.word(0), reader) : await opener.checkpoint(since);
      const kinds = await classifyPages(reader, input.words[1] ?? 'ram', before);
      if (png !== undefined) writeOutput(png, pagesPng(kinds));
      const compared = before === undefined ? undefined : `${before.vmId}@${formatId(before.id)}`;
      const json = {
        space: kinds.space,
        pageSize: kinds.pageSize,
        since: compared ?? null,
        totals: Object.fromEntries(kindNames.map((name, n) => [name, kinds.totals[n] ?? 0])),
        runs: runs(kinds.kinds),
      };
      input.show(json, () => `${mapText(kinds, compared)}${png === undefined ? '' : `\n\ndrawn in ${png}`}`);
    });
    return undefined;
  },
});
