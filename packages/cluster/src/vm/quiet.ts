/**
 * How long a guest's thread may sleep. A guest that was told nothing, said nothing and asked no disk for a second is quiet: nobody notices
 * whether its timers ring one by one, or those of the last 40 ms together. Its clock is right in each of them, and a hundred ticks a second
 * cost its host a third. Whatever is said to it wakes it at once.
 */

const quietAfterMs = 1000;
const quietSleepMs = 40;
/** Nobody sleeps longer. Messages end it sooner. */
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

  /** For how long a guest sleeps that has nothing to do for `waitsMs`; `diskRequests`: its number so far. */
  sleepMs({ waitsMs, diskRequests }: { waitsMs: number; diskRequests: number }, nowMs: number): number {
    if (diskRequests !== this.#diskRequests) this.active(nowMs);
    this.#diskRequests = diskRequests;
    // Less than a millisecond is what could not be done in its turn: it is late already.
    const isQuiet = waitsMs >= 1 && nowMs - this.#activeAt >= quietAfterMs;
    return Math.min(maxSleepMs, isQuiet ? Math.max(waitsMs, quietSleepMs) : waitsMs);
  }
}
