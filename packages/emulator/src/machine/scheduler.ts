/**
 * Runs a machine: what happens at one instruction count always happens in the same order.
 *
 *   1. inputs stamped with this count (before 2 when a processor runs; after 2 while all wait in HLT)
 *   2. timers that are due, earliest first
 *   3. an interrupt, when the processor whose turn it is (turns.ts) can take one
 *   4. its instructions, up to the next deadline or the end of its turn
 *
 * `run` returns only before 1 at a count it has just reached, so a host that stops often and one that never does see the same machine.
 */
import type { VirtualClock } from './clock.ts';
import { diverged, type MachineEdge } from './edge/edge.ts';
import type { SliceLook } from './processor.ts';
import type { Stops, WatchHit } from './stops.ts';
import type { Turns } from './turns.ts';

/** Why `run` returned. */
export type RunReason =
  /** The asked-for instruction count, time or number of accesses is reached. */
  | 'limit'
  /** The processors wait for an interrupt: until `nextEventNs`, or for an input when that is absent. */
  | 'idle'
  /** HLT with interrupts off: only an NMI or a reset ends that. */
  | 'halted'
  /** The next instruction has a breakpoint. */
  | 'breakpoint'
  /** The instruction before, or a device, met a watchpoint: see `watch`. */
  | 'watchpoint'
  | 'paused'
  | 'powerOff'
  /** The guest reset the machine; devices and processor are in their power-on state. Without a ROM the caller boots again. */
  | 'reset'
  /** Triple fault, with `tripleFault: 'stop'`. */
  | 'shutdown'
  | 'debugExit';

/** Why a run ended, and where. */
export interface RunResult {
  reason: RunReason;
  instructions: bigint;
  timeNs: bigint;
  /** Exit status that the guest gave: by the debug exit device, or as it switched the machine off. */
  status?: number;
  nextEventNs?: bigint;
  watch?: WatchHit;
}

/** How long `Machine.run` runs, and what ends it. */
export interface RunOptions {
  /** At most this many instructions. */
  instructions?: number | bigint;
  /** Until devices were accessed so often, which takes the host far longer than instructions do. Default: however often. */
  accesses?: number;
  /** Until this virtual time (exactly: the first instruction at or after it is not executed). */
  untilNs?: bigint;
  /**
   * Asked after each `every` instructions, or up to `lookReserve` before, whether that was enough; the run then ends with `limit`. It costs far less than
   * a run of its own, as translated code is not left for it.
   */
  look?: { every: number; enough: () => boolean };
  /** In HLT: `skip` virtual time to the next event (default), or return `idle` and let the host pace it. */
  idle?: 'skip' | 'wait';
  /** A breakpoint on the very first instruction stops as well; else the run leaves it behind, as one that was stopped at. */
  stopAtOnce?: boolean;
}

/** Idle skips that retire no instruction, after which `run` returns to its caller (reason `limit`). */
const maxIdleSteps = 10_000;
/** A skip ends after so many timers, so that one that is set too short keeps nobody waiting. */
const maxSkippedEvents = 100;
/** No run of the engine is longer than this, whatever the deadline. */
const maxSlice = 1n << 40n;

/** The looks at the host that one run asked for. */
class Looks implements SliceLook {
  at: bigint;
  enough = false;
  readonly #every: bigint;
  readonly #enough: () => boolean;
  readonly #turns: Turns;

  constructor(turns: Turns, { every, enough }: NonNullable<RunOptions['look']>) {
    this.#every = BigInt(every);
    this.#enough = enough;
    this.#turns = turns;
    this.at = turns.instructions + this.#every;
  }

  look(): void {
    this.at = this.#turns.instructions + this.#every;
    this.enough = this.#enough();
  }
}

function sooner(deadline: bigint, other: bigint | undefined): bigint {
  return other !== undefined && other < deadline ? other : deadline;
}

