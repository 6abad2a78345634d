/** How long the thread of a guest that does nothing may sleep. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxSleepMs, Quiet } from './quiet.ts';

const tick = { waitsMs: 9, diskRequests: 0 };

test('a guest that nobody notices sleeps through some of its timers, a second later', () => {
  const quiet = new Quiet(5000);
  assert.equal(quiet.sleepMs(tick, 5999), 9);
  assert.equal(quiet.sleepMs(tick, 6000), 40);
  assert.equal(quiet.sleepMs({ ...tick, waitsMs: 45 }, 6000), 45);
  assert.equal(quiet.sleepMs({ ...tick, waitsMs: Infinity }, 6000), maxSleepMs);
});

test('ten seconds later it sleeps through more of them', () => {
  const quiet = new Quiet(0);
  assert.equal(quiet.sleepMs(tick, 9999), 40);
  assert.equal(quiet.sleepMs(tick, 10_000), 100);
  assert.equal(quiet.sleepMs({ ...tick, waitsMs: Infinity }, 10_000), 100);
  assert.equal(quiet.isQuiet(10_000), true);
  quiet.active(10_000);
  assert.equal(quiet.isQuiet(10_000), false);
  assert.equal(quiet.sleepMs(tick, 10_100), 9);
});

test('what it says or hears, and a request of its disk, end that', () => {
  const quiet = new Quiet(0);
  assert.equal(quiet.sleepMs(tick, 2000), 40);
  quiet.active(2500);
  assert.equal(quiet.sleepMs(tick, 3000), 9);
  assert.equal(quiet.sleepMs(tick, 3500), 40);
  assert.equal(quiet.sleepMs({ ...tick, diskRequests: 3 }, 3600), 9);
  assert.equal(quiet.sleepMs({ ...tick, diskRequests: 3 }, 4599), 9);
  assert.equal(quiet.sleepMs({ ...tick, diskRequests: 3 }, 4600), 40);
});

test('what is due is done at once', () => {
  const quiet = new Quiet(0);
  assert.equal(quiet.sleepMs({ ...tick, waitsMs: 0 }, 9000), 0);
});
