/**
 * Heartbeat datastores: places beside the store where a node's heartbeat is seen while it does not reach the store or its
 * peers. Nothing else lies there, and no safety rests on them. Each is served by itself: one that hangs holds up no other, nor the store.
 */
import * as v from 'valibot';
import {
  getRecord,
  isStoreError,
  openStore,
  putRecord,
  replaceRecord,
  systemHost,
  type ObjectStore,
} from '@revenant/storage';
import { heartbeatKey, type StoreBeat } from '../decisions/records.ts';
import type { Event, LogEntry } from '../decisions/types.ts';
import { ClusterError, messageOf } from '../errors.ts';
import { storeBeatSchema } from '../protocol/records.ts';
import { open } from '../protocol/open.ts';
import { readStored, storable } from '../stored/records.ts';

/** One that hangs occupies a thread of the few that Node does file operations with. */
export const maxHeartbeatStores = 3;
/** Which datastore it is, whatever URL leads there. */
const identityKey = 'cluster/datastore';
const identitySchema = v.object({ id: v.string() });

export interface HeartbeatStoresOptions {
  node: string;
  urls: readonly string[];
  /** The store itself, which must be none of them. */
  store: ObjectStore;
  /** One that took no beat for so long is reported as lost. */
  lostMs: number;
  nowMs: () => number;
  tell: (event: Event) => void;
  log: (entry: LogEntry) => void;
}

/** One datastore, and what is asked of it: at most one operation at a time. */
interface Datastore {
  url: string;
  store: ObjectStore | undefined;
  busy: boolean;
  beat: StoreBeat | undefined;
  looks: Set<string>;
  /** Last time it took a beat. */
  takenAt: number;
  state: 'unknown' | 'reached' | 'lost' | 'refused';
  trouble: string;
}

export class HeartbeatStores {
  readonly #options: HeartbeatStoresOptions;
  readonly #stores: Datastore[];
  readonly #identities = new Map<string, string>();
  #closed = false;

  /** Throws `BAD_REQUEST` for too many, or the same one twice. */
  constructor(options: HeartbeatStoresOptions) {
    const { urls, store, nowMs } = options;
    if (urls.length > maxHeartbeatStores)
      throw new ClusterError(
        'BAD_REQUEST',
        `there can be at most ${String(maxHeartbeatStores)} heartbeat datastores`,
      );
    for (const [n, url] of urls.entries())
      if (url === store.url || urls.indexOf(url) < n)
        throw new ClusterError('BAD_REQUEST', `${url} is named twice`, {
          hint: 'a heartbeat datastore helps only where it does not fail together with the store',
        });
    this.#options = options;
    this.#stores = urls.map((url) => ({
      url,
      store: undefined,
      busy: false,
      beat: undefined,
      looks: new Set(),
      takenAt: nowMs(),
      state: 'unknown',
      trouble: '',
    }));
  }

  /** By URL: whether it took a beat lately, and if not, why. */
  get states(): { url: string; reached: boolean; reason: string }[] {
    return this.#stores.map(({ url, state, trouble }) => ({
      url,
      reached: state === 'reached',
      reason: trouble,
    }));
  }

  /** Puts our beat into each; one that has not taken the last one yet gets this one afterwards. */
  put(beat: StoreBeat): void {
    for (const datastore of this.#stores) {
      datastore.beat = beat;
      this.#look(datastore);
      this.#work(datastore);
    }
  }

  /** Reads a node's beat in each; told as `beat`. */
  get(node: string): void {
    for (const datastore of this.#stores) {
      datastore.looks.add(node);
      this.#work(datastore);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#stores.map(({ store, busy }) => (busy ? undefined : store?.close())));
  }

  #work(datastore: Datastore): void {
    if (datastore.busy || datastore.state === 'refused' || this.#closed) return;
    datastore.busy = true;
    void this.#serve(datastore)
      .catch((error: unknown) => {
        datastore.trouble = messageOf(error);
        datastore.looks.clear();
      })
      .finally(() => {
        datastore.busy = false;
        if (this.#closed) void datastore.store?.close();
      });
  }

  async #serve(datastore: Datastore): Promise<void> {
    const store = (datastore.store ??= await this.#open(datastore));
    if (store === undefined) return;
    while (!this.#closed && (datastore.beat !== undefined || datastore.looks.size > 0)) {
      const { beat } = datastore;
      if (beat !== undefined) {
        datastore.beat = undefined;
        const key = heartbeatKey(this.#options.node);
        await replaceRecord(store, systemHost, key, storable(storeBeatSchema, beat, `the record ${key}`));
        this.#taken(datastore);
      }
      for (const node of datastore.looks) {
        datastore.looks.delete(node);
        const found = await getRecord(store, heartbeatKey(node));
        const beat = v.safeParse(open(storeBeatSchema), found?.value);
        if (beat.success && beat.output.id === node)
          this.#options.tell({ type: 'beat', store: datastore.url, beat: beat.output });
      }
    }
  }

  /** Undefined, and never asked again, when another name of it is in use already. */
  async #open(datastore: Datastore): Promise<ObjectStore | undefined> {
    const { store: main } = this.#options;
    const store = await openStore(datastore.url, { probe: false, create: true });
    const identity = await identityOf(store);
    if (this.#identities.size === 0) this.#identities.set(await identityOf(main), main.url);
    const other = this.#identities.get(identity);
    if (other === undefined || other === datastore.url) {
      this.#identities.set(identity, datastore.url);
      return store;
    }
    await store.close();
    datastore.state = 'refused';
    datastore.trouble = `it is the same as ${other}`;
    this.#log('heartbeat-store-refused', datastore);
    return undefined;
  }

  #taken(datastore: Datastore): void {
    const { nowMs } = this.#options;
    const now = nowMs();
    if (datastore.state === 'lost') this.#log('heartbeat-store-back', datastore, now - datastore.takenAt);
    const before = datastore.state;
    datastore.takenAt = now;
    datastore.state = 'reached';
    datastore.trouble = '';
    if (before !== 'reached') this.#count();
  }

  #look(datastore: Datastore): void {
    const { nowMs, lostMs } = this.#options;
    const since = nowMs() - datastore.takenAt;
    if ((datastore.state !== 'reached' && datastore.state !== 'unknown') || since < lostMs) return;
    datastore.state = 'lost';
    if (datastore.trouble === '') datastore.trouble = 'it does not answer';
    this.#log('heartbeat-store-lost', datastore, since);
    this.#count();
  }

  #count(): void {
    const reached = this.#stores.filter(({ state }) => state === 'reached').length;
    this.#options.tell({ type: 'stores', reached });
  }

  #log(event: string, { url, trouble }: Datastore, tookMs?: number): void {
    const { log, node } = this.#options;
    const reason = trouble === '' ? url : `${url}: ${trouble}`;
    log({ event, node, reason, ...(tookMs === undefined ? {} : { tookMs: Math.round(tookMs) }) });
  }
}

async function identityOf(store: ObjectStore): Promise<string> {
  const known = await readStored(store, identityKey, identitySchema);
  if (known !== undefined) return known.value.id;
  const own = { id: crypto.randomUUID() };
  try {
    const record = storable(identitySchema, own, `the record ${identityKey}`);
    await putRecord(store, systemHost, identityKey, record, undefined);
    return own.id;
  } catch (error) {
    const another = isStoreError(error, 'CONFLICT')
      ? await readStored(store, identityKey, identitySchema)
      : undefined;
    if (another === undefined) throw error;
    return another.value.id;
  }
}
