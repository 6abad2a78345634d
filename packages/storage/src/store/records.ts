/**
 * Small records that are compared and swapped. Each carries a nonce: a refused or unanswered conditional put may be one's
 * own lost reply, and the nonce read back tells (docs/CHECKPOINT_FORMAT.md, "Records").
 */
import { isRecord } from '../codec.ts';
import { isStorageError, isStoreError, StorageError, StoreError } from '../errors.ts';
import { newNonce, type StorageHost } from '../host.ts';
import { insist } from '../insist.ts';
import { openEnvelope, sealEnvelope } from '../envelope.ts';
import { conflict, type ObjectStore, type ObjectVersion } from './object-store.ts';

export interface StoredRecord {
  value: Record<string, unknown>;
  version: ObjectVersion;
}

declare const checked: unique symbol;
/** A record that fits what its readers ask of it. Nothing else can be put: one that nobody could read would be the end of what it is about. */
export type CheckedRecord = Readonly<Record<string, unknown>> & { readonly [checked]: true };

const magic = 'RVRC';
const attempts = 6;

/**
 * A record as it is to be stored. `fits` is what its readers ask, too.
 * @throws Error, a fault of ours, for one that does not fit
 */
export function checkedRecord<T extends object>(
  key: string,
  value: T,
  fits: (value: unknown) => boolean,
): CheckedRecord {
  insist(fits(value), `the record ${key} lacks a field, or says what cannot be`);
  return value as unknown as CheckedRecord;
}

/**
 * Reads a record, or undefined when there is none. Reads again when it seems torn or flipped, and throws
 * `CHECKPOINT_DAMAGED` when it still does.
 */
export async function getRecord(store: ObjectStore, key: string): Promise<StoredRecord | undefined> {
  try {
    return await readRecord(store, key);
  } catch (error) {
    if (!isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
    return readRecord(store, key);
  }
}

async function readRecord(store: ObjectStore, key: string): Promise<StoredRecord | undefined> {
  const object = await store.get(key);
  if (object === undefined) return undefined;
  const value = openEnvelope(object.body, { magic: magic, name: key });
  if (!isRecord(value)) throw new StorageError('CHECKPOINT_DAMAGED', `${key}: the record is not a map`);
  return { value, version: object.version };
}

/**
 * Puts a record under a condition and finds out what became of it, whatever the store answers.
 * Repeating is safe: the condition allows one success, and the nonce tells whose.
 * @param expected the version to replace, or undefined to create.
 * @throws StoreError `CONFLICT`: another's record is there. `UNAVAILABLE`, outcome unknown: the store did not let us know.
 */
export async function putRecord(
  store: ObjectStore,
  host: StorageHost,
  key: string,
  value: CheckedRecord,
  expected: ObjectVersion | undefined,
): Promise<StoredRecord> {
  const nonce = newNonce(host);
  const stamped = { ...value, nonce };
  const body = sealEnvelope(stamped, { magic: magic, name: key, host });
  const condition = expected === undefined ? { ifAbsent: true } : { ifVersion: expected };
  let last: unknown;
  let unknown = false;
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (attempt > 0) await host.sleep(Math.min(1000, 20 * 2 ** attempt));
    try {
      const { version } = await store.put(key, body, condition);
      return { value: stamped, version };
    } catch (error) {
      last = error;
      if (!isStoreError(error)) throw error;
      unknown ||= error.outcome === 'unknown' || error.code === 'CONFLICT';
      if (error.code !== 'CONFLICT' && error.outcome === 'not-applied' && !error.retryable) throw error;
    }
    const found = await readBack(store, key);
    if (found?.value['nonce'] === nonce) return { value: stamped, version: found.version };
    // Another's version is there, so no attempt of ours can land any more.
    if (found !== undefined && found.version !== expected) throw conflict(key);
  }
  // Nothing was ever applied: say what is wrong.
  if (!unknown) throw last;
  throw new StoreError('UNAVAILABLE', `${key}: cannot tell whether the change was made`, {
    outcome: 'unknown',
    cause: last,
    retryable: true,
  });
}

/** Puts a record without a condition: the last one to arrive stays. It may be lost by a power cut. Throws StoreError. */
export async function replaceRecord(
  store: ObjectStore,
  host: StorageHost,
  key: string,
  value: CheckedRecord,
): Promise<void> {
  await store.put(key, sealEnvelope(value, { magic: magic, name: key, host }), { durable: false });
}

/** The record as it is, or undefined when it is absent or the store does not say. */
async function readBack(store: ObjectStore, key: string): Promise<StoredRecord | undefined> {
  try {
    return await getRecord(store, key);
  } catch (error) {
    if (isStoreError(error)) return undefined;
    throw error;
  }
}
