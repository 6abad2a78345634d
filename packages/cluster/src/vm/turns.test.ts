/** How long the turns of a guest are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore, PagePool } from '@revenant/storage';
import { until } from '../testing/until.ts';
import { startThread } from './guest-thread.ts';
import type { ResumePoint } from './resume.ts';
import { SpareWorkers } from './spare-workers.ts';
import type { Look } from './vm-runtime.ts';

test('are short until all of its memory was brought', async () => {
  const pool = new PagePool();
  const spare = new SpareWorkers({ module: undefined, vms: () => 0 });
  const module = new URL('../../test-support/counting-turns-guest.ts', import.meta.url).href;
  const absent = Uint32Array.of(300, 301, 302);
  const lazy = { absent };
  const point = { snapshot: undefined, disks: [], lazy, resumed: 'exact' } as unknown as ResumePoint;
  const thread = await startThread({
    ...{ store: new MemoryStore(), pool, spare, module, description: {}, paused: false },
    ...{ point, watch: undefined },
    onStall: () => undefined,
  });
  const look = (): Promise<Look> => thread.ask('look', { fresh: true });
  const several = async (): Promise<number> => {
    const { height } = await look();
    let now: Look | undefined;
    await until('some turns', async () => (now = await look()).height > height + 2);
    return now!.width;
  };
  try {
    await thread.started;
    thread.lease[0] = Infinity;
    const short = await several();
    await thread.ask('deliver', { indexes: absent.subarray(0, 2), bytes: new Uint8Array(8192) });
    assert.equal(await several(), short);
    await thread.ask('deliver', { indexes: absent.subarray(2), bytes: new Uint8Array(4096) });
    assert.ok((await several()) >= 10 * short);
  } finally {
    await thread.end();
    await spare.close();
    await pool.close();
  }
});
