/** Threads that compress and encrypt pages, and the index of pages by content. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { seededRandom } from '../../test-support/guest.ts';
import { pageHashBytes } from './page-codec.ts';
import { PageIndex } from './page-index.ts';
import { PagePool } from './page-pool.ts';

function pagesIn(buffer: ArrayBuffer | SharedArrayBuffer): Uint8Array {
  const random = seededRandom(5);
  const bytes = new Uint8Array(buffer, 4096, 20 * 4096);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i % 4096 < 3000 ? 7 : random() * 256;
  bytes.fill(0, 4096 * 3, 4096 * 4);
  return bytes;
}

describe('the page pool', () => {
  for (const [name, threads] of [
    ['on the caller’s thread', 0],
    ['on two threads', 2],
  ] as const) {
    test(`encodes and decodes ${name}, from private and from shared memory`, async () => {
      const pool = new PagePool({ threads, maxInFlightBytes: 1 << 20 });
      for (const buffer of [new ArrayBuffer(22 * 4096), new SharedArrayBuffer(22 * 4096)]) {
        const bytes = pagesIn(buffer);
        const encoded = await pool.encode(bytes, 4096);
        assert.equal(encoded.lengths[3], 0);
        assert.equal(bytes.length, 20 * 4096, 'the caller keeps its bytes');
        const keep = [...encoded.lengths.keys()].filter((i) => i !== 3);
        const hashes = Buffer.concat(
          keep.map((i) => encoded.hashes.subarray(i * pageHashBytes, (i + 1) * pageHashBytes)),
        );
        const lengths = Uint32Array.from(keep, (i) => encoded.lengths[i]!);
        const back = await pool.decode({ pageSize: 4096, hashes, lengths, data: encoded.data });
        assert.deepEqual(back.bad, []);
        for (const [k, i] of keep.entries())
          assert.deepEqual(
            back.bytes.subarray(k * 4096, (k + 1) * 4096),
            new Uint8Array(bytes.subarray(i * 4096, (i + 1) * 4096)),
          );
        hashes[40]! ^= 1;
        assert.deepEqual(
          (await pool.decode({ pageSize: 4096, hashes, lengths, data: encoded.data })).bad,
          [1],
        );
      }
      await pool.close();
    });
  }

  test('more work than may be in flight waits its turn', async () => {
    const pool = new PagePool({ threads: 2, maxInFlightBytes: 8192 });
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => pool.encode(new Uint8Array(4096).fill(i + 1), 4096)),
    );
    assert.equal(new Set(results.map(({ hashes }) => Buffer.from(hashes).toString('hex'))).size, 20);
    await pool.close();
  });

  test('a thread that always has work keeps nothing of what it has done', async () => {
    const [jobs, jobBytes] = [384, 1 << 20];
    const pool = new PagePool({ threads: 1 });
    const pages = new Uint8Array(new SharedArrayBuffer(jobBytes));
    for (let at = 0; at < jobBytes; at += 1 << 16) randomFillSync(pages, at, 1 << 16);
    await pool.encode(pages, 4096);
    const before = process.memoryUsage.rss();
    let grown = 0;
    await Promise.all(
      Array.from({ length: jobs }, async () => {
        await pool.encode(pages, 4096);
        grown = Math.max(grown, process.memoryUsage.rss() - before);
      }),
    );
    await pool.close();
    assert.ok(grown < (jobs * jobBytes) / 2, `it grew by ${String(grown >> 20)} MiB`);
  });
});

test('the page index finds what was put, through growth and filtering', () => {
  const random = seededRandom(9);
  const index = new PageIndex();
  const hashes = Array.from({ length: 5000 }, () =>
    Uint32Array.from({ length: 8 }, () => random() * 2 ** 32),
  );
  for (const [i, hash] of hashes.entries()) index.set(hash, 2 + (i % 3), i);
  assert.equal(index.size, 5000);
  for (const [i, hash] of hashes.entries())
    assert.deepEqual(index.find(hash), { pack: 2 + (i % 3), slot: i });
  const kept = index.filtered((pack) => pack === 2);
  for (const [i, hash] of hashes.entries()) assert.equal(kept.find(hash)?.slot, i % 3 === 0 ? i : undefined);
  assert.equal(kept.find(new Uint32Array(8)), undefined);
});
