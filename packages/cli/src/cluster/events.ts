/** `… events`: what the cluster saw and decided, with reasons, from a node or from the store alone. */
import type { ClusterClient, ClusterEvent } from '@revenant/cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, ExitCode } from '../errors.ts';
import { orStored, type ConnectValues } from './connect.ts';
import { eventLine, print } from './output.ts';

/** Options of `events`, for parseArgs. */
export const eventOptions = {
  since: { type: 'string' },
  limit: { type: 'string', default: '200' },
  follow: { type: 'boolean', default: false },
} as const;

export const eventHelp = `  --since TIME             from then on: 10m, 2h, 1d ago, or 2026-01-31T12:00 (default: all that is kept)
  --limit N                at most N, the newest (default 200)
  --follow                 go on with what comes, until Ctrl-C`;

const followMs = 500;
const unitMs: Record<string, number> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** `10m` (ago) or a date as milliseconds since 1970. */
export function parseSince(text: string, nowMs: number): number {
  const ago = /^(\d+)([smhd])$/.exec(text);
  if (ago !== null) return nowMs - Number(ago[1]) * (unitMs[ago[2] ?? ''] ?? 0);
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new CliError(
      ExitCode.usage,
      `--since: '${text}' is no time`,
      'for example --since 10m or --since 2026-01-31T12:00',
    );
  return at;
}

export interface EventValues extends ConnectValues {
  since?: string;
  limit: string;
  follow: boolean;
  json: boolean;
}

/** Prints events, of one VM when it is named. With `--json` one object a line, so that it can be followed. */
export async function showEvents(client: ClusterClient, values: EventValues, vm?: string): Promise<void> {
  const limit = Number(values.limit);
  if (!Number.isInteger(limit) || limit < 1)
    throw new CliError(
      ExitCode.usage,
      `--limit: '${values.limit}' is no number`,
      'give a whole number from 1',
    );
  const show = (event: ClusterEvent): void => {
    if (values.json) print(JSON.stringify(event));
    else print(eventLine(event));
  };
  let sinceMs = values.since === undefined ? 0 : parseSince(values.since, Date.now());
  const seen = new Set<string>();
  for (let most = limit; ; most = 1000) {
    // Of one VM: filtered here, so more are asked for.
    const options = { sinceMs, limit: vm === undefined ? most : most * 20 };
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
    if (!values.follow) return;
    // Nodes write their events a moment later, and their clocks differ a little.
    sinceMs = Math.max(sinceMs, (all.at(-1)?.atMs ?? 0) - 10_000);
    for (const key of seen) if ((JSON.parse(key) as ClusterEvent).atMs < sinceMs) seen.delete(key);
    await sleep(followMs);
  }
}
