// Follows the console of a VM from node to node. Output of an epoch older than one seen before is dropped: it was made by a node that had lost
// the VM. What is typed is kept until a durable checkpoint holds it, and sent again to whichever node runs the VM next, from
// the byte on that its state does not have.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { isClusterError } from '../errors.ts';
import { decodeConsoleReply, type ConsoleReply, type ConsoleRequest } from '../protocol/console.ts';
import { MAX_CONSOLE_BYTES, MAX_UNACKNOWLEDGED_BYTES } from '../protocol/limits.ts';
import { encode } from '../protocol/msgpack.ts';
import { SUBPROTOCOL } from '../protocol/version.ts';

/** Where a console is open to us: its address, and the subprotocol that proves the token. */
export interface ConsolePlace {
  url: string;
  proof: string | undefined;
}

interface FollowerOptions {
  heard: (bytes: Uint8Array, epoch: number) => void;
  /** What people should know about what they typed, a line at a time. */
  said: (line: string) => void;
  find: () => Promise<ConsolePlace | undefined>;
}

const LOOK_MS = 200;
const HANDSHAKE_MS = 3000;
/** A node that took no input for a while may have room again. */
const AGAIN_MS = 200;

export class ConsoleFollower {
  readonly #options: FollowerOptions;
  readonly #session = randomUUID();
  #socket: WebSocket | undefined;
  #leaving: WebSocket | undefined;
  #epoch = 0;
  #bytes = 0;
  #closed = false;
  #url = '';
  /** Typed and not known to be durable; its first byte is the session's byte `#durable`. */
  #kept = Buffer.alloc(0);
  #durable = 0;
  /** Next byte to be sent to the socket that we have; undefined until its node said where input goes on. */
  #next: number | undefined;
  #highest = 0;
  #takes = false;
  /** An `open` of ours is not answered yet. */
  #opening = false;
  #again: NodeJS.Timeout | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    void this.#run();
  }

  /** Types bytes at the guest. False when too much waits already: nothing of these is kept, try again later. */
  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#kept.length + bytes.length > MAX_UNACKNOWLEDGED_BYTES) return false;
    this.#kept = Buffer.concat([this.#kept, bytes]);
    this.#send();
    return true;
  }

  /** Bytes typed that no durable checkpoint is known to hold. */
  get unacknowledged(): number {
    return this.#kept.length;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
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
  #attach({ url, proof }: ConsolePlace): void {
    if (this.#closed) return;
    this.#url = url;
    const before = this.#socket;
    if (before !== undefined && before.readyState <= WebSocket.OPEN) {
      this.#leaving?.terminate();
      this.#leaving = before;
    }
    const leaving = this.#leaving;
    const protocols = [SUBPROTOCOL, ...(proof === undefined ? [] : [proof])];
    const socket = new WebSocket(url, protocols, { handshakeTimeout: HANDSHAKE_MS });
    this.#socket = socket;
    this.#next = undefined;
    socket.on('error', () => undefined);
    socket.on('open', () => this.#open(socket));
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
      if (reply.type === 'output') this.#output(reply, this.#socket === socket ? leaving : undefined);
      else if (this.#socket === socket) this.#heardOfInput(socket, reply);
    });
  }

  #output({ epoch, at, bytes }: Extract<ConsoleReply, { type: 'output' }>, old: WebSocket | undefined): void {
    if (epoch < this.#epoch) return;
    if (epoch > this.#epoch) {
      this.#epoch = epoch;
      this.#bytes = 0;
      old?.terminate();
    }
    // Attached again within one epoch: some of what is kept there was heard before.
    const fresh = bytes.subarray(Math.max(0, this.#bytes - at));
    this.#bytes = Math.max(this.#bytes, at + bytes.length);
    if (fresh.length > 0) this.#options.heard(fresh, epoch);
  }

  #heardOfInput(socket: WebSocket, reply: Exclude<ConsoleReply, { type: 'output' }>): void {
    switch (reply.type) {
      case 'state':
        if (reply.takes) this.#takes = true;
        else this.#hold(socket, reply.reason);
        return this.#send();
      case 'acknowledged':
        this.#drop(reply.durable);
        return this.#send();
      case 'place':
        return this.#place(socket, reply);
    }
  }

  #open(socket: WebSocket): void {
    this.#opening = true;
    this.#post(socket, { type: 'open', session: this.#session, from: this.#durable });
  }

  #place(socket: WebSocket, { at, durable, known }: Extract<ConsoleReply, { type: 'place' }>): void {
    // The VM began anew here from a state that does not know us: input goes on from what we keep.
    if (!known && !this.#opening) return this.#open(socket);
    this.#opening = false;
    if (known && at < this.#durable)
      this.#options.said(
        `${String(this.#durable - at)} bytes typed are not in the state that the guest went on from, and are lost`,
      );
    this.#drop(durable);
    this.#next = Math.max(at, this.#durable);
    const again = this.#highest - this.#next;
    if (again > 0) this.#options.said(`${String(again)} bytes not acknowledged were sent again`);
    this.#send();
  }

  #hold(socket: WebSocket, reason: string): void {
    if (this.#takes && this.#kept.length > 0) this.#options.said(`what is typed waits: ${reason}`);
    this.#takes = false;
    // What was on its way was not taken; the node says from where, once it takes input again.
    this.#next = undefined;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      if (this.#socket === socket && !this.#closed) this.#open(socket);
    }, AGAIN_MS);
  }

  #drop(durable: number): void {
    if (durable <= this.#durable) return;
    this.#kept = this.#kept.subarray(Math.min(durable - this.#durable, this.#kept.length));
    this.#durable = durable;
  }

  #send(): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || this.#next === undefined || !this.#takes) return;
    const end = this.#durable + this.#kept.length;
    while (this.#next < end) {
      const from = this.#next - this.#durable;
      const bytes = this.#kept.subarray(from, from + MAX_CONSOLE_BYTES);
      this.#post(socket, { type: 'input', at: this.#next, bytes });
      this.#next += bytes.length;
    }
    this.#highest = Math.max(this.#highest, this.#next);
  }

  #post(socket: WebSocket, request: ConsoleRequest): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(encode(request));
  }
}
