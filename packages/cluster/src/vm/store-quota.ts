/**
 * How much a VM may hold in the store. What it holds is counted by looking at all of it now and then, and by what was written since. When it
 * is as much as it may be, nothing more is written between checkpoints and its guest stands still, so a quota is exceeded by one checkpoint
 * at the most (and by the last one of a VM that leaves its node, without which something would be lost).
 */

/** The time between two looks at what a VM holds; the second one for a VM that waits for room. */
const lookMs = 60_000;
const lookFullMs = 2000;

export interface StoreQuotaOptions {
  /** Undefined: it may hold what the store has room for. */
  quotaBytes: number | undefined;
  /** Bytes of all that it holds. Rejects when the store does not answer. */
  measure: () => Promise<number>;
  /** It is full from now on, or no longer. */
  onChange: (isFull: boolean) => void;
}

export class StoreQuota {
  readonly #options: StoreQuotaOptions;
  #quotaBytes: number | undefined;
  #usedBytes = 0;
  /** Bytes that were written while a look was under way. */
  #meanwhile = 0;
  #lookAt = -Infinity;
  #isLooking = false;
  #isFull = false;

  constructor(options: StoreQuotaOptions) {
    this.#options = options;
    this.#quotaBytes = options.quotaBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get quotaBytes(): number | undefined {
    return this.#quotaBytes;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  setQuota(bytes: number | undefined): void {
    this.#quotaBytes = bytes;
    this.#judge();
  }

  wrote(bytes: number): void {
    this.#usedBytes += bytes;
    this.#meanwhile += bytes;
    this.#judge();
  }

  /** Something was removed: it is counted anew. */
  removed(): void {
    this.#lookAt = -Infinity;
  }

  /** To be called often: counts in the background when it is time. */
  look(nowMs: number): void {
    if (this.#isLooking || nowMs < this.#lookAt) return;
    this.#isLooking = true;
    this.#lookAt = nowMs + (this.#isFull ? lookFullMs : lookMs);
    this.#meanwhile = 0;
    void this.#options
      .measure()
      .then((bytes) => {
        // The look may have seen what was written meanwhile or not, so that is counted in any case.
        this.#usedBytes = bytes + this.#meanwhile;
        this.#judge();
      })
      // The store did not answer: the next look comes by itself.
      .catch(() => undefined)
      .finally(() => (this.#isLooking = false));
  }

  #judge(): void {
    const isFull = this.#quotaBytes !== undefined && this.#usedBytes >= this.#quotaBytes;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (isFull) this.#lookAt = -Infinity;
    this.#options.onChange(isFull);
  }
}
