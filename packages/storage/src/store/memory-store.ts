/** `memory:` for tests and the simulation. Calls take effect at once, in the order in which they are made. */
import { StoreError } from '../errors.ts';
import {
  checkKey,
  conflict,
  maxList,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type ObjectVersion,
  type PutOptions,
  type StoredObject,
} from './object-store.ts';

export class MemoryStore implements ObjectStore {
  readonly url: string;
  readonly #objects = new Map<string, StoredObject>();
  #sorted: string[] | undefined = [];
  #puts = 0;
  #closed = false;

  constructor(url = 'memory:') {
    this.url = url;
  }

  async get(key: string): Promise<StoredObject | undefined> {
    this.#check(key);
    const object = this.#objects.get(key);
    return Promise.resolve(object && { body: new Uint8Array(object.body), version: object.version });
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    this.#check(key);
    // Stored bodies are plain arrays, whose slices are copies (those of Buffers are views).
    return Promise.resolve(this.#objects.get(key)?.body.slice(start, start + length));
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: ObjectVersion }> {
    this.#check(key);
    const current = this.#objects.get(key);
    if (options.ifAbsent === true && current !== undefined) throw conflict(key);
    if (options.ifVersion !== undefined && current?.version !== options.ifVersion) throw conflict(key);
    const version = String(++this.#puts);
    this.#objects.set(key, { body: new Uint8Array(body), version });
    if (current === undefined) this.#sorted = undefined;
    return Promise.resolve({ version });
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    this.#check();
    const limit = Math.min(options.limit ?? maxList, maxList);
    this.#sorted ??= [...this.#objects.keys()].sort();
    const objects = [];
    for (const key of this.#sorted) {
      if (!key.startsWith(prefix) || (options.after !== undefined && key <= options.after)) continue;
      if (objects.length === limit) return Promise.resolve({ objects, more: true });
      objects.push({ key, sizeBytes: this.#objects.get(key)!.body.length });
    }
    return Promise.resolve({ objects, more: false });
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#check(key);
      if (this.#objects.delete(key)) this.#sorted = undefined;
    }
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #check(key?: string): void {
    if (this.#closed) throw new StoreError('CLOSED', 'the store is closed');
    if (key !== undefined) checkKey(key);
  }
}
