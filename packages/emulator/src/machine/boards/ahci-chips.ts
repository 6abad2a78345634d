/** The maker of the AHCI controller, with the disks of the description that hang on it. */
import { Ahci } from '../../devices/ahci/ahci.ts';
import type { Site } from './chips.ts';
import { attached } from './i440fx-chips.ts';
import type { PartOf } from './plan.ts';
import { firmwareIrq, hasFirmware } from './virtio-chips.ts';

export function addAhci(site: Site, { device, memory: place }: PartOf<'ahci'>): void {
  const { board, clock, memory } = site;
  const disks = attached(site, 'ahci').map((disk) => ({
    disk,
    identity: { model: 'REVENANT DISK', serial: disk.name },
  }));
  if (disks.length === 0) return;
  const irq = board.pirqs.line(device, 'ahci');
  const firmware = hasFirmware(site)
    ? undefined
    : { memory: place, interruptLine: firmwareIrq(site, device) };
  const controller = board.add(new Ahci({ disks, memory, clock, irq, firmware }));
  board.functions.set(device * 8, controller);
  board.cards.set(device, controller);
}
