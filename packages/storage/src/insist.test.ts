/** What is written or handed over is looked at by who does so, not only by who reads it: what no reader would take is never written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodePages, isWhole, pageHashBytes, storedRaw } from './checkpoint/page-codec.ts';
import { PackBuilder } from './checkpoint/pack.ts';
import { systemHost } from './host.ts';
import { raiseEpoch, readOwner } from './ownership.ts';
import { MemoryStore } from './store/memory-store.ts';

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

test('an owner record that nobody could read is not stored', async () => {
  const store = new MemoryStore();
  await assert.rejects(raiseEpoch(store, 'vm', { owner: 'a', firstEpoch: 1.5 }), aFault);
  assert.equal(await readOwner(store, 'vm'), undefined);
  await raiseEpoch(store, 'vm', { owner: 'a' });
  assert.equal((await readOwner(store, 'vm'))?.record.epoch, 1);
});
