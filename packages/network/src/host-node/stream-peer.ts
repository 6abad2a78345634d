/**
 * A peer that speaks QEMU's stream framing (net/stream.c, and socket before it): each frame behind its length in four bytes, big-endian, over a
 * unix or TCP socket. passt, vde's plugs, gvproxy, socket_vmnet and QEMU itself speak it.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { splitFrame } from '../switch/split.ts';
import { copyOf } from '../wire/bytes.ts';
import { ethernetHeaderBytes } from '../wire/ethernet.ts';
import type { NetworkPort } from './user-network.ts';

export type StreamPlace = { path: string } | { host: string; port: number };

/** What QEMU sends at most: its NET_BUFSIZE. */
const maxPeerFrameBytes = 4096 + 65_536;
/** Beyond it frames for the peer are dropped, as a card does whose segment is busy. */
const maxWaitingBytes = 0x40_0000;
const lengthBytes = 4;

export class StreamPeerError extends Error {
  override readonly name = 'StreamPeerError';
}

/** Takes a stream of bytes apart; `frame` gets each frame. Throws StreamPeerError for a length that no peer sends. */
export class FrameSplitter {
  #pieces: Uint8Array[] = [];
  #waiting = 0;

  push(bytes: Uint8Array, frame: (frame: Uint8Array) => void): void {
    this.#pieces.push(bytes);
    this.#waiting += bytes.length;
    for (;;) {
      if (this.#waiting < lengthBytes) return;
      const head = this.#head(lengthBytes);
      const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
      if (length > maxPeerFrameBytes) throw new StreamPeerError(`the peer announces a frame of ${length.toString()} bytes`); // prettier-ignore
      if (this.#waiting < lengthBytes + length) return;
      const whole = this.#head(lengthBytes + length);
      this.#waiting -= whole.length;
      this.#pieces[0] = this.#pieces[0]!.subarray(whole.length);
      if (length >= ethernetHeaderBytes) frame(copyOf(whole.subarray(lengthBytes)));
    }
  }

  /** The first `count` bytes, in one piece. */
  #head(count: number): Uint8Array {
    if (this.#pieces[0]!.length < count) {
      const joined = new Uint8Array(this.#waiting);
      let at = 0;
      for (const piece of this.#pieces) {
        joined.set(piece, at);
        at += piece.length;
      }
      this.#pieces = [joined];
    }
    return this.#pieces[0]!.subarray(0, count);
  }
}

export interface StreamPeerOptions {
  toGuest: (frame: Uint8Array) => void;
  /** The peer is gone; undefined when it left in order. */
  ended: (why: string | undefined) => void;
  /** The largest frame that the peer takes. */
  frameBytes: number;
}

export class StreamPeer implements NetworkPort {
  readonly #socket: Socket;
  readonly #options: StreamPeerOptions;
  dropped = 0;

  private constructor(socket: Socket, options: StreamPeerOptions) {
    this.#socket = socket;
    this.#options = options;
    const splitter = new FrameSplitter();
    socket.on('data', (bytes) => {
      try {
        splitter.push(bytes, options.toGuest);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    let why: string | undefined;
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('close', () => {
      options.ended(why);
    });
  }

  /** Throws StreamPeerError when nobody listens there. */
  static async connect(place: StreamPlace, options: StreamPeerOptions): Promise<StreamPeer> {
    const socket = connect({ ...place, noDelay: true });
    try {
      await once(socket, 'connect');
    } catch (error) {
      throw new StreamPeerError((error as Error).message, { cause: error });
    }
    return new StreamPeer(socket, options);
  }

  send(frames: readonly Uint8Array[]): void {
    this.#socket.cork();
    for (const frame of frames) {
      const parts =
        frame.length <= this.#options.frameBytes ? [frame] : splitFrame(frame, this.#options.frameBytes);
      if (parts.length === 0 || this.#socket.writableLength > maxWaitingBytes) this.dropped++;
      else for (const part of parts) this.#write(part);
    }
    this.#socket.uncork();
  }

  #write(frame: Uint8Array): void {
    const head = new Uint8Array(lengthBytes);
    new DataView(head.buffer).setUint32(0, frame.length);
    this.#socket.write(head);
    this.#socket.write(frame);
  }

  close(): Promise<void> {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
    return Promise.resolve();
  }
}
