/** What holds for each device: the contract of `testing/contract.ts`, for all of them. */
import { AcpiGpe } from './system/acpi-gpe.ts';
import { VmClock, VmGenerationId } from './system/identity.ts';
import { Pvpanic } from './system/pvpanic.ts';
import { RandomSource } from './system/random-source.ts';
import { AcpiPm } from './timer/acpi-pm.ts';
import { DebugConsole, DebugExit, GenerationDevice } from './system/debug-ports.ts';
import type { AccessSize, Device, MmioRange } from './device.ts';
import { Ahci } from './ahci/ahci.ts';
import { Rtl8139 } from './network/rtl8139.ts';
import { E1000 } from './network/e1000.ts';
import type { NetworkCardOptions } from './network/network-card.ts';
import { Dma8237 } from './system/dma-8237.ts';
import { FwCfg } from './system/fw-cfg.ts';
import { I8042 } from './input/i8042.ts';
import { IoApic } from './interrupt/io-apic.ts';
import { LocalApic, type ApicBus } from './interrupt/lapic.ts';
import { Fdc82077aa } from './floppy/fdc-82077aa.ts';
import { PiixIde } from './ide/piix-ide.ts';
import { I440FxHost } from './pci/i440fx-host.ts';
import { PciBus } from './pci/pci-bus.ts';
import type { PciFunction } from './pci/pci-function.ts';
import { PciHost } from './pci/pci-host.ts';
import { Piix3Isa } from './pci/piix3-isa.ts';
import { Piix4Pm } from './pci/piix4-pm.ts';
import { Vga } from './video/vga.ts';
import { Pic8259A } from './interrupt/pic-8259a.ts';
import { Pit8254 } from './timer/pit-8254.ts';
import { RtcMc146818 } from './timer/rtc-mc146818.ts';
import { SystemControl } from './system/system-control.ts';
import { FakeClock, FakeLine, deviceContract } from './testing/contract.ts';
import { FakeDisk } from './testing/virtio-driver.ts';
import { Uart16550A } from './serial/uart-16550a.ts';
import { VgaText } from './video/vga-text.ts';
import { VirtioBalloon } from './virtio/virtio-balloon.ts';
import { VirtioBlk } from './virtio/virtio-blk.ts';
import { VirtioConsole } from './virtio/virtio-console.ts';
import { VirtioNet } from './virtio/virtio-net.ts';
import type { VirtioCardOptions, VirtioPciDevice } from './virtio/virtio-pci.ts';
import { VirtioTablet } from './virtio/virtio-tablet.ts';
import { VirtioRng } from './virtio/virtio-rng.ts';

const nothing = (): void => undefined;
const noBus: ApicBus = { send: () => true, sendShorthand: nothing, endOfInterrupt: nothing };
const memory = {
  read: (_: number, length: number) => new Uint8Array(length),
  readInto: nothing,
  write: nothing,
};
/** A20 and CR8 are others' state: constant here. */
const a20 = { enabled: true, set: nothing };

function localApic(clock: FakeClock): LocalApic {
  return new LocalApic({
    cpuIndex: 0,
    clock,
    bus: noBus,
    intr: new FakeLine(),
    cr8: { get: () => 0, set: nothing },
    tscOffset: () => 0n,
    nmi: nothing,
    init: nothing,
    startup: nothing,
    externalVector: () => 0x20,
  });
}

/** A card with its configuration space at ports and its BAR in memory, so that the suite reaches both. */
function card(pci: VirtioPciDevice): Device {
  const inWord = (port: number, size: AccessSize): boolean => (port & 3) + size <= 4;
  return {
    name: pci.name,
    version: pci.version,
    ports: [{ first: 0x1000, last: 0x10ff, width: 4 }],
    mmio: [
      { base: 0xe000_0000, length: 0x40, width: 4 },
      { base: 0xe000_0800, length: 0x30, width: 4 },
      { base: 0xe000_0c00, length: 8, width: 4 },
      { base: 0xe000_1000, length: 4, width: 4 },
      { base: 0xe000_2000, length: 0x40, width: 4 },
      { base: 0xe000_3000, length: 4, width: 4 },
    ],
    readPort: (port, size) => (inWord(port, size) ? pci.readConfiguration(port & 0xff, size) : 0),
    writePort: (port, size, value) => {
      if (inWord(port, size)) pci.writeConfiguration(port & 0xff, size, value);
    },
    readMemory: (offset, size, { base }) => pci.readBar(base - 0xe000_0000 + offset, size),
    writeMemory: (offset, size, value, { base }) => {
      pci.writeBar(base - 0xe000_0000 + offset, size, value);
    },
    reset: () => {
      pci.reset();
    },
    save: () => pci.save(),
    restore: (state, version) => {
      pci.restore(state, version);
    },
  };
}

