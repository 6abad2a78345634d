/** Backups of VMs in another store, and VMs that are made of them: in the cluster where they were, and in another. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openStore, PagePool, type ObjectStore } from '@revenant/storage';
import { makeSettings } from '../decisions/settings.ts';
import { chainDigest } from '../vm/chain-guest.ts';
import { isClusterError } from '../errors.ts';
import { ClusterNode } from '../node/cluster-node.ts';
import { until } from '../testing/until.ts';
import { backUpVm, restoreVm } from './backups.ts';
import { ClusterClient } from './cluster-client.ts';

const spec = {
  ...{ runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const },
  network: { name: 'office', publish: [] },
};

interface Place {
  node: ClusterNode;
  client: ClusterClient;
  store: ObjectStore;
}

let folder: string;
let pool: PagePool;
let backup: ObjectStore;
const places: Place[] = [];

async function start(name: string): Promise<Place> {
  const url = `file:${join(folder, name)}`;
  const node = await ClusterNode.start({
    ...{ name, store: url, listen: '127.0.0.1:0', logLevel: 'silent', memoryMiB: 256 },
    settings: makeSettings('default'),
  });
  const client = new ClusterClient({ nodes: [node.address], answerMs: 60_000 });
  const place = { node, client, store: await openStore(url) };
  places.push(place);
  return place;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'revenant-backups-'));
  pool = new PagePool({ threads: 1 });
  backup = await openStore(`file:${join(folder, 'backups')}`, { create: true });
});
after(async () => {
  for (const { node, client, store } of places) {
    await client.close();
    await node.close();
    await store.close();
  }
  await backup.close();
  await pool.close();
  await rm(folder, { recursive: true });
});

/** Steps that a VM's console shows from now on, each of which follows from the one before. */
async function stepsOf(client: ClusterClient, vmId: string, count: number): Promise<number[]> {
  let text = '';
  const follower = client.console(vmId, (bytes) => (text += Buffer.from(bytes).toString('latin1')));
  const read = (): { step: number; digest: string }[] =>
    [...text.matchAll(/^step (\d+) ([0-9a-f]{64})\r?$/gm)].map(([, step = '', digest = '']) => ({
      step: Number(step),
      digest,
    }));
  await until(`steps of ${vmId}`, () => read().length >= count);
  follower.close();
  const steps = read();
  for (const [i, { step, digest }] of steps.entries()) {
    const before = steps[i - 1];
    if (before?.step === step - 1) assert.equal(digest, chainDigest(before.digest, step));
  }
  return steps.map(({ step }) => step);
}

test('a VM is backed up, deleted, and goes on from its backup, here and in another cluster', async () => {
  const here = await start('a');
  const { client, store } = here;
  await client.command({
    ...{ type: 'network-create', network: 'office' },
    spec: { subnet: '10.9.0.0/16', outbound: false, guard: true, hostPorts: [] },
  } as never);
  await client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
  await stepsOf(client, 'web', 5);
  const first = await (async () => {
    for (;;) {
      try {
        return await backUpVm({ from: store, to: backup, vmId: 'web' }, { pool });
      } catch (error) {
        // Before its first checkpoint.
        assert.match(String(error), /there is no checkpoint/);
        await stepsOf(client, 'web', 2);
      }
    }
  })();
  assert.equal(first.copiedPages, first.totalPages);
  const last = (await stepsOf(client, 'web', 40)).at(-1)!;
  const { nic } = await client.vm('web');
  assert.ok(nic);
  let second = first;
  while (second.record.from === first.record.from) {
    await stepsOf(client, 'web', 5);
    second = await backUpVm({ from: store, to: backup, vmId: 'web' }, { pool, readBack: true });
  }

  // Its address is in use as long as it is there: a copy beside it has another.
  await restoreVm(client, { backup, vmId: 'web', to: store, as: 'copy' }, { pool });
  const { nic: copied } = await client.vm('copy');
  assert.deepEqual(copied?.former, [nic.address]);
  assert.notEqual(copied.address, nic.address);
  await client.command({ type: 'vm-delete', vmId: 'web' });
  await until('its end', async () => {
    const { vms } = await client.status();
    return vms.find(({ id }) => id === 'web')?.status === 'deleted';
  });
  await restoreVm(client, { backup, vmId: 'web', to: store, as: 'web' }, { pool });
  await client.command({ type: 'vm-start', vmId: 'web' });
  const again = await stepsOf(client, 'web', 5);
  // What it said before is no part of its life any more: the console begins where the backup does.
  assert.ok(again[0]! > 2, String(again[0]));
  assert.deepEqual((await client.vm('web')).nic, nic);
  await until('what it had not done before', async () => (await stepsOf(client, 'web', 5)).at(-1)! > last);

  const there = await start('b');
  const options = { pool, apart: true, checkpoint: first.record.checkpoint };
  await restoreVm(there.client, { backup, vmId: 'web', to: there.store, as: 'copy' }, options);
  assert.equal((await there.client.vm('copy')).nic, undefined);
  await there.client.command({ type: 'vm-start', vmId: 'copy' });
  const elsewhere = await stepsOf(there.client, 'copy', 5);
  assert.ok(elsewhere[0]! > 1, String(elsewhere[0]));
});

test('what is no place for backups, or no backup, is refused', async () => {
  const [here, there] = places;
  const refused = (work: Promise<unknown>, code: 'BAD_REQUEST' | 'NOT_FOUND'): Promise<void> =>
    assert.rejects(work, (error) => isClusterError(error, code) || assert.fail(String(error)));
  const { store, client } = here!;
  await refused(backUpVm({ from: store, to: store, vmId: 'web' }, { pool }), 'BAD_REQUEST');
  await refused(backUpVm({ from: store, to: there!.store, vmId: 'web' }, { pool }), 'BAD_REQUEST');
  await refused(backUpVm({ from: store, to: backup, vmId: 'constructor' }, { pool }), 'NOT_FOUND');
  await refused(restoreVm(client, { backup, vmId: 'nobody', to: store, as: 'x' }, { pool }), 'NOT_FOUND');
});
