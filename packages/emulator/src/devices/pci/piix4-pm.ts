/**
 * Power management of the PIIX4, 82371AB (Intel order number 290562): function 3 of device 1. Firmware decides where its ACPI registers
 * lie (PMBA); the registers themselves are those of timer/acpi-pm.ts, which this function reaches through `registers`. The SMBus is not
 * there: its base address can be written, and nothing answers.
 */
import type { PciPortRange } from './pci-function.ts';
import { CommandBit, PciRegisters } from './pci-registers.ts';
import { PlainPciFunction } from './plain-function.ts';

/** 7.1.14: base address of the power management block of 64 bytes; 7.1.26 PMREGMISC: bit 0 enables it. */
const Register = {
  base: 0x40,
  deviceActivityB: 0x5b,
  pmEnable: 0x80,
  smbusBase: 0x90,
  smbusConfiguration: 0xd2,
} as const;
const blockBytes = 0x40;
/** DEVACTB bit 25, APMC_EN. Set, it says to firmware that SMM is there already; there is none, and firmware has nothing to set up. */
const apmcEnabled = 0x02;
const devselMedium = 0x0280;

const layout = new PciRegisters({
  vendor: 0x8086,
  device: 0x7113,
  classCode: 0x06_8000,
  revision: 3,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: { reset: 0, writable: CommandBit.io },
  status: devselMedium,
  interruptPin: 1,
  own: [
    { first: Register.base, reset: [0x01, 0, 0, 0], writable: [0xc0, 0xff, 0, 0] },
    { first: 0x58, reset: [0, 0, 0, apmcEnabled], writable: [0xff, 0xff, 0xff, 0xff] },
    { first: 0x5c, reset: new Array<number>(12).fill(0), writable: new Array<number>(12).fill(0xff) },
    { first: Register.pmEnable, reset: [0], writable: [1] },
    { first: Register.smbusBase, reset: [1, 0, 0, 0], writable: [0xf0, 0xff, 0, 0] },
    { first: Register.smbusConfiguration, reset: [0], writable: [0x0f] },
  ],
});

export interface Piix4PmOptions {
  /** The block of 64 bytes, by offset. */
  registers: Pick<PciPortRange, 'read' | 'write'>;
  /** Where firmware puts the block; without it, it is off. */
  firmwareBase?: number | undefined;
}

export class Piix4Pm extends PlainPciFunction {
  readonly #options: Piix4PmOptions;

  constructor(options: Piix4PmOptions) {
    const { firmwareBase } = options;
    const firmware = (space: Uint8Array): void => {
      if (firmwareBase === undefined) return;
      layout.write(space, Register.base, 4, firmwareBase);
      layout.write(space, Register.pmEnable, 1, 1);
    };
    super({ name: 'piix4-pm', version: 1, registers: layout, firmware });
    this.#options = options;
  }

  portRanges(): readonly PciPortRange[] {
    const { space } = this.state;
    const first = layout.read(space, Register.base, 2) & ~(blockBytes - 1);
    if (first === 0 || !((space[Register.pmEnable] ?? 0) & 1)) return [];
    return [{ first, length: blockBytes, ...this.#options.registers }];
  }
}
