/** Which checkpoints to keep. Pure: ids and times in, the kept ones out. */
import { StorageError } from '../errors.ts';
import { compareIds, type CheckpointId } from './keys.ts';

/** One checkpoint (the newest) of each period of `everyMs`, for as long as `forMs` back. */
export interface RetentionRule {
  everyMs: number;
  forMs: number;
}

export interface RetentionPolicy {
  /** The newest so many, whatever their age. At least 1. */
  keepLast: number;
  rules: RetentionRule[];
  /**
   * The input log is kept from the oldest kept checkpoint of this span on, and from the newest one always: so far back any moment can be
   * gone to. Default one hour.
   */
  logMs?: number;
}

export const defaultLogMs = 3_600_000;

/** The last 10; one per minute for an hour; one per hour for a day. */
export const defaultRetention: RetentionPolicy = {
  keepLast: 10,
  rules: [
    { everyMs: 60_000, forMs: 3_600_000 },
    { everyMs: 3_600_000, forMs: 86_400_000 },
  ],
};

const units: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * Parses `last N`, `1 per PERIOD for SPAN`, `log for SPAN` and several of them joined by commas: `last 10, 1 per 1m for 1h`.
 * Periods are a number and s, m, h, d or w. Throws `BAD_ARGUMENT`.
 */
export function parseRetention(text: string): RetentionPolicy {
  const policy: RetentionPolicy = { keepLast: 1, rules: [] };
  for (const part of text.split(',').map((each) => each.trim().toLowerCase())) {
    const last = /^last (\d{1,6})$/.exec(part);
    const log = /^log for (\d*\s*[smhdw])$/.exec(part);
    const rule = /^(?:1|one) per (\d*\s*[smhdw]) for (\d*\s*[smhdw])$/.exec(part);
    if (last) policy.keepLast = Math.max(1, Number(last[1]));
    else if (log) policy.logMs = parseSpan(log[1]!);
    else if (rule) policy.rules.push({ everyMs: parseSpan(rule[1]!), forMs: parseSpan(rule[2]!) });
    else
      throw new StorageError('BAD_ARGUMENT', `${JSON.stringify(part)} is no retention rule`, {
        hint: 'write for example: last 10, 1 per 1m for 1h, 1 per 1h for 1d, log for 1h',
      });
  }
  return policy;
}

function parseSpan(text: string): number {
  const [, count, unit] = /^(\d*)\s*([smhdw])$/.exec(text)!;
  return Number(count === '' ? 1 : count) * units[unit!]!;
}

/** The ids to keep among `checkpoints`. The newest is always kept. */
export function selectRetained(
  checkpoints: readonly { id: CheckpointId; createdAtMs: number }[],
  policy: RetentionPolicy,
  nowMs: number,
): CheckpointId[] {
  const newestFirst = [...checkpoints].sort((a, b) => compareIds(b.id, a.id));
  const kept = new Set(newestFirst.slice(0, Math.max(1, policy.keepLast)));
  for (const { everyMs, forMs } of policy.rules) {
    const periods = new Set<number>();
    for (const checkpoint of newestFirst) {
      if (nowMs - checkpoint.createdAtMs > forMs) continue;
      const period = Math.floor(checkpoint.createdAtMs / everyMs);
      if (periods.has(period)) continue;
      periods.add(period);
      kept.add(checkpoint);
    }
  }
  return [...kept].map(({ id }) => id).sort(compareIds);
}
