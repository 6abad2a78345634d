/**
 * AHCI controller, as an ICH9's in its AHCI mode (8086:2922): Serial ATA Advanced Host Controller Interface 1.3.1, section 3.1, with a disk at
 * each of its ports (ahci-port.ts). Without native queues, port multipliers and power states of the link.
 */
import type { BlockBackend } from '../block.ts';
import { partOf, type AccessSize, type Clock, type GuestMemory, type Line } from '../device.ts';
import type { DriveIdentity } from '../ide/ata.ts';
import { CommandBit, configurationBytes, PciRegisters } from '../pci/pci-registers.ts';
import { RegisterFunction } from '../pci/register-function.ts';
import { bytes, defineState, list, record, u32, type Infer } from '../schema.ts';
import { AhciPort, portPowerOn, portSchema, type PortState } from './ahci-port.ts';

const bar = 5;
const barBytes = 0x1000;
export const maxAhciPorts = 6;
const Register = {
  capabilities: 0x00,
  control: 0x04,
  interruptStatus: 0x08,
  ports: 0x0c,
  version: 0x10,
} as const;
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

export class Ahci extends RegisterFunction<State> {
  readonly name = 'ahci';
  readonly #ports: readonly AhciPort[];

  constructor({ disks, memory, clock, irq, firmware }: AhciOptions) {
    const place = firmware && {
      bars: { [bar]: firmware.memory },
      interruptLine: firmware.interruptLine,
    };
    super(definition, { registers, bar, irq, place }, (space) => ({
      space,
      control: Control.ahci,
      interruptStatus: 0,
      ports: disks.map(portPowerOn),
    }));
    this.#ports = disks.map(
      (drive, n) =>
        new AhciPort({
          ...drive,
          name: `ahci-${String(n)}`,
          memory,
          clock,
          state: () => this.state.ports[n] as PortState,
          changed: () => {
            this.drive();
          },
        }),
    );
  }

  readBar(offset: number, size: AccessSize): number {
    return partOf(this.#read(offset & ~3), offset, size);
  }

  /** 3: registers are written whole. */
  writeBar(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset % 4 !== 0) return;
    if (offset >= firstPort) this.#portAt(offset)?.write(offset % portBytes, value);
    else if (offset === Register.control) this.#writeControl(value);
    else if (offset === Register.interruptStatus) {
      this.state.interruptStatus = (this.state.interruptStatus & ~value) >>> 0;
      this.drive();
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
    this.drive();
  }

  /** 3.1.3: a port's interrupt shows in the status until it is acknowledged there, and comes again while the port has one. */
  protected override drive(): void {
    this.#ports.forEach((port, n) => {
      if (port.interrupts) this.state.interruptStatus |= 1 << n;
    });
    super.drive();
  }

  protected override get interrupts(): boolean {
    return this.state.interruptStatus !== 0 && (this.state.control & Control.interrupts) !== 0;
  }

  protected override checkState(state: State): void {
    super.checkState(state);
    const { ports, interruptStatus } = state;
    if (ports.length !== this.#ports.length) this.refuseState(`it has ${String(this.#ports.length)} ports`);
    if (interruptStatus >>> ports.length !== 0) this.refuseState('a port interrupts that it does not have');
    for (const { slot } of ports) if (slot !== null && slot > 31) this.refuseState('there are 32 slots');
  }

  protected override stateChanged(): void {
    for (const port of this.#ports) port.stateChanged();
    super.stateChanged();
  }
}
