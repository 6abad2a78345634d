/** Small objects that claim much: each decoder of manifest, record, pack and checkpoint file refuses them before it pays for them. */
import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Guest } from '../test-support/guest.ts';
import { checkpointFileBlocks, decodeCheckpointFile, encodeCheckpointFile } from './checkpoint-file.ts';
import {
  decodeState,
  decodeStateBlock,
  encodeState,
  whyUnboundedState,
  compressBlock,
  decompressBlock,
} from './codec.ts';
import { decodeManifest, sealManifest, type ManifestBody, type ManifestHead } from './checkpoint/manifest.ts';
import { PackBuilder, parsePackHead } from './checkpoint/pack.ts';
import { applyRuns, PageMap } from './checkpoint/page-map.ts';
import { openEnvelope, sealEnvelope } from './envelope.ts';
import { isStorageError, type StorageErrorCode } from './errors.ts';
import { systemHost } from './host.ts';
import { MemoryStore } from './store/memory-store.ts';
import { getRecord } from './store/records.ts';

/** Of the processor. Without bounds 33 million elements take 16 s and 682 MB; with them, what it takes to decompress and hash 33 MB. */
const soonMs = 3000;

const nilCount = 33_000_000;
const nils = new Uint8Array(nilCount + 5).fill(0xc0);
nils.set([0xdd, nilCount >>> 24, (nilCount >>> 16) & 255, (nilCount >>> 8) & 255, nilCount & 255]);

/** An envelope around encoded bytes as they are, with a checksum that is right. */
function envelope(magic: string, encoded: Uint8Array, decodedBytes = encoded.length): Uint8Array {
  const payload = compressBlock(encoded);
  const header = Buffer.alloc(32);
  header.write(magic, 0, 'latin1');
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(1, 6);
  header.writeUInt32LE(decodedBytes, 8);
  header.writeUInt32LE(payload.length, 12);
  payload.set([
    decodedBytes & 255,
    (decodedBytes >>> 8) & 255,
    (decodedBytes >>> 16) & 255,
    decodedBytes >>> 24,
  ]);
  const covered = Buffer.concat([header, payload]);
  return Buffer.concat([covered, hash('sha256', covered, 'buffer')]);
}

