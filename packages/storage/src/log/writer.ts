/**
 * Writes the input log of one epoch. While one segment is being put, entries gather for the next (group commit), so that a slow store
 * makes larger segments and no longer queue.
 *
 * Invariants:
 * - a segment counts as durable once it was put (`ifAbsent`) and the owner record, read after that, still has this epoch. A takeover
 *   raises the epoch before it looks for the end of the log, so it sees every segment that was ever called durable (ownership.ts);
 * - segments become durable in order. The put of the next may run while the record is read for the one before;
 * - an unknown outcome is settled by repeating the put: the condition allows one success, and the bytes read back tell whose;
 * - what waits in memory is bounded: `append` then says `full`, and the caller holds its input, or its guest.
 */
import type { CheckpointKey } from '../encryption.ts';
import { envelopeHash } from '../envelope.ts';
import { isStorageError, isStoreError, StorageError, StoreError } from '../errors.ts';
import { systemHost, type StorageHost } from '../host.ts';
import { insist } from '../insist.ts';
import { requireEpoch, type Ownership } from '../ownership.ts';
import { retry, type StallEvent } from '../retry.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { segmentKey } from '../checkpoint/keys.ts';
import {
  encodeSegment,
  maxPayloadBytes,
  type DecodedSegment,
  type LogEntry,
  type SegmentRef,
} from './segment.ts';

/** Payload of one segment; a larger backlog becomes several. */
const segmentBytes = 1 << 20;
/** About how many bytes of memory an entry takes beside its payload. */
const entryBytes = 64;

export interface LogWriterOptions {
  key?: CheckpointKey | undefined;
  host?: StorageHost;
  /** Where the machine goes live: what came in behind this count will be logged. The end of what was replayed, or the checkpoint's count. */
  from: bigint;
  /** The segment that it goes on from: what was replayed, or the last one of this epoch when its log was off for a while. */
  previous?: LogPosition | undefined;
  /** Number of the first input. Default: that after `previous`, or 1. Of a machine that knows how many inputs it has had. */
  nextInput?: bigint;
  /** How many bytes may wait to become durable. Default 1 MiB. */
  maxWaitingBytes?: number;
  /** Told in order whenever more is durable: an output at a count up to `count` may leave. */
  onDurable?: (durable: Durable) => void;
  /** Told when the store makes the log wait, and when it goes on. */
  onStall?: (event: StallEvent) => void;
  /** Told once when no more can become durable: fenced, or failed. */
  onOver?: (error: StorageError) => void;
}

export interface Durable {
  /** Every input up to this count is durable. */
  count: bigint;
  /** The number of the last input that is durable; 0: none. */
  input: bigint;
}

/** Where a log stands: what the next segment goes on from. */
export type LogPosition = Pick<DecodedSegment, 'epoch' | 'ordinal' | 'opened' | 'hash' | 'to' | 'nextInput'>;

/** `ready`; `full`: entries are refused until some are durable; `stalled`: the store fails, and is tried on; `over`: see `error`. */
export type LogState = 'ready' | 'full' | 'stalled' | 'over';

export interface LogStatus {
  state: LogState;
  durable: Durable;
  /** Not durable yet. */
  waitingEntries: number;
  waitingBytes: number;
  /** Since when it is stalled, by the host's monotonic clock. */
  stalledSinceMs: number | undefined;
  error: StorageError | undefined;
  segments: number;
  /** Bytes of all segments put. */
  storedBytes: number;
}

interface Sealed {
  position: LogPosition;
  key: string;
  body: Uint8Array;
  entries: number;
  bytes: number;
}

export class LogWriter {
  readonly vmId: string;
  readonly epoch: number;
  readonly #store: ObjectStore;
  readonly #options: LogWriterOptions;
  readonly #host: StorageHost;
  readonly #maxWaiting: number;
  readonly #firstInput: bigint;
  /** The last segment that was made; undefined: the next is the first. */
  #last: LogPosition | undefined;
  #opened: number;
  /** Not in a segment yet. */
  #gathering: LogEntry[] = [];
  /** Up to which count it is known that nothing else came in. */
  #mark: bigint;
  /** Not durable yet, gathering included. */
  #waitingEntries = 0;
  #waitingBytes = 0;
  /** An input was refused, and nothing has become durable since. */
  #full = false;
  #durable: Durable;
  #putting: Promise<void> | undefined;
  #confirming: Promise<void> = Promise.resolve();
  #stalledSinceMs: number | undefined;
  #error: StorageError | undefined;
  #closed = false;
  #segments = 0;
  #storedBytes = 0;

