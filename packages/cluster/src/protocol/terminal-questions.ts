/**
 * Some of what a guest prints is a question that a terminal answers as if the answer were typed: where the cursor is, what it can do.
 * A console shows what was printed long before, and several may show the same: each answer would then be typed at a guest that asked
 * nothing, or asked once. So questions come through only just after somebody typed here, as when a program that was started asks how
 * wide the terminal is. Questions: ECMA-48 and "XTerm Control Sequences". Runs in a browser.
 */

const askedWithinMs = 10_000;
/** A longer sequence is no question, and is shown as it comes. */
const maxHeldBytes = 1024;

const [enq, bel, can, sub, esc, c1] = [0x05, 0x07, 0x18, 0x1a, 0x1b, 0xc2] as const;

/** Each behind its ESC. */
const questions: readonly RegExp[] = [
  // Device attributes; status and position.
  /^\[[?>=]?[\d;]*[cn]$/,
  /^Z$/,
  // Modes, presentation, parameters, checksums, state of the colours.
  /^\[\??[\d;]*\$[pw]$/,
  /^\[[\d;]*(x|\*y|#S)$/,
  // Version, keyboard, key modifiers, graphics.
  /^\[>[\d;]*q$/,
  /^\[\?[\d;]*[umS]$/,
  // The window's state, place, sizes and titles.
  /^\[(1[1345689]|2[01])[\d;]*t$/,
  // Settings and capabilities; colours and the clipboard.
  /^P[$+]q/,
  /^\].*;\?/s,
];

type State = 'text' | 'c1' | 'escape' | 'control' | 'string';

export class TerminalQuestions {
  readonly #nowMs: () => number;
  #typedMs = -Infinity;
  #state: State = 'text';
  /** Begin of a sequence whose end has not come. */
  #held: number[] = [];

  /** `nowMs`: a clock that never goes back. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Somebody typed here. What begins with ESC may be an answer, and lets no further question through. */
  typed(bytes: Uint8Array): void {
    if (bytes[0] !== esc) this.#typedMs = this.#nowMs();
  }

  /** What of a guest's output, in order and in any pieces, is to be shown. */
  pass(bytes: Uint8Array): Uint8Array {
    const mayAsk = this.#nowMs() - this.#typedMs <= askedWithinMs;
    const shown = new Uint8Array(this.#held.length + bytes.length);
    let length = 0;
    const end = (): void => {
      if (mayAsk || !isQuestion(this.#held)) {
        shown.set(this.#held, length);
        length += this.#held.length;
      }
      this.#held = [];
    };
    for (const byte of bytes) {
      if (this.#state === 'text' && byte !== esc && byte !== enq && byte !== c1) {
        shown[length++] = byte;
        continue;
      }
      if (byte === esc) end();
      this.#state = next(this.#state, byte);
      this.#held.push(byte);
      if (this.#state === 'text' || this.#held.length > maxHeldBytes) end();
    }
    return shown.subarray(0, length);
  }
}

function next(state: State, byte: number): State {
  // ESC ends whatever was begun; that of a string's end (ESC \) is a sequence of its own here.
  if (byte === esc) return 'escape';
  if (byte === can || byte === sub) return 'text';
  switch (state) {
    case 'text':
      return byte === c1 ? 'c1' : 'text';
    case 'c1':
      // The control characters U+0080 to U+009F mean ESC and the character that is 40h less.
      return byte >= 0x80 && byte < 0xa0 ? afterEscape(byte - 0x40) : 'text';
    case 'escape':
      return afterEscape(byte);
    case 'control':
      // A control character acts within a sequence, which goes on behind it.
      return byte >= 0x40 ? 'text' : 'control';
    case 'string':
      return byte === bel ? 'text' : 'string';
  }
}

function afterEscape(byte: number): State {
  const character = String.fromCharCode(byte);
  if (character === '[') return 'control';
  if ('P]X^_'.includes(character)) return 'string';
  // Control characters act; intermediate ones, as of a choice of character set, are followed by the final one.
  return byte < 0x30 ? 'escape' : 'text';
}

function isQuestion(held: readonly number[]): boolean {
  if (held.includes(enq)) return true;
  // A control character of two bytes (C2h) is ESC and another.
  const [first, second = 0] = held;
  const sequence = first === c1 ? [second - 0x40, ...held.slice(2)] : held;
  const text = String.fromCharCode(...sequence.filter((byte) => byte >= 0x20));
  return questions.some((question) => question.test(text));
}
