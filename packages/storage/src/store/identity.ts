/**
 * What makes a place a store (docs/CHECKPOINT_FORMAT.md, "Identity"): a record with an id of its own, so that nodes can compare which
 * store they use, and with the cluster that it belongs to, so that two clusters on one store by mistake are told apart. It is made once,
 * by `store init` or by the first node; reading never makes one.
 */
import { isRecord } from '../codec.ts';
import { isStoreError, StorageError } from '../errors.ts';
import { newNonce, type StorageHost } from '../host.ts';
import type { ObjectStore, ObjectVersion } from './object-store.ts';
import { checkedRecord, getRecord, putRecord, type StoredRecord } from './records.ts';

export const identityKey = 'store/identity';
/** What stores had before they had an identity. */
const olderPrefixes = ['vms/', 'cluster/', 'bases/'];
const clusterName = /^[\x21-\x7e]{1,128}$/;
const maxTries = 8;

export interface StoreIdentity {
  /** 32 hexadecimal digits; no two stores have the same. */
  id: string;
  /** By the clock of whoever made it; for people. */
  createdAtMs: number;
  /** The cluster that claimed it; undefined: none yet. */
  cluster: string | undefined;
}

/** The identity of a store, or undefined when it has none (it is no store, or one of an older version). */
export async function readIdentity(store: ObjectStore): Promise<StoreIdentity | undefined> {
  const found = await getRecord(store, identityKey);
  return found && parse(found);
}

/** Whether there is a store: it has an identity, or objects that stores had before there were identities. */
export async function isStore(store: ObjectStore): Promise<boolean> {
  if ((await store.getRange(identityKey, 0, 0)) !== undefined) return true;
  for (const prefix of olderPrefixes)
    if ((await store.list(prefix, { limit: 1 })).objects.length > 0) return true;
  return false;
}

/** Gives a store its identity, unless it has one; returns what it has then. */
export async function initStore(store: ObjectStore, host: StorageHost): Promise<StoreIdentity> {
  const known = await readIdentity(store);
  if (known !== undefined) return known;
  const value = { id: newNonce(host), createdAtMs: host.wallClockMs() };
  try {
    return parse(await put(store, host, value, undefined));
  } catch (error) {
    const made = isStoreError(error, 'CONFLICT') ? await readIdentity(store) : undefined;
    if (made === undefined) throw error;
    return made;
  }
}

/**
 * Makes a store that of a cluster, for good: the first claim holds. Nodes do so when they open their store.
 * @param cluster what tells clusters apart: a name, or a digest of what only its nodes know. 1 to 128 printable characters.
 * @param over a claim that gives way to this one: of a cluster that is known to be over.
 * @throws StorageError `STORE_FOREIGN` when another cluster has claimed it; `BAD_ARGUMENT`.
 */
export async function claimStore(
  store: ObjectStore,
  host: StorageHost,
  cluster: string,
  over?: string,
): Promise<StoreIdentity> {
  if (!clusterName.test(cluster))
    throw new StorageError('BAD_ARGUMENT', `${JSON.stringify(cluster)} cannot be the name of a cluster`, {
      hint: 'use 1 to 128 printable characters without spaces',
    });
  for (let attempt = 0; attempt < maxTries; attempt++) {
    await initStore(store, host);
    const found = await getRecord(store, identityKey);
    if (found === undefined) continue;
    const identity = parse(found);
    if (identity.cluster === cluster) return identity;
    if (identity.cluster !== undefined && identity.cluster !== over)
      throw new StorageError(
        'STORE_FOREIGN',
        `${store.url} belongs to another cluster, ${identity.cluster}`,
        {
          hint: 'give this cluster a store, or a prefix of the bucket, of its own',
        },
      );
    try {
      return parse(await put(store, host, { ...found.value, cluster }, found.version));
    } catch (error) {
      // Another node claimed it at the same time: for the same cluster, most likely.
      if (!isStoreError(error, 'CONFLICT')) throw error;
    }
  }
  throw new StorageError('STORE_FOREIGN', `${store.url}: its identity changes too fast to be read`, {
    retryable: true,
  });
}

/**
 * Takes the claim of a cluster that is over back, so that the next one may have the store. For people, by `store release`.
 * @returns the cluster that it belonged to. @throws StoreError `CONFLICT` when it changes meanwhile
 */
export async function releaseStore(store: ObjectStore, host: StorageHost): Promise<string | undefined> {
  const found = await getRecord(store, identityKey);
  const before = found && parse(found).cluster;
  if (found === undefined || before === undefined) return undefined;
  const { cluster: _cluster, ...value } = found.value;
  await put(store, host, value, found.version);
  return before;
}

const put = (
  store: ObjectStore,
  host: StorageHost,
  value: object,
  expected: ObjectVersion | undefined,
): Promise<StoredRecord> =>
  putRecord(store, host, identityKey, checkedRecord(identityKey, value, isIdentity), expected);

function parse({ value }: StoredRecord): StoreIdentity {
  if (!isIdentity(value))
    throw new StorageError('CHECKPOINT_DAMAGED', `${identityKey}: the record lacks a field`);
  const { id, createdAtMs, cluster } = value;
  return { id, createdAtMs, cluster };
}

/** Asked of what is written and of what is read. */
const isIdentity = (value: unknown): value is StoreIdentity =>
  isRecord(value) &&
  typeof value['id'] === 'string' &&
  Number.isFinite(value['createdAtMs']) &&
  (value['cluster'] === undefined || typeof value['cluster'] === 'string');
