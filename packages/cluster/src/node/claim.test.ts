/** A store belongs to one cluster, and a name in it to one node. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MemoryStore, readIdentity, releaseStore, systemHost } from '@revenant/storage';
import { makeSettings } from '../decisions/settings.ts';
import { isClusterError, type ClusterErrorCode } from '../errors.ts';
import { until } from '../testing/until.ts';
import { claimFor } from './claim.ts';
import { ClusterNode } from './cluster-node.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-claim-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const watchMs = 1;
const refusedAs =
  (code: ClusterErrorCode, words: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isClusterError(error, code), String(error));
    assert.match(error.message, words);
    assert.match(error.hint ?? '', /--token-file/);
    return true;
  };

test('a store belongs to the cluster with the token that claimed it, also while none of its nodes is up', async () => {
  const store = new MemoryStore();
  const token = 'the token of this cluster';
  await claimFor(store, { token, watchMs });
  await claimFor(store, { token, watchMs });
  const claim = (await readIdentity(store))?.cluster ?? '';
  assert.ok(!claim.includes(token));
  await assert.rejects(
    claimFor(store, { token: 'another token of length', watchMs }),
    refusedAs('UNAUTHORIZED', /belongs to a cluster with another token/),
  );
  await assert.rejects(
    claimFor(store, { token: undefined, watchMs }),
    refusedAs('UNAUTHORIZED', /with a token, and this node has none/),
  );
  assert.equal((await readIdentity(store))?.cluster, claim);
  await releaseStore(store, systemHost);
  await claimFor(store, { token: 'another token of length', watchMs });
  // The same token shows in no two stores as the same text.
  const other = new MemoryStore();
  await claimFor(other, { token, watchMs });
  assert.notEqual((await readIdentity(other))?.cluster, claim);
});

test('a store in use by nodes of another host is refused; when they are gone it is taken over', async () => {
  const url = `file:${folder}/loopback`;
  const settings = makeSettings('fast');
  const node = await ClusterNode.start({
    ...{ name: 'a', store: url, listen: '127.0.0.1:0', settings, logLevel: 'silent' },
  });
  try {
    await until('its session', () => node.agent.phase === 'active');
    const patient = { watchMs: 5000 };
    for (const other of [
      { token: undefined, host: 'elsewhere', ...patient },
      { token: 'a token for this test', ...patient },
    ])
      await assert.rejects(
        claimFor(node.store, other),
        refusedAs('CONFLICT', /is in use by another cluster: of a on /),
      );
    await node.leave();
    const store = new MemoryStore();
    await claimFor(store, { token: undefined, host: 'one', watchMs });
    await claimFor(store, { token: undefined, host: 'two', watchMs });
    await claimFor(store, { token: 'a token for this test', watchMs });
    await assert.rejects(claimFor(store, { token: undefined, host: 'two', watchMs }));
  } finally {
    await node.close();
  }
});

test('a node whose name is taken by a living one can not join and says so; of one that ended it takes the place', async () => {
  const options = { name: 'a', store: `file:${folder}/names`, listen: '127.0.0.1:0' };
  const start = (): Promise<ClusterNode> =>
    ClusterNode.start({ ...options, settings: makeSettings('default'), logLevel: 'silent' });
  const first = await start();
  const second = await start();
  try {
    const why = await second.failed;
    assert.equal(why.code, 'NAME_IN_USE');
    assert.match(why.message, /^a node named a is alive on the store file:.*, at 127\.0\.0\.1:\d+$/);
    await second.close();
    assert.equal(first.agent.phase, 'active');
    assert.equal(first.agent.incarnation, 1);
    await first.close();
    const third = await start();
    try {
      await until('its session', () => third.agent.phase === 'active');
      assert.equal(third.agent.incarnation, 2);
    } finally {
      await third.close();
    }
  } finally {
    await second.close();
    await first.close();
  }
});
