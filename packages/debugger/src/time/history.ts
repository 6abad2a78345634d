/** What came into a machine, in order: with it any stretch of a run can be repeated. Give `record` to the machine as its backend `input`. */
import type { LoggedInput } from '@revenant/emulator';

export class History {
  readonly #entries: LoggedInput[];

  /** `entries`: what is known to come in, of a run that is being replayed. */
  constructor(entries: readonly LoggedInput[] = []) {
    this.#entries = [...entries];
  }

  readonly record = (entry: LoggedInput): void => {
    this.#entries.push(entry);
  };

  get length(): number {
    return this.#entries.length;
  }

  from(index: number): readonly LoggedInput[] {
    return this.#entries.slice(index);
  }

  /** Forgets what comes behind the first `length` entries: it will be something else. */
  cut(length: number): void {
    this.#entries.length = Math.min(this.#entries.length, length);
  }
}
