/** The makers of what tells a guest that it lives a second life, and its host that the first one ended. */
import { GpeEvent } from '../../acpi/tables.ts';
import { AcpiGpe } from '../../devices/system/acpi-gpe.ts';
import { GenerationDevice } from '../../devices/system/debug-ports.ts';
import { VmClock, VmGenerationId } from '../../devices/system/identity.ts';
import { Pvpanic, type PanicEvent } from '../../devices/system/pvpanic.ts';
import type { Site } from './chips.ts';
import type { PartOf } from './plan.ts';

function addGeneration({ board, description, signals }: Site, { basePort }: PartOf<'generation'>): void {
  const device = board.add(new GenerationDevice({ basePort, powerOff: signals.powerOff }));
  const pages = [
    { name: 'vmgenid', make: () => new VmGenerationId(), event: GpeEvent.vmGenerationId },
    { name: 'vmclock', make: () => new VmClock(), event: GpeEvent.vmClock },
  ] as const;
  const told = pages
    .filter(({ name }) => description.devices.includes(name))
    .map(({ make, event }) => ({ page: board.add<VmGenerationId | VmClock>(make()), event }));
  board.consumers.generation = ({ generation }) => {
    device.setGeneration(generation);
    for (const { page, event } of told) {
      page.setGeneration(generation);
      board.chip('gpe').raise(event);
    }
    // It may run in another place than before: the segment is to learn where.
    for (const card of board.networkCards) card.announce();
  };
}

export const identityMakers: {
  [C in 'acpi-gpe' | 'generation' | 'pvpanic']: (site: Site, part: PartOf<C>) => void;
} = {
  'acpi-gpe': ({ board, description }, { sciIrq }) => {
    if (!description.devices.includes('vmgenid') && !description.devices.includes('vmclock')) return;
    board.setChip('gpe', board.add(new AcpiGpe({ sci: board.interrupts.isaLine(sciIrq, 'gpe') })));
  },
  generation: addGeneration,
  pvpanic: ({ board, description, signals }) => {
    if (!description.devices.includes('pvpanic')) return;
    const report = (event: PanicEvent): void => {
      signals.output({ kind: 'panic', event });
    };
    board.add(new Pvpanic({ report }));
  },
};
