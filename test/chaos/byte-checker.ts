/**
 * Counts every byte that a client hears of a chain guest whose outputs leave by a policy that takes nothing back: the whole of it must be
 * the text of the chain from its first step on, without a byte lost, doubled or changed, however often its owner died. Where the console
 * says that bytes may be repeated, those bytes must come again as they were, and somebody else judges whether they were allowed to.
 */
import type { ChainRule } from '@revenant/cluster';

/** Of what was heard, for what is said again: more than a console is ever behind. */
const maxRecent = 1 << 20;

export class ByteChecker {
  readonly #rule: ChainRule;
  #digest: string;
  #step = 0;
  #expected = '';
  #recent = '';
  /** Bytes without those that came again. */
  bytes = 0;
  /** How many came again, each time that the console said so. */
  readonly repeats: number[] = [];
  fault: string | undefined;

  constructor(rule: ChainRule) {
    this.#rule = rule;
    this.#digest = rule.first;
  }

  hear(bytes: Uint8Array): void {
    if (this.fault !== undefined) return;
    const text = Buffer.from(bytes).toString('latin1');
    while (this.#expected.length < text.length) {
      this.#step++;
      this.#digest = this.#rule.next(this.#digest, this.#step);
      this.#expected += `step ${this.#step} ${this.#digest}\n`;
    }
    if (this.#expected.startsWith(text)) {
      this.#expected = this.#expected.slice(text.length);
      this.#recent += text;
      // Not at each piece: what is kept is copied then.
      if (this.#recent.length > 2 * maxRecent) this.#recent = this.#recent.slice(-maxRecent);
      this.bytes += text.length;
      return;
    }
    const wanted = JSON.stringify(this.#expected.slice(0, 60));
    this.fault = `byte ${this.bytes}: heard ${JSON.stringify(text.slice(0, 60))}, where ${wanted} comes next`;
  }

  /** What the console said. */
  said(line: string): void {
    if (!/of output/.test(line)) return;
    const count = Number(/^(\d+) bytes of output may be repeated here$/.exec(line)?.[1] ?? Infinity);
    if (count > this.#recent.length) {
      this.fault ??= line;
      return;
    }
    this.repeats.push(count);
    this.bytes -= count;
    this.#expected = this.#recent.slice(-count) + this.#expected;
    this.#recent = this.#recent.slice(0, -count);
  }
}
