/** The inspector: lists, sizes, differences and maps of checkpoints. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { importBaseImage } from '../checkpoint/base-image.ts';
import { packsPrefix } from '../checkpoint/keys.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { CheckpointReader, openCheckpoint } from '../checkpoint/reader.ts';
import { saveWorkingSet } from '../checkpoint/working-set.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { diffCheckpoints, diffFields, type FieldDiff } from './diff.ts';
import { listCheckpoints } from './list.ts';
import {
  classifyPages,
  pageChanged,
  pageCleared,
  pageShared,
  pageUnchanged,
  pageZero,
  placePages,
} from './pages.ts';
import { summarizeCheckpoint } from './show.ts';
import { verifyCheckpoint } from '../checkpoint/verify.ts';

const pool = new PagePool({ threads: 0 });

/** Two checkpoints of a guest with 8 pages: 1 and 2 equal, 3 changed to "later", 5 with text across the border to 6. */
async function twoCheckpoints(): Promise<{
  store: MemoryStore;
  first: CheckpointReader;
  second: CheckpointReader;
}> {
  const store = new MemoryStore();
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ ramPages: 8, diskPages: 0 });
  const ram = guest.spaces[0]!;
  const write = (text: string, at: number): void => {
    ram.bytes.set(Buffer.from(text), at);
    ram.dirty.add(at >> 12).add((at + text.length - 1) >> 12);
  };
  write('same', 4096);
  write('same', 8192);
  write('first', 3 * 4096);
  write('border crossing', 6 * 4096 - 6);
  await writer.write(guest.snapshot());
  guest.instructions += 500n;
  write('later', 3 * 4096);
  await writer.write(guest.snapshot());
  const at = (sequence: number): Promise<CheckpointReader> =>
    openCheckpoint(store, 'vm', { id: { epoch: 1, sequence }, pool });
  return { store, first: await at(1), second: await at(2) };
}

