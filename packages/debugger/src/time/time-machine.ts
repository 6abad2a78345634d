/**
 * A machine that runs forwards and backwards. Backwards means: back to a bookmark, and forwards again from there, for a run can be repeated exactly.
 *
 * Always: the state at an instruction count is the same however it was come to. What a debugger changes by hand (a *poke*) belongs to the run
 * from then on: it is repeated at its count, and what was known of the future is forgotten.
 */
import type {
  Bookmark,
  CpuState,
  DescribedSnapshot,
  InputResult,
  Machine,
  MachineInput,
  RunOptions,
} from '@revenant/emulator';
import type { DebugTarget, Past, Stop } from '../gdb/target.ts';
import type { History } from './history.ts';

interface Mark {
  bookmark: Bookmark;
  count: bigint;
  /** Inputs and pokes that had come. */
  inputs: number;
  pokes: number;
}

interface Poke {
  count: bigint;
  apply: () => void;
}

export interface TimeMachineOptions {
  machine: Machine;
  /** What the machine's backend `input` records to. */
  history: History;
  /** Of a run that was recorded: where the record ends. */
  end?: bigint;
  /** What was known of the future was forgotten. */
  onFuture?: () => void;
  /** Starts the guest again after it has reset a machine that can't start by itself. */
  boot?: () => void;
  /** Between bookmarks while it runs for the first time. Default 5 million instructions. */
  every?: bigint;
  /** What bookmarks may take, in bytes. Default 512 MiB. */
  maxBytes?: number;
}

/** Instructions between two looks at who wants it to stop. */
const turn = 5_000_000n;
const maxMarks = 200;
/** So far before the place gone to, bookmarks are left for the next steps back. */
const trail = [1_000_000n, 100_000n, 2_000n];

/** Whether the machine runs on behind such a stop. */
function passes({ kind }: Stop): boolean {
  return ['step', 'breakpoint', 'watchpoint', 'powerOff', 'debugExit'].includes(kind);
}

export class TimeMachine implements DebugTarget, Past {
  readonly machine: Machine;
  readonly #options: TimeMachineOptions;
  readonly #every: bigint;
  readonly #maxBytes: number;
  /** By count, ascending. */
  readonly #marks: Mark[] = [];
  readonly #pokes: Poke[] = [];
  #poked = 0;
  #end: bigint | undefined;

  constructor(options: TimeMachineOptions) {
    this.machine = options.machine;
    this.#options = options;
    this.#end = options.end;
    this.#every = options.every ?? 5_000_000n;
    this.#maxBytes = options.maxBytes ?? 512 * 2 ** 20;
    this.machine.replay(options.history.from(0));
    this.#mark();
  }

  get past(): Past {
    return this;
  }
  /** Retired instructions. */
  get count(): bigint {
    return this.machine.instructions;
  }
  /** The earliest count that can be gone to. */
  get begin(): bigint {
    return this.#marks[0]?.count ?? this.count;
  }
  /** The last count that is recorded; undefined: the machine makes its future itself. */
  get end(): bigint | undefined {
    return this.#end;
  }
  /** Counts of the bookmarks. */
  get marks(): bigint[] {
    return this.#marks.map(({ count }) => count);
  }
  /** Bytes that the bookmarks take. */
  get bytes(): number {
    return this.machine.bookmarks.bytes;
  }

  // --- bookmarks ---

  #mark(): void {
    const { count, machine } = this;
    if (this.#marks.some((mark) => mark.count === count)) return;
    const inputs = this.#options.history.length - machine.replayLeft;
    this.#marks.push({ bookmark: machine.bookmarks.take(), count, inputs, pokes: this.#poked });
    this.#marks.sort((a, b) => Number(a.count - b.count));
    while (this.#marks.length > maxMarks || (this.bytes > this.#maxBytes && this.#marks.length > 2))
      this.#dropOne();
  }

  /** Drops the bookmark that is missed least: the farther back, the wider the gaps may be. */
  #dropOne(): void {
    let [least, at] = [Infinity, 1];
    const now = this.#marks.at(-1)?.count ?? 0n;
    for (let n = 1; n < this.#marks.length - 1; n++) {
      const before = this.#marks[n - 1]?.count ?? 0n;
      const after = this.#marks[n + 1]?.count ?? 0n;
      const cost = Number(after - before) / Number(now - before + 1n);
      if (cost < least) [least, at] = [cost, n];
    }
    const [mark] = this.#marks.splice(at, 1);
    if (mark !== undefined) this.machine.bookmarks.forget(mark.bookmark);
  }

