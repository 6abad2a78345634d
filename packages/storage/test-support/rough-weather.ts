/** A store that fails now and then in every way that real ones do, by a seeded host's randomness. */
import type { FakeHost } from './fake-host.ts';
import type { Fault, FaultPlan } from './faulty-store.ts';

/** @param late collects keys of puts that come late. */
export function roughWeather(host: FakeHost, rate: number, late: Set<string>): FaultPlan {
  const flipped = new Set<string>();
  return (operation, key): Fault | undefined => {
    // A key that gave a flipped bit gives the truth the next time: bits flip on the way here, not in the store.
    if (flipped.delete(key)) return undefined;
    const roll = host.uniform();
    if (roll > rate)
      return roll > 0.6 ? { kind: 'slow', delayMs: Math.floor(host.uniform() * 20) } : undefined;
    const delayMs = Math.floor(host.uniform() * 400);
    const kinds: Fault[] = [
      { kind: 'refused' },
      { kind: 'reply-lost' },
      { kind: 'late', delayMs },
      { kind: 'timeout', delayMs },
      { kind: 'full' },
      { kind: 'flip' },
    ];
    const fault = kinds[Math.floor(host.uniform() * kinds.length)];
    if (fault?.kind === 'flip') flipped.add(key);
    if (fault?.kind === 'late' && operation === 'put') late.add(key);
    return fault;
  };
}
