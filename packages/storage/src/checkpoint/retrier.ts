// Trying again while a store fails for a while, with growing pauses, up to a limit for the whole write.
import { isStoreError } from '../errors.ts';
import type { StorageHost } from '../host.ts';

export interface StallEvent {
  kind: 'stalled' | 'resumed';
  /** What waits. */
  what: string;
  /** Why (of `stalled`). */
  reason: string;
  /** Since the first failure. */
  forMs: number;
}

const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 1000;

export class Retrier {
  readonly #host: StorageHost;
  readonly #giveUpAfterMs: number;
  readonly #onStall: ((event: StallEvent) => void) | undefined;
  #begun = 0;

  constructor(host: StorageHost, giveUpAfterMs: number, onStall: ((event: StallEvent) => void) | undefined) {
    this.#host = host;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#onStall = onStall;
  }

  /** Starts the time that the following calls share. */
  begin(): void {
    this.#begun = this.#host.monotonicMs();
  }

  /** Runs `work` until it succeeds, fails for good, or the time is over; then throws its last error. `work` must be repeatable. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    let failedAt: number | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      try {
        const result = await work();
        if (failedAt !== undefined) this.#tell('resumed', what, '', failedAt);
        return result;
      } catch (error) {
        if (!isStoreError(error) || !error.retryable) throw error;
        const now = this.#host.monotonicMs();
        failedAt ??= now;
        if (now + pause - this.#begun > this.#giveUpAfterMs) throw error;
        this.#tell('stalled', what, error.message, failedAt);
        await this.#host.sleep(pause);
      }
    }
  }

  #tell(kind: StallEvent['kind'], what: string, reason: string, failedAt: number): void {
    this.#onStall?.({ kind, what, reason, forMs: this.#host.monotonicMs() - failedAt });
  }
}
