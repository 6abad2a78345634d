/**
 * System control port A (0x92) of PS/2 machines and the A20 gate it shares with the keyboard controller; the APM ports 0xb2/0xb3 and the
 * coprocessor error latch 0xf0/0xf1. Reference: PS/2 Hardware Interface Technical Reference, "System Control Port A"; 82371SB section 2.6.
 */
import { StatefulDevice, type A20Gate, type AccessSize, type Line } from '../device.ts';
import { bool, defineState, record, u8, type Infer } from '../schema.ts';

const Port = { controlA: 0x92, apmControl: 0xb2, apmStatus: 0xb3, fpuClear: 0xf0, fpuReset: 0xf1 } as const;
const fastReset = 1;
const a20Bit = 2;

const schema = record({ a20: bool, controlA: u8, apmControl: u8, apmStatus: u8, fpuError: bool });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'system-control', version: 1, schema });

export interface SystemControlOptions {
  /** The mask of address line 20 changed. */
  a20Changed: (enabled: boolean) => void;
  fpuIrq: Line;
  resetSystem: () => void;
}

/** The last writer of either register decides about A20. */
export class SystemControl extends StatefulDevice<State> implements A20Gate {
  readonly name = 'system-control';
  readonly ports = [
    { first: Port.controlA, last: Port.controlA },
    { first: Port.apmControl, last: Port.apmStatus },
    { first: Port.fpuClear, last: Port.fpuReset },
  ];
  readonly #options: SystemControlOptions;

  constructor(options: SystemControlOptions) {
    super(definition, () => ({ a20: true, controlA: 0, apmControl: 0, apmStatus: 0, fpuError: false }));
    this.#options = options;
  }

  get enabled(): boolean {
    return this.state.a20;
  }

  set(enabled: boolean): void {
    if (enabled === this.state.a20) return;
    this.state.a20 = enabled;
    this.#options.a20Changed(enabled);
  }

  /** FERR# of the processor: IRQ 13 until port 0xf0 is written. */
  signalFpuError(): void {
    this.state.fpuError = true;
    this.#options.fpuIrq.set(true);
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === Port.controlA) return (this.state.controlA & 0xf0) | (this.state.a20 ? a20Bit : 0);
    if (port === Port.apmControl) return this.state.apmControl;
    if (port === Port.apmStatus) return this.state.apmStatus;
    return 0xff;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === Port.controlA) {
      this.state.controlA = value & 0xf0;
      this.set((value & a20Bit) !== 0);
      if (value & fastReset) this.#options.resetSystem();
    } else if (port === Port.apmControl) this.state.apmControl = value;
    else if (port === Port.apmStatus) this.state.apmStatus = value;
    else {
      this.state.fpuError = false;
      this.#options.fpuIrq.set(false);
    }
  }

  protected override stateChanged(): void {
    this.#options.a20Changed(this.state.a20);
    this.#options.fpuIrq.set(this.state.fpuError);
  }
}
