/** A node that has just started, and has not read the list of VMs, is not believed when it knows of none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { hasReadList, startAgent } from '../decisions/state.ts';
import { emptyList } from '../decisions/records.ts';
import { isClusterError } from '../errors.ts';
import { protocolVersion, versionHeader } from '../protocol/version.ts';
import { ClusterClient } from './cluster-client.ts';

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

/** A node that has not read the list when it is asked for the first `unread` times. */
async function starting(node: string, unread: number): Promise<{ address: string; asked: () => number }> {
  const status = {
    ...{ version: 1, node, term: 0, master: null, nodes: [], vms: [] },
    ...{ maintenance: [], heartbeatStores: [] },
  };
  let asked = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader(versionHeader, String(protocolVersion));
    response.end(JSON.stringify(asked++ < unread ? { ...status, listUnread: true } : status));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    asked: () => asked,
  };
}

test('it is asked again until it knows, and others are asked before that', async () => {
  const one = await starting('a', 2);
  const alone = new ClusterClient({ nodes: [one.address] });
  assert.equal((await alone.status()).node, 'a');
  assert.equal(one.asked(), 3);
  await alone.close();
  const never = await starting('b', Infinity);
  const both = new ClusterClient({ nodes: [never.address, one.address] });
  assert.equal((await both.status()).node, 'a');
  assert.equal(never.asked(), 1);
  await both.close();
});

test('when nobody knows, that is said, not that there is no VM', async () => {
  const never = await starting('b', Infinity);
  const client = new ClusterClient({ nodes: [never.address], patienceMs: 0 });
  await assert.rejects(client.vm('web'), (error) => isClusterError(error, 'NO_MASTER'));
  await client.close();
});

test('a list was read when the store gave one, or said that there is none', () => {
  const begun = startAgent({ id: 'a', address: '127.0.0.1:1', capacity: { memoryMiB: 1 } }, 0);
  assert.equal(hasReadList(begun), false);
  assert.ok(hasReadList({ ...begun, listAbsent: true }));
  assert.ok(hasReadList({ ...begun, listVersion: 'x' }));
  // While it is not known whether the own change was made, what was read before is known still.
  assert.ok(hasReadList({ ...begun, list: { ...emptyList(), term: 2 } }));
});
