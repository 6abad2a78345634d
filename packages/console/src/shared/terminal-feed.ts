/**
 * Feeds a terminal no faster than it draws. A guest may print a hundred megabytes at once; of what waits only the end is shown, as the
 * terminal would not keep more either.
 */
export interface DrawsBytes {
  write(bytes: Uint8Array, drawn: () => void): void;
}

/** Given to the terminal and not drawn yet. */
const maxDrawingBytes = 256 << 10;
const maxWaitingBytes = 2 << 20;
const encoder = new TextEncoder();

export class TerminalFeed {
  readonly #terminal: DrawsBytes;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #drawingBytes = 0;
  #skippedBytes = 0;

  constructor(terminal: DrawsBytes) {
    this.#terminal = terminal;
  }

  write(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    while (this.#waitingBytes > maxWaitingBytes && this.#waiting.length > 1) {
      const { length } = this.#waiting.shift()!;
      this.#waitingBytes -= length;
      this.#skippedBytes += length;
    }
    this.#draw();
  }

  #draw(): void {
    while (this.#drawingBytes < maxDrawingBytes) {
      const bytes = this.#next();
      if (bytes === undefined) return;
      this.#drawingBytes += bytes.length;
      this.#terminal.write(bytes, () => {
        this.#drawingBytes -= bytes.length;
        this.#draw();
      });
    }
  }

  #next(): Uint8Array | undefined {
    const skipped = this.#skippedBytes;
    if (skipped > 0) {
      this.#skippedBytes = 0;
      // CAN ends an escape sequence that may have been cut in the middle.
      return encoder.encode(`\x18\r\n[${String(skipped)} bytes came faster than they can be shown]\r\n`);
    }
    const first = this.#waiting.shift();
    if (first === undefined) return undefined;
    const now = first.subarray(0, maxDrawingBytes);
    if (now.length < first.length) this.#waiting.unshift(first.subarray(now.length));
    this.#waitingBytes -= now.length;
    return now;
  }
}
