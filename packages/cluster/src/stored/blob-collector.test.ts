/** The collection of uploaded files, beside uploads and commands that refer to them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listAll, MemoryStore, putRecord, systemHost, type ObjectStore } from '@revenant/storage';
import { SeededTurns } from '@revenant/storage/testing';
import { applyCommand } from '../decisions/commands.ts';
import { emptyList, protectedKey, type ProtectedList, type VmSpec } from '../decisions/records.ts';
import { isClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import { protectedListSchema } from '../protocol/records.ts';
import { BlobCollector, type BlobReport } from './blob-collector.ts';
import { blobNotesPrefix, putNote, readNote } from './blob-notes.ts';
import {
  blobPartsPrefix,
  blobBytes,
  blobsPrefix,
  hasBlob,
  putBlob,
  readBlob,
  requireBlobs,
} from './blobs.ts';
import { storable } from './records.ts';

const graceMs = 1000;

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(store, prefix)) keys.push(key);
  return keys;
}

const specOf = (hashes: readonly string[]): VmSpec => ({
  ...{ runtime: 'machine', memoryMiB: 1, priority: 0, outputs: 'async' },
  description: Object.fromEntries(hashes.map((hash, n) => [`blob${n}`, hash])),
});

/** A store with a protected list, a clock, and collectors that are given both. */
class Place {
  readonly store: ObjectStore;
  now = 0;
  commands = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #list: ProtectedList = emptyList();
  #version: string | undefined;
  readonly collector: BlobCollector;

  constructor(store: ObjectStore = new MemoryStore()) {
    this.store = store;
    this.collector = this.another();
  }

  another(store = this.store): BlobCollector {
    return new BlobCollector({ store, nowMs: () => this.now, graceMs: graceMs, log: () => undefined });
  }

  async put(bytes: Uint8Array): Promise<string> {
    const hash = sha256(bytes);
    await putBlob(this.store, hash, [bytes]);
    return hash;
  }

  /** A VM that refers to these, as a command would make it: after it was looked whether they are there. */
  async create(vmId: string, hashes: readonly string[]): Promise<void> {
    // The one assumption: that a command takes less than the grace, so the clock stands meanwhile.
    this.commands++;
    try {
      await requireBlobs(this.store, specOf(hashes));
      await this.enter(vmId, hashes);
    } finally {
      this.commands--;
    }
  }

  async enter(vmId: string, hashes: readonly string[]): Promise<void> {
    const spec = specOf(hashes);
    await this.#write((list) => applyCommand(list, { type: 'vm-create', vmId, spec, start: true }, []));
  }

  async delete(vmId: string): Promise<void> {
    await this.#write((list) => {
      const vm = list.vms[vmId]!;
      return { ...list, vms: { ...list.vms, [vmId]: { ...vm, desired: 'deleted', status: 'deleted' } } };
    });
  }

  /** One after the other, as a master does. */
  async #write(change: (list: ProtectedList) => ProtectedList): Promise<void> {
    const turn = this.#writing.then(async () => {
      const next = change(this.#list);
      const record = storable(protectedListSchema, next, 'the list');
      const { version } = await putRecord(this.store, systemHost, protectedKey, record, this.#version);
      this.#list = next;
      this.#version = version;
    });
    this.#writing = turn.catch(() => undefined);
    await turn;
  }

  /** Rounds of the collector until a grace is over. */
  async rounds(collector = this.collector): Promise<BlobReport> {
    const sum = { removed: 0, bytes: 0, condemned: 0 };
    for (let n = 0; n <= 4; n++) {
      const { removed, bytes, condemned } = await collector.collect();
      sum.removed += removed;
      sum.bytes += bytes;
      sum.condemned += condemned;
      this.now += graceMs / 2;
    }
    return sum;
  }
}

const large = Buffer.alloc((4 << 20) + 17, 'kernel ');
const small = Buffer.from('a small image');

