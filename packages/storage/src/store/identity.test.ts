/** The identity of a store: none is made by reading, and one cluster has it. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { Guest } from '../../test-support/guest.ts';
import { listCheckpoints } from '../inspect/list.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { systemHost } from '../host.ts';
import { listVms, raiseEpoch } from '../ownership.ts';
import { FileStore } from './file-store.ts';
import { claimStore, identityKey, initStore, isStore, readIdentity, releaseStore } from './identity.ts';
import { MemoryStore } from './memory-store.ts';
import { openStore } from './open-store.ts';

const root = await mkdtemp(join(tmpdir(), 'revenant-identity-'));
after(() => rm(root, { recursive: true, force: true }));

const isNoStore = (error: unknown): boolean => isStoreError(error, 'NO_STORE') && error.hint !== undefined;

describe('reading never makes a store', () => {
  test('a mistyped directory is refused, and nothing is made', async () => {
    const url = `file:${join(root, 'mistyped/place')}`;
    await assert.rejects(openStore(url, { create: false }), isNoStore);
    await assert.rejects(openStore(url, { probe: false }), isNoStore);
    assert.deepEqual(await readdir(root), []);
  });

  test('a directory of other things is no store, and stays as it is', async () => {
    const folder = join(root, 'home');
    await mkdir(join(folder, 'documents'), { recursive: true });
    await writeFile(join(folder, 'documents/a~'), 'a backup of an editor');
    await assert.rejects(openStore(`file:${folder}`, { create: false }), isNoStore);
    await assert.rejects(openStore(`file:${join(folder, 'documents/a~')}`, { create: false }), isNoStore);
    assert.deepEqual(await readdir(folder), ['documents']);
  });

  test('one that was made is opened, read and written by whoever finds it', async () => {
    const url = `file:${join(root, 'made')}`;
    const made = await openStore(url, { create: true });
    const identity = await readIdentity(made);
    assert.match(identity?.id ?? '', /^[0-9a-f]{32}$/);
    await made.close();
    await rm(join(root, 'made/.tmp'), { recursive: true });
    const found = await openStore(url, { create: false, probe: false });
    assert.deepEqual(await readIdentity(found), identity);
    await found.put('a/b', Buffer.from('x'), { ifAbsent: true });
    await found.close();
    await openStore(url).then((again) => again.close());
    assert.deepEqual(await readIdentity(await FileStore.open(join(root, 'made'))), identity);
  });

  test('a store of before there were identities is one, and gets one from the next node', async () => {
    const folder = join(root, 'older');
    const older = await FileStore.open(folder);
    await raiseEpoch(older, 'vm', { owner: 'a' });
    assert.ok(await isStore(older));
    const read = await openStore(`file:${folder}`, { create: false, probe: false });
    assert.deepEqual(await listVms(read), ['vm']);
    assert.equal(await readIdentity(read), undefined);
    const joined = await openStore(`file:${folder}`);
    assert.ok(await readIdentity(joined));
    await Promise.all([older.close(), read.close(), joined.close()]);
  });

  test('a named store in memory that nobody made is none', async () => {
    await assert.rejects(openStore('memory:nobody-made-this', { create: false }), isNoStore);
    await openStore('memory:somebody-made-this');
    await openStore('memory:somebody-made-this', { create: false });
  });
});

describe('a store and its cluster', () => {
  test('the first claim holds; another cluster is refused by name', async () => {
    const store = new MemoryStore();
    const claimed = await claimStore(store, systemHost, 'blue');
    assert.equal(claimed.cluster, 'blue');
    assert.deepEqual(await claimStore(store, systemHost, 'blue'), claimed);
    await assert.rejects(
      claimStore(store, systemHost, 'green'),
      (error) => isStorageError(error, 'STORE_FOREIGN') && error.message.includes('blue'),
    );
    assert.deepEqual(await initStore(store, systemHost), claimed);
    assert.deepEqual(await readIdentity(store), claimed);
    for (const name of ['', 'two words', 'x'.repeat(129), 'é'])
      await assert.rejects(claimStore(store, systemHost, name), (error) =>
        isStorageError(error, 'BAD_ARGUMENT'),
      );
  });

  test('a claim gives way to who names it, and when it is taken back; the identity stays', async () => {
    const store = new MemoryStore();
    const { id } = await claimStore(store, systemHost, 'blue');
    const isForeign = (error: unknown): boolean => isStorageError(error, 'STORE_FOREIGN');
    await assert.rejects(claimStore(store, systemHost, 'green', 'red'), isForeign);
    assert.equal((await claimStore(store, systemHost, 'green', 'blue')).cluster, 'green');
    await assert.rejects(claimStore(store, systemHost, 'blue'), isForeign);
    assert.equal(await releaseStore(store, systemHost), 'green');
    assert.equal(await releaseStore(store, systemHost), undefined);
    const again = await claimStore(store, systemHost, 'blue');
    assert.deepEqual([again.id, again.cluster], [id, 'blue']);
  });

  test('of clusters and nodes that race on a failing store one cluster wins, and all of its nodes', async () => {
    for (let round = 0; round < 30; round++) {
      const inner = new MemoryStore();
      let calls = round;
      const plan = (): { kind: 'reply-lost' } | undefined =>
        calls++ % 5 === 0 ? { kind: 'reply-lost' } : undefined;
      const store = new FaultyStore(inner, plan, {
        host: { sleep: () => Promise.resolve() },
        random: () => 0.5,
      });
      const insist = async (cluster: string): Promise<string> => {
        for (;;) {
          try {
            return (await claimStore(store, { ...systemHost, sleep: () => Promise.resolve() }, cluster))
              .cluster!;
          } catch (error) {
            if (isStorageError(error, 'STORE_FOREIGN')) return 'refused';
          }
        }
      };
      const claims = await Promise.all(['a', 'b', 'a', 'b', 'a', 'b'].map(insist));
      const winner = (await readIdentity(inner))!.cluster!;
      assert.deepEqual(
        claims,
        ['a', 'b', 'a', 'b', 'a', 'b'].map((each) => (each === winner ? winner : 'refused')),
      );
    }
  });

  test('two stores have two identities', async () => {
    const [a, b] = [
      await initStore(new MemoryStore(), systemHost),
      await initStore(new MemoryStore(), systemHost),
    ];
    assert.notEqual(a.id, b.id);
    assert.ok(identityKey.startsWith('store/'));
  });
});

test('checkpoints beside an identity are listed as before', async () => {
  const store = await openStore('memory:with-identity');
  const pool = new PagePool({ threads: 0 });
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  await writer.write(new Guest({ seed: 1 }).run(10).snapshot());
  assert.equal((await listCheckpoints(store, 'vm')).length, 1);
  assert.deepEqual(await listVms(store), ['vm']);
});
