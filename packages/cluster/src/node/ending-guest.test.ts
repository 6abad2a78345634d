/** Guests that end their node's process or send nonsense: the node and its other VMs go on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { NodeProcess } from '../demo/processes.ts';
import { isClusterError } from '../errors.ts';
import { until } from '../testing/until.ts';
import { ClusterNode } from './cluster-node.ts';
import { maxText } from '../protocol/limits.ts';
import { answerMs } from '../testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-ending-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
const main = fileURLToPath(new URL('../../test-support/node-with-ending-guest.ts', import.meta.url));

test('a VM that ends its node is left alone after five tries, and another one runs on', async () => {
  const store = `file:${folder}/store`;
  const nodes = new Map<string, NodeProcess>();
  // With the default profile: where a host starves nodes, `fast` has them lose sessions all the time, and what they end for that is forgiven the VM.
  const starting = new Set<Promise<NodeProcess>>();
  let [ended, closing] = [0, false];
  // As a service manager does: whatever ends is started again.
  const keep = async (name: string): Promise<void> => {
    const logFile = join(folder, `${name}.log`);
    const begun = NodeProcess.start({ store, name, profile: 'default', logFile, main });
    starting.add(begun);
    const node = await begun;
    nodes.set(name, node);
    void node.whenEnded.then(async (signal) => {
      if (closing) return;
      if (signal === 'SIGABRT') ended++;
      await keep(name);
    });
  };
  const client = new ClusterClient({ store, patienceMs: 300_000, answerMs: 300_000 });
  try {
    await Promise.all(['a', 'b', 'c'].map(keep));
    await client.command({ type: 'vm-create', vmId: 'well', spec, start: true });
    await client.waitFor('well', ['running']);
    await client.command({ type: 'vm-create', vmId: 'bad', spec: { ...spec, runtime: 'ends' }, start: true });
    const bad = await client.waitFor('bad', ['failed']);
    assert.match(bad.reason, /^gave up after \d tries/);
    // On a host with much to do a try may fail for another reason, and counts as well.
    const blamed = bad.ended?.length ?? 0;
    assert.equal(bad.tries + blamed, makeSettings('default').maxTries, bad.reason);
    assert.ok(blamed >= 2, bad.reason);
    if (bad.tries === 0)
      assert.match(
        bad.reason,
        /^gave up after 5 tries: (\w, ){4}\w ended, one after the other, soon after it was started there/,
      );
    // A session that is lost for another reason while the VM is on trial there looks the same from outside: so not all that it is blamed for.
    await until('those that it ended are gone', () => ended >= 2);
    assert.equal((await client.waitFor('well', ['running'])).tries, 0);
    const events = await client.events();
    assert.ok(events.some(({ event, vm }) => event === 'vm-given-up' && vm === 'bad'));
  } finally {
    closing = true;
    await Promise.allSettled(starting);
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
    await client.close();
  }
});

test('a guest whose outputs are malformed fails, and its node runs on', async () => {
  const settings = makeSettings('default');
  const babbles = new URL('../../test-support/babbling-guest.ts', import.meta.url).href;
  const options = { store: `file:${folder}/babbles`, listen: '127.0.0.1:0', settings, logLevel: 'silent' };
  const node = await ClusterNode.start({ ...options, name: 'a', runtimes: { babbles } });
  const client = new ClusterClient({ nodes: [node.address], answerMs, patienceMs: 300_000 });
  try {
    await client.command({ type: 'vm-create', vmId: 'well', spec, start: true });
    await client.command({
      type: 'vm-create',
      vmId: 'bad',
      spec: { ...spec, runtime: 'babbles' },
      start: true,
    });
    assert.match((await client.waitFor('bad', ['failed'])).reason, /edge message/);
    assert.equal((await client.waitFor('well', ['running'])).tries, 0);
  } finally {
    await client.close();
    await node.close();
  }
});

test('a guest that says at great length why it ends does not make the words of its node too long', async () => {
  const settings = makeSettings('default');
  const babbles = new URL('../../test-support/babbling-guest.ts', import.meta.url).href;
  const options = {
    store: `file:${folder}/long`,
    listen: '127.0.0.1:0',
    settings,
    logLevel: 'silent',
  } as const;
  const nodes = await Promise.all(
    ['a', 'b'].map((name) => ClusterNode.start({ ...options, name, runtimes: { babbles } })),
  );
  const client = new ClusterClient({
    nodes: nodes.map(({ address }) => address),
    answerMs,
    patienceMs: 300_000,
  });
  try {
    const bad = { ...spec, runtime: 'babbles', description: { ends: true } };
    await client.command({ type: 'vm-create', vmId: 'bad', spec: bad, start: true });
    const { reason } = await client.waitFor('bad', ['failed']);
    assert.match(reason, /because because/);
    assert.ok(reason.length <= maxText);
    const events = await client.events({ limit: 1000 });
    assert.deepEqual(
      events.filter(({ event }) => /refused|lease-lost/.test(event)),
      [],
    );
    for (const { id, state } of (await client.status()).nodes) assert.equal(state, 'alive', id);
  } finally {
    await client.close();
    for (const node of nodes) await node.close();
  }
});

test('names that every object has are names like others, for VMs and for runtimes', async () => {
  const settings = makeSettings('default');
  const options = { store: `file:${folder}/names`, listen: '127.0.0.1:0', settings, logLevel: 'silent' };
  const node = await ClusterNode.start({ ...options, name: 'a' });
  const client = new ClusterClient({ nodes: [node.address], answerMs, patienceMs: 300_000 });
  try {
    const create = (vmId: string, runtime: string): Promise<unknown> =>
      client.command({ type: 'vm-create', vmId, spec: { ...spec, runtime }, start: true });
    await create('constructor', 'chain');
    await client.waitFor('constructor', ['running']);
    await assert.rejects(
      create('v1', 'constructor'),
      (error) =>
        isClusterError(error, 'BAD_REQUEST') && /no node has the runtime "constructor"/.test(error.message),
    );
    await client.command({ type: 'vm-delete', vmId: 'constructor' });
    await client.waitFor('constructor', ['deleted']);
  } finally {
    await client.close();
    await node.close();
  }
});
