/**
 * Torn, flipped and missing objects: every checkpoint restores exactly or is refused by name, and the newest intact one
 * is found. REVENANT_TRIALS sets how many (default 60), REVENANT_SEED where the random numbers begin.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Guest, seededRandom } from '../../test-support/guest.ts';
import { isStorageError } from '../errors.ts';
import { raiseEpoch } from '../ownership.ts';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { listAll } from '../store/object-store.ts';
import { systemHost } from '../host.ts';
import { snapshotHash } from './content-hash.ts';
import { listManifests } from './find.ts';
import { sealManifest, readManifest } from './manifest.ts';
import { formatId, manifestKey, manifestsPrefix, packsPrefix, type CheckpointId } from './keys.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const trials = Number(process.env['REVENANT_TRIALS'] ?? 60);
const random = seededRandom(Number(process.env['REVENANT_SEED'] ?? 1));

const truths = new Map<string, string>();
const original = new Map<string, Uint8Array>();

async function prepare(): Promise<void> {
  const store = new MemoryStore();
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), {
    pool,
    fullMapEvery: 3,
  });
  const guest = new Guest({ seed: 2, ramPages: 24, diskPages: 8 }).run(40);
  for (let i = 0; i < 7; i++) {
    const { id } = await writer.write(guest.snapshot());
    truths.set(formatId(id), snapshotHash(guest.truth()));
    guest.run(8);
  }
  for await (const { key } of listAll(store, '')) original.set(key, (await store.get(key))!.body);
}

async function restore(store: MemoryStore, id: CheckpointId): Promise<string> {
  try {
    const reader = await openCheckpoint(store, 'vm', { id, pool });
    return snapshotHash(await reader.readSnapshot());
  } catch (error) {
    assert.ok(isStorageError(error), String(error));
    assert.ok(['CHECKPOINT_DAMAGED', 'CHECKPOINT_NOT_FOUND'].includes(error.code), error.code);
    assert.ok(
      /manifests\/|pack|checkpoint/.test(error.message) && !error.message.includes('\n'),
      error.message,
    );
    return 'refused';
  }
}

function damage(body: Uint8Array): Uint8Array | undefined {
  const kind = random();
  const at = Math.floor(random() * body.length);
  if (kind < 0.1) return undefined;
  if (kind < 0.4) return body.subarray(0, at);
  const flipped = new Uint8Array(body);
  flipped[at] = flipped[at]! ^ (1 << Math.floor(random() * 8));
  return flipped;
}

describe('damage', () => {
  test(`${String(trials)} torn, flipped and missing objects: exact or refused, never wrong`, async () => {
    await prepare();
    const keys = [...original.keys()].filter((key) => /manifests\/|packs\//.test(key));
    let refusals = 0;
    for (let trial = 0; trial < trials; trial++) {
      const store = new MemoryStore();
      for (const [key, body] of original) await store.put(key, body);
      for (let hits = 1 + Math.floor(random() * 2); hits > 0; hits--) {
        const key = keys[Math.floor(random() * keys.length)]!;
        const damaged = damage(original.get(key)!);
        if (damaged === undefined) await store.delete([key]);
        else await store.put(key, damaged);
      }
      let newestIntact: string | undefined;
      for (const id of await listManifests(store, 'vm')) {
        const restored = await restore(store, id);
        if (restored === 'refused') refusals++;
        else {
          assert.equal(restored, truths.get(formatId(id)));
          newestIntact = formatId(id);
        }
      }
      const found = await openCheckpoint(store, 'vm', { pool, acceptOlder: true, verify: true }).catch(
        (error: unknown) => {
          assert.ok(
            isStorageError(error, 'CHECKPOINT_DAMAGED') || isStorageError(error, 'CHECKPOINT_NOT_FOUND'),
          );
          return undefined;
        },
      );
      assert.equal(found && formatId(found.id), newestIntact);
      if (found !== undefined)
        assert.equal(snapshotHash(await found.readSnapshot()), truths.get(newestIntact!));
    }
    assert.ok(refusals > 0);
  });

  test('a full disk fails the checkpoint, keeps the pages, and the next one has them', async () => {
    const faulty = new FaultyStore(new MemoryStore(), () => undefined, { host: systemHost, random });
    const ownership = await raiseEpoch(faulty, 'vm', { owner: 'a' });
    const stalls: string[] = [];
    // Its time passes where it waits, and not where the test's host is busy.
    let now = 0;
    const host = {
      ...systemHost,
      wallClockMs: () => now,
      monotonicMs: () => now,
      sleep: (ms: number) => {
        now += ms;
        return Promise.resolve();
      },
    };
    const writer = await CheckpointWriter.open(faulty, ownership, {
      pool,
      host,
      giveUpAfterMs: 30,
      onStall: ({ kind, what }) => stalls.push(`${kind} ${what.split('/')[2] ?? what}`),
    });
    const guest = new Guest({ seed: 6 }).run(20);
    await writer.write(guest.snapshot());
    for (const prefix of [packsPrefix('vm'), manifestsPrefix('vm')]) {
      faulty.plan = (operation, key) =>
        operation === 'put' && key.startsWith(prefix) ? { kind: 'full' } : undefined;
      await assert.rejects(writer.write(guest.run(10).snapshot()), /no space left/);
      faulty.plan = () => undefined;
      await writer.write(guest.run(3).snapshot());
      const reader = await openCheckpoint(faulty, 'vm', { pool });
      assert.equal(snapshotHash(await reader.readSnapshot()), snapshotHash(guest.truth()));
    }
    assert.ok(stalls.some((stall) => stall.startsWith('stalled packs')));
  });

  test('a torn pack is refused by name when its checkpoint is opened', async () => {
    const faulty = new FaultyStore(
      new MemoryStore(),
      (operation, key) => (operation === 'put' && key.includes('/packs/') ? { kind: 'torn' } : undefined),
      { host: systemHost, random },
    );
    const writer = await CheckpointWriter.open(faulty, await raiseEpoch(faulty, 'vm', { owner: 'a' }), {
      pool,
    });
    await writer.write(new Guest().run(20).snapshot());
    await assert.rejects(
      openCheckpoint(faulty, 'vm'),
      (error) => isStorageError(error, 'CHECKPOINT_DAMAGED') && /pack .* is torn/.test(error.message),
    );
  });

  test('a manifest that is whole but makes no sense is refused by name', async () => {
    const store = new MemoryStore();
    const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), {
      pool,
    });
    const { id } = await writer.write(new Guest().run(20).snapshot());
    const { head, body } = (await readManifest(store, 'vm', id, undefined))!;
    for (const runs of [
      new Uint8Array(Uint32Array.of(0, 1, 77, 0).buffer),
      new Uint8Array(5),
      'text' as unknown as Uint8Array,
    ]) {
      const bytes = sealManifest(
        head,
        { ...body, runs: [runs, ...body.runs.slice(1)] },
        { host: systemHost },
      );
      await store.put(manifestKey('vm', id), bytes);
      await assert.rejects(openCheckpoint(store, 'vm', { pool }), (error) => {
        assert.ok(isStorageError(error, 'CHECKPOINT_DAMAGED'), String(error));
        return error.message.includes(manifestKey('vm', id));
      });
    }
  });
});
