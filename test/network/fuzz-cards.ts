/**
 * Hostile drivers of the network cards: rings and descriptors that are well-formed, changed or made of random bytes, random registers, and
 * frames from the network meanwhile. Nothing may throw; what a guest reads and writes in one step is bounded; what leaves is a frame; and
 * the card's state can be saved and loaded.
 */
import assert from 'node:assert/strict';
import { E1000 } from '../../packages/emulator/src/devices/network/e1000.ts';
import type { NetworkCardOptions } from '../../packages/emulator/src/devices/network/network-card.ts';
import { Rtl8139 } from '../../packages/emulator/src/devices/network/rtl8139.ts';
import { cardMac, NetworkCardBench } from '../../packages/emulator/src/devices/testing/network-card-bench.ts';
import { Bar } from '../../packages/emulator/src/devices/testing/virtio-driver.ts';
import { VirtioNet } from '../../packages/emulator/src/devices/virtio/virtio-net.ts';
import type { Random } from '../../packages/simulation/src/random.ts';

const memoryBytes = 0x4_0000;
const smallestFrame = 14;
const largestFrame = 65_549;
/** Of one step: a ring of 256 descriptors of 64 KiB may be gone through several times. */
const trafficBytes = 512 * 2 ** 20;
const saveEvery = 0.002;

interface Card {
  receive: (frame: Uint8Array) => 0 | undefined;
  writeBar: (offset: number, size: 1 | 2 | 4, value: number) => void;
  readBar: (offset: number, size: 1 | 2 | 4) => number;
  save: () => unknown;
  restore: (state: unknown, version: number) => void;
  announce: () => void;
  readonly version: number;
  readonly frameBytes: number;
}

/** A card's driver: starts it, and makes it something to do. */
abstract class HostileDriver<C extends Card> {
  protected readonly bench: NetworkCardBench<C>;
  protected readonly random: Random;

  constructor(random: Random, make: (options: NetworkCardOptions) => C) {
    this.random = random;
    this.bench = new NetworkCardBench(make, {
      memoryBytes,
      firmware: { memory: 0xe010_0000, ports: 0xc040, interruptLine: 11 },
    });
  }

  protected abstract start(): void;
  /** Gives frames to send and room for frames, or what looks like it. */
  protected abstract give(): void;
  /** A register that means something, or any. */
  protected abstract register(): number;

  step(): void {
    const { random, bench } = this;
    const { device, memory, clock, sent } = bench;
    memory.traffic = 0;
    sent.length = 0;
    if (random.chance(0.02)) this.start();
    if (random.chance(0.1)) this.#disturb();
    this.give();
    device.receive(this.#frame());
    if (random.chance(0.01)) device.announce();
    clock.advance(BigInt(random.integer(0, 40_000)));
    assert.ok(memory.traffic < trafficBytes, `${String(memory.traffic)} bytes of memory were touched`);
    for (const frame of sent)
      assert.ok(
        frame.length >= smallestFrame && frame.length <= largestFrame,
        `a frame of ${String(frame.length)}`,
      );
    if (random.chance(saveEvery)) this.#saveAndLoad();
  }

  #saveAndLoad(): void {
    const { device } = this.bench;
    const saved = structuredClone(device.save());
    device.restore(saved, device.version);
    assert.deepEqual(device.save(), saved);
  }

  #disturb(): void {
    const { random, bench } = this;
    const size = random.pick([1, 2, 4] as const);
    if (random.chance(0.5)) bench.device.writeBar(this.register(), size, this.word() % 2 ** (size * 8));
    else bench.device.readBar(this.register(), size);
    if (random.chance(0.3)) bench.memory.view.setUint32(random.integer(0, 0x4fff), this.word(), true);
  }

  /** Values that are more likely to mean something. */
  protected word(): number {
    const { random } = this;
    return random.pick([
      random.integer(0, 0xffff_ffff),
      random.integer(0, 0xffff),
      random.integer(0, 255),
      2 ** random.integer(0, 31),
      0,
      0xffff_ffff,
    ]);
  }

  /** Where drivers have their buffers; at the end of memory, or far beyond it. */
  protected address(): number {
    const { random } = this;
    if (random.chance(0.9)) return random.integer(0x8000, 0x3_0000);
    return random.pick([memoryBytes - random.integer(0, 64), this.word()]);
  }

  protected length(): number {
    const { random } = this;
    return random.chance(0.9)
      ? random.pick([60, 100, 1514, 2048])
      : random.pick([0, 1, 13, 14, 0xffff, this.word()]);
  }

  #frame(): Uint8Array {
    const { random } = this;
    const largest = random.chance(0.02) ? largestFrame : 1514;
    const frame = new Uint8Array(random.pick([60, 60, 100, 1514, random.integer(0, 1600), largest]));
    frame.set(cardMac.subarray(0, frame.length));
    if (frame.length < 54) return frame;
    // Now and then an IPv4 header, with lengths that are right or are not.
    frame.set([8, 0, 0x45], 12);
    frame[23] = random.pick([6, 17, 1]);
    frame[46] = random.pick([0x50, 0xf0, 0]);
    const length = random.chance(0.8) ? frame.length - 14 : this.word();
    frame[16] = (length >> 8) & 0xff;
    frame[17] = length & 0xff;
    for (let n = random.integer(0, 3); n > 0; n--) frame[random.integer(0, 53)] = random.integer(0, 255);
    return frame;
  }
}

