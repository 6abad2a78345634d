/** A checkpoint file that is imported piece by piece: the pages are those of a whole read, and what is damaged is refused before any is asked for. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Guest } from '../test-support/guest.ts';
import { CheckpointFileSource } from './checkpoint-file-source.ts';
import { encodeCheckpointFile, readCheckpointFile } from './checkpoint-file.ts';
import { isStorageError } from './errors.ts';

const folder = await mkdtemp(join(tmpdir(), 'revenant-file-source-'));
after(() => rm(folder, { recursive: true, force: true }));

const whole = Buffer.concat([...encodeCheckpointFile(new Guest({ seed: 5 }).run(40).truth())]);

test('pages are read from any place of a space, over the borders of blocks, in any order', async () => {
  const path = join(folder, 'whole');
  await writeFile(path, whole);
  const { spaces } = await readCheckpointFile(path);
  const source = await CheckpointFileSource.open(path);
  assert.ok(spaces.some(({ indexes }) => indexes.length > 8));
  for (const [n, { pageSize, indexes, bytes }] of spaces.entries()) {
    const { read, indexes: same, bytes: none } = source.snapshot.spaces[n]!;
    assert.ok(read !== undefined);
    assert.deepEqual([same, none.length], [indexes, 0]);
    const count = indexes.length;
    for (const [from, to] of [
      [0, count],
      [count >> 1, count],
      [0, count >> 1],
      [count, count],
    ] as const)
      assert.ok(Buffer.from(await read(from, to)).equals(bytes.subarray(from * pageSize, to * pageSize)));
  }
  await source.close();
});

test('a file that is cut or changed is refused as it is opened, one that is cut later when a page is missed', async () => {
  const damaged = (error: unknown): boolean => isStorageError(error, 'CHECKPOINT_FILE_DAMAGED');
  for (const at of [20, whole.length >> 1, whole.length - 1]) {
    const path = join(folder, `damaged-${String(at)}`);
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    await writeFile(path, changed);
    await assert.rejects(CheckpointFileSource.open(path), damaged);
    await writeFile(path, whole.subarray(0, at));
    await assert.rejects(CheckpointFileSource.open(path), damaged);
  }
  const path = join(folder, 'later');
  await writeFile(path, whole);
  const source = await CheckpointFileSource.open(path);
  await truncate(path, 100);
  const { read, indexes } = source.snapshot.spaces.find((space) => space.indexes.length > 0)!;
  await assert.rejects(read!(0, indexes.length), damaged);
  await source.close();
});
