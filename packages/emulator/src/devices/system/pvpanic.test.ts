/** pvpanic, by which a guest says that it failed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pvpanic, type PanicEvent } from './pvpanic.ts';

test('pvpanic says which events it knows, and reports what is written, bit by bit', () => {
  const seen: PanicEvent[] = [];
  const device = new Pvpanic({ report: (event) => seen.push(event) });
  assert.equal(device.readPort(), 3);
  for (const value of [0, 0xfc, 1, 2, 0xff]) device.writePort(0x505, 1, value);
  assert.deepEqual(seen, ['panicked', 'crashLoaded', 'panicked', 'crashLoaded']);
});
