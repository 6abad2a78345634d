/**
 * The edge of one machine. Inputs pass here on their way in: checked, given to the device that takes them or held, stamped, numbered and
 * reported to the log. Outputs pass here on their way out: stamped and numbered. A log that is replayed takes the place of live inputs,
 * which wait until it has been applied to its end.
 */
import { DeviceStateError } from '../../devices/schema.ts';
import { insist } from '../../insist.ts';
import { MachineError } from '../errors.ts';
import { InputQueue, type InputResult, type Taken } from './input-queue.ts';
import { Streams } from './streams.ts';
import {
  inputKinds,
  kindOf,
  outputKinds,
  partOf,
  unitsOf,
  type InputFields,
  type InputKind,
  type LoggedInput,
  type MachineInput,
  type MachineOutput,
  type StampedOutput,
} from './table.ts';

/**
 * Who takes each kind of input. A consumer may take the first so many units of an input that comes in parts, and says how many; the
 * rest is offered again before the next run.
 */
export type InputConsumers = {
  [K in InputKind]?: (input: InputFields<K>) => Taken;
};

/** Whether the next input of a kind finds room; a kind that is not here always does. Asked of live inputs only: a log says what was taken. */
export type InputRooms = { [K in InputKind]?: () => boolean };

export interface EdgeParts {
  consumers: InputConsumers;
  rooms?: InputRooms | undefined;
  /** The present moment of the machine. */
  now: () => { instructions: bigint; timeNs: bigint };
  /** Called before each input: timers that are due while the processor waits fire first. */
  before: (kind: InputKind) => void;
  /** The log. */
  log?: ((entry: LoggedInput) => void) | undefined;
  /** Takes outputs; false: the machine is to stop until what waits was taken. */
  output?: ((entry: StampedOutput) => boolean | undefined) | undefined;
  /** Stops the run after the present instruction. */
  stop: () => void;
}

/** Throws MachineError for what no machine can take. */
export function checkInput(input: MachineInput): void {
  const { kind, ...rest } = input;
  const schema = kindOf(inputKinds, kind)?.schema;
  const refuse = (why: string): never => {
    throw new MachineError(
      'MACHINE_INPUT_INVALID',
      `input: ${why}`,
      'see edge/table.ts for what a machine takes',
    );
  };
  if (schema === undefined) return refuse(`unknown kind ${String(kind)}`);
  try {
    if (schema.check === undefined) schema.copy(rest, kind);
    else schema.check(rest, kind);
  } catch (error) {
    if (error instanceof DeviceStateError) refuse(error.message);
    throw error;
  }
}

/** The machine that replays a log does something else than the one that wrote it. */
export function diverged(why: string): MachineError {
  return new MachineError(
    'MACHINE_REPLAY_DIVERGED',
    `replay: ${why}`,
    'replay a log on the state that it was recorded from, with the same version of this program',
  );
}

export class MachineEdge {
  readonly inputs = new Streams(inputKinds);
  readonly outputs = new Streams(outputKinds);
  readonly #parts: EdgeParts;
  readonly #held = new InputQueue();
  #replay: LoggedInput[] = [];
  #replayed = 0;
  /** Of the last entry that was stamped. */
  #stamped = { instructions: 0n, timeNs: -(2n ** 63n) };

  constructor(parts: EdgeParts) {
    this.#parts = parts;
  }

  // --- inputs ---

