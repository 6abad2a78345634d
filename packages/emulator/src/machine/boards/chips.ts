/** How each chip of a plan is made and wired. Whoever adds a chip adds its entry to `plan.ts` and its maker here. */
import { smbiosFiles } from '../../acpi/smbios.ts';
import { acpiFiles, acpiTables, type AcpiOptions } from '../../acpi/tables.ts';
import type { Line } from '../../devices/device.ts';
import { I8042 } from '../../devices/input/i8042.ts';
import { IoApic } from '../../devices/interrupt/io-apic.ts';
import { LocalApic } from '../../devices/interrupt/lapic.ts';
import { Pic8259A } from '../../devices/interrupt/pic-8259a.ts';
import { PciHost } from '../../devices/pci/pci-host.ts';
import { Uart16550A } from '../../devices/serial/uart-16550a.ts';
import { DebugConsole, DebugExit } from '../../devices/system/debug-ports.ts';
import { Dma8237 } from '../../devices/system/dma-8237.ts';
import { FwCfg, FwCfgItem, littleEndian } from '../../devices/system/fw-cfg.ts';
import { SystemControl } from '../../devices/system/system-control.ts';
import { AcpiPm } from '../../devices/timer/acpi-pm.ts';
import { Pit8254 } from '../../devices/timer/pit-8254.ts';
import { RtcMc146818 } from '../../devices/timer/rtc-mc146818.ts';
import { VgaText } from '../../devices/video/vga-text.ts';
import { addAhci } from './ahci-chips.ts';
import type { Board, BoardOptions } from './board.ts';
import { driveCmos, i440fxMakers } from './i440fx-chips.ts';
import { identityMakers } from './identity-chips.ts';
import type { BoardPart, ChipName, PartOf } from './plan.ts';
import { firmwareIrq, hasFirmware, partOf, virtioMakers } from './virtio-chips.ts';

/** What a maker has at hand. */
export interface Site extends BoardOptions {
  board: Board;
  parts: readonly BoardPart[];
}

/** CMOS bytes by which firmware and old kernels learn of memory and processors. */
function cmosBytes(memoryBytes: number, cpuCount: number): Record<number, number> {
  const kib = memoryBytes / 1024;
  const above1M = Math.min(Math.max(kib - 1024, 0), 0xffff);
  const above16M = Math.min(Math.max(Math.floor((kib - 16384) / 64), 0), 0xffff);
  return {
    0x14: 0x06, // equipment: FPU, mouse port
    0x15: 640 & 0xff,
    0x16: 640 >> 8,
    0x17: above1M & 0xff,
    0x18: above1M >> 8,
    0x30: above1M & 0xff,
    0x31: above1M >> 8,
    0x34: above16M & 0xff,
    0x35: above16M >> 8,
    0x3d: 0x12,
    0x5f: cpuCount - 1,
  };
}

function addLocalApics({ board, clock, signals }: Site): void {
  const { interrupts } = board;
  signals.cpus.forEach(({ intr, nmi, init, startUp, cr8, tscOffset }, cpuIndex) => {
    const lapic: LocalApic = new LocalApic({
      cpuIndex,
      clock,
      bus: interrupts.apicBus,
      intr,
      cr8,
      tscOffset,
      nmi,
      init: () => {
        init();
        lapic.initialize();
      },
      startup: startUp,
      externalVector: () => interrupts.get('pic').acknowledge(),
    });
    interrupts.lapics.push(board.add(lapic));
  });
}

function addPciHost(site: Site, { pirqRoutes }: PartOf<'pci-host'>): void {
  const { board, memory, signals } = site;
  const host = new PciHost({
    memoryAttributes: (pam) => {
      if (memory.setShadow(pam)) signals.mapChanged();
    },
    resetSystem: signals.reset,
    functions: board.cards,
    ...(hasFirmware(site) ? {} : { pirqRoutes }),
    routesChanged: (routes) => {
      board.pirqs.setRoutes(routes);
    },
  });
  board.add(host);
}

function addUarts({ board, description, clock, signals }: Site, { at }: PartOf<'uart-16550a'>): void {
  at.slice(0, description.serialPorts).forEach(({ basePort, irq }, port) => {
    const uart = new Uart16550A({
      name: `uart-16550a-${String(port)}`,
      basePort,
      irq: board.interrupts.isaLine(irq, `uart-${String(port)}`),
      clock,
      transmit: (byte) => {
        signals.output({ kind: 'serial', port, bytes: Uint8Array.of(byte) });
      },
    });
    board.uarts.push(board.add(uart));
  });
  board.consumers.serial = ({ port, bytes }) => board.uarts[port]?.receive(bytes) ?? 'no-device';
}

function addDebugPorts({ board, description, signals }: Site): void {
  for (const port of description.debugConsolePorts) {
    const transmit = (byte: number): void => {
      signals.output({ kind: 'debug', port, bytes: Uint8Array.of(byte) });
    };
    board.add(new DebugConsole({ port, transmit }));
  }
  if (description.debugExitPort !== null)
    board.add(new DebugExit({ port: description.debugExitPort, exit: signals.debugExit }));
}

