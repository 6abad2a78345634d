/** What the storage code needs of its host: randomness, waiting, clocks. The simulation passes its own, seeded ones. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

export interface StorageHost {
  /** Unpredictable bytes (nonces, salts). */
  random(length: number): Uint8Array;
  /** Waits; rejects when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A clock that never goes back, in milliseconds. */
  monotonicMs(): number;
  /** Milliseconds since 1970; for people and retention only, never for safety. */
  wallClockMs(): number;
}

export const systemHost: StorageHost = {
  random: (length) => randomBytes(length),
  sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
  monotonicMs: () => performance.now(),
  wallClockMs: () => Date.now(),
};

/** A nonce as 32 hexadecimal digits. */
export function newNonce(host: StorageHost): string {
  return Buffer.from(host.random(16)).toString('hex');
}

/** A host whose wall clock stands still, at `ms` since 1970. */
export function withClockAt(ms: number, host: StorageHost): StorageHost {
  return {
    random: (length) => host.random(length),
    sleep: (forMs, signal) => host.sleep(forMs, signal),
    monotonicMs: () => host.monotonicMs(),
    wallClockMs: () => Math.round(ms),
  };
}
