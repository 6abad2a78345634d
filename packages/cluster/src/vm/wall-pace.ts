// How a guest's virtual time follows the wall clock: while the guest waits, time passes as it does outside. A guest that computes
// falls behind when its host is slower than its clock says, and catches up in its next waits, within bounds.
const maxLagNs = 1_000_000_000n;

export class WallPace {
  readonly #nowNs: () => bigint;
  /** Wall clock minus virtual time, in ns. */
  #offsetNs: bigint | undefined;

  /** `nowNs`: a monotonic clock. */
  constructor(nowNs: () => bigint = () => process.hrtime.bigint()) {
    this.#nowNs = nowNs;
  }

  /** The virtual time, in ns, that the wall clock says it is; never more than a second ahead of `timeNs`: no leap after a pause. */
  due(timeNs: bigint): bigint {
    const now = this.#nowNs();
    this.#offsetNs ??= now - timeNs;
    const lag = now - this.#offsetNs - timeNs;
    if (lag > maxLagNs) this.#offsetNs += lag - maxLagNs;
    return now - this.#offsetNs;
  }
}
