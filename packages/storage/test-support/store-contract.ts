/** The suite that every driver passes. Called from the drivers' own test files. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isStoreError, type StoreErrorCode } from '../src/errors.ts';
import { systemHost } from '../src/host.ts';
import { listAll, type ObjectStore } from '../src/store/object-store.ts';
import { probeStore } from '../src/store/probe.ts';
import { checkedRecord, getRecord, putRecord, type CheckedRecord } from '../src/store/records.ts';

const counted = (count: number): CheckedRecord => checkedRecord('a count', { count }, () => true);

export interface ContractOptions {
  /** Opens the store under test. Called again for a second, independent connection to the same contents. */
  open: () => Promise<ObjectStore>;
  /** Further cleaning after the last test. */
  close?: () => Promise<void>;
  skip?: string | false;
}

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString();
const body = (value: string): Uint8Array => Buffer.from(value);
const fails =
  (code: StoreErrorCode) =>
  (error: unknown): boolean =>
    isStoreError(error, code);

/** Defines the contract's tests for one driver. */
export function testStoreContract(name: string, options: ContractOptions): void {
  describe(`${name} keeps the store contract`, { skip: options.skip ?? false }, () => {
    let store: ObjectStore;
    let other: ObjectStore;
    const opened = (): { store: ObjectStore; other: ObjectStore } => ({ store, other });
    before(async () => {
      store = await options.open();
      other = await options.open();
    });
    after(async () => {
      await store.close();
      await other.close();
      await options.close?.();
    });
    testBasics(opened);
    testConditions(opened);
    testListing(opened);
    testRaces(opened);
    testDeletion(opened);
  });
}

type Opened = () => { store: ObjectStore; other: ObjectStore };

function testBasics(opened: Opened): void {
  test('what is put is got, whole and by range', async () => {
    const { store, other } = opened();
    const { version } = await store.put('basic/a', body('hello world'));
    const got = await other.get('basic/a');
    assert.equal(text(got?.body), 'hello world');
    assert.equal(got?.version, version);
    assert.equal(text(await other.getRange('basic/a', 6, 5)), 'world');
    assert.equal(text(await other.getRange('basic/a', 6, 500)), 'world');
    assert.equal((await other.getRange('basic/a', 11, 5))?.length, 0);
    assert.equal((await other.getRange('basic/a', 3, 0))?.length, 0);
  });

  test('what was never put is absent', async () => {
    const { store } = opened();
    assert.equal(await store.get('basic/none'), undefined);
    assert.equal(await store.getRange('basic/none', 0, 10), undefined);
    await store.delete(['basic/none']);
  });

  test('an object is replaced, may be empty, and is removed', async () => {
    const { store, other } = opened();
    await store.put('basic/b', body('one'));
    await store.put('basic/b', new Uint8Array(0), { durable: false });
    await store.flush();
    assert.equal((await other.get('basic/b'))?.body.length, 0);
    await store.delete(['basic/b']);
    assert.equal(await other.get('basic/b'), undefined);
  });

  test('a large object comes back unchanged', async () => {
    const { store, other } = opened();
    const bytes = Buffer.alloc(4 << 20);
    for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
    await store.put('basic/large', bytes, { durable: false });
    assert.ok(bytes.equals((await other.get('basic/large'))!.body));
    assert.ok(
      bytes.subarray(1 << 20, 2 << 20).equals((await other.getRange('basic/large', 1 << 20, 1 << 20))!),
    );
  });

  test('bad keys are refused', async () => {
    const { store } = opened();
    for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/..', '.tmp/x', 'a~', 'a b', 'x'.repeat(513)])
      await assert.rejects(store.put(key, body('x')), fails('BAD_KEY'), key);
  });
}

function testConditions(opened: Opened): void {
  test('ifAbsent succeeds once', async () => {
    const { store, other } = opened();
    await store.put('cond/a', body('first'), { ifAbsent: true });
    await assert.rejects(other.put('cond/a', body('second'), { ifAbsent: true }), fails('CONFLICT'));
    assert.equal(text((await store.get('cond/a'))?.body), 'first');
  });

  test('ifVersion succeeds on the current version only', async () => {
    const { store, other } = opened();
    const first = await store.put('cond/b', body('1'), { ifAbsent: true });
    const second = await other.put('cond/b', body('2'), { ifVersion: first.version });
    await assert.rejects(store.put('cond/b', body('x'), { ifVersion: first.version }), fails('CONFLICT'));
    await store.put('cond/b', body('3'), { ifVersion: second.version });
    assert.equal(text((await other.get('cond/b'))?.body), '3');
    await assert.rejects(store.put('cond/b', body('y'), { ifAbsent: true }), fails('CONFLICT'));
  });

  test('ifVersion on an absent object is a conflict', async () => {
    const { store } = opened();
    const { version } = await store.put('cond/c', body('1'));
    await assert.rejects(store.put('cond/none', body('x'), { ifVersion: version }), fails('CONFLICT'));
  });

  test('a record survives many swaps by two writers', async () => {
    const { store, other } = opened();
    let record = await putRecord(store, systemHost, 'cond/record', counted(0), undefined);
    for (let i = 1; i <= 40; i++)
      record = await putRecord(i % 2 ? other : store, systemHost, 'cond/record', counted(i), record.version);
    assert.equal((await getRecord(other, 'cond/record'))?.value['count'], 40);
  });
}

