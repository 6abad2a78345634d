/** The AHCI controller with a disk, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock, FakeLine, randomSource } from '../testing/contract.ts';
import { FakeDisk, FakeMemory } from '../testing/virtio-driver.ts';
import { Ahci } from './ahci.ts';

const Port = {
  list: 0x100,
  received: 0x108,
  status: 0x110,
  enable: 0x114,
  command: 0x118,
  taskFile: 0x120,
  signature: 0x124,
  link: 0x128,
  control: 0x12c,
  issue: 0x138,
} as const;
const at = { list: 0x1000, received: 0x2000, table: 0x3000, data: 0x1_0000 } as const;
const Command = {
  identify: 0xec,
  read: 0x25,
  write: 0x35,
  readPio: 0x24,
  flush: 0xea,
  setFeatures: 0xef,
} as const;
const Interrupt = { toHost: 1, pioSetup: 2, overflow: 0x0100_0000, taskFile: 0x4000_0000 } as const;
const stepNs = 50_000n;

interface Region {
  address: number;
  length: number;
}

class Driver {
  readonly memory = new FakeMemory(0x8_0000);
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly disk: FakeDisk;
  readonly device: Ahci;

  constructor(disk = new FakeDisk(0x4_0000)) {
    const { memory, clock, irq } = this;
    this.disk = disk;
    const identity = { model: 'DISK', serial: 'one' };
    this.device = new Ahci({
      disks: [{ disk, identity }],
      memory,
      clock,
      irq,
      firmware: { memory: 0xe020_0000, interruptLine: 11 },
    });
  }

  write(register: number, value: number): void {
    this.device.writeBar(register, 4, value >>> 0);
  }
  read(register: number): number {
    return this.device.readBar(register, 4);
  }

  /** 10.1.2 */
  start(): void {
    this.write(0x04, 0x8000_0001);
    assert.equal(this.read(0x04), 0x8000_0000, 'the reset is over');
    this.write(0x04, 0x8000_0002);
    this.write(Port.list, at.list);
    this.write(Port.received, at.received);
    this.write(Port.command, 0x16);
    this.write(Port.status, 0xffff_ffff);
    this.write(Port.enable, 0x7dc0_007f);
    this.write(Port.command, 0x17);
  }

  /** Puts a command into a slot. */
  prepare(slot: number, command: number, sector: number, count: number, regions: readonly Region[]): void {
    const { view, bytes } = this.memory;
    const table = at.table + slot * 0x400;
    view.setUint32(at.list + slot * 32, 5 | (regions.length << 16), true);
    view.setUint32(at.list + slot * 32 + 4, 0, true);
    view.setUint32(at.list + slot * 32 + 8, table, true);
    view.setUint32(at.list + slot * 32 + 12, 0, true);
    const lba = [0, 8, 16, 24].map((shift) => (sector >>> shift) & 0xff);
    bytes.set(
      [
        0x27,
        0x80,
        command,
        0,
        lba[0]!,
        lba[1]!,
        lba[2]!,
        0x40,
        lba[3]!,
        0,
        0,
        0,
        count & 0xff,
        count >> 8,
        0,
        0,
      ],
      table,
    );
    regions.forEach(({ address, length }, n) => {
      view.setBigUint64(table + 0x80 + n * 16, BigInt(address), true);
      view.setUint32(table + 0x8c + n * 16, length - 1, true);
    });
  }

  run(command: number, sector: number, count: number, regions: readonly Region[], slot = 0): void {
    this.prepare(slot, command, sector, count, regions);
    this.write(Port.issue, 1 << slot);
    this.clock.advance(100n * stepNs);
  }

  /** Bytes moved, as the header of a slot says. */
  moved(slot = 0): number {
    return this.memory.view.getUint32(at.list + slot * 32 + 4, true);
  }
}

function started(disk?: FakeDisk): Driver {
  const driver = new Driver(disk);
  driver.start();
  return driver;
}

