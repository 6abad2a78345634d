/**
 * The input log of a VM while it runs here. Its thread reports the inputs that the guest was given, in order; they are gathered into entries,
 * and the entries go to the writer of the log. When the store has them, `onDurable` tells up to which position (output-gate.ts) outputs may leave.
 *
 * Inputs for which nobody waits are gathered for a quarter of a second, so that a sleeping guest costs no more than a few segments a second. As
 * soon as an output waits for them, or one was typed by a person, all that has gathered is written at once.
 */
import { inputKinds, StreamOrder, type LoggedInput } from '@revenant/emulator';
import {
  insist,
  LogWriter,
  type CheckpointKey,
  type Durable,
  type LogEntry,
  type LogPosition,
  type LogStatus,
  type ObjectStore,
  type Ownership,
  type StallEvent,
} from '@revenant/storage';
import { isTyped, type InputPlaces } from './input-ledger.ts';
import { encodeBatch } from './log-batch.ts';
import { owned } from '../owned.ts';

/** How long an input waits for others, when nobody waits for it. */
const lingerMs = 250;
/** An entry of the log is closed when it has about so many bytes; a larger input is an entry by itself. */
const batchBytes = 256 << 10;
/** So many inputs of consoles and displays are remembered that were given to the guest and did not come back in its log yet. */
const maxTyped = 100_000;

export interface SessionLogOptions {
  store: ObjectStore;
  ownership: Ownership;
  key: CheckpointKey | undefined;
  /** The instruction count at which the guest goes live, or at which its log was switched on. */
  from: bigint;
  previous: LogPosition | undefined;
  nextInput: bigint;
  /** The store has all that is needed to replay the guest up to this position. */
  onDurable: (position: number) => void;
  /** By session of a console or display: how much of its input is durable. */
  onPlaces: (places: InputPlaces) => void;
  onStall: (event: StallEvent) => void;
  onOver: (error: unknown) => void;
  /** `isFull` has changed. */
  onRoom: () => void;
  /** Entries of the owner before this one that the store may not have yet: they are written first. */
  seed?: readonly LogEntry[];
  /** With `seed`: the instruction count at which the guest goes live behind those entries. Default: `from`. */
  liveFrom?: bigint;
  /** Hears of the entries too: the way to a standby. */
  tap?: LogTap;
}

/** Hears of the log before the store does. */
export interface LogTap {
  sealed: (number: number, entry: LogEntry) => void;
  /** Outputs at this position follow from all entries so far, and from nothing else having come in up to the count `mark`. */
  needs: (need: { position: number; mark: bigint; places: InputPlaces }) => void;
  /** The store has the entries below this number. */
  safe: (next: number) => void;
  /** A standby's word is enough just now: no output waits for the store, which may therefore get more at once, and later. */
  isEnough: () => boolean;
}

interface Typed {
  session: string | undefined;
  at: number;
}

/** A position whose outputs wait, and what has to be durable before they may leave. */
interface Need {
  position: number;
  count: bigint;
  /** Number of the last entry before it. */
  input: bigint;
  places: InputPlaces;
}

