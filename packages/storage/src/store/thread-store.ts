/**
 * A store that a thread of its own speaks with. One change of a record in a directory takes some twenty file operations, one after the
 * other, and each of them waits for a turn of the event loop that began it: beside one that moves many megabytes, that is seconds. What must
 * be in time, like a lease, goes by a thread that does nothing else, and does each operation itself (file-system.ts, `atOnce`): a thread of
 * Node's pool may have a checkpoint's syncs before it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { StoreError, type StoreErrorCode, type StoreOutcome } from '../errors.ts';
import type {
  ListOptions,
  ListPage,
  ObjectStore,
  ObjectVersion,
  PutOptions,
  StoredObject,
} from './object-store.ts';

/** Operations that were not answered yet; more are refused. */
const maxWaiting = 1024;
/** A store that does not answer keeps nobody from ending. */
const closeMs = 2000;

type Operation = 'get' | 'getRange' | 'put' | 'list' | 'delete' | 'flush' | 'close';

export interface StoreCall {
  id: number;
  name: Operation;
  args: unknown[];
}

export interface FromStoreThread {
  id: number;
  value?: unknown;
  error?: {
    code: StoreErrorCode;
    message: string;
    outcome: StoreOutcome;
    retryable: boolean;
    hint: string | undefined;
  };
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: StoreError) => void;
}

export class ThreadStore implements ObjectStore {
  readonly url: string;
  readonly #opensBy: string;
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #closed = false;

  /**
   * @param opensBy the URL of a store that is there: its thread opens it for the first operation, without making or admitting it. Not
   *   `memory:`, which each thread has for itself.
   */
  constructor(opensBy: string) {
    this.#opensBy = opensBy;
    this.url = opensBy.split('?')[0]!;
    this.#thread();
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return (await this.#ask('get', key)) as StoredObject | undefined;
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    return (await this.#ask('getRange', key, start, length)) as Uint8Array | undefined;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: ObjectVersion }> {
    // A copy: sending a part of a buffer would send the whole buffer.
    return (await this.#ask('put', key, new Uint8Array(body), options)) as { version: ObjectVersion };
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    return (await this.#ask('list', prefix, options)) as ListPage;
  }

  async delete(keys: readonly string[]): Promise<void> {
    await this.#ask('delete', keys);
  }

  async flush(keys?: readonly string[]): Promise<void> {
    await this.#ask('flush', keys);
  }

  /** Makes durable what was put without a sync, as far as the store answers in time, and ends the thread. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const asked = this.#ask('close').catch(() => undefined);
    this.#closed = true;
    await Promise.race([asked, sleep(closeMs, undefined, { ref: false })]);
    const worker = this.#worker;
    this.#ended('the store is closed');
    // A thread that a disk keeps in an operation ends with that.
    if (worker !== undefined)
      await Promise.race([worker.terminate(), sleep(closeMs, undefined, { ref: false })]);
  }

  async #ask(name: Operation, ...args: unknown[]): Promise<unknown> {
    if (this.#closed) throw new StoreError('CLOSED', 'the store is closed');
    if (this.#waiting.size >= maxWaiting)
      throw new StoreError('UNAVAILABLE', `${String(maxWaiting)} operations wait for the store already`);
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const worker = this.#thread();
      worker.ref();
      worker.postMessage({ id, name, args } satisfies StoreCall);
    });
  }

  /** A thread that ended is replaced by a new one. It keeps the process alive only while an operation is under way. */
  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./store-thread.ts', import.meta.url), { workerData: this.#opensBy });
    worker.unref();
    const ended = (reason: string): void => {
      if (this.#worker === worker) this.#ended(reason);
    };
    worker.on('message', (answer: FromStoreThread) => this.#heard(worker, answer));
    worker.on('error', (error) => ended(`the thread of the store failed: ${error.message}`));
    worker.on('exit', () => ended('the thread of the store ended'));
    this.#worker = worker;
    return worker;
  }

  #ended(reason: string): void {
    this.#worker = undefined;
    for (const { reject } of this.#waiting.values())
      reject(new StoreError('UNAVAILABLE', reason, { outcome: 'unknown' }));
    this.#waiting.clear();
  }

  #heard(worker: Worker, { id, value, error }: FromStoreThread): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) worker.unref();
    if (error === undefined) return waiting?.resolve(value);
    const { code, message, outcome, retryable, hint } = error;
    waiting?.reject(new StoreError(code, message, { outcome, retryable, ...(hint && { hint }) }));
  }
}
