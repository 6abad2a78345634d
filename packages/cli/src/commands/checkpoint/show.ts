/** `checkpoint show`: what one checkpoint is made of. */
import { formatId, summarizeCheckpoint, type CheckpointSummary } from '@revenant/storage';
import { inspecting, storeOptions } from '../../checkpoint/opener.ts';
import { define } from '../../command/command.ts';
import { fields, table } from '../../output/print.ts';
import { bytesText, countText, guestTimeText, timeText, valueText } from '../../output/text.ts';

function descriptionRows(description: unknown): [string, string][] {
  if (typeof description !== 'object' || description === null) return [];
  return Object.entries(description).map(([name, value]) => {
    if (name === 'memoryBytes' && typeof value === 'number')
      return [`  ${name}`, `${value} (${bytesText(value)})`];
    return [`  ${name}`, valueText(value)];
  });
}

function spaceTable(summary: CheckpointSummary): string {
  return table(
    ['SPACE', 'SIZE', 'PAGES', 'ZERO', 'IN BASE', 'STORED', 'DISTINCT'],
    summary.spaces.map((space) => [
      space.name,
      bytesText(space.pageCount * space.pageSize),
      countText(space.pageCount),
      countText(space.zeroPages),
      space.base === undefined ? '-' : countText(space.basePages),
      countText(space.storedPages),
      countText(space.distinctPages),
    ]),
  );
}

function text(summary: CheckpointSummary): string {
  const { sizes, ratios, written } = summary;
  // prettier-ignore
  const head = fields([
    ['checkpoint', `${summary.vmId}@${formatId(summary.id)}`],
    ['created', `${timeText(summary.createdAtMs)} UTC`],
    ['guest time', guestTimeText(summary.virtualTimeNs)],
    ['instructions', countText(summary.instructions)],
    ['page map', summary.map],
    ['parent', summary.parent === null ? 'none' : formatId(summary.parent)],
    ['chain', `${summary.chain.length}: ${summary.chain.join(' ')}`],
    ['', ''],
    ['memory and disks', `${bytesText(sizes.logical)}, of which not zero ${bytesText(sizes.present)}`],
    ['distinct pages', `${bytesText(sizes.distinct)} (deduplication ${ratios.dedup.toFixed(2)} : 1)`],
    ['in packs', `${bytesText(sizes.packs)} in ${summary.packCount} (compression ${ratios.compression.toFixed(2)} : 1)`],
    ['manifests', bytesText(sizes.manifests)],
    ['written for it', `${bytesText(written.packBytes)} in ${written.packs} packs: ${countText(written.listedPages)} pages listed, ${countText(written.storedPages)} stored, ${countText(written.sharedPages)} shared, ${countText(written.zeroPages)} zero`],
    ['working set', `${countText(summary.workingSetPages)} pages`],
    ['', ''],
    ['description', ''],
    ...descriptionRows(summary.description),
    ['processors', String(summary.cpus)],
    ['devices', summary.devices.map(({ name, version }) => `${name} (v${version})`).join(', ')],
  ]);
  return `${head}\n\n${spaceTable(summary)}`;
}

export const command = define({
  words: ['CHECKPOINT'],
  options: storeOptions,
  examples: [
    'checkpoint show vm1@12 --store file:/srv/revenant',
    'checkpoint show ./linux.checkpoint --json',
  ],
  async run(input) {
    await inspecting(input.options, async (opener) => {
      const reader = await opener.checkpoint(input.word(0));
      const summary = await summarizeCheckpoint(reader);
      const contentHash = await reader.contentHash();
      const [id, parent] = [formatId(summary.id), summary.parent && formatId(summary.parent)];
      input.show({ ...summary, id, parent, contentHash }, () => text(summary));
    });
    return undefined;
  },
});
