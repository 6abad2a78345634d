/**
 * Checks what a chain guest let out across failovers: `step N DIGEST`, each from the one before. Under output mode `async` a
 * resumed guest repeats what it wrote since its checkpoint; a repetition must be byte-identical, and nothing may be skipped: what a
 * listener missed around a failover is computed here, and proved by the next step that is heard.
 * That is checked at once. Whether each digest follows from the one before costs what the guest's work costs, so `finish` does
 * it afterwards: first around each resume, then all others, as far as its time allows.
 */

export interface ChainRule {
  /** digest(0) */
  first: string;
  next(previous: string, step: number): string;
}

export interface ChainState {
  /** Last step of the unbroken chain. */
  steps: number;
  repeated: number;
  /** Steps that were let out while nobody listened, before a failover: computed here, so that the next one heard proves them. */
  unheard: number;
  fault: string | undefined;
}

/** More steps than a listener can miss around a failover. */
const maxUnheard = 5000;

export class ChainChecker {
  readonly #rule: ChainRule;
  readonly #digests: string[];
  #rest = '';
  #epoch = 0;
  #position = 0;
  /** Steps at which an epoch began. */
  readonly #resumes: number[] = [];
  readonly state: ChainState = { steps: 0, repeated: 0, unheard: 0, fault: undefined };

  constructor(rule: ChainRule) {
    this.#rule = rule;
    this.#digests = [rule.first];
  }

  /** Console bytes in the order in which they came, with the epoch that wrote them. */
  hear(bytes: Uint8Array, epoch: number): void {
    if (epoch !== this.#epoch) {
      // A line that was cut off by the death of its node is written again by the next one.
      this.#rest = '';
      this.#epoch = epoch;
      this.#position = -1;
    }
    const lines = (this.#rest + Buffer.from(bytes).toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line.trim());
  }

  #line(line: string): void {
    const match = /^step (\d+) ([0-9a-f]+)$/.exec(line);
    if (match === null || this.state.fault !== undefined) return;
    const step = Number(match[1]);
    const known = this.#digests.length - 1;
    const resumed = this.#position < 0;
    if (step > known + 1 && !(resumed && step - known <= maxUnheard))
      return this.#wrong(`steps ${String(known + 1)} to ${String(step - 1)} are lost`);
    for (let unheard = known + 1; unheard < step; unheard++) {
      this.#digests.push(this.#rule.next(this.#digests[unheard - 1]!, unheard));
      this.state.unheard++;
    }
    if (!resumed && step !== this.#position + 1)
      return this.#wrong(`step ${String(step)} follows step ${String(this.#position)} within one epoch`);
    if (resumed) this.#resumes.push(step);
    this.#position = step;
    const digest = match[2]!;
    if (step === this.#digests.length) this.#digests.push(digest);
    else if (digest !== this.#digests[step])
      return this.#wrong(
        `step ${String(step)} was repeated as ${digest}, before it was ${this.#digests[step]!}`,
      );
    else this.state.repeated++;
    this.state.steps = this.#digests.length - 1;
  }

  /** Computes links of the chain again, for at most `limitMs`; gives how many. A wrong one shows in `state.fault`. */
  finish(limitMs: number): number {
    const until = performance.now() + limitMs;
    const checked = new Set<number>();
    for (const step of this.#order()) {
      if (checked.has(step)) continue;
      if (performance.now() > until) break;
      checked.add(step);
      const expected = this.#rule.next(this.#digests[step - 1]!, step);
      if (expected === this.#digests[step]) continue;
      this.#wrong(`step ${String(step)} is wrong: ${this.#digests[step]!}, not ${expected}`);
      break;
    }
    return checked.size;
  }

  *#order(): Generator<number> {
    const last = this.state.steps;
    for (const resume of this.#resumes)
      for (let step = Math.max(1, resume - 3); step <= Math.min(last, resume + 3); step++) yield step;
    // Coarse first, then ever finer: where time runs out, what was checked is spread evenly.
    for (let stride = 64; stride >= 1; stride /= 2)
      for (let step = stride; step <= last; step += stride) yield step;
  }

  #wrong(fault: string): void {
    this.state.fault = fault;
  }
}
