/** While a command waits for the cluster: on a terminal a line on stderr that says for what and how long; elsewhere one line, once. */
const firstMs = 2000;
const everyMs = 1000;

export class Waiting {
  readonly #what: string;
  readonly #stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write'>;
  readonly #timer: NodeJS.Timeout;
  #waitedMs = 0;
  #shown = false;

  constructor(what: string, stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr) {
    this.#what = what;
    this.#stream = stream;
    this.#timer = setInterval(() => {
      this.#tick();
    }, everyMs);
    this.#timer.unref();
  }

  #tick(): void {
    this.#waitedMs += everyMs;
    if (this.#waitedMs < firstMs) return;
    if (this.#stream.isTTY)
      this.#stream.write(`\rwaiting until ${this.#what} (${String(this.#waitedMs / 1000)} s)\x1b[K`);
    else if (!this.#shown) this.#stream.write(`revenant: waiting until ${this.#what}\n`);
    this.#shown = true;
  }

  /** Clears the line. */
  done(): void {
    clearInterval(this.#timer);
    if (this.#shown && this.#stream.isTTY) this.#stream.write('\r\x1b[K');
  }
}