  constructor(store: ObjectStore, ownership: Ownership, options: LogWriterOptions) {
    this.vmId = ownership.vmId;
    this.epoch = ownership.epoch;
    this.#store = store;
    this.#options = options;
    this.#host = options.host ?? systemHost;
    this.#maxWaiting = options.maxWaitingBytes ?? 1 << 20;
    const { previous, from } = options;
    if (previous !== undefined && previous.to > from)
      throw new StorageError(
        'BAD_ARGUMENT',
        `the log of ${this.vmId} is known up to ${String(previous.to)} already`,
      );
    this.#last = previous;
    const ours = previous?.epoch === this.epoch ? previous : undefined;
    // The log continues without a gap only if no input was left out before it.
    this.#opened = ours?.to === from ? ours.opened : (ours?.ordinal ?? 0) + 1;
    this.#mark = from;
    this.#firstInput = options.nextInput ?? previous?.nextInput ?? 1n;
    this.#durable = { count: from, input: this.#firstInput - 1n };
  }

  /** The number that the next input gets. */
  get nextInput(): bigint {
    return this.#sealedInputs + BigInt(this.#gathering.length);
  }

  /** The last segment that was made, for a writer that goes on from here. Only after `close`. */
  get position(): LogPosition | undefined {
    return this.#last;
  }

  get status(): LogStatus {
    return {
      state: this.#state(),
      durable: this.#durable,
      waitingEntries: this.#waitingEntries,
      waitingBytes: this.#waitingBytes,
      stalledSinceMs: this.#stalledSinceMs,
      error: this.#error,
      segments: this.#segments,
      storedBytes: this.#storedBytes,
    };
  }

  /**
   * Takes an input, and with it the word that nothing else came in before its count. Counts must not fall.
   * @returns `full`: too much waits; nothing was taken: hold the input, and try again when more is durable. `over`: see `status`.
   */
  append(entry: LogEntry): 'taken' | 'full' | 'over' {
    if (entry.count < this.#mark || entry.payload.length > maxPayloadBytes)
      throw new StorageError(
        'BAD_ARGUMENT',
        `${this.vmId}: this input cannot be logged: count or size is impossible`,
      );
    if (this.#error !== undefined || this.#closed) return 'over';
    const bytes = entry.payload.length + entryBytes;
    this.#full = this.#isFull(bytes);
    if (this.#full) return 'full';
    this.#gathering.push(entry);
    this.#waitingBytes += bytes;
    this.#waitingEntries++;
    this.#mark = entry.count;
    this.#commit();
    return 'taken';
  }

  /** Says that nothing else came in up to a count: an output there waits for it. Never refused, and takes no room. */
  mark(count: bigint): void {
    if (count <= this.#mark || this.#error !== undefined || this.#closed) return;
    this.#mark = count;
    this.#commit();
  }

  /** Waits until everything that was taken is durable, or can't become so any more. */
  async flush(): Promise<void> {
    while (this.#putting !== undefined) await this.#putting;
    await this.#confirming;
  }

  /** Takes nothing more, and waits as `flush` does. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  /** Takes nothing more, and gives up what is not durable: of a machine that is gone. */
  abandon(): void {
    this.#closed = true;
    this.#gathering = [];
    this.#error ??= new StorageError('BAD_ARGUMENT', `the log of ${this.vmId} was given up`);
  }

  /** The number that the first input has which is in no segment yet. */
  get #sealedInputs(): bigint {
    return this.#segments === 0 ? this.#firstInput : this.#last!.nextInput;
  }

  #state(): LogState {
    if (this.#error !== undefined || this.#closed) return 'over';
    if (this.#full) return 'full';
    return this.#stalledSinceMs === undefined ? 'ready' : 'stalled';
  }

  /** One entry always fits, however large. */
  #isFull(more: number): boolean {
    return this.#waitingEntries > 0 && this.#waitingBytes + more > this.#maxWaiting;
  }

  #commit(): void {
    this.#putting ??= this.#putAll().finally(() => (this.#putting = undefined));
  }

  async #putAll(): Promise<void> {
    // What comes in at the same moment goes together.
    await Promise.resolve();
    while (this.#error === undefined && this.#hasMore()) {
      const sealed = await this.#try(() => this.#put());
      await this.#confirming;
      if (sealed !== undefined) this.#confirming = this.#try(() => this.#confirm(sealed));
    }
  }

  #hasMore(): boolean {
    return this.#gathering.length > 0 || this.#mark > (this.#last?.to ?? this.#options.from);
  }

  #seal(): Sealed {
    const { key, from: begun } = this.#options;
    const [entries, bytes] = this.#take();
    const previous: SegmentRef | undefined = this.#last;
    const ordinal = previous?.epoch === this.epoch ? previous.ordinal + 1 : 1;
    // A gap after a segment that was replayed, or put before the log was switched off: it begins where this writer does.
    const from = this.#segments === 0 ? begun : this.#last!.to;
    const to = this.#gathering.length > 0 ? entries.at(-1)!.count : this.#mark;
    const firstInput = this.#sealedInputs;
    const { vmId, epoch } = this;
    if (previous?.epoch === epoch)
      insist(
        from >= this.#last!.to && firstInput >= this.#last!.nextInput,
        `the log of ${vmId} would repeat what its last segment has`,
      );
    const opened = this.#opened;
    const segment = { vmId, epoch, ordinal, opened, from, to, firstInput, previous, entries };
    const body = encodeSegment(segment, { key, host: this.#host });
    const nextInput = firstInput + BigInt(entries.length);
    this.#last = { epoch, ordinal, opened, hash: envelopeHash(body)!, to, nextInput };
    this.#segments++;
    this.#storedBytes += body.length;
    return { position: this.#last, key: segmentKey(vmId, segment), body, entries: entries.length, bytes };
  }

  /** The next entries, as many as go into one segment. */
  #take(): [LogEntry[], number] {
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.#gathering) {
      if (count > 0 && bytes + payload.length + entryBytes > segmentBytes) break;
      bytes += payload.length + entryBytes;
      count++;
    }
    return [this.#gathering.splice(0, count), bytes];
  }

  /** Makes the next segment, and stores it. */
  async #put(): Promise<Sealed> {
    const sealed = this.#seal();
    const { key, body } = sealed;
    await this.#tryOn(key, async () => {
      try {
        await this.#store.put(key, body, { ifAbsent: true });
      } catch (error) {
        if (!isStoreError(error, 'CONFLICT')) throw error;
        const found = (await this.#store.get(key))?.body;
        // Our own put, whose reply was lost.
        if (found !== undefined && Buffer.from(found).equals(body)) return;
        throw new StorageError('FENCED', `${key}: another writer of this epoch was first`);
      }
    });
    return sealed;
  }

