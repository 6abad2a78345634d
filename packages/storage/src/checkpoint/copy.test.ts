/** Copies of checkpoints in another store are what was copied, bring only what changed, and leave what is another's alone. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { isStorageError } from '../errors.ts';
import { raiseEpoch, readOwner } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { importBaseImage } from './base-image.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { copyBaseImages, copyCheckpoint, type Copy, type CopyOptions } from './copy.ts';
import { sameId } from './keys.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { verifyCheckpoint } from './verify.ts';
import { CheckpointWriter } from './writer.ts';

const onlyNewest = { keepLast: 1, rules: [] };

describe('copies of checkpoints', () => {
  let pool: PagePool;
  before(() => {
    pool = new PagePool({ threads: 1 });
  });
  after(() => pool.close());

  async function makeVm(store: ObjectStore): Promise<{ guest: Guest; writer: CheckpointWriter }> {
    const guest = new Guest({ seed: 7, ramPages: 300, diskPages: 60 }).run(300);
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'web', { owner: 'a' }), {
      pool,
    });
    await writer.write(guest.snapshot());
    return { guest, writer };
  }
  const copy = async (
    from: ObjectStore,
    to: ObjectStore,
    options: Partial<CopyOptions> = {},
  ): Promise<Copy> =>
    copyCheckpoint(await openCheckpoint(from, 'web', { pool }), to, 'web', {
      owner: 'backup',
      pool,
      ...options,
    });
  const hashOf = async (store: ObjectStore): Promise<string | undefined> =>
    (await verifyCheckpoint(await openCheckpoint(store, 'web', { pool }))).contentHash;

  test('bring what changed since the newest, whatever was collected meanwhile', async () => {
    const [store, target] = [new MemoryStore(), new MemoryStore()];
    const { guest, writer } = await makeVm(store);
    const first = await copy(store, target);
    assert.equal(first.copiedPages, first.totalPages);
    assert.equal(await hashOf(target), snapshotHash(guest.truth()));
    const again = await copy(store, target);
    assert.equal(again.copiedPages, 0);
    for (let i = 0; i < 3; i++) await writer.write(guest.run(10).snapshot());
    await collectGarbage(store, 'web', { policy: onlyNewest });
    const second = await copy(store, target);
    assert.ok(second.copiedPages > 0 && second.copiedPages <= 30, String(second.copiedPages));
    assert.equal(await hashOf(target), snapshotHash(guest.truth()));
    const [from, to] = [
      await openCheckpoint(store, 'web', { pool }),
      await openCheckpoint(target, 'web', { pool }),
    ];
    assert.equal(to.head.createdAtMs, from.head.createdAtMs);
    // The first one is a checkpoint too, until it is collected.
    await collectGarbage(target, 'web', { policy: onlyNewest });
    assert.equal(await hashOf(target), snapshotHash(guest.truth()));
    assert.equal((await readOwner(target, 'web'))?.record.state, 'released');
  });

  test('lie on the base images of what was copied', async () => {
    const [store, target] = [new MemoryStore(), new MemoryStore()];
    const image = Buffer.alloc(40 * 4096 - 100, 'what the disk was made from');
    await importBaseImage(store, 'image', [image], { pool });
    const ownership = await raiseEpoch(store, 'web', { owner: 'a' });
    const writer = await CheckpointWriter.open(store, ownership, { pool, bases: { disk0: 'image' } });
    const { spaces: _spaces, ...state } = new Guest({ diskPages: 0 }).snapshot();
    const disk = { name: 'disk0', pageSize: 4096, pageCount: 48 };
    const bytes = Buffer.alloc(2 * 4096);
    bytes.fill('new', 4096);
    // One that is zero though its base is not, and one that is new.
    const written = { full: true, onBase: true, indexes: Uint32Array.of(3, 44), bytes };
    await writer.write({ ...state, spaces: [{ ...disk, ...written }] });
    await assert.rejects(copy(store, target), (error) => isStorageError(error, 'CHECKPOINT_DAMAGED'));
    // A bit that flipped in the only copy there is makes no second one.
    const [packed] = (await store.list('bases/image/packs/')).objects;
    const { body } = (await store.get(packed!.key))!;
    await store.put(packed!.key, body.with(-1, body.at(-1)! ^ 1));
    const copyImages = async (): Promise<void> =>
      copyBaseImages(await openCheckpoint(store, 'web', { pool }), store, target, { pool });
    await assert.rejects(copyImages(), (error) => isStorageError(error, 'CHECKPOINT_DAMAGED'));
    await store.put(packed!.key, body);
    await copyImages();
    const { copiedPages } = await copy(store, target);
    assert.equal(copiedPages, 2);
    assert.equal(await hashOf(target), await hashOf(store));
    const later = { full: false, indexes: Uint32Array.of(5), bytes: Buffer.alloc(4096, 'later') };
    await writer.write({ ...state, spaces: [{ ...disk, ...later }] });
    assert.equal((await copy(store, target)).copiedPages, 1);
    assert.equal(await hashOf(target), await hashOf(store));
  });

  test('leave a VM of somebody else alone', async () => {
    const [store, target] = [new MemoryStore(), new MemoryStore()];
    await makeVm(store);
    const { guest } = await makeVm(target);
    await assert.rejects(copy(store, target), (error) => isStorageError(error, 'FENCED'));
    assert.equal((await readOwner(target, 'web'))?.record.owner, 'a');
    assert.equal(await hashOf(target), snapshotHash(guest.truth()));
  });

  test('that are not what was copied are none', async () => {
    const [store, target] = [new MemoryStore(), new MemoryStore()];
    const { guest, writer } = await makeVm(store);
    let damages = true;
    const damaging = new Proxy(target, {
      get(inner, name) {
        const member = Reflect.get(inner, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...words: unknown[]) => {
          if (name === 'put' && damages && String(words[0]).includes('/packs/')) {
            const body = Buffer.from(words[1] as Uint8Array);
            body[body.length - 1]! ^= 1;
            words[1] = body;
          }
          return (member as (...words: unknown[]) => unknown).apply(inner, words);
        };
      },
    });
    const isDamaged = (error: unknown): boolean => isStorageError(error, 'CHECKPOINT_DAMAGED');
    await assert.rejects(copy(store, damaging, { readBack: true }), isDamaged);
    await assert.rejects(openCheckpoint(target, 'web', { pool }), (error) =>
      isStorageError(error, 'CHECKPOINT_NOT_FOUND'),
    );
    damages = false;
    const { id } = await copy(store, damaging, { readBack: true });
    const before = snapshotHash(guest.truth());
    await writer.write(guest.run(50).snapshot());
    damages = true;
    await assert.rejects(copy(store, damaging, { readBack: true }), isDamaged);
    assert.ok(sameId((await openCheckpoint(target, 'web', { pool })).id, id));
    assert.equal(await hashOf(target), before);
    damages = false;
    await copy(store, damaging, { readBack: true });
    assert.equal(await hashOf(target), snapshotHash(guest.truth()));
  });
});
