/**
 * A process to be killed: writes checkpoints, or collects garbage, as fast as it can until it is.
 *   crash-child.ts writer FOLDER SEED      crash-child.ts collector FOLDER SEED
 * The writer prints `truth COUNT HASH` before each checkpoint and `ack EPOCH-SEQUENCE` after it.
 */
import { writeSync } from 'node:fs';
import {
  collectGarbage,
  CheckpointReader,
  CheckpointWriter,
  formatId,
  openStore,
  PagePool,
  raiseEpoch,
  snapshotHash,
  type KnownManifest,
  type ObjectStore,
} from '../src/index.ts';
import { Guest, seededRandom } from './guest.ts';

const vmId = 'vm';

async function write(store: ObjectStore, seed: number): Promise<never> {
  const pool = new PagePool({ threads: 0 });
  const ownership = await raiseEpoch(store, vmId, { owner: `writer-${String(seed)}` });
  const guest = new Guest({ seed, ramPages: 48, diskPages: 16 });
  if (ownership.resumeFrom !== null) {
    const reader = await CheckpointReader.load(store, vmId, ownership.resumeFrom, { pool });
    guest.load(await reader.readSnapshot());
  }
  guest.instructions = BigInt(seed) * 1_000_000_000n;
  const writer = await CheckpointWriter.open(store, ownership, { pool, fullMapEvery: 5 });
  for (;;) {
    guest.run(Math.floor(guest.random() * 20));
    // Before the checkpoint can exist, whatever happens to this process then.
    writeSync(1, `truth ${String(guest.instructions)} ${snapshotHash(guest.truth())}\n`);
    const { id } = await writer.write(guest.snapshot());
    writeSync(1, `ack ${formatId(id)}\n`);
  }
}

async function collect(store: ObjectStore, seed: number): Promise<never> {
  const random = seededRandom(seed);
  const remembered = new Map<string, KnownManifest>();
  for (;;) {
    const policy = { keepLast: 1 + Math.floor(random() * 4), rules: [] };
    const report = await collectGarbage(store, vmId, { policy, remembered });
    writeSync(1, `collected ${String(report.removed.length)} ${String(report.removedPacks)}\n`);
  }
}

const [role, folder, seed] = process.argv.slice(2);
const store = await openStore(`file:${folder!}`, { probe: false, create: true });
await (role === 'writer' ? write(store, Number(seed)) : collect(store, Number(seed)));
