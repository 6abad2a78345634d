/** A PCI function whose registers lie in a BAR of memory, and which interrupts by INTx#. */
import { StatefulDevice, type AccessSize, type Line } from '../device.ts';
import type { StateDefinition } from '../schema.ts';
import type { PciFunction } from './pci-function.ts';
import type { BarIndex, PciPlace, PciRegisters } from './pci-registers.ts';

export interface RegisterFunctionOptions {
  registers: PciRegisters;
  /** The BAR of the registers. */
  bar: BarIndex;
  irq: Line;
  /** Where it is without firmware to place it. */
  place: PciPlace | undefined;
}

export abstract class RegisterFunction<S extends { space: Uint8Array }>
  extends StatefulDevice<S>
  implements PciFunction
{
  readonly #options: RegisterFunctionOptions;

  /** @param powerOn its state after RST#, around the configuration registers that it is given */
  constructor(
    definition: StateDefinition<S>,
    options: RegisterFunctionOptions,
    powerOn: (space: Uint8Array) => S,
  ) {
    super(definition, () => {
      const space = options.registers.powerOn();
      if (options.place !== undefined) options.registers.place(space, options.place);
      return powerOn(space);
    });
    this.#options = options;
  }

  abstract readBar(offset: number, size: AccessSize): number;
  abstract writeBar(offset: number, size: AccessSize, value: number): void;
  /** It has a cause to interrupt that is not masked. */
  protected abstract get interrupts(): boolean;

  readConfiguration(register: number, size: AccessSize): number {
    return this.#options.registers.read(this.state.space, register, size);
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    this.#options.registers.write(this.state.space, register, size, value);
    this.drive();
  }

  claims(address: number): number | undefined {
    return this.#options.registers.offsetInBar(this.state.space, this.#options.bar, address);
  }

  /** Sets INTx# as the causes and the command register say. */
  protected drive(): void {
    const { irq, registers } = this.#options;
    irq.set(this.interrupts && registers.interruptsAllowed(this.state.space));
  }

  protected override checkState({ space }: S): void {
    if (!this.#options.registers.isPossible(space))
      this.refuseState('a read-only register has another value');
  }

  protected override stateChanged(): void {
    this.drive();
  }
}
