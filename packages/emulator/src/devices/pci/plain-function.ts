/** A PCI function whose whole state is its configuration registers, and which decodes no memory: what the bridges of a chipset are. */
import { StatefulDevice, type AccessSize } from '../device.ts';
import { bytes, defineState, record, type Infer } from '../schema.ts';
import type { PciFunction } from './pci-function.ts';
import { configurationBytes, type PciRegisters } from './pci-registers.ts';

const schema = record({ space: bytes(configurationBytes) });
type State = Infer<typeof schema>;

export interface PlainFunctionOptions {
  name: string;
  /** Of the state. */
  version: number;
  registers: PciRegisters;
  /** What firmware changes in the registers before the guest sees them. */
  firmware?: (space: Uint8Array) => void;
}

export abstract class PlainPciFunction extends StatefulDevice<State> implements PciFunction {
  readonly name: string;
  readonly #registers: PciRegisters;

  constructor({ name, version, registers, firmware }: PlainFunctionOptions) {
    super(defineState<State>({ name, version, schema }), () => {
      const space = registers.powerOn();
      firmware?.(space);
      return { space };
    });
    this.name = name;
    this.#registers = registers;
  }

  readConfiguration(register: number, size: AccessSize): number {
    return this.#registers.read(this.state.space, register, size);
  }

  writeConfiguration(register: number, size: AccessSize, value: number): void {
    this.#registers.write(this.state.space, register, size, value);
  }

  claims(): undefined {
    return undefined;
  }
  readBar(): number {
    return 0xffff_ffff;
  }
  writeBar(): void {}

  protected override checkState({ space }: State): void {
    if (!this.#registers.isPossible(space)) this.refuseState('a read-only register has another value');
  }
}