function testListing(opened: Opened): void {
  test('list is in byte order, by prefix, in pages', async () => {
    const { store, other } = opened();
    const keys = [
      'list/a',
      'list/a-b',
      'list/a.b',
      'list/a/b',
      'list/a/c',
      'list/a0',
      'list/b/x/y',
      'listen',
    ];
    await Promise.all(keys.map((key) => store.put(key, body(key), { durable: false })));
    const found = [];
    for await (const { key, sizeBytes } of listAll(other, 'list/')) {
      assert.equal(sizeBytes, key.length);
      found.push(key);
    }
    assert.deepEqual(found, [...keys].sort().slice(0, -1));
    const first = await other.list('list', { limit: 3 });
    assert.deepEqual([first.objects.map(({ key }) => key), first.more], [[...keys].sort().slice(0, 3), true]);
    const rest = await other.list('list', { after: 'list/a/b' });
    assert.deepEqual(
      rest.objects.map(({ key }) => key),
      ['list/a/c', 'list/a0', 'list/b/x/y', 'listen'],
    );
    assert.equal(rest.more, false);
    const within = await other.list('list/a/');
    assert.deepEqual(
      within.objects.map(({ key }) => key),
      ['list/a/b', 'list/a/c'],
    );
    assert.deepEqual(await other.list('nothing/here'), { objects: [], more: false });
  });

  test('a swapped record is listed once', async () => {
    const { store } = opened();
    const { version } = await store.put('listed/r', body('1'), { ifAbsent: true });
    await store.put('listed/r', body('22'), { ifVersion: version });
    assert.deepEqual((await store.list('listed/')).objects, [{ key: 'listed/r', sizeBytes: 2 }]);
  });
}

function testRaces(opened: Opened): void {
  test('of 32 racing writers exactly one wins', async () => {
    const { store, other } = opened();
    await probeStore(store, systemHost, { others: [other], rounds: 3 });
  });

  test('racing increments are all counted', async () => {
    const { store, other } = opened();
    await putRecord(store, systemHost, 'race/count', counted(0), undefined);
    const increment = async (through: ObjectStore): Promise<void> => {
      for (;;) {
        const current = (await getRecord(through, 'race/count'))!;
        try {
          const count = Number(current.value['count']) + 1;
          await putRecord(through, systemHost, 'race/count', counted(count), current.version);
          return;
        } catch (error) {
          if (!isStoreError(error, 'CONFLICT')) throw error;
        }
      }
    };
    const writers = Array.from({ length: 6 }, async (_, i) => {
      for (let n = 0; n < 4; n++) await increment(i % 2 ? store : other);
    });
    await Promise.all(writers);
    assert.equal((await getRecord(store, 'race/count'))?.value['count'], 24);
  });
}

function testDeletion(opened: Opened): void {
  test('a reader beside swaps and deletions never sees an older version', async () => {
    const { store, other } = opened();
    const lives = 25;
    let over = false;
    const seen: string[] = [];
    const read = async (): Promise<void> => {
      while (!over) seen.push(text((await other.get('deleted/r'))?.body) ?? '');
    };
    const reading = read();
    try {
      for (let life = 10; life < 10 + lives; life++) {
        let { version } = await store.put('deleted/r', body(`${String(life)}-1`), { ifAbsent: true });
        for (const swap of [2, 3])
          ({ version } = await store.put('deleted/r', body(`${String(life)}-${String(swap)}`), {
            ifVersion: version,
          }));
        await store.delete(['deleted/r']);
      }
    } finally {
      over = true;
      await reading;
    }
    const found = seen.filter((value) => value !== '');
    assert.deepEqual(found, found.toSorted(), 'an older version came after a newer one');
    assert.equal(await other.get('deleted/r'), undefined);
  });

  test('an object is put, swapped, deleted, and put and swapped again', async () => {
    const { store, other } = opened();
    for (const through of [store, other, store]) {
      const { version } = await store.put('again/r', body('1'), { ifAbsent: true });
      const second = await store.put('again/r', body('2'), { ifVersion: version });
      await other.put('again/r', body('3'), { ifVersion: second.version });
      assert.equal(text((await through.get('again/r'))?.body), '3');
      await through.delete(['again/r']);
      assert.deepEqual((await store.list('again/')).objects, []);
    }
  });
}
