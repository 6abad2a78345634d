/** Requests over a kept connection that the node closes meanwhile: which are sent again, and which are not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { isClusterError } from '../errors.ts';
import { protocolVersion, versionHeader } from '../protocol/version.ts';
import { ClusterClient } from './cluster-client.ts';

const status = {
  ...{
    version: 1,
    node: 'a',
    term: 1,
    master: 'a',
    nodes: [],
    vms: [],
    maintenance: [],
    heartbeatStores: [],
  },
};

test('a kept connection that the node closes under a question costs nothing; what may not be done twice is not', async () => {
  const asked = new Map<Socket, number>();
  const server = createServer((request, response) => {
    const { socket } = request;
    const count = (asked.get(socket) ?? 0) + 1;
    asked.set(socket, count);
    // Only the first request of a connection is answered: the next one finds it closed.
    if (count > 1) return socket.destroy();
    request.resume();
    response.setHeader(versionHeader, String(protocolVersion));
    const { url } = request;
    response.end(JSON.stringify(url === '/v1/commands' ? { id: 'x' } : status));
    return undefined;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new ClusterClient({
    nodes: [`127.0.0.1:${String((server.address() as AddressInfo).port)}`],
  });
  try {
    for (let n = 0; n < 6; n++) assert.equal((await client.status()).node, 'a');
    await client.command({ type: 'vm-stop', vmId: 'v' });
    await client.command({ type: 'vm-stop', vmId: 'v' });
    const most = Math.max(...asked.values());
    assert.equal(most, 2, 'connections are kept, and were closed under a request');
    // Whoever is gone is said to be so.
    server.closeAllConnections();
    server.close();
    await assert.rejects(client.status(), (error) => isClusterError(error, 'UNREACHABLE'));
  } finally {
    await client.close();
    server.closeAllConnections();
    server.close();
  }
});