  /** Gives an input to the machine, between runs. Throws MachineError for what no machine can take. */
  input(input: MachineInput): InputResult {
    checkInput(input);
    if (this.#parts.consumers[input.kind] === undefined) return 'no-device';
    const waits = this.#held.holds(input) || (this.nextReplay !== undefined && input.kind !== 'flush');
    const units = unitsOf(inputKinds, input);
    // What comes in parts may leave a rest.
    const mayWait = waits || units > 1 || this.#parts.rooms?.[input.kind] !== undefined;
    if (mayWait && !this.#held.hasRoom(input)) return 'full';
    const taken = waits ? 0 : this.#offer(input);
    if (taken === 'no-device') return taken;
    if (taken === undefined || taken >= units) return 'taken';
    this.#held.hold(partOf(inputKinds, input, taken, units) ?? input);
    return 'held';
  }

  /** As `input`, for what must not wait beside the machine, where no snapshot has it. `full`: nothing of it was taken. */
  offer(input: MachineInput): Exclude<InputResult, 'held'> {
    checkInput(input);
    if (this.#held.holds(input) || this.nextReplay !== undefined) return 'full';
    const taken = this.#offer(input);
    if (taken === 'no-device') return taken;
    if (taken === 0) return 'full';
    const units = unitsOf(inputKinds, input);
    if (taken !== undefined && taken < units)
      this.#held.hold(partOf(inputKinds, input, taken, units) ?? input);
    return 'taken';
  }

  /** Whether a live input would be taken at once. */
  hasRoom(input: MachineInput): boolean {
    return (
      !this.#held.holds(input) &&
      this.nextReplay === undefined &&
      this.#parts.rooms?.[input.kind]?.() !== false
    );
  }

  /** Offers again what is held; before each run. */
  retry(): void {
    if (this.#held.empty || this.nextReplay !== undefined) return;
    this.#held.drain((input) => this.#offer(input));
  }

  #consume(input: MachineInput): Taken {
    const consumer = this.#parts.consumers[input.kind] as ((input: MachineInput) => Taken) | undefined;
    if (consumer === undefined) return 'no-device';
    this.#parts.before(input.kind);
    const taken = consumer(input);
    return typeof taken === 'number' || taken === 'no-device' ? taken : undefined;
  }

  /** The present moment. Whoever reads a log or outputs takes them to be in order. */
  #stamp(): { instructions: bigint; timeNs: bigint } {
    const moment = this.#parts.now();
    const { instructions, timeNs } = this.#stamped;
    insist(moment.instructions >= instructions && moment.timeNs >= timeNs, 'the time of a machine went back');
    this.#stamped = moment;
    return moment;
  }

  /** What is taken of an input gets its number, and goes to the log with the moment before it took effect. */
  #offer(input: MachineInput): Taken {
    if (this.#parts.rooms?.[input.kind]?.() === false) return 0;
    const moment = this.#stamp();
    const taken = this.#consume(input);
    if (taken === 'no-device' || taken === 0) return taken;
    const part = taken === undefined ? input : (partOf(inputKinds, input, 0, taken) ?? input);
    const number = this.inputs.take(part);
    this.#parts.log?.({ ...moment, number, input: part });
    return taken;
  }

  // --- replay ---

  /** Inputs to apply at their stamps, in order. */
  replay(log: readonly LoggedInput[]): void {
    let before = this.#replay.at(-1)?.instructions ?? 0n;
    for (const { input, instructions } of log) {
      checkInput(input);
      if (instructions < before) throw diverged(`${input.kind} comes behind what was later`);
      before = instructions;
    }
    this.#replay = [...this.#replay.slice(this.#replayed), ...log];
    this.#replayed = 0;
  }

  /** The next input of the log that is replayed. */
  get nextReplay(): LoggedInput | undefined {
    return this.#replay[this.#replayed];
  }

  /** How many inputs of that log have not come yet. */
  get replayLeft(): number {
    return this.#replay.length - this.#replayed;
  }

  /** Applies what the log has for this moment. `waiting`: the processor waits, so that time counts too. Throws MachineError. */
  applyReplay(waiting: () => boolean): void {
    if (this.#replay.length === 0) return;
    for (let next = this.nextReplay; next !== undefined; next = this.nextReplay) {
      const { instructions, timeNs } = this.#parts.now();
      if (next.instructions > instructions || (waiting() && next.timeNs > timeNs)) return;
      this.#replayed++;
      const { input, number } = next;
      const expected = this.inputs.take(input);
      if (number !== expected)
        throw diverged(`${input.kind} ${String(number)} comes where ${String(expected)} is next`);
      const units = unitsOf(inputKinds, input);
      if ((this.#consume(input) ?? units) !== units)
        throw diverged(`the machine did not take ${input.kind} ${String(number)} as it did before`);
    }
    if (this.#replayed > 0) this.#replay = [];
    this.#replayed = 0;
  }

  // --- outputs ---

  output(output: MachineOutput): void {
    const number = this.outputs.take(output);
    if (this.#parts.output === undefined) return;
    if (this.#parts.output({ ...this.#stamp(), number, output }) === false) this.#parts.stop();
  }

  /** Forgets what waits: the machine has become another. */
  clear(): void {
    this.#held.clear();
    this.#replay = [];
    this.#replayed = 0;
    this.#stamped = { instructions: 0n, timeNs: -(2n ** 63n) };
  }
}
