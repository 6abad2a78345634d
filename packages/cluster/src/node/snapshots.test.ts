/** Snapshots in a cluster: a VM goes back to what it was when one was taken, on whichever node it is. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NodesInProcess } from '../../test-support/nodes-in-process.ts';
import { ClusterClient } from '../client/cluster-client.ts';
import { isClusterError } from '../errors.ts';
import { until } from '../testing/until.ts';

const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

describe('snapshots in a cluster', () => {
  let cluster: NodesInProcess, client: ClusterClient;
  const followers: { close: () => void }[] = [];
  before(async () => {
    cluster = await NodesInProcess.start('snapshots');
    ({ client } = cluster);
  });
  after(async () => {
    // Also after a failure: a follower looks for its VM as long as it is there, and the process with it.
    for (const follower of followers) follower.close();
    await cluster.close();
  });

  /** Each step that the VM's console shows, in the order in which it does. */
  function watch(vmId: string): { steps: number[]; close: () => void } {
    const steps: number[] = [];
    let text = '';
    const follower = client.console(vmId, (bytes) => {
      text += Buffer.from(bytes).toString('latin1');
      for (const [, step = ''] of text.matchAll(/^step (\d+) [0-9a-f]+\r?$/gm)) steps.push(Number(step));
      text = text.slice(text.lastIndexOf('\n') + 1);
    });
    followers.push(follower);
    return { steps, close: () => follower.close() };
  }

  /** Where the VM goes on the next time that it goes back, seen by who watches it all the time. */
  async function backTo({ steps }: { steps: number[] }, from: number): Promise<number> {
    const at = (): number => steps.findIndex((step, i) => i >= from && i > 0 && step < steps[i - 1]!);
    await until('it goes back', () => at() > 0);
    return steps[at()]!;
  }

  test('a VM goes back to what it was, runs on, moves, and back again', async () => {
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    for (const address of cluster.addresses) {
      // A node that did not answer the command hears of the VM, and of the other node, a little later.
      const one = new ClusterClient({ nodes: [address] });
      await until(`${address} knows them`, async () => {
        const known = await one.status().catch(() => undefined);
        const { status } = await one.vm('v1').catch(() => ({ status: undefined }));
        return (
          known?.nodes.every(({ state }) => state === 'alive') === true &&
          known.nodes.length === 2 &&
          status === 'running'
        );
      });
      await one.close();
    }
    const seen = watch('v1');
    const { steps } = seen;
    await until('first steps', () => steps.length > 20);
    const before = steps.at(-1)!;
    const first = await client.takeSnapshot('v1', 'first');
    assert.deepEqual([first.name, first.parent, first.current], ['first', null, true]);
    const taken = steps.at(-1)!;
    await until('many more steps', () => steps.at(-1)! > taken + 200);

    let from = steps.length;
    await client.revert('v1', 'first');
    const again = await backTo(seen, from);
    assert.ok(
      again >= before && again < taken + 100,
      `${String(again)} of ${String(before)} to ${String(taken)}`,
    );
    await client.waitFor('v1', ['running']);
    await client.takeSnapshot('v1', 'second');
    await client.command({ type: 'vm-migrate', vmId: 'v1' });
    await until('it moved', async () => {
      const { status, moving } = await client.vm('v1');
      return status === 'running' && !moving;
    });
    await until('more steps', () => steps.at(-1)! > again + 200);

    // Off it stays off.
    await client.command({ type: 'vm-stop', vmId: 'v1' });
    await client.waitFor('v1', ['stopped']);
    await client.revert('v1', 'first');
    assert.equal((await client.vm('v1')).desired, 'stopped');
    from = steps.length;
    await client.command({ type: 'vm-start', vmId: 'v1' });
    assert.equal(await backTo(seen, from), again);
    seen.close();

    // A fork begins where the snapshot was, and lives without it.
    assert.equal(await client.fork('v1', { name: 'f1', checkpoint: 'second', start: true }), 'second');
    await client.waitFor('f1', ['running']);
    assert.deepEqual((await client.vm('f1')).spec.origin, { vm: 'v1', checkpoint: 'second' });
    const fork = watch('f1');
    await until('its steps', () => fork.steps.length > 5);
    assert.ok(fork.steps[0]! >= again, String(fork.steps[0]));
    fork.close();
    const shown = (await client.snapshots('v1')).map(({ name, parent, current }) => [name, parent, current]);
    assert.deepEqual(shown, [
      ['first', null, true],
      ['second', 'first', false],
    ]);
    await client.dropSnapshot('v1', 'first');
    assert.deepEqual(
      (await client.snapshots('v1')).map(({ name, parent }) => [name, parent]),
      [['second', null]],
    );
  });

  test('what is not there, or has no such name, is refused, and changes nothing', async () => {
    const refused = (asked: Promise<unknown>, code: Parameters<typeof isClusterError>[1]): Promise<void> =>
      assert.rejects(asked, (error) => isClusterError(error, code) || assert.fail(String(error)));
    await refused(client.snapshots('v9'), 'NOT_FOUND');
    await refused(client.takeSnapshot('v9', 'x'), 'NOT_FOUND');
    await refused(client.takeSnapshot('v1', 'Big'), 'BAD_REQUEST');
    await refused(client.takeSnapshot('v1', '3-120'), 'BAD_REQUEST');
    await refused(client.takeSnapshot('v1', 'second'), 'CONFLICT');
    await refused(client.revert('v1', 'first'), 'NOT_FOUND');
    await refused(client.dropSnapshot('v1', 'first'), 'NOT_FOUND');
    await refused(client.fork('v1', { name: 'f9', checkpoint: 'first', start: true }), 'NOT_FOUND');
    assert.equal((await client.vm('v1')).status, 'running');
  });
});
