/** Following a VM's console over a connection that is cut off. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

import { WebSocketServer, type WebSocket } from 'ws';
import type { ClusterStatus } from '../protocol/api.ts';
import { encode } from '../protocol/msgpack.ts';
import { protocolVersion, versionHeader } from '../protocol/version.ts';
import { ConsoleHub, type ConsolePiece } from '../node/console-hub.ts';
import { until } from '../testing/until.ts';
import { ClusterClient } from './cluster-client.ts';
import { answerMs } from '../testing/patience.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test('a follower that is cut off goes on where it was, though the node keeps only the end', async () => {
  const hub = new ConsoleHub();
  const sockets = new Set<WebSocket>();
  let address = '';
  const server = createServer((_request, response) => {
    const powerOn = [{ vmId: 'v1', epoch: 1, attempt: 1, state: 'running' as const }];
    const view = {
      seq: 1,
      address,
      isolated: false,
      stores: 1,
      capacity: { memoryMiB: 64 },
      pressure: 'none' as const,
      powerOn,
      reports: [],
    };
    const node = { id: 'a', state: 'alive' as const, reason: 'answers', incarnation: 1, address, view };
    const known = {
      version: protocolVersion,
      node: 'a',
      term: 1,
      master: 'a',
      vms: [],
      maintenance: [],
      networks: {},
    };
    const status: ClusterStatus = { ...known, nodes: [node], heartbeatStores: [] };
    response.setHeader(versionHeader, String(protocolVersion));
    response.end(JSON.stringify(status));
  });
  new WebSocketServer({ server }).on('connection', (socket) => {
    sockets.add(socket);
    socket.on(
      'close',
      hub.listen('v1', ({ epoch, resumed, at, bytes }: ConsolePiece) =>
        socket.send(encode({ type: 'output', epoch, resumed, at, bytes })),
      ),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const client = new ClusterClient({ nodes: [address], answerMs });
  let heard = '';
  const follower = client.console('v1', (bytes) => (heard += text(bytes)));
  let written = '';
  const write = (line: string): void => {
    written += line;
    hub.put('v1', 1, { at: written.length - line.length, bytes: Buffer.from(line) });
  };
  try {
    await until('a follower', () => sockets.size === 1);
    for (let n = 0; n < 5000; n++) write(`line ${String(n)} of more than is kept\n`);
    await until('all of it', () => heard === written);
    for (const socket of sockets) socket.terminate();
    write('said while nobody heard\n');
    await until('a new socket', () => sockets.size === 2);
    write('and after\n');
    await until('the rest', () => heard.length >= written.length);
    assert.equal(heard, written);
  } finally {
    follower.close();
    for (const socket of sockets) socket.terminate();
    server.close();
    await client.close();
  }
});

test('pieces tell their place in what the VM wrote', () => {
  const hub = new ConsoleHub();
  hub.begin('v1', 1, { resumed: 'boot', tail: undefined });
  for (const [at, line] of [
    [0, 'ab'],
    [2, 'cde'],
  ] as const)
    hub.put('v1', 1, { at, bytes: Buffer.from(line) });
  hub.begin('v1', 3, { resumed: 'earlier', tail: undefined });
  for (const [at, line] of [
    [2, 'f'],
    [3, 'g'],
  ] as const)
    hub.put('v1', 3, { at, bytes: Buffer.from(line) });
  const pieces: string[] = [];
  hub.listen('v1', ({ epoch, at, bytes }) => pieces.push(`${String(epoch)}@${String(at)} ${text(bytes)}`))();
  assert.deepEqual(pieces, ['1@0 ab', '1@2 cde', '3@2 f', '3@3 g']);
});
