/** The RTL8139 network card, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { randomSource } from '../testing/contract.ts';
import { cardMac as mac, frameTo, NetworkCardBench } from '../testing/network-card-bench.ts';
import { Rtl8139 } from './rtl8139.ts';

const Register = {
  multicast: 0x08,
  sendStatus: 0x10,
  sendAddress: 0x20,
  ring: 0x30,
  command: 0x37,
  read: 0x38,
  write: 0x3a,
  mask: 0x3c,
  status: 0x3e,
  receive: 0x44,
  eeprom: 0x50,
  media: 0x58,
  modeStatus: 0x64,
} as const;
const at = { ring: 0x1_0000, frames: 0x8000 } as const;

class Driver extends NetworkCardBench<Rtl8139> {
  constructor() {
    super((options) => new Rtl8139(options), {
      memoryBytes: 0x4_0000,
      firmware: { memory: 0xe021_0000, ports: 0xc400, interruptLine: 11 },
    });
  }

  start(receive = 0x0a): void {
    this.device.writeBar(Register.command, 1, 0x10);
    assert.equal(this.device.readBar(Register.command, 1), 1, 'the reset is over, and the ring empty');
    this.device.writeBar(Register.ring, 4, at.ring);
    this.device.writeBar(Register.command, 1, 0x0c);
    this.device.writeBar(Register.receive, 4, receive);
    this.device.writeBar(Register.mask, 2, 0x0005);
  }

  send(buffer: number, frame: Uint8Array, passNs = 1_000_000n): void {
    const address = at.frames + buffer * 0x800;
    this.memory.bytes.set(frame, address);
    this.device.writeBar(Register.sendAddress + buffer * 4, 4, address);
    this.device.writeBar(Register.sendStatus + buffer * 4, 4, frame.length);
    this.clock.advance(passNs);
  }

  /** The packet at the driver's place in the ring, and the place moved behind it. */
  take(ringBytes = 0x2000): { status: number; frame: Uint8Array } | undefined {
    if (this.device.readBar(Register.command, 1) & 1) return undefined;
    const { view, bytes } = this.memory;
    const place = (this.device.readBar(Register.read, 2) + 16) & 0xffff;
    const offset = at.ring + (place % ringBytes);
    const length = view.getUint16(offset + 2, true);
    const next = (place + length + 4 + 3) & ~3;
    this.device.writeBar(Register.read, 2, ((next % ringBytes) - 16) & 0xffff);
    return {
      status: view.getUint16(offset, true),
      frame: bytes.slice(offset + 4, offset + 4 + length - 4),
    };
  }
}

function started(receive?: number): Driver {
  const driver = new Driver();
  driver.start(receive);
  return driver;
}

/** As drivers do: `width` bits of address, zeros before the start bit. */
function readWord({ device }: Driver, word: number, width: number): number {
  const [dataOut, dataIn, clock, select] = [1, 2, 4, 8];
  const put = (value: number): void => {
    device.writeBar(Register.eeprom, 1, 0x80 | value);
  };
  put(0);
  put(select);
  const command = (6 << width) | word;
  for (let n = 4 + width; n >= 0; n--) {
    const bit = command & (1 << n) ? dataIn : 0;
    put(select | bit);
    put(select | bit | clock);
  }
  put(select);
  let value = 0;
  for (let n = 0; n < 16; n++) {
    put(select | clock);
    value = (value << 1) | (device.readBar(Register.eeprom, 1) & dataOut);
    put(select);
  }
  put(0);
  return value;
}

