/**
 * Patience of one writer: a limit on how long nothing at all may succeed. A write that takes long because it is large may meet a
 * failure as late as it likes.
 */
import type { StorageHost } from '../host.ts';
import { retry, type StallEvent } from '../retry.ts';

export class Retrier {
  readonly #host: StorageHost;
  readonly #giveUpAfterMs: number;
  readonly #onStall: ((event: StallEvent) => void) | undefined;
  /** When something last succeeded, or the write began. */
  #progressAt = 0;

  constructor(host: StorageHost, giveUpAfterMs: number, onStall: ((event: StallEvent) => void) | undefined) {
    this.#host = host;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#onStall = onStall;
  }

  /** Starts the time within which something has to succeed. */
  begin(): void {
    this.#progressAt = this.#host.monotonicMs();
  }

  /** Runs `work` until it succeeds, fails for good, or nothing has succeeded for too long. `work` must be repeatable. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    const result = await retry(work, {
      host: this.#host,
      what,
      onStall: this.#onStall,
      goOn: (pauseMs) => this.#host.monotonicMs() + pauseMs - this.#progressAt <= this.#giveUpAfterMs,
    });
    this.#progressAt = this.#host.monotonicMs();
    return result;
  }
}
