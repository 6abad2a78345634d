/**
 * What a client outside hears of a guest that counts its requests: each answer names the request, and says how many there were. The guest
 * keeps its count in its memory, so an answer also tells whether its state is one that follows from all that was answered before.
 *
 * What always holds, by every policy: one request counts once, in the order in which they were sent; and what was answered is not taken back on
 * the connection that heard it. With a policy that takes nothing back it is never taken back. A request whose connection broke may have
 * been counted, or be counted later: at most so many counts come without an answer.
 */
export class AnswerChecker {
  /** As the last answer said. */
  #count = 0;
  /** Requests whose answer can't come any more. */
  #doubtful = 0;
  #asked: string | undefined;
  #isNew = true;
  answers = 0;
  /** How often a guest went on from behind what was answered, on a new connection. */
  takenBack = 0;
  fault: string | undefined;

  /** A request is sent. */
  asks(request: string): void {
    this.#asked = request;
  }

  /** A line came. */
  hear(line: string): void {
    if (this.fault !== undefined) return;
    const [, request, digits = ''] = /^(\S+) (\d+)$/.exec(line) ?? [];
    const count = Number(digits);
    if (request === undefined || request !== this.#asked)
      this.fault = `heard ${JSON.stringify(line)} where an answer to ${this.#asked ?? 'nothing'} comes next`;
    else if (count <= this.#count) this.#behind(count);
    else if (count > this.#count + 1 + this.#doubtful)
      this.fault = `request ${request} is number ${count} to the guest, behind ${this.#count} that were answered and ${this.#doubtful} in doubt: some were counted twice`;
    else this.#doubtful -= count - this.#count - 1;
    this.#asked = undefined;
    this.#isNew = false;
    this.#count = count;
    this.answers++;
  }

  #behind(count: number): void {
    if (!this.#isNew)
      this.fault = `an answer was taken back: after ${this.#count} the guest counted ${count} on the same connection`;
    this.takenBack++;
    // What was in doubt then may have been counted in the life that is gone, or not: it can't come again behind this.
    this.#doubtful = 0;
  }

  /** The connection broke, or was given up. */
  broke(): void {
    if (this.#asked !== undefined) this.#doubtful++;
    this.#asked = undefined;
    this.#isNew = true;
  }
}
