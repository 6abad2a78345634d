/** Names of VMs are had again once they are free; nodes that are over are no longer shown once somebody says so. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deleteVm, isStorageError, openStore } from '@revenant/storage';
import { NodesInProcess } from '../../test-support/nodes-in-process.ts';
import type { ClusterClient } from '../client/cluster-client.ts';
import { isClusterError } from '../errors.ts';
import { until } from '../testing/until.ts';

const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'log' as const };

describe('names in a cluster', () => {
  let cluster: NodesInProcess, client: ClusterClient;
  before(async () => {
    cluster = await NodesInProcess.start('names');
    ({ client } = cluster);
  });
  after(() => cluster.close());

  const firstStep = async (vmId: string): Promise<number> => {
    let text = '';
    const step = (): string | undefined => /^step (\d+) [0-9a-f]+\r?$/m.exec(text)?.[1];
    const follower = client.console(vmId, (bytes) => (text += Buffer.from(bytes).toString('latin1')));
    await until(`a step of ${vmId}`, () => step() !== undefined);
    follower.close();
    return Number(step());
  };

  test('names that no VM can have are the fault of whoever asks, not of the store', async () => {
    const [address] = cluster.addresses;
    for (const name of ['__proto__', '...', '%00', 'a%2F..%2Fb', 'constructor'])
      for (const rest of ['checkpoints', 'checkpoints/1-1', 'snapshots', 'screen']) {
        const { status } = await fetch(`http://${address!}/v1/vms/${name}/${rest}`);
        assert.ok(status === 200 || (status >= 400 && status < 500), `${name}/${rest}: ${String(status)}`);
      }
  });

  test('a VM of a name that was had before begins anew, whoever was forked from the one before', async () => {
    await client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
    await client.waitFor('web', ['running']);
    assert.ok((await firstStep('web')) >= 0);
    await client.takeSnapshot('web', 'before');
    await client.fork('web', { name: 'kept', checkpoint: 'before', start: true });
    await client.waitFor('kept', ['running']);
    for (const round of [1, 2]) {
      await client.command({ type: 'vm-delete', vmId: 'web' });
      // Asked for at once: it waits until the other is gone.
      await client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
      const vm = await client.waitFor('web', ['running']);
      assert.equal(vm.boot, 1);
      assert.ok(vm.attempt > round && vm.revives !== undefined, JSON.stringify(vm));
      assert.deepEqual(await client.snapshots('web'), []);
      assert.ok((await firstStep('web')) <= 3, 'it booted');
    }
    // Whoever deletes the one before too late does it no harm.
    const store = await openStore(cluster.store);
    const { revives } = await client.vm('web');
    const late = deleteVm(store, 'web', { owner: 'late', expectedEpoch: revives! - 1 });
    await assert.rejects(late, (error) => isStorageError(error, 'FENCED'));
    await store.close();
    await client.command({ type: 'vm-migrate', vmId: 'web' });
    await until('it moved', async () => (await client.vm('web')).status === 'running');
    assert.equal((await client.vm('kept')).status, 'running');
    // A fork takes a name that was had before, too.
    await client.command({ type: 'vm-delete', vmId: 'web' });
    await client.fork('kept', { name: 'web', start: true });
    await client.waitFor('web', ['running']);
    await assert.rejects(
      client.command({ type: 'vm-create', vmId: 'web', spec, start: true }),
      (error) => isClusterError(error, 'CONFLICT') && /there is a VM web already/.test(error.message),
    );
  });

  test('a node that is over is removed, one that is there is not', async () => {
    const { incarnation } = (await client.status()).nodes.find(({ id }) => id === 'b')!;
    await assert.rejects(client.command({ type: 'node-remove', node: 'b', incarnation }), (error) =>
      isClusterError(error, 'CONFLICT'),
    );
    await cluster.end('b');
    await until('it is over', async () => {
      const found = (await client.status()).nodes.find(({ id }) => id === 'b');
      return found !== undefined && found.state !== 'alive';
    });
    await until('it is removed', async () =>
      client.command({ type: 'node-remove', node: 'b', incarnation }).then(
        () => true,
        (error: unknown) => {
          assert.ok(isClusterError(error, 'CONFLICT'), String(error));
          return false;
        },
      ),
    );
    assert.deepEqual((await client.status()).removed, { b: incarnation });
  });
});
