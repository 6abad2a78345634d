/** A board: the chips that a plan lists, made, wired and on the bus, and what the machine needs to find among them. */
import type { AcpiTables } from '../../acpi/tables.ts';
import { Bus } from '../../devices/bus.ts';
import type { Clock, Device, Line } from '../../devices/device.ts';
import type { AcpiGpe } from '../../devices/system/acpi-gpe.ts';
import type { Fdc82077aa } from '../../devices/floppy/fdc-82077aa.ts';
import type { PiixIde } from '../../devices/ide/piix-ide.ts';
import type { Dma8237 } from '../../devices/system/dma-8237.ts';
import type { Vga } from '../../devices/video/vga.ts';
import type { I8042 } from '../../devices/input/i8042.ts';
import type { LocalApic } from '../../devices/interrupt/lapic.ts';
import type { PciFunction } from '../../devices/pci/pci-function.ts';
import { PirqRouter } from '../../devices/pci/pirq-router.ts';
import type { Uart16550A } from '../../devices/serial/uart-16550a.ts';
import type { SystemControl } from '../../devices/system/system-control.ts';
import type { AcpiPm } from '../../devices/timer/acpi-pm.ts';
import type { VirtioTablet } from '../../devices/virtio/virtio-tablet.ts';
import type { VgaText } from '../../devices/video/vga-text.ts';
import type { MachineDescription } from '../description.ts';
import type { DiskBacking, DiskSpace } from '../disk-space.ts';
import type { InputConsumers, InputRooms } from '../edge/edge.ts';
import type { MachineOutput } from '../edge/table.ts';
import type { MemoryMap } from '../memory-map.ts';
import { makeChip } from './chips.ts';
import { InterruptWiring } from './interrupts.ts';
import { microvm } from './microvm.ts';
import { pc1, pc2 } from './pc.ts';
import type { BoardPlan } from './plan.ts';

/** Where the guest's output goes. All are optional; what nobody takes is dropped. */
export interface MachineBackends {
  serial?: (port: number, byte: number) => void;
  debugConsole?: (port: number, byte: number) => void;
  /** Where the base images of disks come from, by the disks' names. */
  disks?: Readonly<Record<string, DiskBacking>>;
}

/** What the board asks of one processor. */
export interface CpuSignals {
  intr: Line;
  nmi: () => void;
  /** INIT# of an application processor; the first one's resets the machine. */
  init: () => void;
  startUp: (vector: number) => void;
  cr8: { get(): number; set(value: number): void };
  tscOffset: () => bigint;
}

/** What the board asks of the processors and the machine. */
export interface BoardSignals {
  cpus: readonly CpuSignals[];
  /** Number of the processor that accesses a device. */
  currentCpu: () => number;
  reset: () => void;
  /** `status`: with which the guest ended, where it said so. */
  powerOff: (status?: number) => void;
  debugExit: (status: number) => void;
  /** The address map changed: TLBs are stale. */
  mapChanged: () => void;
  a20: (enabled: boolean) => void;
  /** The guest put something out. */
  output: (output: MachineOutput) => void;
}

export interface BoardOptions {
  description: MachineDescription;
  clock: Clock;
  memory: MemoryMap;
  backends: MachineBackends;
  disks: readonly DiskSpace[];
  signals: BoardSignals;
}

/** The plans of the machine types, by the versions of their boards. */
const plans: Record<MachineDescription['machine'], readonly BoardPlan[]> = {
  pc: [pc1, pc2],
  microvm: [microvm],
};

/** Chips that others or the machine speak to, each put here by its maker. */
export interface BoardChips {
  systemControl: SystemControl;
  acpi: AcpiTables;
  pm: AcpiPm;
  gpe?: AcpiGpe;
  keyboardController?: I8042;
  dma?: Dma8237;
  ide?: PiixIde;
  floppy?: Fdc82077aa;
  graphics?: Vga;
  vga?: VgaText;
  tablet?: VirtioTablet;
}

