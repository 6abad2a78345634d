/**
 * Writers, takeovers and collectors at the same time on a store that fails in every way, over many seeds. REVENANT_SEEDS
 * sets how many, REVENANT_SEED runs one alone. Checked all the time:
 * - what was reported as written is never lost: a takeover resumes from it or from something later;
 * - every checkpoint that counts restores to exactly what the guest was at its instruction count;
 * - a fenced writer's late manifests never count.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeHost } from '../../test-support/fake-host.ts';
import { Guest } from '../../test-support/guest.ts';
import { isStorageError, isStoreError } from '../errors.ts';
import { isVisible, raiseEpoch, readOwner, type Ownership } from '../ownership.ts';
import { FaultyStore } from '../../test-support/faulty-store.ts';
import { roughWeather } from '../../test-support/rough-weather.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { collectGarbage, type KnownManifest } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { listManifests } from './find.ts';
import { compareIds, formatId, manifestKey, type CheckpointId } from './keys.ts';
import { PagePool } from './page-pool.ts';
import { CheckpointReader } from './reader.ts';
import { CheckpointWriter } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const vmId = 'vm';

class Run {
  readonly host: FakeHost;
  readonly store = new MemoryStore();
  readonly faulty: FaultyStore;
  /** Content hashes by instruction count. */
  readonly truths = new Map<bigint, string>();
  /** Keys with puts that came late. */
  readonly late = new Set<string>();
  acknowledged: CheckpointId | null = null;
  #instructions = 0n;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.host = new FakeHost(seed);
    const options = { host: this.host, random: this.host.uniform };
    this.faulty = new FaultyStore(this.store, roughWeather(this.host, 0.08, this.late), options);
  }

  /** Runs `work` until the injected faults let it through. */
  async insist<T>(work: () => Promise<T>): Promise<T> {
    let last: unknown;
    for (let attempt = 0; attempt < 200; attempt++) {
      try {
        return await work();
      } catch (error) {
        const transient = isStoreError(error) || isStorageError(error, 'CHECKPOINT_DAMAGED');
        if (!transient) throw error;
        last = error;
        await this.host.sleep(50);
      }
    }
    throw new Error('no luck in 200 tries', { cause: last });
  }

  /** One owner: takes the VM over, and writes until fenced or done. */
  async own(name: string, writes: number): Promise<void> {
    const acknowledgedBefore = this.acknowledged;
    const ownership = await this.takeOver(name);
    if (ownership === undefined) return;
    const { resumeFrom } = ownership;
    if (acknowledgedBefore !== null) {
      assert.ok(resumeFrom !== null, 'an acknowledged checkpoint was lost');
      assert.ok(
        compareIds(resumeFrom, acknowledgedBefore) >= 0,
        'resumed from before the last acknowledged one',
      );
    }
    const writer = await this.openWriter(ownership);
    if (writer === undefined) return;
    const guest = await this.resume(resumeFrom).catch(async (error: unknown) => {
      // Its resume point may be collected once a later owner has gone on; never before.
      if ((await readOwner(this.store, vmId))?.record.epoch === ownership.epoch) throw error;
      return undefined;
    });
    if (guest === undefined) return;
    for (let i = 0; i < writes; i++) if (!(await this.writeOne(writer, guest))) return;
  }

  /** undefined: another took over at the same time, and won. */
  async takeOver(name: string): Promise<Ownership | undefined> {
    try {
      const ownership = await this.insist(() =>
        raiseEpoch(this.faulty, vmId, { owner: name, host: this.host }),
      );
      assert.deepEqual(ownership.refused, [], 'an intact checkpoint was refused');
      return ownership;
    } catch (error) {
      if (isStorageError(error, 'FENCED')) return undefined;
      throw error;
    }
  }

  async openWriter(ownership: Ownership): Promise<CheckpointWriter | undefined> {
    const options = { pool, host: this.host, fullMapEvery: 4, giveUpAfterMs: 300 };
    try {
      return await this.insist(() => CheckpointWriter.open(this.faulty, ownership, options));
    } catch (error) {
      if (isStorageError(error, 'FENCED')) return undefined;
      throw error;
    }
  }

  async resume(from: CheckpointId | null): Promise<Guest> {
    const guest = new Guest({
      seed: this.#seed * 1000 + Number(this.#instructions % 1000n),
      ramPages: 24,
      diskPages: 8,
    });
    if (from !== null) {
      const reader = await CheckpointReader.load(this.store, vmId, from, { pool });
      const snapshot = await reader.readSnapshot();
      assert.equal(snapshotHash(snapshot), this.truths.get(snapshot.instructions));
      guest.load(snapshot);
    }
    // No two guests are ever at the same count, so that the count names the truth.
    guest.instructions = this.#instructions += 1_000_000n;
    return guest;
  }

  /** False once fenced. */
  async writeOne(writer: CheckpointWriter, guest: Guest): Promise<boolean> {
    guest.run(Math.floor(this.host.uniform() * 12));
    this.truths.set(guest.instructions, snapshotHash(guest.truth()));
    try {
      const { id } = await writer.write(guest.snapshot());
      if (this.acknowledged === null || compareIds(id, this.acknowledged) > 0) this.acknowledged = id;
      return true;
    } catch (error) {
      if (isStorageError(error, 'FENCED')) return false;
      if (!isStoreError(error) && !isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
      return true;
    }
  }

  async collect(rounds: number): Promise<void> {
    // As a node that collects again and again; the others beside it are news to it.
    const remembered = new Map<string, KnownManifest>();
    for (let i = 0; i < rounds; i++) {
      await this.host.sleep(Math.floor(this.host.uniform() * 300));
      const policy = { keepLast: 1 + Math.floor(this.host.uniform() * 3), rules: [] };
      await collectGarbage(this.faulty, vmId, { host: this.host, policy, remembered }).catch(
        (error: unknown) => {
          if (!isStoreError(error) && !isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
        },
      );
    }
  }

  /** Every checkpoint that counts is exactly what it should be. */
  async check(): Promise<void> {
    this.faulty.plan = () => undefined;
    await this.faulty.settle();
    const lineage = (await readOwner(this.store, vmId))!.record.lineage;
    const counting = (await listManifests(this.store, vmId)).filter((id) => isVisible(lineage, id));
    if (this.acknowledged !== null) {
      assert.ok(counting.length > 0);
      assert.ok(
        compareIds(counting.at(-1)!, this.acknowledged) >= 0,
        'the newest acknowledged checkpoint is gone',
      );
    }
    for (const id of counting) {
      try {
        const reader = await CheckpointReader.load(this.store, vmId, id, { pool });
        const snapshot = await reader.readSnapshot();
        assert.equal(snapshotHash(snapshot), this.truths.get(snapshot.instructions), formatId(id));
      } catch (error) {
        // A put that comes after its manifest was collected brings the name back. It is refused, and is not the newest.
        const ghost = this.late.has(manifestKey(vmId, id)) && id !== counting.at(-1);
        if (!ghost || !isStorageError(error, 'CHECKPOINT_DAMAGED')) throw error;
      }
    }
  }
}

async function chaos(seed: number): Promise<void> {
  const run = new Run(seed);
  const failures: unknown[] = [];
  const noted = (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => void failures.push(error));
  const collecting = [noted(run.collect(12)), noted(run.collect(8))];
  // Each owner begins while the one before may still be writing.
  const owners: Promise<void>[] = [];
  for (let i = 0; i < 4; i++) {
    owners.push(noted(run.own(`node-${String(i)}`, 4 + Math.floor(run.host.uniform() * 10))));
    await run.host.sleep(200 + Math.floor(run.host.uniform() * 1500));
  }
  await Promise.all([...owners, ...collecting]);
  if (failures.length > 0) throw failures[0];
  await run.check();
}

const only = process.env['REVENANT_SEED'];
const seeds = only === undefined ? Number(process.env['REVENANT_SEEDS'] ?? 25) : 1;

describe('chaos', () => {
  test(`${String(seeds)} seeds`, async () => {
    for (let i = 1; i <= seeds; i++) {
      const seed = only === undefined ? i : Number(only);
      try {
        await chaos(seed);
      } catch (error) {
        throw new Error(`seed ${String(seed)} (REVENANT_SEED=${String(seed)})`, { cause: error });
      }
    }
  });
});
