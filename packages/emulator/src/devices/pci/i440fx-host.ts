/**
 * Host bridge of the 440FX chipset, 82441FX PMC (Intel order number 290549): function 0 of device 0. Its PAM registers say for each area
 * from 0xc0000 to 0xfffff whether reads and writes go to RAM or to the ISA bus, which is how firmware makes its shadow.
 */
import type { AccessSize } from '../device.ts';
import { CommandBit, PciRegisters } from './pci-registers.ts';
import { PlainPciFunction } from './plain-function.ts';

/** 3.2.11: PAM[6:0]. */
const pam = { first: 0x59, count: 7, writable: 0x33 } as const;
/** By which firmware knows a virtual machine with fw_cfg: QEMU documentation, "PCI IDs for QEMU". */
const virtualMachine = { vendor: 0x1af4, device: 0x1100 } as const;
const always = CommandBit.memory | CommandBit.master;
const devselMedium = 0x0200;

const registers = new PciRegisters({
  vendor: 0x8086,
  device: 0x1237,
  classCode: 0x06_0000,
  revision: 2,
  subsystemVendor: virtualMachine.vendor,
  subsystem: virtualMachine.device,
  command: { reset: always, writable: 0x0102 },
  status: devselMedium,
  own: [
    {
      first: 0x50,
      reset: [0, 0, 0, 0, 0, 0, 0, 0, 0],
      writable: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    },
    {
      first: pam.first,
      reset: new Array<number>(pam.count).fill(0),
      writable: new Array<number>(pam.count).fill(pam.writable),
    },
    // DRAM row boundaries, fixed DRAM hole, multi-transaction timer, CPU latency timer, SMRAM control (whose memory is not there).
    { first: 0x60, reset: new Array<number>(0x13).fill(0), writable: new Array<number>(0x13).fill(0xff) },
    { first: 0x93, reset: [0], writable: [0x0c] },
  ],
});

export interface I440FxOptions {
  /** Attributes of the areas from 0xc0000 to 0xfffff changed: the seven PAM bytes. */
  memoryAttributes: (pam: Uint8Array) => void;
}

export class I440FxHost extends PlainPciFunction {
  readonly #options: I440FxOptions;

  constructor(options: I440FxOptions) {
    super({ name: 'i440fx-host', version: 1, registers });
    this.#options = options;
  }

  override writeConfiguration(register: number, size: AccessSize, value: number): void {
    super.writeConfiguration(register, size, value);
    if (register + size > pam.first && register < pam.first + pam.count) this.stateChanged();
  }

  protected override stateChanged(): void {
    this.#options.memoryAttributes(this.state.space.slice(pam.first, pam.first + pam.count));
  }
}
