/** A bar on stderr for long work; nothing unless stderr is a terminal. */
const barWidth = 30;

export class Progress {
  readonly #what: string;
  readonly #stream: NodeJS.WriteStream;
  #shown = -1;

  constructor(what: string, stream: NodeJS.WriteStream = process.stderr) {
    this.#what = what;
    this.#stream = stream;
  }

  /** To be given to storage as `onProgress`. */
  readonly update = ({ donePages, totalPages }: { donePages: number; totalPages: number }): void => {
    if (!this.#stream.isTTY) return;
    const percent = totalPages === 0 ? 100 : Math.floor((donePages * 100) / totalPages);
    if (percent === this.#shown) return;
    this.#shown = percent;
    const full = Math.round((percent * barWidth) / 100);
    this.#stream.write(
      `\r${this.#what} [${'#'.repeat(full)}${'.'.repeat(barWidth - full)}] ${percent} % of ${totalPages} pages`,
    );
  };

  /** Clears the line. */
  done(): void {
    if (this.#stream.isTTY && this.#shown >= 0) this.#stream.write('\r\x1b[K');
  }
}
