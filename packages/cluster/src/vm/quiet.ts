/**
 * How long a guest's thread may sleep. A guest that was told nothing, said nothing and asked no disk for a second is quiet: nobody notices
 * whether its timers ring one by one, or those of the last 40 ms together, and after ten seconds those of the last 100 ms. Its clock is right in
 * each of them, and a hundred ticks a second cost its host a third. Whatever is said to it wakes it at once.
 */

/** For so long it was quiet, and then it sleeps for so long; the longest first. */
const stages = [
  { afterMs: 10_000, sleepMs: 100 },
  { afterMs: 1000, sleepMs: 40 },
];
/** Who is not quiet sleeps no longer. Messages end it sooner. */
export const maxSleepMs = 50;

export class Quiet {
  #activeAt: number;
  #diskRequests = 0;

  /** @param nowMs here and below: of a monotonic clock */
  constructor(nowMs: number) {
    this.#activeAt = nowMs;
  }

  /** Somebody noticed the guest, or it the world. */
  active(nowMs: number): void {
    this.#activeAt = nowMs;
  }

  #stage(nowMs: number): (typeof stages)[number] | undefined {
    return stages.find(({ afterMs }) => nowMs - this.#activeAt >= afterMs);
  }

  /** Nobody waits for news of it. */
  isQuiet(nowMs: number): boolean {
    return this.#stage(nowMs) !== undefined;
  }

  /** For how long a guest sleeps that has nothing to do for `waitsMs`; `diskRequests`: its number so far. */
  sleepMs({ waitsMs, diskRequests }: { waitsMs: number; diskRequests: number }, nowMs: number): number {
    if (diskRequests !== this.#diskRequests) this.active(nowMs);
    this.#diskRequests = diskRequests;
    // Less than a millisecond is what could not be done in its turn: it is late already.
    const stage = waitsMs < 1 ? undefined : this.#stage(nowMs);
    if (stage === undefined) return Math.min(maxSleepMs, waitsMs);
    return Math.min(Math.max(maxSleepMs, stage.sleepMs), Math.max(waitsMs, stage.sleepMs));
  }
}
