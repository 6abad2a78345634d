/**
 * What a stub drives: a machine, and who runs it. A machine with a past can be taken back (time/time-machine.ts); one that lives can't, as
 * others have seen what it did (live/live-target.ts).
 */
import type { CpuState, Machine, RunReason, WatchHit } from '@revenant/emulator';

/** Why it stands still. */
export type StopKind =
  | 'step'
  | 'breakpoint'
  | 'watchpoint'
  /** There is nothing earlier to go back to. */
  | 'begin'
  /** What was recorded ends here. */
  | 'end'
  /** The machine waits for an input that nobody gives. */
  | 'idle'
  /** `reset`: of a machine that can't start by itself, and nobody starts it. */
  | Extract<RunReason, 'halted' | 'powerOff' | 'shutdown' | 'debugExit' | 'reset'>;

export interface Stop {
  kind: StopKind;
  watch?: WatchHit;
  status?: number;
}

/** The way back. Each generator yields while it is on its way, and may be left then. */
export interface Past {
  /** The earliest count that can be gone to. */
  readonly begin: bigint;
  stepBack(): Generator<undefined, Stop>;
  back(): Generator<undefined, Stop>;
  goTo(count: bigint): Generator<undefined, Stop>;
}

export interface DebugTarget {
  readonly machine: Machine;
  /** Retired instructions. */
  readonly count: bigint;
  /** Undefined: it goes forwards only. */
  readonly past: Past | undefined;
  /** Runs on until something stops it, at the latest at `limit`. Who leaves the generator stops it where it is. */
  forward(limit?: bigint): Generator<undefined, Stop>;
  /** Registers of a processor by hand, of the one whose turn it is unless it is named; it belongs to the run from then on. Throws DeviceStateError for values that no processor can hold. */
  setRegisters(changes: Partial<CpuState>, cpu?: number): void;
  /** Memory by hand, by physical address. */
  writePhysical(address: number, bytes: Uint8Array): void;
}