  #dropFrom(index: number): void {
    for (const { bookmark } of this.#marks.splice(index)) this.machine.bookmarks.forget(bookmark);
  }

  /** The last bookmark at or before a count. */
  #markBefore(count: bigint): Mark | undefined {
    return this.#marks.findLast((mark) => mark.count <= count);
  }

  #return(mark: Mark): void {
    this.machine.bookmarks.goTo(mark.bookmark);
    this.machine.replay(this.#options.history.from(mark.inputs));
    this.#poked = mark.pokes;
  }

  // --- changing the guest ---

  /** Changes the machine here, by hand: from now on that belongs to the run, and another future begins. */
  poke(apply: () => void): void {
    this.#forgetFuture();
    const { count } = this;
    apply();
    this.#pokes.push({ count, apply });
    this.#poked = this.#pokes.length;
    const same = this.#marks.findIndex((mark) => mark.count === count);
    if (same >= 0) this.#dropFrom(same);
    this.#mark();
  }

  setRegisters(changes: Partial<CpuState>, cpu = this.machine.currentProcessor): void {
    this.poke(() => {
      this.machine.setRegisters(changes, cpu);
    });
  }

  writePhysical(address: number, bytes: Uint8Array): void {
    const copy = bytes.slice();
    this.poke(() => {
      this.machine.memory.writePhysical(address, copy);
    });
  }

  /** Gives the guest an input here; another future begins. */
  input(input: MachineInput): InputResult {
    this.#forgetFuture();
    return this.machine.input(input);
  }

  #forgetFuture(): void {
    const { history } = this.#options;
    const { machine, count } = this;
    const left = machine.replayLeft;
    if (left > 0) {
      history.cut(history.length - left);
      // Going back to here and now lets the machine forget what it was about to replay.
      const here = machine.bookmarks.take();
      machine.bookmarks.goTo(here);
      machine.bookmarks.forget(here);
    }
    this.#options.onFuture?.();
    this.#pokes.length = this.#poked;
    this.#dropFrom(this.#marks.filter((mark) => mark.count <= count).length);
    this.#end = undefined;
  }

  /** The whole state here, for a checkpoint. Taking it leaves no trace. */
  snapshot(): DescribedSnapshot {
    const { history } = this.#options;
    const { machine } = this;
    const { length } = history;
    const left = machine.replayLeft;
    const here = machine.bookmarks.take();
    const snapshot = machine.snapshot({ full: true });
    // It has emptied the TLBs, and written that down.
    history.cut(length);
    machine.bookmarks.goTo(here);
    machine.bookmarks.forget(here);
    machine.replay(history.from(length - left));
    return snapshot;
  }

  // --- forwards ---

  /** What is to be done by hand at the present count is done. */
  #applyPokes(): void {
    for (let next = this.#pokes[this.#poked]; next?.count === this.count; next = this.#pokes[this.#poked]) {
      next.apply();
      this.#poked++;
    }
  }

  /** Where a run to `limit` has to come back: for a poke, a bookmark, the end of the record, or to see whether somebody wants it to stop. */
  #nextHalt(limit: bigint | undefined, marking: bigint): bigint {
    const { count } = this;
    let halt = count + turn;
    const consider = (other: bigint | undefined): void => {
      if (other !== undefined && other > count && other < halt) halt = other;
    };
    consider(limit);
    consider(this.#pokes[this.#poked]?.count);
    consider(this.end);
    consider(marking);
    return halt;
  }

  /** One turn; undefined: nothing happened yet. `stopAtOnce`: as of Machine.run. */
  #turn(halt: bigint, options: RunOptions): Stop | undefined {
    const { machine } = this;
    const result = machine.run({ instructions: halt - this.count, ...options });
    switch (result.reason) {
      case 'limit':
      case 'paused':
        this.#applyPokes();
        return undefined;
      case 'reset':
        return this.#reset();
      case 'watchpoint':
        return { kind: 'watchpoint', ...(result.watch === undefined ? {} : { watch: result.watch }) };
      case 'debugExit':
        return { kind: 'debugExit', status: result.status ?? 0 };
      default:
        return { kind: result.reason };
    }
  }

  /** The guest reset the machine: starting it again is done by hand, once, and repeated like any poke. */
  #reset(): Stop | undefined {
    const next = this.#pokes[this.#poked];
    if (next?.count === this.count) this.#applyPokes();
    else if (this.#options.boot === undefined) return { kind: 'reset' };
    else this.poke(this.#options.boot);
    return undefined;
  }

  /**
   * Runs on, in turns, until something stops it, at the latest at `limit`, or at a virtual time. Each `yield` lets the caller end it.
   */
  *forward(limit?: bigint, untilNs?: bigint): Generator<undefined, Stop> {
    for (let first = true; ; first = false) {
      if (limit !== undefined && this.count >= limit) return { kind: 'step' };
      if (untilNs !== undefined && this.machine.timeNs >= untilNs) return { kind: 'step' };
      if (this.end !== undefined && this.count >= this.end) return { kind: 'end' };
      const marking = (this.#markBefore(this.count)?.count ?? this.count) + this.#every;
      const stop = this.#turn(this.#nextHalt(limit, marking), {
        stopAtOnce: !first,
        ...(untilNs === undefined ? {} : { untilNs }),
      });
      if (stop !== undefined) return stop;
      if (this.count >= marking) this.#mark();
      yield;
    }
  }

  // --- backwards ---

  /** Becomes what it was at a count (or, later than now, will be): exactly, without stops on the way. */
  *goTo(count: bigint): Generator<undefined, Stop> {
    const stops = this.machine.stops.suspend();
    try {
      if (count < this.begin) {
        const [first] = this.#marks;
        if (first !== undefined) this.#return(first);
        return { kind: 'begin' };
      }
      const mark = this.#markBefore(count);
      if (mark !== undefined && (count < this.count || mark.count > this.count)) this.#return(mark);
      for (const distance of trail) {
        const place = count - distance;
        if (place <= this.count) continue;
        yield* this.#runTo(place);
        if (this.count === place) this.#mark();
      }
      return yield* this.#runTo(count);
    } finally {
      stops.resume();
    }
  }

  /** Becomes what it was at a virtual time: before the first instruction at or after it. */
  *goToTime(ns: bigint): Generator<undefined, Stop> {
    const stops = this.machine.stops.suspend();
    try {
      const mark = this.#marks.findLast(({ bookmark }) => bookmark.timeNs <= ns) ?? this.#marks[0];
      if (mark !== undefined && (ns < this.machine.timeNs || mark.count > this.count)) this.#return(mark);
      if (this.machine.timeNs > ns) return { kind: 'begin' };
      for (;;) {
        const stop = yield* this.forward(undefined, ns);
        if (!passes(stop) || this.machine.timeNs >= ns) return stop;
      }
    } finally {
      stops.resume();
    }
  }

  *#runTo(count: bigint): Generator<undefined, Stop> {
    while (this.count < count) {
      const stop = yield* this.forward(count);
      if (!passes(stop)) return stop;
    }
    return { kind: 'step' };
  }

  /** One instruction, or delivery of an event, back. */
  *stepBack(): Generator<undefined, Stop> {
    const { count, begin } = this;
    if (count <= begin) return { kind: 'begin' };
    return yield* this.goTo(count - 1n);
  }

  /**
   * Back to the last place before this one where a breakpoint or a watchpoint stops: at a breakpoint's instruction, before the
   * instruction that meets a watchpoint.
   */
  *back(): Generator<undefined, Stop> {
    let before = this.count;
    for (;;) {
      const mark = this.#markBefore(before - 1n);
      if (mark === undefined) {
        const [first] = this.#marks;
        if (first !== undefined) this.#return(first);
        return { kind: 'begin' };
      }
      this.#return(mark);
      const last = yield* this.#lastStop(before, mark.count);
      if (last !== undefined) {
        yield* this.goTo(last.count);
        return last.stop;
      }
      before = mark.count;
    }
  }

  /** Runs up to `before`; the last stop on the way that lies before it. */
  *#lastStop(before: bigint, from: bigint): Generator<undefined, { count: bigint; stop: Stop } | undefined> {
    let last: { count: bigint; stop: Stop } | undefined;
    if (this.machine.atBreakpoint && from < before) last = { count: from, stop: { kind: 'breakpoint' } };
    while (this.count < before) {
      const stop = yield* this.forward(before);
      const count = stop.kind === 'watchpoint' ? this.count - 1n : this.count;
      if (!passes(stop)) return last;
      if (stop.kind !== 'breakpoint' && stop.kind !== 'watchpoint') continue;
      if (count < before && count >= from) last = { count, stop };
    }
    return last;
  }
}