/** How long this process has used a processor: on a host with much to do, the clock says nothing of that. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function soon(code: StorageErrorCode, work: () => unknown): void {
  const begun = processorMs();
  assert.throws(work, (error) => isStorageError(error, code));
  const took = processorMs() - begun;
  assert.ok(took < soonMs, `${String(took)} ms`);
}

async function soonRejects(code: StorageErrorCode, work: () => Promise<unknown>): Promise<void> {
  const begun = processorMs();
  await assert.rejects(work, (error) => isStorageError(error, code));
  const took = processorMs() - begun;
  assert.ok(took < soonMs, `${String(took)} ms`);
}

describe('state', () => {
  test('33 million nils are refused by their number, not by decoding them', () => {
    const stored = compressBlock(nils);
    assert.ok(stored.length < 140_000);
    const begun = processorMs();
    assert.throws(() => decodeState(nils, stored.length), /too many elements/);
    assert.ok(processorMs() - begun < 1000);
  });

  test('what costs more than its bytes is bounded by them: texts, integers, and what unpacks to much', () => {
    // An array of so many times a value.
    const repeated = (head: readonly number[], bodyBytes: number, count: number): Uint8Array => {
      const value = Buffer.alloc(head.length + bodyBytes, 0x7f);
      value.set(head);
      const list = Buffer.alloc(5);
      list[0] = 0xdd;
      list.writeUInt32BE(count, 1);
      return Buffer.concat([list, ...Array<Uint8Array>(count).fill(value)]);
    };
    // Of 1024 bytes each, a thousand such integers take 64 ms to decode, and as keys of a map 100.
    assert.throws(() => decodeState(repeated([0xc8, 4, 0, 0x42], 1024, 1)), /not ours/);
    const widest = 2n ** 511n;
    assert.deepEqual(decodeState(encodeState([widest, -widest])), [widest, -widest]);
    const text = repeated([0xda, 4, 0], 1024, 17_000);
    soon('STATE_INVALID', () => decodeState(text, 1000));
    assert.equal((decodeState(text) as string[]).length, 17_000, 'that is not compressed');
    // Unpacked, this would be 250 MiB; it is refused by its length.
    const bytes = repeated([0xc6, 0x0f, 0x90, 0, 0], 0x0f90_0000, 1);
    const block = compressBlock(bytes);
    const begun = processorMs();
    assert.throws(() => decodeStateBlock(block, bytes.length), /unpacks to too much/);
    assert.ok(processorMs() - begun < 20);
    assert.match(whyUnboundedState(bytes, block.length) ?? '', /unpacks to too much/);
    assert.equal(whyUnboundedState(bytes, bytes.length / 10), undefined);
  });

  test('elements that nest, repeat or hide in maps are counted all the same', () => {
    const list = (inner: Uint8Array, times: number): Uint8Array => {
      const body = Buffer.concat([
        Buffer.from([0xdc, times >>> 8, times & 255]),
        Buffer.concat(Array.from({ length: times }, () => inner)),
      ]);
      return body;
    };
    const thousand = list(new Uint8Array([0xc0]), 1000);
    soon('STATE_INVALID', () => decodeState(list(thousand, 60_000), 1000));
    const map = list(new Uint8Array([0x81, 0xa0, 0xc0]), 60_000);
    soon('STATE_INVALID', () => decodeState(list(map, 10), 1000));
  });

  test('depth is bounded', () => {
    const deep = new Uint8Array(100_001).fill(0x91);
    deep[100_000] = 0xc0;
    soon('STATE_INVALID', () => decodeState(deep));
    let fine: unknown = 1;
    for (let i = 0; i < 60; i++) fine = [fine];
    assert.deepEqual(decodeState(encodeState(fine)), fine);
  });

  test('what decoders build beyond plain values is refused: expressions, errors, records, references, dates', () => {
    const strange = [
      [0xc7, 4, 0x78, 0x92, 0xa1, 0x61, 0xa0],
      [0xc7, 1, 0x65, 0x90],
      [0xd4, 0x72, 0x40],
      [0xd6, 0x69, 0, 0, 0, 1],
      [0xd6, 0xff, 0, 0, 0, 0],
      [0xd5, 0x73, 0x90, 0x90],
      [0xd4, 0x74, 11],
      [0xc1],
    ];
    for (const bytes of strange)
      assert.throws(() => decodeState(new Uint8Array(bytes)), /not ours|unknown kind/, String(bytes));
  });

  test('everything that is encoded is decoded, and nothing crashes the walk', () => {
    const value = {
      a: [1, -1, 2 ** 40, 1.5, null, undefined, true, 'x'.repeat(70_000), '', 12n, -(2n ** 63n), 2n ** 200n],
      b: new Uint8Array(300),
      c: new Uint32Array([1, 2]),
      d: new BigUint64Array(3),
      e: new Float64Array(1),
      f: {},
      g: Array.from({ length: 70_000 }, (_, i) => i),
    };
    assert.deepEqual(decodeState(encodeState(value)), value);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeState(bytes);
        } catch (error) {
          assert.ok(isStorageError(error, 'STATE_INVALID'));
        }
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (json) => whyUnboundedState(encodeState(json), 1000) === undefined),
    );
  });

  test('what could not be read back is not written', () => {
    const many = { list: Array.from({ length: 1_000_000 }, () => null) };
    assert.throws(
      () => sealEnvelope(many, { magic: 'RVRC', name: 'x', host: systemHost }),
      (error) => isStorageError(error, 'SNAPSHOT_INVALID'),
    );
    assert.throws(
      () =>
        checkpointFileBlocks.state(
          { description: many, cpus: [], devices: {}, instructions: 0n, virtualTimeNs: 0n },
          [],
        ),
      (error) => isStorageError(error, 'SNAPSHOT_INVALID'),
    );
  });

  test('an LZ4 block that claims more than it can hold is refused before anything is allocated', () => {
    const block = Buffer.from(compressBlock(new Uint8Array(1000)));
    block.writeUInt32LE(0x4000_0000, 0);
    soon('STATE_INVALID', () => decompressBlock(block, 0x4000_0000));
  });
});

describe('objects of a store', () => {
  test('records, heads and working sets of 33 million elements, or of a gigabyte, are refused', async () => {
    const store = new MemoryStore();
    await store.put('vms/vm/owner', envelope('RVRC', nils));
    await soonRejects('CHECKPOINT_DAMAGED', () => getRecord(store, 'vms/vm/owner'));
    await store.put('vms/vm/owner', envelope('RVRC', encodeState({}), 0x3fff_ffff));
    await soonRejects('CHECKPOINT_DAMAGED', () => getRecord(store, 'vms/vm/owner'));
    for (const magic of ['RVMH', 'RVWS', 'RVBI'])
      soon('CHECKPOINT_DAMAGED', () => openEnvelope(envelope(magic, nils), { magic, name: 'x' }));
  });

  const head: Omit<ManifestHead, 'bodyBytes' | 'bodyHash'> = {
    vmId: 'vm',
    id: { epoch: 1, sequence: 1 },
    parent: null,
    map: 'full',
    chainLength: 1,
    createdAtMs: 0,
    instructions: 0n,
    virtualTimeNs: 0n,
    spaces: [{ name: 'ram', pageSize: 4096, pageCount: 16 }],
    nonce: 'x',
    counts: {
      listedPages: 0,
      zeroPages: 0,
      sharedPages: 0,
      storedPages: 0,
      movedPages: 0,
      rawBytes: 0,
      packBytes: 0,
      packs: 0,
    },
  };
  const body: ManifestBody = { description: {}, cpus: [], devices: {}, packs: [], runs: [new Uint8Array(0)] };
  const decode = (changed: { head?: object; body?: object }): unknown =>
    decodeManifest(
      'vm',
      head.id,
      sealManifest({ ...head, ...changed.head }, { ...body, ...changed.body } as ManifestBody, {
        host: systemHost,
      }),
      undefined,
    );

  test('manifests that claim impossible spaces or packs are refused', () => {
    decode({});
    const pack = {
      name: 'p',
      bytes: 4096,
      headBytes: 80,
      headHash: new Uint8Array(32),
      pages: 1,
      pageSize: 4096,
    };
    decode({ body: { packs: [pack] } });
    const huge = (n: number): object => ({ name: `d${String(n)}`, pageSize: 4096, pageCount: 1 << 28 });
    // prettier-ignore
    const wrong: { head?: object; body?: object }[] = [
      { head: { spaces: Array.from({ length: 64 }, (_, n) => huge(n)) }, body: { runs: Array.from({ length: 64 }, () => new Uint8Array(0)) } },
      { head: { spaces: [huge(0), huge(0)] }, body: { runs: [new Uint8Array(0), new Uint8Array(0)] } },
      { head: { spaces: [null] } }, { head: { spaces: [{ name: 'x', pageSize: 1 << 30, pageCount: 1 }] } },
      { head: { parent: 'x' } }, { head: { instructions: 1 } }, { head: { counts: { packs: 'x' } } }, { head: { map: 'x' } },
      { body: { runs: [null] } }, { body: { packs: [null] } },
      ...[{ pageSize: 1 << 30 }, { pageSize: 3000 }, { bytes: 1 << 30 }, { headBytes: 1 << 29 }, { headBytes: -1 }, { pages: 1 << 24 }, { name: '../x' }, { vm: '../x' }, { vm: 5 }, { headHash: new Uint8Array(31) }].map((field) => ({ body: { packs: [{ ...pack, ...field }] } })),
    ];
    for (const each of wrong) soon('CHECKPOINT_DAMAGED', () => decode(each));
  });

  test('a page map whose runs repeat is refused: together they cost no more than the map has pages', () => {
    const runs = Buffer.alloc(16 * 100_000);
    for (let at = 0; at < runs.length; at += 16) runs.writeUInt32LE(1 << 20, at + 4);
    const map = new PageMap({ name: 'ram', pageSize: 4096, pageCount: 1 << 20 });
    soon('STATE_INVALID', () => {
      applyRuns(map, runs, () => 2);
    });
  });

  test('a pack whose slots share bytes, or lie beyond it, is refused', () => {
    const builder = new PackBuilder(4096);
    for (let i = 0; i < 4; i++) builder.add(new Uint8Array(32).fill(i), 100, new Uint8Array(100));
    const { ref, body: bytes } = builder.build('p', { host: systemHost });
    const named = { name: 'p', ...ref };
    parsePackHead('p', named, bytes, undefined);
    for (const [offset, length] of [
      [0, 100],
      [300, 101],
      [0xffff_0000, 1],
    ] as const) {
      const changed = Buffer.from(bytes);
      changed.writeUInt32LE(offset, 48 + 3 * 40 + 32);
      changed.writeUInt32LE(length, 48 + 3 * 40 + 36);
      const headHash = new Uint8Array(hash('sha256', changed.subarray(0, ref.headBytes - 32), 'buffer'));
      soon('CHECKPOINT_DAMAGED', () => parsePackHead('p', { ...named, headHash }, changed, undefined));
    }
  });
});

describe('single files', () => {
  const file = (blocks: [string, Uint8Array][]): Uint8Array => {
    const pieces = [Buffer.from(checkpointFileBlocks.header())];
    for (const [tag, bytes] of blocks) {
      const head = Buffer.alloc(8);
      head.write(tag, 0, 'latin1');
      head.writeUInt32LE(bytes.length, 4);
      pieces.push(head, Buffer.from(bytes));
    }
    const whole = Buffer.concat([...pieces, Buffer.from(checkpointFileBlocks.done())]);
    return Buffer.concat([whole, createHash('sha256').update(whole).digest()]);
  };

  test('a state of 33 million nils is refused', async () => {
    await soonRejects('CHECKPOINT_FILE_DAMAGED', () =>
      decodeCheckpointFile(file([['STAT', compressBlock(nils)]])),
    );
  });

  test('a block of pages that comes again and again is refused the second time', async () => {
    const snapshot = new Guest({ seed: 1, ramPages: 8, diskPages: 0 }).run(20).truth();
    await decodeCheckpointFile(Buffer.concat([...encodeCheckpointFile(snapshot)]));
    const state = Buffer.from(checkpointFileBlocks.state(snapshot, snapshot.spaces)).subarray(8);
    const ram = snapshot.spaces[0]!;
    const [block] = [...checkpointFileBlocks.pages(0, ram)].map((bytes) => bytes.subarray(8));
    const again = file([
      ['STAT', state],
      ['PAGE', block!],
      ['PAGE', block!],
    ]);
    await soonRejects('CHECKPOINT_FILE_DAMAGED', () => decodeCheckpointFile(again));
  });
});
