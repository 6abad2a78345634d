/** What is written or handed over is looked at by who does so, not only by who reads it: what no reader would take is never written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Guest } from '../test-support/guest.ts';
import { isCondemned } from './checkpoint/find.ts';
import { forkVm } from './checkpoint/fork.ts';
import { holdCheckpoint } from './checkpoint/hold.ts';
import { encodePages, isWhole, pageHashBytes, storedRaw } from './checkpoint/page-codec.ts';
import { PackBuilder } from './checkpoint/pack.ts';
import { PackTable } from './checkpoint/pack-table.ts';
import { encodeRuns, packBase, type PageChanges } from './checkpoint/page-map.ts';
import { PagePool } from './checkpoint/page-pool.ts';
import { takeSnapshot } from './checkpoint/snapshots.ts';
import { saveWorkingSet } from './checkpoint/working-set.ts';
import { CheckpointWriter } from './checkpoint/writer.ts';
import { putBaseManifest, readBaseState } from './checkpoint/base-manifest.ts';
import { ownerKey } from './checkpoint/keys.ts';
import { encodeManifest } from './checkpoint/manifest.ts';
import { isRecord } from './codec.ts';
import { systemHost } from './host.ts';
import { decodeSegment, encodeSegment, follows, maxPayloadBytes, type Segment } from './log/segment.ts';
import { LogWriter } from './log/writer.ts';
import { raiseEpoch, readOwner } from './ownership.ts';
import { checkedRecord, putRecord } from './store/records.ts';
import { initStore } from './store/identity.ts';
import { MemoryStore } from './store/memory-store.ts';
import { listAll } from './store/object-store.ts';

const pageSize = 4096;
const aFault = /a fault of Revenant/;

test('pages that a thread left out, cut or added are no whole answer', () => {
  const bytes = new Uint8Array(3 * pageSize);
  bytes.fill(1, 0, 100);
  crypto.getRandomValues(bytes.subarray(2 * pageSize));
  const encoded = encodePages(bytes, pageSize);
  const { hashes, lengths, data } = encoded;
  assert.ok(isWhole(encoded, 3, pageSize));
  assert.equal(lengths[1], 0, 'a page of zeros is among them');
  assert.equal(lengths[2], (pageSize | storedRaw) >>> 0, 'and one that is stored as it is');
  assert.ok(!isWhole(encoded, 4, pageSize));
  assert.ok(!isWhole({ ...encoded, lengths: lengths.subarray(0, 2) }, 3, pageSize));
  assert.ok(!isWhole({ ...encoded, hashes: hashes.subarray(pageHashBytes) }, 3, pageSize));
  assert.ok(!isWhole({ ...encoded, data: data.subarray(1) }, 3, pageSize));
  assert.ok(!isWhole({ ...encoded, lengths: Uint32Array.of(0, 0, lengths[2]!) }, 3, pageSize));
});

test('a pack that no reader would take is not made', () => {
  const builder = new PackBuilder(pageSize);
  const [hash, stored] = [new Uint8Array(pageHashBytes), new Uint8Array(1)];
  for (let page = 0; page < 65_536; page++) builder.add(hash, 1, stored);
  assert.equal(builder.build('pack', { host: systemHost }).ref.pages, 65_536);
  builder.add(hash, 1, stored);
  assert.throws(() => builder.build('pack', { host: systemHost }), aFault);
});

test('a segment of a log that its reader would refuse is not written', () => {
  const segment: Segment = {
    ...{ vmId: 'vm', epoch: 2, ordinal: 3, opened: 1, from: 10n, to: 20n, firstInput: 5n },
    previous: { epoch: 2, ordinal: 2, hash: new Uint8Array(32) },
    entries: [{ count: 12n, payload: new Uint8Array(1) }],
  };
  const options = { host: systemHost };
  const decoded = decodeSegment('vm', segment, encodeSegment(segment, options), undefined);
  const changes: Partial<Segment>[] = [
    { to: 11n },
    { from: 13n },
    { opened: 4 },
    { opened: 0 },
    { firstInput: 0n },
    { previous: undefined },
    { previous: { ...segment.previous!, ordinal: 1 } },
    { previous: { ...segment.previous!, epoch: 1 } },
    { previous: { ...segment.previous!, epoch: 3 } },
    { entries: [{ count: 12n, payload: new Uint8Array(maxPayloadBytes + 1) }] },
    { entries: [12n, 11n].map((count) => ({ count, payload: new Uint8Array(1) })) },
  ];
  for (const change of changes)
    assert.throws(
      () => encodeSegment({ ...segment, ...change }, options),
      aFault,
      JSON.stringify(Object.keys(change)),
    );
  const next = { ...segment, ordinal: 4, previous: decoded, from: 20n, firstInput: 6n };
  assert.ok(follows(next, decoded));
  assert.ok(!follows({ ...next, from: 21n }, decoded), 'instructions are left out');
  assert.ok(!follows({ ...next, firstInput: 5n }, decoded), 'an input is counted twice');
  assert.ok(!follows({ ...next, previous: { ...decoded, hash: new Uint8Array(32) } }, decoded));
});

test('a fault in making a segment ends its log with the reason, and nothing else', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
  const previous = { epoch: 9, ordinal: 1, opened: 1, hash: new Uint8Array(32), to: 0n, nextInput: 1n };
  const over: Error[] = [];
  const log = new LogWriter(store, ownership, { from: 0n, previous, onOver: (error) => over.push(error) });
  assert.equal(log.append({ count: 1n, payload: new Uint8Array(1) }), 'taken');
  await log.close();
  assert.match(over[0]!.message, aFault);
  assert.equal(log.status.durable.input, 0n);
});

test('pages that are named twice, lie behind the end of their space or in no base image have no runs', () => {
  const space = { name: 'ram', pageSize, pageCount: 8 };
  const changes = (indexes: number[], pack = 2): PageChanges => ({
    indexes: Uint32Array.from(indexes),
    packs: new Uint32Array(indexes.length).fill(pack),
    slots: Uint32Array.from(indexes.keys()),
  });
  const runsOf = (changed: PageChanges): Uint8Array => encodeRuns(space, changed, (pack) => pack);
  assert.equal(runsOf(changes([3, 4, 7])).length, 32);
  for (const indexes of [[3, 3], [4, 3], [7, 8], [8]]) assert.throws(() => runsOf(changes(indexes)), aFault);
  assert.throws(() => runsOf(changes([1], packBase)), aFault);
  const table = new PackTable(new Map(), []);
  assert.throws(() => table.move(2, 3), aFault);
});

test('a manifest that nobody could read is not made', () => {
  const counts = { listedPages: 0, zeroPages: 0, sharedPages: 0, storedPages: 0 };
  const head: Parameters<typeof encodeManifest>[0] = {
    ...{
      vmId: 'vm',
      id: { epoch: 2, sequence: 3 },
      parent: { epoch: 2, sequence: 2 },
      map: 'delta',
      chainLength: 2,
    },
    ...{ createdAtMs: 0, instructions: 0n, virtualTimeNs: 0n, nonce: 'x' },
    spaces: [{ name: 'ram', pageSize, pageCount: 8 }],
    counts: { ...counts, movedPages: 0, rawBytes: 0, packBytes: 0, packs: 0 },
  };
  const body = { description: {}, cpus: [], devices: {}, packs: [], runs: [new Uint8Array(0)] };
  const options = { host: systemHost };
  encodeManifest(head, body, options);
  for (const change of [
    { parent: head.id },
    { parent: { epoch: 3, sequence: 1 } },
    { parent: null },
    { map: 'full' as const },
    { instructions: 0 as never },
  ])
    assert.throws(() => encodeManifest({ ...head, ...change }, body, options), aFault);
  assert.throws(() => encodeManifest(head, { ...body, runs: [] }, options), aFault);
  assert.throws(() => encodeManifest(head, { ...body, packs: [undefined as never] }, options), aFault);
});

test('a base image that nobody could read is not published', async () => {
  const store = new MemoryStore();
  const info = { name: 'image', pageSize, pageCount: 1, contentHash: '', packBytes: 0 };
  const manifest = { info, packs: [undefined as never], runs: new Uint8Array(0) };
  await assert.rejects(putBaseManifest(store, manifest, undefined, {}), aFault);
  assert.equal((await readBaseState(store, 'image', undefined)).state, 'absent');
});

test('a checkpoint of other pages than its snapshot lists is not written', async () => {
  const store = new MemoryStore();
  const pool = new PagePool({ threads: 0 });
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const space = { name: 'ram', pageSize, pageCount: 8, full: true, indexes: Uint32Array.of(1, 2) };
  const snapshot = {
    ...{ description: {}, cpus: [], devices: {}, instructions: 0n, virtualTimeNs: 0n },
    spaces: [{ ...space, bytes: new Uint8Array(0), read: () => Promise.resolve(new Uint8Array(pageSize)) }],
  };
  await assert.rejects(writer.write(snapshot), aFault);
  await writer.close();
  await pool.close();
  const keys = (await store.list('vms/vm/manifests/', { limit: 10 })).objects;
  assert.deepEqual(keys, []);
});

test('an owner record that nobody could read is not stored', async () => {
  const store = new MemoryStore();
  await assert.rejects(raiseEpoch(store, 'vm', { owner: 'a', firstEpoch: 1.5 }), aFault);
  assert.equal(await readOwner(store, 'vm'), undefined);
  const ownership = await raiseEpoch(store, 'vm', { owner: 'a' });
  assert.equal((await readOwner(store, 'vm'))?.record.epoch, 1);
  // Nor one whose lineage leads elsewhere: it is refused when it is read, too.
  const record = { ...ownership.stored.record, lineage: [{ epoch: 2, from: null }] };
  const key = ownerKey('vm');
  await putRecord(store, systemHost, key, checkedRecord(key, record, isRecord), ownership.stored.version);
  await assert.rejects(readOwner(store, 'vm'), /lacks a field/);
});

test('records that nobody could read are not stored: of holds, forks, snapshots, condemned checkpoints and identities', async () => {
  const store = new MemoryStore();
  const pool = new PagePool({ threads: 0 });
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm', { owner: 'a' }), { pool });
  const guest = new Guest({ seed: 1, ramPages: 8, diskPages: 0 });
  const { id } = await writer.write(guest.run(5).snapshot());
  const before = await keysOf(store);
  // A time that is none, as a fault of ours would make it.
  const host = { ...systemHost, wallClockMs: () => Number.NaN };
  const options = { owner: 'a', pool, host };
  await assert.rejects(holdCheckpoint(store, 'vm', id, { purpose: 'a test', host }), aFault);
  await assert.rejects(forkVm(store, 'vm', 'fork', options), aFault);
  await assert.rejects(takeSnapshot(store, 'vm', { ...options, name: 'kept', request: 'r' }), aFault);
  await assert.rejects(initStore(store, host), aFault);
  await assert.rejects(saveWorkingSet(store, 'vm', { ram: [1] as never }), aFault);
  assert.deepEqual(await keysOf(store), before);
  // A fork whose own record is at fault, while its hold is not.
  let times = 0;
  const failing = { ...systemHost, wallClockMs: () => (times++ === 0 ? Date.now() : Number.NaN) };
  await assert.rejects(forkVm(store, 'vm', 'fork', { ...options, host: failing }), aFault);
  assert.deepEqual(await keysOf(store), before);
  for (const note of [{ epoch: 0.5, ids: [] }, { epoch: 1, ids: ['x'] }, { epoch: 1 }])
    assert.throws(() => checkedRecord('a note', note, isCondemned), aFault);
  await writer.close();
  await pool.close();
});

async function keysOf(store: MemoryStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(store, '')) keys.push(key);
  return keys;
}
