/** Checkpoint files whose memory is read page by page. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { Guest } from '../test-support/guest.ts';
import { encodeCheckpointFile, readCheckpointFile, writeCheckpointFile } from './checkpoint-file.ts';
import { LateCheckpointFile } from './checkpoint-file-lazy.ts';
import { isStorageError } from './errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-late-file-'));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
const path = join(folder, 'a.checkpoint');
const late = { space: 'ram', firstPage: 256 };

describe('a checkpoint file whose RAM comes later', () => {
  test('gives the same pages as one that is read whole, in any order', async () => {
    const guest = new Guest({ seed: 4, ramPages: 1500, diskPages: 40 }).run(4000);
    await writeCheckpointFile(path, guest.truth());
    const whole = await readCheckpointFile(path);
    const ram = whole.spaces.find(({ name }) => name === 'ram');
    assert.ok(ram);
    const file = await LateCheckpointFile.open(path, late);
    try {
      const [early, disk] = file.snapshot.spaces;
      assert.deepEqual(disk, whole.spaces[1]);
      assert.deepEqual({ ...file.snapshot, spaces: [] }, { ...whole, spaces: [] });
      assert.ok(early);
      assert.deepEqual(
        early.indexes,
        ram.indexes.filter((page) => page < late.firstPage),
      );
      assert.deepEqual(early.bytes, ram.bytes.subarray(0, early.indexes.length * 4096));
      assert.deepEqual(
        file.late,
        ram.indexes.filter((page) => page >= late.firstPage),
      );

      const slots = new Map([...ram.indexes].map((page, slot) => [page, slot]));
      const expected = (page: number): Uint8Array | undefined => {
        const slot = page < late.firstPage ? undefined : slots.get(page);
        return slot === undefined
          ? undefined
          : new Uint8Array(ram.bytes.subarray(slot * 4096, (slot + 1) * 4096));
      };
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 1600 }), (page) => {
          const found = file.page(page);
          assert.deepEqual(found === undefined ? undefined : new Uint8Array(found), expected(page));
        }),
      );
      const seen: number[] = [];
      for (const { indexes, bytes } of file.pieces()) {
        for (const [i, page] of indexes.entries())
          assert.deepEqual(new Uint8Array(bytes.subarray(i * 4096, (i + 1) * 4096)), expected(page));
        seen.push(...indexes);
      }
      assert.deepEqual(Uint32Array.from(seen), file.late);
    } finally {
      await file.close();
    }
  });

  test('is refused when a bit is wrong or its end is missing, wherever that is', async () => {
    const guest = new Guest({ seed: 9, ramPages: 700, diskPages: 4 }).run(900);
    const bytes = Buffer.concat([...encodeCheckpointFile(guest.truth())]);
    const damaged = async (content: Uint8Array): Promise<void> => {
      writeFileSync(path, content);
      await assert.rejects(
        LateCheckpointFile.open(path, late),
        (error) =>
          isStorageError(error, 'CHECKPOINT_FILE_DAMAGED') ||
          isStorageError(error, 'CHECKPOINT_FILE_FOREIGN') ||
          isStorageError(error, 'CHECKPOINT_FILE_NEWER'),
      );
    };
    for (let n = 0; n < 40; n++) {
      const flipped = Buffer.from(bytes);
      const at = Math.floor((n / 40) * bytes.length);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (n % 8));
      await damaged(flipped);
      await damaged(bytes.subarray(0, at));
    }
  });

  test('that is cut short while it is open is an error, never a wrong page', async () => {
    const guest = new Guest({ seed: 2, ramPages: 900, diskPages: 0 }).run(3000);
    await writeCheckpointFile(path, guest.truth());
    const file = await LateCheckpointFile.open(path, late);
    try {
      writeFileSync(path, new Uint8Array(100));
      assert.throws(
        () => [...file.pieces()],
        (error) => isStorageError(error, 'CHECKPOINT_FILE_DAMAGED'),
      );
    } finally {
      await file.close();
    }
  });
});
