/**
 * The owner's side of a standby: which entries of its log are on their way, and how far the standby holds them. A plain object: it is told
 * what happened, and gives messages to send and the position up to which outputs may leave.
 *
 * Invariants:
 * - an acknowledgement counts for a position once the standby holds every entry before it and the mark behind it, and only while its own
 *   state is `following`: before that it could not take over;
 * - an entry is kept until the standby has it, or, when too many wait, until the store has it: a standby that lacks it then reads it there.
 */
import { insist, type LogEntry } from '@revenant/storage';
import { maxFeedEntries } from '../../protocol/limits.ts';
import type { StandbyCondition } from '../../protocol/records.ts';
import type { StandbyAck, StandbyFeed } from '../../protocol/standby.ts';
import type { InputPlaces } from '../input-ledger.ts';

/** Of one message, about. */
const messageBytes = 512 << 10;
/** Of entries that the store has, and the standby not yet. */
const maxKeptBytes = 2 << 20;
const entryBytes = 64;
/** What was sent and not acknowledged for so long is sent again. */
const againMs = 250;
/** A position that waits for the standby for so long: it lags. */
const lagsMs = 300;
/** Silent for so long it lags, whether or not anything waits. */
const silentMs = 1500;

interface Need {
  position: number;
  /** Entries below this number, and the mark up to this count. */
  next: number;
  mark: bigint;
  places: InputPlaces;
  sinceMs: number;
}

export interface Reached {
  /** Undefined: nothing new. */
  position: number | undefined;
  places: InputPlaces;
}

export class Feed {
  readonly #vmId: string;
  readonly #epoch: number;
  #entries: { number: number; entry: LogEntry }[] = [];
  #bytes = 0;
  readonly #needs: Need[] = [];
  #next: number;
  /** The first entry that was not sent, or is to be sent again. */
  #toSend: number;
  #mark: bigint;
  #sentMark = -1n;
  #left = 0n;
  #safe: number;
  #ack: StandbyAck | undefined;
  #heardMs: number;
  /** When the standby last got further, or there was nothing to wait for. */
  #movedMs: number;

  constructor(options: { vmId: string; epoch: number; next: number; mark: bigint; nowMs: number }) {
    this.#vmId = options.vmId;
    this.#epoch = options.epoch;
    this.#next = options.next;
    this.#toSend = options.next;
    this.#safe = options.next;
    this.#mark = options.mark;
    this.#heardMs = options.nowMs;
    this.#movedMs = options.nowMs;
  }

  /** An entry of the log, in order. */
  sealed(number: number, entry: LogEntry): void {
    insist(
      number === this.#next,
      `entry ${String(number)} of the log comes where ${String(this.#next)} is next`,
    );
    this.#entries.push({ number, entry });
    this.#bytes += entry.payload.length + entryBytes;
    this.#next = number + 1;
    this.#trim();
  }

