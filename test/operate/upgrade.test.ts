/**
 * A rolling upgrade: the nodes of a cluster are drained, ended, and started again as another release, one by one, while a guest runs; then
 * one goes back. The other release is one to come (tomorrow-node.ts). With `REVENANT_BEFORE=CHECKOUT` also from the one in that folder.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ChainChecker, ClusterClient } from '@revenant/cluster';
import { getRecord, openStore } from '@revenant/storage';
import { chainGuest } from '../../packages/cluster/src/demo/cluster-demo.ts';
import { NodeProcess } from '../../packages/cluster/src/demo/processes.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-upgrade-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const names = ['a', 'b', 'c'];
const today = fileURLToPath(new URL('../../packages/cluster/src/node/main.ts', import.meta.url));
const tomorrow = fileURLToPath(new URL('tomorrow-node.ts', import.meta.url));
const before = process.env['REVENANT_BEFORE'];

class Cluster {
  readonly store: string;
  readonly #nodes = new Map<string, NodeProcess>();

  constructor(name: string) {
    this.store = `file:${join(folder, name)}`;
  }

  async start(name: string, main: string): Promise<void> {
    const logFile = join(folder, 'log');
    const options = { store: this.store, name, profile: 'default' as const, logFile, main };
    this.#nodes.set(name, await NodeProcess.start({ ...options, words: ['--memory-mib', '256'] }));
  }

  get addresses(): string[] {
    return [...this.#nodes.values()].map(({ address }) => address);
  }

  /** Each node hears each other one. */
  async whole(): Promise<void> {
    for (const address of this.addresses) {
      const client = new ClusterClient({ nodes: [address], answerMs });
      await until(`all nodes as ${address} sees them`, async () => {
        const status = await client.status().catch(() => undefined);
        return status?.nodes.filter(({ state }) => state === 'alive').length === names.length;
      });
      await client.close();
    }
  }

  /** Drains a node, ends it in order, and starts it as another release. */
  async replace(name: string, main: string, client: ClusterClient): Promise<void> {
    await client.command({ type: 'drain', node: name });
    await until(`${name} to be empty`, async () => {
      const status = await client.status().catch(() => undefined);
      return status?.vms.every((vm) => vm.status === 'running' && vm.assignment?.node !== name) === true;
    });
    const node = this.#nodes.get(name)!;
    process.kill(node.pid, 'SIGTERM');
    assert.equal(await node.whenEnded, 0, `${name} did not end in order`);
    await this.start(name, main);
    await client.command({ type: 'undrain', node: name });
    await this.whole();
  }

  /** What the list has, as it lies in the store. */
  async list(): Promise<Record<string, unknown>> {
    const store = await openStore(this.store);
    try {
      return (await getRecord(store, 'cluster/protected'))!.value;
    } finally {
      await store.close();
    }
  }

  close(): void {
    for (const node of this.#nodes.values()) node.kill();
  }
}

async function upgrade(from: string, to: string, look: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = new Cluster(`store-${String(from.length)}-${String(to.length)}`);
  const checker = new ChainChecker(chainGuest.rule);
  const client = new ClusterClient({ store: cluster.store, answerMs, patienceMs: 120_000 });
  try {
    for (const name of names) await cluster.start(name, from);
    await cluster.whole();
    const { runtime, memoryMiB } = chainGuest;
    const spec = {
      runtime,
      memoryMiB,
      description: { stepMs: 5 },
      priority: 1,
      outputs: 'checkpoint' as const,
    };
    await client.command({ type: 'vm-create', vmId: 'v', spec, start: true });
    await client.waitFor('v', ['running']);
    const follower = client.console('v', (bytes, epoch) => checker.hear(bytes, epoch));
    const goesOn = async (): Promise<void> => {
      const { steps } = checker.state;
      await until('the guest to go on', () => checker.state.steps > steps + 5);
    };
    await goesOn();
    for (const name of names) {
      await cluster.replace(name, to, client);
      await goesOn();
    }
    await look(cluster);
    await cluster.replace('b', from, client);
    await goesOn();
    await look(cluster);
    follower.close();
    assert.equal(checker.state.fault, undefined);
    assert.equal(checker.state.repeated, 0);
  } finally {
    await client.close();
    cluster.close();
  }
}

test('the nodes become those of a release to come, one by one, and one goes back: nothing is lost, nor what it alone knows', async () => {
  await upgrade(today, tomorrow, async (cluster) => {
    const list = await cluster.list();
    const vms = list['vms'] as Record<string, Record<string, unknown>>;
    const spec = vms['v']?.['spec'] as Record<string, unknown>;
    for (const told of [list, vms['v'], spec]) assert.deepEqual(told?.['later'], { of: 'tomorrow' });
  });
});

test('the nodes become those of this release', { skip: before === undefined }, async () => {
  await upgrade(join(before!, 'packages/cluster/src/node/main.ts'), today, () => Promise.resolve());
});
