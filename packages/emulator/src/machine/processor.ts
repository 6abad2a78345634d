/**
 * One processor as the machine drives it: its registers, its engine, its pins. It knows how to run up to a deadline and how to take an
 * interrupt; when to do either is the scheduler's affair.
 */
import { Cpu, ExitReason, Flag, HaltState, lookReserve } from '../cpu/layout.ts';
import type { VirtualClock } from './clock.ts';
import type { CpuBlock, CpuState } from './cpu-state.ts';
import type { Engine } from './engine-interface.ts';

/** A look that is nearer than this comes exactly in its time: each round of a loop would look. */
const leastInPlace = BigInt(2 * lookReserve);

/** Looks at the host in the midst of a slice, which ends with the first that was enough. */
export interface SliceLook {
  /** Instruction count of the next one; translated code comes a little earlier. */
  readonly at: bigint;
  /** One of them has been. */
  readonly enough: boolean;
  /** Looks; unless that was enough, `at` is later then. */
  look(): void;
}

export interface ProcessorParts {
  block: CpuBlock;
  clock: VirtualClock;
  /** INTA: the vector of the interrupt that its local APIC or the 8259A pair has for it. */
  acknowledge: () => number;
  /** The guest wrote this to IA32_TSC_DEADLINE. */
  tscDeadline: (value: bigint) => void;
  /** A triple fault. */
  shutdown: () => void;
  /** It does not run, and was given something to do: an interrupt, or a start-up message. */
  woken: () => void;
}

export class Processor {
  readonly block: CpuBlock;
  readonly #parts: ProcessorParts;
  #engine: Engine | undefined;
  #running = false;
  /** Where the slice that runs ends, whatever parts it runs in. */
  #deadline = 0n;
  #look: SliceLook | undefined;
  /** INIT came while it ran. */
  #initAsked = false;

  constructor(parts: ProcessorParts) {
    this.block = parts.block;
    this.#parts = parts;
  }

