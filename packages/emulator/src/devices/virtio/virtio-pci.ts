/**
 * Virtio over PCI: VIRTIO Version 1.2, section 4.1. A modern device (no legacy interface) with INTx: the structures of 4.1.4 lie in BAR 0,
 * and, as 4.1.4.9 demands, may be reached through configuration space too. MSI-X is not offered (4.1.4.3: vectors read NO_VECTOR).
 *
 * A device type derives from VirtioPciDevice and says what its features, its configuration and its requests are.
 */
import {
  StatefulDevice,
  type AccessSize,
  type Clock,
  type GuestMemory,
  type Line,
  type Timer,
} from '../device.ts';
import { PciConfigurationSpace, pciState, type PciFirmware, type PciFunction } from '../pci/pci-function.ts';
import { defineState, i64, list, nullable, record, tuple, u16, u32, u8, type Infer } from '../schema.ts';
import { queueState, resetQueue, totalLength, Virtqueue, type Chain, type QueueState } from './virtqueue.ts';

export const virtioVendor = 0x1af4;
/** 4.1.2: device IDs are this plus the device type. */
const modernDeviceId = 0x1040;
const modernRevision = 1;
const subsystemId = 0x1100;

/** 2.1: device status. */
export const VirtioStatus = { acknowledge: 1, driver: 2, driverOk: 4, featuresOk: 8, needsReset: 64, failed: 128 } as const; // prettier-ignore
/** 4.1.4.5: ISR status. */
const Isr = { queue: 1, configuration: 2 } as const;
const noVector = 0xffff;
/** 6: feature bit 32. */
const featureVersion1 = 32;

/** 4.1.4: kinds of structure, each in a page of its own in BAR 0. */
const Capability = { common: 1, notify: 2, isr: 3, device: 4, pciAccess: 5 } as const;
const Layout = { common: 0x0000, isr: 0x1000, device: 0x2000, notify: 0x3000 } as const;
const structureBytes = 0x1000;
const barBytes = 0x4000;
const commonBytes = 0x38;
const capabilityBytes = 16;
const vendorSpecific = 0x09;
const firstCapability = 0x40;
/** Registers of the access capability (struct virtio_pci_cfg_cap), which is the last of the list. */
const access = firstCapability + 3 * capabilityBytes + capabilityBytes + 4;
const Access = { bar: access + 4, offset: access + 8, length: access + 12, data: access + 16 } as const;

/** 4.1.4.3: the common configuration structure. */
const Common = {
  deviceFeatureSelect: 0x00, deviceFeature: 0x04, driverFeatureSelect: 0x08, driverFeature: 0x0c, configVector: 0x10, queueCount: 0x12,
  status: 0x14, generation: 0x15, queueSelect: 0x16, queueSize: 0x18, queueVector: 0x1a, queueEnable: 0x1c, queueNotifyOffset: 0x1e,
  queueAreas: 0x20,
} as const; // prettier-ignore

/** More than any device here has. */
const maxQueues = 8;

const schema = record({
  pci: pciState,
  /** Window of the access capability. */
  accessBar: u8,
  accessOffset: u32,
  accessLength: u32,
  status: u8,
  isr: u8,
  deviceFeatureSelect: u32,
  driverFeatureSelect: u32,
  /** What the driver accepted: low and high half. */
  driverFeatures: tuple(u32, 2),
  queueSelect: u16,
  queues: list(queueState, maxQueues),
  /** A bit for each queue in which the driver announced requests. */
  notified: u16,
  /** When the requests that are announced will be done. */
  dueAtNs: nullable(i64),
  /** Something in the device's configuration that the driver is to look at: bits of the device type. */
  configurationStatus: u16,
});
export type VirtioState = Infer<typeof schema>;

/** Version 1 had one queue, and no device whose configuration changes. */
function migrateFrom1(old: unknown): unknown {
  const { queue, notified, ...rest } = old as Record<string, unknown>;
  return { ...rest, queues: [queue], notified: notified === true ? 1 : 0, configurationStatus: 0 };
}

/** What a card of any type gets from its board. */
export interface VirtioCardOptions {
  name: string;
  memory: GuestMemory;
  clock: Clock;
  irq: Line;
  firmware?: PciFirmware | undefined;
}

