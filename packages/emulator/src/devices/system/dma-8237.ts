/**
 * Two Intel 8237A DMA controllers and the page registers of a PC/AT (port 0x80 among them, where firmware shows its progress).
 * Datasheet: 8237A (order number 231466), "Register Description". Registers work; no device of this machine asks for a transfer yet.
 */
import { StatefulDevice, type AccessSize } from '../device.ts';
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

function powerOnController(): Controller {
  return {
    base: Array<number>(8).fill(0), current: Array<number>(8).fill(0), mode: new Uint8Array(4), command: 0, status: 0, request: 0,
    mask: 15, temporary: 0, highByte: false,
  }; // prettier-ignore
}

export class Dma8237 extends StatefulDevice<State> {
  readonly name = 'dma-8237';
  readonly ports = [
    { first: 0x00, last: 0x0f },
    { first: pageBase, last: 0x8f },
    { first: 0xc0, last: 0xdf },
  ];

  constructor() {
    super(definition, () => ({
      controllers: [powerOnController(), powerOnController()],
      pages: new Uint8Array(16),
    }));
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
