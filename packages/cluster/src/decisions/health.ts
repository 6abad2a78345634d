/**
 * Health of a guest beyond that of its emulator: a guest that shows no sign of life any more, though it may run, is
 * started afresh. What counts as a sign is chosen per VM; by default nothing is, as a healthy guest may be silent for ever.
 */

import { healthSigns, minSilentMs, type HealthPolicy } from '../protocol/spec.ts';

export { healthSigns, minSilentMs, type HealthPolicy };

/** A guest that has shown no sign since it was started may still be on its way. */
export const settleMs = 120_000;

/** What was seen of one guest since it was started here. */
export interface Silence {
  /** Changes with each sign. */
  sign: string | undefined;
  signs: number;
  sinceMs: number;
}

export const noSilence = (nowMs: number): Silence => ({ sign: undefined, signs: 0, sinceMs: nowMs });

/**
 * What is known after one more look. Time in which the guest could not run (`mayRun` false: paused, without a lease, waiting for the store)
 * is no silence.
 */
export function lookedAt(
  { sign, signs, sinceMs }: Silence,
  seen: { nowMs: number; sign: string | undefined; mayRun: boolean },
): Silence {
  if (seen.sign === undefined) return { sign, signs, sinceMs: seen.mayRun ? sinceMs : seen.nowMs };
  if (sign === undefined) return { sign: seen.sign, signs, sinceMs };
  if (seen.sign !== sign) return { sign: seen.sign, signs: signs + 1, sinceMs: seen.nowMs };
  return { sign, signs, sinceMs: seen.mayRun ? sinceMs : seen.nowMs };
}

/** Why a guest counts as hung; undefined while it does not. */
export function whyHung(
  policy: HealthPolicy,
  { signs, sinceMs }: Silence,
  nowMs: number,
): string | undefined {
  const allowedMs = signs === 0 ? Math.max(policy.silentMs, settleMs) : policy.silentMs;
  const silentMs = nowMs - sinceMs;
  if (silentMs < allowedMs) return undefined;
  const what = {
    console: 'output on its console',
    screen: 'change of its screen',
    instructions: 'instruction',
  };
  const seconds = (silentMs / 1000).toFixed(0);
  return `hung: no ${what[policy.watch]} and no disk request for ${seconds} s`;
}
