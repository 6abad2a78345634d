/**
 * Memory for large frames, and for what comes from sockets in bulk until the guest has acknowledged it, used again and again. What is taken anew for each frame counts as memory outside of the heap, and V8 collects the
 * whole heap whenever that has grown by some tens of MiB: in bulk transfers, several times a second.
 */
import { maxFrameBytes } from '../wire/ethernet.ts';

/** Smaller frames have memory of their own: they may stay for long, and must not keep more than they need. */
const largeBytes = 0x4000;
/** As many as a gateway makes at one time. */
const mostKept = 32;

export class FrameBuffers {
  readonly #kept: Uint8Array[] = [];

  /** Memory for a frame; what a large one holds is whatever was there before. */
  readonly take = (bytes: number): Uint8Array => {
    if (bytes < largeBytes) return new Uint8Array(bytes);
    return (this.#kept.pop() ?? new Uint8Array(maxFrameBytes)).subarray(0, bytes);
  };

  /** A frame that nobody will look at again. */
  give(frame: Uint8Array): void {
    if (frame.length < largeBytes || frame.buffer.byteLength !== maxFrameBytes) return;
    if (this.#kept.length < mostKept) this.#kept.push(new Uint8Array(frame.buffer));
  }
}
