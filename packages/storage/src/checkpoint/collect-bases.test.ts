/** The collection of base images, beside imports and users of them. */
import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { test } from 'node:test';
import { Guest } from '../../test-support/guest.ts';
import { SeededTurns } from '../../test-support/seeded-turns.ts';
import { isStorageError } from '../errors.ts';
import { raiseEpoch } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { baseImageName, importBaseImage, openBaseImage } from './base-image.ts';
import { keepBaseImage } from './base-manifest.ts';
import { BaseCollector, type BaseReport } from './collect-bases.ts';
import { PagePool } from './page-pool.ts';
import { CheckpointWriter } from './writer.ts';

const graceMs = 1000;
const pool = new PagePool({ threads: 0 });
/** Incompressible, so that a large image has several packs. */
const noise = (pages: number, seed: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(pages * 4096));
const nameOf = (image: Uint8Array): string => baseImageName(createHash('sha256').update(image).digest('hex'));

class Place {
  readonly store: ObjectStore;
  now = 0;
  readonly referredTo = new Set<string>();
  readonly collector: BaseCollector;

  constructor(store: ObjectStore = new MemoryStore()) {
    this.store = store;
    this.collector = this.another();
  }

  another(store = this.store): BaseCollector {
    return new BaseCollector({ store, nowMs: () => this.now, graceMs: graceMs });
  }

  async import(image: Uint8Array): Promise<string> {
    return (await importBaseImage(this.store, nameOf(image), [image], { pool })).name;
  }

  async reads(image: Uint8Array, store = this.store): Promise<boolean> {
    const { pages } = await openBaseImage(store, nameOf(image), { pool });
    const indexes = Uint32Array.from({ length: image.length / 4096 }, (_, n) => n);
    return Buffer.from(await pages.read(indexes)).equals(image);
  }

  collect(collector = this.collector): Promise<BaseReport> {
    return collector.collect(() => Promise.resolve(new Set(this.referredTo)));
  }

  /** Rounds until a grace is over. */
  async rounds(collector = this.collector): Promise<number> {
    let removed = 0;
    for (let n = 0; n <= 3; n++) {
      removed += (await this.collect(collector)).removed;
      this.now += graceMs / 2;
    }
    return removed;
  }

  async packs(): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of listAll(this.store, 'bases/')) if (key.includes('/packs/')) found.push(key);
    return found;
  }
}

const [used, unused] = [noise(20, 1), noise(30, 2)];

test('an image that nothing refers to goes after the grace, the rest stays, and it can be imported again', async () => {
  const place = new Place();
  place.referredTo.add(await place.import(used));
  await place.import(unused);
  await place.collect();
  place.now += graceMs - 1;
  assert.equal((await place.collect()).removed, 0);
  assert.ok(await place.reads(unused));
  place.now += 1;
  const report = await place.collect();
  assert.deepEqual([report.removed, report.bytes > unused.length], [1, true]);
  await assert.rejects(place.reads(unused), (error) => isStorageError(error, 'CHECKPOINT_DAMAGED'));
  assert.equal(await keepBaseImage(place.store, nameOf(unused)), false);
  assert.ok(await place.reads(used));
  assert.equal((await place.packs()).length, 1);
  place.referredTo.add(await place.import(unused));
  assert.equal(await place.rounds(), 0);
  assert.ok(await place.reads(unused));
});

test('an image on which a checkpoint lies stays, whoever knows of its VM', async () => {
  const place = new Place();
  const guest = new Guest({ ramPages: 8, diskPages: 8 });
  const name = await place.import(used);
  const ownership = await raiseEpoch(place.store, 'alone', { owner: 'a' });
  const writer = await CheckpointWriter.open(place.store, ownership, { pool, bases: { disk0: name } });
  await writer.write(guest.run(5).snapshot());
  assert.equal(await place.rounds(), 0);
  for await (const { key } of listAll(place.store, 'vms/alone/')) await place.store.delete([key]);
  assert.equal(await place.rounds(), 1);
});

