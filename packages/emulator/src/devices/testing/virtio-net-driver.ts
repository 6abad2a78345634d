/** The driver's side of a virtio-net device for tests: three rings in guest memory, frames out and in. */
import assert from 'node:assert/strict';
import { VirtioNet } from '../virtio/virtio-net.ts';
import { FakeClock, FakeLine } from './contract.ts';
import { Bar, FakeMemory } from './virtio-driver.ts';

export const netHeaderBytes = 12;
export const allFeatures = [0, 1, 3, 5, 7, 11, 15, 16, 17, 21];
const size = 16;
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

export class NetDriver {
  readonly memory = new FakeMemory(0x10_0000);
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly sent: Uint8Array[] = [];
  readonly device: VirtioNet;
  readonly #available = [0, 0, 0];
  readonly #descriptors = [0, 0, 0];

  constructor() {
    this.device = new VirtioNet({
      name: 'virtio-net-0',
      mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56),
      mtu: 1500,
      transmit: (frame) => this.sent.push(frame.slice()),
      memory: this.memory,
      clock: this.clock,
      irq: this.irq,
    });
  }

  /** 3.1.1, with VERSION_1 and these features. */
  start(features: readonly number[] = allFeatures): void {
    const { device } = this;
    device.writeBar(Bar.status, 1, 0);
    device.writeBar(Bar.status, 1, 3);
    device.writeBar(Bar.driverFeatureSelect, 4, 0);
    device.writeBar(Bar.driverFeature, 4, features.reduce((bits, bit) => bits | (1 << bit), 0) >>> 0);
    device.writeBar(Bar.driverFeatureSelect, 4, 1);
    device.writeBar(Bar.driverFeature, 4, 1);
    device.writeBar(Bar.status, 1, 0x0b);
    assert.equal(device.readBar(Bar.status, 1), 0x0b, 'FEATURES_OK');
    for (const queue of [0, 1, 2]) {
      const ring = ringOf(queue);
      device.writeBar(Bar.queueSelect, 2, queue);
      device.writeBar(Bar.queueSize, 2, size);
      device.writeBar(Bar.descriptors, 4, ring.descriptors);
      device.writeBar(Bar.driver, 4, ring.driver);
      device.writeBar(Bar.device, 4, ring.device);
      device.writeBar(Bar.queueEnable, 2, 1);
    }
    device.writeBar(Bar.status, 1, 0x0f);
  }

  /** Makes a chain available, and tells the device; time passes. */
  submit(queue: number, buffers: readonly Buffer[]): void {
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
    view.setUint16(ring.driver + 2, ++this.#available[queue]!, true);
    this.device.writeBar(Bar.notify, 2, queue);
    this.clock.advance(1_000_000n);
  }

  /** Sends a frame behind a header. */
  send(header: readonly number[], frame: Uint8Array): void {
    this.memory.bytes.fill(0, 0x8000, 0x8000 + netHeaderBytes);
    this.memory.bytes.set(header, 0x8000);
    this.memory.bytes.set(frame, 0x9000);
    this.submit(1, [
      { address: 0x8000, length: netHeaderBytes, write: false },
      { address: 0x9000, length: frame.length, write: false },
    ]);
  }

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
}
