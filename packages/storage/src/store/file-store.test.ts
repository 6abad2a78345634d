/** What the file store does beyond the contract of stores: torn files, slots, reserve, temporary files. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { testCheckpointsOn } from '../../test-support/checkpoint-suite.ts';
import { isStoreError } from '../errors.ts';
import { testLogOn } from '../../test-support/log-suite.ts';
import { testStoreContract } from '../../test-support/store-contract.ts';
import { FileStore } from './file-store.ts';
import { openStore } from './open-store.ts';

const root = await mkdtemp(join(tmpdir(), 'revenant-store-'));
after(() => rm(root, { recursive: true, force: true }));

testCheckpointsOn('file:', () => openStore(`file:${join(root, 'checkpoints')}`));
testLogOn('file:', () => openStore(`file:${join(root, 'log')}`));
testStoreContract('file:', { open: () => openStore(`file:${join(root, 'contract')}`) });

test('a torn file is refused by name', async () => {
  const store = await FileStore.open(join(root, 'torn'));
  await store.put('a/b', Buffer.from('some bytes'));
  await truncate(join(root, 'torn/a/b~'), 52);
  await assert.rejects(
    store.get('a/b'),
    (error) => isStoreError(error, 'DAMAGED') && error.message.includes('a/b'),
  );
  await store.close();
});

test('a header that claims more than there is is damage, whatever it claims', async () => {
  const store = await FileStore.open(join(root, 'flipped'));
  await store.put('a/b', Buffer.from('some bytes'));
  const path = join(root, 'flipped/a/b~');
  const bytes = await readFile(path);
  // The highest bit of the length: more than Node can read at once.
  bytes[11]! ^= 0x80;
  await writeFile(path, bytes);
  await assert.rejects(store.get('a/b'), (error) => isStoreError(error, 'DAMAGED'));
  await store.close();
});

test('files that are no objects are not listed', async () => {
  const store = await FileStore.open(join(root, 'stray'));
  await store.put('a/b', Buffer.from('some bytes'));
  await writeFile(join(root, 'stray/a/.nfs0001'), '');
  await writeFile(join(root, 'stray/a/notes'), '');
  assert.deepEqual(
    (await store.list('a/')).objects.map(({ key }) => key),
    ['a/b'],
  );
  await store.close();
});

test('what another instance took of the reserve is there again after the next deletion', async () => {
  const folder = join(root, 'reserve');
  const store = await FileStore.open(folder);
  await store.put('a', Buffer.from('some bytes'));
  await rm(join(folder, '.reserve', '03'));
  await store.delete(['a']);
  assert.equal((await readdir(join(folder, '.reserve'))).length, 16);
  await store.close();
});

test('old versions are collected by age, and the newest stays', async () => {
  const folder = join(root, 'aged');
  const store = await FileStore.open(folder, { keepVersionsMs: 1000 });
  let { version } = await store.put('r', Buffer.from('0'), { ifAbsent: true });
  for (let i = 2; i < 16; i++)
    ({ version } = await store.put('r', Buffer.from(String(i)), { ifVersion: version }));
  for (const name of await readdir(join(folder, 'r~v'))) await utimes(join(folder, 'r~v', name), 1, 1);
  ({ version } = await store.put('r', Buffer.from('16'), { ifVersion: version }));
  assert.deepEqual(await readdir(join(folder, 'r~v')), ['v000016']);
  await store.put('r', Buffer.from('17'), { ifVersion: version });
  assert.equal(Buffer.from((await store.get('r'))!.body).toString(), '17');
  await store.close();
});

/** A store whose next link waits until `during` is done. */
async function stalling(folder: string, during: () => Promise<void>): Promise<FileStore> {
  let once = true;
  const beforeLink = async (): Promise<void> => {
    if (once) {
      once = false;
      await during();
    }
  };
  return FileStore.open(folder, { beforeLink });
}

