/** The debugger of a VM's thread: at most one, from when it comes until it is gone. */
import type { Guest, GuestDebugger, GuestNews } from './vm-runtime.ts';

export class ThreadDebugger {
  readonly #tell: (news: GuestNews) => void;
  readonly #wake: () => void;
  #session: GuestDebugger | undefined;
  #opening = false;
  /** What the one before set at the guest has to be gone first. */
  #ending: Promise<void> = Promise.resolve();
  /** What was told last: whether the guest stands still for it. */
  #toldStopped = false;

  /** @param wake has the thread look again whether its guest may run */
  constructor(tell: (news: GuestNews) => void, wake: () => void) {
    this.#tell = tell;
    this.#wake = wake;
  }

  /** The guest is to stand still. */
  get stopped(): boolean {
    return this.#session?.stopped === true;
  }

  /** False: the guest can't be debugged, or is being debugged. */
  async open(guest: Guest): Promise<boolean> {
    if (this.#session !== undefined || this.#opening || guest.debug === undefined) return false;
    this.#opening = true;
    try {
      await this.#ending;
      this.#session = await guest.debug({
        send: (bytes) => this.#tell({ kind: 'debugger', bytes }),
        close: () => this.#tell({ kind: 'debugger', closed: true }),
        changed: this.#wake,
      });
    } finally {
      this.#opening = false;
    }
    this.#wake();
    return true;
  }

  receive(bytes: Uint8Array): void {
    this.#session?.receive(bytes);
  }

  /** Says whether the guest stands still for it, when that has changed. */
  look(): void {
    if (this.stopped === this.#toldStopped) return;
    this.#toldStopped = this.stopped;
    this.#tell({ kind: 'debugger', stopped: this.stopped });
  }

  /** The guest has ended, and its debugger is told so. */
  async lastWords(): Promise<void> {
    await this.#session?.settled();
  }

  async end(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#ending = session?.end() ?? Promise.resolve();
    await this.#ending;
    this.#wake();
  }
}
