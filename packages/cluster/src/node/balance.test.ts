/** A crowded node gives a VM to one that has come back, by a live move that nobody asked for, and tells why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodesInProcess } from '../../test-support/nodes-in-process.ts';
import { until } from '../testing/until.ts';

const spec = { runtime: 'chain', description: {}, memoryMiB: 64, priority: 1, outputs: 'async' as const };

test('nodes even themselves out while guests run', async () => {
  const cluster = await NodesInProcess.start('balance', { balanceAfterMs: 2000 });
  const { client } = cluster;
  try {
    const nodeOf = async (vmId: string): Promise<string | undefined> =>
      (await client.vm(vmId)).assignment?.node;
    await until(
      'both are there',
      async () => (await client.status()).nodes.filter(({ state }) => state === 'alive').length === 2,
    );
    await client.command({ type: 'balancing', automatic: false });
    await client.command({ type: 'drain', node: 'b' });
    const vms = ['v1', 'v2', 'v3'];
    for (const vmId of vms) await client.command({ type: 'vm-create', vmId, spec, start: true });
    for (const vmId of vms) await client.waitFor(vmId, ['running']);
    assert.deepEqual(await Promise.all(vms.map(nodeOf)), ['a', 'a', 'a']);
    await client.command({ type: 'undrain', node: 'b' });
    await client.command({ type: 'balancing', automatic: true });
    const onB = async (): Promise<string[]> => {
      const seen = await Promise.all(vms.map(async (vmId) => ({ vmId, node: await nodeOf(vmId) })));
      return seen.filter(({ node }) => node === 'b').map(({ vmId }) => vmId);
    };
    await until('one of three to move', async () => (await onB()).length === 1);
    const [moved] = await onB();
    const { boot } = await client.waitFor(moved!, ['running']);
    assert.equal(boot, 1, 'it was not started afresh');
    const events = await client.events();
    const told = events.filter(({ vm }) => vm === moved).map(({ event }) => event);
    assert.ok(told.includes('vm-rebalancing') && told.includes('vm-handing-over'), told.join(', '));
    const why = events.find(({ event }) => event === 'vm-rebalancing')!.reason;
    assert.equal(why, 'balance: 75 % of the room of a is taken, 0 % of that of b');
    const counts = await Promise.all(
      cluster.addresses.map(async (address) => {
        const text = await (await fetch(`http://${address}/metrics`)).text();
        return Number(/^revenant_rebalance_moves_total (\d+)$/m.exec(text)?.[1]);
      }),
    );
    assert.equal(counts[0]! + counts[1]!, 1, 'counted by the master');
  } finally {
    await cluster.close();
  }
});
