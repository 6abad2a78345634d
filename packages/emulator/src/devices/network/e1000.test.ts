/** The e1000 network card, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { randomSource } from '../testing/contract.ts';
import { cardMac as mac, frameTo, NetworkCardBench } from '../testing/network-card-bench.ts';
import { fold, isChecksumRight, parseTransport, pseudoHeaderSum, sum16 } from '../virtio/checksums.ts';
import { E1000 } from './e1000.ts';

// prettier-ignore
const Register = {
  control: 0x0000, status: 0x0008, eecd: 0x0010, mdic: 0x0020, cause: 0x00c0, causeSet: 0x00c8, mask: 0x00d0, maskClear: 0x00d8, rctl: 0x0100,
  tctl: 0x0400, rdbal: 0x2800, rdlen: 0x2808, rdh: 0x2810, rdt: 0x2818, tdbal: 0x3800, tdlen: 0x3808, tdh: 0x3810, tdt: 0x3818,
} as const;
const at = { transmit: 0x1000, receive: 0x2000, frames: 0x8000, buffers: 0x1_0000 } as const;
const ringCount = 8;
const Command = { end: 0x01, insert: 0x04, report: 0x08, extended: 0x20, segment: 0x04 } as const;

class Driver extends NetworkCardBench<E1000> {
  #tail = 0;

  constructor() {
    super((options) => new E1000(options), {
      memoryBytes: 0x8_0000,
      firmware: { memory: 0xe010_0000, ports: 0xc040, interruptLine: 11 },
    });
  }

  write(register: number, value: number): void {
    this.device.writeBar(register, 4, value);
  }
  read(register: number): number {
    return this.device.readBar(register, 4);
  }

  /** 14.4, 14.5 */
  start(receiveControl = 0x0400_8002): void {
    this.write(Register.control, 0x0400_0000);
    this.#tail = 0;
    this.write(Register.tdbal, at.transmit);
    this.write(Register.tdlen, ringCount * 16);
    this.write(Register.tctl, 2);
    this.write(Register.rdbal, at.receive);
    this.write(Register.rdlen, ringCount * 16);
    for (let n = 0; n < ringCount; n++)
      this.memory.view.setBigUint64(at.receive + n * 16, BigInt(at.buffers + n * 0x800), true);
    this.write(Register.rctl, receiveControl);
    this.write(Register.rdt, ringCount - 1);
    this.write(Register.mask, 0x81);
  }

  /** Puts words into the ring and moves the tail. */
  give(words: readonly [number, number, number, number][], passNs = 1_000_000n): void {
    for (const four of words) {
      four.forEach((word, n) => {
        this.memory.view.setUint32(at.transmit + this.#tail * 16 + n * 4, word, true);
      });
      this.#tail = (this.#tail + 1) % ringCount;
    }
    this.write(Register.tdt, this.#tail);
    this.clock.advance(passNs);
  }

  send(frame: Uint8Array, command = Command.end | Command.report, address: number = at.frames): void {
    this.memory.bytes.set(frame, address);
    this.give([[address, 0, frame.length | (command << 24), 0]]);
  }

  status(n: number): number {
    return this.memory.bytes[at.receive + n * 16 + 12] ?? 0;
  }
  received(n: number): Uint8Array {
    const length = this.memory.view.getUint16(at.receive + n * 16 + 8, true);
    return this.memory.bytes.slice(at.buffers + n * 0x800, at.buffers + n * 0x800 + length);
  }
}

function started(receiveControl?: number): Driver {
  const driver = new Driver();
  driver.start(receiveControl);
  return driver;
}

/** A TCP frame whose checksum field holds the sum over the pseudo-header, with or without the length. */
function tcpFrame(dataBytes: number, withLength: boolean): Uint8Array {
  const frame = Uint8Array.from({ length: 54 + dataBytes }, (_, n) => n * 13);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame[14] = 0x45;
  view.setUint16(16, frame.length - 14);
  view.setUint16(20, 0);
  frame[23] = 6;
  view.setUint16(24, 0);
  frame[46] = 0x50;
  view.setUint16(50, 0);
  const transport = parseTransport(frame)!;
  const sum = pseudoHeaderSum(frame, transport) - (withLength ? 0 : frame.length - 34);
  view.setUint16(50, fold(sum));
  if (!withLength) view.setUint16(16, 0);
  return frame;
}

const context = (command: number): [number, number, number, number] => [
  14 | (24 << 8) | (33 << 16),
  34 | (50 << 8),
  (Command.extended | command) << 24,
  (54 << 8) | (1460 << 16),
];
const dataWords = (length: number, command: number): [number, number, number, number] => [
  at.frames,
  0,
  (length | (1 << 20) | ((Command.extended | command) << 24)) >>> 0,
  3 << 8,
];

function microwire(driver: Driver, word: number): number {
  const [clock, select, dataIn, dataOut] = [1, 2, 4, 8];
  const put = (value: number): void => {
    driver.write(Register.eecd, value);
  };
  put(0);
  put(select);
  for (let n = 8; n >= 0; n--) {
    const bit = ((6 << 6) | word) & (1 << n) ? dataIn : 0;
    for (const phase of [0, clock, 0]) put(select | bit | phase);
  }
  let value = 0;
  for (let n = 0; n < 16; n++) {
    put(select | clock);
    value = (value << 1) | (driver.read(Register.eecd) & dataOut ? 1 : 0);
    put(select);
  }
  put(0);
  return value;
}

describe('e1000', () => {
  test('the EEPROM holds the address, and its words add up', () => {
    const driver = new Driver();
    const words = Array.from({ length: 64 }, (_, n) => microwire(driver, n));
    assert.deepEqual(words.slice(0, 3), [0x5452, 0x1200, 0x5634]);
    assert.equal(
      words.reduce((sum, word) => (sum + word) & 0xffff, 0),
      0xbaba,
    );
  });

  test('the PHY says who it is and that there is a link', () => {
    const driver = new Driver();
    const read = (register: number): number => {
      driver.write(Register.mdic, (2 << 26) | (1 << 21) | (register << 16));
      assert.ok(driver.read(Register.mdic) & 0x1000_0000);
      return driver.read(Register.mdic) & 0xffff;
    };
    assert.deepEqual([read(2), read(3), read(1) & 0x24], [0x0141, 0x0c20, 0x24]);
    driver.write(Register.mdic, (1 << 26) | (1 << 21) | 0x9340);
    assert.equal(read(0), 0x1140, 'the reset is over');
    driver.write(Register.mdic, (2 << 26) | (3 << 21));
    assert.ok(driver.read(Register.mdic) & 0x4000_0000, 'there is no other PHY');
    assert.equal(driver.read(Register.status), 0x83);
  });

  test('the registers are reached by ports too', () => {
    const { device } = new Driver();
    const [ports] = device.portRanges();
    assert.equal(ports?.first, 0xc040);
    ports.write(0, 4, Register.status);
    assert.equal(ports.read(4, 4), 0x83);
    ports.write(0, 4, 0x2_0000);
    assert.equal(ports.read(4, 4), 0);
  });

  test('a frame goes out as it is; the descriptor is marked, and the interrupt comes', () => {
    const driver = started();
    const frame = frameTo(mac);
    driver.send(frame);
    assert.deepEqual(driver.sent, [frame]);
    assert.equal(driver.memory.bytes[at.transmit + 12], 1);
    assert.equal(driver.irq.level, true);
    assert.equal(driver.read(Register.cause) & 3, 3);
    assert.equal(driver.irq.level, false);
    assert.equal(driver.read(Register.tdh), 1);
  });

  test('a frame of several descriptors, also with a checkpoint between them', () => {
    const driver = started();
    const frame = frameTo(mac, 300);
    driver.memory.bytes.set(frame, at.frames);
    driver.give([[at.frames, 0, 100, 0]]);
    const other = new Driver();
    other.memory.bytes.set(driver.memory.bytes);
    other.device.restore(driver.device.save(), driver.device.version);
    for (const one of [driver, other]) {
      one.memory.view.setUint32(at.transmit + 16, at.frames + 100, true);
      one.memory.view.setUint32(at.transmit + 24, 200 | (Command.end << 24), true);
      one.write(Register.tdt, 2);
    }
    const third = new Driver();
    third.memory.bytes.set(driver.memory.bytes);
    third.clock.advance(driver.clock.now());
    third.device.restore(driver.device.save(), driver.device.version);
    for (const one of [driver, other, third]) {
      one.clock.advance(1_000_000n);
      assert.deepEqual(one.sent, [frame]);
    }
  });

  test('checksums: by a context, and by the older descriptor', () => {
    const driver = started();
    const frame = tcpFrame(200, true);
    driver.memory.bytes.set(frame, at.frames);
    driver.give([context(3), dataWords(frame.length, Command.end)]);
    const [sent] = driver.sent;
    assert.ok(sent);
    assert.ok(isChecksumRight(sent, parseTransport(sent)!));
    assert.equal(sum16(sent, 14, 34), 0xffff, 'of the IP header');
    driver.memory.bytes.set(frame, at.frames);
    driver.give([
      [at.frames, 0, (frame.length | (50 << 16) | ((Command.end | Command.insert) << 24)) >>> 0, 34 << 8],
    ]);
    assert.ok(isChecksumRight(driver.sent[1]!, parseTransport(driver.sent[1]!)!));
  });

  test('a segment to be cut leaves whole, with the lengths that the driver left out', () => {
    const driver = started();
    const frame = tcpFrame(20_000, false);
    driver.memory.bytes.set(frame, at.frames);
    driver.give([context(3 | Command.segment), dataWords(frame.length, Command.end | Command.segment)]);
    const [sent] = driver.sent;
    assert.equal(sent?.length, frame.length);
    assert.ok(isChecksumRight(sent, parseTransport(sent)!));
    driver.memory.bytes.set(frame, at.frames);
    driver.give([dataWords(frame.length, Command.end)]);
    assert.equal(driver.sent.length, 1, 'too long without segmentation');
  });

  test('frames come in: those for it, broadcast, groups that it joined, or all', () => {
    const group = Uint8Array.of(0x33, 0x33, 0, 0, 0x12, 0x34);
    const stranger = Uint8Array.of(0x52, 0x54, 0, 9, 9, 9);
    const everybody = new Uint8Array(6).fill(0xff);
    const driver = started();
    for (const target of [mac, everybody, group, stranger]) driver.device.receive(frameTo(target));
    assert.deepEqual(
      [0, 1, 2].map((n) => driver.status(n)),
      [7, 7, 0],
    );
    assert.deepEqual(driver.received(0), frameTo(mac));
    assert.equal(driver.irq.level, true);
    // Bits 11:0 of the last two bytes, shifted by four: 0x341.
    driver.write(0x5200 + (0x341 >> 5) * 4, 1 << (0x341 & 31));
    driver.device.receive(frameTo(group));
    assert.equal(driver.status(2), 7);
    driver.write(Register.rctl, 0x0400_800a);
    driver.device.receive(frameTo(stranger));
    assert.equal(driver.status(3), 7);
    driver.write(Register.rctl, 0);
    assert.equal(driver.device.frameBytes, 0);
    assert.equal(driver.device.receive(frameTo(mac)), undefined);
    assert.equal(driver.read(Register.rdh), 4);
  });

  test('a short frame is filled up, with room for its checksum unless that is stripped; small buffers are joined', () => {
    const driver = started(0x8002);
    driver.device.receive(frameTo(mac, 42));
    assert.equal(driver.received(0).length, 64);
    driver.write(Register.rctl, 0x0403_8002);
    driver.device.receive(frameTo(mac, 600));
    assert.deepEqual(
      [1, 2, 3].map((n) => [driver.received(n).length, driver.status(n)]),
      [
        [256, 5],
        [256, 5],
        [88, 7],
      ],
    );
  });

  test('without descriptors a frame waits', () => {
    const driver = started();
    for (let n = 0; n < ringCount - 1; n++) assert.equal(driver.device.receive(frameTo(mac)), undefined);
    assert.equal(driver.device.receive(frameTo(mac)), 0);
    driver.write(Register.rdt, 2);
    assert.equal(driver.device.receive(frameTo(mac)), undefined);
  });

  test('random registers, rings and descriptors never throw, and cost no more than they may', () => {
    let sent = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomSource(seed);
      const driver = started();
      for (let step = 0; step < 20; step++) {
        if (random() % 4 === 0)
          driver.memory.view.setUint32(at.transmit + (random() % 32) * 4, random(), true);
        if (random() % 4 === 0)
          driver.write(Object.values(Register)[random() % 18]!, [random(), random() % 16, 0][random() % 3]!);
        const before = driver.memory.traffic;
        driver.send(frameTo(mac, 60 + (random() % 1400)), random() % 3 === 0 ? random() & 0xff : 9);
        driver.device.receive(frameTo(mac, 14 + (random() % 1600)));
        // A descriptor may name 64 KiB, and 256 of them are gone through each 10 µs.
        assert.ok(driver.memory.traffic - before < 101 * 256 * 0x1_0040, 'bounded');
      }
      sent += driver.sent.length;
    }
    assert.ok(sent > 2000, 'most frames leave');
  });
});
