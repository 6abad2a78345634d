/** Checkpoints that are written are read again, full and as deltas, plain and encrypted. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { CheckpointKey } from '../encryption.ts';
import { isStorageError } from '../errors.ts';
import { systemHost } from '../host.ts';
import { raiseEpoch } from '../ownership.ts';
import type { MachineSnapshot } from '../snapshot.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { listAll } from '../store/object-store.ts';
import { importBaseImage } from './base-image.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { CheckpointWriter, type WriterOptions } from './writer.ts';

const inline = new PagePool({ threads: 0 });

async function open(store: MemoryStore, options: WriterOptions = {}): Promise<CheckpointWriter> {
  const ownership = await raiseEpoch(store, 'vm1', { owner: 'node-a', key: options.key });
  return CheckpointWriter.open(store, ownership, { pool: inline, ...options });
}

async function keys(store: MemoryStore, prefix: string): Promise<string[]> {
  const found = [];
  for await (const { key } of listAll(store, prefix)) found.push(key);
  return found;
}

/** A whole space as its bytes. */
function flat({ pageSize, pageCount, indexes, bytes }: MachineSnapshot['spaces'][number]): Uint8Array {
  const whole = new Uint8Array(pageSize * pageCount);
  indexes.forEach((page, n) => whole.set(bytes.subarray(n * pageSize, (n + 1) * pageSize), page * pageSize));
  return whole;
}

