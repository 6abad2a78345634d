/** A bar on stderr for long work; nothing unless stderr is a terminal. */
const barWidth = 30;

export class Progress {
  readonly #what: string;
  readonly #unit: string;
  readonly #stream: NodeJS.WriteStream;
  #shown = -1;

  /** @param unit of what is counted, in the plural */
  constructor(what: string, unit = 'pages', stream: NodeJS.WriteStream = process.stderr) {
    this.#what = what;
    this.#unit = unit;
    this.#stream = stream;
  }

  /** To be given to storage as `onProgress`. */
  readonly update = ({ donePages, totalPages }: { donePages: number; totalPages: number }): void => {
    this.show(donePages, totalPages);
  };

  show(done: number, total: number): void {
    if (!this.#stream.isTTY) return;
    const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
    if (percent === this.#shown) return;
    this.#shown = percent;
    const full = Math.round((percent * barWidth) / 100);
    this.#stream.write(
      `\r${this.#what} [${'#'.repeat(full)}${'.'.repeat(barWidth - full)}] ${percent} % of ${total} ${this.#unit}`,
    );
  }

  /** Clears the line. */
  done(): void {
    if (this.#stream.isTTY && this.#shown >= 0) this.#stream.write('\r\x1b[K');
    this.#shown = -1;
  }
}
