/** For page-channel.test.ts: a thread that reads pages through a channel, as a guest does, and tells what each begins with. */
import { parentPort, workerData } from 'node:worker_threads';
import { PageClient, type PageChannelEnds } from '../src/checkpoint/page-channel.ts';
import { StorageError } from '../src/errors.ts';

const { ends, pages, cacheBytes } = workerData as {
  ends: PageChannelEnds;
  pages: [string, number][];
  cacheBytes: number;
};
const client = new PageClient(ends, { cacheBytes });
const seen = pages.map(([source, page]) => {
  try {
    return client.page(source, page)?.[0];
  } catch (error) {
    return error instanceof StorageError ? error.code : String(error);
  }
});
parentPort?.postMessage(seen);
ends.port.close();