  /** All that was sealed so far leads to this position. */
  needs(need: Omit<Need, 'next' | 'sinceMs'>, nowMs: number): void {
    insist(need.mark >= this.#mark, 'the mark of the log goes back');
    this.#mark = need.mark;
    this.#needs.push({ ...need, next: this.#next, sinceMs: nowMs });
  }

  /** Outputs before this count were let out. */
  leftBefore(count: bigint): void {
    if (count > this.#left) this.#left = count;
  }

  /** The store has all entries below this number. */
  safe(next: number): void {
    insist(next <= this.#next, 'the store has more of the log than was made');
    this.#safe = next;
    this.#trim();
  }

  #trim(): void {
    const held = this.#ack?.state === 'following' ? this.#ack.next : 0;
    for (let first = this.#entries[0]; first !== undefined; first = this.#entries[0]) {
      const isTooMuch = this.#bytes > maxKeptBytes && first.number < this.#safe;
      if (first.number >= held && !isTooMuch) return;
      this.#entries.shift();
      this.#bytes -= first.entry.payload.length + entryBytes;
    }
  }

  /** A standby that says that it holds what it was never sent could not take over: nothing rests on it. */
  #believed(ack: StandbyAck): StandbyAck {
    if (ack.next <= this.#next && BigInt(ack.mark) <= this.#mark) return ack;
    const reason = 'it says that it holds more of the log than it was sent';
    return { ...ack, state: 'preparing', reason };
  }

  /** The standby says how far it is. */
  heard(said: StandbyAck, nowMs: number): Reached {
    const ack = this.#believed(said);
    const before = this.#ack;
    this.#ack = ack;
    this.#heardMs = nowMs;
    if (before?.next !== ack.next) this.#movedMs = nowMs;
    const isLate = ack.next < this.#toSend && nowMs - this.#movedMs > againMs;
    if (ack.state === 'following' && (ack.missing || isLate)) {
      this.#toSend = ack.next;
      this.#movedMs = nowMs;
    }
    this.#trim();
    return ack.state === 'following' ? this.#reached(ack) : { position: undefined, places: {} };
  }

  #reached({ next, mark }: StandbyAck): Reached {
    const reached: Reached = { position: undefined, places: {} };
    for (let need = this.#needs[0]; need !== undefined; need = this.#needs[0]) {
      if (need.next > next || need.mark > BigInt(mark)) break;
      reached.position = need.position;
      reached.places = { ...reached.places, ...need.places };
      this.#needs.shift();
    }
    return reached;
  }

  /** The store has what leads to this position: nobody waits for the standby there. */
  passed(position: number): void {
    while (this.#needs[0] !== undefined && this.#needs[0].position <= position) this.#needs.shift();
  }

  /** What there is to say. `always`: also that there is nothing. */
  messages(always: boolean): StandbyFeed[] {
    const found: StandbyFeed[] = [];
    const oldest = this.#entries[0]?.number ?? this.#next;
    let at = Math.max(this.#toSend, oldest);
    let index = this.#entries.findIndex(({ number }) => number >= at);
    while (index >= 0 && index < this.#entries.length) {
      const entries: StandbyFeed['entries'] = [];
      let bytes = 0;
      const first = at;
      for (; index < this.#entries.length && entries.length < maxFeedEntries; index++) {
        const { number, entry } = this.#entries[index]!;
        if (entries.length > 0 && bytes + entry.payload.length > messageBytes) break;
        entries.push({ count: Number(entry.count), bytes: entry.payload });
        bytes += entry.payload.length;
        at = number + 1;
      }
      found.push(this.#message(first, entries, oldest));
    }
    this.#toSend = at;
    if (found.length === 0 && (always || this.#mark > this.#sentMark))
      found.push(this.#message(at, [], oldest));
    this.#sentMark = this.#mark;
    return found;
  }

  #message(first: number, entries: StandbyFeed['entries'], oldest: number): StandbyFeed {
    return {
      ...{ type: 'standby-feed', vmId: this.#vmId, epoch: this.#epoch, first, entries, oldest },
      ...{ next: this.#next, mark: Number(this.#mark), left: Number(this.#left), safe: this.#safe },
    };
  }

  /** Since when the oldest position waits for the standby, in milliseconds; 0: nothing waits. */
  lagMs(nowMs: number): number {
    const [need] = this.#needs;
    return need === undefined ? 0 : nowMs - need.sinceMs;
  }

  /** Instructions that its machine is behind. */
  get behind(): number {
    return this.#ack === undefined ? 0 : Math.max(0, Number(this.#mark) - this.#ack.replayed);
  }

  get checked(): string | null {
    return this.#ack?.checked ?? null;
  }

  condition(nowMs: number): StandbyCondition {
    if (this.#ack?.state !== 'following') return 'preparing';
    const isSilent = nowMs - this.#heardMs > silentMs;
    return isSilent || this.lagMs(nowMs) > lagsMs ? 'lagging' : 'in-sync';
  }

  /** Why it is being prepared, in the standby's words. */
  get reason(): string {
    return this.#ack?.reason ?? 'it has not answered yet';
  }
}