/** Names of the tables' devices, and who interrupts where. */
function acpiOptions(site: Site): Omit<AcpiOptions, 'base'> {
  const hasVideo = partOf(site, 'vga-text') !== undefined || partOf(site, 'vga') !== undefined;
  return {
    cpuCount: site.signals.cpus.length,
    keyboard: partOf(site, 'i8042') !== undefined,
    vga: hasVideo,
    serialPorts: site.description.serialPorts,
    vmGenerationId: site.description.devices.includes('vmgenid'),
    pvpanic: site.description.devices.includes('pvpanic'),
    vmClock: site.description.devices.includes('vmclock'),
    pciInterrupts: [...site.board.cards.keys()].map((device) => ({
      device,
      input: firmwareIrq(site, device),
    })),
  };
}

/** What firmware learns. That of the first boards finds its way by the CMOS, and makes no tables. */
function addFwCfg(site: Site): void {
  const { board, description, memory, signals } = site;
  const isFull = partOf(site, 'i440fx-host') !== undefined;
  const e820 = new Uint8Array(20);
  e820.set(littleEndian(description.memoryBytes, 8), 8);
  e820[16] = 1;
  const fwCfg = new FwCfg({
    memory,
    items: new Map([
      [FwCfgItem.ramSize, littleEndian(description.memoryBytes, 8)],
      [FwCfgItem.cpuCount, littleEndian(signals.cpus.length, 2)],
      [FwCfgItem.maxCpus, littleEndian(signals.cpus.length, 2)],
    ]),
    files: new Map([
      ['etc/e820', e820],
      ...(isFull ? [...acpiFiles(acpiOptions(site)), ...smbiosFiles(description.memoryBytes)] : []),
    ]),
  });
  board.add(fwCfg);
}

function addAcpiTables(site: Site, base: number): void {
  site.board.setChip('acpi', acpiTables({ base, ...acpiOptions(site) }));
}

const makers: { [C in ChipName]: (site: Site, part: PartOf<C>) => void } = {
  'pic-8259a': ({ board }) => {
    const { interrupts } = board;
    const intr: Line = {
      set: (level) => {
        for (const lapic of interrupts.lapics) lapic.setLint0(level);
      },
    };
    interrupts.set('pic', board.add(new Pic8259A({ intr })));
  },
  lapic: addLocalApics,
  'io-apic': ({ board }) => {
    board.interrupts.set('ioApic', board.add(new IoApic({ bus: board.interrupts.apicBus })));
  },
  'pit-8254': ({ board, clock }, { irq }) => {
    board.add(new Pit8254({ irq: board.interrupts.isaLine(irq, 'pit'), clock }));
  },
  ...i440fxMakers,
  'rtc-mc146818': (site, { irq }) => {
    const { board, clock, description, signals } = site;
    const { epochNs, memoryBytes } = description;
    const line = board.interrupts.isaLine(irq, 'rtc');
    const drives = partOf(site, 'piix-ide') === undefined ? {} : driveCmos(site);
    const cmos = { ...cmosBytes(memoryBytes, signals.cpus.length), ...drives };
    const rtc = new RtcMc146818({ irq: line, clock, epochNs, cmos });
    board.add(rtc);
    board.consumers.wallClock = ({ epochNs: now }) => {
      rtc.setWallClock(now);
    };
  },
  'system-control': ({ board, signals }, { fpuIrq }) => {
    const control = new SystemControl({
      a20Changed: signals.a20,
      fpuIrq: board.interrupts.isaLine(fpuIrq, 'fpu'),
      resetSystem: signals.reset,
    });
    board.setChip('systemControl', board.add(control));
  },
  'uart-16550a': addUarts,
  'acpi-pm': ({ board, clock, signals }, { sciIrq, movable = false }) => {
    const sci = board.interrupts.isaLine(sciIrq, 'sci');
    const pm = board.add(new AcpiPm({ sci, clock, powerOff: () => signals.powerOff(), movable }));
    board.setChip('pm', pm);
    board.consumers.powerButton = () => {
      pm.pressPowerButton();
    };
  },
  'pci-host': addPciHost,
  ahci: addAhci,
  ...virtioMakers,
  ...identityMakers,
  'debug-ports': addDebugPorts,
  'dma-8237': ({ board, memory }, { forDevices = false }) => {
    board.setChip('dma', board.add(new Dma8237(forDevices ? memory : undefined)));
  },
  'vga-text': ({ board, clock }) => {
    board.setChip('vga', board.add(new VgaText({ clock })));
  },
  i8042: ({ board, signals }, { keyboardIrq, mouseIrq }) => {
    const controller = new I8042({
      keyboardIrq: board.interrupts.isaLine(keyboardIrq, 'keyboard'),
      mouseIrq: board.interrupts.isaLine(mouseIrq, 'mouse'),
      a20: board.chip('systemControl'),
      resetSystem: signals.reset,
    });
    board.setChip('keyboardController', board.add(controller));
    board.consumers.key = ({ code, pressed }) => {
      controller.key(code, pressed);
    };
    board.consumers.mouse = (move) => {
      controller.moveMouse(move);
    };
    board.rooms.key = () => controller.hasRoom('key');
    board.rooms.mouse = () => controller.hasRoom('mouse');
  },
  'acpi-tables': (site, { base }) => {
    addAcpiTables(site, base);
  },
  'fw-cfg': addFwCfg,
};

export function makeChip<C extends ChipName>(site: Site, part: PartOf<C>): void {
  const make = makers[part.chip] as (site: Site, part: PartOf<C>) => void;
  make(site, part);
}
