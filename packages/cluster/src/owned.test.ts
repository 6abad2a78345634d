/** A failure of what nobody waits for is its owner's, whether it comes at once or later. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { owned } from './owned.ts';

test('the owner hears what is thrown, and what is rejected', async () => {
  const heard: unknown[] = [];
  const failed = (error: unknown): void => void heard.push((error as Error).message);
  let ran = 0;
  owned(() => ran++, failed)();
  assert.deepEqual([ran, heard], [1, []]);
  owned(() => {
    throw new Error('at once');
  }, failed)();
  assert.deepEqual(heard, ['at once']);
  owned(() => Promise.reject(new Error('later')), failed)();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard, ['at once', 'later']);
});
