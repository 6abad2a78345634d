/** kill -9 of writer and collector at random moments. REVENANT_KILLS sets how many (default 8; the full run has 1,000). */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test-support/guest.ts';
import { isVisible, raiseEpoch, readOwner } from '../ownership.ts';
import { FileStore } from '../store/file-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { collectGarbage } from './collect.ts';
import { snapshotHash } from './content-hash.ts';
import { listManifests, listPacks } from './find.ts';
import { compareIds, formatId, parseId, type CheckpointId } from './keys.ts';
import { PagePool } from './page-pool.ts';
import { CheckpointReader, openCheckpoint } from './reader.ts';

const kills = Number(process.env['REVENANT_KILLS'] ?? 8);
const seed = Number(process.env['REVENANT_SEED'] ?? 1);
const child = new URL('../../test-support/crash-child.ts', import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), 'revenant-crash-'));
after(() => rm(folder, { recursive: true, force: true }));

const pool = new PagePool({ threads: 0 });
const truths = new Map<string, string>();
let acknowledged: CheckpointId | undefined;
let said = 0;

function start(role: string, number: number): ChildProcess {
  const started = spawn(process.execPath, [child, role, folder, String(number)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let rest = '';
  started.stdout.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(line);
  });
  return started;
}

function hear(line: string): void {
  said++;
  const [word, first, second] = line.split(' ');
  if (word === 'truth') truths.set(first!, second!);
  if (word === 'ack') acknowledged = parseId(first!);
}

async function end(process: ChildProcess): Promise<void> {
  // 'close' comes after all that it said was read.
  const closed = new Promise((resolve) => process.once('close', resolve));
  assert.equal(process.exitCode, null, 'it died before it was killed');
  process.kill('SIGKILL');
  await closed;
}

async function check(store: ObjectStore): Promise<number> {
  const lineage = (await readOwner(store, 'vm'))?.record.lineage ?? [];
  const counting = (await listManifests(store, 'vm')).filter((id) => isVisible(lineage, id));
  for (const id of counting) {
    const reader = await CheckpointReader.load(store, 'vm', id, { pool });
    const snapshot = await reader.readSnapshot();
    assert.equal(snapshotHash(snapshot), truths.get(String(snapshot.instructions)), formatId(id));
  }
  if (acknowledged !== undefined) {
    const newest = await openCheckpoint(store, 'vm', { pool });
    assert.ok(
      compareIds(newest.id, acknowledged) >= 0,
      `${formatId(acknowledged)} was acknowledged and is lost`,
    );
  }
  return counting.length;
}

describe('kill -9', () => {
  test(`of writer and collector at ${String(kills)} moments loses nothing`, async () => {
    const store = await FileStore.open(folder);
    const random = seededRandom(seed);
    for (let kill = 1; kill <= kills; kill++) {
      const [heard, written] = [said, truths.size];
      const processes = [start('writer', kill), start('collector', kill)];
      // Every other writer is let get somewhere first, however slow the host is.
      const begun = (): boolean => (kill % 2 === 0 ? said > heard : truths.size >= written + 3);
      while (!begun() && processes.every(({ exitCode }) => exitCode === null)) await sleep(2);
      await sleep(random() * 150);
      await Promise.all(processes.map(end));
      await check(store);
    }
    assert.ok(truths.size > kills, 'the writers got nowhere');
    // What the killed ones left behind is collected, and what counts is not. The last writer may have died within its takeover, during which
    // nothing is collected: another owner ends that.
    await raiseEpoch(store, 'vm', { owner: 'test' });
    const { skipped } = await collectGarbage(store, 'vm', { policy: { keepLast: 2, rules: [] } });
    assert.equal(skipped, undefined);
    assert.ok((await check(store)) >= 1);
    const reached = new Set<string>();
    const lineage = (await readOwner(store, 'vm'))!.record.lineage;
    for (const id of (await listManifests(store, 'vm')).filter((each) => isVisible(lineage, each)))
      for (const pack of (await CheckpointReader.load(store, 'vm', id, { pool })).packs)
        reached.add(pack.name);
    const newest = (await listManifests(store, 'vm')).at(-1)!;
    for (const name of (await listPacks(store, 'vm')).keys()) {
      const later = compareIds(parseId(name.split('-').slice(0, 2).map(Number).join('-')), newest) > 0;
      assert.ok(later || reached.has(name), `${name} is garbage and was not collected`);
    }
    await store.close();
  });
});
