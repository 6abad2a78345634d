/** A store whose requests are counted, and whose successful writes are measured. */
import type { ObjectStore } from '@revenant/storage';
import { monotonicMs } from '../vm/vm-runtime.ts';

export const storeRequests = ['get', 'put', 'list', 'delete'] as const;
export type StoreRequest = (typeof storeRequests)[number];

export interface StoreMeasures {
  /** Something is asked of the store. */
  asked(request: StoreRequest): void;
  /** A write that succeeded took so long, in milliseconds. */
  put(ms: number): void;
}

export function measured(store: ObjectStore, measures: StoreMeasures): ObjectStore {
  return {
    url: store.url,
    get(key) {
      measures.asked('get');
      return store.get(key);
    },
    getRange(key, start, length) {
      measures.asked('get');
      return store.getRange(key, start, length);
    },
    async put(key, body, options) {
      measures.asked('put');
      const began = monotonicMs();
      const done = await store.put(key, body, options);
      measures.put(monotonicMs() - began);
      return done;
    },
    list(prefix, options) {
      measures.asked('list');
      return store.list(prefix, options);
    },
    delete(keys) {
      measures.asked('delete');
      return store.delete(keys);
    },
    // Of what was put, and no request of its own.
    flush: (keys) => store.flush(keys),
    close: () => store.close(),
  };
}
