/**
 * The clock of a node's decisions: monotonic, and never behind what another clock of this host shows to have passed. CLOCK_MONOTONIC stands
 * still while the host sleeps, or while the hypervisor below pauses it and says so later; a node that woke would believe a lease that
 * others saw end. CLOCK_BOOTTIME counts sleep, and the wall clock is set right after a pause. Where all of them stand still together,
 * nothing on this host can tell: then its next renewal is refused by the store, and until then it believes what is left of its lease.
 */

/** Clocks of one host, in milliseconds, read together. */
export interface ClockReadings {
  monotonicMs: number;
  /** Since the host booted, sleep included. */
  bootMs: number;
  /** Since 1970; may be set. */
  wallMs: number;
}

/** Coarse clocks and small corrections are no gap. */
const toleranceMs = 300;

export class SteadyClock {
  readonly #read: () => ClockReadings;
  #last: ClockReadings;
  #lostMs = 0;

  constructor(read: () => ClockReadings) {
    this.#read = read;
    this.#last = read();
  }

  /** The monotonic clock, and what it is known to have missed. */
  now(): number {
    const now = this.#read();
    const passed = now.monotonicMs - this.#last.monotonicMs;
    // A wall clock that is set forward by a person looks the same, and costs a lease at most; set back it shows nothing.
    const most = Math.max(now.bootMs - this.#last.bootMs, now.wallMs - this.#last.wallMs);
    if (most - passed > toleranceMs) this.#lostMs += most - passed;
    this.#last = now;
    return now.monotonicMs + this.#lostMs;
  }

  /** How much the monotonic clock is known to have missed. */
  get lostMs(): number {
    return this.#lostMs;
  }
}
