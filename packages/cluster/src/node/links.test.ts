/** Links between nodes are dialled again when they are silent, and there is one for each peer. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Message } from '../decisions/types.ts';
import { Links } from './links.ts';

const message: Message = { type: 'released', vmId: 'v1' };

test('a link that is silent is dialled anew, and a peer has one link only', async () => {
  const heard: string[] = [];
  const parts = {
    token: 'a token for this test',
    closed: () => undefined,
    refused: () => undefined,
    limit: 8,
  };
  const server = new Links({ ...parts, node: 'b', heard: (from) => heard.push(from) });
  const client = new Links({ ...parts, node: 'a', heard: () => undefined });
  const http = createServer();
  const sockets: WebSocket[] = [];
  new WebSocketServer({ server: http }).on('connection', (socket) => {
    sockets.push(socket);
    server.accept(socket);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${String((http.address() as AddressInfo).port)}`;
  const sendUntil = async (what: string, holds: () => boolean): Promise<void> => {
    for (let i = 0; i < 400 && !holds(); i++) {
      client.send('b', address, message);
      await sleep(25);
    }
    assert.ok(holds(), what);
  };
  try {
    await sendUntil('the first link', () => heard.length > 0);
    // A partition: nothing is closed, but nothing comes through.
    sockets[0]?.pause();
    const before = heard.length;
    await sendUntil('a second link', () => heard.length > before);
    assert.equal(sockets.length, 2);
    // The first was replaced, though it never closed by itself.
    await sendUntil('the end of the first', () => sockets[0]?.readyState === 3);
  } finally {
    client.close();
    server.close();
    http.close();
  }
});