export interface VirtioPciOptions extends VirtioCardOptions {
  /** 5: device type number. */
  type: number;
  /** PCI class code, 24 bits. */
  classCode: number;
  /** The largest size of each queue. */
  queueSizes: readonly number[];
  /** Bit numbers offered besides VERSION_1. */
  features: readonly number[];
  /** From the driver's notification to the end of the request. */
  latencyNs: bigint;
}

function capabilityList(): Uint8Array {
  const bytes = new Uint8Array(256 - firstCapability);
  const view = new DataView(bytes.buffer);
  const structures = [
    [Capability.common, Layout.common, commonBytes],
    [Capability.notify, Layout.notify, structureBytes],
    [Capability.isr, Layout.isr, structureBytes],
    [Capability.device, Layout.device, structureBytes],
    [Capability.pciAccess, 0, 0],
  ] as const;
  let at = 0;
  structures.forEach(([kind, offset, length], n) => {
    // The notification and the access capability have one more word: multiplier 0 (one register for all queues), and data.
    const size = capabilityBytes + (kind === Capability.notify || kind === Capability.pciAccess ? 4 : 0);
    bytes[at] = vendorSpecific;
    bytes[at + 1] = n === structures.length - 1 ? 0 : firstCapability + at + size;
    bytes[at + 2] = size;
    bytes[at + 3] = kind;
    view.setUint32(at + 8, offset, true);
    view.setUint32(at + 12, length, true);
    at += size;
  });
  return bytes;
}

function powerOn(options: VirtioPciOptions): VirtioState {
  return {
    pci: PciConfigurationSpace.powerOn(options.firmware),
    accessBar: 0, accessOffset: 0, accessLength: 0,
    ...resetDevice(options.queueSizes),
  }; // prettier-ignore
}

/** 2.4: what a reset by the driver clears. PCI's own registers stay. */
function resetDevice(
  queueSizes: readonly number[],
): Omit<VirtioState, 'pci' | 'accessBar' | 'accessOffset' | 'accessLength'> {
  return {
    status: 0, isr: 0, deviceFeatureSelect: 0, driverFeatureSelect: 0, driverFeatures: [0, 0], queueSelect: 0,
    queues: queueSizes.map(resetQueue), notified: 0, dueAtNs: null, configurationStatus: 0,
  }; // prettier-ignore
}

export abstract class VirtioPciDevice extends StatefulDevice<VirtioState> implements PciFunction {
  readonly name: string;
  readonly #options: VirtioPciOptions;
  readonly #space: PciConfigurationSpace;
  readonly #timer: Timer;
  readonly #virtqueue: Virtqueue;
  protected readonly memory: GuestMemory;

