/**
 * A peer that takes each frame behind its length, big-endian, on a stream of bytes. QEMU's framing (net/stream.c, and socket before it) has
 * four bytes of length, over a unix or TCP socket: passt, gvproxy, socket_vmnet and QEMU itself speak it. VDE's has two (plug-peer.ts).
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { splitFrame } from '../switch/split.ts';
import { copyOf, get16, get32, set16, set32 } from '../wire/bytes.ts';
import { ethernetHeaderBytes } from '../wire/ethernet.ts';
import type { NetworkPort } from './user-network.ts';

export type StreamPlace = { path: string } | { host: string; port: number };

/** How a peer's stream is cut into frames. */
export interface Framing {
  /** Of the length in front of each frame. */
  lengthBytes: 2 | 4;
  /** What the peer sends at most. */
  maxFrameBytes: number;
  /** Frames have an even length; a byte of padding, which Ethernet allows, sees to it. */
  even: boolean;
}

/** 4,096 more than a packet can have: QEMU's NET_BUFSIZE. */
const qemuFraming: Framing = { lengthBytes: 4, maxFrameBytes: 4096 + 65_536, even: false };
/** Beyond it frames for the peer are dropped, as a card does whose segment is busy. */
const maxWaitingBytes = 0x40_0000;

export class StreamPeerError extends Error {
  override readonly name = 'StreamPeerError';
}

/** Takes a stream of bytes apart; `frame` gets each frame. Throws StreamPeerError for a length that no peer sends. */
export class FrameSplitter {
  readonly #framing: Framing;
  #pieces: Uint8Array[] = [];
  #waiting = 0;

  constructor(framing = qemuFraming) {
    this.#framing = framing;
  }

  push(bytes: Uint8Array, frame: (frame: Uint8Array) => void): void {
    const { lengthBytes, maxFrameBytes } = this.#framing;
    this.#pieces.push(bytes);
    this.#waiting += bytes.length;
    for (;;) {
      if (this.#waiting < lengthBytes) return;
      const head = this.#head(lengthBytes);
      const length = lengthBytes === 4 ? get32(head, 0) : get16(head, 0);
      if (length > maxFrameBytes)
        throw new StreamPeerError(`the peer announces a frame of ${length.toString()} bytes`);
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

/** What carries the frames: a socket, or the standard input and output of a program. */
export interface PeerStream {
  readonly reader: Readable;
  readonly writer: Writable;
  /** Breaks it. */
  destroy(): void;
}

export class StreamPeer implements NetworkPort {
  readonly #stream: PeerStream;
  readonly #options: StreamPeerOptions;
  readonly #framing: Framing;
  dropped = 0;
  #ended = false;

  constructor(stream: PeerStream, options: StreamPeerOptions, framing: Framing = qemuFraming) {
    this.#stream = stream;
    this.#options = options;
    this.#framing = framing;
    const splitter = new FrameSplitter(framing);
    stream.reader.on('data', (bytes: Uint8Array) => {
      try {
        if (!this.#ended) splitter.push(bytes, options.toGuest);
      } catch (error) {
        this.end((error as Error).message);
        stream.destroy();
      }
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
    const peer = new StreamPeer(streamOf(socket), options);
    let why: string | undefined;
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('close', () => {
      peer.end(why);
    });
    return peer;
  }

  /** The stream is over: the owner is told, once. */
  end(why: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.ended(why);
  }

  send(frames: readonly Uint8Array[]): void {
    if (this.#ended) return;
    const { writer } = this.#stream;
    writer.cork();
    for (const frame of frames) {
      const parts =
        frame.length <= this.#options.frameBytes ? [frame] : splitFrame(frame, this.#options.frameBytes);
      if (parts.length === 0 || writer.writableLength > maxWaitingBytes) this.dropped++;
      else for (const part of parts) writer.write(this.#framed(part));
    }
    writer.uncork();
  }

  /** A frame behind its length, in one piece. */
  #framed(frame: Uint8Array): Uint8Array {
    const { lengthBytes, even } = this.#framing;
    const length = even ? frame.length + (frame.length & 1) : frame.length;
    const bytes = new Uint8Array(lengthBytes + length);
    if (lengthBytes === 4) set32(bytes, 0, length);
    else set16(bytes, 0, length);
    bytes.set(frame, lengthBytes);
    return bytes;
  }

  close(): Promise<void> {
    this.#ended = true;
    this.#stream.destroy();
    return Promise.resolve();
  }
}

function streamOf(socket: Duplex): PeerStream {
  return {
    reader: socket,
    writer: socket,
    destroy: () => {
      socket.destroy();
    },
  };
}
