/** The last bytes that a serial port sent. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { SerialLog } from './serial-log.ts';

test('a log keeps the last bytes, oldest first', () => {
  const log = new SerialLog(4);
  assert.deepEqual(log.contents(), new Uint8Array(0));
  for (const byte of [1, 2, 3]) log.push(byte);
  assert.deepEqual(log.contents(), Uint8Array.of(1, 2, 3));
  for (const byte of [4, 5, 6]) log.push(byte);
  assert.deepEqual(log.contents(), Uint8Array.of(3, 4, 5, 6));
  log.load(Uint8Array.of(7, 8));
  log.push(9);
  assert.deepEqual(log.contents(), Uint8Array.of(7, 8, 9));
});
