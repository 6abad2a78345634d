/** A node in a container has the container's memory, not its host's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeShare, hostMemory, memoryOf } from './memory.ts';

const gib = 2 ** 30;
const host = { totalBytes: 64 * gib, freeBytes: 40 * gib };

test('without a limit it is what the host has', () => {
  for (const limitBytes of [0, 2 ** 64, 64 * gib])
    assert.deepEqual(memoryOf({ ...host, limitBytes, usedBytes: gib }), host);
  const { totalBytes, freeBytes } = hostMemory();
  assert.ok(freeBytes > 0 && freeBytes <= totalBytes);
});

test('with a limit it is that, less what the process uses', () => {
  const memory = memoryOf({ ...host, limitBytes: 4 * gib, usedBytes: 3 * gib });
  assert.deepEqual(memory, { totalBytes: 4 * gib, freeBytes: gib });
  assert.equal(freeShare(memory), 1 / 4);
  assert.equal(memoryOf({ ...host, limitBytes: 4 * gib, usedBytes: 5 * gib }).freeBytes, 0);
  // The host may have less than the limit leaves.
  assert.equal(memoryOf({ ...host, freeBytes: 9, limitBytes: 4 * gib, usedBytes: gib }).freeBytes, 9);
});
