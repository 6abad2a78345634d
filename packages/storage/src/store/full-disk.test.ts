/** A really full disk: a tmpfs of 3 MiB. Skipped where none can be mounted (only root may). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { collectGarbage } from '../checkpoint/collect.ts';
import { snapshotHash } from '../checkpoint/content-hash.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { openCheckpoint } from '../checkpoint/reader.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { isStoreError } from '../errors.ts';
import { raiseEpoch, renewLease } from '../ownership.ts';
import { FileStore } from './file-store.ts';

const folder = await mkdtemp(join(tmpdir(), 'revenant-full-'));
const skip = mountSmall();
after(async () => {
  if (skip === false) execFileSync('umount', [folder]);
  await rm(folder, { recursive: true, force: true });
});

function mountSmall(): string | false {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'none', folder], { stdio: 'pipe' });
    return false;
  } catch {
    return 'no small disk can be mounted here';
  }
}

test(
  'on a full disk leases are renewed, collection frees room, and checkpoints go on',
  { skip },
  async () => {
    const store = await FileStore.open(join(folder, 'store'));
    const pool = new PagePool({ threads: 0 });
    let ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
    const writer = await CheckpointWriter.open(store, ownership, { pool, giveUpAfterMs: 20 });
    const guest = new Guest({ ramPages: 32, diskPages: 0 });
    let failures = 0;
    for (let i = 0; i < 150; i++) {
      guest.run(6);
      ownership = await renewLease(store, ownership);
      try {
        await writer.write(guest.snapshot());
      } catch (error) {
        if (!isStoreError(error, 'FULL')) throw error;
        failures++;
        const { skipped } = await collectGarbage(store, 'vm', { policy: { keepLast: 1, rules: [] } });
        assert.equal(skipped, undefined);
      }
    }
    assert.ok(failures > 0 && failures < 50, `${String(failures)} of 150 failed`);
    await writer.write(guest.run(1).snapshot()).catch(async () => {
      await collectGarbage(store, 'vm', { policy: { keepLast: 1, rules: [] } });
      await writer.write(guest.snapshot());
    });
    const reader = await openCheckpoint(store, 'vm', { pool, verify: true });
    assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
    assert.deepEqual(await readdir(join(folder, 'store/.tmp')), []);
    await store.close();
  },
);
