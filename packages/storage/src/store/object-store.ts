/**
 * The object store contract (docs/CHECKPOINT_FORMAT.md, "Object store"). Conditional put is the only primitive on which
 * ownership rests. What must hold of every driver, and is tested by contract.ts:
 * - of several conditional puts on one version exactly one succeeds;
 * - a get that starts after a put returned sees that put (or a later one), on every host;
 * - an object is seen whole or not at all;
 * - a key is either put under conditions or replaced without, never both ways;
 * - list is in byte order of the keys and sees every put that returned before it began.
 */
import { StoreError } from '../errors.ts';

/** Identifies one write of one object. Opaque; compare for equality only. */
export type ObjectVersion = string;

export interface StoredObject {
  body: Uint8Array;
  version: ObjectVersion;
}

/** `ifAbsent`: only when no such object exists. `ifVersion`: only over that version. Neither: the last writer wins. */
export interface PutOptions {
  ifAbsent?: boolean;
  ifVersion?: ObjectVersion;
  /** false: may still be lost by a power cut until `flush` returned. Default true. */
  durable?: boolean;
}

export interface ListOptions {
  /** Only keys after this one, in byte order. */
  after?: string;
  /** At most so many keys (1…1000, default 1000). */
  limit?: number;
}

export interface ListedObject {
  key: string;
  sizeBytes: number;
}

export interface ListPage {
  objects: ListedObject[];
  /** True when there are further keys after the last one. */
  more: boolean;
}

export interface ObjectStore {
  /** The URL it was opened by, without secrets. */
  readonly url: string;
  /** The object, or undefined when there is none. */
  get(key: string): Promise<StoredObject | undefined>;
  /** Up to `length` bytes from `start` (fewer at the end of the object), or undefined when there is no such object. */
  getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined>;
  /**
   * Stores an object whole.
   * @throws StoreError `CONFLICT` when the condition does not hold; any other code with `outcome: 'unknown'` when the
   *   change may have happened, or may still: read back before giving up (see records.ts).
   */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<{ version: ObjectVersion }>;
  /** Keys that begin with `prefix`. */
  list(prefix: string, options?: ListOptions): Promise<ListPage>;
  /** Removes objects; absent ones are no error. Never used on records that are compared and swapped. */
  delete(keys: readonly string[]): Promise<void>;
  /**
   * Makes earlier puts of this instance durable: those of `keys`, or all.
   * @throws StoreError `LOST` when the disk failed: the objects have to be put again, and a second flush does not help.
   */
  flush(keys?: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export const maxKeyLength = 512;
export const maxList = 1000;
const keyPart = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]*$/;

/** Throws `BAD_KEY` unless `key` is parts of `[A-Za-z0-9._=-]`, none beginning with a dot, joined by single slashes. */
export function checkKey(key: string): void {
  if (key.length > maxKeyLength || !key.split('/').every((part) => keyPart.test(part)))
    throw new StoreError('BAD_KEY', `${JSON.stringify(key)} is not a valid object key`);
}

/** All keys under a prefix, page by page. */
export async function* listAll(store: ObjectStore, prefix: string): AsyncGenerator<ListedObject, void> {
  let after: string | undefined;
  for (;;) {
    const page = await store.list(prefix, after === undefined ? {} : { after });
    yield* page.objects;
    const last = page.objects.at(-1);
    if (!page.more || last === undefined) return;
    after = last.key;
  }
}

/** The condition as one word for messages. */
export function conflict(key: string): StoreError {
  return new StoreError('CONFLICT', `${key}: another writer was first`, { retryable: false });
}