describe('the inspector', () => {
  test('lists checkpoints with their heads, and names damaged ones', async () => {
    const { store } = await twoCheckpoints();
    const listed = await listCheckpoints(store, 'vm');
    assert.deepEqual(
      listed.map(({ id, newest, damaged, head }) => [id.sequence, newest, damaged, head?.map]),
      [
        [1, false, undefined, 'full'],
        [2, true, undefined, 'delta'],
      ],
    );
    await store.put('vms/vm/manifests/0000000001-0000000002', Buffer.from('torn'));
    const [intact, damaged] = await listCheckpoints(store, 'vm', { check: true });
    assert.deepEqual([intact!.newest, intact!.damaged, damaged!.newest], [true, undefined, false]);
    assert.match(damaged!.damaged!, /manifests\/0000000001-0000000002: it is torn/);
  });

  test('summarises sizes, ratios and the chain', async () => {
    const { store, second } = await twoCheckpoints();
    await saveWorkingSet(store, 'vm', { ram: new Uint32Array([3, 1]) });
    const summary = await summarizeCheckpoint(second);
    assert.deepEqual(summary.chain, ['1-1', '1-2']);
    const { storedPages, distinctPages, zeroPages } = summary.spaces[0]!;
    assert.deepEqual([storedPages, distinctPages, zeroPages], [5, 4, 3]);
    assert.equal(summary.ratios.dedup, 5 / 4);
    assert.ok(summary.ratios.compression > 10);
    assert.deepEqual([summary.sizes.logical, summary.workingSetPages], [8 * 4096, 2]);
    assert.deepEqual(summary.devices, [{ name: 'pic-8259a', version: 1 }]);
  });

  test('tells what changed, page by page and field by field', async () => {
    const { first, second } = await twoCheckpoints();
    const diff = await diffCheckpoints(first, second);
    assert.deepEqual(diff.spaces, [
      { name: 'ram', pageSize: 4096, changedPages: 1, ranges: [{ first: 3, count: 1 }] },
    ]);
    assert.equal(diff.instructions, 500n);
    assert.deepEqual(
      diff.fields.map(({ path }) => path),
      ['cpus.0.rip', 'devices.pic-8259a.state.irr'],
    );
  });

  test('fields that appear or vanish are told, and byte arrays are leaves', () => {
    const found: FieldDiff[] = [];
    const bytes = new Uint8Array([1]);
    diffFields('', { a: 1, b: [1, 2], c: bytes }, { b: [1, 3], c: new Uint8Array([1]), d: 4n }, found);
    assert.deepEqual(found, [
      { path: 'a', before: 1, after: undefined },
      { path: 'b.1', before: 2, after: 3 },
      { path: 'd', before: undefined, after: 4n },
    ]);
  });

  test('maps pages by kind', async () => {
    const { first, second } = await twoCheckpoints();
    const { kinds, totals } = await classifyPages(second, 'ram', first);
    assert.deepEqual(
      [...kinds],
      [pageZero, pageShared, pageShared, pageChanged, pageZero, pageUnchanged, pageUnchanged, pageZero],
    );
    assert.deepEqual(totals, [3, 2, 1, 2]);
  });

  test('places pages by where they are stored, against another checkpoint and alone', async () => {
    const { first, second } = await twoCheckpoints();
    const { kinds } = await classifyPages(second, 'ram', first);
    const expected = [...kinds].map((kind) => (kind === pageShared ? pageUnchanged : kind));
    assert.deepEqual([...placePages(second, 'ram', first)], expected);
    const alone = expected.map((kind) => (kind === pageChanged ? pageUnchanged : kind));
    assert.deepEqual([...placePages(second, 'ram')], alone);
  });

  test('tells pages that became zero from those that were', async () => {
    const store = new MemoryStore();
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), {
      pool,
    });
    const guest = new Guest({ ramPages: 3, diskPages: 0 });
    const ram = guest.spaces[0]!;
    ram.bytes.fill(1, 4096, 8192);
    ram.dirty.add(1);
    await writer.write(guest.snapshot());
    ram.bytes.fill(0);
    ram.dirty.add(1);
    guest.instructions += 1n;
    await writer.write(guest.snapshot());
    const [first, second] = await Promise.all(
      [1, 2].map((sequence) => openCheckpoint(store, 'vm', { id: { epoch: 1, sequence }, pool })),
    );
    assert.deepEqual([...placePages(second!, 'ram', first)], [pageZero, pageCleared, pageZero]);
  });

  test('verifies every page, and names the damaged object', async () => {
    const { store, second } = await twoCheckpoints();
    let last = 0;
    const good = await verifyCheckpoint(second, { onProgress: ({ donePages }) => (last = donePages) });
    assert.deepEqual([good.intact, good.pages, last], [true, 5, 5]);
    assert.equal(good.contentHash, await second.contentHash());
    const { objects } = await store.list(packsPrefix('vm'));
    const { key } = objects[0]!;
    const { body } = (await store.get(key))!;
    body[body.length - 3]! ^= 1;
    await store.put(key, body);
    const reader = await CheckpointReader.load(store, 'vm', second.id, { pool, cacheBytes: 0 });
    const bad = await verifyCheckpoint(reader);
    assert.equal(bad.intact, false);
    assert.ok(bad.damaged.every((line) => line.includes(key)));
    assert.equal(bad.damaged.length, 1);
  });

  test('pages of a base image count as shared', async () => {
    const store = new MemoryStore();
    await importBaseImage(store, 'base', [new Uint8Array(4096 * 2).fill(3)], { pool });
    const ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
    const writer = await CheckpointWriter.open(store, ownership, { pool, bases: { ram: 'base' } });
    await writer.write(new Guest({ ramPages: 4, diskPages: 0 }).snapshot());
    const reader = await openCheckpoint(store, 'vm', { pool });
    assert.deepEqual(
      [...(await classifyPages(reader, 'ram')).kinds],
      [pageShared, pageShared, pageZero, pageZero],
    );
    assert.equal((await summarizeCheckpoint(reader)).spaces[0]!.basePages, 4);
  });
});
