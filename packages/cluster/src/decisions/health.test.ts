/** From a guest's signs of life it is decided whether it hangs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { lookedAt, noSilence, settleMs, whyHung, type HealthPolicy, type Silence } from './health.ts';

const policy: HealthPolicy = { watch: 'console', silentMs: 10_000 };

/** Looks once a second; a number is a sign, `same` the last one again, `away` time in which the guest could not run. */
function watch(seconds: readonly (number | 'same' | 'away')[]): {
  hungAt: number | undefined;
  silence: Silence;
} {
  let silence = noSilence(0);
  let last = 0;
  for (const [n, seen] of seconds.entries()) {
    const nowMs = (n + 1) * 1000;
    if (typeof seen === 'number') last = seen;
    silence = lookedAt(silence, { nowMs, sign: String(last), mayRun: seen !== 'away' });
    if (whyHung(policy, silence, nowMs) !== undefined) return { hungAt: nowMs, silence };
  }
  return { hungAt: undefined, silence };
}

const times = <T>(count: number, what: T): T[] => Array.from({ length: count }, () => what);

describe('signs of life', () => {
  test('a guest that showed some and shows none any more is hung after its time', () => {
    assert.equal(watch([1, 2, ...times(9, 'same' as const)]).hungAt, undefined);
    assert.equal(watch([1, 2, ...times(10, 'same' as const)]).hungAt, 12_000);
  });

  test('one that is still on its way has longer', () => {
    assert.equal(watch(times(settleMs / 1000 - 1, 'same' as const)).hungAt, undefined);
    assert.equal(watch(times(settleMs / 1000, 'same' as const)).hungAt, settleMs);
  });

  test('time in which it could not run is no silence', () => {
    const beginning = [1, 2, ...times(9, 'same' as const), ...times(100, 'away' as const)];
    assert.equal(watch(beginning).hungAt, undefined);
    assert.equal(watch([...beginning, ...times(10, 'same' as const)]).hungAt, 121_000);
  });

  test('looks without news of the guest neither end nor hide its silence', () => {
    let silence = lookedAt(noSilence(0), { nowMs: 1, sign: 'a', mayRun: true });
    silence = lookedAt(silence, { nowMs: 2, sign: 'b', mayRun: true });
    silence = lookedAt(silence, { nowMs: 9000, sign: undefined, mayRun: true });
    assert.equal(whyHung(policy, silence, 10_001), undefined);
    assert.match(
      whyHung(policy, silence, 10_002) ?? '',
      /no output on its console and no disk request for 10 s/,
    );
  });
});
