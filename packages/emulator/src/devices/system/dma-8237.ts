/**
 * Two Intel 8237A DMA controllers and the page registers of a PC/AT (port 0x80 among them, where firmware shows its progress).
 * Datasheet: 8237A (order number 231466), "Register Description". A device that has a channel asks for transfers (`toMemory`, `fromMemory`).
 */
import { StatefulDevice, type AccessSize, type GuestMemory } from '../device.ts';
import { bool, bytes, defineState, record, tuple, u16, u8, type Infer } from '../schema.ts';

const pageBase = 0x80;
const controller = record({
  base: tuple(u16, 8),
  current: tuple(u16, 8),
  mode: bytes(4),
  command: u8,
  status: u8,
  request: u8,
  mask: u8,
  temporary: u8,
  highByte: bool,
});
type Controller = Infer<typeof controller>;
const schema = record({ controllers: tuple(controller, 2), pages: bytes(16) });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'dma-8237', version: 1, schema });

/** Bits 7-2 of the mode register. */
const Mode = { autoInitialize: 0x10, transfer: 0x0c, write: 0x04, read: 0x08 } as const;
const controllerOff = 4;
/** Page registers of channels 0 to 3, by offset from 0x80: address bits 16-23. */
const pageOf = [7, 3, 1, 2] as const;

function powerOnController(): Controller {
  return {
    base: Array<number>(8).fill(0),
    current: Array<number>(8).fill(0),
    mode: new Uint8Array(4),
    command: 0,
    status: 0,
    request: 0,
    mask: 15,
    temporary: 0,
    highByte: false,
  };
}

export class Dma8237 extends StatefulDevice<State> {
  readonly name = 'dma-8237';
  readonly ports = [
    { first: 0x00, last: 0x0f },
    { first: pageBase, last: 0x8f },
    { first: 0xc0, last: 0xdf },
  ];

  readonly #memory: GuestMemory | undefined;

  /** Without memory its registers work, and no transfer moves anything: a board without a device that has a channel. */
  constructor(memory?: GuestMemory) {
    super(definition, () => ({
      controllers: [powerOnController(), powerOnController()],
      pages: new Uint8Array(16),
    }));
    this.#memory = memory;
  }

  /**
   * A device gives bytes to its 8-bit channel (0 to 3).
   * @returns how many the channel took, and whether its count ran out (terminal count)
   */
  toMemory(channel: number, data: Uint8Array): { moved: number; terminal: boolean } {
    const at = this.#start(channel, data.length);
    if (at === undefined) return { moved: 0, terminal: false };
    if (((at.mode & Mode.transfer) as number) === Mode.write)
      this.#memory?.write(at.address, data.subarray(0, at.length));
    return { moved: at.length, terminal: this.#advance(channel, at.length) };
  }

  /** A device takes bytes from its 8-bit channel. */
  fromMemory(channel: number, length: number): { data: Uint8Array; terminal: boolean } {
    const at = this.#start(channel, length);
    if (at === undefined) return { data: new Uint8Array(0), terminal: false };
    const isRead = ((at.mode & Mode.transfer) as number) === Mode.read;
    const data =
      (isRead ? this.#memory?.read(at.address, at.length) : undefined) ?? new Uint8Array(at.length);
    return { data, terminal: this.#advance(channel, at.length) };
  }

  /** What the channel is set up to move, at most `length` bytes; undefined when it is off. Addresses count upward. */
  #start(channel: number, length: number): { address: number; length: number; mode: number } | undefined {
    const c = this.state.controllers[0] as Controller;
    if (c.mask & (1 << channel) || c.command & controllerOff) return undefined;
    const page = this.state.pages[pageOf[channel & 3] ?? 7] ?? 0;
    const left = (c.current[channel * 2 + 1] ?? 0) + 1;
    const offset = c.current[channel * 2] ?? 0;
    // A transfer does not leave its 64 KiB: the address counter has 16 bits.
    const size = Math.min(length, left, 0x1_0000 - offset);
    return { address: page * 0x1_0000 + offset, length: size, mode: c.mode[channel] ?? 0 };
  }

  #advance(channel: number, moved: number): boolean {
    const c = this.state.controllers[0] as Controller;
    const left = (c.current[channel * 2 + 1] ?? 0) + 1 - moved;
    c.current[channel * 2] = ((c.current[channel * 2] ?? 0) + moved) & 0xffff;
    c.current[channel * 2 + 1] = (left - 1) & 0xffff;
    if (left > 0) return false;
    c.status |= 1 << channel;
    if ((c.mode[channel] ?? 0) & Mode.autoInitialize) {
      c.current[channel * 2] = c.base[channel * 2] ?? 0;
      c.current[channel * 2 + 1] = c.base[channel * 2 + 1] ?? 0;
    } else c.mask |= 1 << channel;
    return true;
  }

  /** Last value written to port 0x80. */
  get postCode(): number {
    return this.state.pages[0] ?? 0;
  }

  /** Registers of the second controller lie two ports apart. */
  #decode(port: number): { c: Controller; register: number } {
    const second = port >= 0xc0;
    const c = this.state.controllers[second ? 1 : 0] as Controller;
    return { c, register: second ? (port - 0xc0) >> 1 : port };
  }

  readPort(port: number, _size: AccessSize): number {
    if (port >= pageBase && port < 0x90) return this.state.pages[port - pageBase] ?? 0;
    const { c, register } = this.#decode(port);
    if (register < 8) {
      const value = c.current[register] ?? 0;
      c.highByte = !c.highByte;
      return c.highByte ? value & 0xff : value >> 8;
    }
    if (register === 8) {
      const status = c.status;
      c.status &= 0xf0; // reading clears the terminal counts
      return status;
    }
    if (register === 13) return c.temporary;
    return register === 15 ? 0xf0 | c.mask : 0xff;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port >= pageBase && port < 0x90) {
      this.state.pages[port - pageBase] = value;
      return;
    }
    const { c, register } = this.#decode(port);
    if (register < 8) this.#writeCount(c, register, value);
    else this.#writeControl(c, register, value);
  }

  #writeCount(c: Controller, register: number, value: number): void {
    const before = c.base[register] ?? 0;
    const after = c.highByte ? (before & 0xff) | (value << 8) : (before & 0xff00) | value;
    c.highByte = !c.highByte;
    c.base[register] = after;
    c.current[register] = after;
  }

  #writeControl(c: Controller, register: number, value: number): void {
    const bit = 1 << (value & 3);
    switch (register) {
      case 8:
        c.command = value;
        return;
      case 9:
        c.request = value & 4 ? c.request | bit : c.request & ~bit;
        return;
      case 10:
        c.mask = value & 4 ? c.mask | bit : c.mask & ~bit;
        return;
      case 11:
        c.mode[value & 3] = value;
        return;
      case 12:
        c.highByte = false;
        return;
      case 13: // master clear
        Object.assign(c, { command: 0, status: 0, request: 0, temporary: 0, mask: 15, highByte: false });
        return;
      case 14:
        c.mask = 0;
        return;
      default:
        c.mask = value & 15;
    }
  }
}
