/**
 * While a command takes long, because of the cluster or of its own work: on a terminal a line on stderr that says until what and for how
 * long; elsewhere one line, once. Where pages can be counted, progress.ts shows a bar instead.
 */
const firstMs = 2000;
/** Nobody looks at a file meanwhile: only what takes really long is worth a line in it. */
const firstInFileMs = 10_000;
const everyMs = 1000;

type Stream = Pick<NodeJS.WriteStream, 'isTTY' | 'write'>;

export class Waiting {
  readonly #what: string;
  readonly #stream: Stream;
  readonly #timer: NodeJS.Timeout;
  #waitedMs = 0;
  #shown = false;

  constructor(what: string, stream: Stream = process.stderr) {
    this.#what = what;
    this.#stream = stream;
    this.#timer = setInterval(() => {
      this.#tick();
    }, everyMs);
    this.#timer.unref();
  }

  #tick(): void {
    this.#waitedMs += everyMs;
    if (this.#waitedMs < (this.#stream.isTTY ? firstMs : firstInFileMs)) return;
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

/** Does `work`, and shows meanwhile that it is waited until `what`. */
export async function waitingUntil<T>(
  what: string,
  work: () => Promise<T>,
  stream: Stream = process.stderr,
): Promise<T> {
  const waiting = new Waiting(what, stream);
  try {
    return await work();
  } finally {
    waiting.done();
  }
}
