/**
 * Who asked a node for what: one event each, as everything that changes a VM or the cluster has one (docs/CLUSTER_PROTOCOL.md, "Roles").
 */
import type { LogEntry } from '../decisions/types.ts';
import { bounded, maxCause } from '../protocol/limits.ts';
import type { Caller } from '../protocol/page.ts';
import { callerName } from './callers.ts';

/** Of what somebody does many times, as typing is, one event is written in so long. */
const againMs = 60_000;
const maxRemembered = 1024;

export class Audit {
  readonly #log: (entry: LogEntry) => void;
  readonly #said = new Map<string, number>();

  constructor(log: (entry: LogEntry) => void) {
    this.#log = log;
  }

  /** @param what as in `vm-stop`, and what became of it */
  note(caller: Caller, what: string, about: Pick<LogEntry, 'vm' | 'node'> = {}): void {
    this.#log({ event: 'asked', ...about, reason: bounded(`${callerName(caller)}: ${what}`, maxCause) });
  }

  /** Notes it if it was not noted within the last minute. */
  noteSometimes(caller: Caller, what: string, about: { vm: string }): void {
    const key = JSON.stringify([caller.name, what, about.vm]);
    const now = performance.now();
    if (now - (this.#said.get(key) ?? -Infinity) < againMs) return;
    this.#said.delete(key);
    this.#said.set(key, now);
    for (const oldest of this.#said.keys()) {
      if (this.#said.size <= maxRemembered) break;
      this.#said.delete(oldest);
    }
    this.note(caller, what, about);
  }
}
