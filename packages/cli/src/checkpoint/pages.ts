/** `checkpoint pages`: a map of zero, shared, changed and unchanged pages, as text or as PNG. */
import { writeFileSync } from 'node:fs';
import {
  classifyPages,
  formatId,
  PAGE_CHANGED,
  PAGE_SHARED,
  PAGE_UNCHANGED,
  PAGE_ZERO,
  type PageKinds,
} from '@revenant/storage';
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { bytesText, hex, type CheckpointCommand } from './context.ts';
import { countText } from './list.ts';
import { encodePng } from './png.ts';

/** By PAGE_ constant. */
const letters = ['.', '-', '#', '='] as const;
const kindNames = ['zero', 'unchanged', 'changed', 'shared'] as const;
const palette = [[24, 24, 32], [70, 110, 160], [240, 120, 50], [110, 190, 110], [0, 0, 0]] as const; // prettier-ignore
const backgroundColour = 4;
const columns = 64;
const maxRows = 64;
/** What a cell of several pages shows: the first of these that is among them. */
const priority = [PAGE_CHANGED, PAGE_UNCHANGED, PAGE_SHARED, PAGE_ZERO];

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
      line += letters[priority.find((kind) => inside.includes(kind)) ?? PAGE_ZERO] ?? '?';
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

/** Writes a file that the person named. */
export function writeOutput(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw new CliError(ExitCode.cannotWrite, `can't write '${path}': ${messageOf(error)}`, 'choose a path that can be written', error); // prettier-ignore
  }
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

export const command: CheckpointCommand = {
  summary: 'a map of zero, shared, changed and unchanged pages',
  usage: 'pages CHECKPOINT [SPACE] [--since CHECKPOINT] [--png FILE] [--json]',
  details: `SPACE is ram (default), vram, disk0, …

  --since B        what changed since B (default: since the checkpoint before it; for files: nothing to compare with)
  --png FILE       one pixel a page: dark zero, blue unchanged, orange changed, green shared

Examples:
  revenant checkpoint pages vm1@12 --store file:/srv/revenant
  revenant checkpoint pages vm1@12 --since vm1@3 --png pages.png --store file:/srv/revenant`,
  options: { since: { type: 'string' }, png: { type: 'string' } },
  async run(context) {
    context.atMost(2);
    const word = context.word(0, 'a checkpoint');
    const reader = await context.checkpoint();
    const since = context.text('since');
    const before =
      since === undefined
        ? await context.opener.before(word, reader)
        : await context.opener.checkpoint(since);
    const kinds = await classifyPages(reader, context.positionals[1] ?? 'ram', before);
    const png = context.text('png');
    if (png !== undefined) writeOutput(png, pagesPng(kinds));
    const totals = Object.fromEntries(kindNames.map((name, n) => [name, kinds.totals[n] ?? 0]));
    const compared = before === undefined ? undefined : `${before.vmId}@${formatId(before.id)}`;
    const json = {
      space: kinds.space,
      pageSize: kinds.pageSize,
      since: compared ?? null,
      totals,
      runs: runs(kinds.kinds),
    };
    context.show(json, () => {
      const { pagesPerCell, lines } = textMap(kinds);
      const legend = kindNames.map((name, n) => `${letters[n] ?? ''} ${name} ${countText(kinds.totals[n] ?? 0)}`).join('   ');
      const note = compared === undefined ? 'nothing to compare with: what is not shared counts as changed' : `compared with ${compared}`;
      const cell = `a character is ${pagesPerCell === 1 ? 'a page' : `${pagesPerCell} pages`} (${bytesText(pagesPerCell * kinds.pageSize)}), a row ${hex(pagesPerCell * kinds.pageSize * columns)}`;
      return [`${kinds.space}: ${countText(kinds.kinds.length)} pages, ${note}`, legend, cell, '', ...lines, ...(png === undefined ? [] : ['', `drawn in ${png}`])].join('\n');
    }); // prettier-ignore
    return undefined;
  },
};