describe('collection of blobs', () => {
  test('what no VM refers to goes, in parts or whole, after the grace; the rest stays', async () => {
    const place = new Place();
    const [used, unused, tiny] = [
      await place.put(large),
      await place.put(Buffer.alloc(9 << 20)),
      await place.put(small),
    ];
    await place.create('v', [used]);
    await place.collector.collect();
    place.now += graceMs - 1;
    assert.equal((await place.collector.collect()).removed, 0);
    assert.ok(await readBlob(place.store, unused));
    const report = await place.rounds();
    assert.deepEqual([report.removed, report.bytes > 9 << 20], [2, true]);
    assert.deepEqual(Buffer.from((await readBlob(place.store, used))!), large);
    for (const gone of [unused, tiny]) assert.equal(await readBlob(place.store, gone), undefined);
    assert.equal((await keysOf(place.store, blobPartsPrefix)).length, 2);
    assert.deepEqual(await keysOf(place.store, blobNotesPrefix), []);
    await place.delete('v');
    assert.equal((await place.rounds()).removed, 1);
    assert.equal(await blobBytes(place.store), 0);
  });

  test('a reference counts wherever a description has it, and that of a blob from before uploads had names', async () => {
    const place = new Place();
    const hash = sha256(small);
    await place.store.put(blobsPrefix + hash, small);
    assert.ok(await hasBlob(place.store, hash));
    await place.create('v', [hash]);
    assert.equal((await place.rounds()).removed, 0);
    await place.delete('v');
    assert.equal((await place.rounds()).removed, 1);
  });

  test('an upload that was cut off goes; one that goes on does not, and ends well', async () => {
    const place = new Place();
    const hash = sha256(large);
    const cutOff = `${blobPartsPrefix}${hash}-00000000-0000-0000-0000-000000000000/0000`;
    await place.store.put(cutOff, Buffer.alloc(100));
    const slow = Buffer.alloc(17 << 20, 'slowly ');
    // Collected at each piece, half a grace apart: longer than one altogether.
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < slow.length; at += 4 << 20) {
        yield slow.subarray(at, at + (4 << 20));
        await place.collector.collect();
        place.now += graceMs / 2;
      }
    };
    await putBlob(place.store, sha256(slow), pieces());
    await place.create('v', [sha256(slow)]);
    await place.rounds();
    assert.deepEqual(Buffer.from((await readBlob(place.store, sha256(slow)))!), slow);
    assert.equal(await place.store.get(cutOff), undefined);
  });

  test('an upload that was given up for dead and comes to its end is refused, and leaves nothing', async () => {
    const place = new Place();
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield large.subarray(0, 4 << 20);
      await place.rounds();
      await place.rounds();
      yield large.subarray(4 << 20);
    };
    await assert.rejects(putBlob(place.store, sha256(large), pieces()));
    assert.equal(await hasBlob(place.store, sha256(large)), false);
    await place.rounds();
    await place.rounds();
    assert.equal(await blobBytes(place.store), 0);
    assert.deepEqual(await keysOf(place.store, blobNotesPrefix), []);
    assert.equal(await place.put(large), sha256(large));
    assert.ok(await hasBlob(place.store, sha256(large)));
  });

  test('whoever asks for a blob before it refers to it finds it still there; too late is said, and a new upload stands', async () => {
    const place = new Place();
    const hash = await place.put(small);
    await place.collector.collect();
    place.now += graceMs;
    await place.collector.collect();
    const [key] = await keysOf(place.store, blobsPrefix);
    const upload = key!.slice(blobsPrefix.length);
    assert.equal((await readNote(place.store, upload))?.value.state, 'condemned');
    assert.ok(await hasBlob(place.store, hash));
    place.now += graceMs;
    assert.equal((await place.collector.collect()).removed, 0);
    await place.create('v', [hash]);
    assert.equal((await place.rounds()).removed, 0);
    await place.delete('v');

    const note = await readNote(place.store, upload);
    await putNote(place.store, upload, 'deleting', note?.version);
    assert.equal(await hasBlob(place.store, hash), false);
    await assert.rejects(place.create('w', [hash]), (error) => isClusterError(error, 'BLOB_MISSING'));
    await place.put(small);
    await place.create('w', [hash]);
    await place.rounds();
    assert.deepEqual(Buffer.from((await readBlob(place.store, hash))!), small);
  });

  test('a command that took longer than the grace, and lands at the last moment, is seen', async () => {
    const place = new Place();
    const hash = await place.put(small);
    let notes = 0;
    const store = new Proxy(place.store, {
      get: (inner, name) => {
        const member: unknown = Reflect.get(inner, name, inner);
        if (typeof member !== 'function') return member;
        return async (...given: unknown[]) => {
          // Condemned, then deleting: between the collector's first look at the list and its last.
          const isNote = name === 'put' && String(given[0]).startsWith(blobNotesPrefix);
          if (isNote && ++notes === 2) await place.enter('late', [hash]);
          return (await (member as (...all: unknown[]) => unknown).apply(inner, given)) as unknown;
        };
      },
    });
    assert.equal((await place.rounds(place.another(store))).removed, 0);
    assert.ok(notes >= 2);
    assert.ok(await hasBlob(place.store, hash));
  });

  test('with collectors, uploads and commands at once, each stopping anywhere, no VM ever loses what it refers to', async () => {
    const turns = new SeededTurns(7);
    let [referred, collected, late] = [0, 0, 0];
    for (let round = 0; round < 40; round++) {
      const inner = new MemoryStore();
      const place = new Place(turns.through(inner));
      const bytes = [0, 1, 2].map((n) => Buffer.from(`image ${String(n)}`));
      const hashes = bytes.map((each) => sha256(each));
      const ends = turns.through(inner, Math.floor(turns.random() * 60));
      const collectors = [place.another(ends), place.another(), place.another()];
      const rest = async (most: number): Promise<void> => {
        for (let wait = Math.floor(turns.random() * most); wait > 0; wait--) await turns.turn();
      };
      /** Uploads when it has to, waits a while, refers to it, again when the blob went meanwhile; and lets it go. */
      const live = async (vmId: string, n: number): Promise<void> => {
        for (;;)
          try {
            if (!(await hasBlob(place.store, hashes[n]!)))
              await putBlob(place.store, hashes[n]!, [bytes[n]!]);
            await rest(60);
            await place.create(vmId, [hashes[n]!]);
            break;
          } catch (error) {
            if (!isClusterError(error, 'BLOB_MISSING')) throw error;
            late++;
          }
        await rest(20);
        assert.deepEqual(Buffer.from((await readBlob(inner, hashes[n]!)) ?? []), bytes[n]);
        referred++;
      };
      const people = bytes.map(async (_, n) => {
        for (let life = 0; life < 4; life++) {
          const vmId = `v${String(n)}-${String(life)}`;
          await live(vmId, n);
          if (life < 3 || n > 0) await place.delete(vmId);
          await rest(60);
        }
      });
      const collecting = collectors.map(async (collector) => {
        for (let n = 0; n < 40; n++) {
          await collector.collect().then(
            (report) => (collected += report.removed),
            () => undefined,
          );
          if (place.commands === 0) place.now += graceMs / 2;
        }
      });
      await Promise.all([...people, ...collecting]);
      await place.rounds();
      assert.deepEqual(Buffer.from((await readBlob(inner, hashes[0]!)) ?? []), bytes[0]);
      for (const gone of hashes.slice(1)) assert.equal(await readBlob(inner, gone), undefined);
    }
    assert.equal(referred, 40 * 12);
    assert.ok(collected > 40 && late > 4, `${String(collected)} collected, ${String(late)} came too late`);
  });
});
