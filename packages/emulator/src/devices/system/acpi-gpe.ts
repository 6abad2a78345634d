/**
 * ACPI general-purpose event block 0: ACPI 6.4, section 4.8.4.1. A status and an enable register of 16 bits each; what is set in both
 * asserts the SCI. The FADT names the ports, the methods of \_GPE in the DSDT say what an event means (acpi/tables.ts).
 */
import { StatefulDevice, type AccessSize, type Line } from '../device.ts';
import { defineState, record, u16, type Infer } from '../schema.ts';

/** Where QEMU has it on the same chipset; used by the FADT too. */
export const gpePort = 0xafe0;
/** Half status, half enable. */
export const gpeBlockBytes = 4;

const schema = record({ status: u16, enable: u16 });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'acpi-gpe', version: 1, schema });

export class AcpiGpe extends StatefulDevice<State> {
  readonly name = 'acpi-gpe';
  readonly ports = [{ first: gpePort, last: gpePort + gpeBlockBytes - 1, width: 2 as const }];
  readonly #sci: Line;

  constructor({ sci }: { sci: Line }) {
    super(definition, () => ({ status: 0, enable: 0 }));
    this.#sci = sci;
  }

  /** An event happened: its bit stays set until the system clears it. */
  raise(event: number): void {
    this.state.status |= 1 << event;
    this.#drive();
  }

  #drive(): void {
    this.#sci.set((this.state.status & this.state.enable) !== 0);
  }

  readPort(port: number, size: AccessSize): number {
    const offset = port - gpePort;
    const register = offset < 2 ? this.state.status : this.state.enable;
    return size === 1 && offset & 1 ? register >> 8 : register;
  }

  writePort(port: number, size: AccessSize, value: number): void {
    const offset = port - gpePort;
    const shift = size === 1 && offset & 1 ? 8 : 0;
    const written = size === 1 ? 0xff << shift : 0xffff;
    const bits = (value << shift) & written;
    // A one clears a status bit.
    if (offset < 2) this.state.status &= ~bits;
    else this.state.enable = (this.state.enable & ~written) | bits;
    this.#drive();
  }

  protected override stateChanged(): void {
    this.#drive();
  }
}
