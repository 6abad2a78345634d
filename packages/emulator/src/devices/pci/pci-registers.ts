/**
 * Configuration registers of one PCI function as plain bytes: PCI Local Bus Specification 3.0, section 6.1 and 6.2. A layout says what
 * each register reads after RST# and which of its bits software may change; the 256 bytes themselves are the state of the function.
 */
import { allOnes, type AccessSize } from '../device.ts';

export const configurationBytes = 256;
// prettier-ignore
export const ConfigurationRegister = {
  vendor: 0x00, device: 0x02, command: 0x04, status: 0x06, revision: 0x08, cacheLine: 0x0c, latency: 0x0d, headerType: 0x0e, bar0: 0x10,
  subsystemVendor: 0x2c, subsystem: 0x2e, romBar: 0x30, capabilities: 0x34, interruptLine: 0x3c, interruptPin: 0x3d,
} as const;
/** 6.2.2: bits of the command register. */
export const CommandBit = { io: 1, memory: 2, master: 4, interruptDisable: 0x400 } as const;
const romEnable = 1;
const ioBar = 1;
const prefetchable = 8;

export interface BarLayout {
  /** `prefetchable` is memory too. The expansion ROM (6.2.5.2) has the index `rom`. */
  kind: 'io' | 'memory' | 'prefetchable';
  /** A power of two. */
  bytes: number;
}
export type BarIndex = 0 | 1 | 2 | 3 | 4 | 5 | 'rom';

/** Where firmware puts a function. */
export interface PciPlace {
  /** Addresses by BAR. */
  bars: Partial<Record<BarIndex, number>>;
  interruptLine: number;
}

export interface PciLayout {
  vendor: number;
  device: number;
  /** Base class, subclass, interface: 24 bits. */
  classCode: number;
  revision?: number;
  subsystemVendor?: number;
  subsystem?: number;
  /** 0x80: the device has several functions. */
  headerType?: number;
  command: { reset: number; writable: number };
  status?: number;
  /** 1 to 4 for INTA# to INTD#, 0 for none. */
  interruptPin?: number;
  bars?: Partial<Record<BarIndex, BarLayout>>;
  /** The function's own registers: what their bytes are after reset, and the bits that software may change. */
  own?: readonly { first: number; reset: readonly number[]; writable: readonly number[] }[];
}

const barOffset = (index: BarIndex): number =>
  index === 'rom' ? ConfigurationRegister.romBar : ConfigurationRegister.bar0 + index * 4;

export class PciRegisters {
  readonly #layout: PciLayout;
  readonly #reset = new Uint8Array(configurationBytes);
  readonly #writable = new Uint8Array(configurationBytes);
  readonly #bars: readonly (BarLayout & { index: BarIndex })[];

