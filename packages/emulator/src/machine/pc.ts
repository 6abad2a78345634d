/** The board: which devices a machine type has, at which addresses, and how their lines are wired. */
import { acpiTables, type AcpiTables } from '../acpi/tables.ts';
import { AcpiPm } from '../devices/timer/acpi-pm.ts';
import { Bus } from '../devices/bus.ts';
import { DebugConsole, DebugExit, GenerationDevice } from '../devices/system/debug-ports.ts';
import type { Clock, Device, Line } from '../devices/device.ts';
import { Dma8237 } from '../devices/system/dma-8237.ts';
import { FwCfg, FwCfgItem, littleEndian } from '../devices/system/fw-cfg.ts';
import { I8042 } from '../devices/input/i8042.ts';
import { IoApic } from '../devices/interrupt/io-apic.ts';
import { LocalApic, type ApicBus } from '../devices/interrupt/lapic.ts';
import type { PciFirmware, PciFunction } from '../devices/pci/pci-function.ts';
import { PciHost, pciWindow } from '../devices/pci/pci-host.ts';
import { Pic8259A } from '../devices/interrupt/pic-8259a.ts';
import { PirqRouter } from '../devices/pci/pirq-router.ts';
import { Pit8254 } from '../devices/timer/pit-8254.ts';
import { RtcMc146818 } from '../devices/timer/rtc-mc146818.ts';
import { SystemControl } from '../devices/system/system-control.ts';
import { Uart16550A } from '../devices/serial/uart-16550a.ts';
import { VgaText } from '../devices/video/vga-text.ts';
import { VirtioBlk } from '../devices/virtio/virtio-blk.ts';
import type { MachineDescription } from './description.ts';
import type { DiskBacking, DiskSpace } from './disk-space.ts';
import type { MemoryMap } from './memory-map.ts';

/** Where the guest's output goes. All are optional; what nobody takes is dropped. */
export interface MachineBackends {
  serial?: (port: number, byte: number) => void;
  debugConsole?: (port: number, byte: number) => void;
  /** Where the base images of disks come from, by the disks' names. */
  disks?: Readonly<Record<string, DiskBacking>>;
}

/** What the board asks of the processor and the machine. */
export interface BoardSignals {
  intr: Line;
  nmi: () => void;
  reset: () => void;
  powerOff: () => void;
  debugExit: (status: number) => void;
  /** The address map changed: TLBs are stale. */
  mapChanged: () => void;
  a20: (enabled: boolean) => void;
  cr8: { get(): number; set(value: number): void };
  tscOffset: () => bigint;
}

export interface BoardOptions {
  description: MachineDescription;
  clock: Clock;
  memory: MemoryMap;
  backends: MachineBackends;
  disks: readonly DiskSpace[];
  signals: BoardSignals;
}

const serialPorts = [
  { basePort: 0x3f8, irq: 4 },
  { basePort: 0x2f8, irq: 3 },
  { basePort: 0x3e8, irq: 4 },
  { basePort: 0x2e8, irq: 3 },
] as const;
const Irq = { timer: 0, keyboard: 1, rtc: 8, sci: 9, mouse: 12, fpu: 13 } as const;
/** ISA IRQ 0 is wired to input 2 of the I/O APIC (MP specification, and the MADT's override). */
const ioApicTimerPin = 2;
/** Device numbers 0 and 1 are the chipset's. */
const firstCard = 2;
const cardBarBytes = 0x4000;
/** ISA interrupts of PIRQ A to D as firmware would set them: the two that no ISA device has. */
const pirqRoutes = [10, 11, 10, 11] as const;
const acpiBase = 0xf_0000;
export const generationPort = 0x560;

/** CMOS bytes by which firmware and old kernels learn the memory size. */
function cmosBytes(memoryBytes: number): Record<number, number> {
  const kib = memoryBytes / 1024;
  const above1M = Math.min(Math.max(kib - 1024, 0), 0xffff);
  const above16M = Math.min(Math.max(Math.floor((kib - 16384) / 64), 0), 0xffff);
  return {
    0x14: 0x06, // equipment: FPU, mouse port
    0x15: 640 & 0xff, 0x16: 640 >> 8, 0x17: above1M & 0xff, 0x18: above1M >> 8, 0x30: above1M & 0xff, 0x31: above1M >> 8,
    0x34: above16M & 0xff, 0x35: above16M >> 8, 0x3d: 0x12, 0x5f: 0,
  }; // prettier-ignore
}

