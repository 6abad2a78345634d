/** Pages for a guest's thread that waits until another thread has read them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MessageChannel, Worker } from 'node:worker_threads';
import { StorageError, StoreError } from '../errors.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { baseImageName, importBaseImage, openBaseImage } from './base-image.ts';
import { pageChannelMemory, PageServer, type ServedPages } from './page-channel.ts';
import { PagePool } from './page-pool.ts';

const pageSize = 4096;

/** Page n of a source begins with n; `fail` may throw before each read. */
function numbered(fail: (read: number) => void = () => undefined): ServedPages & { reads: number[][] } {
  const reads: number[][] = [];
  return {
    reads,
    async read(indexes) {
      reads.push([...indexes]);
      fail(reads.length);
      const bytes = new Uint8Array(indexes.length * pageSize);
      indexes.forEach((page, i) => (bytes[i * pageSize] = page));
      return Promise.resolve(bytes);
    },
  };
}

/** Lets another thread read `pages`; gives what it saw. */
async function readElsewhere(options: {
  sources: Record<string, { pages: ServedPages; count: number }>;
  pages: [string, number][];
  cacheBytes?: number;
  stalls?: string[];
}): Promise<unknown[]> {
  const { sources, pages, cacheBytes = 1 << 20, stalls = [] } = options;
  const { port1, port2 } = new MessageChannel();
  const memory = pageChannelMemory(pageSize);
  const server = new PageServer({
    port: port1,
    memory,
    sources: new Map(Object.entries(sources).map(([name, { pages: served }]) => [name, served])),
    onStall: ({ kind }) => stalls.push(kind),
  });
  const counts = Object.fromEntries(Object.entries(sources).map(([name, { count }]) => [name, count]));
  const ends = { memory, port: port2, pageSize, sources: counts };
  const worker = new Worker(new URL('../../test-support/page-channel-child.ts', import.meta.url), {
    workerData: { ends, pages, cacheBytes },
    transferList: [port2],
  });
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  } finally {
    await worker.terminate();
    server.close();
  }
}

describe('pages for a thread that waits', () => {
  test('neighbours come along, and stay in a bounded cache', async () => {
    const source = numbered();
    const pages = [5, 6, 15, 16, 40, 5, 41, 99].map((page): [string, number] => ['disk0', page]);
    const seen = await readElsewhere({
      sources: { disk0: { pages: source, count: 42 } },
      pages,
      cacheBytes: 0, // one group
    });
    assert.deepEqual(seen, [5, 6, 15, 16, 40, 5, 41, undefined]);
    assert.deepEqual(
      source.reads.map((read) => [read[0], read.length]),
      [
        [0, 16],
        [16, 16],
        [32, 10],
        [0, 16],
        [32, 10],
      ],
    );
  });

  test('while the store fails the thread waits, and it is told; then it goes on', async () => {
    const stalls: string[] = [];
    const source = numbered((read) => {
      if (read < 3) throw new StoreError('UNAVAILABLE', 'no answer', { retryable: true });
    });
    const seen = await readElsewhere({
      sources: { disk0: { pages: source, count: 4 } },
      pages: [['disk0', 3]],
      stalls,
    });
    assert.deepEqual(seen, [3]);
    assert.deepEqual(stalls, ['stalled', 'stalled', 'resumed']);
  });

  test('damage is an error of the thread that asked', async () => {
    const source = numbered(() => {
      throw new StorageError('CHECKPOINT_DAMAGED', 'bases/x/packs/1: torn');
    });
    const seen = await readElsewhere({
      sources: { disk0: { pages: source, count: 4 } },
      pages: [
        ['disk0', 0],
        ['disk9', 0],
      ],
    });
    assert.deepEqual(seen, ['CHECKPOINT_DAMAGED', undefined]);
  });

  test('a base image is read from its store page by page', async () => {
    const store = new MemoryStore();
    const pool = new PagePool({ threads: 0 });
    const image = new Uint8Array(40 * pageSize);
    for (let page = 0; page < 40; page++) image[page * pageSize] = page + 1;
    const name = baseImageName('ab'.repeat(32));
    const { pageCount } = await importBaseImage(store, name, [image], { pool });
    const { pages } = await openBaseImage(store, name, { pool });
    const seen = await readElsewhere({
      sources: { disk0: { pages, count: pageCount } },
      pages: [
        ['disk0', 0],
        ['disk0', 39],
        ['disk0', 40],
      ],
    });
    assert.deepEqual(seen, [1, 40, undefined]);
    await pool.close();
  });
});
