/**
 * The paravirtual panic port: QEMU documentation, "PVPANIC device" (docs/specs/pvpanic), the ISA form. A guest that reads it learns which
 * events it may report; one whose kernel panics writes the event.
 */
import { StatefulDevice, type AccessSize } from '../device.ts';
import { defineState, record } from '../schema.ts';

/** Used by the DSDT too. */
export const pvpanicPort = 0x505;
/** Bits of the events. */
const Event = { panicked: 1, crashLoaded: 2 } as const;
export type PanicEvent = keyof typeof Event;

type Empty = Record<never, never>;

export class Pvpanic extends StatefulDevice<Empty> {
  readonly name = 'pvpanic';
  readonly ports = [{ first: pvpanicPort, last: pvpanicPort }];
  readonly #report: (event: PanicEvent) => void;

  constructor({ report }: { report: (event: PanicEvent) => void }) {
    super(defineState<Empty>({ name: 'pvpanic', version: 1, schema: record({}) }), () => ({}));
    this.#report = report;
  }

  readPort(): number {
    return Event.panicked | Event.crashLoaded;
  }

  /** A kernel with a crash kernel loaded says that it handles the panic itself. */
  writePort(_port: number, _size: AccessSize, value: number): void {
    for (const [event, bit] of Object.entries(Event) as [PanicEvent, number][])
      if (value & bit) this.#report(event);
  }
}