function firmwareIrq(device: number): number {
  return pirqRoutes[PirqRouter.pirqOf(device)] ?? 0;
}

export class Board {
  readonly bus = new Bus();
  readonly devices: Device[] = [];
  readonly pic: Pic8259A;
  readonly lapic: LocalApic;
  readonly ioApic: IoApic;
  readonly rtc: RtcMc146818;
  readonly uarts: readonly Uart16550A[];
  readonly pm: AcpiPm;
  readonly systemControl: SystemControl;
  readonly generation: GenerationDevice;
  readonly keyboardController: I8042 | undefined;
  readonly vga: VgaText | undefined;
  readonly acpi: AcpiTables;
  readonly #pirqs = new PirqRouter((irq, source) => this.#isaLine(irq, source));
  readonly #cards = new Map<number, PciFunction>();
  readonly #sharedLines = new Map<number, { levels: Map<string, boolean> }>();

  constructor(options: BoardOptions) {
    const { description, clock, memory, signals } = options;
    const isPc = description.machine === 'pc';
    const apicBus = this.#apicBus();
    this.pic = this.#add(
      new Pic8259A({ intr: { set: (level) => { this.lapic.setLint0(level); } } }), // prettier-ignore
    );
    this.lapic = this.#add(
      new LocalApic({
        cpuIndex: 0,
        clock,
        bus: apicBus,
        intr: signals.intr,
        cr8: signals.cr8,
        tscOffset: signals.tscOffset,
        nmi: signals.nmi,
        init: signals.reset,
        startup: () => undefined, // the boot processor runs already
        externalVector: () => this.pic.acknowledge(),
      }),
    );
    this.ioApic = this.#add(new IoApic({ bus: apicBus }));
    this.#add(new Pit8254({ irq: this.#isaLine(Irq.timer, 'pit'), clock }));
    this.rtc = this.#add(
      new RtcMc146818({
        irq: this.#isaLine(Irq.rtc, 'rtc'),
        clock,
        epochNs: description.epochNs,
        cmos: cmosBytes(description.memoryBytes),
      }),
    );
    this.systemControl = this.#add(
      new SystemControl({
        a20Changed: signals.a20,
        fpuIrq: this.#isaLine(Irq.fpu, 'fpu'),
        resetSystem: signals.reset,
      }),
    );
    this.uarts = this.#addUarts(options);
    this.pm = this.#add(
      new AcpiPm({ sci: this.#isaLine(Irq.sci, 'sci'), clock, powerOff: signals.powerOff }),
    );
    this.#addPci(options);
    this.generation = this.#add(new GenerationDevice({ basePort: generationPort }));
    this.#addDebugPorts(options);
    if (isPc) this.#add(new Dma8237());
    this.vga = isPc ? this.#add(new VgaText({ clock })) : undefined;
    this.keyboardController = isPc ? this.#add(this.#makeKeyboardController(signals)) : undefined;
    this.acpi = acpiTables({
      base: acpiBase,
      cpuCount: 1,
      keyboard: isPc,
      vga: isPc,
      serialPorts: description.serialPorts,
      pciInterrupts: [...this.#cards.keys()].map((device) => ({ device, input: firmwareIrq(device) })),
    });
    this.#add(this.#makeFwCfg(description, memory));
    for (const device of this.devices) this.bus.attach(device);
  }

  #add<D extends Device>(device: D): D {
    this.devices.push(device);
    return device;
  }

  #makeKeyboardController(signals: BoardSignals): I8042 {
    return new I8042({
      keyboardIrq: this.#isaLine(Irq.keyboard, 'keyboard'),
      mouseIrq: this.#isaLine(Irq.mouse, 'mouse'),
      a20: this.systemControl,
      resetSystem: signals.reset,
    });
  }

  /** An ISA interrupt goes to the 8259A pair and to the I/O APIC. Devices that share one are ORed. */
  #isaLine(irq: number, source: string): Line {
    const shared = this.#sharedLines.get(irq) ?? { levels: new Map<string, boolean>() };
    this.#sharedLines.set(irq, shared);
    return {
      set: (level) => {
        shared.levels.set(source, level);
        const any = level || [...shared.levels.values()].includes(true);
        this.pic.setLine(irq, any);
        this.ioApic.setPin(irq === Irq.timer ? ioApicTimerPin : irq, any);
      },
    };
  }

  #apicBus(): ApicBus {
    return {
      send: (message, destination) => {
        if (!this.lapic.matches(destination)) return false;
        this.lapic.accept(message);
        return true;
      },
      sendShorthand: (message, shorthand) => {
        if (shorthand !== 'others') this.lapic.accept(message);
      },
      endOfInterrupt: (vector) => {
        this.ioApic.endOfInterrupt(vector);
      },
    };
  }

  #addPci(options: BoardOptions): void {
    const { description, memory, signals, disks } = options;
    this.#add(
      new PciHost({
        memoryAttributes: (pam) => {
          if (memory.setShadow(pam)) signals.mapChanged();
        },
        resetSystem: signals.reset,
        functions: this.#cards,
        ...(description.romBytes === 0 ? { pirqRoutes } : {}),
        routesChanged: (routes) => {
          this.#pirqs.setRoutes(routes);
        },
      }),
    );
    disks.forEach((disk, n) => {
      this.#cards.set(firstCard + n, this.#addDisk(disk, firstCard + n, options));
    });
  }

  #addDisk(disk: DiskSpace, device: number, { description, clock, memory }: BoardOptions): VirtioBlk {
    const firmware: PciFirmware | undefined =
      description.romBytes === 0
        ? {
            barAddress: pciWindow.base + (device - firstCard) * cardBarBytes,
            interruptLine: firmwareIrq(device),
          }
        : undefined;
    const name = `virtio-blk-${String(device - firstCard)}`;
    const irq = this.#pirqs.line(device, name);
    return this.#add(
      new VirtioBlk({ name, identity: disk.name, backend: disk, memory, clock, irq, firmware }),
    );
  }

  #addUarts({ description, clock, backends }: BoardOptions): Uart16550A[] {
    return serialPorts.slice(0, description.serialPorts).map(({ basePort, irq }, port) =>
      this.#add(
        new Uart16550A({
          name: `uart-16550a-${String(port)}`,
          basePort,
          irq: this.#isaLine(irq, `uart-${String(port)}`),
          clock,
          transmit: (byte) => backends.serial?.(port, byte),
        }),
      ),
    );
  }

  #addDebugPorts({ description, backends, signals }: BoardOptions): void {
    for (const port of description.debugConsolePorts)
      this.#add(new DebugConsole({ port, transmit: (byte) => backends.debugConsole?.(port, byte) }));
    if (description.debugExitPort !== null)
      this.#add(new DebugExit({ port: description.debugExitPort, exit: signals.debugExit }));
  }

  #makeFwCfg(description: MachineDescription, memory: MemoryMap): FwCfg {
    const e820 = new Uint8Array(20);
    e820.set(littleEndian(description.memoryBytes, 8), 8);
    e820[16] = 1;
    return new FwCfg({
      memory,
      items: new Map([
        [FwCfgItem.ramSize, littleEndian(description.memoryBytes, 8)],
        [FwCfgItem.cpuCount, littleEndian(1, 2)],
        [FwCfgItem.maxCpus, littleEndian(1, 2)],
      ]),
      files: new Map([['etc/e820', e820]]),
    });
  }

  reset(): void {
    for (const device of this.devices) device.reset();
  }

  /** Devices in the order of restoring: the interrupt controllers last, since they hold the levels that the others drive meanwhile. */
  get restoreOrder(): Device[] {
    const controllers: Device[] = [this.pic, this.ioApic, this.lapic];
    return [...this.devices.filter((device) => !controllers.includes(device)), ...controllers];
  }
}
