/** Forks share what they begin with, for as long as anybody needs it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { isStorageError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { deleteVm, raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { CheckpointKey } from '../encryption.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { forkVm } from './fork.ts';
import type { CheckpointId } from './keys.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { verifyCheckpoint } from './verify.ts';
import { readWorkingSet, saveWorkingSet } from './working-set.ts';
import { CheckpointWriter } from './writer.ts';

const onlyNewest = { keepLast: 1, rules: [] };
/** Longer than a fork that was begun is believed to be under way. */
const longMs = 3_600_000;

/** The real host, but for its clock. */
class ClockHost implements StorageHost {
  #nowMs = systemHost.wallClockMs();
  random = systemHost.random;
  sleep = systemHost.sleep;
  monotonicMs = systemHost.monotonicMs;
  wallClockMs = (): number => this.#nowMs;
  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

describe('forks', () => {
  let pool: PagePool;
  before(() => {
    pool = new PagePool({ threads: 1 });
  });
  after(() => pool.close());

  /** A VM with some checkpoints; gives what its guest is at the last. */
  async function makeVm(
    store: ObjectStore,
    vmId: string,
    key?: CheckpointKey,
  ): Promise<{ guest: Guest; writer: CheckpointWriter; hash: string }> {
    const guest = new Guest({ seed: 5, ramPages: 400, diskPages: 40 }).run(300);
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, vmId, { owner: 'a', key }), {
      pool,
      key,
      fullMapEvery: 3,
    });
    for (let i = 0; i < 5; i++) await writer.write(guest.run(20).snapshot());
    return { guest, writer, hash: snapshotHash(guest.truth()) };
  }

  const hashOf = async (
    store: ObjectStore,
    vmId: string,
    id?: CheckpointId,
    key?: CheckpointKey,
  ): Promise<string | undefined> =>
    (await verifyCheckpoint(await openCheckpoint(store, vmId, { pool, key, ...(id && { id }) }))).contentHash;

  const keysOf = async (store: ObjectStore, prefix: string): Promise<string[]> =>
    (await store.list(prefix)).objects.map(({ key }) => key);

  test('begin where their parent was, store no page, and go their own way', async () => {
    const store = new MemoryStore();
    const { guest, writer, hash } = await makeVm(store, 'parent');
    await saveWorkingSet(store, 'parent', { ram: Uint32Array.of(3, 1) });
    const fork = await forkVm(store, 'parent', 'child', { owner: 'b', pool });
    assert.deepEqual([fork.from, fork.id], [writer.last, { epoch: 1, sequence: 1 }]);
    assert.ok(fork.sharedPages > 100 && fork.storedBytes < 20_000, JSON.stringify(fork));
    assert.deepEqual(await keysOf(store, 'vms/child/packs/'), []);
    assert.deepEqual(await readWorkingSet(store, 'child', undefined), { ram: Uint32Array.of(3, 1) });
    assert.equal(await hashOf(store, 'child'), hash);
    // Both go on.
    const ownership = await raiseEpoch(store, 'child', { owner: 'b' });
    assert.deepEqual(ownership.resumeFrom, fork.id);
    const reader = await openCheckpoint(store, 'child', { pool });
    const other = new Guest({ seed: 9, ramPages: 400, diskPages: 40 }).load(await reader.readSnapshot());
    const second = await CheckpointWriter.open(store, ownership, { pool, fullMapEvery: 3 });
    for (let i = 0; i < 8; i++) {
      await second.write(other.run(5).snapshot({ full: i === 0 }));
      await writer.write(guest.run(5).snapshot());
    }
    assert.equal(await hashOf(store, 'child'), snapshotHash(other.truth()));
    assert.equal(await hashOf(store, 'parent'), snapshotHash(guest.truth()));
  });

  test('the state may be changed on the way', async () => {
    const store = new MemoryStore();
    await makeVm(store, 'parent');
    const change = <T extends { description: unknown }>(state: T): T => ({
      ...state,
      description: 'another',
    });
    await forkVm(store, 'parent', 'child', { owner: 'b', pool, change });
    assert.equal((await openCheckpoint(store, 'child', { pool })).state.description, 'another');
  });

