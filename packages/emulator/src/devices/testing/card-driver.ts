/** The driver's side of any virtio card for tests: guest memory with a ring for each queue, start-up, chains in and out, and hostile rings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MessageSink } from '../pci/msix.ts';
import type { VirtioCardOptions, VirtioPciDevice } from '../virtio/virtio-pci.ts';
import { FakeClock, FakeLine, randomSource } from './contract.ts';
import { Bar, FakeMemory } from './virtio-driver.ts';

const size = 16;
const needsReset = 64;
export const firstBuffer = 0x1_0000;
const ringOf = (queue: number): { descriptors: number; driver: number; device: number } => ({
  descriptors: 0x1000 + queue * 0x1000,
  driver: 0x1400 + queue * 0x1000,
  device: 0x1800 + queue * 0x1000,
});

export interface Buffer {
  address: number;
  length: number;
  write: boolean;
}

export class CardDriver<C extends VirtioPciDevice> {
  readonly memory: FakeMemory;
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  /** Data of the messages that came. */
  readonly messages: number[] = [];
  readonly device: C;
  #available: number[] = [];
  #descriptors: number[] = [];

  constructor(make: (card: VirtioCardOptions) => C, memoryBytes = 0x4_0000) {
    this.memory = new FakeMemory(memoryBytes);
    const { memory, clock, irq } = this;
    const messages: MessageSink = (_address, data) => this.messages.push(data);
    this.device = make({ name: 'card', memory, clock, irq, messages, eventIndexes: true });
  }

  get queues(): number {
    return this.device.readBar(Bar.queueCount, 2);
  }

  /** 3.1.1, accepting all that is offered, or these features of the low half. */
  start(features?: readonly number[]): void {
    const { device } = this;
    device.writeBar(Bar.status, 1, 0);
    device.writeBar(Bar.status, 1, 3);
    for (const half of [0, 1]) {
      device.writeBar(Bar.deviceFeatureSelect, 4, half);
      const offered = device.readBar(Bar.deviceFeature, 4);
      const asked = half === 0 && features !== undefined;
      device.writeBar(Bar.driverFeatureSelect, 4, half);
      device.writeBar(
        Bar.driverFeature,
        4,
        asked ? features.reduce((bits, bit) => bits | (1 << bit), 0) >>> 0 : offered,
      );
    }
    device.writeBar(Bar.status, 1, 0x0b);
    assert.equal(device.readBar(Bar.status, 1), 0x0b, 'FEATURES_OK');
    this.#available = Array<number>(this.queues).fill(0);
    this.#descriptors = [...this.#available];
    for (let queue = 0; queue < this.queues; queue++) {
      const ring = ringOf(queue);
      this.memory.bytes.fill(0, ring.descriptors, ring.descriptors + 0x1000);
      device.writeBar(Bar.queueSelect, 2, queue);
      device.writeBar(Bar.queueSize, 2, size);
      device.writeBar(Bar.descriptors, 4, ring.descriptors);
      device.writeBar(Bar.driver, 4, ring.driver);
      device.writeBar(Bar.device, 4, ring.device);
      device.writeBar(Bar.queueEnable, 2, 1);
    }
    device.writeBar(Bar.status, 1, 0x0f);
  }

  /** Has each queue, and the configuration, interrupt by a message of its own: 0x40 for the configuration, then the queues. */
  useMessages(): void {
    const { device } = this;
    const capability = 0x98;
    assert.equal(device.readConfiguration(capability, 1), 0x11);
    device.writeConfiguration(capability + 2, 2, 0x8000);
    for (let vector = 0; vector <= this.queues; vector++)
      [0xfee0_0000, 0, 0x40 + vector, 0].forEach((value, n) => {
        device.writeBar(0x800 + vector * 16 + n * 4, 4, value);
      });
    device.writeBar(Bar.configVector, 2, 0);
    for (let queue = 0; queue < this.queues; queue++) {
      device.writeBar(Bar.queueSelect, 2, queue);
      device.writeBar(Bar.queueVector, 2, queue + 1);
    }
  }

  /** Makes a chain available, and tells the device; time passes unless told otherwise. */
  submit(queue: number, buffers: readonly Buffer[], { passNs = 1_000_000n } = {}): void {
    const { view } = this.memory;
    const ring = ringOf(queue);
    const indexes = buffers.map(() => this.#descriptors[queue]!++ % size);
    buffers.forEach(({ address, length, write }, n) => {
      const at = ring.descriptors + indexes[n]! * 16;
      view.setBigUint64(at, BigInt(address), true);
      view.setUint32(at + 8, length, true);
      view.setUint16(at + 12, (write ? 2 : 0) | (n < buffers.length - 1 ? 1 : 0), true);
      view.setUint16(at + 14, indexes[n + 1] ?? 0, true);
    });
    view.setUint16(ring.driver + 4 + (this.#available[queue]! % size) * 2, indexes[0]!, true);
    view.setUint16(ring.driver + 2, ++this.#available[queue]! & 0xffff, true);
    this.device.writeBar(Bar.notify, 2, queue);
    this.clock.advance(passNs);
  }

  /** used_event (2.7.7): the driver wants to be interrupted when chain `index` has come back. */
  tellAt(queue: number, index: number): void {
    this.memory.view.setUint16(ringOf(queue).driver + 4 + size * 2, index, true);
  }

  /** avail_event (2.7.10): with which chain the device wants to be notified. */
  notifiesAt(queue: number): number {
    return this.memory.view.getUint16(ringOf(queue).device + 4 + size * 8, true);
  }

  /** How many chains of a queue came back. */
  used(queue: number): number {
    return this.memory.view.getUint16(ringOf(queue).device + 2, true);
  }

  /** Length that the device says it wrote, of the n-th chain that it gave back. */
  usedLength(queue: number, n: number): number {
    return this.memory.view.getUint32(ringOf(queue).device + 4 + (n % size) * 8 + 4, true);
  }

  get status(): number {
    return this.device.readBar(Bar.status, 1);
  }
  get broken(): boolean {
    return (this.status & needsReset) !== 0;
  }

  /** The same card with its memory, from a saved state. */
  twin(make: (card: VirtioCardOptions) => C): CardDriver<C> {
    const other = new CardDriver(make);
    other.memory.bytes.set(this.memory.bytes);
    other.clock.advance(this.clock.now());
    other.device.restore(this.device.save(), this.device.version);
    other.#available = [...this.#available];
    other.#descriptors = [...this.#descriptors];
    return other;
  }
}

/** Overwrites one field of a ring with something that drivers don't write. */
function damage({ view }: FakeMemory, queue: number, random: () => number): void {
  const ring = ringOf(queue);
  const value = [0, 1, 0xffff, 0xffff_ffff, random(), random()][random() % 6]!;
  const at = ring.descriptors + (random() % size) * 16 + [0, 4, 8, 12][random() % 4]!;
  if (random() % 3 > 0) view.setUint32(at, value, true);
  else view.setUint16(ring.driver + (random() % (size + 3)) * 2, value & 0xffff, true);
}

/**
 * What every card must do with rings that a hostile driver made: `fill` puts well-formed requests in, which are then damaged now and then.
 * `act` is what the host does meanwhile.
 */
export function hostileRings<C extends VirtioPciDevice>(
  make: (card: VirtioCardOptions) => C,
  options: {
    runs: number;
    fill: (driver: CardDriver<C>, random: () => number) => void;
    act?: (driver: CardDriver<C>, random: () => number) => void;
    /** The most that may be read and written in guest memory between two requests. */
    trafficBytes: number;
  },
): void {
  test('random rings, registers and memory never throw, and cost no more than they may', () => {
    let done = 0;
    for (let seed = 1; seed <= options.runs; seed++) {
      const random = randomSource(seed);
      const driver = new CardDriver(make);
      driver.start();
      try {
        for (let step = 0; step < 12; step++) {
          const queue = random() % driver.queues;
          if (random() % 3 === 0) damage(driver.memory, queue, random);
          if (random() % 5 === 0)
            driver.device.writeBar([0, 0x2000, 0x3000][random() % 3]! + (random() % 0x40), 4, random());
          const before = driver.memory.traffic;
          options.fill(driver, random);
          options.act?.(driver, random);
          driver.clock.advance(BigInt(random() % 200_000));
          assert.ok(driver.memory.traffic - before < options.trafficBytes, 'bounded');
          for (let n = 0; n < driver.queues; n++) done += driver.used(n) > 0 ? 1 : 0;
          if (driver.status !== 0x0f) driver.start();
        }
      } catch (error) {
        throw new Error(`seed ${String(seed)}`, { cause: error });
      }
    }
    assert.ok(done > options.runs, 'most requests are served');
  });
}
