/**
 * What comes through a pipe or from a file instead of a terminal. It waits until the guest reads its serial port, as nobody is there to type it
 * again, and goes in piece by piece. Bounded: the stream is held back while there is enough.
 */

/** The stream is held back above this, and let go on below half of it. */
const heldBytes = 1 << 16;
/** So much at a time, so that what a program of the guest reads later is not lost in its terminal's buffer. */
const pieceBytes = 256;

export interface HeldStream {
  pause(): unknown;
  resume(): unknown;
}

/** Of the guest's serial port. */
export interface Reader {
  /** Whether the guest reads the port. */
  listening: boolean;
  /** Bytes that it has still to read. */
  unread: number;
}

export class PipedInput {
  readonly #stream: HeldStream;
  #bytes: Uint8Array = new Uint8Array(0);
  #total = 0;
  #ended = false;

  constructor(stream: HeldStream) {
    this.#stream = stream;
  }

  push(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    this.#total += bytes.length;
    if (this.#bytes.length >= heldBytes) this.#stream.pause();
  }

  end(): void {
    this.#ended = true;
  }

  /** The next piece, when the guest has read the one before. */
  next({ listening, unread }: Reader): Uint8Array | undefined {
    if (!listening || unread > 0 || this.#bytes.length === 0) return undefined;
    const piece = this.#bytes.slice(0, pieceBytes);
    this.#bytes = this.#bytes.subarray(pieceBytes);
    if (this.#bytes.length < heldBytes / 2 && !this.#ended) this.#stream.resume();
    return piece;
  }

  /** There was something, its end has come, and the guest has read all of it. An empty input (/dev/null) says nothing of an end. */
  done({ unread }: Reader): boolean {
    return this.#ended && this.#total > 0 && this.#bytes.length === 0 && unread === 0;
  }
}
