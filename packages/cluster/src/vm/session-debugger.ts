/**
 * The debugger at one VM of this node, between who sends its bytes and the VM's thread. While it has the guest stand still the VM is as
 * much this node's as before: it keeps its lease, its checkpoints go on, and nobody takes the guest's silence for a fault. When the
 * debugger goes, in whatever way, the guest runs on; when the VM goes, the debugger is told, and the guest runs on where it is then.
 */
import type { LogEntry } from '../decisions/types.ts';
import { ClusterError } from '../errors.ts';
import type { GuestThread } from './guest-thread.ts';
import type { GuestNews } from './vm-runtime.ts';

/** Who sends a debugger's bytes, and hears what it is told. */
export interface DebuggerCaller {
  hear: (bytes: Uint8Array) => void;
  /** Nothing comes any more; why, in words. */
  over: (reason: string) => void;
}

/** Who hears of debuggers that come and go. */
export interface DebuggerWatch {
  log: (entry: LogEntry) => void;
  attached: (on: boolean) => void;
}

/** A debugger that is at a VM. */
export interface AttachedDebugger {
  send(bytes: Uint8Array): void;
  /** It is gone. */
  end(): void;
}

/** Of bytes that the thread has not taken yet. A debugger waits for its answers, so that whoever sends more is none. */
const maxInFlightBytes = 2 ** 18;

export class SessionDebugger {
  readonly #thread: GuestThread;
  readonly #told: DebuggerWatch;
  #caller: DebuggerCaller | undefined;
  #stopped = false;

  constructor(thread: GuestThread, told: DebuggerWatch) {
    this.#thread = thread;
    this.#told = told;
  }

  /** The guest stands still by its will. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Throws ClusterError `CONFLICT`: the guest is no machine, or somebody debugs it already. */
  async attach(caller: DebuggerCaller): Promise<AttachedDebugger> {
    if (this.#caller !== undefined)
      throw new ClusterError('CONFLICT', 'it has a debugger already', { hint: 'one at a time' });
    this.#caller = caller;
    const opened = await this.#thread.ask('debug', {}).catch(() => false);
    if (this.#caller !== caller)
      throw new ClusterError('CONFLICT', 'it has left this node', { hint: 'try again' });
    if (!opened) {
      this.#caller = undefined;
      throw new ClusterError('CONFLICT', 'its guest is no machine that can be debugged');
    }
    this.#told.log({
      event: 'debugger-attached',
      reason: 'its guest stands still, until the debugger lets it run',
    });
    this.#told.attached(true);
    let inFlight = 0;
    return {
      send: (bytes) => {
        if (this.#caller !== caller) return;
        inFlight += bytes.length;
        if (inFlight > maxInFlightBytes) return this.#left('it sends more than a debugger does');
        const done = (): void => void (inFlight -= bytes.length);
        this.#thread.ask('debugBytes', { bytes }).then(done, done);
      },
      end: () => {
        if (this.#caller === caller) this.#left('it has gone');
      },
    };
  }

  heard(news: Extract<GuestNews, { kind: 'debugger' }>): void {
    if (news.stopped !== undefined) this.#stopped = news.stopped;
    if (news.bytes !== undefined) this.#caller?.hear(news.bytes);
    if (news.closed === true && this.#caller !== undefined) this.#left('it has taken its leave');
  }

  #left(why: string): void {
    this.#gone(why);
    this.#told.attached(false);
    this.#told.log({ event: 'debugger-left', reason: `${why}; its guest runs on` });
    this.#thread.ask('debugEnd', {}).catch(() => undefined);
  }

  /** The VM leaves this node, or has ended. */
  end(why: string): void {
    if (this.#caller !== undefined) this.#gone(why);
  }

  #gone(why: string): void {
    const caller = this.#caller;
    this.#caller = undefined;
    this.#stopped = false;
    caller?.over(why);
  }
}
