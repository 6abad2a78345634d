/**
 * The device's side of a split virtqueue: Virtual I/O Device (VIRTIO) Version 1.2, section 2.7 "Split Virtqueues". Without indirect
 * descriptors, which are not offered.
 *
 * All that lies in guest memory is taken as hostile: what the specification forbids makes the queue `broken`, a value, upon which the
 * device asks to be reset (2.1.2). No chain is longer than the queue and nothing is read whose size the guest alone decides.
 */
import type { GuestMemory } from '../device.ts';
import { bool, record, tuple, u16, u32, type Infer } from '../schema.ts';

/** 2.7.5: descriptor flags. */
const DescriptorFlag = { next: 1, write: 2, indirect: 4 } as const;
const descriptorBytes = 16;
/** 2.7.6: flag of the available ring. */
const noInterrupt = 1;
const ringHeaderBytes = 4;
const availableElementBytes = 2;
const usedElementBytes = 8;
/** Physical addresses have at most 52 bits (SDM Vol. 3A 4.1.4); beyond, numbers would not be exact either. */
const addressLimit = 2 ** 52;

const wide = tuple(u32, 2);
export const queueState = record({
  size: u16,
  enabled: bool,
  /** Addresses of the three areas: low and high half. */
  descriptorArea: wide,
  driverArea: wide,
  deviceArea: wide,
  /** Count of chains taken and given back, modulo 2^16. */
  nextAvailable: u16,
  nextUsed: u16,
});
export type QueueState = Infer<typeof queueState>;

export function resetQueue(size: number): QueueState {
  return {
    size,
    enabled: false,
    descriptorArea: [0, 0],
    driverArea: [0, 0],
    deviceArea: [0, 0],
    nextAvailable: 0,
    nextUsed: 0,
  };
}

export interface Segment {
  address: number;
  length: number;
}

/** One request: buffers that the device reads, then buffers that it writes. */
export interface Chain {
  head: number;
  readable: Segment[];
  writable: Segment[];
}

/** A chain that the device is done with, and the bytes written to it. */
export interface UsedChain {
  head: number;
  written: number;
}

function addressOf(area: readonly number[]): number {
  return (area[1] ?? 0) * 2 ** 32 + (area[0] ?? 0);
}

