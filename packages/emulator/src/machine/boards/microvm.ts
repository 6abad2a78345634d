/** What boots a kernel directly with the fewest parts: virtio, serial ports, APIC and timers; no keyboard, no video. */
import type { BoardPart, BoardPlan } from './plan.ts';

/** ISA bus: the ports of COM1 to COM4. */
export const serialPorts = [
  { basePort: 0x3f8, irq: 4 },
  { basePort: 0x2f8, irq: 3 },
  { basePort: 0x3e8, irq: 4 },
  { basePort: 0x2e8, irq: 3 },
] as const;
/** The first port of what tells a guest that it lives a second life, and by which it ends with a status (`GenerationPort`). */
export const generationPort = 0x560;

/** What every board has. */
export const commonParts: readonly BoardPart[] = [
  { chip: 'pic-8259a' },
  { chip: 'lapic' },
  { chip: 'io-apic' },
  { chip: 'pit-8254', irq: 0 },
  { chip: 'rtc-mc146818', irq: 8 },
  { chip: 'system-control', fpuIrq: 13 },
  { chip: 'uart-16550a', at: serialPorts },
  { chip: 'acpi-pm', sciIrq: 9 },
  // 10 and 11 are the two that no ISA device has.
  { chip: 'pci-host', pirqRoutes: [10, 11, 10, 11] },
  // Device numbers 0 and 1 are the chipset's.
  { chip: 'virtio-blk', firstDevice: 2 },
  // Behind the device numbers of eight disks.
  { chip: 'virtio-net', firstDevice: 10 },
  { chip: 'virtio-rng', device: 18, slot: 16 },
  { chip: 'virtio-console', device: 19, slot: 17 },
  { chip: 'virtio-balloon', device: 20, slot: 18 },
  { chip: 'pvpanic' },
  { chip: 'acpi-gpe', sciIrq: 9 },
  { chip: 'generation', basePort: generationPort },
  { chip: 'debug-ports' },
];

/** What comes last, as it tells firmware and kernels of everything else. */
export const descriptiveParts: readonly BoardPart[] = [
  { chip: 'acpi-tables', base: 0xf_0000 },
  { chip: 'fw-cfg' },
];

export const microvm: BoardPlan = { parts: [...commonParts, ...descriptiveParts] };