test('who is about to refer to an image keeps it for a grace', async () => {
  const place = new Place();
  const name = await place.import(used);
  await place.collect();
  place.now += graceMs;
  assert.ok(await keepBaseImage(place.store, name));
  assert.equal((await place.collect()).removed, 0);
  place.now += graceMs - 1;
  assert.equal((await place.collect()).removed, 0);
  assert.ok(await place.reads(used));
  place.now += 1;
  assert.equal((await place.collect()).removed, 1);
});

test('packs of an import that was cut off go; one that goes on ends well; one that was given up is refused', async () => {
  const place = new Place();
  const cutOff = `bases/${nameOf(unused)}/packs/000000-0123456789abcdef`;
  await place.store.put(cutOff, Buffer.alloc(100));
  const large = noise(2048, 3);
  const slowly = async function* (rounds: () => Promise<unknown>): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < large.length; at += 3 << 20) {
      yield large.subarray(at, at + (3 << 20));
      await rounds();
    }
  };
  await importBaseImage(
    place.store,
    nameOf(large),
    slowly(async () => {
      await place.collect();
      place.now += graceMs / 2;
    }),
    { pool },
  );
  place.referredTo.add(nameOf(large));
  await place.rounds();
  assert.ok(await place.reads(large));
  assert.equal(await place.store.get(cutOff), undefined);
  place.referredTo.clear();
  await place.rounds();

  const givenUp = importBaseImage(
    place.store,
    nameOf(large),
    slowly(() => place.rounds()),
    { pool },
  );
  await assert.rejects(
    givenUp,
    (error) => isStorageError(error, 'BAD_ARGUMENT') && error.message.includes('collected'),
  );
  assert.deepEqual(await place.packs(), []);
  await place.import(large);
  assert.ok(await place.reads(large));
});

test('with collectors, imports and users at once, each stopping anywhere, nobody loses an image that was kept', async () => {
  const turns = new SeededTurns(5);
  let [referred, collected, late, refused] = [0, 0, 0, 0];
  const images = [0, 1, 2].map((n) => noise(3, 10 + n));
  for (let round = 0; round < 25; round++) {
    const inner = new MemoryStore();
    const place = new Place(turns.through(inner));
    const ends = turns.through(inner, Math.floor(turns.random() * 80));
    const collectors = [place.another(ends), place.another(), place.another()];
    /** Those between their look and their reference: the one assumption is that this takes less than the grace. */
    let referring = 0;
    const refer = async (name: string): Promise<boolean> => {
      referring++;
      try {
        if (!(await keepBaseImage(place.store, name))) return false;
        await turns.turn();
        place.referredTo.add(name);
        return true;
      } finally {
        referring--;
      }
    };
    const people = images.map(async (image) => {
      const name = nameOf(image);
      for (let life = 0; life < 4; life++) {
        for (;;) {
          // Cut off now and then.
          if (turns.random() < 0.3)
            await importBaseImage(ends, name, [image], { pool }).catch(() => undefined);
          try {
            await place.import(image);
          } catch (error) {
            if (!isStorageError(error, 'BAD_ARGUMENT')) throw error;
            refused++;
            continue;
          }
          for (let wait = Math.floor(turns.random() * 80); wait > 0; wait--) await turns.turn();
          if (await refer(name)) break;
          late++;
        }
        for (let wait = Math.floor(turns.random() * 30); wait > 0; wait--) await turns.turn();
        assert.ok(await place.reads(image, inner));
        referred++;
        place.referredTo.delete(name);
        for (let wait = Math.floor(turns.random() * 60); wait > 0; wait--) await turns.turn();
      }
    });
    const collecting = collectors.map(async (collector) => {
      for (let n = 0; n < 40; n++) {
        await place.collect(collector).then(
          (report) => (collected += report.removed),
          () => undefined,
        );
        if (referring === 0) place.now += graceMs / 2;
      }
    });
    await Promise.all([...people, ...collecting]);
    await place.rounds();
    await place.rounds();
    assert.deepEqual(await place.packs(), [], `round ${String(round)}`);
  }
  assert.equal(referred, 25 * 12);
  assert.ok(
    collected > 25 && late > 2 && refused > 0,
    `${String(collected)} collected, ${String(late)} late, ${String(refused)} refused`,
  );
});
