/**
 * Makes a guest's clock follow a monotonic clock of the host: skips while the processor waits, and a rate, set from measured progress,
 * while it computes. Both are inputs, so the log holds them; nothing here touches the machine otherwise. Virtual time never goes back.
 *
 * How following is weighed against time that waits for the guest: the clock follows as long as the host gives the guest's thread at
 * least an eighth of a processor. What is missing from that (a frozen process, a host that is busier still, a page of memory that does
 * not come) is forgiven up to `graceNs`; beyond it virtual time waits, for good, so that no guest sees its timeouts run out while it
 * could not run.
 */
import type { InputResult } from './edge/input-queue.ts';
import type { MachineInput } from './edge/table.ts';
import type { RunOptions, RunResult } from './scheduler.ts';

/** What is paced: a Machine. */
export interface PacedMachine {
  readonly instructions: bigint;
  readonly timeNs: bigint;
  readonly waiting: boolean;
  input(input: MachineInput): InputResult;
  run(options: RunOptions): RunResult;
}

/** The clock of the host, as far as a pace needs it. */
export interface PaceHost {
  /** A monotonic clock. */
  nowNs: () => bigint;
  /** Processor time that this thread has used, in ns; where there is none, only long gaps count as the host's. */
  threadNs?: () => number;
}

const ms = 1e6;
/** The thread's share below which the host, not the guest, is what is slow. */
const leastShare = 1 / 8;
/** How much the host may owe before time waits for the guest. */
const graceNs = 250 * ms;
/** Nothing sleeps longer of its own will: not past the guest's next event by more than the first, and never longer than the second. */
const lateSleepNs = 100 * ms;
const longestSleepNs = 250 * ms;
/** Shorter waits are not worth a sleep, which takes a millisecond at least. */
const leastSleepNs = ms / 2;
/** Processor time that a turn without a thread clock is taken to have used. */
const assumedThreadNs = 50 * ms;
/** Progress is measured over so much time, the host's or the guest's, and the rate changes no more often. */
const windowNs = 4 * ms;
/** How quickly an earlier speed is forgotten, and a lag made up for. */
const speedNs = 8 * ms;
const lagNs = 40 * ms;
/** The clock's speed against the guest's own, at the least and at the most, while a lag is made up for. */
const slowest = 1 / 16;
const fastest = 16;
/** A slice takes about this long, so that the rate is never wrong for long. */
const sliceNs = 2 * ms;
const turnNs = 4 * ms;
/** So many instructions, at the least, are between two looks at the clock within a slice. */
const leastStretch = 2_000;
/** ns per instruction that a machine begins with. */
const firstCost = 4;
/** And at the most: quick code may turn slow before the next look. */
const mostStretch = 400_000;
/** The first stretches are short, as nobody knows yet what the guest does; in each slice they may be twice as long as in the one before. */
const firstStretch = 20_000;
/** An access to a device costs some hundred instructions. */
const mostAccesses = 5_000;
/** A guest whose timers come faster than its host can fire them is not owed more than this. */
const greatestLagNs = 1000 * ms;
/** While the guest waits, its time is brought up to date when it is behind by so much, if nothing else needs it. */
const staleNs = 10 * ms;
/** The rate, in 1/65536 ns per instruction: 0.02 ns to 20 microseconds. */
const leastRate = 0x500;
const greatestRate = 20_000 * 0x1_0000;
/** Of the rate, that is made. */
const leastChange = 1 / 64;
/** Events that are due follow each other at once, so many times in one turn. */
const mostEvents = 4;

const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));

