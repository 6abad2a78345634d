/** The guest of tests: what it is follows from what it was told, and when by its own time, not from who looked at it in between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGuest } from './chain-guest.ts';
import type { GuestStart } from './vm-runtime.ts';

const start: GuestStart = {
  description: {},
  snapshot: undefined,
  blobs: new Map(),
  generation: new Uint8Array(16),
};
const typed = { kind: 'serial', port: 0, bytes: Buffer.from('a line\n') } as const;

test('a guest of tests has the same state whether its outputs were taken before a checkpoint or after', async () => {
  const states = [];
  for (const asks of [true, false]) {
    const guest = await createGuest(start);
    guest.input(typed);
    const early = asks ? guest.outputs() : [];
    const { devices } = guest.snapshot();
    const [said, ...more] = [...early, ...guest.outputs()];
    assert.equal(said?.number, 0);
    assert.deepEqual(more, []);
    states.push(devices);
  }
  assert.deepEqual(states[0], states[1]);
});

test('the outputs of a guest of tests are numbered by the bytes before them', async () => {
  const guest = await createGuest(start);
  const numbers = [];
  for (let n = 0; n < 3; n++) {
    guest.input(typed);
    numbers.push(...guest.outputs().map(({ number }) => number));
  }
  assert.deepEqual(numbers, [0, 7, 14]);
});
