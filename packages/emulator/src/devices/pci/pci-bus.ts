/**
 * PCI bus 0 as the host bridge shows it to software: configuration mechanism 1 (PCI 3.0, 3.2.2.3.2) at ports 0xcf8 and 0xcfc, the
 * reset control register 0xcf9 of the PIIX3 (82371SB, 290550, 2.5.5), and the windows of memory and ports in which functions decode.
 */
import { allOnes, StatefulDevice, type AccessSize } from '../device.ts';
import { defineState, record, u32, u8, type Infer } from '../schema.ts';
import type { PciFunction, PciPortRange } from './pci-function.ts';

const Port = { address: 0xcf8, resetControl: 0xcf9, data: 0xcfc } as const;
const enableBit = 0x8000_0000;
const resetCpu = 4;
const resetHard = 2;
/** Memory below the I/O APIC that is nobody else's. */
export const pciMemory = { base: 0xe000_0000, length: 0x1ec0_0000 } as const;

const schema = record({ address: u32, resetControl: u8 });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'pci-bus', version: 1, schema });

export interface PciBusOptions {
  resetSystem: () => void;
  /** By device number * 8 + function number. */
  functions: ReadonlyMap<number, PciFunction>;
}

export class PciBus extends StatefulDevice<State> {
  readonly name = 'pci-bus';
  readonly ports = [{ first: Port.address, last: Port.data + 3, width: 4 as const }];
  readonly mmio = [{ ...pciMemory, width: 4 as const }];
  readonly #options: PciBusOptions;
  /** Ranges that functions decode; made again after something may have moved. */
  #ranges: readonly PciPortRange[] | undefined;

  constructor(options: PciBusOptions) {
    super(definition, () => ({ address: 0, resetControl: 0 }));
    this.#options = options;
  }

  /** A function may decode other ports from now on. */
  decodingChanged(): void {
    this.#ranges = undefined;
  }

  #rangeAt(port: number, size: AccessSize): PciPortRange | undefined {
    this.#ranges ??= [...this.#options.functions.values()].flatMap((one) => one.portRanges?.() ?? []);
    return this.#ranges.find(({ first, length }) => port >= first && port + size <= first + length);
  }

  /** What a function answers at a port that no fixed device has; undefined when none decodes it. */
  readRange(port: number, size: AccessSize): number | undefined {
    const range = this.#rangeAt(port, size);
    return range?.read(port - range.first, size);
  }

  writeRange(port: number, size: AccessSize, value: number): boolean {
    const range = this.#rangeAt(port, size);
    range?.write(port - range.first, size, value);
    return range !== undefined;
  }

  /** The function that configuration accesses go to. */
  #function(): PciFunction | undefined {
    const { address } = this.state;
    const bus = (address >>> 16) & 0xff;
    if ((address & enableBit) === 0 || bus !== 0) return undefined;
    return this.#options.functions.get((address >>> 8) & 0xff);
  }

  readMemory(offset: number, size: AccessSize): number {
    for (const one of this.#options.functions.values()) {
      const at = one.claims(pciMemory.base + offset);
      if (at !== undefined) return one.readBar(at, size);
    }
    return allOnes(size);
  }

  writeMemory(offset: number, size: AccessSize, value: number): void {
    for (const one of this.#options.functions.values()) {
      const at = one.claims(pciMemory.base + offset);
      if (at === undefined) continue;
      one.writeBar(at, size, value);
      return;
    }
  }

  readPort(port: number, size: AccessSize): number {
    if (port < Port.data) {
      if (size === 4) return this.state.address;
      return port === Port.resetControl && size === 1 ? this.state.resetControl : 0xffff_ffff;
    }
    const register = (this.state.address & 0xfc) + (port - Port.data);
    return this.#function()?.readConfiguration(register, size) ?? 0xffff_ffff;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port >= Port.data) {
      const register = (this.state.address & 0xfc) + (port - Port.data);
      this.#function()?.writeConfiguration(register, size, value);
      this.decodingChanged();
    } else if (size === 4 && port === Port.address) this.state.address = (value & 0x80ff_fffc) >>> 0;
    else if (size === 1 && port === Port.resetControl) this.#writeResetControl(value);
  }

  /** RCPU from 0 to 1 resets; SRST chooses a hard reset, which is the only kind there is here. */
  #writeResetControl(value: number): void {
    const before = this.state.resetControl;
    this.state.resetControl = value & (resetCpu | resetHard);
    if (value & resetCpu && !(before & resetCpu)) this.#options.resetSystem();
  }

  protected override stateChanged(): void {
    this.decodingChanged();
  }
}