describe('rtl8139', () => {
  test('the EEPROM is one of 64 words, with its mark and the address', () => {
    const driver = new Driver();
    assert.notEqual(readWord(driver, 0, 8), 0x8129, 'it has no address of eight bits');
    assert.equal(readWord(driver, 0, 6), 0x8129);
    assert.deepEqual(
      [7, 8, 9].map((word) => readWord(driver, word, 6)),
      [0x5452, 0x1200, 0x5634],
    );
    const address = Array.from({ length: 6 }, (_, n) => driver.device.readBar(n, 1));
    assert.deepEqual(address, [...mac]);
  });

  test('the link is up, also by ports', () => {
    const { device } = new Driver();
    const [ports] = device.portRanges();
    assert.equal(ports?.first, 0xc400);
    assert.equal(ports.read(Register.media, 1) & 4, 0);
    assert.ok(ports.read(Register.modeStatus, 2) & 4);
  });

  test('frames go out from four buffers, which are marked, and the interrupt comes', () => {
    const driver = started();
    for (let n = 0; n < 4; n++) driver.send(n, frameTo(mac, 60 + n * 100));
    assert.deepEqual(
      driver.sent.map((frame) => frame.length),
      [60, 160, 260, 360],
    );
    assert.deepEqual(driver.sent[3], frameTo(mac, 360));
    assert.equal(driver.device.readBar(Register.sendStatus, 4), 0xa000 + 60);
    assert.equal(driver.irq.level, true);
    driver.device.writeBar(Register.status, 2, 4);
    assert.equal(driver.irq.level, false);
    driver.send(0, frameTo(mac, 1800));
    assert.equal(driver.sent.length, 4, 'too long for the segment');
  });

  test('a checkpoint before a buffer is sent: it is sent once, by both', () => {
    const driver = started();
    driver.send(2, frameTo(mac), 0n);
    const other = new Driver();
    other.memory.bytes.set(driver.memory.bytes);
    other.device.restore(driver.device.save(), driver.device.version);
    for (const one of [driver, other]) {
      one.clock.advance(1_000_000n);
      assert.deepEqual(one.sent, [frameTo(mac)]);
    }
    assert.deepEqual(other.device.save(), driver.device.save());
  });

  test('frames come in: those for it, broadcast, groups that it joined, or all', () => {
    const everybody = new Uint8Array(6).fill(0xff);
    const group = Uint8Array.of(0x01, 0, 0x5e, 0, 0, 1);
    const stranger = Uint8Array.of(0x52, 0x54, 0, 9, 9, 9);
    const driver = started();
    for (const target of [mac, everybody, group, stranger]) driver.device.receive(frameTo(target));
    assert.equal(driver.irq.level, true);
    assert.deepEqual(driver.take(), { status: 0x4001, frame: frameTo(mac) });
    assert.deepEqual(driver.take(), { status: 0x2001, frame: frameTo(everybody) });
    assert.equal(driver.take(), undefined);
    driver.device.writeBar(Register.receive, 4, 0x0e);
    driver.device.writeBar(Register.multicast, 4, 0xffff_ffff);
    driver.device.writeBar(Register.multicast + 4, 4, 0xffff_ffff);
    driver.device.receive(frameTo(group));
    assert.equal(driver.take()?.status, 0x8001);
    driver.device.writeBar(Register.receive, 4, 0x01);
    driver.device.receive(frameTo(stranger));
    assert.equal(driver.take()?.status, 0x0001);
    driver.device.writeBar(Register.command, 1, 0);
    assert.equal(driver.device.frameBytes, 0);
    assert.equal(driver.device.receive(frameTo(mac)), undefined);
  });

  test('a full ring makes frames wait; it goes round, and beyond its end where the driver wants that', () => {
    const driver = started(0x8a);
    const frame = frameTo(mac, 1400);
    for (let round = 0; round < 40; round++) {
      let given = 0;
      while (driver.device.receive(frame) === undefined) assert.ok(++given < 10);
      for (; given > 0; given--) assert.deepEqual(driver.take()?.frame, frame);
      assert.equal(driver.take(), undefined);
    }
  });

  test('random registers never throw, and cost no more than they may', () => {
    let sent = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomSource(seed);
      const driver = started();
      for (let step = 0; step < 25; step++) {
        const size = ([1, 2, 4] as const)[random() % 3]!;
        if (random() % 3 === 0) driver.device.writeBar(random() % (0x100 - size), size, random());
        const before = driver.memory.traffic;
        driver.send(random() % 4, frameTo(mac, 14 + (random() % 1500)));
        driver.device.receive(frameTo(mac, 14 + (random() % 1500)));
        assert.ok(driver.memory.traffic - before < 0x1_0000, 'bounded');
        if (random() % 8 === 0) driver.start();
      }
      sent += driver.sent.length;
    }
    assert.ok(sent > 2000, `${String(sent)} frames leave`);
  });
});
