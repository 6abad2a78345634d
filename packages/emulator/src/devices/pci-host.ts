/**
 * PCI configuration mechanism 1 with the two chips of the 440FX chipset: the host bridge (82441FX PMC, order number 290549) and the
 * ISA bridge (82371SB PIIX3, 290550). Also the reset control register 0xcf9 of the PIIX3.
 */
import { StatefulDevice, type AccessSize } from './device.ts';
import { bytes, defineState, record, u32, u8, type Infer } from './schema.ts';

const Port = { address: 0xcf8, resetControl: 0xcf9, data: 0xcfc } as const;
const enableBit = 0x8000_0000;
const Header = { vendor: 0, command: 4, classRevision: 8, headerType: 0x0e, interruptLine: 0x3c } as const;
export const pam0 = 0x59;
export const pamCount = 7;
const resetCpu = 4;
const resetHard = 2;

const schema = record({ address: u32, resetControl: u8, hostBridge: bytes(256), isaBridge: bytes(256) });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'pci-host', version: 1, schema });

function configuration(options: {
  vendorDevice: number;
  classRevision: number;
  multiFunction: boolean;
}): Uint8Array {
  const space = new Uint8Array(256);
  const view = new DataView(space.buffer);
  view.setUint32(Header.vendor, options.vendorDevice, true);
  view.setUint32(Header.classRevision, options.classRevision, true);
  space[Header.headerType] = options.multiFunction ? 0x80 : 0;
  return space;
}

function powerOn(): State {
  const hostBridge = configuration({
    vendorDevice: 0x1237_8086,
    classRevision: 0x0600_0002,
    multiFunction: false,
  });
  hostBridge[Header.command] = 6; // memory and bus master are always on
  hostBridge[7] = 0x02; // DEVSEL# timing medium
  const isaBridge = configuration({
    vendorDevice: 0x7000_8086,
    classRevision: 0x0601_0000,
    multiFunction: true,
  });
  isaBridge[Header.command] = 7;
  isaBridge[7] = 0x02;
  isaBridge[0x4c] = 0x4d;
  isaBridge[0x4e] = 0x03;
  isaBridge.fill(0x80, 0x60, 0x64); // PIRQ routes: off
  return { address: 0, resetControl: 0, hostBridge, isaBridge };
}

/** Registers of a chip that software may write: [first, last, mask]. */
const hostWritable = [
  [0x50, 0x58, 0xff],
  [pam0, pam0 + pamCount - 1, 0x33],
  [0x60, 0x72, 0xff],
  [0x93, 0x93, 0x0c],
] as const;
const isaWritable = [
  [0x4c, 0x4f, 0xff],
  [0x60, 0x63, 0x8f],
  [0x69, 0x6a, 0xff],
  [0x76, 0x77, 0x8f],
  [0x80, 0x83, 0xff],
] as const;

export interface PciHostOptions {
  /** Attributes of the areas from 0xc0000 to 0xfffff changed: the seven PAM bytes. */
  memoryAttributes: (pam: Uint8Array) => void;
  resetSystem: () => void;
}

export class PciHost extends StatefulDevice<State> {
  readonly name = 'pci-host';
  readonly ports = [{ first: Port.address, last: Port.data + 3, width: 4 as const }];
  readonly #options: PciHostOptions;

  constructor(options: PciHostOptions) {
    super(definition, powerOn);
    this.#options = options;
  }

  /** Bus 0, device 0 or 1, function 0; undefined where nothing is. */
  #space(): { space: Uint8Array; writable: readonly (readonly [number, number, number])[] } | undefined {
    const { address, hostBridge, isaBridge } = this.state;
    if ((address & enableBit) === 0) return undefined;
    switch ((address >>> 8) & 0xffff) {
      case 0x0000:
        return { space: hostBridge, writable: hostWritable };
      case 0x0008:
        return { space: isaBridge, writable: isaWritable };
      default:
        return undefined;
    }
  }

  readPort(port: number, size: AccessSize): number {
    if (port < Port.data) {
      if (size === 4) return this.state.address;
      return port === Port.resetControl && size === 1 ? this.state.resetControl : 0xffff_ffff;
    }
    const target = this.#space();
    if (target === undefined) return 0xffff_ffff;
    const register = (this.state.address & 0xfc) + (port - Port.data);
    let value = 0;
    for (let n = 0; n < size; n++) value |= (target.space[register + n] ?? 0) << (n * 8);
    return value >>> 0;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port >= Port.data)
      this.#writeConfiguration((this.state.address & 0xfc) + (port - Port.data), size, value);
    else if (size === 4 && port === Port.address) this.state.address = (value & 0x80ff_fffc) >>> 0;
    else if (size === 1 && port === Port.resetControl) this.#writeResetControl(value);
  }

  #writeConfiguration(register: number, size: AccessSize, value: number): void {
    const target = this.#space();
    if (target === undefined) return;
    for (let n = 0; n < size; n++) {
      const at = register + n;
      const mask = target.writable.find(([first, last]) => at >= first && at <= last)?.[2] ?? 0;
      target.space[at] = ((target.space[at] ?? 0) & ~mask) | ((value >>> (n * 8)) & mask);
    }
    if (target.space === this.state.hostBridge && register + size > pam0 && register < pam0 + pamCount)
      this.#publishAttributes();
  }

  #publishAttributes(): void {
    this.#options.memoryAttributes(this.state.hostBridge.slice(pam0, pam0 + pamCount));
  }

  /** RCPU from 0 to 1 resets; SRST chooses a hard reset, which is the only kind there is here (PIIX3 2.5.5). */
  #writeResetControl(value: number): void {
    const before = this.state.resetControl;
    this.state.resetControl = value & (resetCpu | resetHard);
    if (value & resetCpu && !(before & resetCpu)) this.#options.resetSystem();
  }

  protected override stateChanged(): void {
    this.#publishAttributes();
  }
}