  get engine(): Engine {
    if (this.#engine === undefined) throw new TypeError('the machine has no engine yet');
    return this.#engine;
  }
  set engine(engine: Engine) {
    this.#engine = engine;
  }

  get instructions(): bigint {
    return this.block.retired;
  }
  get rip(): bigint {
    return this.block.wide(Cpu.rip);
  }
  get halted(): boolean {
    return this.block.word(Cpu.halted) !== 0;
  }
  get interruptsEnabled(): boolean {
    return (this.block.word(Cpu.systemFlags) & Flag.if) !== 0;
  }
  get #nmiReady(): boolean {
    return this.block.word(Cpu.nmiPending) !== 0 && this.block.word(Cpu.nmiBlocked) === 0;
  }
  get #interruptReady(): boolean {
    return this.#nmiReady || (this.block.word(Cpu.intrPending) !== 0 && this.interruptsEnabled);
  }
  /** Only a start-up message lets it run. */
  get #stopped(): boolean {
    return this.block.word(Cpu.halted) === HaltState.startup;
  }
  /** In HLT, with nothing that ends it; or not started yet. */
  get waiting(): boolean {
    return this.halted && (this.#stopped || !this.#interruptReady);
  }
  /** An interrupt would end its HLT. */
  get interruptible(): boolean {
    return this.interruptsEnabled && !this.#stopped;
  }

  // --- pins ---

  /** INTR, a level. */
  setIntr(level: boolean): void {
    this.block.setWord(Cpu.intrPending, level ? 1 : 0);
    if (level) this.#given();
  }

  /** NMI, an edge. */
  raiseNmi(): void {
    this.block.setWord(Cpu.nmiPending, 1);
    this.#given();
  }

  #given(): void {
    if (this.#running) this.stopSlice();
    else if (this.halted) this.#parts.woken();
  }

  /** INIT#, of an application processor, which then waits for a start-up message; after the instruction that runs. */
  init(): void {
    this.#initAsked = true;
    if (this.#running) this.stopSlice();
    else this.#takeInit();
  }

  #takeInit(): void {
    if (!this.#initAsked) return;
    this.#initAsked = false;
    this.engine.core.initCpu(this.block.address);
  }

  /** A start-up message (SDM Vol. 3A 9.4.4): begins at page `vector` of memory, in real-address mode. One that runs takes no notice. */
  startUp(vector: number): void {
    if (!this.#stopped) return;
    const { block } = this;
    block.setSegment('cs', { ...block.segment('cs'), selector: vector << 8, base: BigInt(vector << 12) });
    block.setWide(Cpu.rip, 0n);
    block.setWord(Cpu.halted, HaltState.running);
    this.registersChanged();
    this.#parts.woken();
  }

  /** RESET#. */
  reset(): void {
    this.engine.core.resetCpu(this.block.address);
    this.flushTlb();
  }

  flushTlb(): void {
    this.#engine?.core.flushTlbAll(this.block.address);
  }

  /** Registers from outside, checked. */
  change(state: CpuState): void {
    this.block.restore(state);
    this.registersChanged();
  }

  /** After registers were written from outside: everything that is worked out from them. */
  registersChanged(): void {
    this.engine.core.updateMode(this.block.address);
    this.flushTlb();
  }

  // --- running ---

  /** Whether a debugger's breakpoint lies on the next instruction. */
  get atBreakpoint(): boolean {
    return this.engine.core.atBreakpoint(this.block.address) !== 0;
  }

  /** Runs until `deadline`, until a look was enough, or until something has to be done first. True: the next instruction has a breakpoint. */
  slice(deadline: bigint, look?: SliceLook): boolean {
    this.#deadline = deadline;
    this.#look = look;
    this.#running = true;
    let reason: number;
    try {
      for (;;) {
        this.#setDeadline();
        reason = this.engine.run(this.block.address);
        this.takeTscDeadline();
        if (look === undefined || look.enough || reason !== ExitReason.deadline) break;
        if (this.instructions >= this.#deadline) break;
        look.look();
        if (look.enough) break;
      }
    } finally {
      this.#running = false;
      this.block.setWide(Cpu.reserve, 0n);
    }
    if (this.#initAsked) this.#takeInit();
    else if (reason === ExitReason.interruptWindow) this.#takeInterrupt();
    else if (reason === ExitReason.shutdown) this.#parts.shutdown();
    return reason === ExitReason.breakpoint;
  }

  /** Where the engine comes back: at the next look, or where the slice ends when that is sooner. */
  #setDeadline(): void {
    const at = this.#look?.at ?? this.#deadline;
    const isLook = at < this.#deadline;
    const inPlace = isLook && at - this.instructions >= leastInPlace;
    this.block.setDeadline(isLook ? at : this.#deadline);
    this.block.setWide(Cpu.reserve, inPlace ? BigInt(lookReserve) : 0n);
  }

  /** The engine has come to a look in the midst of translated code, and goes on there unless the slice is to end. Cpu.remaining is exact. */
  lookInPlace(): void {
    if (!this.#running || this.#look === undefined) return;
    if (this.instructions < this.#deadline) this.#look.look();
    if (this.#look.enough) this.stopSlice();
    else this.#setDeadline();
  }

  /** One instruction or one event and no more; of breakpoints it takes no notice. */
  step(): void {
    const { block } = this;
    if (this.#interruptReady && block.word(Cpu.interruptShadow) === 0) this.#takeInterrupt();
    else {
      this.#deadline = this.instructions + 1n;
      block.setDeadline(this.#deadline);
      this.#running = true;
      const reason = this.engine.stepRaw(block.address);
      this.#running = false;
      this.takeTscDeadline();
      if (this.#initAsked) this.#takeInit();
      else if (reason === ExitReason.shutdown) this.#parts.shutdown();
    }
    block.setWord(Cpu.exitRequest, 0); // the run ends anyway
    if (block.word(Cpu.pendingVector) >= 0) this.slice(this.instructions); // with no budget it only delivers
  }

  #takeInterrupt(): void {
    const { core } = this.engine;
    if (this.#nmiReady) core.injectNmi(this.block.address);
    else core.injectInterrupt(this.block.address, this.#parts.acknowledge());
  }

  /** The core keeps writes of the TSC deadline that can wait; before anything else looks at the local APIC, that gets the last one. */
  takeTscDeadline(): void {
    const { block } = this;
    if (block.word(Cpu.tscDeadlineKept) === 0) return;
    block.setWord(Cpu.tscDeadlineKept, 0);
    this.#parts.tscDeadline(BigInt.asUintN(64, block.wide(Cpu.tscDeadline)));
  }

  /** Ends the slice after the current instruction. Host calls come only at exact points. */
  stopSlice(): void {
    if (this.#running) this.#endAt(this.instructions);
  }

  /** A timer was armed: a slice that runs ends in time for it. */
  shortenSlice(atNs: bigint): void {
    if (!this.#running) return;
    const count = this.#parts.clock.countAt(atNs);
    const { instructions } = this;
    if (count < this.#deadline) this.#endAt(count > instructions ? count : instructions);
  }

  #endAt(count: bigint): void {
    this.#deadline = count;
    if (count >= this.block.wide(Cpu.deadline)) return;
    this.block.setDeadline(count);
    this.block.setWide(Cpu.reserve, 0n);
  }
}
