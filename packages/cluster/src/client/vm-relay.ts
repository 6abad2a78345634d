/** Keeps one websocket open to whichever node has a VM, from node to node: for its console, and for its screen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { isClusterError } from '../errors.ts';
import { encode } from '../protocol/msgpack.ts';
import { subprotocol } from '../protocol/version.ts';

/** Where a VM is open to us: its address, and the subprotocol that proves the token. */
export interface VmPlace {
  url: string;
  proof: string | undefined;
  headers: Record<string, string>;
}

export interface VmRelayParts<Reply> {
  find: () => Promise<VmPlace | undefined>;
  /** Throws ClusterError for what is no message. */
  decode: (frame: Uint8Array) => Reply;
  /** A node hears us from now on. */
  attached: () => void;
  /**
   * What a node says; `isNewest`: the one that we are attached to, by which `endOld` ends the connection to the one before.
   */
  heard: (reply: Reply, from: { isNewest: boolean; endOld: () => void }) => void;
}

const lookMs = 200;
const handshakeMs = 3000;

export class VmRelay<Request, Reply> {
  readonly #parts: VmRelayParts<Reply>;
  #socket: WebSocket | undefined;
  #leaving: WebSocket | undefined;
  #closed = false;
  #url = '';

  constructor(parts: VmRelayParts<Reply>) {
    this.#parts = parts;
    void this.#run();
  }

  /** To the node that has the VM. Dropped when none hears us. */
  post(request: Request): void {
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
        const place = await this.#parts.find();
        if (place !== undefined && place.url !== this.#url) this.#attach(place);
      } catch {
        // No node answers just now: the next look may find one.
      }
      await sleep(lookMs);
    }
  }

  /**
   * A new node's socket takes the place of the old one. While a guest is moved, its last words still come by the old one,
   * which stays until the new one has spoken; it may also be of a frozen process and never close.
   */
  #attach({ url, proof, headers }: VmPlace): void {
    if (this.#closed) return;
    this.#url = url;
    const before = this.#socket;
    if (before !== undefined && before.readyState <= WebSocket.OPEN) {
      this.#leaving?.terminate();
      this.#leaving = before;
    }
    const leaving = this.#leaving;
    const protocols = [subprotocol, ...(proof === undefined ? [] : [proof])];
    const socket = new WebSocket(url, protocols, { handshakeTimeout: handshakeMs, headers });
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('open', () => {
      if (this.#socket === socket && !this.#closed) this.#parts.attached();
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.#url = '';
    });
    socket.on('message', (data) => {
      if (this.#closed || !Buffer.isBuffer(data)) return;
      let reply: Reply;
      try {
        reply = this.#parts.decode(data);
      } catch (error) {
        if (!isClusterError(error)) throw error;
        return socket.terminate();
      }
      const isNewest = this.#socket === socket;
      this.#parts.heard(reply, { isNewest, endOld: () => isNewest && leaving?.terminate() });
    });
  }
}