const irq = (): FakeLine => new FakeLine();

const randomCard = (clock: FakeClock, more: Pick<VirtioCardOptions, 'messages'> = {}): VirtioRng =>
  new VirtioRng({
    name: 'virtio-rng',
    draw: (bytes) => new Uint8Array(bytes),
    memory,
    clock,
    irq: irq(),
    ...more,
  });
/** Of network cards. */
const cardOptions = (clock: FakeClock): Omit<NetworkCardOptions, 'firmware'> => ({
  name: 'card-0',
  mac: new Uint8Array(6),
  mtu: 1500,
  transmit: nothing,
  memory,
  clock,
  irq: irq(),
});

/** A part of the chipset with its configuration space at ports of its own beside the device's. */
function withConfiguration(device: Device & PciFunction, bar?: readonly MmioRange[]): Device {
  const at = { first: 0x1000, last: 0x10ff, width: 4 as const };
  const inSpace = (port: number): boolean => port >= at.first && port <= at.last;
  const inWord = (port: number, size: AccessSize): boolean => (port & 3) + size <= 4;
  return {
    name: device.name,
    version: device.version,
    ports: [at, ...(device.ports ?? [])],
    mmio: bar ?? device.mmio ?? [],
    readPort: (port, size) => {
      if (!inSpace(port)) return device.readPort?.(port, size) ?? 0;
      return inWord(port, size) ? device.readConfiguration(port & 0xff, size) : 0;
    },
    writePort: (port, size, value) => {
      if (!inSpace(port)) device.writePort?.(port, size, value);
      else if (inWord(port, size)) device.writeConfiguration(port & 0xff, size, value);
    },
    readMemory: (offset, size, range) =>
      bar === undefined
        ? (device.readMemory?.(offset, size, range) ?? 0)
        : device.readBar((range.base & 0xf_ffff) + offset, size),
    writeMemory: (offset, size, value, range) => {
      if (bar === undefined) device.writeMemory?.(offset, size, value, range);
      else device.writeBar((range.base & 0xf_ffff) + offset, size, value);
    },
    reset: () => {
      device.reset();
    },
    save: () => device.save(),
    restore: (state, version) => {
      device.restore(state, version);
    },
  };
}

function ide(clock: FakeClock): Device {
  const drives = [
    { kind: 'disk', identity: { model: 'DISK', serial: '1' }, media: [new FakeDisk(0x10_0000)] },
    undefined,
    { kind: 'cd', identity: { model: 'CD', serial: '2' }, media: [new FakeDisk(0x10_0000, true)] },
  ] as const;
  return withConfiguration(
    new PiixIde({ drives, clock, memory, irqs: [irq(), irq()], firmwareBase: 0xc000 }),
  );
}

function vga(clock: FakeClock): Device {
  const video = new Uint8Array(0x10_0000);
  const part = new Vga({
    clock,
    video: { memory: () => video, changed: nothing, map: nothing },
    rom: () => new Uint8Array(16),
  });
  const device = withConfiguration(part);
  // Video memory is a space of the machine and no part of the state: what is read back is left out here.
  return { ...device, mmio: [], reset: device.reset, save: device.save, restore: device.restore };
}