/** Lets a machine run beside the host's clock: turns of bounded length, and rests where the guest waits. */
export class LivePace {
  readonly #machine: PacedMachine;
  readonly #host: PaceHost;
  /** Host's clock minus virtual time, in ns: where the guest's clock should be. Undefined: to be found at the next turn. */
  #offsetNs: bigint | undefined;
  /** ns of the host per instruction. */
  #cost = firstCost;
  /**
   * What it is made of: sums that fade. Their quotient is right on average whatever the windows hold; a mean of the windows' own
   * quotients would let slow code, which has few instructions, count for too much.
   */
  #fadingNs = 0;
  #fadingInstructions = 0;
  #rate = 0;
  /** No stretch may be longer yet. */
  #longestStretch = firstStretch;
  /** Of the window that is being measured. */
  #busyNs = 0;
  #busyInstructions = 0;
  #busyGuestNs = 0;
  #asleepNs = 0;
  #windowAt = 0n;
  #threadAt = 0;
  /** When the last slice ended, and whether the guest waited then. */
  #endedAt = 0n;
  #waited = false;
  #owedNs = 0;
  /** When, by its clock, the guest's next event is due; undefined: never, or nobody knows. */
  #nextEventNs: bigint | undefined;
  /** A breakpoint at this count does not stop the guest. */
  #leaves: bigint | undefined;

  constructor(machine: PacedMachine, host: PaceHost) {
    this.#machine = machine;
    this.#host = host;
  }

  /** How far the guest's clock is behind the host's, in ns; negative: ahead. 0 before the first turn. */
  get lagNs(): number {
    return this.#offsetNs === undefined ? 0 : Number(this.#dueNs(this.#host.nowNs()) - this.#machine.timeNs);
  }

