import { test } from 'node:test';
import assert from 'node:assert/strict';
import { WallPace } from './wall-pace.ts';

test('virtual time follows the wall clock from where it stands', () => {
  let now = 5_000n;
  const pace = new WallPace(() => now);
  assert.equal(pace.due(700n), 700n);
  now += 300n;
  assert.equal(pace.due(700n), 1000n);
  // A guest that ran ahead waits for the wall clock.
  assert.equal(pace.due(2000n), 1000n);
});

test('what a guest lags behind is made up, but no more than a second of it', () => {
  let now = 0n;
  const pace = new WallPace(() => now);
  pace.due(0n);
  now = 600_000_000n;
  assert.equal(pace.due(100_000_000n), 600_000_000n);
  now = 3_600_000_000_000n;
  assert.equal(pace.due(600_000_000n), 1_600_000_000n);
  now += 5n;
  assert.equal(pace.due(1_600_000_000n), 1_600_000_005n);
});
