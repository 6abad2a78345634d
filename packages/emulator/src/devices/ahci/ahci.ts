/**
 * AHCI controller, as an ICH9's in its AHCI mode (8086:2922): Serial ATA Advanced Host Controller Interface 1.3.1, section 3.1, with a disk at
 * each of its ports (ahci-port.ts). Without native queues, port multipliers and power states of the link.
 */
import type { BlockBackend } from '../block.ts';
import { StatefulDevice, type AccessSize, type Clock, type GuestMemory, type Line } from '../device.ts';
import type { DriveIdentity } from '../ide/ata.ts';
import type { PciFunction } from '../pci/pci-function.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { bytes, defineState, list, record, u32, type Infer } from '../schema.ts';
import { AhciPort, portPowerOn, portSchema, type PortState } from './ahci-port.ts';

const bar = 5;
const barBytes = 0x1000;
export const maxAhciPorts = 6;
const Register = { capabilities: 0x00, control: 0x04, interruptStatus: 0x08, ports: 0x0c, version: 0x10 } as const; // prettier-ignore
/** 3.1.1: 64-bit addresses, AHCI only, 1.5 Gb/s, 32 slots. */
const capabilities = 0x8000_0000 + 0x0004_0000 + 0x0010_0000 + (31 << 8);
/** 3.1.2 */
const Control = { reset: 1, interrupts: 2, ahci: 0x8000_0000 } as const;
const version = 0x0001_0300;
const firstPort = 0x100;
const portBytes = 0x80;

const registers = new PciRegisters({
  vendor: 0x8086,
  device: 0x2922,
  revision: 2,
  classCode: 0x01_0601,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  command: {
    reset: 0,
    writable: CommandBit.memory | CommandBit.master | CommandBit.interruptDisable,
  },
  interruptPin: 1,
  bars: { [bar]: { kind: 'memory', bytes: barBytes } },
});

const schema = record({
  space: bytes(configurationBytes),
  control: u32,
  /** A bit for each port whose interrupt is not acknowledged. */
  interruptStatus: u32,
  ports: list(portSchema, maxAhciPorts),
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'ahci', version: 1, schema });

export interface AhciOptions {
  /** One for each port, at most `maxAhciPorts`. */
  disks: readonly { disk: BlockBackend; identity: DriveIdentity }[];
  memory: GuestMemory;
  clock: Clock;
  irq: Line;
  /** Where the controller is without firmware to place it. */
  firmware?: { memory: number; interruptLine: number } | undefined;
}

export class Ahci extends StatefulDevice<State> implements PciFunction {
  readonly name = 'ahci';
  readonly #ports: readonly AhciPort[];
  readonly #irq: Line;

  constructor({ disks, memory, clock, irq, firmware }: AhciOptions) {
    super(definition, () => {
      const space = registers.powerOn();
      if (firmware !== undefined) {
        registers.setBar(space, bar, firmware.memory);
        registers.write(space, 4, 2, CommandBit.memory);
        registers.write(space, 0x3c, 1, firmware.interruptLine);
      }
      return { space, control: Control.ahci, interruptStatus: 0, ports: disks.map(portPowerOn) };
    });
    this.#irq = irq;
    this.#ports = disks.map(
      (drive, n) =>
        new AhciPort({
          ...drive,
          name: `ahci-${String(n)}`,
          memory,
          clock,
          state: () => this.state.ports[n] as PortState,
          changed: () => {
            this.#drive();
          },
        }),
    );
  }

  readConfiguration(register: number, size: AccessSize): number {
    return registers.read(this.state.space, register, size);
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    registers.write(this.state.space, register, size, value);
    this.#drive();
  }

  claims(address: number): number | undefined {
    const base = registers.barAddress(this.state.space, bar);
    const offset = address - (base ?? Infinity);
    return offset >= 0 && offset < barBytes ? offset : undefined;
  }

  readBar(offset: number, size: AccessSize): number {
    const word = this.#read(offset & ~3);
    const shifted = word >>> ((offset & 3) * 8);
    return size === 4 ? shifted : shifted & (size === 2 ? 0xffff : 0xff);
  }

  /** 3: registers are written whole. */
  writeBar(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset % 4 !== 0) return;
    if (offset >= firstPort) this.#portAt(offset)?.write(offset % portBytes, value);
    else if (offset === Register.control) this.#writeControl(value);
    else if (offset === Register.interruptStatus) {
      this.state.interruptStatus = (this.state.interruptStatus & ~value) >>> 0;
      this.#drive();
    }
  }

  #portAt(offset: number): AhciPort | undefined {
    return this.#ports[Math.floor((offset - firstPort) / portBytes)];
  }

  #read(offset: number): number {
    if (offset >= firstPort) return this.#portAt(offset)?.read(offset % portBytes) ?? 0;
    switch (offset) {
      case Register.capabilities:
        return capabilities + this.#ports.length - 1;
      case Register.control:
        return this.state.control;
      case Register.interruptStatus:
        return this.state.interruptStatus;
      case Register.ports:
        return (1 << this.#ports.length) - 1;
      case Register.version:
        return version;
      default:
        return 0;
    }
  }

  /** 10.4.3: a reset of the controller leaves its place on the bus. */
  #writeControl(value: number): void {
    if (value & Control.reset) {
      this.state.control = Control.ahci;
      this.state.interruptStatus = 0;
      this.state.ports = this.state.ports.map(portPowerOn);
      for (const port of this.#ports) port.stateChanged();
    } else this.state.control = (Control.ahci | (value & Control.interrupts)) >>> 0;
    this.#drive();
  }

  /** 3.1.3: a port's interrupt shows in the status until it is acknowledged there, and comes again while the port has one. */
  #drive(): void {
    const { state } = this;
    this.#ports.forEach((port, n) => {
      if (port.interrupts) state.interruptStatus |= 1 << n;
    });
    const wanted = state.interruptStatus !== 0 && (state.control & Control.interrupts) !== 0;
    this.#irq.set(wanted && registers.interruptsAllowed(state.space));
  }

  protected override checkState({ space, ports, interruptStatus }: State): void {
    if (!registers.isPossible(space)) this.refuseState('a read-only register has another value');
    if (ports.length !== this.#ports.length) this.refuseState(`it has ${String(this.#ports.length)} ports`);
    if (interruptStatus >>> ports.length !== 0) this.refuseState('a port interrupts that it does not have');
    for (const { slot } of ports) if (slot !== null && slot > 31) this.refuseState('there are 32 slots');
  }

  protected override stateChanged(): void {
    for (const port of this.#ports) port.stateChanged();
    this.#drive();
  }
}
