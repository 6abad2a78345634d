/** Ownership of a VM in a store: epochs, takeovers that race, writers of the past. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Guest } from '../test-support/guest.ts';
import { collectGarbage } from './checkpoint/collect.ts';
import { isCondemned } from './checkpoint/find.ts';
import { condemnedPrefix, manifestKey, packsPrefix } from './checkpoint/keys.ts';
import { PagePool } from './checkpoint/page-pool.ts';
import { openCheckpoint } from './checkpoint/reader.ts';
import { CheckpointWriter } from './checkpoint/writer.ts';
import { isStorageError, isStoreError, type StorageErrorCode } from './errors.ts';
import { systemHost } from './host.ts';
import {
  deleteVm,
  isVisible,
  listVms,
  moveResumePoint,
  raiseEpoch,
  readEpoch,
  readOwner,
  releaseOwnership,
  renewLease,
} from './ownership.ts';
import { MemoryStore } from './store/memory-store.ts';
import { listAll } from './store/object-store.ts';
import { checkedRecord, putRecord } from './store/records.ts';

const pool = new PagePool({ threads: 0 });
const code =
  (wanted: StorageErrorCode) =>
  (error: unknown): boolean =>
    isStorageError(error, wanted);

async function writerOf(store: MemoryStore, owner: string): Promise<CheckpointWriter> {
  return CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner }), { pool });
}

describe('ownership', () => {
  test('the epoch rises by one with each owner; the lease is renewed', async () => {
    const store = new MemoryStore();
    assert.equal(await readEpoch(store, 'vm'), 0);
    const first = await raiseEpoch(store, 'vm', { owner: 'a', leaseMs: 3000 });
    const renewed = await renewLease(store, await renewLease(store, first), { notes: { address: 'x' } });
    assert.deepEqual(renewed.stored.record.lease, { renewals: 2, durationMs: 3000 });
    const second = await raiseEpoch(store, 'vm', { owner: 'b', expectedEpoch: 1 });
    assert.deepEqual(
      [second.epoch, second.resumeFrom, second.stored.record.notes],
      [2, null, { address: 'x' }],
    );
    await assert.rejects(renewLease(store, renewed), code('FENCED'));
    await assert.rejects(raiseEpoch(store, 'vm', { owner: 'c', expectedEpoch: 1 }), code('FENCED'));
  });

  test('of many racing takeovers of one epoch exactly one wins', async () => {
    const store = new MemoryStore();
    const tries = Array.from({ length: 20 }, (_, i) =>
      raiseEpoch(store, 'vm', { owner: `n${String(i)}`, expectedEpoch: 0 }).then(
        () => 1,
        (error: unknown) => (isStorageError(error, 'FENCED') ? 0 : Promise.reject(error as Error)),
      ),
    );
    assert.equal(
      (await Promise.all(tries)).reduce<number>((sum, won) => sum + won, 0),
      1,
    );
    assert.equal(await readEpoch(store, 'vm'), 1);
  });

  test('the writer of an older epoch is refused, before and after its put', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const old = await writerOf(store, 'a');
    await old.write(guest.run(5).snapshot());
    await writerOf(store, 'b');
    await assert.rejects(old.write(guest.run(5).snapshot()), code('FENCED'));
    await assert.rejects(old.write(guest.run(5).snapshot()), code('FENCED'));
    assert.deepEqual((await openCheckpoint(store, 'vm', { pool })).id, { epoch: 1, sequence: 1 });
  });

  test('a takeover between the check and the put: the late manifest never counts, and is not reported as written', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const old = await writerOf(store, 'a');
    await old.write(guest.run(5).snapshot());
    const put = store.put.bind(store);
    let taken = false;
    store.put = async (key, body, options) => {
      if (key === manifestKey('vm', { epoch: 1, sequence: 2 }) && !taken) {
        taken = true;
        await raiseEpoch(store, 'vm', { owner: 'b' });
      }
      return put(key, body, options);
    };
    await assert.rejects(old.write(guest.run(5).snapshot()), code('FENCED'));
    assert.ok(await store.get(manifestKey('vm', { epoch: 1, sequence: 2 })));
    const newest = await openCheckpoint(store, 'vm', { pool });
    assert.deepEqual(newest.id, { epoch: 1, sequence: 1 });
    const next = await raiseEpoch(store, 'vm', { owner: 'c' });
    assert.deepEqual(next.resumeFrom, { epoch: 1, sequence: 1 });
  });

  test('a takeover that died between its steps is gone over by the next', async () => {
    const store = new MemoryStore();
    const guest = new Guest().run(5);
    await (await writerOf(store, 'a')).write(guest.snapshot());
    const list = store.list.bind(store);
    store.list = () => Promise.reject(new Error('killed'));
    await assert.rejects(raiseEpoch(store, 'vm', { owner: 'b' }), /killed/);
    store.list = list;
    assert.equal((await readOwner(store, 'vm'))?.record.lineage.at(-1)?.from, undefined);
    const third = await raiseEpoch(store, 'vm', { owner: 'c' });
    assert.deepEqual([third.epoch, third.resumeFrom], [3, { epoch: 1, sequence: 1 }]);
    assert.deepEqual(
      third.stored.record.lineage.map(({ epoch }) => epoch),
      [1, 3],
    );
  });

  test('a damaged newest checkpoint is named, and the one before is resumed', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const writer = await writerOf(store, 'a');
    await writer.write(guest.run(5).snapshot());
    await writer.write(guest.run(20).snapshot());
    for await (const { key } of listAll(store, `${packsPrefix('vm')}0000000001-0000000002`))
      await store.delete([key]);
    await assert.rejects(openCheckpoint(store, 'vm', { pool }), (error) => {
      assert.ok(isStorageError(error, 'CHECKPOINT_DAMAGED'));
      return error.message.includes('1-2') && error.hint?.includes('1-1') === true;
    });
    const older = await openCheckpoint(store, 'vm', { pool, acceptOlder: true });
    assert.deepEqual([older.id.sequence, older.refused.map(({ id }) => id.sequence)], [1, [2]]);
    const next = await raiseEpoch(store, 'vm', { owner: 'b' });
    assert.deepEqual([next.resumeFrom, next.refused.length], [{ epoch: 1, sequence: 1 }, 1]);
  });

  test('when no checkpoint is intact, nothing is given up without being told to', async () => {
    const store = new MemoryStore();
    await (await writerOf(store, 'a')).write(new Guest().run(5).snapshot());
    for await (const { key } of listAll(store, packsPrefix('vm'))) await store.delete([key]);
    await assert.rejects(raiseEpoch(store, 'vm', { owner: 'b' }), code('CHECKPOINT_DAMAGED'));
    assert.equal((await collectGarbage(store, 'vm')).skipped, 'a takeover is under way');
    const afresh = await raiseEpoch(store, 'vm', { owner: 'b', startAfresh: true });
    assert.deepEqual([afresh.resumeFrom, afresh.refused.length], [null, 1]);
  });

  test('what a collector is removing is not resumed from', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const writer = await writerOf(store, 'a');
    await writer.write(guest.run(5).snapshot());
    await writer.write(guest.run(5).snapshot());
    const note = `${condemnedPrefix('vm')}x`;
    const condemned = checkedRecord(note, { epoch: 1, ids: ['1-2'] }, isCondemned);
    await putRecord(store, systemHost, note, condemned, undefined);
    assert.deepEqual((await raiseEpoch(store, 'vm', { owner: 'b' })).resumeFrom, { epoch: 1, sequence: 1 });
  });

  test('a person rolls back: what came later no longer counts', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const writer = await writerOf(store, 'a');
    for (let i = 0; i < 3; i++) await writer.write(guest.run(5).snapshot());
    const id = { epoch: 1, sequence: 1 };
    const back = await raiseEpoch(store, 'vm', { owner: 'b', resumeFrom: id });
    assert.deepEqual(back.resumeFrom, id);
    assert.deepEqual((await openCheckpoint(store, 'vm', { pool })).id, id);
    await assert.rejects(
      raiseEpoch(store, 'vm', { owner: 'c', resumeFrom: { epoch: 1, sequence: 3 } }),
      code('CHECKPOINT_NOT_FOUND'),
    );
  });

  test('the resume point can move back while it is being restored', async () => {
    const store = new MemoryStore();
    const guest = new Guest();
    const writer = await writerOf(store, 'a');
    for (let i = 0; i < 3; i++) await writer.write(guest.run(5).snapshot());
    const taken = await raiseEpoch(store, 'vm', { owner: 'b' });
    const moved = await moveResumePoint(store, taken, { epoch: 1, sequence: 2 });
    assert.deepEqual((await openCheckpoint(store, 'vm', { pool })).id, { epoch: 1, sequence: 2 });
    const next = await CheckpointWriter.open(store, moved, { pool });
    assert.deepEqual((await next.write(guest.snapshot({ full: true }))).id, { epoch: 2, sequence: 3 });
  });

  test('released VMs are free at once; deleted ones never return', async () => {
    const store = new MemoryStore();
    const first = await raiseEpoch(store, 'vm', { owner: 'a' });
    await releaseOwnership(store, first);
    await assert.rejects(renewLease(store, first), code('FENCED'));
    const second = await raiseEpoch(store, 'vm', { owner: 'b', expectedEpoch: 1 });
    await deleteVm(store, 'vm', { owner: 'admin' });
    await assert.rejects(renewLease(store, second), code('FENCED'));
    await assert.rejects(raiseEpoch(store, 'vm', { owner: 'c' }), code('VM_DELETED'));
    assert.equal((await raiseEpoch(store, 'vm', { owner: 'c', revive: true })).epoch, 4);
    await raiseEpoch(store, 'other', { owner: 'c' });
    assert.deepEqual(await listVms(store), ['other', 'vm']);
  });

  test('visibility follows the lineage', () => {
    const lineage = [
      { epoch: 1, from: null },
      { epoch: 4, from: { epoch: 1, sequence: 5 } },
      { epoch: 5, from: { epoch: 4, sequence: 9 } },
    ];
    const seen = (epoch: number, sequence: number): boolean => isVisible(lineage, { epoch, sequence });
    assert.deepEqual(
      [seen(1, 5), seen(1, 6), seen(2, 6), seen(4, 9), seen(4, 10), seen(5, 10), seen(6, 11)],
      [true, false, false, true, false, true, false],
    );
    assert.equal(isVisible([{ epoch: 1, from: null }, { epoch: 2 }], { epoch: 2, sequence: 1 }), false);
    assert.equal(isVisible([{ epoch: 1, from: null }, { epoch: 2 }], { epoch: 1, sequence: 7 }), true);
  });

  test("a lost reply to a conditional put is recognised as one's own", async () => {
    const store = new MemoryStore();
    const put = store.put.bind(store);
    let lost = 0;
    store.put = async (key, body, options) => {
      const result = await put(key, body, options);
      if (lost++ % 2 === 0) {
        const { StoreError } = await import('./errors.ts');
        throw new StoreError('UNAVAILABLE', 'reply lost', { outcome: 'unknown' });
      }
      return result;
    };
    const taken = await raiseEpoch(store, 'vm', { owner: 'a' });
    assert.equal((await renewLease(store, taken)).stored.record.lease.renewals, 1);
    store.put = () => Promise.reject(new Error('not reached'));
    await assert.rejects(renewLease(store, { ...taken, epoch: 9 }), (error) => !isStoreError(error));
  });
});
