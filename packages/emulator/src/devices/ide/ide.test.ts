/** IDE disks and ATAPI drives, as a driver uses them. */
import { beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { FakeClock, FakeLine } from '../testing/contract.ts';
import { FakeDisk } from '../testing/virtio-driver.ts';
import { Command, Status } from './ata.ts';
import { PiixIde } from './piix-ide.ts';

const diskSectors = 2048;
const busMaster = 0xc000;

/** Memory of 1 MiB. */
class Memory {
  readonly bytes = new Uint8Array(2 ** 20);
  read(address: number, length: number): Uint8Array {
    return this.bytes.slice(address, address + length);
  }
  readInto(address: number, target: Uint8Array): void {
    target.set(this.bytes.subarray(address, address + target.length));
  }
  write(address: number, data: Uint8Array): void {
    this.bytes.set(data, address);
  }
}

class Rig {
  readonly clock = new FakeClock();
  readonly memory = new Memory();
  readonly disk: FakeDisk;
  readonly discs: FakeDisk[];
  readonly irqs: [FakeLine, FakeLine] = [new FakeLine(), new FakeLine()];
  readonly ide: PiixIde;

  constructor(from?: Rig) {
    this.disk = from?.disk ?? new FakeDisk(diskSectors * 512);
    this.discs = from?.discs ?? [new FakeDisk(100 * 2048, true), new FakeDisk(7 * 2048 + 512, true)];
    if (from === undefined)
      for (const medium of [this.disk, ...this.discs])
        medium.content.forEach((_, n) => (medium.content[n] = (n >> 9) + n * 3));
    this.ide = new PiixIde({
      drives: [
        { kind: 'disk', identity: { model: 'REVENANT DISK', serial: 'disk0' }, media: [this.disk] },
        undefined,
        { kind: 'cd', identity: { model: 'REVENANT CD-ROM', serial: 'cd' }, media: this.discs },
      ],
      clock: this.clock,
      memory: this.memory,
      irqs: this.irqs,
      firmwareBase: busMaster,
    });
    this.ide.reset();
  }

  out(port: number, value: number, size: 1 | 2 | 4 = 1): void {
    this.ide.writePort(port, size, value);
  }
  in(port: number, size: 1 | 2 | 4 = 1): number {
    return this.ide.readPort(port, size);
  }
  status(base = 0x1f0): number {
    return this.in(base + 7);
  }
  master(offset: number, value: number, size: 1 | 4 = 1): void {
    this.ide.portRanges()[0]?.write(offset, size, value);
  }
  masterStatus(): number {
    return this.ide.portRanges()[0]?.read(2, 1) ?? 0xff;
  }

  /** A command with a 28-bit address. */
  command(code: number, sector: number, count: number): void {
    this.out(0x1f6, 0xe0 | (sector >> 24));
    for (const [n, value] of [count, sector, sector >> 8, sector >> 16].entries())
      this.out(0x1f2 + n, value & 0xff);
    this.out(0x1f7, code);
  }

  /** Takes `words` 16-bit words from a data port. */
  take(words: number, base = 0x1f0): Uint8Array {
    const out = new Uint8Array(words * 2);
    for (let n = 0; n < words; n++) new DataView(out.buffer).setUint16(n * 2, this.in(base, 2), true);
    return out;
  }

  packet(bytes: readonly number[], limit = 0xfffe): void {
    this.out(0x176, 0xa0);
    this.out(0x174, limit & 0xff);
    this.out(0x175, limit >> 8);
    this.out(0x177, Command.packet);
    for (let n = 0; n < 12; n += 2) this.out(0x170, (bytes[n] ?? 0) | ((bytes[n + 1] ?? 0) << 8), 2);
    this.clock.advance(1_000_000n);
  }

  /** Data of a packet command, block by block. */
  reply(): Uint8Array {
    const parts: number[] = [];
    while (this.status(0x170) & Status.dataRequest) {
      const size = this.in(0x174) | (this.in(0x175) << 8);
      parts.push(...this.take(size / 2, 0x170));
      this.clock.advance(1_000_000n);
    }
    return Uint8Array.from(parts);
  }

  /** Sense key and additional code. */
  sense(): number[] {
    this.packet([0x03, 0, 0, 0, 18]);
    const data = this.reply();
    return [data[2] ?? 0, data[12] ?? 0];
  }

  prd(at: number, entries: readonly [address: number, bytes: number][]): void {
    const view = new DataView(this.memory.bytes.buffer);
    entries.forEach(([address, bytes], n) => {
      view.setUint32(at + n * 8, address, true);
      view.setUint32(at + n * 8 + 4, (bytes & 0xffff) + (n === entries.length - 1 ? 0x8000_0000 : 0), true);
    });
    this.master(4, at, 4);
  }
}

let rig: Rig;
beforeEach(() => {
  rig = new Rig();
});

describe('disk', () => {
  test('identifies itself: size in CHS, 28 and 48 bits', () => {
    rig.command(Command.identify, 0, 0);
    const words = new DataView(rig.take(256).buffer);
    const word = (n: number): number => words.getUint16(n * 2, true);
    assert.deepEqual([word(1), word(3), word(6)], [2, 16, 63]);
    assert.deepEqual([words.getUint32(120, true), words.getUint32(200, true)], [diskSectors, diskSectors]);
    const text = Array.from({ length: 14 }, (_, n) => String.fromCharCode(words.getUint8((54 + n) ^ 1))).join(
      '',
    );
    assert.equal(text, 'REVENANT DISK ');
    assert.equal(rig.status(), Status.ready | Status.seekComplete);
  });

  test('reads by PIO, sector by sector, with an interrupt for each', () => {
    rig.command(Command.read, 5, 3);
    assert.equal(rig.status(), Status.busy | Status.seekComplete);
    for (let n = 0; n < 3; n++) {
      rig.clock.advance(1_000_000n);
      assert.equal(rig.irqs[0].rises, n + 1);
      assert.ok(rig.status() & Status.dataRequest);
      assert.deepEqual(rig.take(256), rig.disk.content.slice((5 + n) * 512, (6 + n) * 512));
    }
    rig.clock.advance(1_000_000n);
    assert.deepEqual([rig.status(), rig.irqs[0].rises], [Status.ready | Status.seekComplete, 3]);
  });

  test('items at once are those that come one by one, and the last of a block comes by itself', () => {
    const rig = new Rig();
    for (const size of [1, 2, 4] as const) {
      rig.command(Command.read, 7, 2);
      for (const sector of [7, 8]) {
        assert.equal(rig.ide.readItems(0x1f0, size, new Uint8Array(64)), 0, 'it is busy');
        rig.clock.advance(1_000_000n);
        const [first, rest] = [new Uint8Array(10 * size), new Uint8Array(4096)];
        assert.equal(rig.ide.readItems(0x1f0, size, first), 10);
        const items = rig.ide.readItems(0x1f0, size, rest);
        assert.equal(items, 512 / size - 11);
        assert.equal(rig.ide.readItems(0x1f0, size, rest), 0);
        const bytes = [...first, ...rest.subarray(0, items * size)];
        const expected = rig.disk.content.subarray(sector * 512, (sector + 1) * 512);
        assert.deepEqual(bytes, [...expected.subarray(0, 512 - size)]);
        assert.ok(rig.status() & Status.dataRequest);
        assert.equal(rig.in(0x1f0, size) & 0xff, expected[512 - size]);
      }
      assert.ok(!(rig.status() & Status.dataRequest));
    }
    rig.command(Command.write, 9, 1);
    rig.clock.advance(1_000_000n);
    const data = Uint8Array.from({ length: 512 }, (_, n) => n * 5);
    assert.equal(rig.ide.writeItems(0x1f0, 2, data), 255);
    assert.equal(rig.ide.writeItems(0x1f2, 2, data), 0, 'not the data register');
    rig.out(0x1f0, (data[510] ?? 0) | ((data[511] ?? 0) << 8), 2);
    rig.clock.advance(1_000_000n);
    assert.deepEqual(rig.disk.content.subarray(9 * 512, 10 * 512), data);
  });

  test('READ MULTIPLE moves whole blocks, READ SECTORS does not', () => {
    rig.command(0xc6, 0, 8);
    rig.command(Command.readMultiple, 0, 10);
    rig.clock.advance(1_000_000n);
    assert.deepEqual(rig.take(8 * 256), rig.disk.content.slice(0, 8 * 512));
    rig.clock.advance(1_000_000n);
    assert.deepEqual(rig.take(2 * 256), rig.disk.content.slice(8 * 512, 10 * 512));
    rig.command(Command.read, 0, 2);
    rig.clock.advance(1_000_000n);
    rig.take(256);
    assert.ok(rig.status() & Status.busy);
  });

  test('CHS and LBA name the same sectors; what is not there is refused', () => {
    rig.out(0x1f6, 0xa0 | 3);
    for (const [n, value] of [1, 7, 1, 0].entries()) rig.out(0x1f2 + n, value);
    rig.out(0x1f7, Command.read);
    rig.clock.advance(1_000_000n);
    const sector = (1 * 16 + 3) * 63 + 6;
    assert.deepEqual(rig.take(256), rig.disk.content.slice(sector * 512, sector * 512 + 512));
    rig.command(Command.read, diskSectors, 1);
    assert.equal(rig.status() & (Status.error | Status.busy), Status.error);
    assert.equal(rig.in(0x1f1), 0x14);
  });

  test('writes by PIO and by 48-bit DMA', () => {
    rig.command(Command.write, 100, 1);
    assert.ok(rig.status() & Status.dataRequest);
    for (let n = 0; n < 256; n++) rig.out(0x1f0, n * 257, 2);
    rig.clock.advance(1_000_000n);
    assert.equal(rig.disk.content[100 * 512 + 2], 1);
    rig.memory.bytes.fill(0xa5, 0x1000, 0x1000 + 1024);
    rig.prd(0x800, [
      [0x1000, 512],
      [0x1200, 512],
    ]);
    rig.out(0x1f6, 0xe0);
    for (const [register, value] of [
      [2, 0],
      [3, 0],
      [4, 0],
      [5, 0],
      [2, 2],
      [3, 0x2c],
      [4, 1],
      [5, 0],
    ] as const)
      rig.out(0x1f0 + register, value);
    rig.out(0x1f7, Command.writeDmaExt);
    rig.master(0, 1);
    rig.clock.advance(10_000_000n);
    assert.deepEqual(
      rig.disk.content.slice(0x12c * 512, 0x12c * 512 + 1024),
      new Uint8Array(1024).fill(0xa5),
    );
    assert.equal(rig.masterStatus() & 7, 4);
  });

  test('a DMA read that is saved in its middle ends as one that is not', () => {
    const run = (target: Rig): void => {
      target.clock.advance(100_000_000n);
    };
    const entries: [number, number][] = Array.from({ length: 8 }, (_, n) => [0x1_0000 + n * 0x8000, 0x8000]);
    rig.prd(0x800, entries);
    rig.command(Command.readDma, 0, 0); // 256 sectors
    rig.master(0, 9);
    rig.command(Command.readDma, 16, 0); // refused while busy
    rig.clock.advance(60_000n); // one piece of 64 KiB is done, another is not
    const other = new Rig(rig);
    other.clock.advance(rig.clock.now());
    other.memory.bytes.set(rig.memory.bytes);
    other.ide.restore(rig.ide.save(), rig.ide.version);
    assert.equal(rig.masterStatus() & 1, 1);
    run(rig);
    run(other);
    assert.deepEqual(other.ide.save(), rig.ide.save());
    assert.deepEqual(other.memory.bytes, rig.memory.bytes);
    assert.deepEqual(rig.memory.bytes.slice(0x1_0000, 0x3_0000), rig.disk.content.slice(0, 0x2_0000));
  });

  test('a table that names too little memory ends the command with an error', () => {
    rig.prd(0x800, [[0x1000, 512]]);
    rig.command(Command.readDma, 0, 2);
    rig.master(0, 9);
    rig.clock.advance(10_000_000n);
    assert.equal(rig.masterStatus() & 7, 6);
    assert.ok(rig.status() & Status.error);
  });
});

describe('CD drive', () => {
  test('is told from a disk by its signature, and reads in blocks of the asked size', () => {
    rig.out(0x176, 0xa0);
    rig.out(0x177, Command.identify);
    assert.deepEqual([rig.in(0x174), rig.in(0x175), rig.status(0x170) & 1], [0x14, 0xeb, 1]);
    rig.packet([0x28, 0, 0, 0, 0, 2, 0, 0, 3], 2048);
    assert.deepEqual(rig.reply(), rig.discs[0]?.content.slice(2 * 2048, 5 * 2048));
  });

  test('READ CAPACITY and the table of contents give the size; beyond it nothing is read', () => {
    rig.packet([0x25]);
    assert.deepEqual([...rig.reply()], [0, 0, 0, 99, 0, 0, 8, 0]);
    rig.packet([0x43, 0, 0, 0, 0, 0, 0, 0, 20]);
    assert.deepEqual([...rig.reply()].slice(0, 4), [0, 18, 1, 1]);
    rig.packet([0x28, 0, 0, 0, 0, 99, 0, 0, 2]);
    assert.ok(rig.status(0x170) & Status.error);
    assert.deepEqual(rig.sense(), [5, 0x21]);
  });

  test('software that holds the door keeps the disc; a change is told once', () => {
    rig.packet([0x1e, 0, 0, 0, 1]);
    assert.equal(rig.ide.changeDisc(2, null), false);
    rig.packet([0x1e, 0, 0, 0, 0]);
    assert.equal(rig.ide.changeDisc(2, null), true);
    rig.packet([0x00]);
    assert.deepEqual(rig.sense(), [2, 0x3a]);
    assert.equal(rig.ide.changeDisc(2, 1), true);
    rig.packet([0x00]);
    assert.deepEqual(rig.sense(), [6, 0x28]);
    rig.packet([0x25]);
    assert.deepEqual([...rig.reply()], [0, 0, 0, 7, 0, 0, 8, 0]); // the last sector is cut short
    rig.packet([0x28, 0, 0, 0, 0, 7, 0, 0, 1]);
    assert.deepEqual(rig.reply().slice(512), new Uint8Array(1536));
  });

  test('the tray opens and closes by command, the disc in it', () => {
    rig.packet([0x1b, 0, 0, 0, 2]);
    rig.packet([0x25]);
    assert.deepEqual(rig.sense(), [2, 0x3a]);
    rig.packet([0x1b, 0, 0, 0, 3]);
    rig.packet([0x25]);
    assert.deepEqual(rig.sense(), [6, 0x28]);
    rig.packet([0x25]);
    assert.equal(rig.reply()[3], 99);
  });
});

test('where no drive is, registers read zero', () => {
  rig.out(0x1f6, 0xb0);
  assert.deepEqual([rig.status(), rig.in(0x1f6), rig.in(0x3f6)], [0, 0, 0]);
});
