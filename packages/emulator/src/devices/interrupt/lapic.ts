/**
 * Local APIC of one processor (integrated, version 0x14). Reference: SDM Vol. 3A chapter 11 (APIC). x2APIC mode is not offered.
 * The timer counts at 1 GHz before its divider: one tick is one ns of virtual time.
 *
 * Messages between APICs go through an ApicBus; the INTR and NMI lines of the processor, and its TPR (CR8), are given by the constructor.
 */
import type { ApicMessage, ApicMessageBus } from '../apic-bus.ts';
import { StatefulDevice, type AccessSize, type Clock, type Line, type Timer } from '../device.ts';
import { bool, defineState, i64, nullable, record, tuple, u32, type Infer } from '../schema.ts';

export const lapicBase = 0xfee0_0000;
const version = 0x14;
// prettier-ignore
const Register = {
  id: 0x02, version: 0x03, tpr: 0x08, apr: 0x09, ppr: 0x0a, eoi: 0x0b, remoteRead: 0x0c, ldr: 0x0d, dfr: 0x0e, svr: 0x0f, isr: 0x10,
  tmr: 0x18, irr: 0x20, esr: 0x28, cmci: 0x2f, icrLow: 0x30, icrHigh: 0x31, lvtTimer: 0x32, lvtThermal: 0x33,
  lvtPerformance: 0x34, lvtLint0: 0x35, lvtLint1: 0x36, lvtError: 0x37, initialCount: 0x38, currentCount: 0x39, divide: 0x3e,
} as const;
/** Index into `lvt`. */
const Lvt = { timer: 0, thermal: 1, performance: 2, lint0: 3, lint1: 4, error: 5 } as const;
const lvtCount = 6;
const lvtWritable = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff] as const;
const lvtMasked = 0x1_0000;
const lvtLevelTriggered = 0x8000;
const TimerMode = { oneShot: 0, periodic: 1, tscDeadline: 2 } as const;
const svrEnabled = 0x100;
const svrWritable = 0x1ff;
export const DeliveryMode = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startup: 6,
  extInt: 7,
} as const;
const esrSendIllegalVector = 0x20;
const esrReceiveIllegalVector = 0x40;
const esrIllegalRegister = 0x80;

const schema = record({
  id: u32,
  apr: u32,
  ldr: u32,
  dfr: u32,
  svr: u32,
  isr: tuple(u32, 8),
  tmr: tuple(u32, 8),
  irr: tuple(u32, 8),
  /** Errors found since the last write of ESR, and what ESR shows. */
  esrPending: u32,
  esr: u32,
  icrLow: u32,
  icrHigh: u32,
  lvt: tuple(u32, lvtCount),
  initialCount: u32,
  divide: u32,
  /** Virtual time at which the count was started; null when it is stopped. */
  startNs: nullable(i64),
  /** TSC deadline as virtual time; null when disarmed. */
  deadlineNs: nullable(i64),
  lint0: bool,
  lint1: bool,
  /** Global enable of IA32_APIC_BASE. */
  enabled: bool,
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'lapic', version: 1, schema });

/** What connects local APICs with each other and with I/O APICs. */
export interface ApicBus extends ApicMessageBus {
  /** To this set by shorthand, as seen from the sender. */
  sendShorthand(message: ApicMessage, shorthand: 'self' | 'all' | 'others', sender: LocalApic): void;
  /** EOI of a level-triggered vector. */
  endOfInterrupt(vector: number): void;
}

export interface LocalApicOptions {
  cpuIndex: number;
  clock: Clock;
  bus: ApicBus;
  /** INTR of the processor. */
  intr: Line;
  /** Bits 7:4 of the TPR are CR8 in the processor's block. */
  cr8: { get(): number; set(value: number): void };
  /** TSC ticks are ns of virtual time plus this. */
  tscOffset: () => bigint;
  nmi: () => void;
  init: () => void;
  startup: (vector: number) => void;
  /** The vector of the 8259A pair, when ExtINT is taken. */
  externalVector: () => number;
}

