/** For run/restore.test.ts: a thread that serves a checkpoint of a store which fails for a while as soon as the guest runs. */
import { appendFileSync } from 'node:fs';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { openCheckpoint, openStore, systemHost } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { serveRestore, type FromStoreThread } from '../src/run/serve-restore.ts';

export interface FailingStoreData {
  url: string;
  vmId: string;
  /** Where what it says goes: the other thread is asleep then. */
  saidPath: string;
  failsForMs: number;
}

const { url, vmId, saidPath, failsForMs } = workerData as FailingStoreData;
const store = new FaultyStore(await openStore(url), () => undefined, {
  host: systemHost,
  random: Math.random,
});
const port = parentPort!;
await serveRestore({
  port: {
    on: port.on.bind(port),
    postMessage: (message: FromStoreThread, moved: MessagePort[]) => {
      port.postMessage(message, moved);
      if (message.type !== 'ready') return;
      store.plan = () => ({ kind: 'refused' });
      setTimeout(() => {
        store.plan = () => undefined;
      }, failsForMs);
    },
  },
  open: async () => ({ store, reader: await openCheckpoint(store, vmId, { cacheBytes: 0 }) }),
  say: (line) => {
    appendFileSync(saidPath, `${line}\n`);
  },
});
