/** A store on a thread of its own, when it is away or has too much to do. */
import assert from 'node:assert/strict';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { testStoreContract } from '../../test-support/store-contract.ts';
import { isStoreError } from '../errors.ts';
import { openStore } from './open-store.ts';
import { ThreadStore } from './thread-store.ts';

const root = await mkdtemp(join(tmpdir(), 'revenant-thread-store-'));
after(() => rm(root, { recursive: true, force: true }));

async function threadStore(name: string): Promise<ThreadStore> {
  const url = `file:${join(root, name)}`;
  await (await openStore(url)).close();
  return new ThreadStore(url);
}

testStoreContract('a thread of its own', { open: () => threadStore('contract') });

test('a store that is away answers again when it is back', async () => {
  const store = await threadStore('away');
  await rename(join(root, 'away'), join(root, 'elsewhere'));
  await assert.rejects(
    store.get('a'),
    (error) => isStoreError(error, 'UNAVAILABLE') && error.outcome === 'not-applied',
  );
  await rename(join(root, 'elsewhere'), join(root, 'away'));
  await store.put('a', Uint8Array.of(1));
  assert.deepEqual((await store.get('a'))?.body, Uint8Array.of(1));
  await store.close();
});

test('more operations than it has places for are refused, and closing ends those that wait', async () => {
  const store = await threadStore('many');
  const gets = Array.from({ length: 1030 }, () =>
    store.get('a').then(
      () => 'done',
      (error: unknown) => (isStoreError(error, 'UNAVAILABLE') ? 'refused' : 'wrong'),
    ),
  );
  const results = await Promise.all(gets);
  assert.equal(results.filter((result) => result === 'done').length, 1024);
  assert.equal(results.filter((result) => result === 'refused').length, 6);
  await store.close();
  await assert.rejects(store.get('a'), (error) => isStoreError(error, 'CLOSED'));
});
