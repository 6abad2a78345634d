/** Which checkpoints a retention policy keeps. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Guest } from '../../test-support/guest.ts';
import { isStorageError } from '../errors.ts';
import { systemHost } from '../host.ts';
import { raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { collectGarbage, type KnownManifest } from './collect.ts';
import { listManifests, listPacks } from './find.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { defaultRetention, parseRetention, selectRetained } from './retention.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const minute = 60_000;

describe('retention', () => {
  test('rules are parsed, and bad ones refused', () => {
    assert.deepEqual(parseRetention('last 10, 1 per 1m for 1h, one per h for 2d'), {
      keepLast: 10,
      rules: [
        { everyMs: minute, forMs: 60 * minute },
        { everyMs: 60 * minute, forMs: 48 * 60 * minute },
      ],
    });
    for (const bad of ['', 'last', 'keep 3', '1 per 1y for 2y', 'last -1'])
      assert.throws(
        () => parseRetention(bad),
        (error) => isStorageError(error, 'BAD_ARGUMENT'),
        bad,
      );
  });

  test('the newest of each period is kept as long as the rule says', () => {
    const now = 1000 * minute;
    const checkpoints = Array.from({ length: 40 }, (_, i) => ({
      id: { epoch: 1, sequence: i + 1 },
      createdAtMs: now - (40 - i) * 20_000,
    }));
    const policy = { keepLast: 2, rules: [{ everyMs: minute, forMs: 5 * minute }] };
    const kept = selectRetained(checkpoints, policy, now).map(({ sequence }) => sequence);
    // The last of each three a minute, five minutes back; and the last two.
    assert.deepEqual(kept, [28, 31, 34, 37, 39, 40]);
  });

  test('the newest is always kept, and a larger policy never keeps less', () => {
    const times = fc.array(fc.nat(10_000_000), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 20 }), (created, keepLast) => {
        const sorted = created.sort((a, b) => a - b);
        const checkpoints = sorted.map((createdAtMs, i) => ({ id: { epoch: 1, sequence: i }, createdAtMs }));
        const { rules } = defaultRetention;
        const small = selectRetained(checkpoints, { keepLast, rules: rules.slice(1) }, 10_000_000);
        const large = selectRetained(checkpoints, { keepLast: keepLast + 1, rules }, 10_000_000);
        assert.equal(small.at(-1)?.sequence, checkpoints.length - 1);
        for (const { sequence } of small) assert.ok(large.some((each) => each.sequence === sequence));
      }),
    );
  });

  test('a dry run removes nothing and says what a run then removes', async () => {
    const store = new MemoryStore();
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), {
      pool,
      fullMapEvery: 2,
    });
    const guest = new Guest({ seed: 3 });
    for (let i = 0; i < 8; i++) await writer.write(guest.run(20).snapshot());
    const policy = { keepLast: 1, rules: [] };
    const before = [(await listManifests(store, 'vm')).length, (await listPacks(store, 'vm')).size];
    const dry = await collectGarbage(store, 'vm', { policy, dryRun: true });
    assert.deepEqual(
      [(await listManifests(store, 'vm')).length, (await listPacks(store, 'vm')).size],
      before,
    );
    const wet = await collectGarbage(store, 'vm', { policy });
    assert.deepEqual(wet, dry);
    assert.deepEqual(
      wet.kept.map(({ sequence }) => sequence),
      [7, 8],
      'the chain of the kept one stays',
    );
    assert.equal((await listPacks(store, 'vm')).size, before[1]! - wet.removedPacks);
    const again = await collectGarbage(store, 'vm', { policy });
    assert.deepEqual([again.removed, again.removedPacks], [[], 0]);
    await openCheckpoint(store, 'vm', { pool, verify: true });
  });

  test('a collector that remembers reads only what is new, and does what a forgetful one does', async () => {
    let reads = 0;
    const inner = new MemoryStore();
    const store = new FaultyStore(
      inner,
      (operation, key) => {
        if (operation === 'get' && key.includes('/manifests/')) reads++;
        return undefined;
      },
      { host: systemHost, random: () => 0 },
    );
    const writer = await CheckpointWriter.open(inner, await raiseEpoch(inner, 'vm', { owner: 'a' }), {
      pool,
    });
    const guest = new Guest({ seed: 8 });
    const remembered = new Map<string, KnownManifest>();
    const policy = { keepLast: 5, rules: [] };
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 6; i++) await writer.write(guest.run(10).snapshot());
      const forgetful = await collectGarbage(inner, 'vm', { policy, dryRun: true });
      reads = 0;
      assert.deepEqual(await collectGarbage(store, 'vm', { policy, remembered }), forgetful);
      assert.ok(reads <= 7, `${String(reads)} manifests were read`);
      assert.ok(remembered.size <= 30);
    }
    await openCheckpoint(inner, 'vm', { pool, verify: true });
  });

  test('a VM that nobody owned is left alone', async () => {
    assert.match((await collectGarbage(new MemoryStore(), 'vm')).skipped ?? '', /no owner record/);
  });
});
