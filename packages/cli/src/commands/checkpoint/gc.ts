/** `revenant checkpoint gc`. */
import { collectGarbage, defaultRetention, formatId, parseRetention } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { flag, value } from '../../command/options.ts';
import { bytesText } from '../../output/text.ts';
import { waitingUntil } from '../../output/waiting.ts';

type Report = Awaited<ReturnType<typeof collectGarbage>>;

function text(
  { kept, removed, removedPacks, removedBytes, damaged, skipped }: Report,
  dryRun: boolean,
): string {
  if (skipped !== undefined) return `nothing was removed: ${skipped}`;
  const verb = dryRun ? 'would remove' : 'removed';
  return [
    `kept     ${kept.length}: ${kept.map(formatId).join(' ')}`,
    `${verb.padEnd(7)}  ${removed.length}: ${removed.map(formatId).join(' ') || 'none'}`,
    `         ${removedPacks} packs, ${bytesText(removedBytes)}`,
    ...damaged.map(({ id, reason }) => `${formatId(id)} ${reason}`),
  ].join('\n');
}

export const command = define({
  words: ['VM'],
  about:
    'The newest intact checkpoint, and whatever a kept one needs, always stay; it is safe beside a VM that runs.',
  options: {
    keep: value(
      'RULES',
      `for example 'last 10, 1 per 1m for 1h'
(default: last 10, 1 per 1m for 1h, 1 per 1h for 1d)`,
      (rules) => parseRetention(rules),
      defaultRetention,
    ),
    'dry-run': flag('say what would be removed, and remove nothing'),
    ...storeOptions,
  },
  examples: ["checkpoint gc vm1 --store file:/srv/revenant --keep 'last 3' --dry-run"],
  async run(input) {
    const vmId = input.word(0);
    const { keep: policy, 'dry-run': dryRun } = input.options;
    const report = await inspecting(input.options, async (opener) => {
      const store = await opener.store();
      await opener.requireVm(vmId);
      const key = await opener.key();
      return waitingUntil(`the checkpoints of ${vmId} are gone through`, () =>
        collectGarbage(store, vmId, { policy, dryRun, key }),
      );
    });
    const { kept, removed, damaged } = report;
    const json = {
      ...report,
      dryRun,
      kept: kept.map(formatId),
      removed: removed.map(formatId),
      damaged: damaged.map(({ id, reason }) => ({ id: formatId(id), reason })),
    };
    input.show(json, () => text(report, dryRun));
    return undefined;
  },
});
