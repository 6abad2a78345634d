/** An epoch is raised only by a node that can go on with the VM. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  baseImageName,
  importBaseImage,
  MemoryStore,
  parseKey,
  PagePool,
  readEpoch,
} from '@revenant/storage';
import type { Event, LogEntry } from '../decisions/types.ts';
import { sha256 } from '../mac.ts';
import { putBlob } from '../stored/blobs.ts';
import { Epochs } from './epochs.ts';

const image = Buffer.alloc(3 * 4096, 'a disk ');
const kernel = Buffer.from('a kernel');

test('an epoch is raised only by a node that can read all that the VM is made of', async () => {
  const store = new MemoryStore();
  const pool = new PagePool({ threads: 0 });
  const told: Event[] = [];
  const key = parseKey('11'.repeat(32));
  const node = (name: string, own: typeof key | undefined): Epochs =>
    new Epochs({
      ...{ node: name, store, key: own, tell: (event: Event) => told.push(event) },
      follows: () => false,
      log: (_: LogEntry) => undefined,
    });
  const disks = [{ name: 'disk0', bytes: image.length, base: { sha256: sha256(image) } }];
  const description = { memoryBytes: 1 << 20, commandLine: '', kernel: sha256(kernel), disks };
  const spec = { runtime: 'machine', description, memoryMiB: 1, priority: 1, outputs: 'async' as const };
  const raise = async (epochs: Epochs, expectedEpoch: number): Promise<Event | undefined> => {
    await epochs.raise({ type: 'raise', vmId: 'v', attempt: 1, expectedEpoch, incarnation: 1, spec });
    return told.at(-1);
  };
  const refused = async (epochs: Epochs, why: string, reason: RegExp, epoch = 0): Promise<void> => {
    const event = await raise(epochs, epoch);
    assert.ok(event?.type === 'not-raised', JSON.stringify(event));
    assert.equal(event.why, why);
    assert.match(event.reason, reason);
    // The owner, where there is one, still has it.
    assert.equal((await readEpoch(store, 'v')) ?? 0, epoch);
  };
  const own = node('a', key);
  await refused(own, 'failed', /^base image sha256-[0-9a-f]+ is missing/);
  await importBaseImage(store, baseImageName(sha256(image)), [image], { pool, key });
  await refused(own, 'failed', /has no kernel or image/);
  await putBlob(store, sha256(kernel), [kernel]);
  assert.equal((await raise(own, 0))?.type, 'raised');
  // A takeover by one that can't read the disk: with another key, without any, or when the image went.
  await refused(node('b', parseKey('22'.repeat(32))), 'unreadable', /key/, 1);
  await refused(node('c', undefined), 'unreadable', /key/, 1);
  await store.delete([`bases/${baseImageName(sha256(image))}/manifest`]);
  await refused(node('d', key), 'failed', /is missing/, 1);
  // A checkpoint has what the kernel was needed for, and who has read the image knows it.
  for (const { key: name } of (await store.list('cluster/blobs/')).objects) await store.delete([name]);
  assert.equal((await raise(own, 1))?.type, 'raised');
  await pool.close();
});