  test('keep what they share, whatever becomes of their parent, until the last is gone', async () => {
    const [store, host] = [new MemoryStore(), new ClockHost()];
    const collect = (vmId: string) => collectGarbage(store, vmId, { policy: onlyNewest, host });
    const { guest, writer, hash } = await makeVm(store, 'parent');
    for (const child of ['one', 'two']) await forkVm(store, 'parent', child, { owner: 'b', pool, host });
    host.advance(longMs);
    // Everything of the parent changes, and its old packs would go.
    for (let i = 0; i < 8; i++) await writer.write(guest.run(300).snapshot());
    const report = await collect('parent');
    assert.ok(report.removed.length > 0, report.skipped);
    for (const child of ['one', 'two']) assert.equal(await hashOf(store, child), hash);
    await collect('one');
    await deleteVm(store, 'parent', { owner: 'b' });
    await collect('parent');
    assert.deepEqual(await keysOf(store, 'vms/parent/manifests/'), []);
    for (const child of ['one', 'two']) assert.equal(await hashOf(store, child), hash);
    await deleteVm(store, 'one', { owner: 'b' });
    for (const vmId of ['one', 'parent']) await collect(vmId);
    assert.equal(await hashOf(store, 'two'), hash);
    assert.deepEqual(await keysOf(store, 'vms/parent/forks/'), ['vms/parent/forks/two']);
    await deleteVm(store, 'two', { owner: 'b' });
    assert.deepEqual((await collect('two')).parents, ['parent']);
    assert.deepEqual(await keysOf(store, 'vms/parent/forks/'), []);
    await collect('parent');
    assert.deepEqual(
      await keysOf(store, 'vms/'),
      ['one', 'parent', 'two'].map((vmId) => `vms/${vmId}/owner`),
    );
  });

  test('of a fork of a fork need none of those between', async () => {
    const [store, host] = [new MemoryStore(), new ClockHost()];
    const key = new CheckpointKey(new Uint8Array(32).fill(7));
    const { hash } = await makeVm(store, 'vm0', key);
    for (let i = 1; i <= 20; i++) {
      await forkVm(store, `vm${i - 1}`, `vm${i}`, { owner: 'b', pool, key, host });
      host.advance(longMs);
      if (i === 1) continue;
      await deleteVm(store, `vm${i - 1}`, { owner: 'b' });
      await collectGarbage(store, `vm${i - 1}`, { host });
    }
    await collectGarbage(store, 'vm0', { host, key, policy: onlyNewest });
    assert.equal(await hashOf(store, 'vm20', undefined, key), hash);
    await assert.rejects(hashOf(store, 'vm20'), (error) => isStorageError(error, 'KEY_NEEDED'));
    assert.deepEqual(await keysOf(store, 'vms/vm0/forks/'), ['vms/vm0/forks/vm20']);
  });

  test('take an older checkpoint, no name that is in use, and no parent that is not there', async () => {
    const store = new MemoryStore();
    const { guest, writer, hash } = await makeVm(store, 'parent');
    const { last } = writer;
    await writer.write(guest.run(20).snapshot());
    await forkVm(store, 'parent', 'child', { owner: 'b', pool, id: last! });
    assert.equal(await hashOf(store, 'child'), hash);
    const refused = async (
      parent: string,
      child: string,
      code: Parameters<typeof isStorageError>[1],
      id?: CheckpointId,
    ) => {
      const before = await keysOf(store, 'vms/');
      await assert.rejects(forkVm(store, parent, child, { owner: 'b', pool, ...(id && { id }) }), (error) =>
        isStorageError(error, code),
      );
      assert.deepEqual(await keysOf(store, 'vms/'), before);
    };
    await refused('parent', 'child', 'FENCED');
    await refused('nobody', 'new', 'VM_UNKNOWN');
    await refused('parent', 'new', 'CHECKPOINT_NOT_FOUND', { epoch: 9, sequence: 9 });
    await deleteVm(store, 'parent', { owner: 'b' });
    await refused('parent', 'new', 'VM_DELETED');
    // A name is free again when its VM was deleted.
    await deleteVm(store, 'child', { owner: 'b' });
    await makeVm(store, 'again');
    await forkVm(store, 'again', 'child', { owner: 'b', pool });
    assert.deepEqual((await openCheckpoint(store, 'child', { pool })).id, { epoch: 3, sequence: 1 });
  });

