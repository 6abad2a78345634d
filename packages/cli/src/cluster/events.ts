/** `… events`: what the cluster saw and decided, with reasons, from a node or from the store alone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterError, type ClusterClient, type ClusterEvent } from '@revenant/cluster';
import { flag, value, type Options, type Values } from '../command/options.ts';
import { time, wholeNumber } from '../command/values.ts';
import { print, printJsonLine, say } from '../output/print.ts';
import { askStatus, connectOptions, orStored } from './connect.ts';
import { eventLine } from './tables.ts';

/** Options of `events`, beside those that name the cluster. */
const eventOnlyOptions = {
  since: value(
    'TIME',
    'from then on: 10m, 2h, 1d ago, or 2026-01-31T12:00 (default: all that is kept)',
    time(),
  ),
  limit: value('N', 'at most N, the newest (default 200)', wholeNumber(1, 1_000_000), 200),
  follow: flag('go on with what comes, until Ctrl-C'),
} satisfies Options;

export const eventOptions = { ...eventOnlyOptions, ...connectOptions };

const followMs = 500;

/** One of which nothing is told may be new, or its events are over. */
async function requireKnown(
  client: ClusterClient,
  values: Values<typeof eventOptions>,
  vm: string,
): Promise<void> {
  const { vms } = await askStatus(client, values);
  if (!vms.some(({ id }) => id === vm))
    throw new ClusterError('NOT_FOUND', `there is no VM ${vm}, and no event of one`, {
      hint: '`vm list --all` shows them all',
    });
}

/** Prints events, of one VM when it is named. With `--json` one object a line, so that it can be followed. Throws `NOT_FOUND` for a VM that never was. */
export async function showEvents(
  client: ClusterClient,
  values: Values<typeof eventOptions>,
  vm?: string,
): Promise<void> {
  const show = (event: ClusterEvent): void => {
    if (values.json) printJsonLine(event);
    else print(eventLine(event));
  };
  let sinceMs = values.since ?? 0;
  const seen = new Set<string>();
  let said = '';
  for (let most = values.limit; ; most = 1000) {
    // Of one VM: filtered here, so more are asked for.
    const options = {
      sinceMs,
      limit: vm === undefined ? most : most * 20,
      missing: (why: string) => {
        if (why !== said) say(`what the store holds is missing (${why}); this is what nodes keep for it`);
        said = why;
      },
    };
    const all = await orStored(
      values,
      () => client.events(options),
      () => client.storedEvents(options),
    );
    const wanted = all.filter((event) => vm === undefined || event.vm === vm);
    for (const event of wanted.slice(-most)) {
      const key = JSON.stringify(event);
      if (!seen.has(key)) show(event);
      seen.add(key);
    }
    if (vm !== undefined && wanted.length === 0 && seen.size === 0) await requireKnown(client, values, vm);
    if (!values.follow) return;
    // Nodes write their events a moment later, and their clocks differ a little.
    sinceMs = Math.max(sinceMs, (all.at(-1)?.atMs ?? 0) - 10_000);
    for (const key of seen) if ((JSON.parse(key) as ClusterEvent).atMs < sinceMs) seen.delete(key);
    await sleep(followMs);
  }
}
