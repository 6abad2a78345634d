/**
 * Virtio over PCI: VIRTIO Version 1.2, section 4.1. A modern device (no legacy interface) with INTx, and with MSI-X where the board carries
 * messages: the structures of 4.1.4 lie in BAR 0, and, as 4.1.4.9 demands, may be reached through configuration space too.
 *
 * A device type derives from VirtioPciDevice and says what its features, its configuration and its requests are.
 */
import {
  followDueTime,
  partOf,
  StatefulDevice,
  type AccessSize,
  type Clock,
  type GuestMemory,
  type Line,
  type Timer,
} from '../device.ts';
import { Msix, type MessageSink } from '../pci/msix.ts';
import { PciConfigurationSpace, type PciFirmware, type PciFunction } from '../pci/pci-function.ts';
import {
  Access,
  barBytes,
  capabilityList,
  commonBytes,
  isPowerOfTwo,
  Layout,
  MsixPlace,
  noVector,
  resetByDriver,
  structureBytes,
  virtioDefinition,
  type VirtioState,
} from './virtio-state.ts';
import { totalLength, Virtqueue, type Chain, type QueueState, type UsedChain } from './virtqueue.ts';

export const virtioVendor = 0x1af4;
/** 4.1.2: device IDs are this plus the device type. */
const modernDeviceId = 0x1040;
const modernRevision = 1;
const subsystemId = 0x1100;

/** 2.1: device status. */
export const VirtioStatus = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 64,
  failed: 128,
} as const;
/** 4.1.4.5: ISR status. */
const Isr = { queue: 1, configuration: 2 } as const;
/** 6: bits of what any virtio device may have. */
const featureEventIndex = 29;
const featureVersion1 = 32;

/** 4.1.4.3: the common configuration structure. */
// prettier-ignore
const Common = {
  deviceFeatureSelect: 0x00, deviceFeature: 0x04, driverFeatureSelect: 0x08, driverFeature: 0x0c, configVector: 0x10, queueCount: 0x12,
  status: 0x14, generation: 0x15, queueSelect: 0x16, queueSize: 0x18, queueVector: 0x1a, queueEnable: 0x1c, queueNotifyOffset: 0x1e,
  queueAreas: 0x20,
} as const;

/** What a card of any type gets from its board. */
export interface VirtioCardOptions {
  name: string;
  memory: GuestMemory;
  clock: Clock;
  irq: Line;
  firmware?: PciFirmware | undefined;
  /** Carries interrupts as messages; without it the card has no MSI-X. */
  messages?: MessageSink | undefined;
  /** Driver and card tell each other by indexes when they want to be told (EVENT_IDX), not by flags. */
  eventIndexes?: boolean | undefined;
}

export interface VirtioPciOptions extends VirtioCardOptions {
  /** 5: device type number. */
  type: number;
  /** PCI class code, 24 bits. */
  classCode: number;
  /** The largest size of each queue. */
  queueSizes: readonly number[];
  /** Bit numbers offered besides VERSION_1 and EVENT_IDX. */
  features: readonly number[];
  /** From the driver's notification to the end of the request. */
  latencyNs: bigint;
  /** What the numbers of the type are at power-on. */
  registers?: readonly number[];
}

function powerOn(options: VirtioPciOptions, msix: Msix | undefined): VirtioState {
  return {
    pci: PciConfigurationSpace.powerOn(options.firmware),
    accessBar: 0,
    accessOffset: 0,
    accessLength: 0,
    ...resetByDriver(options.queueSizes),
    registers: [...(options.registers ?? [])],
    messages: msix === undefined ? null : { msix: msix.powerOn(), ...noVectors(options) },
  };
}

const noVectors = ({ queueSizes }: VirtioPciOptions) => ({
  configurationVector: noVector,
  queueVectors: queueSizes.map(() => noVector),
});

export abstract class VirtioPciDevice extends StatefulDevice<VirtioState> implements PciFunction {
  readonly name: string;
  readonly #options: VirtioPciOptions;
  readonly #space: PciConfigurationSpace;
  readonly #timer: Timer;
  readonly #virtqueue: Virtqueue;
  readonly #msix: Msix | undefined;
  protected readonly memory: GuestMemory;

