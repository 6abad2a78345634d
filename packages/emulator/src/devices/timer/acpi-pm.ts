/**
 * ACPI fixed hardware: PM1a event and control blocks and the PM timer. Reference: ACPI 6.4, section 4.8.3. The system is
 * always in ACPI mode (no SMI command port). The addresses are given to the guest by the FADT (acpi/tables.ts).
 */
import { StatefulDevice, type AccessSize, type Clock, type Line, type PortRange } from '../device.ts';
import { defineState, record, u16, type Infer } from '../schema.ts';

/** Port addresses, used by the FADT too. */
export const AcpiPmPort = { event: 0x600, control: 0x604, timer: 0x608 } as const;
/** SLP_TYP of S5, used by the DSDT too. */
export const sleepTypeOff = 5;
const Status = {
  timer: 0x0001,
  globalLock: 0x0020,
  powerButton: 0x0100,
  sleepButton: 0x0200,
  rtc: 0x0400,
  wake: 0x8000,
} as const;
const statusBits = 0x8731;
const enableBits = 0x0721;
const Control = { sciEnable: 1, sleepEnable: 0x2000 } as const;
const timerHz = 3_579_545n;
const timerMask = 0xff_ffffn;

const schema = record({ status: u16, enable: u16, control: u16 });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'acpi-pm', version: 1, schema });

export interface AcpiPmOptions {
  /** System control interrupt. */
  sci: Line;
  clock: Clock;
  powerOff: () => void;
  /** The block lies where a PCI function puts it (`readBlock`, `writeBlock`), not at fixed ports. */
  movable?: boolean;
}

/** Bytes of the block that are registers. */
const blockBytes = 12;

const fixedPorts: readonly PortRange[] = [
  { first: AcpiPmPort.event, last: AcpiPmPort.control + 1, width: 2 },
  { first: AcpiPmPort.timer, last: AcpiPmPort.timer + 3, width: 4 },
];

export class AcpiPm extends StatefulDevice<State> {
  readonly name = 'acpi-pm';
  readonly ports: readonly PortRange[];
  readonly #options: AcpiPmOptions;

  constructor(options: AcpiPmOptions) {
    super(definition, () => ({ status: 0, enable: 0, control: Control.sciEnable }));
    this.#options = options;
    this.ports = options.movable === true ? [] : fixedPorts;
  }

  /** The block by offset: words, and the timer whole. */
  readBlock(offset: number, size: AccessSize): number {
    if (offset >= blockBytes) return 0;
    const port = AcpiPmPort.event + offset;
    if (size < 4 || port >= AcpiPmPort.timer) return this.readPort(port, size);
    return (this.readPort(port, 2) | (this.readPort(port + 2, 2) << 16)) >>> 0;
  }

  writeBlock(offset: number, size: AccessSize, value: number): void {
    if (offset >= blockBytes) return;
    const port = AcpiPmPort.event + offset;
    this.writePort(port, size === 4 ? 2 : size, size === 4 ? value & 0xffff : value);
    if (size === 4) this.writePort(port + 2, 2, value >>> 16);
  }

  /** The user presses the power button. */
  pressPowerButton(): void {
    this.state.status |= Status.powerButton;
    this.#drive();
  }

  #drive(): void {
    this.#options.sci.set((this.state.status & this.state.enable & enableBits) !== 0);
  }

  /** Counts at 3.579545 MHz, 24 bits. The carry status (TMR_STS) is not kept: the FADT says 24 bits and drivers read the timer. */
  #timer(): number {
    return Number(((this.#options.clock.now() * timerHz) / 1_000_000_000n) & timerMask);
  }

  readPort(port: number, size: AccessSize): number {
    if (port >= AcpiPmPort.timer)
      return size === 4 ? this.#timer() : (this.#timer() >>> ((port - AcpiPmPort.timer) * 8)) >>> 0;
    const { status, enable, control } = this.state;
    const register = [status, enable, control][(port - AcpiPmPort.event) >> 1] ?? 0;
    return size === 1 && port & 1 ? register >> 8 : register;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port >= AcpiPmPort.timer) return;
    const shift = size === 1 && port & 1 ? 8 : 0;
    const written = size === 1 ? 0xff << shift : 0xffff;
    const bits = (value << shift) & written;
    switch ((port - AcpiPmPort.event) >> 1) {
      case 0: // write one to clear
        this.state.status &= ~(bits & statusBits);
        break;
      case 1:
        this.state.enable = ((this.state.enable & ~written) | bits) & enableBits;
        break;
      default:
        this.#writeControl((this.state.control & ~written) | bits);
    }
    this.#drive();
  }

  #writeControl(value: number): void {
    this.state.control = (value & ~Control.sleepEnable & 0x1c04) | Control.sciEnable;
    if (value & Control.sleepEnable && ((value >> 10) & 7) === sleepTypeOff) this.#options.powerOff();
  }

  protected override stateChanged(): void {
    this.#drive();
  }
}
