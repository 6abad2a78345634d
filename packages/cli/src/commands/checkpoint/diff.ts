/** `checkpoint diff`: what changed from one checkpoint to another, by region and by field. */
import {
  diffCheckpoints,
  formatId,
  type CheckpointDiff,
  type CheckpointReader,
  type FieldDiff,
} from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { value } from '../../command/options.ts';
import { wholeNumber } from '../../command/values.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { fields, table } from '../../output/print.ts';
import { bytesText, countText, guestTimeText, hex, valueText } from '../../output/text.ts';
import { waitingUntil } from '../../output/waiting.ts';

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

function text(diff: CheckpointDiff, ends: readonly [string, string], shownRanges: number): string {
  const head = fields([
    ['from', ends[0]],
    ['to', ends[1]],
    ['instructions', countText(diff.instructions)],
    ['guest time', guestTimeText(diff.virtualTimeNs)],
  ]);
  const spaces = diff.spaces.map(({ name, pageSize, changedPages, ranges }) => {
    const shown = ranges.slice(0, shownRanges).map(({ first, count }) => {
      const last = count > 1 ? `-${hex((first + count) * pageSize - 1)}` : '';
      return `${hex(first * pageSize)}${last}`;
    });
    const more = ranges.length > shownRanges ? ` … (${ranges.length} ranges)` : '';
    return [name, countText(changedPages), bytesText(changedPages * pageSize), `${shown.join(' ')}${more}`];
  });
  const changed =
    diff.fields.length === 0
      ? 'no field of processors or devices differs'
      : table(['FIELD', 'CHANGE'], diff.fields.map(fieldLine));
  return [head, table(['SPACE', 'PAGES', 'BYTES', 'AT'], spaces), changed].join('\n\n');
}

export const command = define({
  words: ['A', 'B'],
  about: 'B may be given as @SEQUENCE alone: of the same VM.',
  options: {
    ranges: value(
      'N',
      'show the first N ranges of changed pages of each space (default 10)',
      wholeNumber(),
      10,
    ),
    ...storeOptions,
  },
  examples: [
    'checkpoint diff vm1@11 @12 --store file:/srv/revenant',
    'checkpoint diff ./before.checkpoint ./after.checkpoint',
  ],
  async run(input) {
    const [first, second] = [input.word(0), input.word(1)];
    await inspecting(input.options, async (opener) => {
      if (second.startsWith('@') && opener.isFile(first))
        throw new CliError(
          ExitCode.usage,
          `'${second}' needs a VM`,
          'a file has no other checkpoints: name two files',
        );
      const { a, b, diff } = await waitingUntil('the two are compared', async () => {
        const a = await opener.checkpoint(first);
        const b = await opener.checkpoint(second.startsWith('@') ? `${a.vmId}${second}` : second);
        return { a, b, diff: await diffCheckpoints(a, b) };
      });
      const [from, to] = [label(a), label(b)];
      input.show({ from, to, ...diff }, () => text(diff, [from, to], input.options.ranges));
    });
    return undefined;
  },
});
