/** How the chips of the 440FX chipset, and what hangs on it, are made and wired: one maker for each entry of the `pc` board's plan. */
import { AcpiPmPort } from '../../devices/timer/acpi-pm.ts';
import { Fdc82077aa } from '../../devices/floppy/fdc-82077aa.ts';
import { floppyFormat } from '../../devices/floppy/floppy-media.ts';
import { defaultGeometry } from '../../devices/ide/ata.ts';
import type { Drive } from '../../devices/ide/ide-channel.ts';
import { PiixIde } from '../../devices/ide/piix-ide.ts';
import { I440FxHost } from '../../devices/pci/i440fx-host.ts';
import { PciBus } from '../../devices/pci/pci-bus.ts';
import type { PciFunction } from '../../devices/pci/pci-function.ts';
import { Piix3Isa } from '../../devices/pci/piix3-isa.ts';
import { Piix4Pm } from '../../devices/pci/piix4-pm.ts';
import { Vga } from '../../devices/video/vga.ts';
import type { DiskAttachment } from '../description.ts';
import type { InputFields } from '../edge/index.ts';
import type { BoardOptions } from './board.ts';
import type { Site } from './chips.ts';
import type { ChipName, PartOf } from './plan.ts';

/** Drive numbers of the IDE controller: a CD drive is the secondary master. */
const cdDrive = 2;
const diskDrives = [0, 1, 3, 2] as const;

/** Nobody else sets the machine up: what firmware would have placed is in its place from the start. */
const isDirect = ({ description }: Site): boolean => description.romBytes === 0;

function put<F extends PciFunction>({ board }: Site, at: { device: number; function?: number }, one: F): F {
  board.functions.set(at.device * 8 + (at.function ?? 0), one);
  return one;
}

/** Disks of one kind, in the order of the description. */
export function attached(
  { description, disks }: BoardOptions,
  attach: DiskAttachment,
): BoardOptions['disks'] {
  return disks.filter((_, n) => (description.disks[n]?.attach ?? 'virtio') === attach);
}

function ideDrives(options: BoardOptions): (Drive | undefined)[] {
  const drives: (Drive | undefined)[] = [undefined, undefined, undefined, undefined];
  const discs = attached(options, 'cdrom');
  if (discs.length > 0)
    drives[cdDrive] = { kind: 'cd', identity: { model: 'REVENANT CD-ROM', serial: 'cdrom' }, media: discs };
  attached(options, 'ide').forEach((disk, n) => {
    const place = diskDrives[n];
    if (place !== undefined)
      drives[place] = {
        kind: 'disk',
        identity: { model: 'REVENANT DISK', serial: disk.name },
        media: [disk],
      };
  });
  return drives;
}

function addVga(site: Site, part: PartOf<'vga'>): void {
  const { board, clock, memory, signals, description } = site;
  const vga = new Vga({
    clock,
    video: {
      memory: () => memory.spaceBytes('vram'),
      changed: (offset, length) => {
        memory.videoChanged(offset, length);
      },
      map: (windows) => {
        if (memory.mapVideo(windows)) signals.mapChanged();
      },
    },
    rom: () => memory.spaceBytes('rom').subarray(0, description.optionRomBytes),
    firmware: isDirect(site) ? part : undefined,
  });
  board.setChip('graphics', put(site, part, board.add(vga)));
}

function addIde(site: Site, part: PartOf<'piix-ide'>): void {
  const { board, clock, memory } = site;
  const [primary, secondary] = part.irqs;
  const ide = new PiixIde({
    drives: ideDrives(site),
    clock,
    memory,
    irqs: [board.interrupts.isaLine(primary, 'ide-0'), board.interrupts.isaLine(secondary, 'ide-1')],
    firmwareBase: isDirect(site) ? part.busMaster : undefined,
  });
  board.setChip('ide', put(site, part, board.add(ide)));
}