class VirtioNetDriver extends HostileDriver<VirtioNet> {
  #available = [0, 0, 0];
  #size = 16;

  constructor(random: Random) {
    super(
      random,
      ({ firmware: _firmware, ...options }) =>
        new VirtioNet({ ...options, messages: () => undefined, eventIndexes: true }),
    );
    this.start();
  }

  #ring(queue: number): number {
    return 0x1000 + queue * 0x1000;
  }

  protected override start(): void {
    const { device, memory } = this.bench;
    this.#size = this.random.pick([1, 2, 16, 64]);
    device.writeBar(Bar.status, 1, 0);
    device.writeBar(Bar.status, 1, 3);
    for (const half of [0, 1]) {
      device.writeBar(Bar.deviceFeatureSelect, 4, half);
      const offered = device.readBar(Bar.deviceFeature, 4);
      device.writeBar(Bar.driverFeatureSelect, 4, half);
      const some = half === 0 && this.random.chance(0.5) ? this.word() : 0xffff_ffff;
      device.writeBar(Bar.driverFeature, 4, (offered & some) >>> 0);
    }
    device.writeBar(Bar.status, 1, 0x0b);
    this.#available = [0, 0, 0];
    for (let queue = 0; queue < 3; queue++) {
      const at = this.#ring(queue);
      memory.bytes.fill(0, at, at + 0x1000);
      device.writeBar(Bar.queueSelect, 2, queue);
      device.writeBar(Bar.queueSize, 2, this.#size);
      device.writeBar(Bar.descriptors, 4, at);
      device.writeBar(Bar.driver, 4, at + 0x400);
      device.writeBar(Bar.device, 4, at + 0x800);
      device.writeBar(Bar.queueEnable, 2, 1);
    }
    device.writeBar(Bar.status, 1, 0x0f);
  }

  protected override give(): void {
    if (this.bench.device.readBar(Bar.status, 1) !== 0x0f) this.start();
    this.#submit(0, true);
    this.#submit(1, false);
    if (this.random.chance(0.05)) this.#submit(2, this.random.chance(0.5));
  }

  #submit(queue: number, writable: boolean): void {
    const { random, bench } = this;
    const { view } = bench.memory;
    const count = random.integer(1, 4);
    const first = random.integer(0, this.#size - 1);
    for (let n = 0; n < count; n++) {
      const at = this.#ring(queue) + ((first + n) % this.#size) * 16;
      view.setUint32(at, this.address(), true);
      view.setUint32(at + 4, random.chance(0.98) ? 0 : this.word(), true);
      view.setUint32(at + 8, n === 0 && random.chance(0.5) ? 12 : this.length(), true);
      const flags = (writable ? 2 : 0) | (n < count - 1 ? 1 : 0);
      view.setUint16(at + 12, random.chance(0.98) ? flags : random.integer(0, 7), true);
      view.setUint16(
        at + 14,
        random.chance(0.98) ? (first + n + 1) % this.#size : this.word() & 0xffff,
        true,
      );
    }
    if (!writable) this.#header(view.getUint32(this.#ring(queue) + first * 16, true));
    const driver = this.#ring(queue) + 0x400;
    const slot = this.#available[queue]! % this.#size;
    view.setUint16(driver + 4 + slot * 2, random.chance(0.99) ? first : this.word() & 0xffff, true);
    this.#available[queue] = (this.#available[queue]! + 1) & 0xffff;
    view.setUint16(driver + 2, random.chance(0.99) ? this.#available[queue]! : this.word() & 0xffff, true);
    bench.device.writeBar(Bar.notify, 2, queue);
  }

  /** 5.1.6: flags, segmentation, and where the checksum is. */
  #header(at: number): void {
    const { random, bench } = this;
    if (at + 12 > memoryBytes) return;
    const kind = [random.integer(0, 3), random.pick([0, 0, 1, 3, 4, random.integer(0, 255)])];
    const words = [54, 1446, random.pick([14, 34, this.word()]), random.pick([6, 16, this.word()]), 0];
    bench.memory.bytes.set(kind, at);
    words.forEach((word, n) => {
      bench.memory.view.setUint16(at + 2 + n * 2, word & 0xffff, true);
    });
  }

  protected override register(): number {
    const { random } = this;
    return random.pick([0, 0x1000, 0x2000, 0x3000, 0x800]) + random.integer(0, 0x3c);
  }
}

