/** A store that fails as real ones do, for tests and the simulation: at calls chosen by a seeded generator or a plan. */
import { StoreError } from '../src/errors.ts';
import type { StorageHost } from '../src/host.ts';
import type {
  ListOptions,
  ListPage,
  ObjectStore,
  ObjectVersion,
  PutOptions,
  StoredObject,
} from '../src/store/object-store.ts';

export type StoreOperation = 'get' | 'getRange' | 'put' | 'list' | 'delete' | 'flush';

export type Fault =
  /** Fails before anything happens. */
  | { kind: 'refused' }
  /** Happens, but the reply is lost: the caller learns "unknown". */
  | { kind: 'reply-lost' }
  /** Happens only after the caller was told that the outcome is unknown, once `delayMs` have passed. */
  | { kind: 'late'; delayMs: number }
  /** No answer within `delayMs`; nothing happened. */
  | { kind: 'timeout'; delayMs: number }
  /** Answers after `delayMs`. */
  | { kind: 'slow'; delayMs: number }
  /** No space left. */
  | { kind: 'full' }
  /** A get or getRange gives bytes with one bit flipped. */
  | { kind: 'flip' }
  /** A put stores only the first part, and reports success. Conditional puts stay whole: they are atomic. */
  | { kind: 'torn' };

/** Decides each call's fate; undefined lets it pass. */
export type FaultPlan = (operation: StoreOperation, key: string) => Fault | undefined;

export interface FaultyStoreOptions {
  host: Pick<StorageHost, 'sleep'>;
  /** Numbers in [0, 1) for where to flip and to tear. */
  random: () => number;
}

export class FaultyStore implements ObjectStore {
  readonly url: string;
  /** May be replaced at any time. */
  plan: FaultPlan;
  /** Calls made, faults injected. */
  calls = 0;
  faults = 0;
  readonly #inner: ObjectStore;
  readonly #options: FaultyStoreOptions;
  readonly #late = new Set<Promise<void>>();

  constructor(inner: ObjectStore, plan: FaultPlan, options: FaultyStoreOptions) {
    this.#inner = inner;
    this.url = inner.url;
    this.plan = plan;
    this.#options = options;
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const { fault, result } = await this.#call('get', key, () => this.#inner.get(key));
    return fault?.kind === 'flip' && result !== undefined
      ? { ...result, body: this.#flip(result.body) }
      : result;
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    const { fault, result } = await this.#call('getRange', key, () =>
      this.#inner.getRange(key, start, length),
    );
    return fault?.kind === 'flip' && result !== undefined ? this.#flip(result) : result;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: ObjectVersion }> {
    const conditional = options.ifAbsent === true || options.ifVersion !== undefined;
    const torn = body.subarray(0, Math.floor(this.#options.random() * body.length));
    const { result } = await this.#call('put', key, (fault) =>
      this.#inner.put(key, fault?.kind === 'torn' && !conditional ? torn : body, options),
    );
    return result;
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    return (await this.#call('list', prefix, () => this.#inner.list(prefix, options))).result;
  }

  async delete(keys: readonly string[]): Promise<void> {
    // One at a time, so that a failure can fall between two.
    for (const key of keys) await this.#call('delete', key, () => this.#inner.delete([key]));
  }

  async flush(keys?: readonly string[]): Promise<void> {
    await this.#call('flush', '', () => this.#inner.flush(keys));
  }

  async close(): Promise<void> {
    await this.settle();
    await this.#inner.close();
  }

  /** Waits for changes that come late. */
  async settle(): Promise<void> {
    await Promise.all(this.#late);
  }

  async #call<T>(
    operation: StoreOperation,
    key: string,
    work: (fault: Fault | undefined) => Promise<T>,
  ): Promise<{ fault: Fault | undefined; result: T }> {
    this.calls++;
    const fault = this.plan(operation, key);
    if (fault !== undefined) this.faults++;
    const changes = operation === 'put' || operation === 'delete';
    const lost = (code: 'UNAVAILABLE' | 'TIMEOUT', why: string): StoreError =>
      new StoreError(code, `${key}: ${why} (injected)`, { outcome: changes ? 'unknown' : 'not-applied' });
    switch (fault?.kind) {
      case 'refused':
        throw new StoreError('UNAVAILABLE', `${key}: refused (injected)`, { outcome: 'not-applied' });
      case 'full':
        if (operation !== 'put') break;
        throw new StoreError('FULL', `${key}: no space left (injected)`, { outcome: 'not-applied' });
      case 'timeout':
        await this.#options.host.sleep(fault.delayMs);
        throw lost('TIMEOUT', 'no answer');
      case 'reply-lost':
        await work(fault);
        throw lost('UNAVAILABLE', 'the reply was lost');
      case 'late':
        if (changes) this.#applyLater(fault.delayMs, () => work(fault));
        throw lost('TIMEOUT', 'no answer yet');
      case 'slow':
        await this.#options.host.sleep(fault.delayMs);
        break;
      case 'flip':
      case 'torn':
      case undefined:
        break;
    }
    return { fault, result: await work(fault) };
  }

  #applyLater(delayMs: number, work: () => Promise<unknown>): void {
    const late = this.#options.host
      .sleep(delayMs)
      .then(work)
      .then(
        () => undefined,
        // Nobody waits for it any more: a conflict then is as good as never sent.
        () => undefined,
      )
      .finally(() => this.#late.delete(late));
    this.#late.add(late);
  }

  #flip(bytes: Uint8Array): Uint8Array {
    const flipped = new Uint8Array(bytes);
    const at = Math.floor(this.#options.random() * flipped.length);
    if (flipped.length > 0) flipped[at] = flipped[at]! ^ (1 << Math.floor(this.#options.random() * 8));
    return flipped;
  }
}
