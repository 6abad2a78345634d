/** Gateway, switch, parsers and network cards against random frames and hostile drivers: the short form of fuzz.ts. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fuzz, partNames } from './fuzz.ts';

const seed = Number(process.env.REVENANT_SEED ?? 1);
const events = Number(process.env.REVENANT_EVENTS ?? 60_000);

for (const part of partNames)
  it(`${part} stands random and mutated frames, and all that others do beside`, () => {
    assert.ok(fuzz(part, events, seed) > 0);
  });
