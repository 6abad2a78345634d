/** The timeline of a VM: epochs, moments and the axis, from events. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterEvent, ListedCheckpoint } from '@revenant/cluster/protocol';
import { axisSteps, momentsOf, nearest, spansOf, stretchOf, toneOf, virtualMsAt } from './timeline-model.ts';

const checkpoint = (epoch: number, sequence: number, atMs: number, counts = true): ListedCheckpoint => ({
  id: `${String(epoch)}-${String(sequence)}`,
  epoch,
  counts,
  newest: false,
  atMs,
});
const event = (name: string, atMs: number, by: string, epoch?: number): ClusterEvent => ({
  ...{ event: name, atMs, by, reason: '' },
  ...(epoch === undefined ? {} : { epoch }),
});

test('each epoch lasts from its first sign to the next one, on the node that says so', () => {
  const checkpoints = [checkpoint(1, 1, 1100), checkpoint(1, 2, 2100), checkpoint(2, 3, 5100)];
  const events = [
    event('vm-started', 1000, 'a', 1),
    event('vm-lost', 4000, 'c'),
    event('vm-started', 5000, 'b', 2),
  ];
  assert.deepEqual(spansOf(checkpoints, events, 9000), [
    { epoch: 1, node: 'a', fromMs: 1000, toMs: 5000 },
    { epoch: 2, node: 'b', fromMs: 5000, toMs: 9000 },
  ]);
  // Of a VM whose events are gone; what an owner wrote that had lost the VM is no sign of its epoch.
  assert.deepEqual(spansOf([checkpoint(4, 9, 700), checkpoint(3, 8, 800, false)], [], 900), [
    { epoch: 4, node: '', fromMs: 700, toMs: 900 },
  ]);
});

test('moments are in order of time, and the nearest is found', () => {
  const { atMs: _, ...headless } = checkpoint(1, 7, 0);
  const moments = momentsOf([checkpoint(1, 2, 20), headless, checkpoint(1, 1, 10)]);
  assert.deepEqual(
    moments.map(({ checkpoint: { id } }) => id),
    ['1-1', '1-2'],
  );
  assert.equal(nearest(moments, 14)?.checkpoint.id, '1-1');
  assert.equal(nearest(moments, 900)?.checkpoint.id, '1-2');
  assert.equal(nearest([], 1), undefined);
});

test('failures are told from moves and from what is usual', () => {
  const tones = ['vm-lost', 'checkpoint-failed', 'vm-rebalancing', 'vm-suspended', 'vm-executes', 'asked'];
  assert.deepEqual(
    tones.map((name) => toneOf({ event: name })),
    ['bad', 'bad', 'accent', 'warn', 'quiet', 'quiet'],
  );
});

test('an axis has round steps, and no more of them than there is room for', () => {
  assert.deepEqual(axisSteps(1500, 4200, 5), [2000, 3000, 4000]);
  assert.deepEqual(axisSteps(0, 3_600_000, 4), [0, 900_000, 1_800_000, 2_700_000, 3_600_000]);
  assert.ok(axisSteps(0, 90 * 86_400_000, 20).length <= 21);
});

test("the guest's own time between checkpoints is that of its part of the way, and behind the last one runs as the clock does", () => {
  const moments = momentsOf([
    { ...checkpoint(1, 1, 1000), virtualMs: 50 },
    { ...checkpoint(1, 2, 3000), virtualMs: 1050 },
    checkpoint(1, 3, 4000),
  ]);
  for (const [atMs, virtualMs] of [
    [500, 50],
    [1000, 50],
    [2000, 550],
    [3000, 1050],
    [3500, 1550],
  ] as const)
    assert.equal(virtualMsAt(moments, atMs), virtualMs, String(atMs));
  assert.equal(virtualMsAt([], 1000), undefined);
  assert.deepEqual(stretchOf(moments, { fromMs: 900, toMs: 2000 }), { from: '1-1', toMs: 550 });
  assert.equal(stretchOf(moments, { fromMs: 3100, toMs: 2000 }), undefined, 'a drag into the past');
});