/** A card of any model, for whoever carries its frames. */
export interface NetworkCard {
  /** The largest frame that its driver takes now; 0 while there is none. */
  readonly frameBytes: number;
  /** 0: not yet; undefined: done with. */
  receive(frame: Uint8Array): 0 | undefined;
  announce(): void;
}

/** Every processor finds its own local APIC at the same address. */
function ownLocalApic(lapics: readonly LocalApic[], currentCpu: () => number): Device {
  const [first] = lapics;
  if (first === undefined) throw new TypeError('the board has no local APIC');
  const own = (): LocalApic => lapics[currentCpu()] ?? first;
  return {
    name: 'local APIC of the processor',
    version: 0,
    mmio: first.mmio,
    readMemory: (offset, size) => own().readMemory(offset, size),
    writeMemory: (offset, size, value) => {
      own().writeMemory(offset, size, value);
    },
    reset: () => undefined,
    save: () => undefined,
    restore: () => undefined,
  };
}

export class Board {
  readonly bus = new Bus();
  readonly devices: Device[] = [];
  readonly uarts: Uart16550A[] = [];
  readonly networkCards: NetworkCard[] = [];
  readonly interrupts = new InterruptWiring();
  readonly pirqs = new PirqRouter((irq, source) => this.interrupts.isaLine(irq, source));
  /** Functions on bus 0 by device number * 8 + function number, where each is its own. */
  readonly functions = new Map<number, PciFunction>();
  /** Cards on bus 0 by device number. */
  readonly cards = new Map<number, PciFunction>();
  /** What its devices do with inputs, each put here by the device's maker. */
  readonly consumers: InputConsumers = {};
  /** Of kinds that a device can have no room for just now: they are kept, in order, until it has. */
  readonly rooms: InputRooms = {};
  readonly #chips: Partial<BoardChips> = {};

  constructor(options: BoardOptions) {
    const { machine, boardVersion } = options.description;
    const plan = plans[machine][boardVersion - 1];
    if (plan === undefined)
      throw new TypeError(`there is no version ${String(boardVersion)} of the board ${machine}`);
    const { parts } = plan;
    for (const part of parts) makeChip({ board: this, parts, ...options }, part);
    const { lapics } = this.interrupts;
    for (const device of this.devices) if (!lapics.some((lapic) => lapic === device)) this.bus.attach(device);
    this.bus.attach(ownLocalApic(lapics, options.signals.currentCpu));
  }

  /** Takes a device that a maker made. */
  add<D extends Device>(device: D): D {
    this.devices.push(device);
    return device;
  }

  setChip<C extends keyof BoardChips>(name: C, chip: BoardChips[C]): void {
    this.#chips[name] = chip;
  }

  /** One that every plan has. */
  chip<C extends keyof BoardChips>(name: C): NonNullable<BoardChips[C]> {
    const chip = this.#chips[name];
    if (chip === undefined) throw new TypeError(`the board has no ${name}`);
    return chip;
  }

  get keyboardController(): I8042 | undefined {
    return this.#chips.keyboardController;
  }
  get vga(): VgaText | undefined {
    return this.#chips.vga;
  }
  /** The display of boards with graphics. */
  get graphics(): Vga | undefined {
    return this.#chips.graphics;
  }
  get tablet(): VirtioTablet | undefined {
    return this.#chips.tablet;
  }
  get ide(): PiixIde | undefined {
    return this.#chips.ide;
  }
  get floppy(): Fdc82077aa | undefined {
    return this.#chips.floppy;
  }
  /** Of the processor with that number. */
  lapic(cpu: number): LocalApic {
    return this.interrupts.lapic(cpu);
  }

  reset(): void {
    for (const device of this.devices) device.reset();
  }

  /** Devices in the order of restoring: the interrupt controllers last, since they hold the levels that the others drive meanwhile. */
  get restoreOrder(): Device[] {
    const { interrupts } = this;
    const controllers: Device[] = [interrupts.get('pic'), interrupts.get('ioApic'), ...interrupts.lapics];
    return [...this.devices.filter((device) => !controllers.includes(device)), ...controllers];
  }
}
