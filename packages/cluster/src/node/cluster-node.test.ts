/** Nodes in one process, from start to end: live moves, failover, broken guests, requests of pages and of strangers. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { WebSocket } from 'ws';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { ChainChecker } from '../demo/chain-checker.ts';
import { chainGuest } from '../demo/cluster-demo.ts';
import { isClusterError } from '../errors.ts';
import type { ClusterEvent } from '../protocol/api.ts';
import { requestProof, sha256 } from '../mac.ts';
import { makePass } from '../page/pass.ts';
import { until } from '../testing/until.ts';
import { ClusterNode } from './cluster-node.ts';
import { answerMs } from '../testing/patience.ts';

const settings = makeSettings('default');
const folder = mkdtempSync(join(tmpdir(), 'revenant-cluster-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };

async function startNodes(store: string, names: string[], token?: string): Promise<Map<string, ClusterNode>> {
  const nodes = new Map<string, ClusterNode>();
  for (const name of names) {
    const options = { name, store, listen: '127.0.0.1:0', settings, logLevel: 'silent', memoryMiB: 256 };
    nodes.set(name, await ClusterNode.start({ ...options, ...(token === undefined ? {} : { token }) }));
  }
  return nodes;
}

test('a guest is moved live, survives the loss of its node, and stays off when powered off', async () => {
  const nodes = await startNodes(`file:${folder}/failover`, ['a', 'b', 'c'], 'a token for this test');
  const addresses = [...nodes.values()].map(({ address }) => address);
  const client = new ClusterClient({ nodes: addresses, answerMs, token: 'a token for this test' });
  const checker = new ChainChecker(chainGuest.rule);
  const follower = client.console('v1', (bytes, epoch) => checker.hear(bytes, epoch));
  try {
    await until('three nodes', async () => {
      const known = await client.status().catch(() => undefined);
      return (
        known?.node === known?.master && known?.nodes.filter(({ state }) => state === 'alive').length === 3
      );
    });
    await client.command({ type: 'vm-create', vmId: 'v1', spec, start: true });
    await until('first steps', () => checker.state.steps > 20);

    await client.waitFor('v1', ['running']);
    await client.command({ type: 'vm-migrate', vmId: 'v1' });
    await until('the move', async () => {
      const vm = await client.vm('v1');
      return vm.status === 'running' && vm.attempt === 2;
    });
    const moved = checker.state.steps;
    await until('steps after the move', () => checker.state.steps > moved + 20);
    // Nothing is repeated by a live move.
    assert.equal(checker.state.repeated, 0);

    const holder = (await client.vm('v1')).assignment!.node;
    await nodes.get(holder)!.close();
    nodes.delete(holder);
    await until('failover', async () => {
      const vm = await client.vm('v1').catch(() => undefined);
      return vm?.status === 'running' && vm.assignment?.node !== holder;
    });
    const resumed = checker.state.steps;
    await until('steps after the failover', () => checker.state.steps > resumed + 20);
    assert.ok(checker.finish(5000) > 40);
    assert.equal(checker.state.fault, undefined);

    await client.command({ type: 'vm-stop', vmId: 'v1' });
    await client.waitFor('v1', ['stopped']);
    // A node puts its events into the store when that has time, and a slow host makes many.
    await until('all of it is in the event log', async () => {
      const events = await client.events({ limit: 10_000 });
      return ['master-elected', 'vm-handing-over', 'host-dead', 'vm-lost', 'vm-executes', 'vm-stopped'].every(
        (wanted) => events.some(({ event }) => event === wanted),
      );
    });
  } finally {
    follower.close();
    await client.close();
    for (const node of nodes.values()) await node.close();
  }
});

test('a guest that breaks is tried elsewhere, then given up in a clear state', async () => {
  const nodes = await startNodes(`file:${folder}/retries`, ['a', 'b']);
  const client = new ClusterClient({
    nodes: [...nodes.values()].map(({ address }) => address),
    answerMs,
  });
  try {
    const breaks = { ...spec, description: { crashAt: 5 } };
    await client.command({ type: 'vm-create', vmId: 'v1', spec: breaks, start: true });
    const vm = await client.waitFor('v1', ['failed']);
    assert.match(vm.reason, /gave up after 5 tries; the last: the chain guest broke at step 5/);
    assert.deepEqual([...vm.avoid].sort(), ['a', 'b']);
  } finally {
    await client.close();
    for (const node of nodes.values()) await node.close();
  }
});

test('a guest that shows no sign of life any more is booted afresh', async () => {
  const nodes = await startNodes(`file:${folder}/silent`, ['a', 'b']);
  const client = new ClusterClient({
    nodes: [...nodes.values()].map(({ address }) => address),
    answerMs,
  });
  try {
    const quiet = { ...spec, description: { silentAt: 40 } };
    const health = { watch: 'console' as const, silentMs: 4000 };
    for (const [vmId, given] of [
      ['watched', { ...quiet, health }],
      ['unwatched', quiet],
    ] as const)
      await client.command({ type: 'vm-create', vmId, spec: given, start: true });
    await client.command({
      type: 'vm-create',
      vmId: 'well',
      spec: { ...spec, description: { stepMs: 200 }, health },
      start: true,
    });
    await until('a second boot', async () => {
      const { boot, tries, status } = await client.vm('watched');
      return boot === 2 && tries === 1 && status === 'running';
    });
    let events: ClusterEvent[] = [];
    await until('its end is in the event log', async () => {
      events = await client.events({ limit: 10_000 });
      return events.some(({ event }) => event === 'vm-stopped-hung');
    });
    const hung = events.filter(({ event }) => event === 'vm-stopped-hung');
    assert.deepEqual([...new Set(hung.map(({ vm }) => vm))], ['watched']);
    assert.match(hung[0]?.reason ?? '', /^hung: no output on its console and no disk request for \d+ s$/);
    // Not from its checkpoint, which holds the silent guest.
    const resumed = events.filter(({ event, vm }) => event === 'vm-resuming' && vm === 'watched');
    assert.equal(resumed.length, 0);
    for (const vmId of ['unwatched', 'well']) assert.equal((await client.vm(vmId)).tries, 0);
    for (const bad of [
      { watch: 'pulse', silentMs: 5000 },
      { watch: 'console', silentMs: 5 },
    ])
      await assert.rejects(
        client.command({
          type: 'vm-create',
          vmId: 'bad',
          spec: { ...spec, health: bad as typeof health },
          start: true,
        }),
        (error) => isClusterError(error, 'BAD_REQUEST'),
      );
  } finally {
    await client.close();
    for (const node of nodes.values()) await node.close();
  }
});

test('a page that another node served may ask and read, and one of any other origin may not', async () => {
  const token = 'a token for this test';
  const nodes = await startNodes(`file:${folder}/pages`, ['a', 'b'], token);
  const [a, b] = [nodes.get('a')!, nodes.get('b')!];
  const passFor = (host: string): string =>
    makePass({ token, host }, { name: '', role: 'admin' }, Date.now());
  const pass = passFor('127.0.0.1');
  const ask = (origin: string, method = 'GET', authorization = `Revenant-Pass ${pass}`): Promise<Response> =>
    fetch(`http://${a.address}/v1/vms/none/checkpoints`, { method, headers: { origin, authorization } });
  try {
    const own = `http://${b.address}`;
    while ((await ask(own)).status === 401) await new Promise((resolve) => setTimeout(resolve, 50));
    const answer = await ask(own);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('access-control-allow-origin'), own);
    assert.equal(answer.headers.get('access-control-allow-credentials'), null);
    const before = await ask(own, 'OPTIONS', '');
    assert.equal(before.status, 204);
    assert.match(before.headers.get('access-control-allow-headers') ?? '', /authorization/);
    assert.equal((await ask(own, 'GET', `Revenant-Pass ${pass}0`)).status, 401);
    for (const origin of ['http://evil.example', `${own}.evil.example`, 'null']) {
      const refused = await ask(origin);
      assert.equal(refused.status, 401, origin);
      assert.equal(refused.headers.get('access-control-allow-origin'), null, origin);
      assert.equal((await ask(origin, 'GET', '')).status, 401, origin);
      // What a browser asks beforehand shows nobody's pass yet: nothing follows from its answer.
      assert.equal((await ask(origin, 'OPTIONS', '')).headers.get('access-control-allow-credentials'), null);
    }
    // The same node by another name, which no other node knows: its pages show a pass that was given to them.
    const named = 'https://node-b.example';
    const read = await ask(named, 'GET', `Revenant-Pass ${passFor('node-b.example')}`);
    assert.equal(read.status, 200);
    assert.equal(read.headers.get('access-control-allow-origin'), named);
    assert.equal((await ask(named)).status, 401);
  } finally {
    for (const node of nodes.values()) await node.close();
  }
});

test('strangers are refused, and nothing else is disturbed', async () => {
  const token = 'a token for this test';
  const nodes = await startNodes(`file:${folder}/strangers`, ['a'], token);
  const { address } = nodes.get('a')!;
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`http://${address}/v1/status`, { headers })).status;
  const closes = (socket: WebSocket): Promise<void> =>
    new Promise((resolve) => {
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  try {
    assert.equal(await status({}), 401);
    assert.equal(await status({ authorization: 'Revenant 00.00' }), 401);
    await assert.rejects(
      new ClusterClient({ nodes: [address], token: 'another token of length' }).status(),
      (error) => isClusterError(error, 'UNAUTHORIZED'),
    );
    assert.equal(await status({ origin: 'http://evil.example' }), 401);

    // A proof serves once.
    const { challenge } = (await (await fetch(`http://${address}/v1/challenge`)).json()) as {
      challenge: string;
    };
    const asked = { method: 'GET', path: '/v1/status', bodyHash: sha256(new Uint8Array(0)) };
    const proof = requestProof(token, challenge, asked);
    assert.equal(await status({ authorization: `Revenant ${challenge}.${proof}` }), 200);
    assert.equal(await status({ authorization: `Revenant ${challenge}.${proof}` }), 401);

    // Links: a wrong hello, an oversized one, one from a web page, and one that says nothing at all.
    const wrong = new WebSocket(`ws://${address}/v1/link`);
    wrong.on('open', () => wrong.send(Buffer.alloc(60, 65)));
    await closes(wrong);
    const large = new WebSocket(`ws://${address}/v1/link`);
    large.on('open', () => large.send(Buffer.alloc(5 << 20)));
    await closes(large);
    await closes(new WebSocket(`ws://${address}/v1/link`, { origin: 'http://evil.example' }));
    await closes(new WebSocket(`ws://${address}/v1/link`));
    const [host, port] = address.split(':');
    const loris = connect(Number(port), host);
    loris.on('error', () => undefined);
    loris.write('GET /v1/status HTTP/1.1\r\nHost: x\r\n');
    const nowhere = connect(Number(port), host);
    nowhere.on('error', () => undefined);
    nowhere.write('GET // HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const [answer] = (await once(nowhere, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 400/);

    const client = new ClusterClient({ nodes: [address], token, answerMs });
    assert.equal((await client.status()).node, 'a');
    loris.destroy();
    await assert.rejects(
      ClusterNode.start({ name: 'b', store: `file:${folder}/strangers`, listen: '0.0.0.0:0', settings }),
      (error) => isClusterError(error, 'BAD_REQUEST'),
    );
    await assert.rejects(
      client.command({ type: 'vm-create', vmId: 'v', spec: {} as typeof spec, start: true }),
      (error) => isClusterError(error, 'BAD_REQUEST'),
    );
  } finally {
    for (const node of nodes.values()) await node.close();
  }
});
