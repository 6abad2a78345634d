/** The wiring of a board's interrupts: ISA lines go to the 8259A pair and to the I/O APIC, messages of the APICs to the local APICs. */
import type { Line } from '../../devices/device.ts';
import type { IoApic } from '../../devices/interrupt/io-apic.ts';
import { DeliveryMode, type ApicBus, type LocalApic } from '../../devices/interrupt/lapic.ts';
import type { Pic8259A } from '../../devices/interrupt/pic-8259a.ts';

const timerIrq = 0;
/** ISA IRQ 0 is wired to input 2 of the I/O APIC (MP specification, and the MADT's override). */
const ioApicTimerPin = 2;

export interface InterruptControllers {
  pic: Pic8259A;
  ioApic: IoApic;
}

/** SDM Vol. 3A 11.6.2.4: the one that works at the lowest priority takes it; of several the first. */
function lowest(lapics: readonly LocalApic[]): LocalApic[] {
  const able = lapics.filter(({ takesVectors }) => takesVectors);
  const priority = Math.min(...able.map((lapic) => lapic.priority));
  return able.filter((lapic) => lapic.priority === priority).slice(0, 1);
}

export class InterruptWiring {
  /** The controllers are made with this wiring in hand, so they are put in one after the other. */
  readonly #controllers: Partial<InterruptControllers> = {};
  /** Of each processor, by its number. */
  readonly lapics: LocalApic[] = [];
  readonly #sharedLines = new Map<number, Map<string, boolean>>();

  set<C extends keyof InterruptControllers>(name: C, controller: InterruptControllers[C]): void {
    this.#controllers[name] = controller;
  }

  get<C extends keyof InterruptControllers>(name: C): InterruptControllers[C] {
    const controller = this.#controllers[name];
    if (controller === undefined) throw new TypeError(`the board has no ${name}`);
    return controller;
  }

  lapic(cpu: number): LocalApic {
    const lapic = this.lapics[cpu];
    if (lapic === undefined) throw new TypeError(`there is no processor ${String(cpu)}`);
    return lapic;
  }

  /** A source's own input to an ISA interrupt. Sources that share one are ORed. */
  isaLine(irq: number, source: string): Line {
    const levels = this.#sharedLines.get(irq) ?? new Map<string, boolean>();
    this.#sharedLines.set(irq, levels);
    return {
      set: (level) => {
        levels.set(source, level);
        const any = level || [...levels.values()].includes(true);
        this.get('pic').setLine(irq, any);
        this.get('ioApic').setPin(irq === timerIrq ? ioApicTimerPin : irq, any);
      },
    };
  }

  /** A write to the area of the local APICs is an interrupt: SDM Vol. 3A 11.11 "Message Signalled Interrupts". */
  message({ low, high }: { low: number; high: number }, data: number): void {
    const area = 0xfee0_0000;
    if (high !== 0 || low >>> 20 !== area >>> 20) return;
    const logical = (low & 4) !== 0;
    this.apicBus.send(
      {
        deliveryMode: (data >> 8) & 7,
        vector: data & 0xff,
        level: true,
        levelTriggered: (data & 0x8000) !== 0,
      },
      { id: (low >>> 12) & 0xff, logical },
    );
  }

  /** What carries messages between the I/O APIC and the local APICs. */
  readonly apicBus: ApicBus = {
    send: (message, destination) => {
      const matching = this.lapics.filter((lapic) => lapic.matches(destination));
      const chosen = message.deliveryMode === DeliveryMode.lowestPriority ? lowest(matching) : matching;
      for (const lapic of chosen) lapic.accept(message);
      return chosen.length > 0;
    },
    sendShorthand: (message, shorthand, sender) => {
      for (const lapic of this.lapics)
        if (shorthand === 'all' || (lapic === sender) === (shorthand === 'self')) lapic.accept(message);
    },
    endOfInterrupt: (vector) => {
      this.get('ioApic').endOfInterrupt(vector);
    },
  };
}
