/** Frames of a guest's network card on their way out of its thread. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InputResult, MachineInput } from '@revenant/emulator';
import { FrameFeed } from './frame-feed.ts';

test('frames go in batches, one after the other, and what finds no room is dropped', async () => {
  const batches: (readonly MachineInput[])[] = [];
  let answer: (results: InputResult[]) => void = () => undefined;
  const feed = new FrameFeed((inputs) => {
    batches.push(inputs);
    return new Promise((resolve) => (answer = resolve));
  }, assert.ifError);
  const frame = (n: number): Uint8Array => new Uint8Array(60_000).fill(n);
  for (let n = 0; n < 40; n++) feed.put(frame(n));
  assert.equal(feed.dropped, 6, 'of 2 MiB that wait, 34 frames are within');
  const told: number[] = [];
  while (told.length < 34) {
    await new Promise(setImmediate);
    const batch = batches.at(-1)!;
    assert.ok(batch.length <= 8);
    for (const input of batch) told.push('bytes' in input ? input.bytes[0]! : -1);
    answer(batch.map(() => 'taken'));
  }
  assert.deepEqual(
    told,
    Array.from({ length: 34 }, (_, n) => n),
  );
  await new Promise(setImmediate);
  assert.equal(batches.length, 5);
  feed.put(frame(1));
  await new Promise(setImmediate);
  assert.equal(batches.length, 6);
  answer(['full']);
  await new Promise(setImmediate);
  assert.equal(feed.dropped, 7);
});
