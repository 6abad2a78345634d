/** `checkpoint diff`: what changed from one checkpoint to another, by region and by field. */
import { diffCheckpoints, formatId, type CheckpointReader, type FieldDiff } from '@revenant/storage';
import { CliError, ExitCode } from '../errors.ts';
import { bytesText, fields, hex, table, type CheckpointCommand } from './context.ts';
import { countText, guestTimeText } from './list.ts';
import { valueText } from './show.ts';

/** Wide integers are addresses and register contents: in hexadecimal. */
function side(path: string, value: unknown): string {
  if (value === undefined) return '(none)';
  const register = typeof value === 'number' && path.startsWith('cpus.');
  const text = typeof value === 'bigint' || register ? hex(value) : valueText(value);
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

/** For byte arrays of one length, where they differ. */
function bytesDiffering({ before, after }: FieldDiff): string | undefined {
  if (!(before instanceof Uint8Array && after instanceof Uint8Array) || before.length !== after.length)
    return undefined;
  const places = [...before.keys()].filter((at) => before[at] !== after[at]);
  const shown = places
    .slice(0, 4)
    .map((at) => `[${at}] ${hex(before[at] ?? 0, 2)} → ${hex(after[at] ?? 0, 2)}`);
  return `${places.length} of ${before.length} bytes: ${shown.join(', ')}${places.length > 4 ? ', …' : ''}`;
}

function fieldLine(diff: FieldDiff): string[] {
  return [
    diff.path,
    bytesDiffering(diff) ?? `${side(diff.path, diff.before)} → ${side(diff.path, diff.after)}`,
  ];
}

const label = (reader: CheckpointReader): string => `${reader.vmId}@${formatId(reader.id)}`;

export const command: CheckpointCommand = {
  summary: 'what changed from A to B, by region and by device field',
  usage: 'diff A B [--ranges N] [--json]',
  details: `B may be given as @SEQUENCE alone: of the same VM.

  --ranges N       show the first N ranges of changed pages of each space (default 10)

Examples:
  revenant checkpoint diff vm1@11 @12 --store file:/srv/revenant
  revenant checkpoint diff ./before.checkpoint ./after.checkpoint`,
  options: { ranges: { type: 'string' } },
  async run(context) {
    context.atMost(2);
    const first = context.word(0, 'the first checkpoint');
    const second = context.word(1, 'the second checkpoint');
    if (second.startsWith('@') && context.opener.isFile(first))
      throw new CliError(
        ExitCode.usage,
        `'${second}' needs a VM`,
        'a file has no other checkpoints: name two files',
      );
    const a = await context.opener.checkpoint(first);
    const b = await context.opener.checkpoint(second.startsWith('@') ? `${a.vmId}${second}` : second);
    const diff = await diffCheckpoints(a, b);
    const shown = context.count('ranges', 10);
    context.show({ from: label(a), to: label(b), ...diff }, () => {
      const head = fields([
        ['from', label(a)],
        ['to', label(b)],
        ['instructions', countText(diff.instructions)],
        ['guest time', guestTimeText(diff.virtualTimeNs)],
      ]);
      const spaces = diff.spaces.map(({ name, pageSize, changedPages, ranges }) => {
        const list = ranges.slice(0, shown).map(({ first: page, count }) => `${hex(page * pageSize)}${count > 1 ? `-${hex((page + count) * pageSize - 1)}` : ''}`);
        const more = ranges.length > shown ? ` … (${ranges.length} ranges)` : '';
        return [name, countText(changedPages), bytesText(changedPages * pageSize), `${list.join(' ')}${more}`];
      }); // prettier-ignore
      const changed = diff.fields.length === 0 ? 'no field of processors or devices differs' : table(['FIELD', 'CHANGE'], diff.fields.map(fieldLine)); // prettier-ignore
      return `${head}\n\n${table(['SPACE', 'PAGES', 'BYTES', 'AT'], spaces)}\n\n${changed}`;
    });
    return undefined;
  },
};