export class Virtqueue {
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  #read16(address: number): number {
    const bytes = this.#memory.read(address, 2);
    return (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8);
  }

  /** True when the three areas are where a driver may place them (2.7: alignments 16, 2 and 4). */
  usable(queue: QueueState): boolean {
    const areas = [queue.descriptorArea, queue.driverArea, queue.deviceArea].map(addressOf);
    const alignments = [16, 2, 4];
    return areas.every((address, n) => address < addressLimit && address % (alignments[n] ?? 1) === 0);
  }

  /** How many requests the driver made available that were not taken yet. */
  available(queue: QueueState): number | 'broken' {
    if (!this.usable(queue)) return 'broken';
    const waiting = (this.#read16(addressOf(queue.driverArea) + 2) - queue.nextAvailable) & 0xffff;
    return waiting > queue.size ? 'broken' : waiting;
  }

  /** The next request; there has to be one. */
  take(queue: QueueState): Chain | 'broken' {
    const slot = queue.nextAvailable % queue.size;
    const ring = addressOf(queue.driverArea) + ringHeaderBytes;
    const chain = this.#chain(queue, this.#read16(ring + slot * availableElementBytes));
    if (chain !== 'broken') queue.nextAvailable = (queue.nextAvailable + 1) & 0xffff;
    return chain;
  }

  /** 2.7.5.1, 2.7.4.2: readable buffers first; a chain ends, within the queue's size. */
  #chain(queue: QueueState, head: number): Chain | 'broken' {
    const chain: Chain = { head, readable: [], writable: [] };
    let index = head;
    for (let n = 0; n < queue.size; n++) {
      if (index >= queue.size) return 'broken';
      const bytes = this.#memory.read(
        addressOf(queue.descriptorArea) + index * descriptorBytes,
        descriptorBytes,
      );
      const view = new DataView(bytes.buffer, bytes.byteOffset, descriptorBytes);
      const address = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
      const length = view.getUint32(8, true);
      const flags = view.getUint16(12, true);
      if (address + length > addressLimit || flags & DescriptorFlag.indirect) return 'broken';
      if (flags & DescriptorFlag.write) chain.writable.push({ address, length });
      else if (chain.writable.length > 0) return 'broken';
      else chain.readable.push({ address, length });
      if (!(flags & DescriptorFlag.next)) return chain;
      index = view.getUint16(14, true);
    }
    return 'broken';
  }

  /** 2.7.8: gives chains back, in order, at most as many as the queue holds; the driver sees them all at once. */
  giveBack(queue: QueueState, used: readonly UsedChain[]): void {
    const device = addressOf(queue.deviceArea);
    const elements = new Uint8Array(used.length * usedElementBytes);
    const view = new DataView(elements.buffer);
    used.forEach(({ head, written }, n) => {
      view.setUint32(n * usedElementBytes, head, true);
      view.setUint32(n * usedElementBytes + 4, written, true);
    });
    const slot = queue.nextUsed % queue.size;
    const untilEnd = elements.subarray(0, (queue.size - slot) * usedElementBytes);
    this.#memory.write(device + ringHeaderBytes + slot * usedElementBytes, untilEnd);
    if (untilEnd.length < elements.length)
      this.#memory.write(device + ringHeaderBytes, elements.subarray(untilEnd.length));
    queue.nextUsed = (queue.nextUsed + used.length) & 0xffff;
    this.#memory.write(device + 2, Uint8Array.of(queue.nextUsed & 0xff, queue.nextUsed >> 8));
  }

  /** 2.7.7: whether the driver wants to be interrupted for what was given back since `nextUsed` was `before`. */
  wantsInterrupt(queue: QueueState, before: number, byIndex: boolean): boolean {
    const driver = addressOf(queue.driverArea);
    if (!byIndex) return (this.#read16(driver) & noInterrupt) === 0;
    const event = this.#read16(driver + ringHeaderBytes + queue.size * availableElementBytes);
    return ((queue.nextUsed - event - 1) & 0xffff) < ((queue.nextUsed - before) & 0xffff);
  }

  /** 2.7.10, avail_event: the driver is to notify when it makes the chain available that is `ahead` behind the next one. */
  notifyAt(queue: QueueState, ahead = 0): void {
    const at = addressOf(queue.deviceArea) + ringHeaderBytes + queue.size * usedElementBytes;
    const index = (queue.nextAvailable + ahead) & 0xffff;
    this.#memory.write(at, Uint8Array.of(index & 0xff, index >> 8));
  }
}

export function totalLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, { length }) => sum + length, 0);
}

/** The part of `segments` from byte `from` on, `length` bytes of it or what there is. */
export function sliceSegments(segments: readonly Segment[], from: number, length: number): Segment[] {
  const out: Segment[] = [];
  let skip = from;
  let left = length;
  for (const segment of segments) {
    const start = Math.min(skip, segment.length);
    skip -= start;
    const size = Math.min(segment.length - start, left);
    if (size > 0) out.push({ address: segment.address + start, length: size });
    left -= size;
    if (left <= 0) break;
  }
  return out;
}

/** Writes `bytes` to the segments, as far as they reach. */
export function scatter(memory: GuestMemory, segments: readonly Segment[], bytes: Uint8Array): void {
  let from = 0;
  for (const { address, length } of segments) {
    if (from >= bytes.length) return;
    memory.write(address, bytes.subarray(from, from + length));
    from += length;
  }
}

/** The first `length` bytes of the segments. */
export function gather(memory: GuestMemory, segments: readonly Segment[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let from = 0;
  for (const segment of segments) {
    const size = Math.min(segment.length, length - from);
    if (size <= 0) break;
    memory.readInto(segment.address, bytes.subarray(from, from + size));
    from += size;
  }
  return bytes;
}
