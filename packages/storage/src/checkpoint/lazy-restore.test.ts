import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FakeHost } from '../../test-support/fake-host.ts';
import { Guest } from '../../test-support/guest.ts';
import { readCheckpointFile } from '../checkpoint-file.ts';
import { isStorageError } from '../errors.ts';
import { raiseEpoch } from '../ownership.ts';
import { FaultyStore } from '../store/faulty-store.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { snapshotHash } from './content-hash.ts';
import { exportCheckpointFile, importCheckpointFile } from './export.ts';
import { packsPrefix } from './keys.ts';
import { LazyRestore, type PageDelivery } from './lazy-restore.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { saveWorkingSet } from './working-set.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });

/** A guest, its checkpoint in a store, and an empty guest to restore into. */
async function prepare(): Promise<{ guest: Guest; empty: Guest; store: FaultyStore; host: FakeHost }> {
  const host = new FakeHost(1);
  const store = new FaultyStore(new MemoryStore(), () => undefined, { host, random: host.uniform });
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ seed: 5 }).run(150);
  await writer.write(guest.snapshot());
  const empty = new Guest();
  empty.instructions = guest.instructions;
  return { guest, empty, store, host };
}

function into(guest: Guest, seen = new Set<string>()): (pages: PageDelivery) => void {
  return ({ space, indexes, bytes }) => {
    const target = guest.spaces.find(({ name }) => name === space)!;
    for (const [i, index] of indexes.entries()) {
      const key = `${space}/${String(index)}`;
      assert.ok(!seen.has(key), `${key} was delivered twice`);
      seen.add(key);
      target.bytes.set(
        bytes.subarray(i * target.pageSize, (i + 1) * target.pageSize),
        index * target.pageSize,
      );
    }
  };
}

describe('lazy restore', () => {
  test('working set, demands and background together deliver each page once', async () => {
    const { guest, empty, store, host } = await prepare();
    const reader = await openCheckpoint(store, 'vm', { pool });
    const present = reader.present('ram');
    await saveWorkingSet(store, 'vm', { ram: present.subarray(0, 5), gone: new Uint32Array([1]) });
    const restore = new LazyRestore(reader, { deliver: into(empty), host, backgroundPages: 4 });
    assert.equal(await restore.loadWorkingSet(), 5);
    assert.equal(restore.isMissing('ram', present[0]!), false);
    assert.equal(restore.isMissing('ram', present[20]!), true);
    await Promise.all([
      restore.runBackground(),
      restore.demand('ram', [present[20]!, present[21]!]),
      restore.demand('ram', [present[21]!, present[6]!]),
    ]);
    assert.equal(restore.missingPages, 0);
    assert.equal(snapshotHash(empty.truth()), snapshotHash(guest.truth()));
    const recorded = restore.recordedWorkingSet()['ram']!;
    assert.deepEqual([...recorded], [...present.subarray(0, 5), present[20]!, present[21]!, present[6]!]);
  });

  test('while the store fails the demand waits and says so; then it goes on', async () => {
    const { empty, store, host } = await prepare();
    const reader = await openCheckpoint(store, 'vm', { pool });
    const events: string[] = [];
    const restore = new LazyRestore(reader, {
      deliver: into(empty),
      host,
      onStall: ({ kind }) => events.push(kind),
    });
    let failures = 3;
    store.plan = () => (failures-- > 0 ? { kind: 'refused' } : undefined);
    const [page] = reader.present('ram');
    await restore.demand('ram', [page!]);
    assert.deepEqual(events, ['stalled', 'stalled', 'stalled', 'resumed']);
    assert.equal(restore.isMissing('ram', page!), false);
  });

  test('a page that the guest overwrote meanwhile is not delivered', async () => {
    const { empty, store, host } = await prepare();
    const reader = await openCheckpoint(store, 'vm', { pool });
    const delivered: number[] = [];
    const restore = new LazyRestore(reader, {
      deliver: ({ indexes, space }) => {
        if (space === 'ram') delivered.push(...indexes);
      },
      host,
    });
    const [first, second] = reader.present('ram');
    const running = restore.demand('ram', [first!, second!]);
    restore.discard('ram', first!);
    await running;
    assert.deepEqual(delivered, [second]);
    assert.ok(empty.spaces.length > 0);
  });

  test('damage is thrown by name', async () => {
    const { empty, store, host } = await prepare();
    const reader = await openCheckpoint(store, 'vm', { pool });
    for (const { key } of (await store.list(packsPrefix('vm'))).objects) await store.delete([key]);
    const restore = new LazyRestore(reader, { deliver: into(empty), host });
    await assert.rejects(restore.runBackground(), (error) => isStorageError(error, 'CHECKPOINT_DAMAGED'));
  });
});

test('a checkpoint goes from a store into a file, and into another store', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-export-'));
  try {
    const { guest, store } = await prepare();
    const path = join(folder, 'vm.ckpt');
    let last = 0;
    const reader = await openCheckpoint(store, 'vm', { pool });
    await exportCheckpointFile(reader, path, { onProgress: ({ donePages }) => (last = donePages) });
    assert.ok(last > 0);
    assert.equal(snapshotHash(await readCheckpointFile(path)), snapshotHash(guest.truth()));
    const other = new MemoryStore();
    const { id } = await importCheckpointFile(other, await raiseEpoch(other, 'copy', { owner: 'b' }), path, {
      pool,
    });
    const copy = await openCheckpoint(other, 'copy', { id, pool });
    assert.equal(await copy.contentHash(), await reader.contentHash());
    await store.delete((await store.list(packsPrefix('vm'))).objects.map(({ key }) => key));
    const broken = await openCheckpoint(store, 'vm', { pool, acceptOlder: true }).catch(() => undefined);
    assert.equal(broken, undefined);
    assert.deepEqual(await readdir(folder), ['vm.ckpt']);
  } finally {
    await rm(folder, { recursive: true });
  }
});
