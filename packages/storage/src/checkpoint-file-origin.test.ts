/** Where an exported checkpoint came from, as its file says. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Guest } from '../test-support/guest.ts';
import {
  decodeCheckpointFile,
  encodeCheckpointFile,
  readCheckpointFileWithOrigin,
  writeCheckpointFile,
} from './checkpoint-file.ts';
import { fileHeader } from './checkpoint-file-format.ts';
import { snapshotHash } from './checkpoint/content-hash.ts';
import { CheckpointFileSource } from './checkpoint-file-source.ts';
import { exportCheckpointFile, importCheckpointFile, openCheckpointFile } from './checkpoint/export.ts';
import { PagePool } from './checkpoint/page-pool.ts';
import { openCheckpoint } from './checkpoint/reader.ts';
import { CheckpointWriter } from './checkpoint/writer.ts';
import { systemHost } from './host.ts';
import { raiseEpoch } from './ownership.ts';
import { MemoryStore } from './store/memory-store.ts';

const scratch = await mkdtemp(join(tmpdir(), 'revenant-origin-'));
after(() => rm(scratch, { recursive: true, force: true }));

describe('the origin of a file', () => {
  const pool = new PagePool({ threads: 0 });
  const inFolder = (name: string): string => join(scratch, name);

  test('of a sparse file that claims more than any machine has no block is read', async () => {
    const begin = (tag: string, length: number): Buffer => {
      const head = Buffer.from(`${'x'.repeat(16)}${tag}    `);
      head.set(fileHeader(1));
      head.writeUInt32LE(length, 20);
      return head;
    };
    for (const [tag, length] of [
      ['STAT', 0x1200_0000],
      ['PAGE', 0x0800_0000],
      ['DONE', 0x1000_0000],
      ['____', 0x1000_0000],
    ] as const) {
      await writeFile(inFolder('sparse'), begin(tag, length));
      await truncate(inFolder('sparse'), 2 ** 40);
      const before = process.memoryUsage().rss;
      await assert.rejects(openCheckpointFile(inFolder('sparse'), { pool }), /impossible size|unknown block/);
      assert.ok(process.memoryUsage().rss - before < 32 << 20);
    }
  });

  test('an exported checkpoint keeps its name, number and time', async () => {
    const store = new MemoryStore();
    const host = { ...systemHost, wallClockMs: () => 1_700_000_000_000 };
    for (let i = 0; i < 2; i++) await raiseEpoch(store, 'web-1', { owner: 'a' });
    const ownership = await raiseEpoch(store, 'web-1', { owner: 'a' });
    const writer = await CheckpointWriter.open(store, ownership, { pool, host });
    const guest = new Guest({ seed: 3 });
    for (let i = 0; i < 4; i++) await writer.write(guest.run(10).snapshot());
    await exportCheckpointFile(await openCheckpoint(store, 'web-1', { pool }), inFolder('some name.ckpt'));
    const { origin } = await readCheckpointFileWithOrigin(inFolder('some name.ckpt'));
    assert.deepEqual(origin, { createdAtMs: 1_700_000_000_000, vmId: 'web-1', checkpoint: '3-4' });
    const reader = await openCheckpointFile(inFolder('some name.ckpt'), { pool });
    assert.deepEqual(
      [reader.vmId, reader.id, reader.head.createdAtMs],
      ['web-1', { epoch: 3, sequence: 4 }, 1_700_000_000_000],
    );
    assert.equal(await reader.contentHash(), snapshotHash(guest.truth()));
    // Imported elsewhere, it is a checkpoint of another VM, made when it was made.
    const other = await raiseEpoch(store, 'copy', { owner: 'a' });
    const source = await CheckpointFileSource.open(inFolder('some name.ckpt'));
    const { id } = await importCheckpointFile(store, other, source, { pool });
    await source.close();
    const copy = await openCheckpoint(store, 'copy', { id, pool });
    assert.equal(copy.head.createdAtMs, 1_700_000_000_000);
    assert.equal(await copy.contentHash(), snapshotHash(guest.truth()));
  });

  test('a file that does not say it goes by its own name and time', async () => {
    const path = inFolder('a machine.ckpt');
    await writeCheckpointFile(path, new Guest({ seed: 3 }).run(5).truth());
    await utimes(path, 1_600_000_000, 1_600_000_000);
    const reader = await openCheckpointFile(path, { pool });
    assert.deepEqual([reader.vmId, reader.head.createdAtMs], ['a_machine.ckpt', 1_600_000_000_000]);
  });

  test('nonsense in its place is no damage', async () => {
    const truth = new Guest({ seed: 3 }).run(5).truth();
    const bytes = [...encodeCheckpointFile(truth, { createdAtMs: NaN, vmId: '../x', checkpoint: 'x' })];
    assert.equal(snapshotHash(await decodeCheckpointFile(Buffer.concat(bytes))), snapshotHash(truth));
    await writeFile(inFolder('nonsense.ckpt'), Buffer.concat(bytes));
    assert.deepEqual((await readCheckpointFileWithOrigin(inFolder('nonsense.ckpt'))).origin, {});
  });
});
