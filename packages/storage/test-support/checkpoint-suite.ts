/** What checkpoints need of a driver, end to end. Called from the drivers' own test files, beside the contract suite. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Guest } from './guest.ts';
import { listCheckpoints } from '../src/inspect/list.ts';
import { verifyCheckpoint } from '../src/checkpoint/verify.ts';
import { isStorageError } from '../src/errors.ts';
import { deleteVm, raiseEpoch, renewLease } from '../src/ownership.ts';
import type { ObjectStore } from '../src/store/object-store.ts';
import { collectGarbage } from '../src/checkpoint/collect.ts';
import { snapshotHash } from '../src/checkpoint/content-hash.ts';
import { PagePool } from '../src/checkpoint/page-pool.ts';
import { openCheckpoint } from '../src/checkpoint/reader.ts';
import { CheckpointWriter } from '../src/checkpoint/writer.ts';

/** Content hash of the last checkpoint that the suite's guest makes: the same on every driver. */
const last = snapshotHash(lastTruth());

function guestAt(steps: number): Guest {
  const guest = new Guest({ seed: 77, ramPages: 96, diskPages: 32 }).run(80);
  for (let i = 0; i < steps; i++) guest.run(15);
  return guest;
}

function lastTruth(): ReturnType<Guest['truth']> {
  return guestAt(9).truth();
}

/** Two owners in turn write, take over, collect and restore. */
export function testCheckpointsOn(
  name: string,
  open: () => Promise<ObjectStore>,
  skip: string | false = false,
): void {
  test(`${name} carries checkpoints from owner to owner`, { skip }, async () => {
    const [store, other] = [await open(), await open()];
    const pool = new PagePool({ threads: 1 });
    const guest = guestAt(0);
    let ownership = await raiseEpoch(store, 'suite', { owner: 'a', leaseMs: 3000 });
    const first = await CheckpointWriter.open(store, ownership, { pool, fullMapEvery: 3 });
    for (let i = 0; i < 5; i++) {
      await first.write(guest.snapshot());
      ownership = await renewLease(store, ownership);
      guest.run(15);
    }
    const taken = await raiseEpoch(other, 'suite', { owner: 'b', expectedEpoch: ownership.epoch });
    assert.deepEqual(taken.resumeFrom, first.last);
    await assert.rejects(first.write(guest.snapshot()), (error) => isStorageError(error, 'FENCED'));
    const second = await CheckpointWriter.open(other, taken, { pool, fullMapEvery: 3 });
    // The guest's dirty marks went to the fenced writer: begin with everything, as a resumed machine would.
    for (let i = 5; i < 10; i++) {
      await second.write(guest.snapshot(i === 5 ? { full: true } : {}));
      if (i < 9) guest.run(15);
    }
    const report = await collectGarbage(store, 'suite', { policy: { keepLast: 2, rules: [] } });
    assert.ok(report.removed.length >= 5 && report.removedPacks > 0, JSON.stringify(report.skipped));
    const reader = await openCheckpoint(store, 'suite', { pool });
    assert.deepEqual([reader.id, (await verifyCheckpoint(reader)).contentHash], [second.last, last]);
    assert.equal(snapshotHash(await reader.readSnapshot()), last);
    assert.equal(
      (await listCheckpoints(other, 'suite', { check: true })).filter(({ damaged }) => damaged).length,
      0,
    );
    await deleteVm(store, 'suite', { owner: 'b' });
    await collectGarbage(store, 'suite');
    assert.deepEqual(
      (await store.list('vms/suite/')).objects.map(({ key }) => key),
      ['vms/suite/owner'],
    );
    await pool.close();
    await Promise.all([store.close(), other.close()]);
  });
}
