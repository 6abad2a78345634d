/**
 * What each console keeps at its end (protocol/console.ts), whether it is a terminal's or a page's: what was heard, so that nothing is
 * shown twice, and what was typed, until a durable checkpoint holds it. Runs in a browser.
 */
import type { ConsoleReply, ConsoleRequest } from './console.ts';
import { maxConsoleBytes, maxUnacknowledgedBytes } from './limits.ts';

export type OutputPiece = Omit<Extract<ConsoleReply, { type: 'output' }>, 'type'>;
export type InputReply = Exclude<ConsoleReply, { type: 'output' }>;

/**
 * Output as it is to be shown, through all owners of a VM: what was heard before is left out, by its number, and what a node says that had
 * lost the VM. Where an epoch goes on from a state before what was heard, or bytes are missing, that is said: nothing is repeated or left
 * out silently.
 */
export class HeardOutput {
  readonly #said: (line: string) => void;
  #epoch = 0;
  /** It goes on from a state before what was heard, which was said. */
  #isEarlier = false;
  /** The number of the next byte. */
  #next = 0;

  constructor(said: (line: string) => void) {
    this.#said = said;
  }

  /** Newest epoch that was heard; 0: none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** What of a piece is new; undefined when nothing is. */
  fresh(piece: OutputPiece): OutputPiece | undefined {
    const { epoch, at, bytes } = piece;
    if (epoch < this.#epoch) return undefined;
    if (epoch > this.#epoch) this.#begin(piece);
    if (piece.resumed === 'earlier' && !this.#isEarlier) this.#goBack(at);
    if (at > this.#next) {
      this.#said(`${String(at - this.#next)} bytes of output are missing here: nobody keeps them any more`);
      this.#next = at;
    }
    const known = this.#next - at;
    this.#next = Math.max(this.#next, at + bytes.length);
    return known >= bytes.length ? undefined : { ...piece, at: at + known, bytes: bytes.subarray(known) };
  }

  #begin({ epoch, resumed, at }: OutputPiece): void {
    // Whoever comes late hears what is kept.
    if (this.#epoch === 0) this.#next = at;
    else if (resumed === 'boot') this.#next = 0;
    this.#epoch = epoch;
    this.#isEarlier = false;
  }

  /** The end of what was written before that state may have come in the same epoch: it is what was heard. */
  #goBack(at: number): void {
    this.#isEarlier = true;
    if (this.#next <= at) return;
    this.#said(`${String(this.#next - at)} bytes of output may be repeated here`);
    this.#next = at;
  }
}

/** What a session of a kind is: how its units are kept and sent. */
export interface SentInputOptions<S> {
  /** Name of the session: a random UUID. */
  session: string;
  /** What people should know about what they typed, a line at a time. */
  said: (line: string) => void;
  /** What is numbered, in words. */
  unit: string;
  empty: S;
  join: (one: S, other: S) => S;
  /** How many may be kept, and be sent in one message. */
  limit: number;
  atOnce: number;
  /** To the VM's node; what can't be sent is dropped, as the next node is told again. */
  open: (from: number) => void;
  send: (at: number, units: S) => void;
}

interface Sequence<S> {
  readonly length: number;
  slice(from?: number, to?: number): S;
}

/** A node that took no input for a while may have room again. */
const againMs = 200;

/** What is typed or done: kept until it is durable, sent again from where the guest's state does not have it. */
export class SentInput<S extends Sequence<S>> {
  readonly #options: SentInputOptions<S>;
  /** Typed and not known to be durable; its first unit is the session's unit `#durable`. */
  #kept: S;
  #durable = 0;
  /** Next unit to be sent to the node that we have; undefined until it said where input goes on. */
  #next: number | undefined;
  #highest = 0;
  #takes = false;
  /** An `open` of ours is not answered yet. */
  #opening = false;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SentInputOptions<S>) {
    this.#options = options;
    this.#kept = options.empty;
  }

  /** How many units may be typed now. */
  get room(): number {
    return this.#options.limit - this.#kept.length;
  }

  /** Units typed that no durable checkpoint is known to hold. */
  get unacknowledged(): number {
    return this.#kept.length;
  }

  /** Types at the guest. False when there is not room for all: nothing of these is kept, try again later. */
  write(units: S): boolean {
    if (units.length > this.room) return false;
    this.#kept = this.#options.join(this.#kept, units);
    this.#send();
    return true;
  }

  /** A node that has the VM hears us from now on: it is asked where input goes on. */
  attached(): void {
    this.detached();
    this.#opening = true;
    this.#options.open(this.#durable);
  }

  /** No node hears us. */
  detached(): void {
    clearTimeout(this.#again);
    this.#next = undefined;
  }

  heard(reply: InputReply): void {
    switch (reply.type) {
      case 'state':
        if (reply.takes) this.#takes = true;
        else this.#hold(reply.reason);
        break;
      case 'acknowledged':
        this.#drop(reply.durable);
        break;
      case 'place':
        return this.#place(reply);
    }
    this.#send();
  }

  #place({ at, durable, known }: Extract<ConsoleReply, { type: 'place' }>): void {
    // The VM began anew here from a state that does not know us: input goes on from what we keep.
    if (!known && !this.#opening) return this.attached();
    this.#opening = false;
    if (known && at < this.#durable)
      this.#options.said(
        `${String(this.#durable - at)} ${this.#options.unit} typed are not in the state that the guest went on from, and are lost`,
      );
    this.#drop(durable);
    this.#next = Math.max(at, this.#durable);
    const again = this.#highest - this.#next;
    if (again > 0)
      this.#options.said(`${String(again)} ${this.#options.unit} not acknowledged were sent again`);
    this.#send();
  }

  #hold(reason: string): void {
    if (this.#takes && this.#kept.length > 0) this.#options.said(`what is typed waits: ${reason}`);
    this.#takes = false;
    // What was on its way was not taken; the node says from where, once it takes input again.
    this.detached();
    this.#again = setTimeout(() => this.attached(), againMs);
  }

  #drop(durable: number): void {
    if (durable <= this.#durable) return;
    this.#kept = this.#kept.slice(Math.min(durable - this.#durable, this.#kept.length));
    this.#durable = durable;
  }

  #send(): void {
    if (this.#next === undefined || !this.#takes) return;
    const end = this.#durable + this.#kept.length;
    while (this.#next < end) {
      const from = this.#next - this.#durable;
      const units = this.#kept.slice(from, from + this.#options.atOnce);
      const at = this.#next;
      this.#next += units.length;
      this.#options.send(at, units);
    }
    this.#highest = Math.max(this.#highest, this.#next);
  }
}

export interface TypedInputOptions extends Pick<SentInputOptions<Uint8Array>, 'session' | 'said'> {
  /** Sends to the VM's node; what can't be sent is dropped, as the next node is told again. */
  post: (request: ConsoleRequest) => void;
}

/** What is typed at a console. */
export class TypedInput extends SentInput<Uint8Array> {
  constructor({ session, said, post }: TypedInputOptions) {
    super({
      session,
      said,
      unit: 'bytes',
      empty: new Uint8Array(0),
      join: (one, other) => {
        const both = new Uint8Array(one.length + other.length);
        both.set(one);
        both.set(other, one.length);
        return both;
      },
      limit: maxUnacknowledgedBytes,
      atOnce: maxConsoleBytes,
      open: (from) => post({ type: 'open', session, from }),
      send: (at, bytes) => post({ type: 'input', at, bytes }),
    });
  }
}
