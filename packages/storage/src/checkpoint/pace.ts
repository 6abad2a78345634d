/**
 * When a VM's next checkpoint is due. One at a time: while the store is slow the next waits for the one before, so the interval
 * stretches, and what waits in memory stays one checkpoint. A stretch is said once, again when it doubles or halves, and once when
 * it is over. Pure: it is told the time (monotonic, ms), and has no timer.
 */

/** A change to be told: checkpoints come every `intervalMs` instead of every `wantedMs`, or on time again. */
export interface PaceChange {
  kind: 'stretched' | 'on-time';
  wantedMs: number;
  intervalMs: number;
}

/** Later than by this factor is late: a little jitter of a busy host is not worth a word. */
const lateFactor = 1.5;
/** On time for so long, and for so many intervals, before it is said: a store at its limit must not fill the log. */
const leastCalmMs = 5000;
const calmIntervals = 3;

export class CheckpointPace {
  readonly #wantedMs: number;
  #nextAt: number;
  #busy = false;
  #begunAt = -Infinity;
  /** Cut of the oldest checkpoint that is not durable yet. */
  #since: number | undefined;
  /** The interval that was last told; undefined: checkpoints come on time. */
  #said: number | undefined;
  #calmSince: number | undefined;
  #lastTookMs = 0;

  /** The first checkpoint is due at `firstAt`. */
  constructor(wantedMs: number, firstAt: number) {
    this.#wantedMs = wantedMs;
    this.#nextAt = firstAt;
  }

  /** The interval at which checkpoints become durable now: the one wanted, or as long as one takes. */
  intervalMs(now: number): number {
    const waits = this.#since === undefined ? 0 : now - this.#since;
    return Math.max(this.#wantedMs, this.#lastTookMs, waits);
  }

  /** True when it is time for a checkpoint and none is under way. */
  isDue(now: number): boolean {
    return !this.#busy && now >= this.#nextAt;
  }

  /** True while a checkpoint is under way that was begun after `since`. */
  isBusy(since: number): boolean {
    return this.#busy && this.#begunAt > since;
  }

  /** A checkpoint is cut. */
  begin(now: number): void {
    this.#busy = true;
    this.#begunAt = now;
    this.#since ??= now;
    this.#nextAt = now + this.#wantedMs;
  }

  /** A checkpoint is durable, or was given up; in that case the next one holds its pages too. */
  end(now: number, durable: boolean): void {
    this.#busy = false;
    if (!durable || this.#since === undefined) return;
    this.#lastTookMs = now - this.#since;
    this.#since = undefined;
  }

  /** To be asked now and then, and after `end`: what has changed since it was last said. */
  news(now: number): PaceChange | undefined {
    const intervalMs = this.intervalMs(now);
    const late = intervalMs > this.#wantedMs * lateFactor;
    if (late) this.#calmSince = undefined;
    else this.#calmSince ??= now;
    if (this.#said === undefined) return late ? this.#say('stretched', intervalMs) : undefined;
    const calmMs = this.#calmSince === undefined ? 0 : now - this.#calmSince;
    if (!late && calmMs >= Math.max(leastCalmMs, calmIntervals * this.#wantedMs))
      return this.#say('on-time', intervalMs);
    // While one is under way it is not known yet whether it got better.
    const settled = this.#since === undefined;
    if (intervalMs >= this.#said * 2 || (late && settled && intervalMs <= this.#said / 2))
      return this.#say('stretched', intervalMs);
    return undefined;
  }

  #say(kind: PaceChange['kind'], intervalMs: number): PaceChange {
    this.#said = kind === 'stretched' ? intervalMs : undefined;
    return { kind, wantedMs: this.#wantedMs, intervalMs };
  }
}
