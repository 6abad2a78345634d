/** What a node shows of VMs that it can't run: without their key, without the store, after it left. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseKey, readEpoch } from '@revenant/storage';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { StoreRoad } from '../testing/store-road.ts';
import { until } from '../testing/until.ts';
import { ClusterNode, type NodeOptions } from './cluster-node.ts';
import { answerMs } from '../testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-seen-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

function start(name: string, store: string, more: Partial<NodeOptions> = {}): Promise<ClusterNode> {
  const settings = makeSettings('default');
  return ClusterNode.start({
    name,
    store,
    listen: '127.0.0.1:0',
    settings,
    logLevel: 'silent',
    memoryMiB: 256,
    ...more,
  });
}

/** The master may hear of a node later than the other one that is asked. */
const untilDrained = (client: ClusterClient, node: string): Promise<void> =>
  until(`${node} to be drained`, () =>
    client.command({ type: 'drain', node }).then(
      () => true,
      () => false,
    ),
  );

test('a node without the key of a VM raises no epoch of it, and says why it does not run', async () => {
  const store = `file:${folder}/keys`;
  const a = await start('a', store, { key: parseKey('11'.repeat(32)) });
  const b = await start('b', store, { key: parseKey('22'.repeat(32)) });
  const client = new ClusterClient({ nodes: [b.address, a.address], answerMs });
  try {
    await untilDrained(client, 'b');
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    await client.waitFor('v1', ['running']);
    await until('its form', async () => (await client.vm('v1')).state !== undefined);
    await client.command({ type: 'undrain', node: 'b' });
    await a.close();
    await until('its loss', async () => (await client.vm('v1').catch(() => undefined))?.status === 'pending');
    await until('the reason', async () => /without|with another/.test((await client.vm('v1')).reason));
    const { reason, tries } = await client.vm('v1');
    assert.match(reason, /^no node fits: .*1 with another key than its state/);
    assert.deepEqual([tries, await readEpoch(b.store, 'v1')], [0, 1]);
  } finally {
    await client.close();
    await a.close();
    await b.close();
  }
});

test('VMs of a node without the store are shown suspended; a node that left is no dead one', async () => {
  const road = new StoreRoad(join(folder, 'shared'), join(folder, 'road-of-a'));
  road.open();
  const a = await start('a', road.url);
  const b = await start('b', `file:${folder}/shared`);
  const client = new ClusterClient({ nodes: [b.address], answerMs });
  const own = new ClusterClient({ nodes: [a.address], answerMs });
  try {
    await untilDrained(client, 'b');
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    await client.waitFor('v1', ['running']);
    assert.equal((await client.status()).vms[0]?.suspendedMs, undefined);
    road.close();
    // As its own node says, and as the others see it.
    for (const each of [own, client])
      await until('its suspension', async () => ((await each.status()).vms[0]?.suspendedMs ?? 0) > 0);
    // What it saw meanwhile waits for the store, and is told to whoever asks, with why the rest is missing.
    let missing = '';
    const told = async (): Promise<boolean> =>
      (await own.events({ missing: (why) => (missing = why) })).some(
        ({ event, by }) => event === 'lease-lost' && by === 'a',
      );
    await until('the kept event', told);
    assert.notEqual(missing, '');
    road.open();
    for (const each of [own, client])
      await until('its return', async () => (await each.status()).vms[0]?.suspendedMs === undefined);
    await until('its events in the store', async () => {
      const stored = (await client.events()).filter(({ event, by }) => event === 'lease-lost' && by === 'a');
      const names = stored.map(({ process, seq }) => `${process ?? ''} ${String(seq)}`);
      assert.equal(new Set(names).size, names.length, 'an event is told once');
      return stored.length > 0;
    });
    await client.command({ type: 'undrain', node: 'b' });
    const left = a.leave();
    await until('the leave', async () => {
      const { nodes } = await client.status();
      return nodes.find(({ id }) => id === 'a')?.state === 'left';
    });
    await left;
    const gone = (await client.status()).nodes.find(({ id }) => id === 'a');
    assert.deepEqual([gone?.reason, gone?.view?.powerOn], ['it left in order', []]);
  } finally {
    await client.close();
    await own.close();
    await a.close();
    await b.close();
  }
});

test('a node whose store is away ends all the same', async () => {
  const road = new StoreRoad(join(folder, 'ending'), join(folder, 'road-of-ending'));
  road.open();
  const node = await start('a', road.url);
  await until('its session', () => node.agent.phase === 'active');
  node.handle({ type: 'command', id: 'x', command: { type: 'undrain', node: 'a' } });
  road.close();
  await until('its suspension', () => node.agent.suspendedAt !== undefined);
  await node.close();
  road.open();
});
