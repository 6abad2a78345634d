/**
 * Reads that are tried again a few times when the store fails for a moment. Reads may always be repeated; changes are
 * passed on as they are, because who may repeat them depends on their conditions.
 */
import type { StorageHost } from '../host.ts';
import { retry } from '../retry.ts';
import type {
  ListOptions,
  ListPage,
  ObjectStore,
  ObjectVersion,
  PutOptions,
  StoredObject,
} from './object-store.ts';

const tries = 4;
const maxPauseMs = 100;

export class PatientStore implements ObjectStore {
  readonly url: string;
  readonly #inner: ObjectStore;
  readonly #host: StorageHost;

  constructor(inner: ObjectStore, host: StorageHost) {
    this.#inner = inner;
    this.#host = host;
    this.url = inner.url;
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return this.#patiently(() => this.#inner.get(key));
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    return this.#patiently(() => this.#inner.getRange(key, start, length));
  }

  async list(prefix: string, options?: ListOptions): Promise<ListPage> {
    return this.#patiently(() => this.#inner.list(prefix, options));
  }

  async put(key: string, body: Uint8Array, options?: PutOptions): Promise<{ version: ObjectVersion }> {
    return this.#inner.put(key, body, options);
  }

  async delete(keys: readonly string[]): Promise<void> {
    return this.#inner.delete(keys);
  }

  async flush(keys?: readonly string[]): Promise<void> {
    return this.#inner.flush(keys);
  }

  async close(): Promise<void> {
    return this.#inner.close();
  }

  async #patiently<T>(read: () => Promise<T>): Promise<T> {
    const goOn = (_pauseMs: number, failures: number): boolean => failures < tries;
    return retry(read, {
      host: this.#host,
      what: this.url,
      goOn,
      maxPauseMs: maxPauseMs,
      firstPauseMs: 15,
    });
  }
}
