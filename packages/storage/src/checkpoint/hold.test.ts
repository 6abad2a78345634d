/** Holds, which keep a checkpoint from collection while it is read. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { Guest } from '../../test-support/guest.ts';
import { readCheckpointFile } from '../checkpoint-file.ts';
import { isStorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { listCheckpoints } from '../inspect/list.ts';
import { deleteVm, raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { collectGarbage, type CollectReport } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { exportCheckpointFile } from './export.ts';
import { holdCheckpoint } from './hold.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const policy = { keepLast: 1, rules: [] };
const folder = await mkdtemp(join(tmpdir(), 'revenant-hold-'));
after(() => rm(folder, { recursive: true, force: true }));

interface Scene {
  store: MemoryStore;
  writer: CheckpointWriter;
  guest: Guest;
}

async function scene(checkpoints: number): Promise<Scene> {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
  const writer = await CheckpointWriter.open(store, ownership, { pool, fullMapEvery: 2 });
  const guest = new Guest({ seed: 6, ramPages: 60, diskPages: 0 }).run(60);
  for (let i = 0; i < checkpoints; i++) await writer.write(guest.run(20).snapshot());
  return { store, writer, guest };
}

const first = { epoch: 1, sequence: 1 };
const collect = (store: ObjectStore, host: StorageHost = systemHost): Promise<CollectReport> =>
  collectGarbage(store, 'vm', { policy, host });

describe('holds', () => {
  test('an export outlives the retention policy, and its checkpoint goes when it is done', async () => {
    const { store, writer, guest } = await scene(1);
    const wanted = snapshotHash(guest.truth());
    // Nothing is kept in memory, and between any two reads checkpoints are written and collected.
    const reads = new FaultyStore(store, () => undefined, { host: systemHost, random: () => 0 });
    const reader = await openCheckpoint(reads, 'vm', { id: first, pool, cacheBytes: 0 });
    let collections = 0;
    const path = join(folder, 'held.ckpt');
    const getRange = reads.getRange.bind(reads);
    reads.getRange = async (...range) => {
      for (let i = 0; i < 4; i++) await writer.write(guest.run(20).snapshot());
      await collect(store);
      collections++;
      return getRange(...range);
    };
    await exportCheckpointFile(reader, path);
    assert.ok(collections > 0);
    assert.equal(snapshotHash(await readCheckpointFile(path)), wanted);
    const { removed } = await collect(store);
    assert.ok(removed.some(({ sequence }) => sequence === 1));
  });

  test('a hold that comes between a collector’s look and its deletions stops it', async () => {
    const { store } = await scene(5);
    const racing = new FaultyStore(store, () => undefined, { host: systemHost, random: () => 0 });
    const put = racing.put.bind(racing);
    let released: (() => Promise<void>) | undefined;
    // The collector's only put is its note: before it, somebody begins to read the oldest checkpoint.
    racing.put = async (...args) => {
      released = (await holdCheckpoint(store, 'vm', first, { purpose: 'an export' }))?.release;
      return put(...args);
    };
    const report = await collect(racing);
    assert.match(report.skipped ?? '', /an export of checkpoint 1-1 began/);
    assert.deepEqual([report.removed, report.removedPacks], [[], 0]);
    await openCheckpoint(store, 'vm', { id: first, pool, verify: true });
    await released?.();
    assert.ok((await collect(store)).removed.length > 0);
  });

  test('what a collector is removing cannot be held', async () => {
    const { store } = await scene(5);
    const racing = new FaultyStore(store, () => undefined, { host: systemHost, random: () => 0 });
    const remove = racing.delete.bind(racing);
    let refused = 0;
    racing.delete = async (...args) => {
      await assert.rejects(holdCheckpoint(store, 'vm', first, { purpose: 'an export' }), (error) =>
        isStorageError(error, 'CHECKPOINT_NOT_FOUND'),
      );
      refused++;
      return remove(...args);
    };
    assert.ok((await collect(racing)).removed.length > 0);
    assert.ok(refused > 0);
  });

  test('a hold is renewed while it lasts, and not believed for ever when its holder was killed', async () => {
    const { store } = await scene(5);
    let now = 1_000_000;
    const sleepers: (() => void)[] = [];
    const host: StorageHost = {
      ...systemHost,
      wallClockMs: () => now,
      sleep: (_ms, signal) =>
        new Promise((resolve, reject) => {
          sleepers.push(resolve);
          signal?.addEventListener('abort', () => {
            reject(new Error('released'));
          });
        }),
    };
    const hold = await holdCheckpoint(store, 'vm', first, { purpose: 'an export', host });
    for (let minute = 0; minute < 30; minute++) {
      now += 60_000;
      sleepers.pop()?.();
      // The renewal is on its way once the next sleep began.
      while (sleepers.length === 0) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(!(await collect(store, host)).removed.some(({ sequence }) => sequence === 1));
    }
    // Killed: nobody renews it, nobody releases it.
    now += 600_000;
    assert.ok((await collect(store, host)).removed.some(({ sequence }) => sequence === 1));
    const left = [];
    for await (const { key } of listAll(store, 'vms/vm/holds/')) left.push(key);
    assert.deepEqual(left, []);
    await hold?.release();
  });

  test('a deleted VM whose checkpoint is being exported goes when that is done', async () => {
    const { store } = await scene(2);
    const hold = await holdCheckpoint(store, 'vm', first, { purpose: 'an export' });
    await deleteVm(store, 'vm', { owner: 'a' });
    assert.match((await collect(store)).skipped ?? '', /is under way/);
    await openCheckpoint(store, 'vm', { id: first, pool, verify: true });
    await hold?.release();
    await collect(store);
    assert.deepEqual(
      (await store.list('vms/vm/')).objects.map(({ key }) => key),
      ['vms/vm/owner'],
    );
  });
});

test('a list with checks calls nothing damaged that is committed or collected meanwhile', async () => {
  const { store, writer, guest } = await scene(3);
  const racing = new FaultyStore(store, () => undefined, { host: systemHost, random: () => 0 });
  const list = racing.list.bind(racing);
  let races = 0;
  racing.list = async (prefix, options) => {
    const page = await list(prefix, options);
    // Just after the packs were listed, whoever asked for them.
    if (prefix.endsWith('/packs/')) {
      await writer.write(guest.run(20).snapshot());
      await writer.write(guest.run(20).snapshot());
      await collectGarbage(store, 'vm', { policy: { keepLast: 12, rules: [] } });
      races++;
    }
    return page;
  };
  for (let round = 0; round < 5; round++) {
    const listed = await listCheckpoints(racing, 'vm', { check: true });
    assert.deepEqual(
      listed.filter(({ damaged }) => damaged !== undefined),
      [],
    );
    assert.ok(listed.length > 0);
  }
  assert.ok(races >= 5);
});