const E1000Register = {
  ...{ control: 0x0000, mask: 0x00d0, receiveControl: 0x0100, transmitControl: 0x0400 },
  ...{ receiveBase: 0x2800, receiveLength: 0x2808, receiveHead: 0x2810, receiveTail: 0x2818 },
  ...{ transmitBase: 0x3800, transmitLength: 0x3808, transmitHead: 0x3810, transmitTail: 0x3818 },
} as const;

class E1000Driver extends HostileDriver<E1000> {
  #tail = 0;
  #count = 8;

  constructor(random: Random) {
    super(random, (options) => new E1000(options));
    this.start();
  }

  protected override start(): void {
    const { device, memory } = this.bench;
    const write = (name: keyof typeof E1000Register, value: number): void => {
      device.writeBar(E1000Register[name], 4, value);
    };
    this.#count = this.random.pick([8, 8, 64]);
    this.#tail = 0;
    write('control', 0x0400_0000);
    write('transmitBase', 0x1000);
    write('transmitLength', this.#count * 16);
    write('transmitControl', 2);
    write('receiveBase', 0x2000);
    write('receiveLength', this.#count * 16);
    for (let n = 0; n < this.#count; n++)
      memory.view.setBigUint64(0x2000 + n * 16, BigInt(0x1_0000 + n * 0x800), true);
    write('receiveControl', this.random.chance(0.7) ? 0x0400_8002 : (this.word() | 2) >>> 0);
    write('receiveTail', this.#count - 1);
    write('mask', 0x81);
  }

  protected override give(): void {
    const { random, bench } = this;
    for (let n = random.integer(1, 3); n > 0; n--) {
      const at = 0x1000 + this.#tail * 16;
      const { view } = bench.memory;
      view.setUint32(at, this.address(), true);
      view.setUint32(at + 4, random.chance(0.98) ? 0 : this.word(), true);
      // 3.3.3: length, and the command in the high byte.
      const command = random.chance(0.7) ? 0x09 : random.integer(0, 255);
      view.setUint32(at + 8, ((this.length() & 0xf_ffff) | (command << 24)) >>> 0, true);
      view.setUint32(at + 12, random.chance(0.7) ? 0 : this.word(), true);
      this.#tail = (this.#tail + 1) % this.#count;
    }
    bench.device.writeBar(E1000Register.transmitTail, 4, this.#tail);
    bench.device.writeBar(E1000Register.receiveTail, 4, random.integer(0, this.#count - 1));
  }

  protected override register(): number {
    const { random } = this;
    return random.chance(0.7)
      ? random.pick(Object.values(E1000Register))
      : random.integer(0, 0x1_fffc / 4) * 4;
  }
}

class Rtl8139Driver extends HostileDriver<Rtl8139> {
  #next = 0;

  constructor(random: Random) {
    super(random, (options) => new Rtl8139(options));
    this.start();
  }

  protected override start(): void {
    const { device } = this.bench;
    device.writeBar(0x37, 1, 0x10);
    device.writeBar(0x30, 4, 0x1_0000);
    device.writeBar(0x37, 1, 0x0c);
    device.writeBar(0x44, 4, this.random.chance(0.7) ? 0x0a : this.word());
    device.writeBar(0x3c, 2, 5);
  }

  protected override give(): void {
    const { random, bench } = this;
    for (let n = random.integer(1, 4); n > 0; n--) {
      bench.device.writeBar(0x20 + this.#next * 4, 4, this.address());
      bench.device.writeBar(0x10 + this.#next * 4, 4, this.length() & 0x1fff);
      this.#next = (this.#next + 1) % 4;
    }
    // Reads on to where the card is, or to anywhere.
    const place = random.chance(0.8) ? (bench.device.readBar(0x3a, 2) - 16) & 0xffff : this.word() & 0xffff;
    bench.device.writeBar(0x38, 2, place);
  }

  protected override register(): number {
    return this.random.integer(0, 0xfc);
  }
}

/** One step of each is a frame from the network, and some from the guest. */
export const cards = {
  'virtio-net': (random: Random) => new VirtioNetDriver(random),
  e1000: (random: Random) => new E1000Driver(random),
  rtl8139: (random: Random) => new Rtl8139Driver(random),
} satisfies Record<string, (random: Random) => { step: () => void }>;
