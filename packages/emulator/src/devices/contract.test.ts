import { AcpiPm } from './acpi-pm.ts';
import { DebugConsole, DebugExit, GenerationDevice } from './debug-ports.ts';
import type { Device } from './device.ts';
import { Dma8237 } from './dma-8237.ts';
import { FwCfg } from './fw-cfg.ts';
import { I8042 } from './i8042.ts';
import { IoApic } from './io-apic.ts';
import { LocalApic, type ApicBus } from './lapic.ts';
import { PciHost } from './pci-host.ts';
import { Pic8259A } from './pic-8259a.ts';
import { Pit8254 } from './pit-8254.ts';
import { RtcMc146818 } from './rtc-mc146818.ts';
import { SystemControl } from './system-control.ts';
import { FakeClock, FakeLine, deviceContract } from './testing/contract.ts';
import { Uart16550A } from './uart-16550a.ts';
import { VgaText } from './vga-text.ts';

const nothing = (): void => undefined;
const noBus: ApicBus = { send: () => true, sendShorthand: nothing, endOfInterrupt: nothing };
const memory = { read: (_: number, length: number) => new Uint8Array(length), write: nothing };
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

const irq = (): FakeLine => new FakeLine();
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
  generation: () => new GenerationDevice({ basePort: 0x560 }),
  'acpi-pm': (clock) => new AcpiPm({ sci: irq(), clock, powerOff: nothing }),
  'pci-host': () => new PciHost({ memoryAttributes: nothing, resetSystem: nothing }),
  'dma-8237': () => new Dma8237(),
  'system-control': () => new SystemControl({ a20Changed: nothing, fpuIrq: irq(), resetSystem: nothing }),
  'vga-text': (clock) => new VgaText({ clock }),
};

for (const [name, make] of Object.entries(devices))
  deviceContract(name, () => {
    const clock = new FakeClock();
    return { clock, device: make(clock) };
  });
