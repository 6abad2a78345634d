/** A live move of a whole PC between two nodes: the next one is ready before the guest stops, and the guest's chain goes on unrepeated. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChainChecker, ClusterClient, ClusterNode, makeSettings } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { demoGuest } from '../packages/cli/src/demo/guest.ts';
import { until } from '../packages/cluster/src/testing/until.ts';
import { answerMs } from '../packages/cluster/src/testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-move-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a machine that moves there and back repeats nothing and loses nothing', async () => {
  buildModules(() => undefined);
  const nodes: ClusterNode[] = [];
  for (const name of ['a', 'b'])
    nodes.push(
      await ClusterNode.start({
        ...{ name, store: `file:${folder}/store`, listen: '127.0.0.1:0' },
        ...{ settings: makeSettings('default'), logLevel: 'silent', memoryMiB: 256 },
      }),
    );
  const client = new ClusterClient({ nodes: nodes.map(({ address }) => address), answerMs });
  const guest = await demoGuest('builtin', () => undefined);
  const checker = new ChainChecker(guest.rule);
  const follower = client.console('pc', (bytes, epoch) => checker.hear(bytes, epoch));
  const steps = async (): Promise<void> => {
    const { steps } = checker.state;
    await until('more steps', () => checker.state.steps > steps + 5);
  };
  try {
    await until('two nodes', async () => {
      const known = await client.status().catch(() => undefined);
      return known?.nodes.filter(({ state }) => state === 'alive').length === 2;
    });
    const { runtime, memoryMiB } = guest;
    const description = await guest.describe(client);
    const spec = { runtime, description, memoryMiB, priority: 1, outputs: 'async' as const };
    await client.command({ type: 'vm-create', vmId: 'pc', spec, start: true });
    await client.waitFor('pc', ['running']);
    for (const move of [1, 2]) {
      await steps();
      await client.command({ type: 'vm-migrate', vmId: 'pc' });
      await until('the move', async () => {
        const { status, attempt } = await client.vm('pc');
        return status === 'running' && attempt === move + 1;
      });
    }
    await steps();
    assert.ok(checker.finish(5000) > 15);
    assert.equal(checker.state.fault, undefined);
    assert.equal(checker.state.repeated, 0);
    await until('the event log', async () => {
      const events = await client.events();
      const count = (wanted: string): number => events.filter(({ event }) => event === wanted).length;
      const refused = events.filter(({ event }) => event === 'vm-not-prepared');
      assert.deepEqual(
        refused.map(({ reason }) => reason),
        [],
      );
      return count('vm-prepared') === 2 && count('vm-suspended') === 2;
    });
  } finally {
    follower.close();
    await client.close();
    for (const node of nodes) await node.close();
  }
});
