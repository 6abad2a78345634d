/**
 * Virtual time: ns = timeBaseNs + (((instructions - timeBaseCount) * timeRate) >> 16), with the fields in the machine block,
 * where the core finds them for RDTSC. Time moves only with retired instructions and by `skipTo` while the processor waits.
 */
import { Machine, Region } from '../cpu/layout.ts';
import type { Clock, Timer } from '../devices/device.ts';

const rateShift = 16n;
/** Rebasing keeps (instructions - timeBaseCount) * timeRate inside of 64 bits. */
const rebaseAfter = 1n << 40n;

class ClockTimer implements Timer {
  readonly name: string;
  readonly fire: () => void;
  readonly #clock: VirtualClock;
  #deadlineNs: bigint | undefined;

  constructor(clock: VirtualClock, name: string, fire: () => void) {
    this.#clock = clock;
    this.name = name;
    this.fire = fire;
  }
  get deadlineNs(): bigint | undefined {
    return this.#deadlineNs;
  }
  arm(atNs: bigint): void {
    this.#deadlineNs = atNs;
    this.#clock.deadlinesChanged();
    this.#clock.armed(atNs);
  }
  cancel(): void {
    if (this.#deadlineNs === undefined) return;
    this.#deadlineNs = undefined;
    this.#clock.deadlinesChanged();
  }
}

export class VirtualClock implements Clock {
  readonly #view: DataView;
  readonly #retired: () => bigint;
  readonly #timers: ClockTimer[] = [];
  /** The earliest deadline, which each slice of a run asks for; worked out anew once a timer changed. */
  #next: bigint | undefined;
  #nextIsKnown = false;
  /** Told of each armed deadline, so that a running processor stops in time. */
  armed: (atNs: bigint) => void = () => undefined;

  /** `retired` gives the exact number of retired instructions. */
  constructor(view: DataView, retired: () => bigint) {
    this.#view = view;
    this.#retired = retired;
  }

  get baseNs(): bigint {
    return this.#view.getBigInt64(Region.machine + Machine.timeBaseNs, true);
  }
  get baseCount(): bigint {
    return this.#view.getBigInt64(Region.machine + Machine.timeBaseCount, true);
  }
  /** ns per instruction, 16.16 fixed point. */
  get rate(): number {
    return this.#view.getUint32(Region.machine + Machine.timeRate, true);
  }

  setBase(base: { ns: bigint; count: bigint; rate: number }): void {
    this.#view.setBigInt64(Region.machine + Machine.timeBaseNs, base.ns, true);
    this.#view.setBigInt64(Region.machine + Machine.timeBaseCount, base.count, true);
    this.#view.setUint32(Region.machine + Machine.timeRate, base.rate, true);
  }

  now(): bigint {
    return this.baseNs + (((this.#retired() - this.baseCount) * BigInt(this.rate)) >> rateShift);
  }

  /** Fraction of a ns in 1/65536, part of the canonical state. */
  get fraction(): number {
    return Number(((this.#retired() - this.baseCount) * BigInt(this.rate)) & 0xffffn);
  }

  /** Smallest instruction count at which `now()` >= ns. */
  countAt(ns: bigint): bigint {
    const wanted = (ns - this.baseNs) << rateShift;
    if (wanted <= 0n) return this.baseCount;
    const rate = BigInt(this.rate);
    return this.baseCount + (wanted + rate - 1n) / rate;
  }

  /** Time passes without instructions. Never goes back. */
  skipTo(ns: bigint): void {
    const now = this.now();
    if (ns > now) this.setBase({ ns: this.baseNs + (ns - now), count: this.baseCount, rate: this.rate });
  }

  /** From now on `rate` (16.16 ns per instruction). The fraction of a ns reached so far is dropped. */
  setRate(rate: number): void {
    this.setBase({ ns: this.now(), count: this.#retired(), rate });
  }

  /** Moves the base forward by a multiple of 65536 instructions, which changes no result. */
  rebase(): void {
    const behind = this.#retired() - this.baseCount;
    if (behind < rebaseAfter) return;
    const blocks = behind >> rateShift;
    this.setBase({
      ns: this.baseNs + blocks * BigInt(this.rate),
      count: this.baseCount + (blocks << rateShift),
      rate: this.rate,
    });
  }

  timer(name: string, fire: () => void): Timer {
    if (this.#timers.some((timer) => timer.name === name))
      throw new RangeError(`two timers are called ${name}`);
    const timer = new ClockTimer(this, name, fire);
    this.#timers.push(timer);
    return timer;
  }

  /** A timer was armed or cancelled. */
  deadlinesChanged(): void {
    this.#nextIsKnown = false;
  }

  nextDeadline(): bigint | undefined {
    if (this.#nextIsKnown) return this.#next;
    let next: bigint | undefined;
    for (const { deadlineNs } of this.#timers)
      if (deadlineNs !== undefined && (next === undefined || deadlineNs < next)) next = deadlineNs;
    this.#next = next;
    this.#nextIsKnown = true;
    return next;
  }

  /** Fires what is due, earliest first; equal deadlines in the order of creation. Each timer at most once a call. */
  fireDue(): void {
    const next = this.nextDeadline();
    if (next === undefined) return;
    const now = this.now();
    if (next > now) return;
    const due = this.#timers.filter(({ deadlineNs }) => deadlineNs !== undefined && deadlineNs <= now);
    due.sort((a, b) => Number((a.deadlineNs ?? 0n) - (b.deadlineNs ?? 0n)));
    for (const timer of due) {
      if (timer.deadlineNs === undefined || timer.deadlineNs > now) continue; // an earlier one cancelled it
      timer.cancel();
      timer.fire();
    }
  }
}