  constructor(options: VirtioPciOptions) {
    const vectors = options.queueSizes.length + 1;
    const msix =
      options.messages === undefined ? undefined : new Msix({ vectors, ...MsixPlace }, options.messages);
    super(virtioDefinition(options.name), () => powerOn(options, msix));
    this.#msix = msix;
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
        capabilities: capabilityList(msix?.capability()),
      },
      options.irq,
    );
    this.#timer = options.clock.timer(options.name, () => {
      this.#serve();
    });
  }

  /** The device-specific configuration. */
  protected abstract configuration(): Uint8Array;

  /** The driver writes to it, where the type has something to be written. */
  protected writeDeviceConfiguration(_offset: number, _size: AccessSize, _value: number): void {}

  /** The driver put buffers into a queue that isn't served. */
  protected buffersAdded(_queue: number): void {}

  /** The driver has reset the device. */
  protected driverReset(): void {}

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
        return partOf(accessBar, register, size);
      case Access.offset:
        return partOf(accessOffset, register, size);
      case Access.length:
        return partOf(accessLength, register, size);
      case Access.data: {
        const window = this.#accessWindow();
        return window === undefined ? 0 : partOf(this.readBar(accessOffset, window), register, size);
      }
      default:
        return this.#readSpace(register, size);
    }
  }

  #readSpace(register: number, size: AccessSize): number {
    const { pci, messages } = this.state;
    let value = this.#space.read(pci, register, size);
    for (let n = 0; messages !== null && n < size; n++)
      value |= (this.#msix?.readConfiguration(messages.msix, register + n) ?? 0) << (n * 8);
    return value >>> 0;
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
        if (state.messages === null) return;
        for (let n = 0; n < size; n++)
          this.#msix?.writeConfiguration(state.messages.msix, register + n, (value >>> (n * 8)) & 0xff);
        this.#drive();
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
    const { messages } = this.state;
    const message = messages === null ? undefined : this.#msix?.read(messages.msix, offset, size);
    if (message !== undefined) return message;
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
        return state.messages?.configurationVector ?? noVector;
      case Common.queueVector:
        return state.messages?.queueVectors[state.queueSelect] ?? noVector;
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
    const { features, eventIndexes } = this.#options;
    const all = [featureVersion1, ...features, ...(eventIndexes === true ? [featureEventIndex] : [])];
    let bits = 0;
    for (const bit of all) if (bit >> 5 === half) bits |= 1 << (bit & 31);
    return bits >>> 0;
  }

  writeBar(offset: number, size: AccessSize, value: number): void {
    const { messages } = this.state;
    if (messages !== null && this.#msix?.write(messages.msix, offset, size, value) === true) return;
    const at = offset % structureBytes;
    if (offset - at === Layout.common) this.#writeCommon(at, size, value);
    else if (offset - at === Layout.notify && at < 4) this.#notify(value & 0xffff);
    else if (offset - at === Layout.device) this.writeDeviceConfiguration(at, size, value);
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
      default:
        this.#writeVector(at, value & 0xffff); // others are read-only
    }
  }

  /** 4.1.5.1.2: a vector that the device does not have reads NO_VECTOR. */
  #writeVector(at: number, value: number): void {
    const { messages, queues, queueSelect } = this.state;
    if (messages === null) return;
    const vector = value <= queues.length ? value : noVector;
    if (at === Common.configVector) messages.configurationVector = vector;
    else if (at === Common.queueVector && queueSelect < queues.length)
      messages.queueVectors[queueSelect] = vector;
  }

  #writeStatus(value: number): void {
    const { state } = this;
    if (value === 0) {
      this.#timer.cancel();
      Object.assign(state, resetByDriver(this.#options.queueSizes));
      if (state.messages !== null) Object.assign(state.messages, noVectors(this.#options));
      this.driverReset();
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
    if (queue >= this.state.queues.length) return;
    if (!this.servesQueue(queue)) {
      if (this.live) this.buffersAdded(queue);
      return;
    }
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
    const before = queue.nextUsed;
    const waiting = this.#virtqueue.available(queue);
    if (waiting === 'broken') {
      this.#break();
      return;
    }
    for (let done = 0; done < waiting; done++) {
      const chain = this.#virtqueue.take(queue);
      const written = chain === 'broken' ? 'broken' : this.perform(chain, number);
      if (chain === 'broken' || written === 'broken') {
        this.#break();
        return;
      }
      this.#virtqueue.giveBack(queue, [{ head: chain.head, written }]);
    }
    this.#notifyAt(queue);
    if (waiting > 0) this.#tellWhoWaits(number, queue, before);
  }

  get #byIndex(): boolean {
    return this.accepted(featureEventIndex);
  }

  #notifyAt(queue: QueueState, ahead = 0): void {
    if (this.#byIndex) this.#virtqueue.notifyAt(queue, ahead);
  }

  /** Chains were given back since `nextUsed` was `before`. */
  #tellWhoWaits(number: number, queue: QueueState, before: number): void {
    if (this.#virtqueue.wantsInterrupt(queue, before, this.#byIndex)) this.#tellQueue(number);
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
    const waiting = this.#virtqueue.available(queue);
    const chains: Chain[] = [];
    let room = 0;
    while (room < bytes && chains.length < most && chains.length !== waiting) {
      const chain = waiting === 'broken' ? waiting : this.#virtqueue.take(queue);
      if (chain === 'broken' || chain.readable.length > 0) {
        this.#break();
        return 'never';
      }
      chains.push(chain);
      room += totalLength(chain.writable);
    }
    if (room >= bytes) {
      this.#notifyAt(queue);
      return chains;
    }
    queue.nextAvailable = before;
    this.#notifyAt(queue, chains.length);
    const whole = chains.length >= Math.min(most, queue.size);
    return whole ? 'never' : undefined;
  }

  /** Gives buffers back with so many bytes written to each, and tells the driver. */
  protected giveBuffers(number: number, used: readonly UsedChain[]): void {
    const queue = this.state.queues[number];
    if (queue === undefined) return;
    const before = queue.nextUsed;
    this.#virtqueue.giveBack(queue, used);
    this.#tellWhoWaits(number, queue, before);
  }

  /** Something in the configuration changed that the driver is to look at. */
  protected configurationChanged(): void {
    if (this.live) this.#tellConfiguration();
  }

  /** 2.1.2: an error that only a reset ends; the driver is told by a configuration change. */
  #break(): void {
    this.state.status |= VirtioStatus.needsReset;
    this.#tellConfiguration();
  }

  get #usesMessages(): boolean {
    const { messages } = this.state;
    return messages !== null && this.#msix?.enabled(messages.msix) === true;
  }

  /** 4.1.5.3: with MSI-X by the queue's message, and the ISR status says nothing of it. */
  #tellQueue(number: number): void {
    if (this.#usesMessages) this.#raise(this.state.messages?.queueVectors[number]);
    else this.state.isr |= Isr.queue;
    this.#drive();
  }

  /** 4.1.5.4: the ISR status tells of it either way. */
  #tellConfiguration(): void {
    this.state.isr |= Isr.configuration;
    if (this.#usesMessages) this.#raise(this.state.messages?.configurationVector);
    this.#drive();
  }

  #raise(vector = noVector): void {
    const { messages } = this.state;
    if (messages !== null && vector !== noVector) this.#msix?.raise(messages.msix, vector);
  }

  #drive(): void {
    this.#space.drive(this.state.pci, this.state.isr !== 0 && !this.#usesMessages);
  }

  protected override checkState({ queues, pci, isr, notified, registers, messages }: VirtioState): void {
    const { queueSizes, registers: powerOnRegisters = [] } = this.#options;
    if (queues.length !== queueSizes.length || notified >> queueSizes.length !== 0)
      this.refuseState(`it has ${String(queueSizes.length)} queues`);
    queues.forEach(({ size }, n) => {
      if (!isPowerOfTwo(size) || size > (queueSizes[n] ?? 0))
        this.refuseState(`queue size ${String(size)} is not possible`);
    });
    if (pci.bar % barBytes !== 0) this.refuseState('the base address is not aligned');
    if (isr > (Isr.queue | Isr.configuration)) this.refuseState('isr has unknown bits');
    if (registers.length !== powerOnRegisters.length)
      this.refuseState(`it has ${String(powerOnRegisters.length)} registers`);
    this.#checkMessages(messages);
  }

  #checkMessages(messages: VirtioState['messages']): void {
    if (messages === null || this.#msix === undefined) {
      if (messages !== null || this.#msix !== undefined) this.refuseState('messages are there or not');
      return;
    }
    const why = this.#msix.whyNot(messages.msix);
    if (why !== undefined) this.refuseState(why);
    const { queueVectors, configurationVector } = messages;
    const { length } = this.#options.queueSizes;
    if (queueVectors.length !== length) this.refuseState('each queue has a vector');
    if ([configurationVector, ...queueVectors].some((one) => one > length && one !== noVector))
      this.refuseState('a vector that it does not have');
  }

  protected override stateChanged(): void {
    followDueTime(this.#timer, this.state.dueAtNs);
    this.#drive();
  }
}

/** 4.1.4.3: the area of a queue whose address stands at this offset, as low and high half. */
function areaOf(queue: QueueState | undefined, at: number): number[] | undefined {
  if (queue === undefined) return undefined;
  return [queue.descriptorArea, queue.driverArea, queue.deviceArea][(at - Common.queueAreas) >> 3];
}

/** A little-endian word after a part of it was written by an access to register `register`. */
function writeWord(word: number, register: number, size: AccessSize, value: number): number {
  const shift = (register & 3) * 8;
  const mask = (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff) << shift;
  return ((word & ~mask) | ((value << shift) & mask)) >>> 0;
}
