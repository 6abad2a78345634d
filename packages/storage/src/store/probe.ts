/** The admission probe: a store whose conditional puts are not atomic must never decide who owns a VM. */
import { StoreError } from '../errors.ts';
import { newNonce, type StorageHost } from '../host.ts';
import { isStoreError } from '../errors.ts';
import type { ObjectStore, ObjectVersion, PutOptions } from './object-store.ts';

export interface ProbeOptions {
  /** Racing writers per round. Default 32. */
  writers?: number;
  /** Rounds of creating and of swapping. Default 2. */
  rounds?: number;
  /** Further connections to the same store, to race across them. */
  others?: ObjectStore[];
}

/**
 * Races conditional puts: exactly one writer per round may win, and its body must be what is read back.
 * @throws StoreError `NOT_ADMITTED`
 */
export async function probeStore(
  store: ObjectStore,
  host: StorageHost,
  options: ProbeOptions = {},
): Promise<void> {
  const key = `probe/${newNonce(host)}`;
  const stores = [store, ...(options.others ?? [])];
  try {
    let version = await race(stores, host, key, { ifAbsent: true }, options.writers ?? 32);
    for (let round = 1; round < (options.rounds ?? 2) + 1; round++)
      version = await race(stores, host, key, { ifVersion: version }, options.writers ?? 32);
  } finally {
    await store.delete([key]).catch(() => undefined);
  }
}

interface Attempt {
  nonce: string;
  /** True: told that it won. False: told that it lost. Undefined: not told. */
  won: boolean | undefined;
}

async function race(
  stores: ObjectStore[],
  host: StorageHost,
  key: string,
  condition: PutOptions,
  writers: number,
): Promise<ObjectVersion> {
  const attempts = await Promise.all(
    Array.from({ length: writers }, async (_, i): Promise<Attempt> => {
      const nonce = newNonce(host);
      const store = stores[i % stores.length]!;
      try {
        await store.put(key, Buffer.from(nonce), condition);
        return { nonce, won: true };
      } catch (error) {
        if (isStoreError(error, 'CONFLICT')) return { nonce, won: false };
        if (isStoreError(error) && error.outcome === 'unknown') return { nonce, won: undefined };
        throw error;
      }
    }),
  );
  const winners = attempts.filter((attempt) => attempt.won === true);
  const stored = await stores.at(-1)!.get(key);
  const nonce = stored && Buffer.from(stored.body).toString();
  const refuse = (why: string): StoreError =>
    new StoreError('NOT_ADMITTED', `${stores[0]!.url}: conditional puts are not atomic here: ${why}`, {
      hint: 'use another store, or a version of its server that honours If-Match and If-None-Match',
    });
  if (winners.length > 1) throw refuse(`${String(winners.length)} of ${String(writers)} writers won`);
  const holder = attempts.find((attempt) => attempt.nonce === nonce);
  if (stored === undefined || holder === undefined) throw refuse('no writer won');
  if (holder.won === false) throw refuse('a refused write was stored');
  if (winners.length === 1 && winners[0] !== holder) throw refuse('the winner was overwritten');
  return stored.version;
}
