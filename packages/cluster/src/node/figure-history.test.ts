/** The last samples of each VM's figures, bounded in number. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFiguresSchema, vmFiguresSchema } from '../protocol/figures.ts';
import { maxSamples } from '../protocol/limits.ts';
import { check } from '../protocol/schema.ts';
import { newFigures, type VmFigures } from '../vm/vm-figures.ts';
import { FigureHistory } from './figure-history.ts';

const historyOf = (vms: () => VmFigures[]): FigureHistory =>
  new FigureHistory({ node: 'a', vms }, assert.ifError);

test('a VM has its last samples, and no more of them', () => {
  let instructions = 0n;
  const history = historyOf(() => [newFigures('vm', 3, (instructions += 5n))]);
  for (let n = 0; n < maxSamples + 10; n++) history.sample();
  const samples = history.samplesOf('vm');
  assert.equal(samples.length, maxSamples);
  assert.equal(samples[0]!.instructions, 11 * 5);
  assert.equal(samples.at(-1)!.instructions, (maxSamples + 10) * 5);
  // What it answers is what the protocol says.
  check(vmFiguresSchema, { samples: [...samples] }, 'samples');
  const now = check(nodeFiguresSchema, history.now(), 'figures');
  assert.deepEqual([now.node, now.vms[0]!.epoch, now.vms[0]!.ageMs], ['a', 3, undefined]);
  history.close();
});

test('of VMs that are gone the ones that ran last are kept', () => {
  let name = 0;
  const history = historyOf(() => [newFigures('stays', 1, 0n), newFigures(`vm${String(name)}`, 1, 0n)]);
  for (; name < 500; name++) history.sample();
  assert.equal(history.samplesOf('stays').length, 500);
  assert.equal(history.samplesOf('vm499').length, 1);
  assert.equal(history.samplesOf('vm0').length, 0);
  history.close();
});

test('of a VM that another node follows it is told how far that is', () => {
  const standby = {
    node: 'b',
    condition: 'lagging' as const,
    reason: '',
    lagMs: 40,
    behindInstructions: 7,
    checked: null,
  };
  const history = historyOf(() => [{ ...newFigures('vm', 3, 1n), standby }]);
  const { vms } = check(nodeFiguresSchema, history.now(), 'figures');
  assert.deepEqual(vms[0]!.standby, { node: 'b', condition: 'lagging', lagMs: 40 });
  history.close();
});
