/** The driver's side of a virtio-blk device for tests: guest memory, start-up as in VIRTIO 1.2 section 3.1, and requests in a ring. */
import assert from 'node:assert/strict';
import type { BlockBackend } from '../block.ts';
import { VirtioBlk } from '../virtio/virtio-blk.ts';
import { FakeClock, FakeLine } from './contract.ts';

/** 4.1.4.3, in BAR 0. */
// prettier-ignore
export const Bar = {
  deviceFeatureSelect: 0x00, deviceFeature: 0x04, driverFeatureSelect: 0x08, driverFeature: 0x0c, configVector: 0x10, queueCount: 0x12, status: 0x14,
  queueSelect: 0x16, queueSize: 0x18, queueVector: 0x1a, queueEnable: 0x1c, descriptors: 0x20, driver: 0x28, device: 0x30, isr: 0x1000, configuration: 0x2000,
  notify: 0x3000,
} as const;
export const ring = {
  descriptors: 0x1000,
  driver: 0x2000,
  device: 0x3000,
  header: 0x4000,
  status: 0x4100,
  data: 0x8000,
} as const;

/** Memory as the machine has it: beyond its end reads give ones and writes are dropped. */
export class FakeMemory {
  readonly bytes: Uint8Array;
  /** Bytes that the device asked for, for bounds. */
  traffic = 0;
  constructor(length = 0x2_0000) {
    this.bytes = new Uint8Array(length);
  }
  read(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.readInto(address, out);
    return out;
  }
  readInto(address: number, target: Uint8Array): void {
    this.traffic += target.length;
    target.fill(0xff);
    if (address < this.bytes.length) target.set(this.bytes.subarray(address, address + target.length));
  }
  write(address: number, data: Uint8Array): void {
    this.traffic += data.length;
    if (address < this.bytes.length) this.bytes.set(data.subarray(0, this.bytes.length - address), address);
  }
  get view(): DataView {
    return new DataView(this.bytes.buffer);
  }
}

export class FakeDisk implements BlockBackend {
  readonly content: Uint8Array;
  readonly readOnly: boolean;
  flushes = 0;
  constructor(bytes: number, readOnly = false) {
    this.content = new Uint8Array(bytes);
    this.readOnly = readOnly;
  }
  get bytes(): number {
    return this.content.length;
  }
  read(offset: number, into: Uint8Array): void {
    assert.ok(offset >= 0 && offset + into.length <= this.bytes, 'a read beyond the disk');
    into.set(this.content.subarray(offset, offset + into.length));
  }
  write(offset: number, data: Uint8Array): void {
    assert.ok(offset >= 0 && offset + data.length <= this.bytes, 'a write beyond the disk');
    this.content.set(data, offset);
  }
  zero(offset: number, length: number): void {
    this.write(offset, new Uint8Array(length));
  }
  flush(): void {
    this.flushes++;
  }
}

export interface Descriptor {
  address: number;
  length: number;
  write?: boolean;
  /** Overrides the chain's own flags and next. */
  flags?: number;
  next?: number;
}

export class VirtioDriver {
  readonly memory = new FakeMemory();
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly disk: FakeDisk;
  readonly device: VirtioBlk;
  #available = 0;

  constructor(disk = new FakeDisk(64 * 1024)) {
    this.disk = disk;
    this.device = new VirtioBlk({
      name: 'virtio-blk-0',
      identity: 'disk0',
      backend: disk,
      discards: true,
      memory: this.memory,
      clock: this.clock,
      irq: this.irq,
    });
  }

  /** 3.1.1, up to DRIVER_OK. */
  start(queueSize = 16): void {
    const { device } = this;
    device.writeBar(Bar.status, 1, 0);
    this.#available = 0;
    device.writeBar(Bar.status, 1, 1);
    device.writeBar(Bar.status, 1, 3);
    for (const half of [0, 1]) {
      device.writeBar(Bar.deviceFeatureSelect, 4, half);
      const offered = device.readBar(Bar.deviceFeature, 4);
      device.writeBar(Bar.driverFeatureSelect, 4, half);
      device.writeBar(Bar.driverFeature, 4, offered);
    }
    device.writeBar(Bar.status, 1, 0x0b);
    assert.equal(device.readBar(Bar.status, 1), 0x0b, 'FEATURES_OK');
    device.writeBar(Bar.queueSelect, 2, 0);
    device.writeBar(Bar.queueSize, 2, queueSize);
    device.writeBar(Bar.descriptors, 4, ring.descriptors);
    device.writeBar(Bar.driver, 4, ring.driver);
    device.writeBar(Bar.device, 4, ring.device);
    this.memory.bytes.fill(0, ring.driver, ring.header);
    device.writeBar(Bar.queueEnable, 2, 1);
    device.writeBar(Bar.status, 1, 0x0f);
  }

  /** Writes descriptors from index 0 on. */
  describe(descriptors: readonly Descriptor[]): void {
    descriptors.forEach(({ address, length, write = false, flags, next = 0 }, n) => {
      const at = ring.descriptors + n * 16;
      const { view } = this.memory;
      view.setBigUint64(at, BigInt(address), true);
      view.setUint32(at + 8, length, true);
      const last = n === descriptors.length - 1;
      view.setUint16(at + 12, flags ?? (write ? 2 : 0) | (last ? 0 : 1), true);
      view.setUint16(at + 14, flags === undefined ? n + 1 : next, true);
    });
  }

  header(type: number, sector: bigint): void {
    this.memory.view.setUint32(ring.header, type, true);
    this.memory.view.setUint32(ring.header + 4, 0, true);
    this.memory.view.setBigUint64(ring.header + 8, sector, true);
  }

  /** Makes descriptor `head` available and notifies. */
  submit(head = 0, queueSize = 16): void {
    const { view } = this.memory;
    view.setUint16(ring.driver + 4 + (this.#available % queueSize) * 2, head, true);
    this.#available = (this.#available + 1) & 0xffff;
    view.setUint16(ring.driver + 2, this.#available, true);
    this.device.writeBar(Bar.notify, 2, 0);
  }

  /** One request with its data in one buffer at ring.data; returns status, and length as told in the used ring. */
  request(
    type: number,
    sector: bigint,
    length: number,
    dataWritable: boolean,
  ): { status: number; written: number } {
    this.header(type, sector);
    this.memory.bytes[ring.status] = 0xee;
    this.describe([
      { address: ring.header, length: 16 },
      ...(length > 0 ? [{ address: ring.data, length, write: dataWritable }] : []),
      { address: ring.status, length: 1, write: true },
    ]);
    const before = this.used;
    this.submit();
    this.clock.advance(1_000_000n);
    assert.equal(this.used, (before + 1) & 0xffff, 'one request is given back');
    const written = this.memory.view.getUint32(ring.device + 4 + (before % 16) * 8 + 4, true);
    return { status: this.memory.bytes[ring.status] ?? 0xff, written };
  }

  get used(): number {
    return this.memory.view.getUint16(ring.device + 2, true);
  }

  get status(): number {
    return this.device.readBar(Bar.status, 1);
  }
}
