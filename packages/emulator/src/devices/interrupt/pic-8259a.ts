/**
 * Two Intel 8259A programmable interrupt controllers, cascaded on IR2, with the ELCR of the PIIX3.
 * Datasheets: 8259A (order number 231468), "Operation"; 82371SB (PIIX3) section 2.6.4 for the ELCR.
 *
 * Deviation: a request in edge mode stays latched until it is acknowledged even when its line falls before; the chip would answer
 * with a spurious IR7.
 */
import { StatefulDevice, type AccessSize, type Line } from '../device.ts';
import { bool, defineState, record, tuple, u8, type Infer } from '../schema.ts';

const Port = {
  masterCommand: 0x20,
  masterData: 0x21,
  slaveCommand: 0xa0,
  slaveData: 0xa1,
  elcr1: 0x4d0,
  elcr2: 0x4d1,
} as const;
const Icw1 = { icw4: 0x01, single: 0x02, levelTriggered: 0x08, icw1: 0x10 } as const;
const Icw4 = { autoEoi: 0x02, specialFullyNested: 0x10 } as const;
const Ocw3 = {
  readRegister: 0x02,
  readIsr: 0x01,
  poll: 0x04,
  enableSpecialMask: 0x40,
  specialMask: 0x20,
  ocw3: 0x08,
} as const;
const cascadeLine = 2;
const spuriousLine = 7;
/** Lines that the ELCR can't make level-sensitive: timer, keyboard, cascade; RTC and FPU. */
const elcrMasks = [0xf8, 0xde] as const;

const chip = record({
  lines: u8,
  irr: u8,
  isr: u8,
  imr: u8,
  elcr: u8,
  vectorBase: u8,
  /** Initialisation word expected next: 2, 3, 4 or 0. */
  initStep: u8,
  needIcw4: bool,
  single: bool,
  levelTriggered: bool,
  autoEoi: bool,
  rotateOnAutoEoi: bool,
  specialFullyNested: bool,
  specialMask: bool,
  readIsr: bool,
  poll: bool,
  /** Line with the lowest priority; the one above it is served first. */
  lowestPriority: u8,
});
type Chip = Infer<typeof chip>;
const schema = record({ chips: tuple(chip, 2) });
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'pic-8259a', version: 1, schema });

function powerOnChip(): Chip {
  return {
    lines: 0,
    irr: 0,
    isr: 0,
    imr: 0,
    elcr: 0,
    vectorBase: 0,
    initStep: 0,
    needIcw4: false,
    single: false,
    levelTriggered: false,
    autoEoi: false,
    rotateOnAutoEoi: false,
    specialFullyNested: false,
    specialMask: false,
    readIsr: false,
    poll: false,
    lowestPriority: 7,
  };
}

/** 0 = served first; 8 when `bits` is empty. */
function highestPriority(c: Chip, bits: number): number {
  for (let p = 0; p < 8; p++) if (bits & (1 << ((c.lowestPriority + 1 + p) & 7))) return p;
  return 8;
}

export class Pic8259A extends StatefulDevice<State> {
  readonly name = 'pic-8259a';
  readonly ports = [
    { first: Port.masterCommand, last: Port.masterData },
    { first: Port.slaveCommand, last: Port.slaveData },
    { first: Port.elcr1, last: Port.elcr2 },
  ];
  readonly #intr: Line;

  /** `intr` is the INT output of the master. */
  constructor(options: { intr: Line }) {
    super(definition, () => ({ chips: [powerOnChip(), powerOnChip()] }));
    this.#intr = options.intr;
  }

