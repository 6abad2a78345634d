/**
 * The input log of a VM while it runs here: what its thread says that it was given, in order, put into the log's writer, and told
 * durable by position (output-gate.ts) when it is.
 *
 * Inputs that nobody waits for gather a while, so that a guest that sleeps costs a few segments a second and no more. Whatever lets
 * something out, or was typed by somebody, is written at once, with all that came before it.
 */
import type { LoggedInput } from '@revenant/emulator';
import {
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
/** Of one entry of the log, about; an input that is larger goes alone. */
const batchBytes = 256 << 10;
/** Input of consoles and displays that the guest was given, and that has not come back in its log. */
const maxTyped = 100_000;

export interface SessionLogOptions {
  store: ObjectStore;
  ownership: Ownership;
  key: CheckpointKey | undefined;
  /** Where the guest goes live, or where its log was switched on. */
  from: bigint;
  previous: LogPosition | undefined;
  nextInput: bigint;
  /** Everything up to this position of the guest's life can be replayed. */
  onDurable: (position: number) => void;
  /** What was typed so far is in the log. */
  onPlaces: (places: InputPlaces) => void;
  onStall: (event: StallEvent) => void;
  onOver: (error: unknown) => void;
  /** Whether it waits for room has changed. */
  onRoom: () => void;
  /** Entries that whoever had the VM before made and the store may not have: they come first. */
  seed?: readonly LogEntry[];
  /** Where the guest goes live behind them. Default: `from`. */
  liveFrom?: bigint;
  /** Who else is to have it. */
  tap?: LogTap;
}

/** Hears of the log before the store does. */
export interface LogTap {
  sealed: (number: number, entry: LogEntry) => void;
  /** All that was sealed so far, and the mark, lead to a position. */
  needs: (need: { position: number; mark: bigint; places: InputPlaces }) => void;
  /** The store has the entries below this number. */
  safe: (next: number) => void;
  /** Nobody waits for the store just now, so that it may get more at once. */
  isEnough: () => boolean;
}

interface Typed {
  session: string | undefined;
  at: number;
}

/** A position, and what has to be durable for it. */
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
  /** Entries that the writer does not have yet. */
  #refused: LogEntry[] = [];
  #waited = false;
  /** Up to which count the thread told what came in, and up to which all of that was sealed. */
  #heardTo: bigint;
  #sealedTo: bigint;
  readonly #typed: Typed[] = [];
  readonly #needs: Need[] = [];
  #position = 0;
  #timer: NodeJS.Timeout | undefined;
  #storeTimer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(options: SessionLogOptions) {
    const { store, ownership, key, from, previous, nextInput } = options;
    this.#options = options;
    this.#heardTo = options.liveFrom ?? from;
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

  /** It has no room: its guest is to stand still. */
  get isFull(): boolean {
    return this.#waited;
  }

  /** The last segment that it made, for one that goes on from it. */
  get position(): LogPosition | undefined {
    return this.#writer.position ?? this.#options.previous;
  }

  /** The guest took input of a session, and has the first `at` units of it now. `session` undefined: nobody counts them. */
  typed(session: string | undefined, at: number): void {
    if (this.#typed.length < maxTyped) this.#typed.push({ session, at });
  }

  /** What the guest was given up to a count. `waits`: an output waits for it. */
  heard(heard: { log: readonly LoggedInput[]; upTo: bigint; position: number; waits: boolean }): void {
    const { log, upTo, position, waits } = heard;
    let urgent = waits;
    for (const entry of log) {
      const { input } = entry;
      this.#gathered.push(entry);
      this.#gatheredBytes += 32 + ('bytes' in input ? input.bytes.length : 0);
      if (isTyped(input)) {
        const typed = this.#typed.shift();
        if (typed?.session !== undefined) this.#places = { ...this.#places, [typed.session]: typed.at };
        urgent = true;
      }
      if (this.#gatheredBytes >= batchBytes) this.#seal();
    }
    this.#heardTo = upTo;
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

  /** Gives the writer what it has room for; the mark only when it has all before it. What still gathers is behind the mark. */
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

  /** Nobody waits for what is not durable yet: its guest is gone. */
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
