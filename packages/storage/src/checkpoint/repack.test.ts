/** Small packs are merged while checkpoints on them are in use. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { raiseEpoch, unpinResumePoint } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { listManifests, listPacks } from './find.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const policy = { keepLast: 1, rules: [] };

test('small packs are merged, so that a checkpoint never needs many', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
  const writer = await CheckpointWriter.open(store, ownership, { pool, fullMapEvery: 10 });
  const guest = new Guest({ seed: 4, ramPages: 400, diskPages: 0 }).run(400);
  let moved = 0;
  let most = 0;
  for (let i = 0; i < 120; i++) {
    moved += (await writer.write(guest.run(2).snapshot())).counts.movedPages;
    const reader = await openCheckpoint(store, 'vm', { pool });
    most = Math.max(most, new Set(reader.source('ram').map.packs).size);
  }
  assert.ok(moved > 0);
  assert.ok(most < 30, `${String(most)} packs`);
  const reader = await openCheckpoint(store, 'vm', { pool, verify: true });
  assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
  await collectGarbage(store, 'vm', { policy });
  assert.ok((await listPacks(store, 'vm')).size < 30);
});

test('a machine still restoring keeps its checkpoint, whatever is moved and collected, until it says it is done', async () => {
  const store = new MemoryStore();
  const first = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ seed: 4, ramPages: 60, diskPages: 0 }).run(60);
  for (let i = 0; i < 12; i++) await first.write(guest.run(3).snapshot());
  const wanted = snapshotHash(guest.truth());
  const taken = await raiseEpoch(store, 'vm', { owner: 'b' });
  const from = taken.resumeFrom!;
  const reader = await openCheckpoint(store, 'vm', { id: from, pool, cacheBytes: 0 });
  const copy = new Guest({ ramPages: 60, diskPages: 0 });
  const second = await CheckpointWriter.open(store, taken, { pool, fullMapEvery: 2 });
  let moved = 0;
  for (let i = 0; i < 8; i++) {
    moved += (await second.write(guest.run(3).snapshot())).counts.movedPages;
    await collectGarbage(store, 'vm', { policy });
  }
  assert.ok(moved > 0);
  const late = reader.present('ram');
  const bytes = await reader.readPages('ram', late);
  for (const [i, index] of late.entries())
    copy.spaces[0]!.bytes.set(bytes.subarray(i * 4096, (i + 1) * 4096), index * 4096);
  copy.instructions = reader.head.instructions;
  assert.equal(snapshotHash(copy.truth()), wanted);
  await unpinResumePoint(store, taken);
  await collectGarbage(store, 'vm', { policy });
  assert.ok(!(await listManifests(store, 'vm')).some(({ epoch }) => epoch === from.epoch));
  assert.equal(
    snapshotHash(await (await openCheckpoint(store, 'vm', { pool })).readSnapshot()),
    snapshotHash(guest.truth()),
  );
});
