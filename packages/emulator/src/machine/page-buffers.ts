/**
 * Memory for the pages of snapshots, used again and again: fresh memory costs a page fault of the host for each page, which takes longer
 * than copying it. It is shared between threads, so that others can hash and compress the pages where they are, and give it back when they
 * are done.
 */

/** Smaller buffers are not worth a size of their own. */
const minBytes = 1 << 20;
/** Larger ones (a full snapshot's) are used once. */
const maxKeptBytes = 64 << 20;
/** Idle buffers: the one that the next snapshot takes, and one for the spaces beside RAM. */
const maxKept = 4;

/** Shared memory for the pages of snapshots, used again when nobody needs a snapshot's any more. */
export class PageBuffers {
  readonly #idle: SharedArrayBuffer[] = [];

  /** The first `bytes` of a buffer that nobody else has; its contents are not defined. */
  take(bytes: number): Uint8Array {
    if (bytes === 0) return new Uint8Array(0);
    let best = -1;
    this.#idle.forEach(({ byteLength }, n) => {
      if (byteLength >= bytes && byteLength < (this.#idle[best]?.byteLength ?? Infinity)) best = n;
    });
    const [found] = best < 0 ? [] : this.#idle.splice(best, 1);
    // Half as much again, in steps, so that a somewhat larger set of pages finds room in it the next time.
    const size = Math.ceil((bytes * 1.5) / minBytes) * minBytes;
    return new Uint8Array(found ?? new SharedArrayBuffer(size), 0, bytes);
  }

  /** Whoever had the buffer is done with it. One that was not taken from here is welcome too. */
  giveBack(buffer: ArrayBufferLike): void {
    const shared = buffer instanceof SharedArrayBuffer && !this.#idle.includes(buffer);
    if (!shared || buffer.byteLength < minBytes || buffer.byteLength > maxKeptBytes) return;
    this.#idle.push(buffer);
    if (this.#idle.length <= maxKept) return;
    this.#idle.sort((a, b) => b.byteLength - a.byteLength);
    this.#idle.length = maxKept;
  }

  /** Bytes of idle buffers. */
  get idleBytes(): number {
    return this.#idle.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }
}
