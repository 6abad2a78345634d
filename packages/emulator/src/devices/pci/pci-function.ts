/**
 * One PCI function with a type 0 header: PCI Local Bus Specification 3.0, section 6.1 "Configuration Space Organization", 6.2.5 "Base
 * Addresses". It has one 32-bit memory BAR, capabilities that its owner lays out, and an INTx pin.
 */
import type { AccessSize, Line } from '../device.ts';
import { record, u16, u32, u8, type Infer } from '../schema.ts';

/** What the host bridge asks of a function. Registers are byte offsets 0-255; an access never crosses a doubleword. */
export interface PciFunction {
  readConfiguration(register: number, size: AccessSize): number;
  writeConfiguration(register: number, size: AccessSize, value: number): void;
  /** Offset in the function's BAR when it decodes this address, else undefined. */
  claims(address: number): number | undefined;
  readBar(offset: number, size: AccessSize): number;
  writeBar(offset: number, size: AccessSize, value: number): void;
  /** Ports that the function decodes now, which its registers can move. */
  portRanges?(): readonly PciPortRange[];
}

export interface PciPortRange {
  first: number;
  length: number;
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
}

// prettier-ignore
export const PciHeader = {
  vendor: 0x00, device: 0x02, command: 0x04, status: 0x06, revision: 0x08, classCode: 0x09, cacheLine: 0x0c, bar0: 0x10,
  subsystemVendor: 0x2c, subsystem: 0x2e, capabilities: 0x34, interruptLine: 0x3c, interruptPin: 0x3d,
} as const;
/** 6.2.2: the bits of the command register that do something here. */
export const PciCommand = { memory: 0x0002, master: 0x0004, interruptDisable: 0x0400 } as const;
const PciStatus = { interrupt: 0x08, capabilityList: 0x10 } as const;
const writableCommand = PciCommand.memory | PciCommand.master | PciCommand.interruptDisable;
const headerBytes = 0x40;

export const pciState = record({ command: u16, cacheLine: u8, interruptLine: u8, bar: u32 });
export type PciState = Infer<typeof pciState>;

export interface PciIdentity {
  vendor: number;
  device: number;
  revision: number;
  /** Base class, subclass, interface: 24 bits. */
  classCode: number;
  subsystemVendor: number;
  subsystem: number;
  /** Size of BAR 0, a power of two. */
  barBytes: number;
  /** Bytes from 0x40 on: the capability list, whose first entry stands at 0x40. */
  capabilities: Uint8Array;
}

/** What firmware leaves behind; a machine that starts a kernel directly has none and sets it itself. */
export interface PciFirmware {
  barAddress: number;
  interruptLine: number;
}

/** Configuration space of one function. The state belongs to the device that owns it. */
export class PciConfigurationSpace {
  readonly #identity: PciIdentity;
  readonly #bytes: Uint8Array;
  readonly #irq: Line;
  /** The device wants an interrupt, whatever the command register says. */
  #asserted = false;

  constructor(identity: PciIdentity, irq: Line) {
    this.#identity = identity;
    this.#irq = irq;
    this.#bytes = new Uint8Array(256);
    const view = new DataView(this.#bytes.buffer);
    view.setUint16(PciHeader.vendor, identity.vendor, true);
    view.setUint16(PciHeader.device, identity.device, true);
    view.setUint32(PciHeader.revision, identity.classCode * 256 + identity.revision, true);
    view.setUint16(PciHeader.subsystemVendor, identity.subsystemVendor, true);
    view.setUint16(PciHeader.subsystem, identity.subsystem, true);
    this.#bytes[PciHeader.capabilities] = headerBytes;
    this.#bytes[PciHeader.interruptPin] = 1; // INTA#
    this.#bytes.set(identity.capabilities, headerBytes);
  }

  /** State after RST#, or as `firmware` leaves it: BAR and interrupt line set, memory decoded. */
  static powerOn(firmware?: PciFirmware): PciState {
    if (firmware === undefined) return { command: 0, cacheLine: 0, interruptLine: 0, bar: 0 };
    return {
      command: PciCommand.memory,
      cacheLine: 0,
      interruptLine: firmware.interruptLine,
      bar: firmware.barAddress,
    };
  }

  read(state: PciState, register: number, size: AccessSize): number {
    let value = 0;
    for (let n = 0; n < size; n++) value |= this.#readByte(state, register + n) << (n * 8);
    return value >>> 0;
  }

  #readByte(state: PciState, register: number): number {
    switch (register) {
      case PciHeader.command:
        return state.command & 0xff;
      case PciHeader.command + 1:
        return state.command >> 8;
      case PciHeader.status:
        return PciStatus.capabilityList | (this.#asserted ? PciStatus.interrupt : 0);
      case PciHeader.cacheLine:
        return state.cacheLine;
      case PciHeader.interruptLine:
        return state.interruptLine;
      default:
        if (register >= PciHeader.bar0 && register < PciHeader.bar0 + 4)
          return (state.bar >>> ((register - PciHeader.bar0) * 8)) & 0xff;
        return this.#bytes[register] ?? 0;
    }
  }

  /** Writes the header's registers; those of capabilities are the owner's. */
  write(state: PciState, register: number, size: AccessSize, value: number): void {
    for (let n = 0; n < size; n++) this.#writeByte(state, register + n, (value >>> (n * 8)) & 0xff);
    this.drive(state, this.#asserted);
  }

  #writeByte(state: PciState, register: number, byte: number): void {
    switch (register) {
      case PciHeader.command:
        state.command = (state.command & 0xff00) | (byte & writableCommand);
        return;
      case PciHeader.command + 1:
        state.command = (state.command & 0x00ff) | ((byte << 8) & writableCommand);
        return;
      case PciHeader.cacheLine:
        state.cacheLine = byte;
        return;
      case PciHeader.interruptLine:
        state.interruptLine = byte;
        return;
      default:
        if (register >= PciHeader.bar0 && register < PciHeader.bar0 + 4)
          this.#writeBarByte(state, (register - PciHeader.bar0) * 8, byte);
    }
  }

  /** 6.2.5.1: the low bits that the size covers read as 0, which is how software learns the size. */
  #writeBarByte(state: PciState, shift: number, byte: number): void {
    const bar = (state.bar & ~(0xff << shift)) | (byte << shift);
    state.bar = (bar & ~(this.#identity.barBytes - 1)) >>> 0;
  }

  claims(state: PciState, address: number): number | undefined {
    const offset = address - state.bar;
    const inside = offset >= 0 && offset < this.#identity.barBytes;
    return inside && state.command & PciCommand.memory ? offset : undefined;
  }

  /** INTx# as the device wants it; the command register may hold it back (6.2.2, bit 10). */
  drive(state: PciState, asserted: boolean): void {
    this.#asserted = asserted;
    this.#irq.set(asserted && !(state.command & PciCommand.interruptDisable));
  }
}
