/**
 * Virtio input device: VIRTIO Version 1.2, section 5.8, over PCI (virtio-pci.ts): a tablet, which tells the place on the screen that is pointed
 * at, where a mouse tells movements. So a guest's pointer is where that of the person is who looks on.
 *
 * An event that finds no buffer of the driver waits in the registers, and is told when there is one: the newest place, and each change of
 * a button before the next is taken (`hasRoom`).
 */
import type { AccessSize } from '../device.ts';
import { tabletRange } from '../tablet-place.ts';
import { VirtioPciDevice, type VirtioCardOptions } from './virtio-pci.ts';
import { scatter, type Chain, type UsedChain } from './virtqueue.ts';

const deviceType = 18;
/** Input device controller, other: PCI Code and ID Assignment 1.11, base class 09h. */
const classCode = 0x09_8000;
/** 5.8.2 */
const Queue = { event: 0, status: 1 } as const;
const queueSizes = [64, 64] as const;
const latencyNs = 20_000n;
const eventBytes = 8;

/** 5.8.4: struct virtio_input_config. */
const Config = { select: 0, subselect: 1, size: 2, data: 8, bytes: 136 } as const;
const Select = { name: 0x01, serial: 0x02, ids: 0x03, properties: 0x10, events: 0x11, axis: 0x12 } as const;

// Linux, include/uapi/linux/input-event-codes.h: 5.8.1 takes its codes.
const EventType = { synchronize: 0, key: 1, relative: 2, absolute: 3 } as const;
const Axis = { x: 0, y: 1 } as const;
const wheel = 8;
/** Left, right, middle. */
const buttonCodes = [0x110, 0x111, 0x112] as const;
const virtualBus = 6;

/** Numbers of the device; what is told lies beside what was told, and the turns of the wheel still to tell are of 32 bits with sign. */
const Register = {
  select: 0,
  subselect: 1,
  x: 2,
  y: 3,
  buttons: 4,
  toldPlace: 5,
  toldButtons: 6,
  wheel: 7,
} as const;
const powerOn = [0, 0, 0, 0, 0, 0, 0, 0] as const;
/** In `toldButtons`: events were told that no SYN has followed yet. */
const unfinished = 8;

export interface TabletMove {
  /** 0 to `tabletRange`, from the left and from the top. */
  x: number;
  y: number;
  /** Turns of the wheel towards the user. */
  dz: number;
  /** Bit 0 left, 1 right, 2 middle. */
  buttons: number;
}

interface Event {
  type: number;
  code: number;
  value: number;
  /** The registers say so from then on. */
  told: () => void;
}

export class VirtioTablet extends VirtioPciDevice {
  constructor(card: VirtioCardOptions) {
    super({ ...card, type: deviceType, classCode, queueSizes, latencyNs, features: [], registers: powerOn });
  }

  /** A driver in the guest takes places. */
  get isUsed(): boolean {
    return this.live;
  }

  /** Nothing of the last event waits, so that no click is lost. */
  get hasRoom(): boolean {
    return this.#next() === undefined;
  }

  move({ x, y, dz, buttons }: TabletMove): 'no-device' | undefined {
    if (!this.live) return 'no-device';
    const { registers } = this.state;
    registers[Register.x] = x;
    registers[Register.y] = y;
    registers[Register.buttons] = buttons;
    registers[Register.wheel] = ((registers[Register.wheel] ?? 0) + dz) >>> 0;
    this.#tell();
    return undefined;
  }

