/** The thread of a ThreadStore: it has the store open, and does one operation for each message. */
import { parentPort, workerData } from 'node:worker_threads';
import { StoreError } from '../errors.ts';
import { atOnce } from './file-system.ts';
import type { ObjectStore } from './object-store.ts';
import { openStore } from './open-store.ts';
import type { FromStoreThread, StoreCall } from './thread-store.ts';

const port = parentPort!;
const url = workerData as string;

/** A store that could not be opened is tried again at the next operation. */
let opening: Promise<ObjectStore> | undefined;

async function opened(): Promise<ObjectStore> {
  opening ??= openStore(url, { probe: false, files: atOnce });
  try {
    return await opening;
  } catch (error) {
    opening = undefined;
    // No operation has used it yet. It was there when the node started, so that it is not there now means that the way to it is cut.
    const message = error instanceof Error ? error.message : String(error);
    throw new StoreError('UNAVAILABLE', message, { cause: error });
  }
}

async function answer({ id, name, args }: StoreCall): Promise<FromStoreThread> {
  try {
    const store = await opened();
    const operation = store[name] as (...args: unknown[]) => Promise<unknown>;
    return { id, value: await operation.apply(store, args) };
  } catch (error) {
    const known =
      error instanceof StoreError ? error : new StoreError('FAILED', String(error), { outcome: 'unknown' });
    const { code, message, outcome, retryable, hint } = known;
    return { id, error: { code, message, outcome, retryable, hint } };
  }
}

port.on('message', (call: StoreCall) => {
  void answer(call).then((answered) => port.postMessage(answered));
});
