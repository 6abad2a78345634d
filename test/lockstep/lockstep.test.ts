import { test } from 'node:test';
import assert from 'node:assert/strict';
import { compareEngines } from './lockstep.ts';

test('both engines agree on random programs', async () => {
  const { differences, regions } = await compareEngines(1, 1500);
  assert.deepEqual(differences, []);
  assert.ok(regions > 500, `only ${regions} regions were translated`);
});