export interface SchedulerParts {
  stops: Stops;
  turns: Turns;
  clock: VirtualClock;
  edge: () => MachineEdge;
  /** Resets the machine; true: it can't start by itself, so `run` returns `reset`. */
  reset: () => boolean;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  #outcome: { reason: RunReason; status?: number } | undefined;
  #resetRequested = false;
  #pauseRequested = false;
  /** Accesses to devices in this run, and after how many it ends. */
  #accesses = 0;
  #mostAccesses = Infinity;
  readonly #isHalted = (): boolean => this.#parts.turns.halted;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  get #instructions(): bigint {
    return this.#parts.turns.instructions;
  }

  /** The machine was restored or booted: what was about to end the run is over. */
  forget(): void {
    this.#outcome = undefined;
    this.#resetRequested = false;
  }

  requestReset(): void {
    this.#resetRequested = true;
    this.#parts.turns.current.stopSlice();
  }

  /** Ends the run after the current instruction. */
  finish(reason: RunReason, status?: number): void {
    this.#outcome ??= status === undefined ? { reason } : { reason, status };
    this.#parts.turns.current.stopSlice();
  }

  pause(): void {
    this.#pauseRequested = true;
    this.#parts.turns.current.stopSlice();
  }

  /** The processor accesses a device. */
  accessed(): void {
    if (++this.#accesses === this.#mostAccesses) this.#parts.turns.current.stopSlice();
  }

  run(options: RunOptions = {}): RunResult {
    const { turns, clock, stops } = this.#parts;
    const edge = this.#parts.edge();
    const start = this.#instructions;
    const limit = options.instructions === undefined ? undefined : start + BigInt(options.instructions);
    const looks = options.look && new Looks(turns, options.look);
    let idleSteps = 0;
    this.#accesses = 0;
    this.#mostAccesses = options.accesses ?? Infinity;
    edge.retry();
    stops.apply(turns.current.engine.core);
    for (;;) {
      const ended = this.#ended() ?? this.#atLimit(limit, options.untilNs, idleSteps, looks?.enough);
      if (ended !== undefined) return ended;
      clock.rebase();
      edge.applyReplay(this.#isHalted);
      clock.fireDue();
      if (turns.waiting) {
        const waiting = this.#idle(options);
        if (waiting !== undefined) return waiting;
        idleSteps++;
        continue;
      }
      const before = this.#instructions;
      const processor = turns.choose();
      if (before === start && options.stopAtOnce !== true && processor.atBreakpoint) processor.step();
      else if (processor.slice(this.#deadline(limit, options.untilNs), looks))
        return this.#result('breakpoint');
      const watch = stops.takeHit();
      if (watch !== undefined) return this.#result('watchpoint', { watch });
      if (this.#instructions > before) idleSteps = 0;
    }
  }

  #result(reason: RunReason, more: Partial<RunResult> = {}): RunResult {
    return { reason, instructions: this.#instructions, timeNs: this.#parts.clock.now(), ...more };
  }

  /** Power-off, reset and the like, found after the instruction that asked for them. */
  #ended(): RunResult | undefined {
    if (this.#resetRequested) {
      this.#resetRequested = false;
      if (this.#parts.reset()) return this.#result('reset');
    }
    if (this.#outcome !== undefined) {
      const { reason, status } = this.#outcome;
      this.#outcome = undefined;
      return this.#result(reason, status === undefined ? {} : { status });
    }
    if (!this.#pauseRequested) return undefined;
    this.#pauseRequested = false;
    return this.#result('paused');
  }

  #atLimit(
    limit: bigint | undefined,
    untilNs: bigint | undefined,
    idleSteps: number,
    enough = false,
  ): RunResult | undefined {
    const reached =
      enough ||
      (limit !== undefined && this.#instructions >= limit) ||
      (untilNs !== undefined && this.#parts.clock.now() >= untilNs) ||
      this.#accesses >= this.#mostAccesses ||
      idleSteps >= maxIdleSteps;
    return reached ? this.#result('limit') : undefined;
  }

  /** Instruction count at which the engine must come back. */
  #deadline(limit: bigint | undefined, untilNs: bigint | undefined): bigint {
    const { clock, turns } = this.#parts;
    const edge = this.#parts.edge();
    const now = this.#instructions;
    const next = clock.nextDeadline();
    let deadline = now + maxSlice;
    deadline = sooner(deadline, turns.end);
    deadline = sooner(deadline, limit);
    deadline = sooner(deadline, next === undefined ? undefined : clock.countAt(next));
    deadline = sooner(deadline, untilNs === undefined ? undefined : clock.countAt(untilNs));
    deadline = sooner(deadline, edge.nextReplay?.instructions);
    return deadline > now ? deadline : now + 1n;
  }

  /** All in HLT and nothing to take: lets virtual time pass, or tells the caller. */
  #idle({ idle = 'skip', untilNs }: RunOptions): RunResult | undefined {
    const { turns, clock } = this.#parts;
    const edge = this.#parts.edge();
    const replay = edge.nextReplay;
    const timer = clock.nextDeadline();
    const input =
      replay !== undefined && replay.instructions <= this.#instructions ? replay.timeNs : undefined;
    if (input === undefined && !turns.interruptible) return this.#result('halted');
    let next = timer;
    for (const other of [input, untilNs])
      if (other !== undefined && (next === undefined || other < next)) next = other;
    if (idle === 'wait' && replay !== undefined && input === undefined)
      throw diverged(`the processor waits at ${String(this.#instructions)}, where the log lets no time pass`);
    if (next === undefined) return this.#result('idle');
    if (idle === 'wait' && next !== input) return this.#result('idle', { nextEventNs: next });
    // In a log a skip of its own, so that the log can be replayed however its run was driven.
    if (replay === undefined) edge.input({ kind: 'skip', toNs: next });
    else clock.skipTo(next);
    return undefined;
  }

  /** Lets time pass while the processors wait, from event to event; ends when one of them gives it something to do. */
  skip(toNs: bigint): void {
    const { turns, clock } = this.#parts;
    for (let events = 0; events < maxSkippedEvents; events++) {
      if (!turns.waiting) return;
      const next = clock.nextDeadline();
      const last = next === undefined || next > toNs;
      clock.skipTo(last ? toNs : next);
      if (last) return;
      clock.fireDue();
    }
  }
}