describe('AHCI', () => {
  test('it says what it is: one port, 32 slots, a disk on a link that is up', () => {
    const driver = new Driver();
    assert.equal(driver.read(0x00) & 0x1f, 0);
    assert.equal((driver.read(0x00) >>> 8) & 0x1f, 31);
    assert.equal(driver.read(0x0c), 1);
    assert.deepEqual([driver.read(Port.signature), driver.read(Port.link)], [0x101, 0x113]);
    assert.equal(driver.read(Port.taskFile) & 0xff, 0x50);
  });

  test('IDENTIFY comes with a PIO setup frame', () => {
    const driver = started();
    driver.run(Command.identify, 0, 0, [{ address: at.data, length: 512 }]);
    const words = new Uint16Array(driver.memory.bytes.buffer, at.data, 256);
    assert.equal(words[100], 0x4_0000 / 512);
    assert.equal(words[76], 2);
    assert.equal(driver.memory.bytes[at.received + 0x20], 0x5f);
    assert.equal(driver.memory.bytes[at.received + 0x40], 0x34);
    assert.equal(driver.read(Port.status), Interrupt.toHost | Interrupt.pioSetup);
    assert.equal(driver.irq.level, true);
    driver.write(Port.status, 3);
    assert.equal(driver.irq.level, true, 'the controller still says so');
    driver.write(0x08, 1);
    assert.equal(driver.irq.level, false);
  });

  test('what is written is read again, from regions of any size', () => {
    const driver = started();
    const content = Uint8Array.from({ length: 4096 }, (_, n) => n * 31 + (n >> 8));
    driver.memory.bytes.set(content, at.data);
    driver.run(Command.write, 5, 8, [
      { address: at.data, length: 1000 },
      { address: at.data + 1000, length: 2 },
      { address: at.data + 1002, length: 4096 - 1002 },
    ]);
    assert.equal(driver.moved(), 4096);
    assert.deepEqual(driver.disk.content.slice(2560, 2560 + 4096), content);
    for (const command of [Command.read, Command.readPio]) {
      driver.memory.bytes.fill(0, at.data, at.data + 8192);
      driver.run(
        command,
        5,
        8,
        [
          { address: at.data, length: 700 },
          { address: at.data + 700, length: 5000 },
        ],
        3,
      );
      assert.deepEqual(driver.memory.bytes.slice(at.data, at.data + 4096), content);
      assert.equal(driver.memory.bytes[at.data + 4096], 0);
      assert.equal(driver.moved(3), 4096);
    }
    driver.run(Command.flush, 0, 0, []);
    assert.equal(driver.disk.flushes, 1);
  });

  test('slots are done one after the other; a checkpoint in the middle of a transfer changes nothing', () => {
    const driver = started();
    driver.disk.content.forEach((_, n) => (driver.disk.content[n] = n * 7 + (n >> 9)));
    driver.prepare(0, Command.read, 0, 300, [{ address: at.data, length: 300 * 512 }]);
    driver.prepare(1, Command.read, 300, 100, [{ address: at.data + 300 * 512, length: 100 * 512 }]);
    driver.write(Port.issue, 3);
    driver.clock.advance(stepNs * 2n);
    assert.equal(driver.read(Port.issue), 3);
    assert.equal(driver.read(Port.taskFile) & 0x80, 0x80, 'busy');
    const other = new Driver(driver.disk);
    other.memory.bytes.set(driver.memory.bytes);
    other.clock.advance(driver.clock.now());
    other.device.restore(driver.device.save(), driver.device.version);
    for (const one of [driver, other]) {
      one.clock.advance(stepNs * 10n);
      assert.equal(one.read(Port.issue), 0);
      assert.deepEqual(
        one.memory.bytes.slice(at.data, at.data + 400 * 512),
        one.disk.content.slice(0, 400 * 512),
      );
    }
    assert.deepEqual(other.device.save(), driver.device.save());
  });

  test('what can not be done stops the port until it is started again', () => {
    const readOnly = new FakeDisk(0x1000, true);
    const cases: [Driver, number, number, number, Region[], number][] = [
      [started(), Command.read, 0x200, 1, [{ address: at.data, length: 512 }], Interrupt.taskFile],
      [started(), Command.read, 0xffff_ffff, 0, [], Interrupt.taskFile],
      [started(readOnly), Command.write, 0, 1, [{ address: at.data, length: 512 }], Interrupt.taskFile],
      [started(), 0x99, 0, 0, [], Interrupt.taskFile],
      [started(), Command.read, 0, 2, [{ address: at.data, length: 512 }], Interrupt.overflow],
    ];
    for (const [driver, command, sector, count, regions, cause] of cases) {
      driver.run(command, sector, count, regions);
      assert.equal(driver.read(Port.status) & cause, cause);
      assert.equal(driver.read(Port.taskFile) & 0xff, 0x51);
      assert.equal(driver.read(Port.issue), 1);
      driver.run(Command.flush, 0, 0, [], 1);
      assert.equal(driver.disk.flushes, 0, 'nothing goes on');
      driver.write(Port.command, 0x16);
      assert.equal(driver.read(Port.issue), 0);
      driver.write(Port.command, 0x17);
      driver.run(Command.flush, 0, 0, []);
      assert.equal(driver.disk.flushes, 1);
    }
  });

  test('resets bring the signature: of the link, and by software', () => {
    const driver = started();
    driver.run(Command.setFeatures, 0, 0, []);
    driver.memory.bytes.fill(0, at.received, at.received + 0x100);
    driver.write(Port.control, 0x301);
    driver.write(Port.control, 0x300);
    assert.deepEqual(
      [...driver.memory.bytes.slice(at.received + 0x40, at.received + 0x45)],
      [0x34, 0x40, 0x50, 1, 1],
    );
    driver.memory.bytes.fill(0, at.received, at.received + 0x100);
    for (const control of [4, 0]) {
      driver.prepare(0, 0, 0, 0, []);
      driver.memory.bytes[at.table + 1] = 0;
      driver.memory.bytes[at.table + 15] = control;
      driver.write(Port.issue, 1);
      driver.clock.advance(stepNs * 2n);
      assert.equal(driver.memory.bytes[at.received + 0x40], control === 0 ? 0x34 : 0);
    }
  });

  test('random registers, lists and tables never throw, and cost no more than they may', () => {
    let done = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomSource(seed);
      const driver = started();
      for (let step = 0; step < 15; step++) {
        if (random() % 4 === 0) {
          const place = [at.list, at.table, at.table + 0x80][random() % 3]!;
          driver.memory.view.setUint32(place + (random() % 16) * 4, random(), true);
        }
        if (random() % 6 === 0) driver.write((random() % 0x60) * 4, random());
        const before = driver.memory.traffic;
        const command = Object.values(Command)[random() % 6]!;
        driver.run(command, random() % 0x220, 1 + (random() % 16), [
          { address: at.data, length: 2 * (1 + (random() % 4096)) },
        ]);
        // A step moves 64 KiB, and reads 256 regions at most.
        assert.ok(driver.memory.traffic - before < 101 * (0x1_0000 + 257 * 64), 'bounded');
        if (driver.moved() > 0) done++;
        if (driver.read(Port.taskFile) & 1) driver.start();
      }
    }
    assert.ok(done > 1000, `${String(done)} are served`);
  });
});
