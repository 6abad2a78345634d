/** From what a person named to a machine that runs forwards and backwards. */
import type { EngineFactory } from '@revenant/emulator';
import { ConsoleOnce, History, TimeMachine } from '@revenant/debugger/time';
import { readyGuest, type ReadyGuest } from '../run/guest.ts';
import type { RunOptions } from '../run/options.ts';

export interface OpenTarget {
  target: TimeMachine;
  close(): Promise<void>;
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
