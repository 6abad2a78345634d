/** How much of a console's end is kept, and for how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StampedOutput } from '@revenant/emulator';
import { ConsoleTail } from './console-tail.ts';

const halfMinute = 30_000;
const pieceBytes = 1000;

const piece = (number: number): StampedOutput => ({
  ...{ number, instructions: 0n, timeNs: 0n },
  output: { kind: 'serial', port: 0, bytes: new Uint8Array(pieceBytes) },
});

test('what left stays for half a minute, and at most 64 KiB of it; what is held back stays whole', () => {
  const tail = new ConsoleTail(undefined, 0);
  const pieces = Array.from({ length: 200 }, (_, n) => piece(n * pieceBytes));
  for (const each of pieces) tail.said(each);
  assert.equal(tail.state(halfMinute)?.bytes.length, 200 * pieceBytes);
  for (const each of pieces.slice(0, 100)) tail.left(each, 1000);
  const kept = 66 + 100;
  assert.equal(tail.state(1000)?.bytes.length, kept * pieceBytes);
  assert.equal(tail.state(1000 + halfMinute - 1)?.at, (200 - kept) * pieceBytes);
  assert.equal(tail.state(1000 + halfMinute)?.at, 100 * pieceBytes);
  for (const each of pieces.slice(100)) tail.left(each, 2000);
  assert.equal(tail.state(2000 + halfMinute), undefined);
});
