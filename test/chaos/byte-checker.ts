/**
 * Counts every byte that a client hears of a chain guest whose outputs leave by a policy that takes nothing back: the whole of it must be
 * the text of the chain from its first step on, without a byte lost, doubled or changed, however often its owner died.
 */
import type { ChainRule } from '@revenant/cluster';

export class ByteChecker {
  readonly #rule: ChainRule;
  #digest: string;
  #step = 0;
  #expected = '';
  bytes = 0;
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
      this.bytes += text.length;
      return;
    }
    const wanted = JSON.stringify(this.#expected.slice(0, 60));
    this.fault = `byte ${this.bytes}: heard ${JSON.stringify(text.slice(0, 60))}, where ${wanted} comes next`;
  }

  /** What the console said: with such a policy it has nothing to say of output. */
  said(line: string): void {
    if (/of output/.test(line)) this.fault ??= line;
  }
}