  /**
   * After a turn that ended with `idle`: for how long the guest has nothing to do, unless input comes; 0: its next turn is now. Whole
   * milliseconds, rounded up, as the timers of JavaScript drop fractions: one that rings before the guest's own would ring for nothing.
   */
  get waitsMs(): number {
    if (this.#nextEventNs === undefined) return Infinity;
    const waitNs = Number(this.#nextEventNs - this.#dueNs(this.#host.nowNs()));
    return waitNs < leastSleepNs ? 0 : Math.ceil(waitNs / ms);
  }

  /** The guest does not run for a while, by somebody's will: its clock goes on from where it stands. */
  rest(): void {
    this.#offsetNs = undefined;
  }

  #dueNs(now: bigint): bigint {
    return now - (this.#offsetNs ?? 0n);
  }

  #begin(): void {
    const now = this.#host.nowNs();
    if (this.#offsetNs === undefined) {
      this.#offsetNs = now - this.#machine.timeNs;
      this.#startWindow(now);
    } else if (this.#waited)
      // Longer is nobody's will: the host did not wake this thread.
      this.#asleepNs += Math.min(Number(now - this.#endedAt), this.#mostSleepNs());
    if (this.#machine.waiting) this.#skip(now, staleNs);
  }

  #mostSleepNs(): number {
    const waitNs =
      this.#nextEventNs === undefined ? Infinity : Number(this.#nextEventNs - this.#dueNs(this.#endedAt));
    return Math.min(Math.max(waitNs, 0) + lateSleepNs, longestSleepNs);
  }

  /** Lets time pass up to now, if the guest is behind by `atLeastNs`. */
  #skip(now: bigint, atLeastNs: number): void {
    const due = this.#dueNs(now);
    if (Number(due - this.#machine.timeNs) >= atLeastNs) this.#machine.input({ kind: 'skip', toNs: due });
  }

  /**
   * Runs the guest for about 4 ms, or until it waits, or for `most` instructions. A process that was frozen meanwhile runs no more than one
   * stretch before it looks at the clock. Breakpoints stop it at once; `leaves`: but for one where it stands.
   */
  turn(most = Number.MAX_SAFE_INTEGER, leaves = false): RunResult {
    this.#leaves = leaves ? this.#machine.instructions : undefined;
    this.#begin();
    const end = this.#host.nowNs() + BigInt(turnNs);
    let left = most;
    for (;;) {
      const before = this.#machine.instructions;
      const result = this.#step(left);
      left -= Number(result.instructions - before);
      if (Number(this.#endedAt - this.#windowAt) >= windowNs || this.#busyGuestNs >= windowNs)
        this.#closeWindow(this.#endedAt);
      this.#waited = result.reason === 'idle';
      this.#nextEventNs = result.nextEventNs;
      if (result.reason !== 'limit' || left <= 0 || this.#endedAt >= end) return result;
    }
  }

  /** A slice; or several, when what the guest waits for is due already. */
  #step(most: number): RunResult {
    let result = this.#run(most);
    for (let events = 0; events < mostEvents && result.reason === 'idle'; events++) {
      const { nextEventNs } = result;
      if (nextEventNs === undefined || nextEventNs > this.#dueNs(this.#endedAt)) break;
      this.#skip(this.#endedAt, 0);
      result = this.#run(most);
    }
    return result;
  }

  /** A slice: until its time is over, by the host's clock or by the guest's, or the guest waits. */
  #run(most: number): RunResult {
    const began = this.#host.nowNs();
    const { instructions: before, timeNs } = this.#machine;
    const end = began + BigInt(sliceNs);
    const guestEnd = timeNs + BigInt(sliceNs);
    const result = this.#machine.run({
      instructions: most,
      idle: 'wait',
      accesses: mostAccesses,
      stopAtOnce: this.#leaves !== before,
      look: {
        every: clamp(Math.ceil(sliceNs / this.#cost), leastStretch, this.#longestStretch),
        enough: () => this.#machine.timeNs >= guestEnd || this.#host.nowNs() >= end,
      },
    });
    this.#longestStretch = Math.min(mostStretch, this.#longestStretch * 2);
    this.#endedAt = this.#host.nowNs();
    this.#busyNs += Number(this.#endedAt - began);
    this.#busyGuestNs += Number(result.timeNs - timeNs);
    this.#busyInstructions += Number(result.instructions - before);
    return result;
  }

  #startWindow(now: bigint): void {
    this.#windowAt = now;
    this.#threadAt = this.#host.threadNs?.() ?? 0;
    this.#asleepNs = 0;
  }

  #closeWindow(now: bigint): void {
    const passed = Number(now - this.#windowAt);
    const used =
      this.#host.threadNs === undefined
        ? Math.min(passed, assumedThreadNs)
        : this.#host.threadNs() - this.#threadAt;
    this.#forgive(passed - this.#asleepNs - used / leastShare);
    this.#startWindow(now);
    const lag = Number(this.#dueNs(now) - this.#machine.timeNs);
    if (lag > greatestLagNs) this.#giveUp(lag - greatestLagNs);
    if (Math.max(this.#busyNs, this.#busyGuestNs, Math.abs(lag)) >= windowNs)
      this.#adjust(Math.min(lag, greatestLagNs));
  }

  /** `missingNs`: what the host kept from the guest in a window; negative: it gave more than the least. */
  #forgive(missingNs: number): void {
    this.#owedNs = Math.max(0, this.#owedNs + missingNs);
    if (this.#owedNs <= graceNs) return;
    this.#giveUp(this.#owedNs - graceNs);
    this.#owedNs = graceNs;
  }

  /** So much of the host's time is not the guest's. */
  #giveUp(byNs: number): void {
    this.#offsetNs = (this.#offsetNs ?? 0n) + BigInt(Math.round(byNs));
  }

  #adjust(lag: number): void {
    if (this.#busyInstructions === 0) return;
    const faded = Math.exp(-Math.max(this.#busyNs, this.#busyGuestNs) / speedNs);
    this.#fadingNs = this.#fadingNs * faded + this.#busyNs;
    this.#fadingInstructions = this.#fadingInstructions * faded + this.#busyInstructions;
    this.#cost = this.#fadingNs / this.#fadingInstructions;
    this.#busyNs = 0;
    this.#busyGuestNs = 0;
    this.#busyInstructions = 0;
    const wanted = this.#cost * clamp(1 + lag / lagNs, slowest, fastest) * 0x1_0000;
    const rate = Math.round(clamp(wanted, leastRate, greatestRate));
    // A change that nobody could notice is not worth an entry in the log: what lag it leaves makes the next one great enough.
    if (Math.abs(rate - this.#rate) < this.#rate * leastChange) return;
    this.#rate = rate;
    this.#machine.input({ kind: 'rate', rate });
  }
}
