/** What an import of a base image holds while it goes on: it may be as large as a disk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../store/memory-store.ts';
import { importBaseImage } from './base-image.ts';
import { PagePool } from './page-pool.ts';

const pageSize = 512;
const pieces = 96;
const pagesPerPiece = 2048;

/** Takes packs, and keeps none. */
class Bottomless extends MemoryStore {
  override put(...put: Parameters<MemoryStore['put']>): ReturnType<MemoryStore['put']> {
    const [key, , options] = put;
    return super.put(key, new Uint8Array(0), options);
  }
}

test('an import keeps of a page some numbers, and no objects', async () => {
  const pool = new PagePool({ threads: 0 });
  /** Heap in use at each piece; the least of several is what lives. */
  const used: number[] = [];
  const source = function* (): Generator<Uint8Array> {
    for (let piece = 0; piece < pieces; piece++) {
      used.push(process.memoryUsage().heapUsed);
      const bytes = new Uint8Array(pagesPerPiece * pageSize);
      const words = new Uint32Array(bytes.buffer);
      for (let page = 0; page < pagesPerPiece; page++)
        words[(page * pageSize) / 4] = 1 + piece * pagesPerPiece + page;
      yield bytes;
    }
  };
  const info = await importBaseImage(new Bottomless(), 'large', source(), { pool, pageSize });
  assert.equal(info.pageCount, pieces * pagesPerPiece);
  const quarter = pieces / 4;
  const grown = Math.min(...used.slice(-quarter)) - Math.min(...used.slice(0, quarter));
  const perPage = grown / (info.pageCount * 0.75);
  assert.ok(perPage < 100, `${perPage.toFixed(0)} bytes of heap for each page`);
});
