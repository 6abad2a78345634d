/** `checkpoint list`: the VMs of a store, or the checkpoints of a VM. */
import { formatId, listCheckpoints, listVms, readOwner, type ListedCheckpoint } from '@revenant/storage';
import { inspecting, storeOptions, type Opener } from '../../checkpoint/opener.ts';
import { define, type Input } from '../../command/command.ts';
import { flag } from '../../command/options.ts';
import { table } from '../../output/print.ts';
import { bytesText, countText, guestTimeText, timeText } from '../../output/text.ts';

interface StoreRow {
  vm: string;
  state: string;
  owner: string | null;
  checkpoints: number;
  newest: string | null;
  createdAtMs: number | null;
}

async function listStore(input: Input, opener: Opener): Promise<void> {
  const store = await opener.store();
  const key = await opener.key();
  const rows: StoreRow[] = [];
  for (const vmId of await listVms(store)) {
    const owner = (await readOwner(store, vmId))?.record;
    const checkpoints = await listCheckpoints(store, vmId, { key });
    const last = checkpoints.findLast(({ newest }) => newest);
    rows.push({
      vm: vmId,
      state: owner?.state ?? 'unknown',
      owner: owner?.owner ?? null,
      checkpoints: checkpoints.length,
      newest: last === undefined ? null : formatId(last.id),
      createdAtMs: last?.head?.createdAtMs ?? null,
    });
  }
  input.show(rows, () =>
    table(
      ['VM', 'STATE', 'OWNER', 'CHECKPOINTS', 'NEWEST', 'CREATED (UTC)'],
      rows.map(({ vm, state, owner, checkpoints, newest, createdAtMs }) => [
        vm,
        state,
        owner ?? '-',
        String(checkpoints),
        newest ?? '-',
        createdAtMs === null ? '-' : timeText(createdAtMs),
      ]),
    ),
  );
}

function row({ id, head, counts, damaged, newest, manifestBytes }: ListedCheckpoint): string[] {
  const remarks = [
    newest ? 'newest' : '',
    counts ? '' : 'does not count (left by a former owner)',
    damaged ?? '',
  ].filter((remark) => remark !== '');
  if (head === undefined) return [formatId(id), '-', '-', '-', '-', '-', '-', remarks.join('; ')];
  const written = head.counts.packBytes + manifestBytes;
  return [
    formatId(id),
    timeText(head.createdAtMs),
    guestTimeText(head.virtualTimeNs),
    countText(head.instructions),
    head.map === 'full' ? 'full' : `delta ${head.chainLength}`,
    countText(head.counts.storedPages),
    bytesText(written),
    remarks.join('; '),
  ];
}

async function listVm(input: Input, opener: Opener, vmId: string, check: boolean): Promise<void> {
  const store = await opener.store();
  await opener.requireVm(vmId);
  const checkpoints = await listCheckpoints(store, vmId, { key: await opener.key(), check });
  const json = checkpoints.map(({ id, ...rest }) => ({ id: formatId(id), ...rest }));
  input.show(json, () =>
    table(
      ['ID', 'CREATED (UTC)', 'GUEST TIME', 'INSTRUCTIONS', 'MAP', 'PAGES', 'WRITTEN', ''],
      checkpoints.map(row),
    ),
  );
}

export const command = define({
  words: ['[VM]'],
  options: { check: flag('also check that the packs of each checkpoint are there'), ...storeOptions },
  examples: [
    'checkpoint list --store file:/srv/revenant',
    'checkpoint list vm1 --store file:/srv/revenant --check',
  ],
  async run(input) {
    const [vmId] = input.words;
    await inspecting(input.options, (opener) =>
      vmId === undefined ? listStore(input, opener) : listVm(input, opener, vmId, input.options.check),
    );
    return undefined;
  },
});