  get #master(): Chip {
    return this.state.chips[0] as Chip;
  }
  get #slave(): Chip {
    return this.state.chips[1] as Chip;
  }

  /** Line 0-15; 2 is the cascade and can't be driven. */
  setLine(irq: number, level: boolean): void {
    if (irq === cascadeLine) return;
    this.#setChipLine(irq < 8 ? this.#master : this.#slave, irq & 7, level);
    this.#update();
  }

  #setChipLine(c: Chip, n: number, level: boolean): void {
    const bit = 1 << n;
    const isLevel = c.levelTriggered || (c.elcr & bit) !== 0;
    if (isLevel) c.irr = level ? c.irr | bit : c.irr & ~bit;
    else if (level && !(c.lines & bit)) c.irr |= bit;
    c.lines = level ? c.lines | bit : c.lines & ~bit;
  }

  /** The line that would be served now, or -1. */
  #pending(c: Chip): number {
    const requests = c.irr & ~c.imr;
    const request = highestPriority(c, requests);
    if (request === 8) return -1;
    let inService = c.specialMask ? c.isr & ~c.imr : c.isr;
    // Special fully nested mode: the slave in service does not block a higher request of the same slave.
    if (c.specialFullyNested && c === this.#master) inService &= ~(1 << cascadeLine);
    if (request >= highestPriority(c, inService) && !(c.specialMask && inService === 0)) return -1;
    return (c.lowestPriority + 1 + request) & 7;
  }

  #update(): void {
    const slavePending = this.#pending(this.#slave) >= 0;
    const master = this.#master;
    const bit = 1 << cascadeLine;
    // The cascade input behaves as level-sensitive: it drops when the slave has nothing to say.
    master.irr = slavePending ? master.irr | bit : master.irr & ~bit;
    this.#intr.set(this.#pending(master) >= 0);
  }

  /** Two INTA cycles: returns the vector (a spurious IR7 when the request has gone). */
  acknowledge(): number {
    const n = this.#accept(this.#master);
    let vector = this.#master.vectorBase + n;
    if (n === cascadeLine) vector = this.#slave.vectorBase + this.#accept(this.#slave);
    this.#update();
    return vector & 0xff;
  }

  #accept(c: Chip): number {
    const n = this.#pending(c);
    if (n < 0) return spuriousLine;
    const bit = 1 << n;
    if (!(c.levelTriggered || c.elcr & bit)) c.irr &= ~bit;
    if (!c.autoEoi) c.isr |= bit;
    else if (c.rotateOnAutoEoi) c.lowestPriority = n;
    return n;
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === Port.elcr1) return this.#master.elcr;
    if (port === Port.elcr2) return this.#slave.elcr;
    const c = port < Port.slaveCommand ? this.#master : this.#slave;
    if (c.poll) return this.#readPoll(c);
    if (port & 1) return c.imr;
    return c.readIsr ? c.isr : c.irr;
  }

  /** Poll command: the read acknowledges (datasheet, "Poll Command"). */
  #readPoll(c: Chip): number {
    c.poll = false;
    const pending = this.#pending(c);
    if (pending < 0) return 0;
    this.#accept(c);
    this.#update();
    return 0x80 | pending;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === Port.elcr1) this.#master.elcr = value & elcrMasks[0];
    else if (port === Port.elcr2) this.#slave.elcr = value & elcrMasks[1];
    else {
      const c = port < Port.slaveCommand ? this.#master : this.#slave;
      if (port & 1) this.#writeData(c, value);
      else this.#writeCommand(c, value);
    }
    this.#update();
  }

  #writeCommand(c: Chip, value: number): void {
    if (value & Icw1.icw1) this.#startInit(c, value);
    else if (value & Ocw3.ocw3) this.#writeOcw3(c, value);
    else this.#writeOcw2(c, value);
  }

  /** ICW1: the edge latches, IMR, special mask and status read are cleared, IR7 gets the lowest priority. */
  #startInit(c: Chip, value: number): void {
    Object.assign(c, { ...powerOnChip(), lines: c.lines, elcr: c.elcr, vectorBase: c.vectorBase });
    c.needIcw4 = (value & Icw1.icw4) !== 0;
    c.single = (value & Icw1.single) !== 0;
    c.levelTriggered = (value & Icw1.levelTriggered) !== 0;
    c.irr = c.lines & (c.levelTriggered ? 0xff : c.elcr);
    c.initStep = 2;
  }

  #writeData(c: Chip, value: number): void {
    switch (c.initStep) {
      case 2:
        c.vectorBase = value & 0xf8;
        c.initStep = c.single ? (c.needIcw4 ? 4 : 0) : 3;
        return;
      case 3: // the cascade is wired: the value can't change it
        c.initStep = c.needIcw4 ? 4 : 0;
        return;
      case 4:
        c.autoEoi = (value & Icw4.autoEoi) !== 0;
        c.specialFullyNested = (value & Icw4.specialFullyNested) !== 0;
        c.initStep = 0;
        return;
      default:
        c.imr = value;
    }
  }

  #writeOcw3(c: Chip, value: number): void {
    if (value & Ocw3.poll) c.poll = true;
    else if (value & Ocw3.readRegister) c.readIsr = (value & Ocw3.readIsr) !== 0;
    if (value & Ocw3.enableSpecialMask) c.specialMask = (value & Ocw3.specialMask) !== 0;
  }

  /** OCW2: R, SL, EOI in bits 7-5. */
  #writeOcw2(c: Chip, value: number): void {
    const level = value & 7;
    switch (value >> 5) {
      case 0: // rotate in automatic EOI mode (clear)
        c.rotateOnAutoEoi = false;
        return;
      case 4: // rotate in automatic EOI mode (set)
        c.rotateOnAutoEoi = true;
        return;
      case 1: // non-specific EOI
      case 5: {
        // rotate on non-specific EOI
        const highest = highestPriority(c, c.specialMask ? c.isr & ~c.imr : c.isr);
        if (highest === 8) return;
        const n = (c.lowestPriority + 1 + highest) & 7;
        c.isr &= ~(1 << n);
        if (value >> 5 === 5) c.lowestPriority = n;
        return;
      }
      case 3: // specific EOI
        c.isr &= ~(1 << level);
        return;
      case 7: // rotate on specific EOI
        c.isr &= ~(1 << level);
        c.lowestPriority = level;
        return;
      case 6: // set priority
        c.lowestPriority = level;
        return;
      default: // no operation
    }
  }

  protected override checkState(state: State): void {
    for (const c of state.chips) {
      if (c.lowestPriority > 7) this.refuseState('lowestPriority must be 0-7');
      if (c.initStep === 1 || c.initStep > 4) this.refuseState('initStep must be 0, 2, 3 or 4');
    }
  }

  protected override stateChanged(): void {
    this.#update();
  }
}
