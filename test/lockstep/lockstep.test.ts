/** Both engines agree on random programs. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { makeFloatingProgram } from './floating-programs.ts';
import { compareEngines } from './lockstep.ts';

test('both engines agree on random programs', async () => {
  const { differences, regions, sequences, exceptions } = await compareEngines(1, 400);
  assert.deepEqual(differences, []);
  assert.ok(sequences > 2000, `only ${sequences} sequences were executed`);
  assert.ok(exceptions > 800, `only ${exceptions} exceptions were delivered`);
  assert.ok(regions > 500, `only ${regions} regions were translated`);
});

test('both engines agree on floating-point programs in all states', async () => {
  const { differences, sequences } = await compareEngines(1, 300, makeFloatingProgram);
  assert.deepEqual(differences, []);
  assert.ok(sequences > 1200, `only ${sequences} sequences were executed`);
});
