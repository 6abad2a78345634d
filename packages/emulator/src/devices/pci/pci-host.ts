/**
 * PCI configuration mechanism 1 with the two chips of the 440FX chipset: the host bridge (82441FX PMC, order number 290549) and the
 * ISA bridge (82371SB PIIX3, 290550). Also the reset control register 0xcf9 of the PIIX3, and the window through which the host bridge
 * passes memory accesses on to the functions of bus 0.
 */
import { allOnes, StatefulDevice, type AccessSize } from '../device.ts';
import type { PciFunction } from './pci-function.ts';
import { bytes, defineState, record, u32, u8, type Infer } from '../schema.ts';

const Port = { address: 0xcf8, resetControl: 0xcf9, data: 0xcfc } as const;
const enableBit = 0x8000_0000;
const Header = { vendor: 0, command: 4, classRevision: 8, headerType: 0x0e, interruptLine: 0x3c } as const;
export const pam0 = 0x59;
export const pamCount = 7;
/** PIRQRC[A:D], PIIX3 2.2.7: bit 7 off, bits 3-0 the ISA interrupt. */
const pirqRoute = 0x60;
const pirqCount = 4;
const pirqOff = 0x80;
/** Memory below the I/O APIC that is nobody else's. */
export const pciWindow = { base: 0xe000_0000, length: 0x1ec0_0000 } as const;
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

function powerOn(routes: readonly number[]): State {
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
  for (let n = 0; n < pirqCount; n++) isaBridge[pirqRoute + n] = routes[n] ?? pirqOff;
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
  /** Functions on bus 0 by device number (2 and up), function 0. */
  functions?: ReadonlyMap<number, PciFunction>;
  /** What firmware writes to PIRQRC[A:D]; without it they are off. */
  pirqRoutes?: readonly number[];
  /** A route changed: the ISA interrupts of PIRQ A to D, 0 for off. */
  routesChanged?: (routes: readonly number[]) => void;
}

export class PciHost extends StatefulDevice<State> {
  readonly name = 'pci-host';
  readonly ports = [{ first: Port.address, last: Port.data + 3, width: 4 as const }];
  readonly mmio = [{ ...pciWindow, width: 4 as const }];
  readonly #options: PciHostOptions;

  constructor(options: PciHostOptions) {
    super(definition, () => powerOn(options.pirqRoutes ?? []));
    this.#options = options;
  }

  /** The function that configuration accesses go to, if it is one of the cards. */
  #function(): PciFunction | undefined {
    const { address } = this.state;
    const deviceAndFunction = (address >>> 8) & 0xffff;
    if ((address & enableBit) === 0 || deviceAndFunction & 7) return undefined;
    return this.#options.functions?.get(deviceAndFunction >> 3);
  }

  readMemory(offset: number, size: AccessSize): number {
    for (const one of this.#options.functions?.values() ?? []) {
      const at = one.claims(pciWindow.base + offset);
      if (at !== undefined) return one.readBar(at, size);
    }
    return allOnes(size);
  }

  writeMemory(offset: number, size: AccessSize, value: number): void {
    for (const one of this.#options.functions?.values() ?? []) {
      const at = one.claims(pciWindow.base + offset);
      if (at === undefined) continue;
      one.writeBar(at, size, value);
      return;
    }
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
    const register = (this.state.address & 0xfc) + (port - Port.data);
    const card = this.#function();
    if (card !== undefined) return card.readConfiguration(register, size);
    const target = this.#space();
    if (target === undefined) return 0xffff_ffff;
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
    this.#function()?.writeConfiguration(register, size, value);
    const target = this.#space();
    if (target === undefined) return;
    for (let n = 0; n < size; n++) {
      const at = register + n;
      const mask = target.writable.find(([first, last]) => at >= first && at <= last)?.[2] ?? 0;
      target.space[at] = ((target.space[at] ?? 0) & ~mask) | ((value >>> (n * 8)) & mask);
    }
    if (target.space === this.state.hostBridge && register + size > pam0 && register < pam0 + pamCount)
      this.#publishAttributes();
    if (
      target.space === this.state.isaBridge &&
      register < pirqRoute + pirqCount &&
      register + size > pirqRoute
    )
      this.#publishRoutes();
  }

  #publishRoutes(): void {
    const routes = this.state.isaBridge.subarray(pirqRoute, pirqRoute + pirqCount);
    this.#options.routesChanged?.(Array.from(routes, (route) => (route & pirqOff ? 0 : route & 15)));
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
    this.#publishRoutes();
  }
}
