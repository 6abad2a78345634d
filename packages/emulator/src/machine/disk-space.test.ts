/** The copy-on-write space of a disk. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { buildModules } from '../build.ts';
import { randomSource } from '../devices/testing/contract.ts';
import { nodeEngine } from '../host-node/engine.ts';
import { createMachine, restoreMachine } from './create.ts';
import { describeMachine } from './description.ts';
import { diskPageBytes, DiskSpace, type DiskBacking } from './disk-space.ts';
import { MachineError } from './errors.ts';

const sha256 = 'ab'.repeat(32);
const pages = 16;
const bytes = pages * diskPageBytes;

/** Page n holds n in every byte; page 0 is zero. Reads are counted. */
function numberedBase(): DiskBacking & { reads: number } {
  return {
    reads: 0,
    readPage(page) {
      this.reads++;
      return page === 0 ? undefined : new Uint8Array(diskPageBytes).fill(page);
    },
  };
}

function onBase(backing = numberedBase()): DiskSpace {
  return new DiskSpace({ name: 'disk0', bytes, readOnly: false, base: { sha256 } }, backing);
}

function empty(): DiskSpace {
  return new DiskSpace({ name: 'disk0', bytes, readOnly: false, base: null }, undefined);
}

function contents(disk: DiskSpace): Uint8Array {
  const all = new Uint8Array(disk.bytes);
  disk.read(0, all);
  return all;
}

describe('a disk, copy-on-write', () => {
  test('random writes are read again, over a base and over zeros', () => {
    for (const make of [onBase, empty])
      for (let seed = 1; seed <= 20; seed++) {
        const random = randomSource(seed);
        const disk = make();
        const model = contents(disk);
        for (let n = 0; n < 40; n++) {
          const offset = (random() % (bytes / 512)) * 512;
          const length = Math.min((random() % 30) * 512, bytes - offset);
          if (n % 4 === 3) {
            disk.zero(offset, length);
            model.fill(0, offset, offset + length);
            continue;
          }
          const data = Uint8Array.from({ length }, () => random() & 0xff);
          disk.write(offset, data);
          model.set(data, offset);
        }
        assert.deepEqual(contents(disk), model, `seed ${String(seed)}`);
        const twin = make();
        twin.restore(disk.save(true));
        assert.deepEqual(contents(twin), model, `seed ${String(seed)}, restored`);
      }
  });

  test('pages that are emptied take no room, and are told to the next snapshot', () => {
    const disk = empty();
    disk.write(0, new Uint8Array(4 * diskPageBytes).fill(1));
    assert.equal(disk.save(false).indexes.length, 4);
    disk.zero(diskPageBytes, 2 * diskPageBytes);
    const { indexes, bytes: emptied } = disk.save(false);
    assert.deepEqual([...indexes], [1, 2]);
    assert.ok(emptied.every((byte) => byte === 0));
    assert.deepEqual([...disk.save(true).indexes], [0, 3]);
    const over = onBase();
    over.zero(diskPageBytes, diskPageBytes);
    over.write(diskPageBytes + 512, new Uint8Array(512).fill(9));
    over.zero(2 * diskPageBytes, diskPageBytes);
    const mark = over.mark();
    over.write(2 * diskPageBytes, new Uint8Array(512).fill(1));
    over.zero(3 * diskPageBytes, diskPageBytes);
    over.goTo(mark);
    assert.equal(contents(over)[3 * diskPageBytes], 3);
    assert.deepEqual([...over.save(true).indexes], [1, 2]);
    assert.equal(contents(over)[diskPageBytes + 512], 9);
    assert.equal(contents(over)[2 * diskPageBytes], 0);
  });

  test('the largest disk is emptied at once, over a base and over zeros, in little time and heap', () => {
    const [largest, basePages, piece] = [2 ** 40, 300, 2 ** 29];
    const base = numberedBase();
    for (const backing of [undefined, { ...base, pageCount: basePages }]) {
      const description = { name: 'disk0', bytes: largest, readOnly: false };
      const disk = new DiskSpace(
        { ...description, base: backing === undefined ? null : { sha256 } },
        backing,
      );
      disk.write(largest - diskPageBytes, new Uint8Array(diskPageBytes).fill(5));
      const before = process.memoryUsage().heapUsed;
      for (let round = 0; round < 2; round++)
        for (let at = 0; at < largest; at += piece) disk.zero(at, piece);
      assert.ok(process.memoryUsage().heapUsed - before < 32 << 20);
      const { indexes } = disk.save(false);
      assert.equal(indexes.length, 1 + (backing === undefined ? 0 : basePages));
      assert.equal(indexes.at(-1), largest / diskPageBytes - 1);
      assert.equal(disk.page(7), undefined);
      disk.zero(0, piece);
      assert.equal(disk.save(false).indexes.length, 0, 'what is empty already is not told again');
    }
  });

  test('a page that is written as a whole is not fetched from the base', () => {
    const base = numberedBase();
    const disk = onBase(base);
    disk.write(diskPageBytes, new Uint8Array(2 * diskPageBytes));
    assert.equal(base.reads, 0);
    disk.write(5 * diskPageBytes, new Uint8Array(512));
    assert.equal(base.reads, 1);
  });

  test('snapshots list what changed since the one before; a full one what differs from the base', () => {
    const disk = onBase();
    disk.write(3 * diskPageBytes, new Uint8Array(diskPageBytes)); // zeros over the base: a difference
    disk.write(0, new Uint8Array(512)); // zeros over zeros: none
    disk.write(7 * diskPageBytes, new Uint8Array(512).fill(7)); // what is there already: none
    disk.write(9 * diskPageBytes + 512, new Uint8Array(512).fill(0xee));
    assert.deepEqual([...disk.save(false).indexes], [0, 3, 7, 9]);
    assert.deepEqual([...disk.save(false).indexes], []);
    const full = disk.save(true);
    assert.deepEqual([[...full.indexes], full.onBase], [[3, 9], true]);
    const other = onBase();
    other.restore(other.check(full));
    assert.deepEqual(contents(other), contents(disk));
    other.write(512, Uint8Array.of(1));
    assert.deepEqual([...other.save(false).indexes], [0]);
  });

  test('a snapshot that holds the whole disk needs no base image', () => {
    const disk = onBase();
    disk.write(3 * diskPageBytes, new Uint8Array(512));
    const whole = new DiskSpace({ name: 'disk0', bytes, readOnly: false, base: null }, undefined);
    whole.write(0, contents(disk));
    const description = { name: 'disk0', bytes, readOnly: false, base: { sha256 } };
    for (const backing of [undefined, numberedBase()]) {
      const other = new DiskSpace(description, backing);
      other.restore(other.check(whole.save(true)));
      assert.deepEqual(contents(other), contents(disk));
      assert.deepEqual([...other.contents()], [...disk.contents()]);
      assert.equal(other.save(true).onBase, false);
    }
    assert.throws(
      () => new DiskSpace(description, undefined).check(disk.save(true)),
      (error) => error instanceof MachineError && error.code === 'MACHINE_DISK_BASE_MISSING',
    );
  });

  test('a snapshot of another size, or of changes only, is refused', () => {
    const disk = onBase();
    const small = new DiskSpace({ name: 'disk0', bytes: 512, readOnly: false, base: null }, undefined);
    for (const wrong of [undefined, small.save(true), disk.save(false)])
      assert.throws(
        () => disk.check(wrong),
        (error) => error instanceof MachineError && error.code === 'MACHINE_SNAPSHOT_INVALID',
      );
  });

  test('a disk that writes through keeps nothing and has no snapshot', () => {
    const file = new Uint8Array(bytes);
    const disk = new DiskSpace(
      { name: 'disk0', bytes, readOnly: false, base: null },
      {
        readPage: (page) => file.slice(page * diskPageBytes, (page + 1) * diskPageBytes),
        writeThrough: {
          write: (offset, data) => {
            file.set(data, offset);
          },
          flush: () => undefined,
        },
      },
    );
    disk.write(1024, Uint8Array.of(1, 2, 3));
    assert.deepEqual([...file.subarray(1024, 1028)], [1, 2, 3, 0]);
    assert.deepEqual(contents(disk), file);
    assert.throws(
      () => disk.save(true),
      (error) => error instanceof MachineError && error.code === 'MACHINE_DISK_WRITE_THROUGH',
    );
  });
});

