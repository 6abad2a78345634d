/** The last bytes that went through a line, oldest first: a ring that is written in constant time. */
export class SerialLog {
  readonly #ring: Uint8Array;
  /** Bytes ever written; the newest is before `#written` modulo the ring's size. */
  #written = 0;

  constructor(limitBytes: number) {
    this.#ring = new Uint8Array(limitBytes);
  }

  push(byte: number): void {
    this.#ring[this.#written % this.#ring.length] = byte;
    this.#written++;
  }

  /** A copy. */
  contents(): Uint8Array {
    const size = this.#ring.length;
    if (this.#written <= size) return this.#ring.slice(0, this.#written);
    const at = this.#written % size;
    const bytes = new Uint8Array(size);
    bytes.set(this.#ring.subarray(at));
    bytes.set(this.#ring.subarray(0, at), size - at);
    return bytes;
  }

  /** Starts anew with `bytes`, at most the limit of them. */
  load(bytes: Uint8Array): void {
    this.#ring.set(bytes);
    this.#written = bytes.length;
  }
}
