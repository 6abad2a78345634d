// Checks what a chain guest let out across failovers: `step N DIGEST`, each from the one before. Under output mode `async` a
// resumed guest repeats what it wrote since its checkpoint; a repetition must be byte-identical, and nothing may be skipped.
export interface ChainRule {
  /** digest(0) */
  first: string;
  next(previous: string, step: number): string;
}

export interface ChainState {
  /** Last step of the unbroken chain. */
  steps: number;
  repeated: number;
  fault: string | undefined;
}

export class ChainChecker {
  readonly #rule: ChainRule;
  readonly #digests: string[];
  #rest = '';
  #epoch = 0;
  #position = 0;
  readonly state: ChainState = { steps: 0, repeated: 0, fault: undefined };

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
    if (step > known + 1) return this.#wrong(`steps ${String(known + 1)} to ${String(step - 1)} are lost`);
    if (!resumed && step !== this.#position + 1)
      return this.#wrong(`step ${String(step)} follows step ${String(this.#position)} within one epoch`);
    this.#position = step;
    const expected = this.#digests[step] ?? this.#rule.next(this.#digests[step - 1]!, step);
    if (match[2] !== expected)
      return this.#wrong(`step ${String(step)} is wrong: ${match[2] ?? ''}, not ${expected}`);
    if (step <= known) this.state.repeated++;
    else this.#digests.push(expected);
    this.state.steps = this.#digests.length - 1;
  }

  #wrong(fault: string): void {
    this.state.fault = fault;
  }
}