describe('writing and reading checkpoints', () => {
  for (const [name, key] of [
    ['plain', undefined],
    ['encrypted', new CheckpointKey(new Uint8Array(32).fill(7))],
  ] as const) {
    test(`each of many ${name} checkpoints restores to exactly what was written`, async () => {
      const store = new MemoryStore();
      const writer = await open(store, { key, fullMapEvery: 5 });
      const guest = new Guest({ seed: 3 }).run(100);
      const truths = new Map<number, MachineSnapshot>();
      for (let i = 1; i <= 12; i++) {
        truths.set(i, guest.truth());
        const written = await writer.write(guest.snapshot());
        assert.deepEqual(written.id, { epoch: 1, sequence: i });
        guest.run(10);
      }
      for (const [sequence, truth] of truths) {
        const reader = await openCheckpoint(store, 'vm1', { id: { epoch: 1, sequence }, key, pool: inline });
        assert.deepEqual(await reader.readSnapshot(), truth);
        assert.equal(await reader.contentHash(), snapshotHash(truth));
      }
      const newest = await openCheckpoint(store, 'vm1', { key, pool: inline });
      assert.equal(newest.id.sequence, 12);
    });
  }

  test('what changed between two checkpoints, put onto the earlier, is the later', async () => {
    const store = new MemoryStore();
    const writer = await open(store, { fullMapEvery: 3 });
    const guest = new Guest({ seed: 11 }).run(100);
    const truths: MachineSnapshot[] = [];
    for (let i = 0; i < 8; i++) {
      truths.push(guest.truth());
      await writer.write(guest.snapshot());
      guest.run(7);
    }
    const at = (sequence: number): ReturnType<typeof openCheckpoint> =>
      openCheckpoint(store, 'vm1', { id: { epoch: 1, sequence }, pool: inline });
    for (const [from, to] of [
      [1, 2],
      [2, 7],
      [1, 8],
      [5, 5],
      [6, 4],
    ] as const) {
      const changes = await (await at(to)).readChanges(await at(from));
      const { spaces, ...state } = truths[to - 1]!;
      assert.deepEqual({ ...changes, spaces: [] }, { ...state, spaces: [] });
      for (const [n, { name, indexes, bytes, full }] of changes.spaces.entries()) {
        const { pageSize, pageCount } = spaces[n]!;
        const whole = flat(truths[from - 1]!.spaces[n]!);
        indexes.forEach((page, k) =>
          whole.set(bytes.subarray(k * pageSize, (k + 1) * pageSize), page * pageSize),
        );
        assert.equal(full, false);
        assert.deepEqual(whole, flat(spaces[n]!), name);
        assert.ok(indexes.length < (from === to ? 1 : pageCount), `${name}: ${String(indexes.length)} pages`);
      }
    }
  });

  test('the newest pages are those of the last checkpoints, as many of these as fit', async () => {
    const store = new MemoryStore();
    const writer = await open(store, { fullMapEvery: 3 });
    const guest = new Guest({ seed: 11 }).run(100);
    const written: number[][] = [];
    for (let i = 0; i < 5; i++) {
      const snapshot = guest.snapshot();
      const { full, indexes } = snapshot.spaces[0]!;
      assert.equal(full, i === 0);
      written.push([...indexes]);
      await writer.write(snapshot);
      guest.run(7);
    }
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    const present = new Set(reader.present('ram'));
    // A page whose content was stored before lies where that lies.
    let before = new Set<number>();
    let steps = 0;
    for (let most = 0; most <= present.size; most++) {
      const newest = new Set(reader.newest('ram', most));
      assert.ok(newest.size <= most && [...before].every((page) => newest.has(page)), String(most));
      if (newest.size > 0 && before.size === 0)
        for (const page of newest) assert.ok(written.at(-1)!.includes(page), String(page));
      if (newest.size > before.size) steps++;
      before = newest;
    }
    assert.ok(steps >= 3, String(steps));
    assert.equal(reader.newest('ram', 1_000_000).length, present.size);
  });

  test('an encrypted store shows nothing of the guest, and opens with its key only', async () => {
    const store = new MemoryStore();
    const key = new CheckpointKey(new Uint8Array(32).fill(9));
    const writer = await open(store, { key });
    const guest = new Guest();
    const secret = Buffer.from('the guest knows a secret that is long enough to be found');
    guest.spaces[0]!.bytes.set(secret, 4096 * 5);
    await writer.write(guest.snapshot());
    for await (const { key: name } of listAll(store, ''))
      assert.equal(Buffer.from((await store.get(name))!.body).indexOf('secret'), -1, name);
    await assert.rejects(openCheckpoint(store, 'vm1'), (error) => isStorageError(error, 'KEY_NEEDED'));
    const wrong = new CheckpointKey(new Uint8Array(32).fill(8));
    await assert.rejects(openCheckpoint(store, 'vm1', { key: wrong }), (error) =>
      isStorageError(error, 'KEY_WRONG'),
    );
    const plain = await openCheckpoint(store, 'vm1', { key, pool: inline });
    const page = await plain.readPages('ram', new Uint32Array([5]));
    assert.equal(Buffer.from(page).indexOf('secret'), secret.indexOf('secret'));
  });

  test('zero pages and contents seen before are not stored again', async () => {
    const store = new MemoryStore();
    const writer = await open(store);
    const guest = new Guest({ diskPages: 0 });
    const [ram] = guest.spaces;
    ram!.bytes.fill(1, 0, 4096);
    ram!.bytes.fill(1, 4096, 8192);
    const first = await writer.write(guest.snapshot());
    assert.deepEqual([first.counts.storedPages, first.counts.sharedPages], [1, 1]);
    ram!.bytes.copyWithin(3 * 4096, 0, 4096);
    ram!.bytes.fill(0, 0, 4096);
    ram!.dirty.add(0).add(3);
    const second = await writer.write(guest.snapshot());
    assert.deepEqual(
      [second.counts.storedPages, second.counts.sharedPages, second.counts.zeroPages, second.counts.packs],
      [0, 1, 1, 0],
    );
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    assert.deepEqual([...reader.present('ram')], [1, 3]);
    assert.deepEqual(await reader.readSnapshot(), guest.truth());
  });

  test('a new owner goes on from the newest checkpoint, with deltas', async () => {
    const store = new MemoryStore();
    const guest = new Guest({ seed: 8 }).run(50);
    await (await open(store)).write(guest.snapshot());
    const second = await open(store);
    assert.deepEqual(second.last, { epoch: 1, sequence: 1 });
    guest.run(5);
    const written = await second.write(guest.snapshot());
    assert.deepEqual([written.id, written.map], [{ epoch: 2, sequence: 2 }, 'delta']);
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    assert.deepEqual(await reader.readSnapshot(), guest.truth());
  });

  test('a delta of a space that no checkpoint has is refused', async () => {
    const writer = await open(new MemoryStore());
    await assert.rejects(writer.write(new Guest().run(3).snapshot({ full: false })), (error) =>
      isStorageError(error, 'SNAPSHOT_INVALID'),
    );
  });

  test('a disk on a base image stores only what differs from it', async () => {
    const store = new MemoryStore();
    const image = new Uint8Array(32 * 512 - 100);
    for (let i = 0; i < image.length; i++) image[i] = i >> 10;
    await importBaseImage(store, 'debian', [image.subarray(0, 7777), image.subarray(7777)], {
      pageSize: 512,
      pool: inline,
    });
    const writer = await open(store, { bases: { disk0: 'debian' } });
    const guest = new Guest({ seed: 4, ramPages: 4 });
    const disk = guest.spaces[1]!;
    const snapshot = guest.snapshot();
    disk.bytes.set(image);
    snapshot.spaces[1] = {
      ...snapshot.spaces[1]!,
      indexes: new Uint32Array([3, 9]),
      bytes: new Uint8Array(1024).fill(5, 0, 512),
    };
    disk.bytes.fill(5, 3 * 512, 4 * 512).fill(0, 9 * 512, 10 * 512);
    const written = await writer.write(snapshot);
    assert.deepEqual([written.counts.storedPages, written.counts.zeroPages], [1, 1]);
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    assert.deepEqual((await reader.readSnapshot()).spaces[1], guest.truth().spaces[1]);
    assert.equal(await reader.contentHash(), snapshotHash(guest.truth()));
    const over = (await reader.readSnapshot({ onBase: true })).spaces[1]!;
    assert.deepEqual([...over.indexes], [3, 9]);
    assert.equal(over.onBase, true);
    assert.deepEqual(over.bytes, new Uint8Array(1024).fill(5, 0, 512));
  });

  test('a space on a base image that the writer does not know is refused, and the reverse', async () => {
    const snapshot = new Guest({ seed: 4, ramPages: 4 }).snapshot();
    const writer = await open(new MemoryStore());
    snapshot.spaces[1]!.onBase = true;
    await assert.rejects(writer.write(snapshot), (error) => isStorageError(error, 'SNAPSHOT_INVALID'));
    const other = await open(new MemoryStore(), { bases: { disk0: 'debian' } });
    snapshot.spaces[1]!.onBase = false;
    await assert.rejects(other.write(snapshot), (error) => isStorageError(error, 'SNAPSHOT_INVALID'));
  });

  test('a base image never changes under its name', async () => {
    const store = new MemoryStore();
    const first = await importBaseImage(store, 'b', [new Uint8Array(9000).fill(1)], { pool: inline });
    const again = await importBaseImage(store, 'b', [new Uint8Array(9000).fill(1)], { pool: inline });
    assert.deepEqual(again, first);
    const objects = await keys(store, 'bases/');
    await assert.rejects(
      importBaseImage(store, 'b', [new Uint8Array(9000).fill(2)], { pool: inline }),
      (error) => isStorageError(error, 'BAD_ARGUMENT'),
    );
    assert.deepEqual(await keys(store, 'bases/'), objects);
  });

  test('a page whose pack is gone is not mistaken for one of a later pack', async () => {
    const store = new MemoryStore();
    const writer = await open(store);
    const write = async (full: boolean, page?: number, value = 0): Promise<void> => {
      const indexes = Uint32Array.from(page === undefined ? [] : [page]);
      const bytes = new Uint8Array(indexes.length * 4096).fill(value);
      const ram = { name: 'ram', pageSize: 4096, pageCount: 4, full, indexes, bytes };
      const state = { description: {}, cpus: [], devices: {}, instructions: 0n, virtualTimeNs: 0n };
      await writer.write({ ...state, spaces: [ram] });
    };
    await write(true, 0, 1);
    await write(false, 1, 2);
    // The newest pack holds nothing any more, and the next checkpoint stores nothing.
    await write(false, 1, 0);
    await write(false);
    await write(false, 2, 3);
    await write(false, 3, 2);
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    const bytes = await reader.readPages('ram', Uint32Array.of(0, 1, 2, 3));
    assert.deepEqual(
      [0, 1, 2, 3].map((page) => bytes[page * 4096]),
      [1, 0, 3, 2],
    );
  });

  test('an import over a VM on a base image: what it does not list is zero', async () => {
    const store = new MemoryStore();
    await importBaseImage(store, 'image', [new Uint8Array(4 * 4096).fill(9)], { pool: inline });
    const state = { description: {}, cpus: [], devices: {}, instructions: 0n, virtualTimeNs: 0n };
    const disk = { name: 'disk', pageSize: 4096, pageCount: 4, full: true };
    const page = { indexes: Uint32Array.of(0), bytes: new Uint8Array(4096).fill(1) };
    const onImage = await open(store, { bases: { disk: 'image' } });
    await onImage.write({ ...state, spaces: [{ ...disk, ...page, onBase: true }] });
    const imported = await open(store);
    await imported.write({ ...state, spaces: [{ ...disk, ...page }] });
    const reader = await openCheckpoint(store, 'vm1', { pool: inline });
    const bytes = await reader.readPages('disk', Uint32Array.of(0, 1, 2, 3));
    assert.deepEqual(
      [0, 1, 2, 3].map((index) => bytes[index * 4096]),
      [1, 0, 0, 0],
    );
  });

  for (const [what, newer] of [
    ['torn pack', 6],
    ['damaged resume point', 0],
  ] as const)
    test(`the collector takes nothing that a takeover or a restore needs: ${what}`, async () => {
      const store = new MemoryStore();
      const policy = { keepLast: 2, rules: [] };
      const guest = new Guest({ seed: 5 }).run(100);
      let writer = await open(store, { fullMapEvery: 2 });
      await writer.write(guest.snapshot());
      guest.run(10);
      await writer.write(guest.snapshot());
      if (newer === 0) writer = await open(store);
      const [key = ''] = (await keys(store, newer > 0 ? 'vms/vm1/packs/' : 'vms/vm1/manifests/')).slice(-1);
      const { body } = (await store.get(key))!;
      const damaged = body.slice(0, newer > 0 ? -5 : undefined);
      damaged[damaged.length - 40]! ^= 1;
      await store.put(key, damaged);
      for (let n = 0; n < newer; n++) {
        guest.run(1);
        await writer.write(guest.snapshot());
      }
      const packs = await keys(store, 'vms/vm1/packs/');
      const report = await collectGarbage(store, 'vm1', { policy });
      const left = await keys(store, 'vms/vm1/packs/');
      if (newer === 0) {
        assert.match(report.skipped ?? '', /is being restored from is damaged/);
        assert.deepEqual(left, packs);
      } else {
        assert.deepEqual(report.removed, []);
        assert.deepEqual((await raiseEpoch(store, 'vm1', { owner: 'b' })).resumeFrom, {
          epoch: 1,
          sequence: 1,
        });
      }
    });

  test('large snapshots go through the threads, in packs', async () => {
    const store = new MemoryStore();
    const pool = new PagePool({ threads: 2, maxInFlightBytes: 4 << 20 });
    const writer = await open(store, { pool });
    const guest = new Guest({ seed: 5, ramPages: 3000, diskPages: 0 });
    const [ram] = guest.spaces;
    for (let page = 0; page < 3000; page++) {
      const state = Buffer.from(systemHost.random(2048));
      ram!.bytes.set(state, page * 4096);
    }
    const written = await writer.write(guest.snapshot());
    assert.ok(written.counts.packs > 2);
    const reader = await openCheckpoint(store, 'vm1', { pool });
    assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
    await pool.close();
  });
});
