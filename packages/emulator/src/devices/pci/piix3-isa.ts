/**
 * ISA bridge of the PIIX3, 82371SB (Intel order number 290550): function 0 of device 1. PIRQRC[A:D] steer PCI interrupts to ISA ones.
 * (Its ELCR lies in the 8259A pair, its reset control register in the PCI bus.)
 */
import type { AccessSize } from '../device.ts';
import { CommandBit, PciRegisters } from './pci-registers.ts';
import { PlainPciFunction } from './plain-function.ts';

/** 2.2.7: bit 7 off, bits 3-0 the ISA interrupt. */
const route = { first: 0x60, count: 4, off: 0x80 } as const;
const always = CommandBit.io | CommandBit.memory | CommandBit.master;
const multiFunction = 0x80;
const devselMedium = 0x0200;

const registers = new PciRegisters({
  vendor: 0x8086,
  device: 0x7000,
  classCode: 0x06_0100,
  headerType: multiFunction,
  command: { reset: always, writable: 0 },
  status: devselMedium,
  own: [
    { first: 0x4c, reset: [0x4d, 0, 0x03, 0], writable: [0xff, 0xff, 0xff, 0xff] },
    {
      first: route.first,
      reset: [route.off, route.off, route.off, route.off],
      writable: [0x8f, 0x8f, 0x8f, 0x8f],
    },
    { first: 0x69, reset: [0, 0], writable: [0xff, 0xff] },
    { first: 0x76, reset: [0, 0], writable: [0x8f, 0x8f] },
    { first: 0x80, reset: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff] },
  ],
});

export interface Piix3Options {
  /** A route changed: the ISA interrupts of PIRQ A to D, 0 for off. */
  routesChanged: (routes: readonly number[]) => void;
  /** What firmware writes to PIRQRC[A:D]; without it they are off. */
  firmwareRoutes?: readonly number[] | undefined;
}

export class Piix3Isa extends PlainPciFunction {
  readonly #options: Piix3Options;

  constructor(options: Piix3Options) {
    const { firmwareRoutes = [] } = options;
    const firmware = (space: Uint8Array): void => space.set(firmwareRoutes, route.first);
    super({ name: 'piix3-isa', version: 1, registers, firmware });
    this.#options = options;
  }

  override writeConfiguration(register: number, size: AccessSize, value: number): void {
    super.writeConfiguration(register, size, value);
    if (register + size > route.first && register < route.first + route.count) this.stateChanged();
  }

  protected override stateChanged(): void {
    const routes = this.state.space.subarray(route.first, route.first + route.count);
    this.#options.routesChanged(Array.from(routes, (one) => (one & route.off ? 0 : one & 15)));
  }
}
