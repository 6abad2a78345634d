/** The PIIX3's PCI interrupt steering: PIRQ#[A:D] to ISA interrupts (82371SB, order number 290550, section 2.2.7). */
import type { Line } from '../device.ts';

export const pirqCount = 4;

export class PirqRouter {
  readonly #isaLine: (irq: number, source: string) => Line;
  readonly #sources = new Map<string, { pirq: number; level: boolean }>();
  #routes: readonly number[] = [];

  /** `isaLine` gives a device's own input to an ISA interrupt; inputs of several devices are ORed there. */
  constructor(isaLine: (irq: number, source: string) => Line) {
    this.#isaLine = isaLine;
  }

  /** PIRQ that INTA# of a device number is wired to: the usual rotation, with device 1 on A. */
  static pirqOf(device: number): number {
    return (device - 1) % pirqCount;
  }

  line(device: number, source: string): Line {
    const state = { pirq: PirqRouter.pirqOf(device), level: false };
    this.#sources.set(source, state);
    return {
      set: (level) => {
        state.level = level;
        this.#drive(state.pirq, source, level);
      },
    };
  }

  #drive(pirq: number, source: string, level: boolean): void {
    const irq = this.#routes[pirq] ?? 0;
    if (irq !== 0) this.#isaLine(irq, source).set(level);
  }

  /** New ISA interrupts of PIRQ A to D (0: off); what is asserted moves over. */
  setRoutes(routes: readonly number[]): void {
    for (const [source, { pirq }] of this.#sources)
      if (routes[pirq] !== this.#routes[pirq]) this.#drive(pirq, source, false);
    this.#routes = routes;
    for (const [source, { pirq, level }] of this.#sources) this.#drive(pirq, source, level);
  }
}
