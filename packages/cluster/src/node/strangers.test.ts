/** What a node bears from those who have no token: bodies, silence, floods, other versions, blobs in parts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { WebSocket } from 'ws';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { isClusterError } from '../errors.ts';
import { requestProof, sha256 } from '../mac.ts';
import { protocolVersion } from '../protocol/version.ts';
import { until } from '../testing/until.ts';
import { ClusterNode } from './cluster-node.ts';
import { Callers } from './callers.ts';
import { Challenges, challengeMs } from './challenges.ts';
import { defaultLimits, parseLimits } from './api-limits.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-strangers-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const token = 'a token for this test';

async function withNode(
  use: (node: ClusterNode, host: string, port: number) => Promise<void>,
  limits = defaultLimits,
): Promise<void> {
  const settings = makeSettings('default');
  const options = {
    name: 'a',
    store: `file:${folder}/store`,
    listen: '127.0.0.1:0',
    settings,
    token,
    limits,
  };
  const node = await ClusterNode.start({ ...options, logLevel: 'silent' });
  const [host = '', port = ''] = node.address.split(':');
  try {
    await use(node, host, Number(port));
  } finally {
    await node.close();
  }
}

function call(host: string, port: number, text: string): Socket {
  const socket = connect(port, host);
  socket.on('error', () => undefined);
  socket.write(text);
  return socket;
}
/** However it ends: cut off is what is wanted here. */
const closed = (socket: Socket): Promise<unknown> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve));

/** What it says until it ends. */
async function answer(socket: Socket): Promise<string> {
  let said = '';
  socket.on('data', (bytes: Buffer) => (said += bytes.toString()));
  await closed(socket);
  return said;
}

test('a body of a stranger is refused by its headers, and never gathered', async () => {
  await withNode(async (node, host, port) => {
    const head = `PUT /v1/blobs/${'0'.repeat(64)} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${String(256 << 20)}\r\n\r\n`;
    const before = process.memoryUsage().arrayBuffers;
    const sockets = Array.from({ length: 24 }, () => call(host, port, head));
    const mebibyte = Buffer.alloc(1 << 20);
    let written = 0;
    for (const socket of sockets) for (let n = 0; n < 8; n++) socket.write(mebibyte, () => written++);
    const answers = await Promise.all(sockets.map(answer));
    // Some are cut off before they have read the refusal.
    assert.ok(answers.every((said) => said === '' || said.startsWith('HTTP/1.1 401')));
    assert.ok(answers.some((said) => said.startsWith('HTTP/1.1 401')));
    await until('they are gone', () => node.api.strangers.count === 0);
    // Beside what this process itself has not sent of its 24 times the same MiB.
    assert.ok(process.memoryUsage().arrayBuffers - before < 32 << 20);
  });
});

test('strangers who say nothing, or little by little, are turned out, and whoever has the token is not in their way', async () => {
  const limits = { ...defaultLimits, strangers: 20, strangerMs: 500 };
  await withNode(async (node, host, port) => {
    const upgrade = `GET /v1/link HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
    const sockets = ['', 'GET /v1/status HT', upgrade].flatMap((text) =>
      Array.from({ length: 100 }, () => call(host, port, text)),
    );
    const dripping = setInterval(() => sockets.forEach((socket) => socket.write('x')), 100);
    const client = new ClusterClient({ nodes: [node.address], token });
    for (let n = 0; n < 20; n++) assert.equal((await client.status()).node, 'a');
    assert.ok(node.api.strangers.count <= 20);
    await Promise.all(sockets.map(closed));
    clearInterval(dripping);
    assert.ok(node.api.strangers.figures.turnedOut >= 100);
    await client.close();
  }, limits);
});

test('a link that sends much before it is known is cut off', async () => {
  await withNode(async (node) => {
    const socket = new WebSocket(`ws://${node.address}/v1/link`);
    socket.on('error', () => undefined);
    // One frame, of which the node would otherwise wait for the end.
    socket.on('open', () => socket.send(Buffer.alloc(3 << 20)));
    await once(socket, 'close');
    assert.equal(node.api.strangers.figures.turnedOut, 1);
    assert.equal(node.links.figures.refused, 0);
  });
});

