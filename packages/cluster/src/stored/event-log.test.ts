/** The log of events in the store: written, read and collected. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listAll, MemoryStore } from '@revenant/storage';
import { collectEvents, EventLog, eventsPrefix, readEvents } from './event-log.ts';

const dayMs = 86_400_000;

async function count(store: MemoryStore): Promise<number> {
  let objects = 0;
  for await (const _ of listAll(store, eventsPrefix)) objects++;
  return objects;
}

test('old events are collected by age and by number, the newest stay', async () => {
  const store = new MemoryStore();
  const now = 1_800_000_000_000;
  for (let day = 0; day < 50; day++)
    await store.put(`${eventsPrefix}${String(now - day * dayMs - 1)}-n-${String(day)}`, Buffer.from('[]'));
  assert.equal(await collectEvents(store, now), 20);
  assert.equal(await count(store), 30);
  assert.equal(await collectEvents(store, now), 0);
  assert.equal(await collectEvents(store, now, { keepObjects: 5 }), 25);
  const left = (await store.list(eventsPrefix)).objects.map(({ key }) => key.split('-').at(-1));
  assert.deepEqual(left, ['4', '3', '2', '1', '0']);
});

test('what was just written is read back, and not collected', async () => {
  const store = new MemoryStore();
  const log = new EventLog(store, 'n');
  log.add({ event: 'vm-started', vm: 'v', reason: '' });
  await log.close();
  assert.equal(await collectEvents(store, Date.now()), 0);
  assert.deepEqual(
    (await readEvents(store)).map(({ event }) => event),
    ['vm-started'],
  );
});

test('an event that no reader would take is not stored; one that says so is', async () => {
  const store = new MemoryStore();
  const log = new EventLog(store, 'n');
  const faults = [
    { event: 'x'.repeat(65), reason: 'too long a name' },
    { event: 'slow', reason: '', tookMs: Number.NaN },
    { event: 'odd', reason: '', epoch: 1.5 },
    { event: 'deep', reason: '', details: { a: Number.POSITIVE_INFINITY } },
  ];
  for (const fault of faults) log.add(fault);
  await log.close();
  const read = await readEvents(store);
  assert.deepEqual(
    read.map(({ event, reason }) => [event, reason.split(' ')[0]?.slice(0, 4)]),
    ['xxxx', 'slow', 'odd', 'deep'].map((name) => ['event-refused', name]),
  );
  const [object] = (await store.list(eventsPrefix)).objects;
  const stored = JSON.parse(Buffer.from((await store.get(object!.key))!.body).toString()) as unknown[];
  assert.equal(stored.length, read.length, 'each that is stored is read');
});