describe('a machine with disks', () => {
  before(() => {
    buildModules(() => undefined);
  });
  const description = {
    memoryBytes: 2 ** 20,
    disks: [
      { name: 'disk0', bytes, base: { sha256 } },
      { name: 'disk1', bytes: 512, readOnly: true },
    ],
  };

  test('disks are spaces of the snapshot and part of the state hash', async () => {
    const backends = { disks: { disk0: numberedBase() } };
    const machine = await createMachine({ description, backends, engine: nodeEngine });
    const before = machine.stateHash();
    machine.disks[0]?.write(0, Uint8Array.of(1));
    const after = machine.stateHash();
    assert.notEqual(after, before);
    const snapshot = machine.snapshot();
    assert.deepEqual(snapshot.spaces.map(({ name, pageCount }) => [name, pageCount]).slice(-2), [
      ['disk0', pages],
      ['disk1', 1],
    ]);
    const other = await restoreMachine({ snapshot, backends, engine: nodeEngine });
    machine.input({ kind: 'flush' });
    assert.equal(other.stateHash(), machine.stateHash());
  });

  test('a base image that nobody provides is an error of its own', async () => {
    await assert.rejects(
      createMachine({ description, engine: nodeEngine }),
      (error) => error instanceof MachineError && error.code === 'MACHINE_DISK_BASE_MISSING',
    );
  });

  test('descriptions of disks are checked', () => {
    for (const disk of [
      { name: 'disk1', bytes: 512 },
      { name: 'disk0', bytes: 513 },
      { name: 'disk0', bytes: 0 },
      { name: 'disk0', bytes: 2 ** 41 },
      { name: 'disk0', bytes: 512, base: { sha256: 'x' } },
    ])
      assert.throws(() => describeMachine({ disks: [disk] }), MachineError, JSON.stringify(disk));
    assert.throws(
      () =>
        describeMachine({
          disks: Array.from({ length: 9 }, (_, n) => ({ name: `disk${String(n)}`, bytes: 512 })),
        }),
      MachineError,
    );
  });
});
