/** Heartbeats through several datastores, of which some are lost. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { NodeProcess } from '../demo/processes.ts';
import { isClusterError } from '../errors.ts';
import { StoreRoad } from '../testing/store-road.ts';
import { until } from '../testing/until.ts';
import { ClusterNode } from './cluster-node.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-heartbeats-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

/** A store as node `name` sees it. */
function road(store: string, name: string): StoreRoad {
  const way = new StoreRoad(join(folder, store), join(folder, `${store}-of-${name}`));
  way.open();
  return way;
}

test('a lost heartbeat datastore is an event and no more; without network and store a host lives by the other one', async () => {
  const names = ['a', 'b', 'c'];
  const roads = new Map(
    names.map((name) => [name, { main: road('main', name), one: road('one', name), two: road('two', name) }]),
  );
  const nodes = new Map<string, NodeProcess>();
  for (const [name, { main, one, two }] of roads) {
    const process = {
      name,
      store: main.url,
      heartbeatStores: [one.url, two.url],
      profile: 'default' as const,
    };
    nodes.set(name, await NodeProcess.start({ ...process, logFile: join(folder, `${name}.log`) }));
  }
  const client = new ClusterClient({ nodes: [...nodes.values()].map(({ address }) => address) });
  const events = async (wanted: string): Promise<string[]> =>
    (await client.events()).filter(({ event }) => event === wanted).map(({ node }) => node ?? '');
  try {
    await until('three nodes, each with three datastores', async () => {
      const known = await client.status().catch(() => undefined);
      return known?.nodes.filter(({ state, view }) => state === 'alive' && view?.stores === 3).length === 3;
    });
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    const { assignment } = await client.waitFor('v1', ['running']);
    const { master } = await client.status();
    // Not the master, so that it is the master who judges.
    const victim = names.find((name) => name !== master && name !== assignment?.node)!;
    await client.command({ type: 'vm-migrate', vmId: 'v1', to: victim });
    await until('the move', async () => (await client.vm('v1')).assignment?.node === victim);
    await client.waitFor('v1', ['running']);

    roads.get(victim)!.one.close();
    await until('the event', async () => (await events('heartbeat-store-lost')).includes(victim));
    const { nodes: seen } = await client.status();
    assert.ok(seen.every(({ state }) => state === 'alive'));

    await nodes.get(victim)!.cut(['*']);
    roads.get(victim)!.main.close();
    const others = new ClusterClient({
      nodes: [...nodes.values()].filter(({ name }) => name !== victim).map(({ address }) => address),
    });
    await until('it to be seen without the store', async () => {
      const found = (await others.status()).nodes.find(({ id }) => id === victim);
      return found?.reason.includes('does not reach the store, but its heartbeat goes on') === true;
    });
    // It is given storeLossMs rather than deadMs; then its VM, which it suspended, runs elsewhere.
    await until('the failover', async () => {
      const vm = await others.vm('v1').catch(() => undefined);
      return vm?.status === 'running' && vm.assignment?.node !== victim;
    });
    const fence = (await others.events()).find(({ event, node }) => event === 'host-dead' && node === victim);
    const [, still] =
      /its heartbeat goes on in another datastore, but without the store for (\d+) ms/.exec(
        fence?.reason ?? '',
      ) ?? [];
    assert.ok(Number(still) >= makeSettings('default').storeLossMs, fence?.reason);
    await others.close();
  } finally {
    for (const node of nodes.values()) node.kill();
    await client.close();
  }
});

test('the same datastore twice, by one name or two, is refused', async () => {
  const main = road('twice', 'a').url;
  const options = { name: 'a', store: main, listen: '127.0.0.1:0', settings: makeSettings('default') };
  for (const heartbeatStores of [
    [main],
    ['file:/x', 'file:/x'],
    ['file:/1', 'file:/2', 'file:/3', 'file:/4'],
  ])
    await assert.rejects(ClusterNode.start({ ...options, heartbeatStores }), (error) =>
      isClusterError(error, 'BAD_REQUEST'),
    );
  const other = road('twice', 'b').url;
  const node = await ClusterNode.start({ ...options, heartbeatStores: [other], logLevel: 'silent' });
  try {
    await until('the refusal', () =>
      node.heartbeatStores.states.some(({ reason }) => reason === `it is the same as ${main}`),
    );
    assert.equal(node.agent.view.stores, 1);
  } finally {
    await node.close();
  }
});
