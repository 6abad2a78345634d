/** Gateway and switch against random frames. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fuzz } from './fuzz.ts';

it('gateway and switch stand random and mutated frames, and random events of the host', () => {
  const seed = Number(process.env.REVENANT_SEED ?? 1);
  assert.ok(fuzz(Number(process.env.REVENANT_EVENTS ?? 60_000), seed) > 0);
});