  async #confirm({ position, key, entries, bytes }: Sealed): Promise<void> {
    await this.#tryOn(key, () => requireEpoch(this.#store, this.vmId, this.epoch));
    this.#waitingEntries -= entries;
    this.#waitingBytes -= bytes;
    this.#full = false;
    const durable = { count: position.to, input: position.nextInput - 1n };
    insist(
      durable.count >= this.#durable.count && durable.input >= this.#durable.input,
      `the log of ${this.vmId} was durable up to a later input already`,
    );
    insist(
      this.#waitingEntries >= 0 && this.#waitingBytes >= 0,
      `more of the log of ${this.vmId} became durable than waited`,
    );
    this.#durable = durable;
    this.#options.onDurable?.(this.#durable);
  }

  /** Tries on while the store fails, whatever the reason: the guest waits, visibly, and goes on when the store is back. */
  async #tryOn<T>(what: string, work: () => Promise<T>): Promise<T> {
    const patiently = async (): Promise<T> => {
      try {
        return await work();
      } catch (error) {
        if (!isStoreError(error) || error.retryable) throw error;
        throw new StoreError(error.code, error.message, { cause: error, retryable: true });
      }
    };
    const onStall = (event: StallEvent): void => {
      this.#stalledSinceMs =
        event.kind === 'stalled' ? (this.#stalledSinceMs ?? this.#host.monotonicMs()) : undefined;
      this.#options.onStall?.(event);
    };
    return retry(patiently, { host: this.#host, what, onStall, goOn: () => this.#error === undefined });
  }

  /** Undefined: it failed, and so has the log. */
  async #try<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (this.#error !== undefined) return undefined;
    try {
      return await work();
    } catch (error) {
      // Given up meanwhile: nobody waits for the outcome.
      if (this.#error !== undefined) return undefined;
      this.#error = isStorageError(error)
        ? error
        : new StorageError('LOG_DAMAGED', `the log of ${this.vmId} failed: ${String(error)}`, {
            cause: error,
          });
      this.#options.onOver?.(this.#error);
      return undefined;
    }
  }
}
