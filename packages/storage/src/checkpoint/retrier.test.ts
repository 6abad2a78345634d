/** Writes to stores that fail: how long they are tried again, and what is written anew. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeHost } from '../../test-support/fake-host.ts';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { Guest } from '../../test-support/guest.ts';
import { isStoreError, StoreError } from '../errors.ts';
import { raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { PutOptions } from '../store/object-store.ts';
import { snapshotHash } from './content-hash.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { Retrier } from './retrier.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });

test('a write that has been under way for longer than its patience still tolerates a failure', async () => {
  const host = new FakeHost(1);
  const retrier = new Retrier(host, 30_000, undefined);
  retrier.begin();
  const slow = async (): Promise<void> => host.sleep(20_000);
  await retrier.run('one', slow);
  await retrier.run('two', slow);
  let failures = 3;
  await retrier.run('three', async () => {
    await host.sleep(5000);
    if (failures-- > 0) throw new StoreError('UNAVAILABLE', 'away');
  });
  assert.equal(failures, -1);
});

test('a write to a store that answers nothing ends when its patience does', async () => {
  const host = new FakeHost(1);
  const retrier = new Retrier(host, 30_000, undefined);
  retrier.begin();
  await assert.rejects(
    retrier.run('one', () => Promise.reject(new StoreError('UNAVAILABLE', 'away'))),
    (error) => isStoreError(error, 'UNAVAILABLE'),
  );
  assert.ok(host.monotonicMs() >= 28_000 && host.monotonicMs() <= 30_000, String(host.monotonicMs()));
});

/** A disk that fails under the packs: what was flushed then is lost, however often it is flushed again. */
class LossyStore extends MemoryStore {
  losses = 1;
  flushed: string[] = [];
  readonly #lost = new Set<string>();

  override async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: string }> {
    this.#lost.delete(key);
    return super.put(key, body, options);
  }

  override async flush(keys: readonly string[] = []): Promise<void> {
    this.flushed.push(...keys);
    if (this.losses-- > 0) for (const key of keys) this.#lost.add(key);
    const lost = keys.find((key) => this.#lost.has(key));
    if (lost !== undefined) throw new StoreError('LOST', lost, { retryable: false });
    return Promise.resolve();
  }
}

test('packs that a failing disk may have lost are written anew, and no manifest names the lost ones', async () => {
  const store = new LossyStore();
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ seed: 5, ramPages: 40, diskPages: 0 }).run(40);
  await writer.write(guest.snapshot());
  const reader = await openCheckpoint(store, 'vm', { pool });
  assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
  const named = reader.packs.map(({ name }) => `vms/vm/packs/${name}`);
  assert.deepEqual(store.flushed.slice(named.length), named);
  assert.ok(store.flushed.slice(0, named.length).every((key) => !named.includes(key)));
});

test('a disk that loses everything fails the checkpoint, whose pages the next one brings', async () => {
  const inner = new LossyStore();
  inner.losses = 2;
  const store = new FaultyStore(inner, () => undefined, { host: new FakeHost(1), random: () => 0.5 });
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ seed: 5, ramPages: 40, diskPages: 0 }).run(40);
  await assert.rejects(writer.write(guest.snapshot()), (error) => isStoreError(error, 'LOST'));
  await writer.write(guest.run(2).snapshot());
  const reader = await openCheckpoint(store, 'vm', { pool });
  assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
});
