/** Forks of VMs in a running cluster. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointWriter, openCheckpoint, raiseEpoch } from '@revenant/storage';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { NodesInProcess } from '../../test-support/nodes-in-process.ts';
import type { ClusterClient } from '../client/cluster-client.ts';
import { vmOf } from '../decisions/records.ts';
import { isClusterError } from '../errors.ts';
import { until } from '../testing/until.ts';
import { forkOf } from './forks.ts';

const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

describe('forks in a cluster', () => {
  let cluster: NodesInProcess, client: ClusterClient;
  before(async () => {
    cluster = await NodesInProcess.start('forks');
    ({ client } = cluster);
  });
  after(() => cluster.close());

  /** The lines `step N DIGEST` that a VM's console shows from now on. */
  function watch(vmId: string): { steps: Map<number, string>; close: () => void } {
    const steps = new Map<number, string>();
    let text = '';
    const follower = client.console(vmId, (bytes) => {
      text += Buffer.from(bytes).toString('latin1');
      for (const [, step = '', digest = ''] of text.matchAll(/^step (\d+) ([0-9a-f]+)\r?$/gm))
        steps.set(Number(step), digest);
      text = text.slice(text.lastIndexOf('\n') + 1);
    });
    return { steps, close: () => follower.close() };
  }

  test('they go on from where their parent was, whatever becomes of it and of their node', async () => {
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    const parent = watch('v1');
    await until('first steps', () => parent.steps.size > 20);
    let from: string | undefined;
    await until('a checkpoint to fork', async () => {
      from = await client.fork('v1', { name: 'f1', start: true }).catch((error: unknown) => {
        assert.ok(isClusterError(error, 'NOT_FOUND'), String(error));
        return undefined;
      });
      return from !== undefined;
    });
    assert.equal(await client.fork('v1', { name: 'f2', checkpoint: from, start: true }), from);
    const forks = ['f1', 'f2'].map((vmId) => ({ vmId, ...watch(vmId) }));
    for (const { vmId, steps } of forks) {
      const vm = await client.waitFor(vmId, ['running']);
      assert.deepEqual(vm.spec.origin, { vm: 'v1', checkpoint: from });
      await until(`steps of ${vmId}`, () => steps.size > 30);
    }
    await until('the same steps of the parent', () =>
      forks.every(({ steps }) => [...steps.keys()].slice(0, 30).every((step) => parent.steps.has(step))),
    );
    for (const { vmId, steps } of forks)
      for (const [step, digest] of [...steps].slice(0, 30))
        assert.equal(digest, parent.steps.get(step), `step ${step} of ${vmId}`);

    // The parent goes, and so does the node of a fork.
    parent.close();
    await client.command({ type: 'vm-delete', vmId: 'v1' });
    const holder = (await client.vm('f1')).assignment!.node;
    await cluster.end(holder);
    await until('the fork elsewhere', async () => {
      const vm = await client.vm('f1').catch(() => undefined);
      return vm?.status === 'running' && vm.assignment?.node !== holder;
    });
    const [first] = forks;
    const seen = Math.max(...first!.steps.keys());
    await until('its further steps', () => first!.steps.has(seen + 20));
    for (const { close } of forks) close();
  });

  test('of several who want one name at once one gets it, and has a VM that runs', async () => {
    const fork = (): Promise<unknown> => client.fork('f2', { name: 'f3', start: true });
    const create = client.command({ type: 'vm-create', vmId: 'f3', spec, start: true });
    const results = await Promise.allSettled([fork(), create, fork()]);
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const each of results)
      if (each.status === 'rejected') assert.ok(isClusterError(each.reason, 'CONFLICT'), String(each.reason));
    await client.waitFor('f3', ['running']);
  });

  test('a request for a fork that comes again while it is made, here and at another node, makes one', async () => {
    const [node] = cluster.nodes.values();
    const other = await cluster.add('c');
    await until('the list at c', () => vmOf(other.agent.list, 'f2') !== undefined);
    const request = { id: 'once', name: 'f4', start: true };
    let answers: Awaited<ReturnType<typeof forkOf>>[] = [];
    // On a slow host all may be late; the same request is asked again then, as anybody would.
    while (answers.length === 0) {
      const asked = [node!, other, node!].map((each) => forkOf(each, 'f2', request));
      const results = await Promise.allSettled(asked);
      for (const each of results)
        if (each.status === 'rejected')
          assert.ok(isClusterError(each.reason, 'TIMEOUT'), String(each.reason));
      answers = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    }
    const { steps, close } = watch('f4');
    await client.waitFor('f4', ['running']);
    await until('its steps', () => steps.size > 3);
    close();
    // One that had not begun where its parent was would begin with the first.
    assert.ok(Math.min(...steps.keys()) > 20, [...steps.keys()].join(' '));
    assert.deepEqual((await client.vm('f4')).spec.origin, { vm: 'f2', checkpoint: answers[0]!.from });
  });

  test('a fork becomes somebody: a machine that could not tell is forked only to be its parent in everything', async () => {
    buildModules(() => undefined);
    const { store } = cluster.nodes.values().next().value!;
    const machine = { ...spec, runtime: 'machine', description: { memoryBytes: 2 ** 20 }, memoryMiB: 1 };
    for (const [vmId, devices] of [
      ['dumb', []],
      ['able', ['vmgenid', 'vmclock']],
    ] as const) {
      await client.command({ type: 'vm-create', vmId, spec: machine, start: false });
      const owned = await raiseEpoch(store, vmId, { owner: 'test', expectedEpoch: 0 });
      const state = await busyMachine({ devices: [...devices] });
      const own = { 'revenant.vm': { version: 1, state: { boot: 1, inputs: {} } } };
      await (
        await CheckpointWriter.open(store, owned)
      ).write({ ...state, devices: { ...state.devices, ...own } });
    }
    /** The generation ID that the guest of a fork reads, once it has run. */
    const generation = async (name: string): Promise<string> => {
      await client.waitFor(name, ['running']);
      let id = '';
      await until(`a checkpoint of ${name} that ran`, async () => {
        const found = await openCheckpoint(store, name).catch(() => undefined);
        const { devices, instructions } = found?.state ?? {};
        await found?.close();
        id = Buffer.from((devices?.['vmgenid']?.state as { id?: Uint8Array } | undefined)?.id ?? []).toString(
          'hex',
        );
        return (instructions ?? 0n) > 0n;
      });
      return id;
    };
    await assert.rejects(client.fork('dumb', { name: 'm0', start: true }), /has no generation ID/);
    await client.fork('dumb', { name: 'm1', start: true, identical: true });
    await client.waitFor('m1', ['running']);
    for (const name of ['m2', 'm3']) await client.fork('able', { name, start: true });
    await client.fork('able', { name: 'm4', start: true, identical: true });
    const [first, second, same] = [await generation('m2'), await generation('m3'), await generation('m4')];
    const none = '0'.repeat(32);
    assert.equal(same, none);
    assert.equal(new Set([first, second, none]).size, 3);
    for (const vmId of ['m1', 'm2', 'm3', 'm4']) await client.command({ type: 'vm-delete', vmId });
  });

  test('a name in use, a VM or checkpoint that is not there, are refused', async () => {
    const refused = (
      parent: string,
      fork: Parameters<ClusterClient['fork']>[1],
      code: Parameters<typeof isClusterError>[1],
    ): Promise<void> =>
      assert.rejects(
        client.fork(parent, fork),
        (error) => isClusterError(error, code) || assert.fail(String(error)),
      );
    await refused('f2', { name: 'f1', start: true }, 'CONFLICT');
    await refused('constructor', { name: 'f9', start: true }, 'NOT_FOUND');
    await refused('f2', { name: 'f9', checkpoint: '99-99', start: true }, 'NOT_FOUND');
    await refused('f2', { name: 'f9', checkpoint: 'X', start: true }, 'BAD_REQUEST');
    await refused('f2', { name: 'f9', checkpoint: 'x', start: true }, 'NOT_FOUND');
    await refused('f2', { name: 'Not A Name', start: true }, 'BAD_REQUEST');
  });
});