const devices: Record<string, (clock: FakeClock) => Device> = {
  'pic-8259a': () => new Pic8259A({ intr: irq() }),
  'pit-8254': (clock) => new Pit8254({ irq: irq(), clock }),
  'rtc-mc146818': (clock) => new RtcMc146818({ irq: irq(), clock, epochNs: 1_700_000_000_123_456_789n }),
  'uart-16550a': (clock) =>
    new Uart16550A({ name: 'uart-16550a-0', basePort: 0x3f8, irq: irq(), clock, transmit: nothing }),
  i8042: () => new I8042({ keyboardIrq: irq(), mouseIrq: irq(), a20, resetSystem: nothing }),
  lapic: (clock) => localApic(clock),
  'io-apic': () => new IoApic({ bus: noBus }),
  'fw-cfg': () => new FwCfg({ memory, items: new Map(), files: new Map([['etc/e820', new Uint8Array(20)]]) }),
  'debug-console': () => new DebugConsole({ port: 0xe9, transmit: nothing }),
  'debug-exit': () => new DebugExit({ port: 0xf4, exit: nothing }),
  generation: () => new GenerationDevice({ basePort: 0x560, powerOff: nothing }),
  'acpi-pm': (clock) => new AcpiPm({ sci: irq(), clock, powerOff: nothing }),
  'pci-host': () => new PciHost({ memoryAttributes: nothing, resetSystem: nothing }),
  'pci-bus': () => new PciBus({ resetSystem: nothing, functions: new Map() }),
  'i440fx-host': () => withConfiguration(new I440FxHost({ memoryAttributes: nothing })),
  'piix3-isa': () => withConfiguration(new Piix3Isa({ routesChanged: nothing })),
  'piix4-pm': () => withConfiguration(new Piix4Pm({ registers: { read: () => 0, write: nothing } })),
  'piix-ide': (clock) => ide(clock),
  'fdc-82077aa': (clock) =>
    new Fdc82077aa({
      drives: [{ media: [new FakeDisk(1440 * 1024)] }],
      clock,
      irq: irq(),
      dma: {
        toMemory: (_, data) => ({ moved: data.length, terminal: false }),
        fromMemory: (_, length) => ({ data: new Uint8Array(length), terminal: true }),
      },
    }),
  vga: (clock) => vga(clock),
  'dma-8237': () => new Dma8237(),
  'system-control': () => new SystemControl({ a20Changed: nothing, fpuIrq: irq(), resetSystem: nothing }),
  'virtio-blk': (clock) =>
    card(
      new VirtioBlk({
        name: 'virtio-blk-0',
        identity: 'disk0',
        backend: new FakeDisk(4096),
        memory,
        clock,
        irq: irq(),
      }),
    ),
  'virtio-net': (clock) => card(new VirtioNet(cardOptions(clock))),
  'virtio-rng': (clock) => card(randomCard(clock)),
  'virtio-rng with MSI-X': (clock) => card(randomCard(clock, { messages: nothing })),
  'virtio-console': (clock) =>
    card(
      new VirtioConsole({
        name: 'virtio-console',
        transmit: nothing,
        channelName: 'x',
        memory,
        clock,
        irq: irq(),
      }),
    ),
  'virtio-balloon': (clock) =>
    card(new VirtioBalloon({ name: 'virtio-balloon', memoryPages: 256, memory, clock, irq: irq() })),
  'virtio-tablet': (clock) => card(new VirtioTablet({ name: 'virtio-tablet', memory, clock, irq: irq() })),
  pvpanic: () => new Pvpanic({ report: nothing }),
  e1000: (clock) =>
    withConfiguration(
      new E1000({
        ...cardOptions(clock),
        firmware: { memory: 0xe010_0000, ports: 0xc040, interruptLine: 11 },
      }),
      [
        { base: 0xe010_0000, length: 0x200, width: 4 },
        { base: 0xe010_0400, length: 4, width: 4 },
        { base: 0xe010_2800, length: 0x40, width: 4 },
        { base: 0xe010_3800, length: 0x40, width: 4 },
        { base: 0xe010_5200, length: 0x240, width: 4 },
      ],
    ),
  ahci: (clock) =>
    withConfiguration(
      new Ahci({
        disks: [0, 1].map(() => ({ disk: new FakeDisk(0x1_0000), identity: { model: 'DISK', serial: '1' } })),
        memory,
        clock,
        irq: irq(),
        firmware: { memory: 0xe020_0000, interruptLine: 11 },
      }),
      [{ base: 0xe020_0000, length: 0x200, width: 4 }],
    ),
  rtl8139: (clock) =>
    withConfiguration(
      new Rtl8139({
        ...cardOptions(clock),
        firmware: { memory: 0xe020_0000, ports: 0xc400, interruptLine: 11 },
      }),
      [{ base: 0xe020_0000, length: 0x100, width: 4 }],
    ),
  'random-source': () => new RandomSource({ seed: 1n }),
  'acpi-gpe': () => new AcpiGpe({ sci: irq() }),
  vmgenid: () => new VmGenerationId(),
  vmclock: () => new VmClock(),
  'vga-text': (clock) => new VgaText({ clock }),
};

for (const [name, make] of Object.entries(devices))
  deviceContract(name, () => {
    const clock = new FakeClock();
    return { clock, device: make(clock) };
  });
