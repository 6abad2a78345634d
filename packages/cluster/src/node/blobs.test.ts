/** Uploaded files in a running cluster: they are collected when no VM refers to them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterClient } from '../client/cluster-client.ts';
import { makeSettings } from '../decisions/settings.ts';
import { isClusterError } from '../errors.ts';
import { sha256 } from '../mac.ts';
import { blobBytes } from '../stored/blobs.ts';
import { until } from '../testing/until.ts';
import { ClusterNode } from './cluster-node.ts';
import { answerMs } from '../testing/patience.ts';

test('a master collects what no VM refers to; a VM that refers to what went is refused until it is uploaded again', async () => {
  const settings = makeSettings('default');
  const node = await ClusterNode.start({
    ...{
      name: 'a',
      store: 'memory:blobs',
      listen: '127.0.0.1:0',
      settings,
      logLevel: 'silent',
      memoryMiB: 256,
    },
    blobGraceMs: 100,
  });
  const client = new ClusterClient({ nodes: [node.address], answerMs });
  try {
    const bytes = Buffer.alloc(5 << 20, 'kernel ');
    const create = (kernel: string): Promise<unknown> => {
      const description = { memoryBytes: 16 << 20, commandLine: '', kernel };
      const spec = { runtime: 'machine', description, memoryMiB: 16, priority: 1, outputs: 'async' as const };
      return client.command({ type: 'vm-create', vmId: 'v', spec, start: false });
    };
    const kernel = await client.putBlob(bytes);
    await until('it is collected', async () => (await blobBytes(node.store)) === 0);
    const missing = (error: unknown): boolean => isClusterError(error, 'BLOB_MISSING');
    await assert.rejects(create(kernel), missing);
    await assert.rejects(create(sha256(Buffer.from('never uploaded'))), missing);
    assert.equal(await client.putBlob(bytes), kernel);
    await create(kernel);
    const events = await client.events();
    assert.ok(events.some(({ event, details }) => event === 'blobs-collected' && details?.['removed'] === 1));
  } finally {
    await client.close();
    await node.close();
  }
});
