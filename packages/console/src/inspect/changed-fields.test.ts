/** Fields of a device's state that differ between two checkpoints. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedFields } from './changed-fields.ts';

test('every leaf that differs is named, with what it was and is', () => {
  const before = { cpus: [{ rip: 1n, xmm: Uint8Array.of(1, 2) }], devices: { pit: { state: { mode: 2 } } } };
  const after = {
    cpus: [{ rip: 0x10n, xmm: Uint8Array.of(1, 3) }],
    devices: { pit: { state: { mode: 2, gate: true } } },
  };
  assert.deepEqual(changedFields(before, after), [
    { path: 'cpus.0.rip', before: '0x1', after: '0x10' },
    { path: 'cpus.0.xmm', before: '01 02', after: '01 03' },
    { path: 'devices.pit.state.gate', before: 'absent', after: 'true' },
  ]);
  assert.deepEqual(changedFields(before, structuredClone(before)), []);
});

test('what is long is cut, and what becomes another thing is one change', () => {
  const [change] = changedFields({ a: { b: 1 } }, { a: 'x'.repeat(500) });
  assert.equal(change?.path, 'a');
  assert.ok(change.after.length <= 80 && change.after.endsWith('…'));
});
