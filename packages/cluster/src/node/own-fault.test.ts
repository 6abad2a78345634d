/** A fault of a node itself, where nobody waits for what runs: it says so in one line and is over, in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSettings } from '../decisions/settings.ts';
import { ClusterNode } from './cluster-node.ts';

test('a tick that throws ends the node, with the reason', { timeout: 120_000 }, async () => {
  const node = await ClusterNode.start({
    ...{ name: 'a', store: 'memory:own-fault', listen: '127.0.0.1:0', logLevel: 'silent' },
    settings: makeSettings('fast'),
  });
  const { agent } = node;
  try {
    Object.defineProperty(node, 'agent', {
      configurable: true,
      get: () => {
        throw new Error('no state');
      },
    });
    const why = await node.failed;
    assert.equal(why.code, 'RUNTIME');
    assert.match(why.message, /^a fault of the node itself: no state$/);
    assert.match(why.hint ?? '', /report it/);
  } finally {
    Object.defineProperty(node, 'agent', { value: agent });
    await node.close();
  }
});