  constructor(layout: PciLayout) {
    this.#layout = layout;
    this.#bars = ([0, 1, 2, 3, 4, 5, 'rom'] as const).flatMap((index) => {
      const bar = layout.bars?.[index];
      return bar === undefined ? [] : [{ ...bar, index }];
    });
    this.#fixHeader();
    for (const bar of this.#bars) this.#fixBar(bar);
    for (const { first, reset, writable } of layout.own ?? []) {
      this.#reset.set(reset, first);
      this.#writable.set(writable, first);
    }
  }

  #fixHeader(): void {
    const view = new DataView(this.#reset.buffer);
    const mask = new DataView(this.#writable.buffer);
    const { vendor, device, classCode, revision = 0, subsystemVendor = 0, subsystem = 0 } = this.#layout;
    const { command, status = 0, headerType = 0, interruptPin = 0 } = this.#layout;
    view.setUint16(ConfigurationRegister.vendor, vendor, true);
    view.setUint16(ConfigurationRegister.device, device, true);
    view.setUint16(ConfigurationRegister.command, command.reset, true);
    mask.setUint16(ConfigurationRegister.command, command.writable, true);
    view.setUint16(ConfigurationRegister.status, status, true);
    view.setUint32(ConfigurationRegister.revision, classCode * 256 + revision, true);
    view.setUint8(ConfigurationRegister.headerType, headerType);
    view.setUint16(ConfigurationRegister.subsystemVendor, subsystemVendor, true);
    view.setUint16(ConfigurationRegister.subsystem, subsystem, true);
    view.setUint8(ConfigurationRegister.interruptPin, interruptPin);
    mask.setUint8(ConfigurationRegister.cacheLine, 0xff);
    mask.setUint8(ConfigurationRegister.latency, 0xf8);
    if (interruptPin !== 0) mask.setUint8(ConfigurationRegister.interruptLine, 0xff);
  }

  /** 6.2.5.1: the low bits that the size covers can't be written, which is how software learns the size. */
  #fixBar({ index, kind, bytes }: BarLayout & { index: BarIndex }): void {
    const at = barOffset(index);
    const flags = kind === 'io' ? ioBar : kind === 'prefetchable' ? prefetchable : 0;
    const enable = index === 'rom' ? romEnable : 0;
    new DataView(this.#reset.buffer).setUint32(at, flags, true);
    new DataView(this.#writable.buffer).setUint32(at, (~(bytes - 1) | enable) >>> 0, true);
  }

  /** The registers after RST#. */
  powerOn(): Uint8Array {
    return this.#reset.slice();
  }

  read(space: Uint8Array, register: number, size: AccessSize): number {
    let value = 0;
    for (let n = 0; n < size; n++) value |= (space[register + n] ?? 0) << (n * 8);
    return (value & allOnes(size)) >>> 0;
  }

  write(space: Uint8Array, register: number, size: AccessSize, value: number): void {
    for (let n = 0; n < size; n++) {
      const at = register + n;
      const mask = this.#writable[at] ?? 0;
      space[at] = ((space[at] ?? 0) & ~mask) | ((value >>> (n * 8)) & mask);
    }
  }

  /** True when only bits differ from the reset state that software can change. */
  isPossible(space: Uint8Array, ignore: readonly number[] = []): boolean {
    return space.every(
      (byte, n) => ((byte ^ (this.#reset[n] ?? 0)) & ~(this.#writable[n] ?? 0)) === 0 || ignore.includes(n),
    );
  }

  command(space: Uint8Array): number {
    return this.read(space, ConfigurationRegister.command, 2);
  }

  /** Address at which a BAR is decoded now; undefined when it is switched off, not set, or not there. */
  barAddress(space: Uint8Array, index: BarIndex): number | undefined {
    const bar = this.#layout.bars?.[index];
    if (bar === undefined) return undefined;
    const wanted = bar.kind === 'io' ? CommandBit.io : CommandBit.memory;
    const raw = this.read(space, barOffset(index), 4);
    if (!(this.command(space) & wanted) || (index === 'rom' && !(raw & romEnable))) return undefined;
    const address = (raw & ~(bar.bytes - 1) & (bar.kind === 'io' ? 0xffff : 0xffff_ffff)) >>> 0;
    return address === 0 || address > 2 ** 32 - bar.bytes ? undefined : address;
  }

  /** Sets a BAR as firmware would. */
  setBar(space: Uint8Array, index: BarIndex, address: number): void {
    this.write(space, barOffset(index), 4, address);
  }

  /** How far into a BAR that is decoded now an address lies; undefined outside of it. */
  offsetInBar(space: Uint8Array, index: BarIndex, address: number): number | undefined {
    const offset = address - (this.barAddress(space, index) ?? Infinity);
    return offset >= 0 && offset < (this.#layout.bars?.[index]?.bytes ?? 0) ? offset : undefined;
  }

  /** Sets BARs and interrupt line, and has the BARs decoded, as firmware would. */
  place(space: Uint8Array, { bars, interruptLine }: PciPlace): void {
    let command = 0;
    for (const { index, kind } of this.#bars) {
      const address = bars[index];
      if (address === undefined) continue;
      this.setBar(space, index, address);
      command |= kind === 'io' ? CommandBit.io : CommandBit.memory;
    }
    this.write(space, ConfigurationRegister.command, 2, command);
    this.write(space, ConfigurationRegister.interruptLine, 1, interruptLine);
  }

  /** INTx# may be asserted: the function is not told to hold it back. */
  interruptsAllowed(space: Uint8Array): boolean {
    return !(this.command(space) & CommandBit.interruptDisable);
  }
}
