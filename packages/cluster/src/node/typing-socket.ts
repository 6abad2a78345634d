/** The way in of a websocket by which somebody uses a VM, a console or a screen: their session's input, and what became of it. */
import { bounded } from '../protocol/limits.ts';
import type { InputReply } from '../protocol/console-ends.ts';
import type { ClusterNode } from './cluster-node.ts';
import type { Units } from './console-inputs.ts';

/** How often it is looked whether the VM takes input. */
export const lookMs = 200;
/** Websocket close codes of ours (RFC 6455, 7.4.2). */
export const closeProtocol = 4400;

export class TypingSocket {
  readonly #node: ClusterNode;
  readonly #vmId: string;
  readonly #send: (reply: InputReply) => void;
  #session: string | undefined;
  #endInput = (): void => undefined;
  #told: string | undefined;

  constructor(node: ClusterNode, vmId: string, send: (reply: InputReply) => void) {
    this.#node = node;
    this.#vmId = vmId;
    this.#send = send;
  }

  /** Says whether the VM takes input, when that has changed. */
  tellState(): void {
    const reason = bounded(this.#node.inputTrouble(this.#vmId) ?? '');
    if (reason !== this.#told) this.#send({ type: 'state', takes: reason === '', reason });
    this.#told = reason;
  }

  open(session: string, from: number): void {
    this.#endInput();
    this.#session = session;
    this.#endInput = this.#node.inputs.open(this.#vmId, session, from, {
      place: (place) => this.#send({ type: 'place', ...place }),
      acknowledged: (taken, durable) => this.#send({ type: 'acknowledged', taken, durable }),
    });
    this.tellState();
  }

  /** False: no session was opened. */
  async type(at: number, units: Units): Promise<boolean> {
    const session = this.#session;
    if (session === undefined) return false;
    if (this.#node.inputTrouble(this.#vmId) === undefined) {
      const typed = await this.#node.inputs.type(this.#vmId, session, at, units);
      if (typed === 'taken') return true;
      this.#told = undefined;
      if (typed === 'full') {
        const reason = 'too much waits for the guest, or for a checkpoint';
        this.#send({ type: 'state', takes: false, reason });
        return true;
      }
    }
    this.tellState();
    return true;
  }

  end(): void {
    this.#endInput();
  }
}
