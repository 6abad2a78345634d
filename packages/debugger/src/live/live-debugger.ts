/** One debugger at a machine that lives: bytes in, bytes out, and what its host is to do with the machine meanwhile. */
import { hasLongMode, type Machine, type RunResult } from '@revenant/emulator';
import { makeLiveMonitor } from '../gdb/monitor.ts';
import { archOf } from '../gdb/registers.ts';
import { GdbStub } from '../gdb/stub.ts';
import { linuxCommands } from '../lx/commands.ts';
import { LiveTarget } from './live-target.ts';

export interface LiveDebuggerOptions {
  machine: Machine;
  /** To the debugger. */
  send: (bytes: Uint8Array) => void;
  /** It wants to go, or speaks another protocol. */
  close: () => void;
  /** The machine is to run, or to stand still. */
  changed: () => void;
  /** Milliseconds of the host. */
  clock: () => number;
  /** Lets the host do other things for a moment. */
  breathe: () => Promise<void>;
}

export class LiveDebugger {
  readonly #target: LiveTarget;
  readonly #stub: GdbStub;
  readonly #waiting: (() => void)[] = [];

  constructor({ machine, send, close, changed, clock, breathe }: LiveDebuggerOptions) {
    const target = new LiveTarget(machine, () => {
      this.#wake();
      changed();
    });
    this.#target = target;
    const linux = linuxCommands(target);
    const { model } = machine.description.cpu;
    this.#stub = new GdbStub({
      ...{ target, send, close, clock, monitor: makeLiveMonitor(target, linux.commands), file: linux.file },
      arch: archOf(machine.registers(), hasLongMode(model)),
      // While the machine runs there is nothing to do here until it stops, or the debugger wants it to.
      breathe: () => (target.runs ? new Promise((resolve) => this.#waiting.push(resolve)) : breathe()),
    });
  }

  #wake(): void {
    for (const each of this.#waiting.splice(0)) each();
  }

  /** The machine is to stand still. */
  get stopped(): boolean {
    return !this.#target.runs;
  }

  /** Of `most` instructions so many may be executed in the next turn; `leaves`: a breakpoint on the first of them was stopped at. */
  turn(most: number): { most: number; leaves: boolean } {
    return { most: this.#target.most(most), leaves: this.#target.leaves };
  }

  /** What a turn of the machine ended with. */
  ran(result: RunResult): void {
    this.#target.ran(result);
  }

  receive(bytes: Uint8Array): void {
    this.#stub.receive(bytes);
    this.#wake();
  }

  /** What it was told so far has been answered. */
  async settled(): Promise<void> {
    await this.#stub.settled();
  }

  /** The debugger is gone: nothing of it is left at the machine. */
  async end(): Promise<void> {
    const gone = this.#stub.disconnected();
    this.#wake();
    await gone;
  }
}
