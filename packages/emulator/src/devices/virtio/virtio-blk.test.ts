/** virtio over PCI, and virtio-blk, as a driver uses them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  Bar,
  FakeDisk,
  ring,
  VirtioDriver,
  type Descriptor,
  type FakeMemory,
} from '../testing/virtio-driver.ts';
import { randomSource } from '../testing/contract.ts';

const needsReset = 64;
const Type = { read: 0, write: 1, flush: 4, identity: 8, discard: 11, writeZeroes: 13 } as const;

function started(disk?: FakeDisk): VirtioDriver {
  const driver = new VirtioDriver(disk);
  driver.start();
  return driver;
}

describe('virtio-pci', () => {
  test('configuration space: identity, capabilities, sizing of the base address', () => {
    const { device } = new VirtioDriver();
    assert.equal(device.readConfiguration(0, 4), 0x1042_1af4);
    assert.equal(device.readConfiguration(8, 1), 1);
    assert.equal(device.readConfiguration(0x3d, 1), 1);
    assert.ok(device.readConfiguration(6, 2) & 0x10);
    const kinds: number[] = [];
    for (let at = device.readConfiguration(0x34, 1); at !== 0; at = device.readConfiguration(at + 1, 1)) {
      assert.equal(device.readConfiguration(at, 1), 9);
      kinds.push(device.readConfiguration(at + 3, 1));
    }
    assert.deepEqual(kinds, [1, 2, 3, 4, 5]);
    device.writeConfiguration(0x10, 4, 0xffff_ffff);
    assert.equal(device.readConfiguration(0x10, 4), 0xffff_c000);
    device.writeConfiguration(0x10, 4, 0xe010_0000);
    assert.equal(device.claims(0xe010_0014), undefined, 'memory is not decoded yet');
    device.writeConfiguration(4, 2, 2);
    assert.equal(device.claims(0xe010_0014), 0x14);
    assert.equal(device.claims(0xe010_4000), undefined);
  });

  test('the structures may be reached through the access capability', () => {
    const { device } = new VirtioDriver();
    const access = 0x84;
    device.writeConfiguration(access + 8, 4, Bar.status);
    device.writeConfiguration(access + 12, 4, 1);
    device.writeConfiguration(access + 16, 1, 3);
    assert.equal(device.readBar(Bar.status, 1), 3);
    assert.equal(device.readConfiguration(access + 16, 1), 3);
    for (const [offset, length] of [
      [0x4000, 1],
      [0x3fff, 2],
      [1, 4],
      [0, 3],
      [0xffff_ffff, 4],
    ] as const) {
      device.writeConfiguration(access + 8, 4, offset);
      device.writeConfiguration(access + 12, 4, length);
      assert.equal(device.readConfiguration(access + 16, 4), 0);
    }
  });

  test('features that were not offered, or no VERSION_1, are not taken', () => {
    for (const [low, high] of [
      [0, 0],
      [1 << 31, 1],
      [0, 3],
    ] as const) {
      const { device } = new VirtioDriver();
      device.writeBar(Bar.driverFeatureSelect, 4, 0);
      device.writeBar(Bar.driverFeature, 4, low >>> 0);
      device.writeBar(Bar.driverFeatureSelect, 4, 1);
      device.writeBar(Bar.driverFeature, 4, high);
      device.writeBar(Bar.status, 1, 0x0b);
      assert.equal(device.readBar(Bar.status, 1), 3);
    }
  });

  test('INTx follows ISR status and the command register', () => {
    const driver = started();
    driver.request(Type.flush, 0n, 0, false);
    assert.equal(driver.irq.level, true);
    driver.device.writeConfiguration(4, 2, 0x400);
    assert.equal(driver.irq.level, false);
    assert.ok(driver.device.readConfiguration(6, 1) & 8);
    driver.device.writeConfiguration(4, 2, 0);
    assert.equal(driver.irq.level, true);
    assert.equal(driver.device.readBar(Bar.isr, 1), 1);
    assert.equal(driver.irq.level, false);
    assert.equal(driver.device.readBar(Bar.isr, 1), 0);
  });
});

describe('virtio-blk', () => {
  test('configuration: capacity, block size', () => {
    const { device } = new VirtioDriver();
    assert.equal(device.readBar(Bar.configuration, 4), 128);
    assert.equal(device.readBar(Bar.configuration + 20, 4), 512);
  });

  test('what is written is read again; a request takes its fixed time', () => {
    const driver = started();
    const { memory, clock, disk } = driver;
    memory.bytes.fill(0xa5, ring.data, ring.data + 1024);
    assert.deepEqual(driver.request(Type.write, 3n, 1024, false), { status: 0, written: 1 });
    assert.ok(disk.content.subarray(1536, 2560).every((byte) => byte === 0xa5));
    assert.ok(disk.content.subarray(0, 1536).every((byte) => byte === 0));
    memory.bytes.fill(0, ring.data, ring.data + 2048);
    assert.deepEqual(driver.request(Type.read, 2n, 1536, true), { status: 0, written: 1537 });
    assert.ok(memory.bytes.subarray(ring.data + 512, ring.data + 1536).every((byte) => byte === 0xa5));
    const before = driver.used;
    driver.submit();
    clock.advance(49_999n);
    assert.equal(driver.used, before);
    clock.advance(1n);
    assert.equal(driver.used, before + 1);
  });

  test('identity and flush', () => {
    const driver = started();
    assert.deepEqual(driver.request(Type.identity, 0n, 20, true), { status: 0, written: 21 });
    const text = new TextDecoder().decode(driver.memory.bytes.subarray(ring.data, ring.data + 6));
    assert.equal(text, 'disk0\0');
    assert.equal(driver.request(Type.flush, 0n, 0, false).status, 0);
    assert.equal(driver.disk.flushes, 1);
  });

  test('discard and write-zeroes empty what they name, all of it or nothing', () => {
    const driver = started();
    const { memory, disk } = driver;
    assert.equal(driver.device.readBar(Bar.configuration + 36, 4), 1 << 20);
    const ask = (type: number, ...ranges: [sector: bigint, count: number, flags: number][]): number => {
      disk.content.fill(0xff);
      ranges.forEach(([sector, count, flags], n) => {
        memory.view.setBigUint64(ring.data + n * 16, sector, true);
        memory.view.setUint32(ring.data + n * 16 + 8, count, true);
        memory.view.setUint32(ring.data + n * 16 + 12, flags, true);
      });
      return driver.request(type, 0n, ranges.length * 16, false).status;
    };
    const zeros = (): number => disk.content.filter((byte) => byte === 0).length;
    assert.equal(ask(Type.discard, [2n, 3, 0], [8n, 1, 0]), 0);
    assert.ok(disk.content.subarray(1024, 2560).every((byte) => byte === 0));
    assert.equal(zeros(), 4 * 512);
    assert.equal(ask(Type.writeZeroes, [127n, 1, 1]), 0);
    assert.equal(zeros(), 512);
    for (const [type, range, status] of [
      [Type.discard, [0n, 1, 1], 2],
      [Type.writeZeroes, [0n, 1, 2], 2],
      [Type.discard, [127n, 2, 0], 1],
      [Type.writeZeroes, [2n ** 64n - 1n, 1, 0], 1],
    ] as const) {
      assert.equal(ask(type, [0n, 1, 0], [...range]), status);
      assert.equal(zeros(), 0);
    }
    assert.equal(ask(Type.discard), 1);
    const readOnly = started(new FakeDisk(4096, true));
    readOnly.memory.view.setUint32(ring.data + 8, 1, true);
    assert.equal(readOnly.request(Type.discard, 0n, 16, false).status, 1);
  });

  test('header, data and status may be cut anywhere (2.7.4)', () => {
    const driver = started();
    driver.disk.content.fill(7, 512, 1024);
    driver.header(Type.read, 1n);
    driver.describe([
      { address: ring.header, length: 5 },
      { address: ring.header + 5, length: 0 },
      { address: ring.header + 5, length: 11 },
      { address: ring.data, length: 100, write: true },
      { address: ring.data + 100, length: 413, write: true },
    ]);
    driver.submit();
    driver.clock.advance(1_000_000n);
    assert.ok(driver.memory.bytes.subarray(ring.data, ring.data + 512).every((byte) => byte === 7));
    assert.equal(driver.memory.bytes[ring.data + 512], 0);
  });

  test('transfers beyond the disk, of half sectors, or to a read-only disk end with IOERR', () => {
    const driver = started();
    assert.equal(driver.request(Type.read, 128n, 512, true).status, 1);
    assert.equal(driver.request(Type.read, 127n, 1024, true).status, 1);
    assert.equal(driver.request(Type.write, 2n ** 64n - 1n, 512, false).status, 1);
    assert.equal(driver.request(Type.read, 0n, 100, true).status, 1);
    assert.equal(driver.request(99, 0n, 512, true).status, 2);
    const readOnly = started(new FakeDisk(4096, true));
    assert.equal(readOnly.request(Type.write, 0n, 512, false).status, 1);
    assert.equal(readOnly.request(Type.read, 0n, 512, true).status, 0);
  });

  test('a disk in the middle of a request goes on after save and restore', () => {
    const driver = started();
    driver.header(Type.flush, 0n);
    driver.describe([
      { address: ring.header, length: 16 },
      { address: ring.status, length: 1, write: true },
    ]);
    driver.submit();
    const saved = driver.device.save();
    const other = new VirtioDriver(driver.disk);
    other.memory.bytes.set(driver.memory.bytes);
    other.device.restore(saved, driver.device.version);
    other.clock.advance(50_000n);
    assert.equal(other.used, 1);
    assert.equal(other.irq.level, true);
  });
});

// prettier-ignore
const broken: [string, (driver: VirtioDriver) => void][] = [
  ['a head outside of the queue', (driver) => { driver.submit(16); }],
  ['a loop', (driver) => { driver.describe([{ address: ring.header, length: 16, flags: 1, next: 0 }]); driver.submit(); }],
  ['a next outside of the queue', (driver) => { driver.describe([{ address: ring.header, length: 16, flags: 1, next: 99 }]); driver.submit(); }],
  ['an indirect descriptor', (driver) => { driver.describe([{ address: ring.header, length: 16, flags: 4 }]); driver.submit(); }],
  ['readable behind writable', (driver) => {
    driver.describe([{ address: ring.status, length: 1, write: true }, { address: ring.header, length: 16 }]);
    driver.submit();
  }],
  ['no room for the status', (driver) => { driver.describe([{ address: ring.header, length: 16 }]); driver.submit(); }],
  ['a short header', (driver) => {
    driver.describe([{ address: ring.header, length: 15 }, { address: ring.status, length: 1, write: true }]);
    driver.submit();
  }],
  ['more available than the queue holds', (driver) => {
    driver.memory.view.setUint16(ring.driver + 2, 17, true);
    driver.device.writeBar(Bar.notify, 2, 0);
  }],
  ['an address beyond physical memory', (driver) => {
    driver.describe([{ address: 2 ** 52, length: 16 }, { address: ring.status, length: 1, write: true }]);
    driver.submit();
  }],
];

describe('virtio-blk: hostile drivers', () => {
  for (const [name, act] of broken)
    test(`${name}: the device needs a reset, and works after it`, () => {
      const driver = started();
      act(driver);
      driver.clock.advance(1_000_000n);
      assert.ok(driver.status & needsReset);
      assert.equal(driver.device.readBar(Bar.isr, 1) & 2, 2);
      driver.device.writeBar(Bar.notify, 2, 0);
      driver.clock.advance(1_000_000n);
      driver.start();
      assert.equal(driver.request(Type.flush, 0n, 0, false).status, 0);
    });

  test('a length of 4 GiB costs no work', () => {
    const driver = started();
    const before = driver.memory.traffic;
    assert.equal(driver.request(Type.write, 0n, 0xffff_fe00, false).status, 1);
    assert.ok(driver.memory.traffic - before < 4096);
  });

  test('random rings, registers and memory never throw, and move no more than a queue of requests may', () => {
    let done = 0;
    for (let seed = 1; seed <= 1500; seed++) {
      const random = randomSource(seed);
      const driver = started();
      try {
        done += hostileRun(driver, random);
        driver.start();
        assert.equal(driver.request(Type.flush, 0n, 0, false).status, 0);
      } catch (error) {
        throw new Error(`seed ${String(seed)}`, { cause: error });
      }
    }
    assert.ok(done > 5000, 'most requests are served');
  });
});

/** Well-formed requests and rings, of which something is wrong now and then. Returns how many were given back. */
function hostileRun(driver: VirtioDriver, random: () => number): number {
  const { memory, device, clock } = driver;
  const pick = <T>(...choices: T[]): T => choices[random() % choices.length] as T;
  let done = 0;
  for (let step = 0; step < 12; step++) {
    const data = (write: boolean): Descriptor[] =>
      Array.from({ length: random() % 4 }, () => ({
        address: ring.data + (random() % 0x1000),
        length: pick(512, 1024, 4096, random() % 8192),
        write,
      }));
    const status = { address: ring.status, length: 1, write: true };
    driver.describe([{ address: ring.header, length: 16 }, ...data(false), ...data(true), status]);
    driver.header(pick(0, 1, 4, 8, 0, 1, random()), pick(0n, 1n, 127n, BigInt(random()) << 32n));
    for (let n = 0; n <= random() % 3; n++) driver.submit(pick(0, 0, 0, random() % 16, random() & 0xffff));
    if (random() % 3 === 0) damage(memory, random);
    if (random() % 4 === 0) {
      const offset = pick(0, 0x3000, 0x2000) + (random() % 0x40);
      device.writeBar(offset, pick(1, 2, 4), pick(0, 1, random()));
    }
    device.writeBar(Bar.notify, 2, 0);
    const before = { traffic: memory.traffic, used: driver.used };
    clock.advance(BigInt(random() % 200_000));
    assert.ok(memory.traffic - before.traffic < 256 * 2 ** 24, 'bounded');
    done += (driver.used - before.used) & 0xffff;
    if (driver.status !== 0x0f) driver.start();
  }
  return done;
}

/** Overwrites one field of a descriptor or of the available ring. */
function damage({ view }: FakeMemory, random: () => number): void {
  const at = ring.descriptors + (random() % 8) * 16;
  const value = [0, 1, 0xffff, 0xffff_ffff, random(), random()][random() % 6] ?? 0;
  switch (random() % 6) {
    case 0:
      view.setUint32(at, value, true);
      return;
    case 1:
      view.setUint32(at + 4, value, true);
      return;
    case 2:
      view.setUint32(at + 8, value, true);
      return;
    case 3:
      view.setUint16(at + 12, value & 0xffff, true);
      return;
    case 4:
      view.setUint16(at + 14, value & 0xffff, true);
      return;
    default:
      view.setUint16(ring.driver + 2 + (random() % 18) * 2, value & 0xffff, true);
  }
}
