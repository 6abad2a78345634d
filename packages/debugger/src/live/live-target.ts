/**
 * A machine that lives, for a debugger: its host runs it, turn by turn, as it always does, and asks here whether and how far. What a
 * debugger writes is given to the machine as an input, so a log that is replayed, and whoever follows the machine, has it too.
 *
 * Always: without a debugger's will the machine stands still. It is the machine that it would be without one, but for what is written.
 */
import type { CpuState, Machine, RunResult } from '@revenant/emulator';
import type { DebugTarget, Stop } from '../gdb/target.ts';

/** A run that a debugger asked for. */
interface Goal {
  from: bigint;
  limit: bigint | undefined;
  stop: Stop | undefined;
}

export class LiveTarget implements DebugTarget {
  readonly machine: Machine;
  readonly past = undefined;
  readonly #changed: () => void;
  #goal: Goal | undefined;

  /** @param changed hears when the machine is to run, or stands still from now on */
  constructor(machine: Machine, changed: () => void) {
    this.machine = machine;
    this.#changed = changed;
  }

  get count(): bigint {
    return this.machine.instructions;
  }

  /** Whether the machine is to run. */
  get runs(): boolean {
    return this.#goal !== undefined && this.#goal.stop === undefined;
  }

  *forward(limit?: bigint): Generator<undefined, Stop> {
    const goal: Goal = { from: this.count, limit, stop: undefined };
    this.#goal = goal;
    this.#changed();
    try {
      while (goal.stop === undefined) yield;
      return goal.stop;
    } finally {
      this.#goal = undefined;
      this.#changed();
    }
  }

  /** Of `most` instructions, so many may be executed in the next turn. */
  most(most: number): number {
    const { limit } = this.#goal ?? {};
    return limit === undefined ? most : Math.max(1, Math.min(most, Number(limit - this.count)));
  }

  /** A breakpoint on the very next instruction does not stop it: the debugger has seen it. */
  get leaves(): boolean {
    return this.#goal?.from === this.count;
  }

  /** What a turn ended with. A reset is none of a debugger's ends: the guest starts again. */
  ran({ reason, watch, status = 0 }: RunResult): void {
    const goal = this.#goal;
    if (goal === undefined || goal.stop !== undefined) return;
    switch (reason) {
      case 'breakpoint':
        goal.stop = { kind: 'breakpoint' };
        break;
      case 'watchpoint':
        goal.stop = { kind: 'watchpoint', ...(watch === undefined ? {} : { watch }) };
        break;
      case 'halted':
      case 'powerOff':
      case 'shutdown':
        goal.stop = { kind: reason };
        break;
      case 'debugExit':
        goal.stop = { kind: reason, status };
        break;
      default:
        if (goal.limit !== undefined && this.count >= goal.limit) goal.stop = { kind: 'step' };
    }
    if (goal.stop !== undefined) this.#changed();
  }

  setRegisters(changes: Partial<CpuState>, cpu?: number): void {
    for (const input of this.machine.registerInputs(changes, cpu)) this.machine.input(input);
  }

  writePhysical(address: number, bytes: Uint8Array): void {
    this.machine.input({ kind: 'pokeMemory', address, bytes });
  }
}
