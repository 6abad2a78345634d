/** The thread that has the store while `revenant run` goes on from a checkpoint in it. */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { parentPort, workerData } from 'node:worker_threads';
import { Opener } from '../checkpoint/opener.ts';
import { serveRestore } from './serve-restore.ts';

export interface StoreThreadData {
  /** URL of the store. */
  url: string;
  /** `VM[@SEQUENCE]` */
  target: string;
}

const { url, target } = workerData as StoreThreadData;
const stderr = 2;
// A terminal is in raw mode.
const lineEnd = isatty(stderr) ? '\r\n' : '\n';
const opener = new Opener(url);
await serveRestore({
  port: parentPort!,
  open: async () => ({
    reader: await opener.checkpoint(target),
    store: await opener.store(),
    key: await opener.key(),
  }),
  say: (line) => {
    writeSync(stderr, `revenant: ${line}${lineEnd}`);
  },
});
