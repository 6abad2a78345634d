/**
 * Trying again while a store fails, with growing pauses: the one place that does so. Whoever calls says for how long, and only repeats
 * what may be repeated. (records.ts settles what became of a conditional put: it reads back between its tries, which is another thing.)
 */
import { isStoreError } from './errors.ts';
import type { StorageHost } from './host.ts';

export interface StallEvent {
  kind: 'stalled' | 'resumed';
  /** What waits for the store, in words. */
  what: string;
  /** Why (of `stalled`). */
  reason: string;
  /** Since the first failure. */
  forMs: number;
}

export interface RetryOptions {
  host: Pick<StorageHost, 'sleep' | 'monotonicMs'>;
  /** What is tried, for events. */
  what: string;
  /** Asked after each failure, with the pause that would follow it: false gives up, and the failure is thrown. */
  goOn: (pauseMs: number, failures: number) => boolean;
  /** Told of each failure, and once when it is over. */
  onStall?: ((event: StallEvent) => void) | undefined;
  /** Pauses begin with this and double. Default 10 ms. */
  firstPauseMs?: number;
  /** Default 1 s. */
  maxPauseMs?: number;
}

/** Runs `work` until it succeeds, fails with what trying again does not mend, or `goOn` says no. */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { host, what, goOn, onStall, firstPauseMs = 10, maxPauseMs = 1000 } = options;
  let failedAt: number | undefined;
  for (let failures = 1, pause = firstPauseMs; ; failures++, pause = Math.min(pause * 2, maxPauseMs)) {
    try {
      const result = await work();
      if (failedAt !== undefined)
        onStall?.({ kind: 'resumed', what, reason: '', forMs: host.monotonicMs() - failedAt });
      return result;
    } catch (error) {
      if (!isStoreError(error) || !error.retryable) throw error;
      failedAt ??= host.monotonicMs();
      if (!goOn(pause, failures)) throw error;
      onStall?.({ kind: 'stalled', what, reason: error.message, forMs: host.monotonicMs() - failedAt });
      await host.sleep(pause);
    }
  }
}
