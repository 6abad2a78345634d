/**
 * Golden files of every format version stay readable: golden/vN holds a single file, and a `file:` store with a plain VM,
 * an encrypted one, a base image and (from v2-forks on) forks of both VMs. REVENANT_GOLDEN=write makes those of the current version anew (only before a release
 * that changes the format: then copy the old ones' folder, never rewrite it).
 */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Guest } from '../test-support/guest.ts';
import {
  CheckpointKey,
  CheckpointWriter,
  decodeCheckpointFile,
  FileStore,
  forkVm,
  formatId,
  importBaseImage,
  listCheckpoints,
  openCheckpoint,
  PagePool,
  raiseEpoch,
  readCheckpointFile,
  saveWorkingSet,
  snapshotHash,
  verifyCheckpoint,
  writeCheckpointFile,
} from './index.ts';

interface Expected {
  file: string;
  /** Content hash by VM and checkpoint. */
  checkpoints: Record<string, string>;
}

const golden = new URL('../golden', import.meta.url).pathname;
/** The folder of what is written today: the version of single files, and what came to the store's objects since. */
const current = 'v2-forks';
const key = new CheckpointKey(new Uint8Array(32).fill(7));
const pool = new PagePool({ threads: 0 });
const scratch = await mkdtemp(join(tmpdir(), 'revenant-golden-'));
after(() => rm(scratch, { recursive: true, force: true }));

async function write(): Promise<void> {
  const folder = join(golden, current);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const guest = new Guest({ seed: 42, ramPages: 12, diskPages: 8 }).run(10);
  const truth = guest.truth();
  const [, disk] = truth.spaces;
  if (disk !== undefined) disk.onBase = true;
  await writeCheckpointFile(join(folder, 'machine.ckpt'), truth);
  const expected: Expected = { file: snapshotHash(guest.truth()), checkpoints: {} };
  const store = await FileStore.open(join(scratch, 'made'));
  const image = Buffer.alloc(8 * 512);
  image.write('a base image', 700);
  await importBaseImage(store, 'base', [image], { pageSize: 512, pool });
  for (const [vm, options] of [
    ['plain', {}],
    ['sealed', { key }],
  ] as const) {
    const ownership = await raiseEpoch(store, vm, { owner: 'golden', ...options });
    const bases = vm === 'plain' ? { bases: { disk0: 'base' } } : {};
    const writer = await CheckpointWriter.open(store, ownership, { pool, ...options, ...bases });
    for (let i = 0; i < 2; i++) {
      const { id } = await writer.write(guest.run(3).snapshot({ full: i === 0 }));
      const reader = await openCheckpoint(store, vm, { id, pool, ...options });
      expected.checkpoints[`${vm} ${formatId(id)}`] = await reader.contentHash();
    }
    await saveWorkingSet(store, vm, { ram: new Uint32Array([3, 1, 2]) }, options);
    const fork = await forkVm(store, vm, `${vm}-fork`, { owner: 'golden', pool, ...options });
    const reader = await openCheckpoint(store, `${vm}-fork`, { id: fork.id, pool, ...options });
    expected.checkpoints[`${vm}-fork ${formatId(fork.id)}`] = await reader.contentHash();
  }
  await store.close();
  for (const own of ['.tmp', '.reserve'])
    await rm(join(scratch, 'made', own), { recursive: true, force: true });
  await cp(join(scratch, 'made'), join(folder, 'store'), { recursive: true });
  await writeFile(join(folder, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`);
}

if (process.env['REVENANT_GOLDEN'] === 'write') await write();

for (const version of await readdir(golden)) {
  describe(`golden files of format ${version}`, async () => {
    const folder = join(golden, version);
    const expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as Expected;
    // Opening a store makes folders in it.
    await cp(join(folder, 'store'), join(scratch, version), { recursive: true });
    const store = await FileStore.open(join(scratch, version));

    test('the single file reads back', async () => {
      const path = join(folder, 'machine.ckpt');
      const { spaces } = await readCheckpointFile(path);
      assert.deepEqual(
        spaces.map(({ onBase }) => onBase),
        [undefined, version === 'v1' ? undefined : true],
      );
      assert.equal(snapshotHash(await readCheckpointFile(path)), expected.file);
      assert.equal(snapshotHash(await decodeCheckpointFile(await readFile(path))), expected.file);
    });

    for (const [name, hash] of Object.entries(expected.checkpoints)) {
      test(`checkpoint ${name} reads back`, async () => {
        const [vm, id] = name.split(' ') as [string, string];
        const [epoch, sequence] = id.split('-').map(Number) as [number, number];
        const reader = await openCheckpoint(store, vm, { id: { epoch, sequence }, key, pool });
        assert.equal(snapshotHash(await reader.readSnapshot()), hash);
        assert.equal((await verifyCheckpoint(reader)).contentHash, hash);
        assert.deepEqual(await reader.workingSet(), { ram: new Uint32Array([3, 1, 2]) });
      });
    }

    test('the newest is found, and the VM can be taken over', async () => {
      for (const vm of ['plain', 'sealed']) {
        const newest = (await listCheckpoints(store, vm, { key })).find((listed) => listed.newest);
        const { resumeFrom } = await raiseEpoch(store, vm, { owner: 'test', key });
        assert.deepEqual(resumeFrom, newest?.id);
      }
    });
  });
}