for (const collected of [1, 2]) {
  test(`a writer that stalled until ${String(collected)} slots were collected does not win`, async () => {
    const folder = join(root, `stalled-${String(collected)}`);
    const store = await FileStore.open(folder);
    const first = await store.put('r', Buffer.from('1'), { ifAbsent: true });
    const stalled = await stalling(folder, async () => {
      let { version } = first;
      for (let i = 2; i <= 4; i++)
        ({ version } = await store.put('r', Buffer.from(String(i)), { ifVersion: version }));
      for (let slot = 2; slot < 2 + collected; slot++) await rm(join(folder, `r~v/v00000${String(slot)}`));
    });
    await assert.rejects(stalled.put('r', Buffer.from('stale'), { ifVersion: first.version }), (error) =>
      // When its successor's slot is gone too, it cannot tell, and must not say that it won.
      collected === 1 ? isStoreError(error, 'CONFLICT') : isStoreError(error) && error.outcome === 'unknown',
    );
    assert.equal(Buffer.from((await store.get('r'))!.body).toString(), '4');
    await store.close();
    await stalled.close();
  });
}

test('temporary files of crashed writers are removed when old', async () => {
  const folder = join(root, 'temporary');
  await (await FileStore.open(folder)).close();
  await writeFile(join(folder, '.tmp/1-old'), 'x');
  await utimes(join(folder, '.tmp/1-old'), 1, 1);
  await writeFile(join(folder, '.tmp/1-new'), 'x');
  await (await FileStore.open(folder)).close();
  assert.deepEqual(await readdir(join(folder, '.tmp')), ['1-new']);
});

test('what a failed fsync may have lost is lost until it is written anew, however often it is synced', async () => {
  let failing = true;
  const sync = (): Promise<void> =>
    failing
      ? Promise.reject(Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' }))
      : Promise.resolve();
  const store = await FileStore.open(join(root, 'lossy'), {
    sync: (file, what) => (what === 'all' ? sync() : file.datasync()),
  });
  failing = false;
  await store.put('a/kept', Buffer.from('x'));
  await store.put('a/lost', Buffer.from('x'), { durable: false });
  await store.put('a/other', Buffer.from('x'), { durable: false });
  failing = true;
  await assert.rejects(store.flush(['a/lost']));
  failing = false;
  const isLost = (error: unknown): boolean => isStoreError(error, 'LOST') && !error.retryable;
  await assert.rejects(store.flush(['a/lost']), isLost);
  await assert.rejects(store.flush(['a/lost']), isLost);
  // Another writer's objects are no business of this one.
  await store.flush(['a/other']);
  await assert.rejects(store.flush(), isLost);
  await store.put('a/lost', Buffer.from('x'), { durable: false });
  await store.flush(['a/lost']);
  await store.close();
});

test('a record whose folder could not be synced is not read until the folder was changed and synced', async () => {
  let failing = false;
  const synced: string[][] = [];
  const folder = join(root, 'doubtful');
  const store = await FileStore.open(folder, {
    sync: async (file, what) => {
      if (what === 'data') return;
      if (failing) throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
      synced.push(await readdir(join(folder, 'a')).catch(() => []));
    },
  });
  const first = await store.put('a/r', Buffer.from('1'), { ifAbsent: true });
  failing = true;
  await assert.rejects(
    store.put('a/s', Buffer.from('2'), { ifAbsent: true }),
    (error) => isStoreError(error) && error.outcome === 'unknown',
  );
  // What is read now could be gone after a power cut.
  await assert.rejects(store.get('a/s'), (error) => isStoreError(error, 'UNAVAILABLE'));
  failing = false;
  assert.equal(Buffer.from((await store.get('a/s'))!.body).toString(), '2');
  assert.equal((await store.get('a/r'))?.version, first.version);
  assert.deepEqual(synced.at(-1), ['r~', 's~']);
  await store.close();
});
