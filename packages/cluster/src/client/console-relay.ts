// Keeps one console attached to a VM from node to node, and hands on what both ends say (protocol/console.ts). Output of an epoch older
// than one heard before is dropped: it was made by a node that had lost the VM.
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { isClusterError } from '../errors.ts';
import { HeardOutput, type InputReply, type OutputPiece } from '../protocol/console-ends.ts';
import { decodeConsoleReply, type ConsoleReply, type ConsoleRequest } from '../protocol/console.ts';
import { encode } from '../protocol/msgpack.ts';
import { SUBPROTOCOL } from '../protocol/version.ts';

/** Where a console is open to us: its address, and the subprotocol that proves the token. */
export interface ConsolePlace {
  url: string;
  proof: string | undefined;
  headers: Record<string, string>;
}

export interface RelayOptions {
  find: () => Promise<ConsolePlace | undefined>;
  heard: (piece: OutputPiece) => void;
  /** A node hears us from now on: input has to be opened there. */
  attached: () => void;
  heardOfInput: (reply: InputReply) => void;
  /** What people should know about what they heard. Absent: whoever is told of pieces finds out. */
  said?: (line: string) => void;
}

const LOOK_MS = 200;
const HANDSHAKE_MS = 3000;

export class ConsoleRelay {
  readonly #options: RelayOptions;
  readonly #output: HeardOutput;
  #socket: WebSocket | undefined;
  #leaving: WebSocket | undefined;
  #closed = false;
  #url = '';

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#output = new HeardOutput(options.said ?? (() => undefined));
    void this.#run();
  }

  /** To the node that has the VM. Dropped when none hears us. */
  post(request: ConsoleRequest): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encode(request));
  }

  close(): void {
    this.#closed = true;
    this.#leaving?.terminate();
    this.#socket?.terminate();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const place = await this.#options.find();
        if (place !== undefined && place.url !== this.#url) this.#attach(place);
      } catch {
        // No node answers just now: the next look may find one.
      }
      await sleep(LOOK_MS);
    }
  }

  /**
   * A new node's socket takes the place of the old one. While a guest is moved, its last words still come by the old one,
   * which stays until the new one has spoken; it may also be of a frozen process and never close.
   */
  #attach({ url, proof, headers }: ConsolePlace): void {
    if (this.#closed) return;
    this.#url = url;
    const before = this.#socket;
    if (before !== undefined && before.readyState <= WebSocket.OPEN) {
      this.#leaving?.terminate();
      this.#leaving = before;
    }
    const leaving = this.#leaving;
    const protocols = [SUBPROTOCOL, ...(proof === undefined ? [] : [proof])];
    const socket = new WebSocket(url, protocols, { handshakeTimeout: HANDSHAKE_MS, headers });
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('open', () => {
      if (this.#socket === socket && !this.#closed) this.#options.attached();
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.#url = '';
    });
    socket.on('message', (data) => {
      if (this.#closed || !Buffer.isBuffer(data)) return;
      let reply: ConsoleReply;
      try {
        reply = decodeConsoleReply(data);
      } catch (error) {
        if (!isClusterError(error)) throw error;
        return socket.terminate();
      }
      const isNewest = this.#socket === socket;
      if (reply.type === 'output') this.#heard(reply, isNewest ? leaving : undefined);
      else if (isNewest) this.#options.heardOfInput(reply);
    });
  }

  #heard(piece: OutputPiece, old: WebSocket | undefined): void {
    if (piece.epoch > this.#output.epoch) old?.terminate();
    const fresh = this.#output.fresh(piece);
    if (fresh !== undefined) this.#options.heard(fresh);
  }
}
