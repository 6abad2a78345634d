/** How long a guest that resets its machine again and again waits before it boots. */

/** A guest that resets its machine sooner than this after the last time waits, twice as long each time. */
const resetSoonMs = 60_000;
const firstResetPauseMs = 1000;
const maxResetPauseMs = 30_000;

/** A guest's last reset of its machine, and how long it waits before it boots. */
export interface Reset {
  atMs: number;
  pauseMs: number;
}

export const noReset: Reset = { atMs: -Infinity, pauseMs: 0 };

export function nextReset({ atMs, pauseMs }: Reset, nowMs: number): Reset {
  if (nowMs - atMs >= resetSoonMs) return { atMs: nowMs, pauseMs: 0 };
  const longer = Math.max(firstResetPauseMs, pauseMs * 2);
  return { atMs: nowMs, pauseMs: Math.min(maxResetPauseMs, longer) };
}
