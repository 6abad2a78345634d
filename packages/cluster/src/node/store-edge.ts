// Carries the store effects of the decisions out, and always answers: after `timeoutMs` with "nobody knows".
import {
  getRecord,
  isStoreError,
  listAll,
  putRecord,
  readOwner,
  systemHost,
  type ObjectStore,
  type StoredRecord,
} from '@revenant/storage';
import {
  nodeKey,
  NODES_PREFIX,
  PROTECTED_KEY,
  type NodeRecord,
  type OwnerView,
  type ProtectedList,
} from '../decisions/records.ts';
import type { Effect, Event, Purpose, ReadOutcome, WriteOutcome } from '../decisions/types.ts';

export class StoreEdge {
  readonly #store: ObjectStore;
  readonly #timeoutMs: number;
  readonly #tell: (event: Event) => void;
  /** Seconds spent and operations done, for /metrics. */
  readonly figures = { operations: 0, failures: 0, seconds: 0 };

  constructor(store: ObjectStore, timeoutMs: number, tell: (event: Event) => void) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
    this.#tell = tell;
  }

  do(effect: Effect): void {
    const { purpose } = effect as { purpose: Purpose };
    switch (effect.type) {
      case 'get-record':
        return void this.#read(() => this.#record<NodeRecord>(nodeKey(effect.node))).then((outcome) =>
          this.#tell({ type: 'record', purpose, outcome }),
        );
      case 'get-list':
        return void this.#read(() => this.#record<ProtectedList>(PROTECTED_KEY)).then((outcome) =>
          this.#tell({ type: 'list', purpose, outcome }),
        );
      case 'get-owner':
        return void this.#read(() => this.#owner(effect.vmId)).then((outcome) =>
          this.#tell({ type: 'owner', purpose, outcome }),
        );
      case 'list-records':
        return void this.#nodes().then((nodes) => this.#tell({ type: 'records', purpose, nodes }));
      case 'put-record':
        return void this.#write(nodeKey(effect.record.id), effect.record, effect.expected).then((outcome) =>
          this.#tell({ type: 'written', purpose, outcome }),
        );
      case 'put-list':
        return void this.#write(PROTECTED_KEY, effect.list, effect.expected).then((outcome) =>
          this.#tell({ type: 'written', purpose, outcome }),
        );
      default:
    }
  }

  async #record<T>(key: string): Promise<{ value: T; version: string } | undefined> {
    const found: StoredRecord | undefined = await getRecord(this.#store, key);
    return found && { value: found.value as unknown as T, version: found.version };
  }

  async #owner(vmId: string): Promise<{ value: OwnerView; version: string } | undefined> {
    const found = await readOwner(this.#store, vmId);
    if (found === undefined) return undefined;
    const { state, epoch, owner, notes } = found.record;
    const incarnation = Number(notes['incarnation'] ?? 0);
    return { value: { state, epoch, node: owner, incarnation }, version: found.version };
  }

  async #nodes(): Promise<string[] | undefined> {
    try {
      const nodes: string[] = [];
      for await (const { key } of listAll(this.#store, NODES_PREFIX))
        nodes.push(key.slice(NODES_PREFIX.length));
      return nodes;
    } catch {
      return undefined;
    }
  }

  async #read<T>(read: () => Promise<{ value: T; version: string } | undefined>): Promise<ReadOutcome<T>> {
    try {
      const found = await this.#timed(read());
      if (found === 'late') return { result: 'failed' };
      return found === undefined ? { result: 'absent' } : { result: 'found', ...found };
    } catch {
      this.figures.failures++;
      return { result: 'failed' };
    }
  }

  async #write(key: string, value: object, expected: string | undefined): Promise<WriteOutcome> {
    try {
      const { nonce: _nonce, ...plain } = value as Record<string, unknown>;
      const stored = await this.#timed(putRecord(this.#store, systemHost, key, plain, expected));
      return stored === 'late' ? { result: 'unknown' } : { result: 'done', version: stored.version };
    } catch (error) {
      if (isStoreError(error, 'CONFLICT')) return { result: 'conflict' };
      this.figures.failures++;
      return { result: isStoreError(error) && error.outcome === 'not-applied' ? 'failed' : 'unknown' };
    }
  }

  async #timed<T>(work: Promise<T>): Promise<T | 'late'> {
    const before = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), this.#timeoutMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
      work.catch(() => undefined);
      this.figures.operations++;
      this.figures.seconds += (performance.now() - before) / 1000;
    }
  }
}
