/** Threads of guests that run out of what their host has: the VM says what is short and is tried elsewhere; its node and the others go on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { GreedyDescription } from '../../test-support/greedy-guest.ts';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { ClusterNode } from '../node/cluster-node.ts';
import { answerMs } from '../testing/patience.ts';
import { until } from '../testing/until.ts';
import { maxHeapMiB, whyEnded, whyHeapFull } from './thread-memory.ts';

const greedy = new URL('../../test-support/greedy-guest.ts', import.meta.url).href;
/** One try for each node. However long a thread takes until it has taken everything, it does not hang. */
const settings = makeSettings('default', { maxTries: 2, guestHungMs: 300_000 });
const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
/** What a VM says in the end that takes … */
const words: Record<GreedyDescription['takes'], RegExp> = {
  little: /its thread ran out of JavaScript heap: it may have \d+ MiB/,
  grows: /its thread has \d+ MiB of JavaScript heap in use, of \d+ MiB that it may have/,
  machine: /the host does not give the \d+ MiB of memory that the machine takes/,
  buffers: /its host has no memory left for it: Array buffer allocation failed/,
};

for (const [takes, reason] of Object.entries(words))
  test(`a guest that takes all of its host (${takes}) is tried on each node and given up, and nothing else`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'revenant-exhausted-test-'));
    const options = {
      store: `file:${folder}`,
      listen: '127.0.0.1:0',
      settings,
      logLevel: 'silent',
      runtimes: { greedy },
    } as const;
    const nodes = await Promise.all(['a', 'b'].map((name) => ClusterNode.start({ ...options, name })));
    const client = new ClusterClient({
      nodes: nodes.map(({ address }) => address),
      answerMs,
      patienceMs: 900_000,
    });
    try {
      for (const { address } of nodes) {
        const one = new ClusterClient({ nodes: [address], answerMs });
        await until(`${address} knows both`, async () => {
          const known = await one.status().catch(() => undefined);
          return known?.nodes.filter(({ state }) => state === 'alive').length === nodes.length;
        });
        await one.close();
      }
      await client.command({ type: 'vm-create', vmId: 'well', spec, start: true });
      await client.waitFor('well', ['running']);
      await client.command({
        type: 'vm-create',
        vmId: 'bad',
        spec: { ...spec, runtime: 'greedy', description: { takes } },
        start: true,
      });
      const bad = await client.waitFor('bad', ['failed']);
      assert.match(bad.reason, /^gave up after 2 tries; the last: /);
      assert.match(bad.reason, reason);
      const tried = new Set<string>();
      await until('a try on each node', async () => {
        for (const { event, vm, node } of await client.events())
          if (vm === 'bad' && /^vm-(failed|given-up)$/.test(event)) tried.add(node ?? '');
        return tried.size === nodes.length;
      });
      assert.deepEqual([...tried].sort(), ['a', 'b']);
      const well = await client.waitFor('well', ['running']);
      assert.equal(well.tries, 0);
    } finally {
      await client.close();
      for (const node of nodes) await node.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  });

test('a thread is at its end while V8 still has room, and other errors keep their words', () => {
  assert.equal(whyHeapFull(200 * 2 ** 20), undefined);
  assert.match(
    whyHeapFull(300 * 2 ** 20) ?? '',
    new RegExp(`300 MiB of JavaScript heap in use, of ${String(maxHeapMiB)} MiB`),
  );
  assert.equal(whyEnded(new RangeError('Invalid typed array length: 5')), 'Invalid typed array length: 5');
  assert.equal(whyEnded('so'), 'so');
});
