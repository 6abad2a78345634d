/** A debugger's way to a VM that runs: gdb's remote protocol, byte for byte, to the node that has it. It follows the VM nowhere. */
import { WebSocket } from 'ws';
import { ClusterError } from '../errors.ts';
import { watchLiveness } from '../liveness.ts';
import { subprotocol } from '../protocol/version.ts';
import type { VmPlace } from './vm-relay.ts';

const handshakeMs = 10_000;

export interface DebugLinkEnds {
  hear: (bytes: Uint8Array) => void;
  /** The link has ended: why, in words. The guest runs on. */
  over: (reason: string) => void;
}

export class DebugLink {
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket, { hear, over }: DebugLinkEnds) {
    this.#socket = socket;
    watchLiveness(socket);
    socket.on('error', () => undefined);
    socket.on('message', (data) => {
      if (Buffer.isBuffer(data)) hear(data);
    });
    socket.on('close', (_code, reason) => over(reason.toString() || 'the node is gone'));
  }

  /** Throws ClusterError `UNREACHABLE`. What the node refuses is told as the link's end. */
  static async open({ url, proof, headers }: VmPlace, ends: DebugLinkEnds): Promise<DebugLink> {
    const protocols = [subprotocol, ...(proof === undefined ? [] : [proof])];
    const socket = new WebSocket(url, protocols, { handshakeTimeout: handshakeMs, headers });
    const link = new DebugLink(socket, ends);
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(
          new ClusterError('UNREACHABLE', `no debugger can be attached: ${error.message}`, { cause: error }),
        );
      socket.once('open', () => resolve());
      socket.once('error', fail);
    });
    return link;
  }

  send(bytes: Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  close(): void {
    this.#socket.close();
  }
}