  /** Runs `between` before the n-th operation of the store; says whether there were so many. */
  function interrupted(
    store: ObjectStore,
    n: number,
    between: () => Promise<unknown>,
  ): { store: ObjectStore; reached: () => boolean } {
    let count = 0;
    const proxy = new Proxy(store, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (typeof member !== 'function') return member;
        return async (...words: unknown[]) => {
          if (count++ === n) await between();
          return (member as (...words: unknown[]) => unknown).apply(target, words);
        };
      },
    });
    return { store: proxy, reached: () => count > n };
  }

  for (const first of ['fork', 'collector'] as const)
    test(`a collector at any moment of a fork takes nothing from it (the ${first} is interrupted)`, async () => {
      let whole = 0;
      for (let n = 0, more = true; more; n++) {
        const store = new MemoryStore();
        const { guest, writer, hash } = await makeVm(store, 'parent');
        const { last } = writer;
        for (let i = 0; i < 4; i++) await writer.write(guest.run(250).snapshot());
        const fork = (on: ObjectStore) =>
          forkVm(on, 'parent', 'child', { owner: 'b', pool, id: last! }).catch((error: unknown) => error);
        const collect = (on: ObjectStore) => collectGarbage(on, 'parent', { policy: onlyNewest });
        let made: unknown;
        const run = interrupted(store, n, async () =>
          first === 'fork' ? await collect(store) : (made = await fork(store)),
        );
        if (first === 'fork') made = await fork(run.store);
        else await collect(run.store);
        more = run.reached();
        if (!more && first === 'collector') made = await fork(store);
        // Refused, or whole: never a VM that lacks something.
        if (made instanceof Error) assert.ok(isStorageError(made, 'CHECKPOINT_NOT_FOUND'), String(made));
        else {
          whole++;
          await collect(store);
          assert.equal(await hashOf(store, 'child'), hash, `interrupted at ${n}`);
        }
        assert.equal(await hashOf(store, 'parent'), snapshotHash(guest.truth()));
      }
      assert.ok(whole > 5, String(whole));
    });

  test('a fork that is tried again by the same owner, while it is made or after that died, is made once', async () => {
    let fenced = 0;
    for (let n = 0, more = true; more; n++) {
      const store = new MemoryStore();
      const { hash } = await makeVm(store, 'parent');
      const fork = (on: ObjectStore) =>
        forkVm(on, 'parent', 'child', { owner: 'b', pool }).catch((error: unknown) => error);
      let again: unknown;
      const run = interrupted(store, n, async () => (again = await fork(store)));
      const made = await fork(run.store);
      more = run.reached();
      const results = more ? [made, again] : [made];
      const refused = results.filter((each) => each instanceof Error);
      for (const each of refused) assert.ok(isStorageError(each, 'FENCED'), String(each));
      fenced += refused.length;
      assert.ok(refused.length < results.length, `interrupted at ${String(n)}`);
      assert.equal(await hashOf(store, 'child'), hash, `interrupted at ${String(n)}`);
    }
    assert.ok(fenced > 5, String(fenced));
  });

  test('a fork that dies at any moment keeps nothing for ever', async () => {
    for (let n = 0, more = true; more; n++) {
      const [store, host] = [new MemoryStore(), new ClockHost()];
      const { writer, guest } = await makeVm(store, 'parent');
      const run = interrupted(
        store,
        n,
        () =>
          new Promise<never>((_, reject) => {
            reject(new Error('killed'));
          }),
      );
      const never = Symbol('never');
      const died = await Promise.race([
        forkVm(run.store, 'parent', 'child', { owner: 'b', pool, host }).catch(() => never),
      ]);
      more = run.reached();
      for (let i = 0; i < 4; i++) await writer.write(guest.run(250).snapshot());
      host.advance(longMs);
      if (died === never) await deleteVm(store, 'child', { owner: 'c' });
      for (const vmId of ['child', 'parent']) await collectGarbage(store, vmId, { policy: onlyNewest, host });
      if (died === never) assert.deepEqual(await keysOf(store, 'vms/parent/forks/'), []);
      assert.equal(await hashOf(store, 'parent'), snapshotHash(guest.truth()));
    }
  });
});