export class SessionLog {
  readonly #options: SessionLogOptions;
  readonly #writer: LogWriter;
  #gathered: LoggedInput[] = [];
  #gatheredBytes = 0;
  #places: InputPlaces = {};
  /** Entries for which the writer has had no room yet. */
  #refused: LogEntry[] = [];
  #waited = false;
  /** The instruction count up to which the thread has reported its inputs; and the one up to which all of these are in entries. */
  readonly #liveFrom: bigint;
  #heardTo: bigint;
  #sealedTo: bigint;
  readonly #order = new StreamOrder(inputKinds);
  readonly #typed: Typed[] = [];
  readonly #needs: Need[] = [];
  #position = 0;
  #timer: NodeJS.Timeout | undefined;
  #storeTimer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(options: SessionLogOptions) {
    const { store, ownership, key, from, previous, nextInput } = options;
    this.#options = options;
    this.#liveFrom = options.liveFrom ?? from;
    this.#heardTo = this.#liveFrom;
    this.#sealedTo = this.#heardTo;
    this.#refused = [...(options.seed ?? [])];
    this.#writer = new LogWriter(store, ownership, {
      ...{ key, from, previous, nextInput, onStall: options.onStall },
      onDurable: (durable) => this.#durable(durable),
      onOver: (error) => {
        this.#over = true;
        options.onOver(error);
      },
    });
  }

  get status(): LogStatus {
    return this.#writer.status;
  }

  /** The writer has no room: the guest has to stand still. */
  get isFull(): boolean {
    return this.#waited;
  }

  /** The last segment that was written; a later log of the VM goes on from it. */
  get position(): LogPosition | undefined {
    return this.#writer.position ?? this.#options.previous;
  }

  /** The guest has taken input of a session up to its unit number `at`. `session` undefined: nobody counts them. */
  typed(session: string | undefined, at: number): void {
    if (this.#typed.length < maxTyped) this.#typed.push({ session, at });
  }

  /** The inputs that the guest was given up to the instruction count `upTo`. `waits`: an output at this position waits for them. */
  heard(heard: { log: readonly LoggedInput[]; upTo: bigint; position: number; waits: boolean }): void {
    const { log, upTo, position, waits } = heard;
    let urgent = waits;
    let at = this.#heardTo;
    for (const entry of log) {
      const { input, instructions, number } = entry;
      insist(instructions >= at, `${input.kind} ${String(number)} came in before what was logged already`);
      insist(
        this.#order.goesOn(input, number),
        `${input.kind} ${String(number)} is not the next of its stream`,
      );
      at = instructions;
      this.#gathered.push(entry);
      this.#gatheredBytes += 32 + ('bytes' in input ? input.bytes.length : 0);
      if (isTyped(input)) {
        const typed = this.#typed.shift();
        if (typed?.session !== undefined) this.#places = { ...this.#places, [typed.session]: typed.at };
        urgent = true;
      }
      if (this.#gatheredBytes >= batchBytes) this.#seal();
    }
    // Until it goes live, the guest of one that was a standby does what is in the log already.
    const to = upTo < this.#liveFrom ? this.#liveFrom : upTo;
    insist(to >= at, 'the log is whole up to a count before its last input');
    this.#heardTo = to;
    this.#position = position;
    if (urgent) this.flush();
    else if (this.#gathered.length > 0)
      this.#timer ??= setTimeout(
        owned(() => this.flush(), this.#options.onOver),
        lingerMs,
      );
  }

  /** Writes what has gathered. Afterwards `nextInput` stands behind all that was heard. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#seal();
    this.#sealedTo = this.#heardTo;
    const need = { position: this.#position, count: this.#sealedTo, input: this.nextInput - 1n };
    const places = this.#places;
    this.#needs.push({ ...need, places });
    this.#places = {};
    const { tap } = this.#options;
    tap?.needs({ position: this.#position, mark: this.#sealedTo, places });
    if (tap?.isEnough() !== true) return this.#store();
    this.#storeTimer ??= setTimeout(
      owned(() => this.#store(), this.#options.onOver),
      lingerMs,
    );
  }

  #store(): void {
    clearTimeout(this.#storeTimer);
    this.#storeTimer = undefined;
    this.#push();
    // There may be nothing new to write: what was said follows from what is durable already.
    this.#settle(this.#writer.status.durable);
  }

  /** Up to which count it is known what came in, with all that was written so far. */
  get mark(): bigint {
    return this.#sealedTo;
  }

  /** The number of the next entry. */
  get nextInput(): bigint {
    return this.#writer.nextInput + BigInt(this.#refused.length);
  }

  #seal(): void {
    const last = this.#gathered.at(-1);
    if (last === undefined) return;
    const payload = encodeBatch({ log: this.#gathered, places: this.#places });
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const entry = { count: last.instructions, payload };
    this.#options.tap?.sealed(Number(this.nextInput), entry);
    this.#refused.push(entry);
  }

  /** Gives the writer as many entries as it has room for; and when it has all of them, the mark. Inputs that still gather are behind the mark. */
  #push(): void {
    const wasFull = this.#waited;
    while (this.#refused[0] !== undefined && this.#writer.append(this.#refused[0]) === 'taken')
      this.#refused.shift();
    if (this.#refused.length === 0) this.#writer.mark(this.#sealedTo);
    this.#waited = this.#refused.length > 0;
    if (this.#waited !== wasFull) this.#options.onRoom();
  }

  #durable(durable: Durable): void {
    this.#options.tap?.safe(Number(durable.input) + 1);
    this.#settle(durable);
    if (!this.#over) this.#push();
  }

  #settle({ count, input }: Durable): void {
    let reached: Need | undefined;
    let places: InputPlaces = {};
    for (let next = this.#needs[0]; next !== undefined; next = this.#needs[0]) {
      if (next.count > count || next.input > input) break;
      reached = next;
      places = { ...places, ...next.places };
      this.#needs.shift();
    }
    if (Object.keys(places).length > 0) this.#options.onPlaces(places);
    if (reached !== undefined) this.#options.onDurable(reached.position);
  }

  /** The guest is gone: what is not durable yet is dropped. */
  abandon(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#storeTimer);
    this.#writer.abandon();
  }

  /** Takes nothing more; resolves when all of it is durable, or can't become so any more. */
  async close(): Promise<void> {
    this.flush();
    this.#store();
    await this.#writer.close();
  }
}
