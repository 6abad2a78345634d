/** From what a person named to a machine that runs forwards and backwards. */
import type { EngineFactory, StampedOutput } from '@revenant/emulator';
import { History, TimeMachine } from '@revenant/debugger';
import { readyGuest, type ReadyGuest } from '../run/guest.ts';
import type { RunOptions } from '../run/options.ts';

export interface OpenTarget {
  target: TimeMachine;
  close(): Promise<void>;
}

/**
 * Shows each byte of the guest's console once, however often its run is repeated; what the guest says in another future comes as well.
 */
export class ConsoleOnce {
  readonly #show: (bytes: Uint8Array, count: bigint) => void;
  /** Numbers of the first byte not shown, and of the first one not made as the run stands. */
  #shown = 0;
  #made = 0;

  constructor(show: (bytes: Uint8Array, count: bigint) => void) {
    this.#show = show;
  }

  readonly take = ({ output, number, instructions }: StampedOutput): boolean => {
    if (output.kind !== 'serial' || output.port !== 0) return true;
    this.#made = number + output.bytes.length;
    if (this.#made <= this.#shown) return true;
    this.#show(output.bytes.subarray(Math.max(0, this.#shown - number)), instructions);
    this.#shown = this.#made;
    return true;
  };

  /** From here on the guest says something else. */
  forget(): void {
    this.#shown = this.#made;
  }
}

export interface OpenOptions {
  say: (line: string) => void;
  /** What the guest writes to its first serial port. */
  console?: (bytes: Uint8Array) => void;
  engine?: EngineFactory;
}

function begin({ machine, plan }: ReadyGuest, history: History, onFuture: () => void): TimeMachine {
  if (plan === undefined) return new TimeMachine({ machine, history, onFuture });
  const boot = (): void => {
    machine.boot(plan);
  };
  return new TimeMachine({ machine, history, onFuture, boot });
}

/** Throws CliError for a guest that can't be started. */
export async function openTarget(options: RunOptions, open: OpenOptions): Promise<OpenTarget> {
  const history = new History();
  const once = new ConsoleOnce(open.console ?? (() => undefined));
  const ready = await readyGuest(
    options,
    { output: once.take, input: history.record },
    open.say,
    ...(open.engine === undefined ? [] : [open.engine]),
  );
  const target = begin(ready, history, () => {
    once.forget();
  });
  return {
    target,
    close: async () => {
      await ready.restoring?.close();
    },
  };
}
