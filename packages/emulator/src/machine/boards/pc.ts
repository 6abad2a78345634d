/** A PC with the i440FX chipset: the parts of every board, with keyboard, mouse, video and DMA. */
import { commonParts, descriptiveParts, serialPorts, generationPort } from './microvm.ts';
import type { BoardPlan } from './plan.ts';

/** Version 1, which old checkpoints were made with: a text display, and the chipset in one piece. */
export const pc1: BoardPlan = {
  parts: [
    ...commonParts,
    { chip: 'dma-8237' },
    { chip: 'vga-text' },
    { chip: 'i8042', keyboardIrq: 1, mouseIrq: 12 },
    ...descriptiveParts,
  ],
};

/**
 * Version 2: the chipset as it is on PCI bus 0, each part a function of its own.
 *
 *   0.0 host bridge · 1.0 ISA bridge · 1.1 IDE · 1.3 power management · 2.0 VGA · 3.0 and up virtio cards
 */
export const pc2: BoardPlan = {
  parts: [
    { chip: 'pic-8259a' },
    { chip: 'lapic' },
    { chip: 'io-apic' },
    { chip: 'pit-8254', irq: 0 },
    { chip: 'rtc-mc146818', irq: 8 },
    { chip: 'system-control', fpuIrq: 13 },
    { chip: 'uart-16550a', at: serialPorts },
    { chip: 'acpi-pm', sciIrq: 9, movable: true },
    { chip: 'dma-8237', forDevices: true },
    { chip: 'pci-bus' },
    { chip: 'i440fx-host', device: 0 },
    // As SeaBIOS routes them. The ACPI tables say the same, whoever did it.
    { chip: 'piix3-isa', device: 1, pirqRoutes: [10, 10, 11, 11] },
    { chip: 'piix-ide', device: 1, function: 1, irqs: [14, 15], busMaster: 0xc000 },
    { chip: 'piix4-pm', device: 1, function: 3 },
    { chip: 'vga', device: 2, frameBuffer: 0xf000_0000, registers: 0xf100_0000 },
    { chip: 'fdc-82077aa', irq: 6 },
    { chip: 'virtio-blk', firstDevice: 3 },
    // Behind the device numbers of eight disks.
    { chip: 'virtio-net', firstDevice: 11 },
    { chip: 'virtio-rng', device: 19, slot: 16 },
    { chip: 'virtio-console', device: 20, slot: 17 },
    { chip: 'virtio-balloon', device: 21, slot: 18 },
    { chip: 'virtio-tablet', device: 23, slot: 19 },
    { chip: 'pvpanic' },
    { chip: 'ahci', device: 22, memory: 0xe020_0000 },
    { chip: 'acpi-gpe', sciIrq: 9 },
    { chip: 'generation', basePort: generationPort },
    { chip: 'debug-ports' },
    { chip: 'i8042', keyboardIrq: 1, mouseIrq: 12 },
    ...descriptiveParts,
  ],
};