/** Puts a medium into a drive, or takes it out. Drives are `cdrom` and `floppy`; media are disks of the machine's description, by name. */
function changeMedium(site: Site, { drive, image }: InputFields<'medium'>): void {
  if (drive !== 'cdrom' && drive !== 'floppy') return;
  const medium = image === null ? null : attached(site, drive).findIndex(({ name }) => name === image);
  if (medium === -1) return;
  if (drive === 'cdrom') site.board.ide?.changeDisc(cdDrive, medium);
  else site.board.floppy?.changeDisk(0, medium);
}

function addFloppy(site: Site, { irq }: PartOf<'fdc-82077aa'>): void {
  const { board, clock } = site;
  const disks = attached(site, 'floppy');
  const line = board.interrupts.isaLine(irq, 'floppy');
  const drives = disks.length > 0 ? [{ media: disks }] : [];
  board.consumers.medium = (input) => {
    changeMedium(site, input);
  };
  board.setChip('floppy', board.add(new Fdc82077aa({ drives, clock, irq: line, dma: board.chip('dma') })));
}

type I440FxChip = 'pci-bus' | 'i440fx-host' | 'piix3-isa' | 'piix-ide' | 'piix4-pm' | 'vga' | 'fdc-82077aa';

export const i440fxMakers: { [C in I440FxChip & ChipName]: (site: Site, part: PartOf<C>) => void } = {
  'pci-bus': ({ board, signals }) => {
    const bus = board.add(new PciBus({ resetSystem: signals.reset, functions: board.functions }));
    board.bus.movable = bus;
  },
  'i440fx-host': (site, part) => {
    const { board, memory, signals } = site;
    const memoryAttributes = (pam: Uint8Array): void => {
      if (memory.setShadow(pam)) signals.mapChanged();
    };
    put(site, part, board.add(new I440FxHost({ memoryAttributes })));
  },
  'piix3-isa': (site, part) => {
    const { board } = site;
    const routesChanged = (routes: readonly number[]): void => {
      board.pirqs.setRoutes(routes);
    };
    const firmwareRoutes = isDirect(site) ? part.pirqRoutes : undefined;
    put(site, part, board.add(new Piix3Isa({ routesChanged, firmwareRoutes })));
  },
  'piix-ide': addIde,
  'piix4-pm': (site, part) => {
    const { board } = site;
    const pm = board.chip('pm');
    const registers = { read: pm.readBlock.bind(pm), write: pm.writeBlock.bind(pm) };
    const firmwareBase = isDirect(site) ? AcpiPmPort.event : undefined;
    put(site, part, board.add(new Piix4Pm({ registers, firmwareBase })));
  },
  vga: addVga,
  'fdc-82077aa': addFloppy,
};

/** CMOS bytes about drives, by which firmware knows them: IBM PC/AT Technical Reference, "CMOS RAM"; 0x38 to 0x3d as QEMU has them. */
export function driveCmos(options: BoardOptions): Record<number, number> {
  const { bootOrder } = options.description;
  const [first = 0, second = 0, third = 0] = bootOrder.map((one) => ({ floppy: 1, disk: 2, cdrom: 3 })[one]);
  const [floppy] = attached(options, 'floppy');
  const driveType = floppy === undefined ? 0 : (floppyFormat(floppy.bytes)?.driveType ?? 0);
  const noSignatureNeeded = 1;
  // Two bits for each IDE drive: how CHS addresses are translated. 1: by LBA, where 1,024 cylinders are not enough.
  let translation = 0;
  ideDrives(options).forEach((drive, n) => {
    const bytes = drive?.kind === 'disk' ? (drive.media[0]?.bytes ?? 0) : 0;
    if (defaultGeometry(bytes).cylinders > 1024) translation |= 1 << (n * 2);
  });
  return {
    0x10: driveType << 4,
    0x14: 0x06 | (floppy === undefined ? 0 : 0x01), // equipment: FPU, mouse port, floppy drive
    0x38: (third << 4) | noSignatureNeeded,
    0x39: translation,
    0x3d: (second << 4) | first,
  };
}
