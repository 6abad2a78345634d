/** `checkpoint list`: the VMs of a store, or the checkpoints of a VM. */
import {
  formatId,
  listCheckpoints,
  listVms,
  readOwner,
  type ListedCheckpoint,
  type ObjectStore,
} from '@revenant/storage';
import { bytesText, table, type CheckpointCommand, type Context } from './context.ts';

/** `2026-01-31 12:03:04` */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

/** Guest time: `12.345 s` */
export function guestTimeText(ns: bigint): string {
  return `${(Number(ns / 1_000_000n) / 1000).toFixed(3)} s`;
}

/** `1,234,567` */
export function countText(count: bigint | number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

interface StoreRow {
  vm: string;
  state: string;
  owner: string | null;
  checkpoints: number;
  newest: string | null;
  createdAtMs: number | null;
}

async function listStore(context: Context, store: ObjectStore): Promise<void> {
  const key = await context.opener.key();
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
  context.show(rows, () =>
    table(
      ['VM', 'STATE', 'OWNER', 'CHECKPOINTS', 'NEWEST', 'CREATED (UTC)'],
      rows.map(({ vm, state, owner, checkpoints, newest, createdAtMs }) => [
        vm, state, owner ?? '-', String(checkpoints), newest ?? '-', createdAtMs === null ? '-' : timeText(createdAtMs),
      ]), // prettier-ignore
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
    formatId(id), timeText(head.createdAtMs), guestTimeText(head.virtualTimeNs), countText(head.instructions),
    head.map === 'full' ? 'full' : `delta ${head.chainLength}`, countText(head.counts.storedPages), bytesText(written), remarks.join('; '),
  ]; // prettier-ignore
}

export const command: CheckpointCommand = {
  summary: 'the VMs of a store, or the checkpoints of a VM',
  usage: 'list [VM] --store URL [--check] [--json]',
  details: `  --check          also check that the packs of each checkpoint are there

Examples:
  revenant checkpoint list --store file:/srv/revenant
  revenant checkpoint list vm1 --store file:/srv/revenant --check`,
  options: { check: { type: 'boolean' } },
  async run(context) {
    context.atMost(1);
    const store = await context.opener.store();
    const [vmId] = context.positionals;
    if (vmId === undefined) return void (await listStore(context, store));
    await context.opener.requireVm(vmId);
    const key = await context.opener.key();
    const checkpoints = await listCheckpoints(store, vmId, { key, check: context.flag('check') });
    const json = checkpoints.map(({ id, ...rest }) => ({ id: formatId(id), ...rest }));
    context.show(json, () =>
      table(
        ['ID', 'CREATED (UTC)', 'GUEST TIME', 'INSTRUCTIONS', 'MAP', 'PAGES', 'WRITTEN', ''],
        checkpoints.map(row),
      ),
    );
    return undefined;
  },
};