function highestBit(words: readonly number[]): number {
  for (let n = 7; n >= 0; n--) {
    const word = words[n] ?? 0;
    if (word !== 0) return n * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

export class LocalApic extends StatefulDevice<State> {
  readonly name: string;
  readonly mmio = [{ base: lapicBase, length: 0x1000, width: 4 as const }];
  readonly #options: LocalApicOptions;
  readonly #timer: Timer;

  constructor(options: LocalApicOptions) {
    const { cpuIndex } = options;
    super(definition, () => ({
      id: cpuIndex,
      apr: 0,
      ldr: 0,
      dfr: 0xffff_ffff,
      svr: 0xff,
      isr: Array<number>(8).fill(0),
      tmr: Array<number>(8).fill(0),
      irr: Array<number>(8).fill(0),
      esrPending: 0,
      esr: 0,
      icrLow: 0,
      icrHigh: 0,
      // The boot processor's LINT0 passes the 8259A through, as firmware leaves it (MP specification 3.6.2.2, virtual wire mode).
      lvt: [
        lvtMasked,
        lvtMasked,
        lvtMasked,
        cpuIndex === 0 ? DeliveryMode.extInt << 8 : lvtMasked,
        lvtMasked,
        lvtMasked,
      ],
      initialCount: 0,
      divide: 0,
      startNs: null,
      deadlineNs: null,
      lint0: false,
      lint1: false,
      enabled: true,
    }));
    this.#options = options;
    this.name = `lapic-${String(cpuIndex)}`;
    this.#timer = options.clock.timer(this.name, () => {
      this.#timerFired();
    });
  }

  get id(): number {
    return this.state.id;
  }

  /** Global enable of IA32_APIC_BASE. Disabled, LINT0 and LINT1 are the processor's INTR and NMI pins. */
  setEnabled(enabled: boolean): void {
    if (enabled === this.state.enabled) return;
    const { lint0, lint1 } = this.state;
    if (enabled) this.reset();
    this.state.enabled = enabled;
    this.state.lint0 = lint0;
    this.state.lint1 = lint1;
    this.update();
  }

  /** INIT of the processor: SDM Vol. 3A 11.4.7.3. Identifier, enable and pins stay as they are. */
  initialize(): void {
    const { id, enabled, lint0, lint1 } = this.state;
    this.reset();
    Object.assign(this.state, { id, enabled, lint0, lint1 });
    this.update();
  }

  /** Output of the 8259A pair. */
  setLint0(level: boolean): void {
    const rising = level && !this.state.lint0;
    this.state.lint0 = level;
    const lvt = this.#lvt(Lvt.lint0);
    const mode = (lvt >> 8) & 7;
    if (this.state.enabled && rising && !(lvt & lvtMasked) && mode !== DeliveryMode.extInt)
      this.#deliverLvt(lvt);
    this.update();
  }

  /** NMI pin. */
  setLint1(level: boolean): void {
    const rising = level && !this.state.lint1;
    this.state.lint1 = level;
    if (!rising) return;
    const lvt = this.#lvt(Lvt.lint1);
    if (!this.state.enabled) this.#options.nmi();
    else if (!(lvt & lvtMasked)) this.#deliverLvt(lvt);
  }

  #deliverLvt(lvt: number): void {
    const levelTriggered = (lvt & lvtLevelTriggered) !== 0;
    this.accept({ deliveryMode: (lvt >> 8) & 7, vector: lvt & 0xff, level: true, levelTriggered });
  }

  #lvt(n: number): number {
    return this.state.lvt[n] ?? lvtMasked;
  }

  /** It takes interrupts that messages name by their vectors. */
  get takesVectors(): boolean {
    return this.state.enabled && (this.state.svr & svrEnabled) !== 0;
  }

  /** Does this APIC belong to the destination (SDM 11.6.2)? */
  matches(destination: { id: number; logical: boolean }): boolean {
    const { id, logical } = destination;
    if (!this.state.enabled) return false;
    if (!logical) return id === 0xff || id === this.state.id;
    const logicalId = this.state.ldr >>> 24;
    if (this.state.dfr >>> 28 === 0xf) return (logicalId & id) !== 0;
    return id === 0xff || (logicalId >> 4 === id >> 4 && (logicalId & id & 15) !== 0);
  }

  /** A message from the bus or an own LVT entry. */
  accept({ deliveryMode, vector, level, levelTriggered }: ApicMessage): void {
    switch (deliveryMode) {
      case DeliveryMode.fixed:
      case DeliveryMode.lowestPriority:
        this.#acceptVector(vector, levelTriggered);
        return;
      case DeliveryMode.nmi:
        this.#options.nmi();
        return;
      case DeliveryMode.init:
        if (level) this.#options.init();
        return;
      case DeliveryMode.startup:
        this.#options.startup(vector);
        return;
      default: // SMI is not offered; ExtINT by message is taken from LINT0
    }
  }

  #acceptVector(vector: number, levelTriggered: boolean): void {
    if (!this.takesVectors) return;
    if (vector < 16) {
      this.#error(esrReceiveIllegalVector);
      return;
    }
    this.#setBit(this.state.irr, vector, true);
    this.#setBit(this.state.tmr, vector, levelTriggered);
    this.update();
  }

  #setBit(words: number[], vector: number, on: boolean): void {
    const n = vector >> 5;
    const bit = 1 << (vector & 31);
    const word = words[n] ?? 0;
    words[n] = (on ? word | bit : word & ~bit) >>> 0;
  }

  #error(bit: number): void {
    const before = this.state.esrPending;
    this.state.esrPending |= bit;
    const lvt = this.#lvt(Lvt.error);
    if (!(before & bit) && !(lvt & lvtMasked) && (lvt & 0xff) >= 16)
      this.accept({
        deliveryMode: DeliveryMode.fixed,
        vector: lvt & 0xff,
        level: true,
        levelTriggered: false,
      });
  }

  get #tpr(): number {
    return ((this.#options.cr8.get() & 15) << 4) | (this.state.apr & 15);
  }

  /** PPR: what of the processor's work is not to be interrupted. */
  get priority(): number {
    const isr = Math.max(0, highestBit(this.state.isr));
    const tpr = this.#tpr;
    return tpr >> 4 >= isr >> 4 ? tpr : isr & 0xf0;
  }

  #fixedPending(): number {
    const irr = highestBit(this.state.irr);
    return this.takesVectors && irr >= 0 && irr >> 4 > this.priority >> 4 ? irr : -1;
  }

  #externalPending(): boolean {
    if (!this.state.lint0) return false;
    const lvt = this.#lvt(Lvt.lint0);
    return !this.state.enabled || (!(lvt & lvtMasked) && ((lvt >> 8) & 7) === DeliveryMode.extInt);
  }

  /** Drives INTR; called after any change of what decides it, CR8 included. */
  update(): void {
    this.#options.intr.set(this.#fixedPending() >= 0 || this.#externalPending());
  }

  /** The processor takes an interrupt: its vector. Called only while INTR is active. */
  acknowledge(): number {
    const vector = this.#fixedPending();
    if (vector < 0) {
      const external = this.#externalPending() ? this.#options.externalVector() : this.state.svr & 0xff;
      this.update();
      return external;
    }
    this.#setBit(this.state.irr, vector, false);
    this.#setBit(this.state.isr, vector, true);
    this.update();
    return vector;
  }

  #endOfInterrupt(): void {
    const vector = highestBit(this.state.isr);
    if (vector < 0) return;
    this.#setBit(this.state.isr, vector, false);
    const levelTriggered = ((this.state.tmr[vector >> 5] ?? 0) & (1 << (vector & 31))) !== 0;
    if (levelTriggered) this.#options.bus.endOfInterrupt(vector);
    this.update();
  }

  readMemory(offset: number, size: AccessSize): number {
    if (!this.state.enabled) return 0xffff_ffff;
    const value = offset & 15 && size === 4 ? 0 : this.#readRegister(offset >> 4);
    return (value >>> ((offset & 3) * 8)) >>> 0;
  }

  #readRegister(register: number): number {
    const state = this.state;
    if (register >= Register.isr && register < Register.esr) {
      const words = register < Register.tmr ? state.isr : register < Register.irr ? state.tmr : state.irr;
      return words[register & 7] ?? 0;
    }
    if (register >= Register.lvtTimer && register <= Register.lvtError)
      return this.#lvt(register - Register.lvtTimer);
    switch (register) {
      case Register.id:
        return (state.id << 24) >>> 0;
      case Register.version:
        return ((lvtCount - 1) << 16) | version;
      case Register.tpr:
        return this.#tpr;
      case Register.ppr:
        return this.priority;
      case Register.apr:
      case Register.remoteRead:
      case Register.eoi:
        return 0;
      case Register.ldr:
        return state.ldr;
      case Register.dfr:
        return state.dfr;
      case Register.svr:
        return state.svr;
      case Register.esr:
        return state.esr;
      case Register.icrLow:
        return state.icrLow;
      case Register.icrHigh:
        return state.icrHigh;
      case Register.initialCount:
        return state.initialCount;
      case Register.currentCount:
        return this.#currentCount();
      case Register.divide:
        return state.divide;
      default:
        this.#error(esrIllegalRegister);
        return 0;
    }
  }

  writeMemory(offset: number, size: AccessSize, value: number): void {
    // SDM 11.4.1: registers are written by 32-bit accesses at 16-byte boundaries; others have no effect here.
    if (!this.state.enabled || size !== 4 || offset & 15) return;
    this.#writeRegister(offset >> 4, value);
    this.update();
  }

  #writeRegister(register: number, value: number): void {
    const state = this.state;
    if (register >= Register.lvtTimer && register <= Register.lvtError) {
      this.#writeLvt(register - Register.lvtTimer, value);
      return;
    }
    switch (register) {
      case Register.id:
        state.id = value >>> 24;
        return;
      case Register.tpr:
        this.#options.cr8.set((value >> 4) & 15);
        state.apr = value & 15;
        return;
      case Register.eoi:
        this.#endOfInterrupt();
        return;
      case Register.ldr:
        state.ldr = (value & 0xff00_0000) >>> 0;
        return;
      case Register.dfr:
        state.dfr = (value | 0x0fff_ffff) >>> 0;
        return;
      case Register.svr:
        this.#writeSvr(value);
        return;
      case Register.esr:
        state.esr = state.esrPending;
        state.esrPending = 0;
        return;
      case Register.icrLow:
        state.icrLow = value & 0x000c_cfff;
        this.#sendIpi();
        return;
      case Register.icrHigh:
        state.icrHigh = (value & 0xff00_0000) >>> 0;
        return;
      case Register.initialCount:
        this.#writeInitialCount(value);
        return;
      case Register.divide:
        this.#rescale(value & 0xb);
        return;
      case Register.version:
      case Register.apr:
      case Register.ppr:
      case Register.remoteRead:
      case Register.currentCount:
        return;
      default:
        if (register < Register.isr || register >= Register.esr) this.#error(esrIllegalRegister);
    }
  }

  #writeSvr(value: number): void {
    this.state.svr = value & svrWritable;
    // Software disable sets all mask bits (SDM 11.4.7.2).
    if (!(value & svrEnabled)) this.state.lvt = this.state.lvt.map((entry) => entry | lvtMasked);
  }

  #writeLvt(n: number, value: number): void {
    const before = this.#lvt(n);
    let entry = value & (lvtWritable[n] ?? 0);
    if (!(this.state.svr & svrEnabled)) entry |= lvtMasked;
    this.state.lvt[n] = entry;
    if (n !== Lvt.timer) return;
    const wasDeadline = timerMode(before) === TimerMode.tscDeadline;
    if (wasDeadline !== (timerMode(entry) === TimerMode.tscDeadline)) {
      this.state.startNs = null;
      this.state.deadlineNs = null;
    }
    this.#armTimer();
  }

  #sendIpi(): void {
    const { icrLow, icrHigh } = this.state;
    const message = {
      deliveryMode: (icrLow >> 8) & 7,
      vector: icrLow & 0xff,
      level: (icrLow & 0x4000) !== 0,
      levelTriggered: (icrLow & 0x8000) !== 0,
    };
    if (message.deliveryMode <= DeliveryMode.lowestPriority && message.vector < 16) {
      this.#error(esrSendIllegalVector);
      return;
    }
    // INIT level de-assert only synchronises arbitration ids of old bus APICs.
    if (message.deliveryMode === DeliveryMode.init && message.levelTriggered && !message.level) return;
    const shorthand = (icrLow >> 18) & 3;
    if (shorthand === 0)
      this.#options.bus.send(message, { id: icrHigh >>> 24, logical: (icrLow & 0x800) !== 0 });
    else
      this.#options.bus.sendShorthand(
        message,
        shorthand === 1 ? 'self' : shorthand === 2 ? 'all' : 'others',
        this,
      );
  }

  // --- timer (SDM 11.5.4) ---

  #shift(): number {
    const code = (this.state.divide & 3) | ((this.state.divide & 8) >> 1);
    return (code + 1) & 7;
  }

  #periodNs(): bigint {
    return BigInt(this.state.initialCount) << BigInt(this.#shift());
  }

  #currentCount(): number {
    const { startNs, initialCount } = this.state;
    if (startNs === null || initialCount === 0) return 0;
    const ticks = (this.#options.clock.now() - startNs) >> BigInt(this.#shift());
    if (timerMode(this.#lvt(Lvt.timer)) === TimerMode.periodic)
      return initialCount - Number(ticks % BigInt(initialCount));
    return ticks >= BigInt(initialCount) ? 0 : initialCount - Number(ticks);
  }

  #writeInitialCount(value: number): void {
    if (timerMode(this.#lvt(Lvt.timer)) === TimerMode.tscDeadline) return;
    this.state.initialCount = value;
    this.state.startNs = value === 0 ? null : this.#options.clock.now();
    this.#armTimer();
  }

  /** A new divider goes on from the current count. */
  #rescale(divide: number): void {
    const remaining = this.#currentCount();
    const { initialCount } = this.state;
    this.state.divide = divide;
    if (this.state.startNs !== null)
      this.state.startNs =
        this.#options.clock.now() - (BigInt(initialCount - remaining) << BigInt(this.#shift()));
    this.#armTimer();
  }

  /** WRMSR of IA32_TSC_DEADLINE: an absolute TSC value, 0 disarms; ignored in the other modes (SDM 11.5.4.1). */
  writeTscDeadline(tsc: bigint): void {
    if (timerMode(this.#lvt(Lvt.timer)) !== TimerMode.tscDeadline) return;
    const deadline = BigInt.asUintN(64, tsc) - this.#options.tscOffset();
    const limit = (1n << 62n) - 1n;
    this.state.deadlineNs =
      tsc === 0n ? null : deadline > limit ? limit : deadline < -limit ? -limit : deadline;
    this.#armTimer();
  }

  readTscDeadline(): bigint {
    const { deadlineNs } = this.state;
    return deadlineNs === null ? 0n : BigInt.asUintN(64, deadlineNs + this.#options.tscOffset());
  }

  #armTimer(): void {
    const { startNs, deadlineNs, initialCount } = this.state;
    const mode = timerMode(this.#lvt(Lvt.timer));
    if (deadlineNs !== null) this.#timer.arm(deadlineNs);
    else if (startNs === null || initialCount === 0) this.#timer.cancel();
    else if (mode === TimerMode.periodic) {
      // A period shorter than an instruction would never let the guest go on: the next border after now.
      const elapsed = this.#options.clock.now() - startNs;
      this.#timer.arm(startNs + (elapsed / this.#periodNs() + 1n) * this.#periodNs());
    } else if (this.#options.clock.now() < startNs + this.#periodNs())
      this.#timer.arm(startNs + this.#periodNs());
    else this.#timer.cancel();
  }

  #timerFired(): void {
    const lvt = this.#lvt(Lvt.timer);
    this.state.deadlineNs = null;
    if (!(lvt & lvtMasked))
      this.accept({
        deliveryMode: DeliveryMode.fixed,
        vector: lvt & 0xff,
        level: true,
        levelTriggered: false,
      });
    this.#armTimer();
  }

  protected override checkState(state: State): void {
    if (state.id > 0xff) this.refuseState('id must be 0-255');
  }

  protected override stateChanged(): void {
    this.#armTimer();
    this.update();
  }
}

function timerMode(lvt: number): number {
  return (lvt >> 17) & 3;
}
