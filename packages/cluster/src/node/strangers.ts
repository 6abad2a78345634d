/**
 * Connections of callers who are not known yet. Whoever connects is one until the token is proven; until then a connection costs a few KiB,
 * and a couple of seconds. When there are too many the oldest makes room: whoever has the token proves it within milliseconds, so a
 * flood has to turn the whole list over in that time to be in the way.
 */
import type { Socket } from 'node:net';
import type { ApiLimits } from './api-limits.ts';
import { owned } from '../owned.ts';

/** Age is counted in looks, not read from a clock: after the process stood still, bytes that came meanwhile are read first. */
const lookMs = 250;
/** What one stranger may ask for (challenges, versions) before the connection ends. */
const maxRequests = 32;

interface Stranger {
  looks: number;
  requests: number;
  since: number;
}

export class Strangers {
  readonly #limits: Pick<ApiLimits, 'strangers' | 'strangerMs' | 'strangerBytes'>;
  readonly #strangers = new Map<Socket, Stranger>();
  readonly #timer: NodeJS.Timeout;
  readonly figures = { met: 0, turnedOut: 0 };

  constructor(limits: Pick<ApiLimits, 'strangers' | 'strangerMs' | 'strangerBytes'>) {
    this.#limits = limits;
    this.#timer = setInterval(
      owned(
        () => this.#look(),
        // The one that it failed for is forgotten, and the next look sees to the others.
        () => undefined,
      ),
      lookMs,
    );
    this.#timer.unref();
  }

  get count(): number {
    return this.#strangers.size;
  }

  meet(socket: Socket): void {
    this.figures.met++;
    for (const oldest of this.#strangers.keys()) {
      if (this.#strangers.size < this.#limits.strangers) break;
      this.#turnOut(oldest);
    }
    this.#strangers.set(socket, { looks: 0, requests: 0, since: socket.bytesRead });
    socket.on('close', () => this.#strangers.delete(socket));
  }

  /** False for the one question too many: the connection is to end with its answer. */
  mayAsk(socket: Socket): boolean {
    const stranger = this.#strangers.get(socket);
    return stranger === undefined || ++stranger.requests <= maxRequests;
  }

  /** It is sent a file of the page, which may take as long as a stranger has. */
  grant(socket: Socket): void {
    const stranger = this.#strangers.get(socket);
    if (stranger !== undefined) stranger.looks = 0;
  }

  /** It proved the token. */
  know(socket: Socket): void {
    this.#strangers.delete(socket);
  }

  /** Counts bytes as they come, for connections that are no HTTP any more; gives a function that ends it. */
  watch(socket: Socket): () => void {
    const count = (): void => this.#count(socket);
    socket.on('data', count);
    return () => socket.off('data', count);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #count(socket: Socket): void {
    const stranger = this.#strangers.get(socket);
    if (stranger !== undefined && socket.bytesRead - stranger.since > this.#limits.strangerBytes)
      this.#turnOut(socket);
  }

  #look(): void {
    for (const [socket, stranger] of this.#strangers) {
      if (++stranger.looks * lookMs > this.#limits.strangerMs) this.#turnOut(socket);
      else this.#count(socket);
    }
  }

  #turnOut(socket: Socket): void {
    this.figures.turnedOut++;
    this.#strangers.delete(socket);
    socket.destroy();
  }
}
