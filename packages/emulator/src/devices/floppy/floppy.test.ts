/** The floppy controller, as a driver uses it. */
import { beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { Dma8237 } from '../system/dma-8237.ts';
import { FakeClock, FakeLine } from '../testing/contract.ts';
import { FakeDisk } from '../testing/virtio-driver.ts';
import { Fdc82077aa } from './fdc-82077aa.ts';
import { floppyBytesFor, floppyFormats } from './floppy-media.ts';

const bytes = 1440 * 1024;

class Rig {
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly memory = new Uint8Array(2 ** 20);
  readonly disks: FakeDisk[];
  readonly dma: Dma8237;
  readonly fdc: Fdc82077aa;

  constructor(from?: Rig) {
    this.disks = from?.disks ?? [new FakeDisk(bytes), new FakeDisk(720 * 1024, true)];
    if (from === undefined)
      for (const { content } of this.disks) content.forEach((_, n) => (content[n] = (n >> 9) + n));
    this.dma = new Dma8237({
      read: (address, length) => this.memory.slice(address, address + length),
      readInto: (address, target) => {
        target.set(this.memory.subarray(address, address + target.length));
      },
      write: (address, data) => {
        this.memory.set(data, address);
      },
    });
    this.fdc = new Fdc82077aa({
      drives: [{ media: this.disks }],
      clock: this.clock,
      irq: this.irq,
      dma: this.dma,
    });
    this.fdc.reset();
  }

  /** Controller on, motor on, polling interrupts taken, recalibrated, 500 kbit/s. */
  start(): void {
    this.fdc.writePort(0x3f2, 1, 0x1c);
    this.clock.advance(1_000_000n);
    for (let n = 0; n < 4; n++) assert.deepEqual(this.command([0x08], 2), [0xc0 | n, 0]);
    this.fdc.writePort(0x3f7, 1, 0);
    this.command([0x07, 0], 0);
    assert.deepEqual(this.command([0x08], 2), [0x20, 0]);
  }

  command(words: readonly number[], results: number): number[] {
    for (const word of words) this.fdc.writePort(0x3f5, 1, word);
    this.clock.advance(50_000_000n);
    return Array.from({ length: results }, () => this.fdc.readPort(0x3f5, 1));
  }

  channel(address: number, length: number, mode: number): void {
    this.dma.writePort(0x0c, 1, 0);
    for (const [port, value] of [
      [0x0b, mode | 2],
      [0x04, address & 0xff],
      [0x04, (address >> 8) & 0xff],
      [0x81, address >> 16],
      [0x05, (length - 1) & 0xff],
      [0x05, (length - 1) >> 8],
      [0x0a, 2],
    ] as const)
      this.dma.writePort(port, 1, value);
  }
}

let rig: Rig;
beforeEach(() => {
  rig = new Rig();
  rig.start();
});

test('reads over both sides of a cylinder by DMA', () => {
  rig.command([0x0f, 0, 3], 0);
  assert.deepEqual(rig.command([0x08], 2), [0x20, 3]);
  rig.channel(0x1_0000, 36 * 512, 0x44);
  assert.deepEqual(rig.command([0xe6, 0, 3, 0, 1, 2, 18, 27, 0xff], 7), [0x00, 0, 0, 4, 0, 1, 2]);
  assert.deepEqual(
    rig.memory.slice(0x1_0000, 0x1_0000 + 36 * 512),
    rig.disks[0]?.content.slice(108 * 512, 144 * 512),
  );
});

test('writes, formats, and refuses both on a protected disk', () => {
  rig.memory.fill(0x5a, 0x2_0000, 0x2_0200);
  rig.channel(0x2_0000, 512, 0x48);
  assert.equal(rig.command([0xc5, 0, 0, 0, 2, 2, 18, 27, 0xff], 7)[0], 0);
  assert.deepEqual(rig.disks[0]?.content.slice(512, 1024), new Uint8Array(512).fill(0x5a));
  rig.channel(0x2_0000, 18 * 4, 0x48);
  rig.command([0x4d, 0, 2, 18, 27, 0xf6], 7);
  assert.deepEqual(rig.disks[0]?.content.slice(512, 1024), new Uint8Array(512));
  assert.equal(rig.fdc.changeDisk(0, 1), true);
  rig.fdc.writePort(0x3f7, 1, 2);
  rig.channel(0x2_0000, 512, 0x48);
  assert.deepEqual(rig.command([0xc5, 0, 0, 0, 2, 2, 9, 27, 0xff], 7).slice(0, 2), [0x40, 0x02]);
});

test('a transfer that is saved between two sectors ends as one that is not', () => {
  rig.channel(0x1_0000, 18 * 512, 0x44);
  for (const word of [0xe6, 0, 0, 0, 1, 2, 18, 27, 0xff]) rig.fdc.writePort(0x3f5, 1, word);
  rig.clock.advance(550_000n);
  const other = new Rig(rig);
  other.clock.advance(rig.clock.now());
  other.memory.set(rig.memory);
  other.dma.restore(rig.dma.save(), 1);
  other.fdc.restore(rig.fdc.save(), 1);
  assert.notEqual((rig.fdc.save() as { dueAtNs: bigint | null }).dueAtNs, null);
  for (const one of [rig, other]) one.clock.advance(50_000_000n);
  assert.deepEqual(other.fdc.save(), rig.fdc.save());
  assert.deepEqual(other.memory, rig.memory);
  assert.equal(rig.irq.level, true);
});

test('a wrong data rate, a wrong cylinder, a missing disk and the change line', () => {
  rig.fdc.writePort(0x3f7, 1, 2);
  assert.deepEqual(rig.command([0x4a, 0], 7).slice(0, 2), [0x40, 0x01]);
  rig.fdc.writePort(0x3f7, 1, 0);
  assert.deepEqual(rig.command([0xe6, 0, 9, 0, 1, 2, 18, 27, 0xff], 7).slice(0, 2), [0x40, 0x04]);
  assert.equal(rig.fdc.readPort(0x3f7, 1) & 0x80, 0);
  rig.fdc.changeDisk(0, null);
  assert.equal(rig.fdc.readPort(0x3f7, 1) & 0x80, 0x80);
  assert.deepEqual(rig.command([0x4a, 0], 7).slice(0, 2), [0x48, 0x01]);
  rig.fdc.changeDisk(0, 0);
  assert.equal(rig.fdc.readPort(0x3f7, 1) & 0x80, 0x80);
  rig.command([0x0f, 0, 1], 0);
  assert.equal(rig.fdc.readPort(0x3f7, 1) & 0x80, 0);
});

test('unknown commands and the version', () => {
  assert.deepEqual(rig.command([0x1f], 1), [0x80]);
  assert.deepEqual(rig.command([0x10], 1), [0x90]);
  assert.deepEqual(rig.command([0x08], 1), [0x80]);
});

test('images are filled up to the next disk', () => {
  assert.equal(floppyBytesFor(1_000_000), 1200 * 1024);
  assert.equal(floppyBytesFor(4 << 20), undefined);
  for (const { bytes: size, cylinders, heads, sectors } of floppyFormats)
    assert.equal(size, cylinders * heads * sectors * 512);
});