test('a flood of questions takes no challenge away from others; each serves once, and for its time', () => {
  let now = 1000;
  const callers = new Callers(token, undefined);
  const challenges = new Challenges(callers, () => now);
  const request = { method: 'GET', path: '/v1/status', bodyHash: sha256(new Uint8Array(0)) };
  const proven = (challenge: string, asked = request): boolean =>
    challenges.proves(`${challenge}.${requestProof(token, challenge, asked)}`, request) !== undefined;
  const mine = challenges.give();
  for (let n = 0; n < 20_000; n++) challenges.give();
  assert.equal(proven(mine, { ...request, path: '/v1/events' }), false);
  assert.equal(proven(mine), true);
  assert.equal(proven(mine), false);
  const late = challenges.give();
  now += challengeMs + 1;
  assert.equal(proven(late), false);
  assert.equal(proven(new Challenges(callers, () => now).give()), false);
  for (const text of ['', '.', 'constructor.constructor', `${'0'.repeat(64)}.${'0'.repeat(64)}`])
    assert.equal(challenges.proves(text, request), undefined);
});

test('another protocol version is refused in words, on both sides', async () => {
  await withNode(async (node) => {
    const headers = { 'revenant-protocol': '1' };
    const response = await fetch(`http://${node.address}/v1/challenge`, { headers });
    assert.equal(response.status, 400);
    assert.match(
      await response.text(),
      /the client speaks protocol 1, this is protocol \d+: use the same release/,
    );
    const version = await (await fetch(`http://${node.address}/v1/version`)).json();
    assert.deepEqual(version, { protocol: protocolVersion, node: 'a' });
  });
  const { createServer } = await import('node:http');
  const old = createServer((_request, response) => response.end('{"nodes":[]}'));
  old.listen(0, '127.0.0.1');
  await once(old, 'listening');
  const { port } = old.address() as { port: number };
  await assert.rejects(
    new ClusterClient({ nodes: [`127.0.0.1:${String(port)}`] }).status(),
    (error) => isClusterError(error, 'PROTOCOL') && /the node at .* speaks protocol 1/.test(error.message),
  );
  old.closeAllConnections();
  old.close();
});

test('a blob goes through in parts and comes out whole; one that is not what it says, or has no room, leaves nothing', async () => {
  await withNode(
    async (node) => {
      const client = new ClusterClient({ nodes: [node.address], token });
      const { readBlob, blobBytes } = await import('../stored/blobs.ts');
      const bytes = Buffer.alloc((9 << 20) + 5, 'kernel ');
      const hash = await client.putBlob(bytes);
      assert.equal(hash, sha256(bytes));
      assert.deepEqual(Buffer.from((await readBlob(node.store, hash))!), bytes);
      const stored = await blobBytes(node.store);
      // There already: nothing is sent.
      assert.equal(await client.putBlob(bytes), hash);
      node.api.limits.blobsMiB = 10;
      await assert.rejects(client.putBlob(Buffer.alloc(6 << 20, 1)), (error) =>
        isClusterError(error, 'NO_CAPACITY'),
      );
      assert.equal(await blobBytes(node.store), stored);
      await client.close();
    },
    { ...defaultLimits },
  );
});

test('limits are told by name, and unknown ones refused', () => {
  assert.deepEqual(parseLimits(['links=3']), { ...defaultLimits, links: 3 });
  for (const word of ['links', 'links=', 'links=0', 'constructor=1', '__proto__=1', 'links=-1'])
    assert.throws(
      () => parseLimits([word]),
      (error) => isClusterError(error, 'BAD_REQUEST'),
    );
});
