/** A store whose successful writes are measured. */
import type { ObjectStore } from '@revenant/storage';
import { monotonicMs } from '../vm/vm-runtime.ts';

export function measured(store: ObjectStore, took: (ms: number) => void): ObjectStore {
  return {
    url: store.url,
    get: (key) => store.get(key),
    getRange: (key, start, length) => store.getRange(key, start, length),
    async put(key, body, options) {
      const began = monotonicMs();
      const done = await store.put(key, body, options);
      took(monotonicMs() - began);
      return done;
    },
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
    flush: (keys) => store.flush(keys),
    close: () => store.close(),
  };
}
