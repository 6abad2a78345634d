/** Checkpoints as single files. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeCheckpointFile,
  encodeCheckpointFile,
  readCheckpointFile,
  writeCheckpointFile,
} from './checkpoint-file.ts';
import { isStorageError, type StorageErrorCode } from './errors.ts';
import type { MachineSnapshot } from './snapshot.ts';

function sample(pages = 3): MachineSnapshot {
  const bytes = new Uint8Array(pages * 4096);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 12)) & 0xff;
  return {
    description: { machine: 'pc', cpu: { model: 'haswell' }, memoryBytes: 1 << 20 },
    cpus: [{ rax: 0xffff_ffff_ffff_ffffn, rip: 0xfff0n, xmm: new Uint8Array([1, 2, 3]), halted: false }],
    devices: { 'pic-8259a': { version: 1, state: { irr: 5, table: new Uint32Array([1, 2 ** 32 - 1]) } } },
    instructions: 2n ** 60n + 1n,
    virtualTimeNs: 12345n,
    spaces: [
      {
        name: 'ram',
        pageSize: 4096,
        pageCount: 256,
        full: true,
        indexes: Uint32Array.from({ length: pages }, (_, i) => i * 2),
        bytes,
      },
    ],
  };
}

const encode = (snapshot: MachineSnapshot): Uint8Array => Buffer.concat([...encodeCheckpointFile(snapshot)]);
const refused =
  (code: StorageErrorCode) =>
  (error: unknown): boolean =>
    isStorageError(error, code) && !error.message.includes('\n');

test('a checkpoint file gives back the same snapshot', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'revenant-file-'));
  try {
    const path = join(folder, 'a.ckpt');
    await writeCheckpointFile(path, sample(700 / 7));
    assert.deepEqual(await readCheckpointFile(path), sample(700 / 7));
    assert.deepEqual(await readdir(folder), ['a.ckpt']);
    await writeFile(path, (await readFile(path)).subarray(0, -1));
    await assert.rejects(readCheckpointFile(path), refused('CHECKPOINT_FILE_DAMAGED'));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('of a space on a base image the file holds what differs, zero pages too', async () => {
  const snapshot = sample(3);
  const [ram] = snapshot.spaces;
  const disk = { ...ram!, name: 'disk0', onBase: true, bytes: ram!.bytes.slice().fill(0, 0, 4096) };
  snapshot.spaces.push(disk);
  const file = encode(snapshot);
  assert.equal(Buffer.from(file).readUInt32LE(8), 2);
  assert.equal(Buffer.from(encode(sample())).readUInt32LE(8), 1, 'others stay readable for older programs');
  assert.deepEqual(await decodeCheckpointFile(file), snapshot);
});

test('zero pages are absent from the file', async () => {
  const snapshot = sample(2);
  snapshot.spaces[0]!.bytes.fill(0, 0, 4096);
  const back = await decodeCheckpointFile(encode(snapshot));
  assert.deepEqual([...back.spaces[0]!.indexes], [2]);
});

test('any snapshot survives the file', async () => {
  const state = fc.dictionary(
    fc.stringMatching(/^[a-z]{1,8}$/),
    fc.oneof(
      fc.integer(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.boolean(),
      fc.string(),
      fc.uint8Array({ maxLength: 40 }),
      fc.constant(null),
    ),
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(
      state,
      state,
      fc.uniqueArray(fc.nat(99), { maxLength: 20 }),
      async (cpu, device, pages) => {
        const snapshot = sample(1);
        snapshot.cpus = [cpu];
        snapshot.devices = { d: { version: 2, state: device } };
        const indexes = Uint32Array.from(pages.sort((a, b) => a - b));
        const bytes = new Uint8Array(indexes.length * 512);
        for (const [i, page] of indexes.entries()) bytes.fill(page + 1, i * 512, (i + 1) * 512);
        snapshot.spaces.push({ name: 'disk0', pageSize: 512, pageCount: 100, full: true, indexes, bytes });
        assert.deepEqual(await decodeCheckpointFile(encode(snapshot)), snapshot);
      },
    ),
    { numRuns: 50 },
  );
});

test('a truncated, flipped or lengthened file is refused', async () => {
  const good = encode(sample());
  for (let at = 0; at < good.length; at += 13) {
    const flipped = Buffer.from(good);
    flipped[at] = flipped[at]! ^ 0x10;
    await assert.rejects(decodeCheckpointFile(flipped), isStorageError, `flipped byte ${String(at)}`);
    const code = at < 8 ? 'CHECKPOINT_FILE_FOREIGN' : 'CHECKPOINT_FILE_DAMAGED';
    await assert.rejects(decodeCheckpointFile(good.subarray(0, at)), refused(code), `cut at ${String(at)}`);
  }
  await assert.rejects(
    decodeCheckpointFile(Buffer.concat([good, Buffer.alloc(1)])),
    refused('CHECKPOINT_FILE_DAMAGED'),
  );
});

test('a foreign or newer file is refused by name', async () => {
  await assert.rejects(
    decodeCheckpointFile(Buffer.from('#!/bin/sh\necho hello, world\n')),
    refused('CHECKPOINT_FILE_FOREIGN'),
  );
  const newer = Buffer.from(encode(sample()));
  newer.writeUInt32LE(3, 8);
  await assert.rejects(decodeCheckpointFile(newer), refused('CHECKPOINT_FILE_NEWER'));
});

test('a delta or an inconsistent snapshot is not written', () => {
  const delta = sample();
  delta.spaces[0]!.full = false;
  assert.throws(() => encode(delta), refused('SNAPSHOT_INVALID'));
  const unsorted = sample();
  unsorted.spaces[0]!.indexes = new Uint32Array([4, 2, 0]);
  assert.throws(() => encode(unsorted), refused('SNAPSHOT_INVALID'));
});
