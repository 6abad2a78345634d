/**
 * The processors of a machine, which run in turn on one thread. One count of retired instructions is everyone's: whose turn it is goes on with it, so
 * that virtual time, and every TSC, is the same for all. Turns depend on the machine's state alone, never on where a run of the host ends.
 */
import { Machine, Region, cpuBlockBytes, maxCpus } from '../cpu/layout.ts';
import {
  DeviceStateError,
  defineState,
  i64,
  integer,
  nullable,
  record,
  type Infer,
} from '../devices/schema.ts';
import type { Processor } from './processor.ts';

/** Instructions of one turn, once another processor has something to do. */
export const turnInstructions = 20_000n;

const schema = record({
  /** Whose turn it is. */
  current: integer(0, maxCpus - 1),
  /** Instruction count at which it ends; null while nobody else has anything to do. */
  end: nullable(i64),
});
export type TurnsState = Infer<typeof schema>;
/** Kept of machines with several processors. */
export const turnsState = defineState<TurnsState>({ name: 'turns', version: 1, schema });

export class Turns {
  readonly all: readonly Processor[];
  readonly #view: DataView;
  #current: Processor;
  #end: bigint | undefined;

  /** `view` is that of the linear memory, whose core is told whose turn it is. */
  constructor(all: readonly Processor[], view: DataView) {
    const [first] = all;
    if (first === undefined) throw new TypeError('a machine has a processor');
    this.all = all;
    this.#current = first;
    this.#view = view;
  }

  get current(): Processor {
    return this.#current;
  }
  get number(): number {
    return this.all.indexOf(this.#current);
  }
  at(number: number): Processor {
    const processor = this.all[number];
    if (processor === undefined) throw new RangeError(`there is no processor ${String(number)}`);
    return processor;
  }
  /** Retired instructions of all processors. */
  get instructions(): bigint {
    return this.#current.instructions;
  }
  /** Where the turn ends. */
  get end(): bigint | undefined {
    return this.#end;
  }
  /** Nobody has anything to do. */
  get waiting(): boolean {
    return this.all.every((processor) => processor.waiting);
  }
  /** All are in HLT, or not started. */
  get halted(): boolean {
    return this.all.every((processor) => processor.halted);
  }
  /** An interrupt would end somebody's HLT. */
  get interruptible(): boolean {
    return this.all.some((processor) => processor.interruptible);
  }
  /** The processor of a vCPU block. */
  of(address: number): Processor {
    return this.all[(address - Region.cpuBlocks) / cpuBlockBytes] ?? this.#current;
  }

  /**
   * Before a slice, somebody having something to do: passes the turn on when it is over, or its processor waits. A turn's end once set stays, whatever
   * the others do meanwhile: a run that stops before it must not be another run.
   */
  choose(): Processor {
    if (this.all.length === 1) return this.#current;
    const { waiting } = this.#current;
    if (!waiting && this.#end !== undefined && this.instructions < this.#end) return this.#current;
    if (waiting || this.#end !== undefined) this.#give(this.#next() ?? this.#current);
    this.#end = this.#next() === undefined ? undefined : this.instructions + turnInstructions;
    return this.#current;
  }

  /** Who comes after the current one among those that have something to do. */
  #next(): Processor | undefined {
    const { all } = this;
    const from = all.indexOf(this.#current);
    for (let n = 1; n < all.length; n++) {
      const processor = all[(from + n) % all.length];
      if (processor?.waiting === false) return processor;
    }
    return undefined;
  }

  #give(next: Processor): void {
    if (next === this.#current) return;
    next.block.setRetired(this.instructions);
    this.#take(next);
  }

  #take(next: Processor): void {
    this.#current = next;
    this.#view.setUint32(Region.machine + Machine.currentCpu, next.block.address, true);
  }

  /** The current processor waits for another (PAUSE): its turn ends after this instruction when there is one. */
  yield(): void {
    if (this.#next() === undefined) return;
    this.#end = this.instructions;
    this.#current.stopSlice();
  }

  /** Another processor was given something to do. */
  woken(): void {
    if (this.#end === undefined) this.#current.stopSlice();
  }

  /** RESET#: the first one begins. */
  reset(): void {
    for (const processor of this.all) processor.reset();
    this.#give(this.all[0] ?? this.#current);
    this.#end = undefined;
  }

  flushTlbs(): void {
    for (const processor of this.all) processor.flushTlb();
  }

  save(): TurnsState {
    return { current: this.number, end: this.#end ?? null };
  }

  /** Throws DeviceStateError. */
  check(saved: unknown, version: number): TurnsState {
    const state = turnsState.restore(saved, version);
    if (state.current < this.all.length) return state;
    throw new DeviceStateError(
      'DEVICE_STATE_INVALID',
      `turns.current: there is no processor ${String(state.current)}`,
    );
  }

  /** The blocks' counts of retired instructions are put back by the caller. */
  restore({ current, end }: TurnsState): void {
    this.#take(this.all[current] ?? this.#current);
    this.#end = end ?? undefined;
  }
}
