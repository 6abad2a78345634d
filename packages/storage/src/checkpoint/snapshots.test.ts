/** Snapshots outlast the checkpoints that they were made of; going back to one makes a new checkpoint. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { isStorageError, StoreError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { deleteVm, raiseEpoch, readOwner, releaseOwnership, type Ownership } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { forkVm } from './fork.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { dropSnapshot, readSnapshots, revertToSnapshot, takeSnapshot } from './snapshots.ts';
import { verifyCheckpoint } from './verify.ts';
import { CheckpointWriter } from './writer.ts';

/** The real host, but later than anybody believes what was begun. */
const later: StorageHost = { ...systemHost, wallClockMs: () => systemHost.wallClockMs() + 3_600_000 };

describe('snapshots', () => {
  let pool: PagePool;
  before(() => {
    pool = new PagePool({ threads: 1 });
  });
  after(() => pool.close());

  const collect = (store: MemoryStore, vmId: string) =>
    collectGarbage(store, vmId, { policy: { keepLast: 1, rules: [] }, host: later });
  const hashOf = async (store: MemoryStore, vmId: string): Promise<string | undefined> =>
    (await verifyCheckpoint(await openCheckpoint(store, vmId, { pool }))).contentHash;
  const take = (store: MemoryStore, name: string, request = name) =>
    takeSnapshot(store, 'web', { name, request, owner: 'a', pool });
  const treeOf = async (store: MemoryStore): Promise<string[]> =>
    (await readSnapshots(store, 'web')).map(
      ({ name, parent, current }) => `${parent ?? ''}>${name}${current ? '*' : ''}`,
    );

  class Life {
    readonly store: MemoryStore;
    readonly guest: Guest;
    readonly ownership: Ownership;
    readonly writer: CheckpointWriter;
    constructor(store: MemoryStore, guest: Guest, ownership: Ownership, writer: CheckpointWriter) {
      this.store = store;
      this.guest = guest;
      this.ownership = ownership;
      this.writer = writer;
    }
    static async begin(store: MemoryStore): Promise<Life> {
      const guest = new Guest({ seed: 5, ramPages: 300, diskPages: 30 }).run(200);
      const ownership = await raiseEpoch(store, 'web', { owner: 'a' });
      const writer = await CheckpointWriter.open(store, ownership, { pool });
      await writer.write(guest.snapshot());
      return new Life(store, guest, ownership, writer);
    }
    static async again(store: MemoryStore): Promise<Life> {
      const ownership = await raiseEpoch(store, 'web', { owner: 'a' });
      const guest = new Guest({ seed: 6, ramPages: 300, diskPages: 30 });
      guest.load(await (await openCheckpoint(store, 'web', { pool })).readSnapshot());
      return new Life(store, guest, ownership, await CheckpointWriter.open(store, ownership, { pool }));
    }
    /** Changes everything, and gives the hash of what it is then. */
    async goOn(): Promise<string> {
      for (let i = 0; i < 3; i++) await this.writer.write(this.guest.run(300).snapshot());
      return snapshotHash(this.guest.truth());
    }
    end(): Promise<void> {
      return releaseOwnership(this.store, this.ownership);
    }
  }

  test('outlast collections, are gone back and forth to, and show as a tree', async () => {
    const store = new MemoryStore();
    let life = await Life.begin(store);
    const first = snapshotHash(life.guest.truth());
    await take(store, 'first');
    const second = await life.goOn();
    await take(store, 'second');
    await life.goOn();
    await assert.rejects(
      revertToSnapshot(store, 'web', { name: 'first', owner: 'a', pool }),
      (error) => isStorageError(error, 'FENCED') && /web is owned by a/.test(error.message),
    );
    await life.end();
    await collect(store, 'web');
    const storedAt = (await store.list('vms/web/packs/')).objects.length;
    for (const [name, hash] of [
      ['first', first],
      ['second', second],
      ['first', first],
    ] as const) {
      await revertToSnapshot(store, 'web', { name, owner: 'a', pool });
      assert.equal(await hashOf(store, 'web'), hash, name);
      life = await Life.again(store);
      assert.equal(snapshotHash(life.guest.truth()), hash, name);
      await life.end();
      await collect(store, 'web');
    }
    assert.ok((await store.list('vms/web/packs/')).objects.length <= storedAt, 'nothing was stored twice');
    life = await Life.again(store);
    const third = await life.goOn();
    await take(store, 'third');
    await life.end();
    assert.deepEqual(await treeOf(store), ['>first', 'first>second', 'first>third*']);

    // A fork of one stands on its own; what is dropped is collected, and what comes behind it moves up.
    await forkVm(store, (await readSnapshots(store, 'web'))[1]!.vm, 'other', { owner: 'a', pool });
    for (const name of ['second', 'first'])
      await collect(store, await dropSnapshot(store, 'web', { name, owner: 'a' }));
    assert.deepEqual(await treeOf(store), ['>third*']);
    await collect(store, 'web');
    assert.equal(await hashOf(store, 'other'), second);
    assert.equal(await hashOf(store, 'web'), third);
  });

  test('go with their VM, of which nothing is left then; its name may be used again', async () => {
    const store = new MemoryStore();
    const life = await Life.begin(store);
    const { vm } = await take(store, 'one');
    await life.goOn();
    await deleteVm(store, 'web', { owner: 'a' });
    await collect(store, 'web');
    assert.equal((await readOwner(store, vm))?.record.state, 'deleted');
    await collect(store, 'web');
    const left = (await store.list('vms/')).objects.map(({ key }) => key);
    assert.deepEqual(
      left.filter((key) => !/\/(owner|snapshots)$/.test(key)),
      [],
    );
    assert.deepEqual(await treeOf(store), []);
  });

  test('a name is had once, by one request; others are refused', async () => {
    const store = new MemoryStore();
    await Life.begin(store);
    const taken = await take(store, 'one', 'r1');
    assert.deepEqual(await take(store, 'one', 'r1'), taken);
    await assert.rejects(take(store, 'one', 'r2'), /has a snapshot one already/);
    for (const name of ['', 'Big', '3-120', 'latest', '../x', 'x'.repeat(64)])
      await assert.rejects(take(store, name), (error) => isStorageError(error, 'BAD_ARGUMENT'), name);
    await assert.rejects(
      dropSnapshot(store, 'web', { name: 'two', owner: 'a' }),
      (error) =>
        isStorageError(error, 'CHECKPOINT_NOT_FOUND') && /web has no snapshot two/.test(error.message),
    );
    const results = await Promise.allSettled(['x', 'y'].map((request) => take(store, 'race', request)));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  });

  test('whoever dies while one is taken leaves nothing that anybody sees, and it can be taken again', async () => {
    for (let writes = 1; ; writes++) {
      const store = new MemoryStore();
      await Life.begin(store);
      let left = writes;
      const closed = new StoreError('CLOSED', 'dead', { outcome: 'not-applied', retryable: false });
      const dying = new Proxy(store, {
        get(target, name) {
          const value = Reflect.get(target, name, target) as unknown;
          if (typeof value !== 'function') return value;
          return (...given: unknown[]): unknown =>
            name !== 'get' && name !== 'list' && left-- <= 0
              ? Promise.reject(closed)
              : (value as (...given: unknown[]) => unknown).apply(target, given);
        },
      });
      const done = await takeSnapshot(dying, 'web', { name: 'one', request: 'r', owner: 'a', pool }).then(
        () => true,
        (error: unknown) => assert.ok(left < 0, String(error)) ?? false,
      );
      if (done && left >= 0) return;
      assert.ok((await treeOf(store)).length <= 1);
      const again = await take(store, 'one', 'r');
      assert.equal(await hashOf(store, again.vm), await hashOf(store, 'web'));
    }
  });
});
