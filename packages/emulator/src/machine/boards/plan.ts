/**
 * A board as data: which chips a machine type has and where each of them sits. `chips.ts` makes each chip from its entry. The order of a
 * plan is part of what a guest can notice: timers that are due together fire in the order in which their chips were made.
 */

/** One entry of a plan. `irq` is always an ISA interrupt. */
export type BoardPart =
  | { chip: 'pic-8259a' }
  | { chip: 'lapic' }
  | { chip: 'io-apic' }
  | { chip: 'pit-8254'; irq: number }
  | { chip: 'rtc-mc146818'; irq: number }
  /** Ports 0x92 and 0xf0, and the coprocessor's error line. */
  | { chip: 'system-control'; fpuIrq: number }
  /** As many of these as the machine's description has serial ports. */
  | { chip: 'uart-16550a'; at: readonly { basePort: number; irq: number }[] }
  /** `movable`: its ports are where the power management function says. */
  | { chip: 'acpi-pm'; sciIrq: number; movable?: boolean }
  /** `pirqRoutes`: the ISA interrupts of PIRQ A to D as firmware would set them; used when there is no firmware to do so. */
  | { chip: 'pci-host'; pirqRoutes: readonly [number, number, number, number] }
  /** One card for each disk of the description, from device number `firstDevice` on. */
  | { chip: 'virtio-blk'; firstDevice: number }
  /** One card for each network card of the description. */
  | { chip: 'virtio-net'; firstDevice: number }
  /** A card of the description's `devices`, left out where it isn't asked for. `slot`: its base address, without firmware, in cards of 16 KiB behind the disks' and network's 16. */
  | {
      chip: 'virtio-rng' | 'virtio-console' | 'virtio-balloon' | 'virtio-tablet';
      device: number;
      slot: number;
    }
  /** In the description's `devices` too. */
  | { chip: 'pvpanic' }
  /** What tells a guest of a second life: `generation` with its two pages, and the events by which a guest learns of a change. */
  | { chip: 'acpi-gpe'; sciIrq: number }
  | { chip: 'generation'; basePort: number }
  /** The debug console and exit ports of the description. */
  | { chip: 'debug-ports' }
  /** `forDevices`: a device has a channel. */
  | { chip: 'dma-8237'; forDevices?: boolean }
  | { chip: 'pci-bus' }
  | { chip: 'i440fx-host'; device: number }
  /** `pirqRoutes` as with `pci-host`. */
  | { chip: 'piix3-isa'; device: number; pirqRoutes: readonly [number, number, number, number] }
  /** Drives as the description says. `busMaster`: where its ports are when there is no firmware to place them. */
  | { chip: 'piix-ide'; device: number; function: number; irqs: readonly [number, number]; busMaster: number }
  /** Behind `acpi-pm`, whose registers it places. */
  | { chip: 'piix4-pm'; device: number; function: number }
  /** Addresses as with `piix-ide`. */
  | { chip: 'vga'; device: number; frameBuffer: number; registers: number }
  | { chip: 'fdc-82077aa'; irq: number }
  /** Where the description has disks for it. `memory` as with `piix-ide`. */
  | { chip: 'ahci'; device: number; memory: number }
  | { chip: 'vga-text' }
  | { chip: 'i8042'; keyboardIrq: number; mouseIrq: number }
  /** Made when all others are there: the tables name them. `base` as in AcpiOptions. */
  | { chip: 'acpi-tables'; base: number }
  | { chip: 'fw-cfg' };

export type ChipName = BoardPart['chip'];
export type PartOf<C extends ChipName> = Extract<BoardPart, { chip: C }>;

export interface BoardPlan {
  parts: readonly BoardPart[];
}
