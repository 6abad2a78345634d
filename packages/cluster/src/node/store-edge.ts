/** Carries the store effects of the decisions out, and always answers: after `timeoutMs` with "nobody knows". */
import type * as v from 'valibot';
import { isStoreError, listAll, putRecord, readOwner, systemHost, type ObjectStore } from '@revenant/storage';
import { nodeKey, nodesPrefix, protectedKey, type OwnerView } from '../decisions/records.ts';
import type { Effect, Event, Purpose, ReadOutcome, WriteOutcome } from '../decisions/types.ts';
import { isClusterError } from '../errors.ts';
import { nodeRecordSchema, ownerNotesSchema, protectedListSchema } from '../protocol/records.ts';
import { checkTold } from '../protocol/open.ts';
import { readStored, storable } from '../stored/records.ts';

export class StoreEdge {
  readonly #store: ObjectStore;
  readonly #timeoutMs: number;
  readonly #tell: (event: Event) => void;
  /** Seconds spent and operations done, for /metrics. */
  readonly figures = { operations: 0, failures: 0, seconds: 0 };

  readonly #refusal: (why: string) => void;
  #refused = '';

  /** `refusal` hears of records that can't be read, in words. */
  constructor(
    store: ObjectStore,
    timeoutMs: number,
    tell: (event: Event) => void,
    refusal: (why: string) => void,
  ) {
    this.#refusal = refusal;
    this.#store = store;
    this.#timeoutMs = timeoutMs;
    this.#tell = tell;
  }

  do(effect: Effect): void {
    const { purpose } = effect as { purpose: Purpose };
    switch (effect.type) {
      case 'get-record':
        return void this.#read(() => readStored(this.#store, nodeKey(effect.node), nodeRecordSchema)).then(
          (outcome) => this.#tell({ type: 'record', purpose, outcome }),
        );
      case 'get-list':
        return void this.#read(() => readStored(this.#store, protectedKey, protectedListSchema)).then(
          (outcome) => this.#tell({ type: 'list', purpose, outcome }),
        );
      case 'get-owner':
        return void this.#read(() => this.#owner(effect.vmId)).then((outcome) =>
          this.#tell({ type: 'owner', purpose, outcome }),
        );
      case 'list-records':
        return void this.#nodes().then((nodes) => this.#tell({ type: 'records', purpose, nodes }));
      case 'put-record':
        return void this.#write(
          nodeKey(effect.record.id),
          nodeRecordSchema,
          effect.record,
          effect.expected,
        ).then((outcome) => this.#tell({ type: 'written', purpose, outcome }));
      case 'put-list':
        return void this.#write(protectedKey, protectedListSchema, effect.list, effect.expected).then(
          (outcome) => this.#tell({ type: 'written', purpose, outcome }),
        );
      default:
    }
  }

  async #owner(vmId: string): Promise<{ value: OwnerView; version: string } | undefined> {
    const found = await readOwner(this.#store, vmId);
    if (found === undefined) return undefined;
    const { state, epoch, owner, notes } = found.record;
    const { incarnation, form, standby } = checkTold(ownerNotesSchema, notes, `the notes of ${vmId}`);
    return { value: { state, epoch, node: owner, incarnation, form, standby }, version: found.version };
  }

  async #nodes(): Promise<string[] | undefined> {
    try {
      const nodes: string[] = [];
      for await (const { key } of listAll(this.#store, nodesPrefix))
        nodes.push(key.slice(nodesPrefix.length));
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
    } catch (error) {
      this.figures.failures++;
      if (isClusterError(error, 'PROTOCOL')) this.#refuse(error.message);
      return { result: 'failed' };
    }
  }

  /** A record that this release can't read is said once: it counts as one that the store did not give. */
  #refuse(why: string): void {
    if (why === this.#refused) return;
    this.#refused = why;
    this.#refusal(why);
  }

  async #write(
    key: string,
    schema: v.GenericSchema,
    value: object,
    expected: string | undefined,
  ): Promise<WriteOutcome> {
    try {
      const plain = storable(schema, value, `the record ${key}`);
      const stored = await this.#timed(putRecord(this.#store, systemHost, key, plain, expected));
      return stored === 'late' ? { result: 'unknown' } : { result: 'done', version: stored.version };
    } catch (error) {
      if (isStoreError(error, 'CONFLICT')) return { result: 'conflict' };
      this.figures.failures++;
      if (isClusterError(error, 'PROTOCOL')) {
        this.#refuse(error.message);
        return { result: 'failed' };
      }
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
