/** What network cards on the PCI bus have in common, whatever their registers are. */
import { followDueTime, type Clock, type GuestMemory, type Line, type Timer } from '../device.ts';
import type { BarIndex, PciRegisters } from '../pci/pci-registers.ts';
import { RegisterFunction } from '../pci/register-function.ts';
import type { StateDefinition } from '../schema.ts';

export const ethernetHeaderBytes = 14;
/** IEEE 802.3: of the check sum behind a frame, and of the least frame without it. */
export const crcBytes = 4;
export const leastFrameBytes = 60;
const latencyNs = 10_000n;

export interface NetworkCardOptions {
  name: string;
  /** Six bytes. */
  mac: Uint8Array;
  mtu: number;
  /** Takes a frame that the guest sent. */
  transmit: (frame: Uint8Array) => void;
  memory: GuestMemory;
  clock: Clock;
  irq: Line;
  /** Where the card is without firmware to place it. */
  firmware?: { memory: number; ports: number; interruptLine: number } | undefined;
}

interface CardState {
  space: Uint8Array;
  /** When what the driver gave to send will be gone through. */
  dueAtNs: bigint | null;
}

export abstract class PciNetworkCard<S extends CardState> extends RegisterFunction<S> {
  readonly name: string;
  protected readonly options: NetworkCardOptions;
  readonly #timer: Timer;

  constructor(
    definition: StateDefinition<S>,
    { registers, memoryBar, portBar }: { registers: PciRegisters; memoryBar: BarIndex; portBar: BarIndex },
    options: NetworkCardOptions,
    powerOn: (space: Uint8Array) => S,
  ) {
    const { firmware, irq } = options;
    const place = firmware && {
      bars: { [memoryBar]: firmware.memory, [portBar]: firmware.ports },
      interruptLine: firmware.interruptLine,
    };
    super(definition, { registers, bar: memoryBar, irq, place }, powerOn);
    this.name = options.name;
    this.options = options;
    this.#timer = options.clock.timer(options.name, () => {
      this.state.dueAtNs = null;
      this.sendAll();
    });
  }

  /** Goes through what the driver gave to send. */
  protected abstract sendAll(): void;

  /** `sendAll` follows a fixed virtual time later: the host's speed is never seen. */
  protected sendSoon(): void {
    if (this.state.dueAtNs !== null) return;
    this.state.dueAtNs = this.options.clock.now() + latencyNs;
    this.#timer.arm(this.state.dueAtNs);
  }

  /** What a reset by software does. */
  protected resetChip(powerOn: Partial<S>): void {
    this.#timer.cancel();
    Object.assign(this.state, powerOn);
    this.drive();
  }

  /** Nothing that its driver could be asked to do. */
  announce(): void {}

  protected override stateChanged(): void {
    followDueTime(this.#timer, this.state.dueAtNs);
    super.stateChanged();
  }
}
