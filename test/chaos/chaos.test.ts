import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterEvent } from '@revenant/cluster';
import { seeded } from './faults.ts';
import { runChaos } from './run.ts';
import { violations } from './verdict.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-chaos-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test(
  'a short chaos run: no chain breaks, no epoch runs twice, all VMs come back',
  { timeout: 240_000 },
  async () => {
    const said: string[] = [];
    const result = await runChaos({
      store: `file:${folder}/store`,
      folder: join(folder, 'logs'),
      seed: 12,
      minutes: 0.3,
      profile: 'fast',
      nodes: 3,
      vms: 3,
      say: (line) => said.push(line),
    });
    assert.deepEqual(result.violations, [], said.join('\n'));
    assert.ok(result.faults >= 3 && result.steps > 100, JSON.stringify(result));
  },
);

test('an epoch that ran on two nodes, and a VM taken from a node that was only cut off, are found', () => {
  const event = (name: string, more: Partial<ClusterEvent>): ClusterEvent => ({
    event: name,
    reason: '',
    atMs: 100,
    by: 'a',
    ...more,
  });
  const ran = (node: string, epoch: number): ClusterEvent =>
    event('vm-executes', { vm: 'v', node, reason: `first instructions under epoch ${epoch}` });
  assert.deepEqual(violations([ran('a', 1), ran('b', 2), ran('a', 3)], []), []);
  assert.deepEqual(violations([ran('a', 1), ran('b', 1)], []), ['v epoch 1 ran on a and on b']);
  const lost = event('vm-lost', { vm: 'v', node: 'a', reason: 'a is fenced' });
  assert.match(violations([lost], [{ node: 'a', fromMs: 50, toMs: 150 }])[0] ?? '', /v was taken from a/);
  assert.deepEqual(violations([lost], [{ node: 'b', fromMs: 50, toMs: 150 }]), []);
});

test('a seed gives the same numbers again', () => {
  const [one, two] = [seeded(7), seeded(7)];
  const numbers = Array.from({ length: 5 }, one);
  assert.deepEqual(numbers, Array.from({ length: 5 }, two));
  assert.ok(numbers.every((n) => n >= 0 && n < 1));
});