  constructor(options: VirtioPciOptions) {
    const migrations = { 1: migrateFrom1 };
    super(defineState<VirtioState>({ name: options.name, version: 2, schema, migrations }), () =>
      powerOn(options),
    );
    this.name = options.name;
    this.#options = options;
    this.memory = options.memory;
    this.#virtqueue = new Virtqueue(options.memory);
    this.#space = new PciConfigurationSpace(
      {
        vendor: virtioVendor,
        device: modernDeviceId + options.type,
        revision: modernRevision,
        classCode: options.classCode,
        subsystemVendor: virtioVendor,
        subsystem: subsystemId,
        barBytes,
        capabilities: capabilityList(),
      },
      options.irq,
    );
    this.#timer = options.clock.timer(options.name, () => {
      this.#serve();
    });
  }

  /** The device-specific configuration (read only). */
  protected abstract configuration(): Uint8Array;

  /**
   * Does one request of a queue. Returns the bytes written to its writable buffers, or `broken` for one that no driver may make. A queue
   * whose buffers are kept until the device has something for them is not served (`servesQueue`).
   */
  protected abstract perform(chain: Chain, queue: number): number | 'broken';

  /** Whether the driver's buffers in a queue are requests, to be performed when they are announced. */
  protected servesQueue(_queue: number): boolean {
    return true;
  }

  /** Whether the driver accepted a feature. */
  protected accepted(feature: number): boolean {
    return (((this.state.driverFeatures[feature >> 5] ?? 0) >>> (feature & 31)) & 1) === 1;
  }

  // --- configuration space ---

  readConfiguration(register: number, size: AccessSize): number {
    const { accessBar, accessOffset, accessLength } = this.state;
    switch (register & ~3) {
      case Access.bar:
        return readWord(accessBar, register, size);
      case Access.offset:
        return readWord(accessOffset, register, size);
      case Access.length:
        return readWord(accessLength, register, size);
      case Access.data: {
        const window = this.#accessWindow();
        return window === undefined ? 0 : readWord(this.readBar(accessOffset, window), register, size);
      }
      default:
        return this.#space.read(this.state.pci, register, size);
    }
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    const state = this.state;
    switch (register & ~3) {
      case Access.bar:
        state.accessBar = writeWord(state.accessBar, register, size, value) & 0xff;
        return;
      case Access.offset:
        state.accessOffset = writeWord(state.accessOffset, register, size, value);
        return;
      case Access.length:
        state.accessLength = writeWord(state.accessLength, register, size, value);
        return;
      case Access.data: {
        const window = this.#accessWindow();
        if (window !== undefined && register === Access.data)
          this.writeBar(state.accessOffset, window, value);
        return;
      }
      default:
        this.#space.write(state.pci, register, size, value);
    }
  }

  /** 4.1.4.9.1: the length is 1, 2 or 4, the offset a multiple of it inside of the BAR. */
  #accessWindow(): AccessSize | undefined {
    const { accessBar, accessOffset, accessLength: length } = this.state;
    if (accessBar !== 0 || (length !== 1 && length !== 2 && length !== 4)) return undefined;
    return accessOffset % length === 0 && accessOffset + length <= barBytes ? length : undefined;
  }

  claims(address: number): number | undefined {
    return this.#space.claims(this.state.pci, address);
  }

  // --- BAR 0 ---

  readBar(offset: number, size: AccessSize): number {
    const at = offset % structureBytes;
    switch (offset - at) {
      case Layout.common:
        return this.#readCommon(at, size);
      case Layout.isr:
        return at === 0 ? this.#readIsr() : 0;
      case Layout.device: {
        const bytes = this.configuration();
        let value = 0;
        for (let n = 0; n < size; n++) value |= (bytes[at + n] ?? 0) << (n * 8);
        return value >>> 0;
      }
      default:
        return 0;
    }
  }

  /** 4.1.4.5: reading acknowledges and lowers INTx. */
  #readIsr(): number {
    const { isr } = this.state;
    this.state.isr = 0;
    this.#drive();
    return isr;
  }

  #readCommon(at: number, size: AccessSize): number {
    const { state } = this;
    const queue = state.queues[state.queueSelect];
    if (at >= Common.queueAreas && at < commonBytes && size === 4 && at % 4 === 0)
      return areaOf(queue, at)?.[(at >> 2) & 1] ?? 0;
    switch (at) {
      case Common.deviceFeatureSelect:
        return state.deviceFeatureSelect;
      case Common.deviceFeature:
        return this.#offered(state.deviceFeatureSelect);
      case Common.driverFeatureSelect:
        return state.driverFeatureSelect;
      case Common.driverFeature:
        return state.driverFeatures[state.driverFeatureSelect] ?? 0;
      case Common.configVector:
      case Common.queueVector:
        return noVector;
      case Common.queueCount:
        return state.queues.length;
      case Common.status:
        return state.status;
      case Common.queueSelect:
        return state.queueSelect;
      case Common.queueSize:
        return queue?.size ?? 0;
      case Common.queueEnable:
        return queue?.enabled === true ? 1 : 0;
      default: // the generation never changes, and the notification offset is 0
        return 0;
    }
  }

  #offered(half: number): number {
    const all = [featureVersion1, ...this.#options.features];
    let bits = 0;
    for (const bit of all) if (bit >> 5 === half) bits |= 1 << (bit & 31);
    return bits >>> 0;
  }

  writeBar(offset: number, size: AccessSize, value: number): void {
    const at = offset % structureBytes;
    if (offset - at === Layout.common) this.#writeCommon(at, size, value);
    else if (offset - at === Layout.notify && at < 4) this.#notify(value & 0xffff);
  }

  #writeCommon(at: number, size: AccessSize, value: number): void {
    const { state } = this;
    const selected = state.queues[state.queueSelect];
    // 4.1.4.3.2: the driver sets a queue up before it enables it.
    const open = selected?.enabled === false ? selected : undefined;
    if (at >= Common.queueAreas && at < commonBytes && size === 4 && at % 4 === 0) {
      const area = areaOf(open, at);
      if (area !== undefined) area[(at >> 2) & 1] = value;
      return;
    }
    switch (at) {
      case Common.deviceFeatureSelect:
        state.deviceFeatureSelect = value;
        return;
      case Common.driverFeatureSelect:
        state.driverFeatureSelect = value;
        return;
      case Common.driverFeature:
        if (!(state.status & VirtioStatus.featuresOk) && state.driverFeatureSelect < 2 && size === 4)
          state.driverFeatures[state.driverFeatureSelect] = value;
        return;
      case Common.status:
        this.#writeStatus(value & 0xff);
        return;
      case Common.queueSelect:
        state.queueSelect = value & 0xffff;
        return;
      case Common.queueSize:
        if (open && isPowerOfTwo(value) && value <= (this.#options.queueSizes[state.queueSelect] ?? 0))
          open.size = value;
        return;
      case Common.queueEnable:
        if (open && (value & 0xffff) === 1) open.enabled = true;
        return;
      default: // read-only
    }
  }

  #writeStatus(value: number): void {
    const { state } = this;
    if (value === 0) {
      this.#timer.cancel();
      Object.assign(state, resetDevice(this.#options.queueSizes));
      this.#drive();
      return;
    }
    // 2.1.1: bits are only added; FEATURES_OK stays clear for a set that the device does not take; NEEDS_RESET is the device's.
    let added = value & ~VirtioStatus.needsReset;
    if (added & VirtioStatus.featuresOk && !this.#featuresTaken()) added &= ~VirtioStatus.featuresOk;
    state.status |= added;
    if (state.notified !== 0) this.#schedule();
  }

  /** 2.2, 6.1: a subset of what is offered, with VERSION_1. */
  #featuresTaken(): boolean {
    const [low = 0, high = 0] = this.state.driverFeatures;
    const surplus = (low & ~this.#offered(0)) | (high & ~this.#offered(1));
    return surplus === 0 && this.accepted(featureVersion1);
  }

  // --- queue ---

  /** 4.1.4.4: the driver writes the queue's number. */
  #notify(queue: number): void {
    if (queue >= this.state.queues.length || !this.servesQueue(queue)) return;
    this.state.notified |= 1 << queue;
    this.#schedule();
  }

  /** The driver is ready, and the device not broken. */
  protected get live(): boolean {
    const { status } = this.state;
    const wanted = VirtioStatus.driverOk | VirtioStatus.featuresOk;
    return (status & wanted) === wanted && !(status & VirtioStatus.needsReset);
  }

  /** Requests end a fixed virtual time after the notification: the host's speed is never seen. */
  #schedule(): void {
    if (!this.live || this.state.dueAtNs !== null) return;
    this.state.dueAtNs = this.#options.clock.now() + this.#options.latencyNs;
    this.#timer.arm(this.state.dueAtNs);
  }

  /** Does all that is available now in the queues that were announced. */
  #serve(): void {
    const { state } = this;
    const { notified } = state;
    state.dueAtNs = null;
    state.notified = 0;
    for (let number = 0; number < state.queues.length; number++)
      if (notified & (1 << number) && this.live) this.#serveQueue(number);
  }

  /** At most as many requests as the queue holds. */
  #serveQueue(number: number): void {
    const queue = this.state.queues[number];
    if (queue?.enabled !== true) return;
    let done = 0;
    while (done < queue.size) {
      const chain = this.#virtqueue.take(queue);
      if (chain === 'empty') break;
      const written = chain === 'broken' ? 'broken' : this.perform(chain, number);
      if (chain === 'broken' || written === 'broken') {
        this.#break();
        return;
      }
      this.#virtqueue.giveBack(queue, chain.head, written);
      done++;
    }
    if (done > 0 && this.#virtqueue.wantsInterrupt(queue)) this.#interrupt(Isr.queue);
  }

  /**
   * Takes buffers of a queue that isn't served until they hold `bytes`, at most `most` chains. Undefined when there are too few yet: then none is
   * taken. `never` when the whole queue would not do.
   */
  protected takeBuffers(
    number: number,
    { bytes, most }: { bytes: number; most: number },
  ): Chain[] | 'never' | undefined {
    const queue = this.state.queues[number];
    if (queue?.enabled !== true || !this.live) return 'never';
    const before = queue.nextAvailable;
    const chains: Chain[] = [];
    let room = 0;
    while (room < bytes && chains.length < most) {
      const chain = this.#virtqueue.take(queue);
      if (chain === 'empty') break;
      if (chain === 'broken' || chain.readable.length > 0) {
        this.#break();
        return 'never';
      }
      chains.push(chain);
      room += totalLength(chain.writable);
    }
    if (room >= bytes) return chains;
    queue.nextAvailable = before;
    const whole = chains.length >= Math.min(most, queue.size);
    return whole ? 'never' : undefined;
  }

  /** Gives buffers back with so many bytes written to each, and tells the driver. */
  protected giveBuffers(number: number, used: readonly { head: number; written: number }[]): void {
    const queue = this.state.queues[number];
    if (queue === undefined) return;
    for (const { head, written } of used) this.#virtqueue.giveBack(queue, head, written);
    if (this.#virtqueue.wantsInterrupt(queue)) this.#interrupt(Isr.queue);
  }

  /** Something in the configuration changed that the driver is to look at. */
  protected configurationChanged(): void {
    if (this.live) this.#interrupt(Isr.configuration);
  }

  /** 2.1.2: an error that only a reset ends; the driver is told by a configuration change. */
  #break(): void {
    this.state.status |= VirtioStatus.needsReset;
    this.#interrupt(Isr.configuration);
  }

  #interrupt(cause: number): void {
    this.state.isr |= cause;
    this.#drive();
  }

  #drive(): void {
    this.#space.drive(this.state.pci, this.state.isr !== 0);
  }

  protected override checkState({ queues, pci, isr, notified }: VirtioState): void {
    const { queueSizes } = this.#options;
    if (queues.length !== queueSizes.length || notified >> queueSizes.length !== 0)
      this.refuseState(`it has ${String(queueSizes.length)} queues`);
    queues.forEach((queue, n) => {
      checkQueue(queue, queueSizes[n] ?? 0, (why) => this.refuseState(why));
    });
    if (pci.bar % barBytes !== 0) this.refuseState('the base address is not aligned');
    if (isr > (Isr.queue | Isr.configuration)) this.refuseState('isr has unknown bits');
  }

  protected override stateChanged(): void {
    const { dueAtNs } = this.state;
    if (dueAtNs === null) this.#timer.cancel();
    else this.#timer.arm(dueAtNs);
    this.#drive();
  }
}

/** 4.1.4.3: the area of a queue whose address stands at this offset, as low and high half. */
function areaOf(queue: QueueState | undefined, at: number): number[] | undefined {
  if (queue === undefined) return undefined;
  return [queue.descriptorArea, queue.driverArea, queue.deviceArea][(at - Common.queueAreas) >> 3];
}

function checkQueue({ size }: QueueState, maximum: number, refuse: (why: string) => never): void {
  if (!isPowerOfTwo(size) || size > maximum) refuse(`queue size ${String(size)} is not possible`);
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

/** Part of a little-endian word, as an access to register `register` sees it. */
function readWord(word: number, register: number, size: AccessSize): number {
  const shifted = word >>> ((register & 3) * 8);
  return size === 4 ? shifted : shifted & (size === 2 ? 0xffff : 0xff);
}

function writeWord(word: number, register: number, size: AccessSize, value: number): number {
  const shift = (register & 3) * 8;
  const mask = (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff) << shift;
  return ((word & ~mask) | ((value << shift) & mask)) >>> 0;
}
