/** A clock that also counts time in which the host slept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SteadyClock } from './steady-clock.ts';

test('time that the monotonic clock missed, and another clock shows, has passed', () => {
  const clocks = { monotonicMs: 1000, bootMs: 5000, wallMs: 1e12 };
  const clock = new SteadyClock(() => ({ ...clocks }));
  const pass = (monotonicMs: number, bootMs = monotonicMs, wallMs = monotonicMs): number => {
    clocks.monotonicMs += monotonicMs;
    clocks.bootMs += bootMs;
    clocks.wallMs += wallMs;
    return clock.now();
  };
  assert.equal(pass(100), 1100);
  // Coarse, or slowly corrected: no gap.
  assert.equal(pass(100, 110, 350), 1200);
  // Asleep for ten seconds; paused for five, and the wall clock set right.
  assert.equal(pass(100, 10_100, 100), 11_300);
  assert.equal(pass(100, 100, 5100), 16_400);
  // A wall clock that is set back, by an hour, shows nothing.
  assert.equal(pass(100, 100, -3_600_000), 16_500);
  assert.equal(clock.lostMs, 15_000);
});