  #register(name: keyof typeof Register): number {
    return this.state.registers[Register[name]] ?? 0;
  }

  /** The event that is to be told next. */
  #next(): Event | undefined {
    const { registers } = this.state;
    const [x, y, buttons, toldPlace, toldButtons] = (
      ['x', 'y', 'buttons', 'toldPlace', 'toldButtons'] as const
    ).map((name) => this.#register(name)) as [number, number, number, number, number];
    const told = (register: number, value: number): void => {
      registers[register] = value >>> 0;
      registers[Register.toldButtons] = (registers[Register.toldButtons] ?? 0) | unfinished;
    };
    if (x !== (toldPlace & 0xffff))
      return {
        type: EventType.absolute,
        code: Axis.x,
        value: x,
        told: () => told(Register.toldPlace, (toldPlace & ~0xffff) | x),
      };
    if (y !== toldPlace >>> 16)
      return {
        type: EventType.absolute,
        code: Axis.y,
        value: y,
        told: () => told(Register.toldPlace, (toldPlace & 0xffff) | (y << 16)),
      };
    const button = buttonCodes.findIndex((_, n) => ((buttons ^ toldButtons) >> n) & 1);
    if (button >= 0)
      return {
        type: EventType.key,
        code: buttonCodes[button] ?? 0,
        value: (buttons >> button) & 1,
        told: () => told(Register.toldButtons, toldButtons ^ (1 << button)),
      };
    const turns = this.#register('wheel') | 0;
    // A wheel of Linux counts away from the user.
    if (turns !== 0)
      return { type: EventType.relative, code: wheel, value: -turns, told: () => told(Register.wheel, 0) };
    if (toldButtons & unfinished)
      return {
        type: EventType.synchronize,
        code: 0,
        value: 0,
        told: () => {
          registers[Register.toldButtons] = toldButtons & ~unfinished;
        },
      };
    return undefined;
  }

  /** As many events as the driver has buffers for. */
  #tell(): void {
    const used: UsedChain[] = [];
    for (let event = this.#next(); event !== undefined; event = this.#next()) {
      const chains = this.takeBuffers(Queue.event, { bytes: eventBytes, most: 1 });
      if (chains === undefined || chains === 'never') break;
      const bytes = new DataView(new ArrayBuffer(eventBytes));
      bytes.setUint16(0, event.type, true);
      bytes.setUint16(2, event.code, true);
      bytes.setInt32(4, event.value, true);
      for (const { head, writable } of chains) {
        scatter(this.memory, writable, new Uint8Array(bytes.buffer));
        used.push({ head, written: eventBytes });
      }
      event.told();
    }
    if (used.length > 0) this.giveBuffers(Queue.event, used);
  }

  protected override buffersAdded(): void {
    this.#tell();
  }

  protected override servesQueue(queue: number): boolean {
    return queue === Queue.status;
  }

  /** 5.8.6: lights and the like, of which a tablet has none. */
  protected perform({ writable }: Chain): number | 'broken' {
    return writable.length > 0 ? 'broken' : 0;
  }

  protected override driverReset(): void {
    this.state.registers = [...powerOn];
  }

  // --- configuration ---

  protected configuration(): Uint8Array {
    const bytes = new Uint8Array(Config.bytes);
    const [select, subselect] = [this.#register('select'), this.#register('subselect')];
    const data = answer(select, subselect);
    bytes.set([select, subselect, data.length]);
    bytes.set(data, Config.data);
    return bytes;
  }

  /** 5.8.5.1: the driver says what it wants to know. */
  protected override writeDeviceConfiguration(offset: number, size: AccessSize, value: number): void {
    for (let n = 0; n < size; n++) {
      const byte = (value >>> (n * 8)) & 0xff;
      if (offset + n === Config.select) this.state.registers[Register.select] = byte;
      else if (offset + n === Config.subselect) this.state.registers[Register.subselect] = byte;
    }
  }

  protected override checkState(state: VirtioTablet['state']): void {
    super.checkState(state);
    const [select = 0, subselect = 0, x = 0, y = 0, buttons = 0, toldPlace = 0, toldButtons = 0] =
      state.registers;
    if (select > 0xff || subselect > 0xff) this.refuseState('it is asked for what has no number');
    if ([x, y, toldPlace & 0xffff, toldPlace >>> 16].some((one) => one > tabletRange))
      this.refuseState('a place that it does not have');
    if (buttons > 7 || toldButtons > 15) this.refuseState('a button that it does not have');
  }
}

/** 5.8.5: what the device says of itself; nothing for what it does not have. */
function answer(select: number, subselect: number): Uint8Array {
  const text = (words: string): Uint8Array => new TextEncoder().encode(words);
  const words = (...values: number[]): Uint8Array => new Uint8Array(Uint16Array.from(values).buffer);
  switch (select) {
    case Select.name:
      return text('Revenant tablet');
    case Select.serial:
      return text('tablet0');
    case Select.ids:
      return words(virtualBus, 0x1af4, 1, 1);
    case Select.events:
      return eventBits(subselect);
    case Select.axis: // smallest, largest, fuzz, flat, resolution
      return subselect <= Axis.y
        ? new Uint8Array(Uint32Array.of(0, tabletRange, 0, 0, 0).buffer)
        : new Uint8Array(0);
    default: // no properties: it is no touch screen
      return new Uint8Array(0);
  }
}

/** A bit for each code of a type of event. */
function eventBits(type: number): Uint8Array {
  const codes: Record<number, readonly number[]> = {
    [EventType.key]: buttonCodes,
    [EventType.relative]: [wheel],
    [EventType.absolute]: [Axis.x, Axis.y],
  };
  const those = codes[type] ?? [];
  const bits = new Uint8Array(those.length === 0 ? 0 : (Math.max(...those) >> 3) + 1);
  for (const code of those) bits[code >> 3] = (bits[code >> 3] ?? 0) | (1 << (code & 7));
  return bits;
}
