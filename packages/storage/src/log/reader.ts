/**
 * Reads a log in order, from a count to its end: for a takeover, for replay, for a standby that catches up.
 *
 * Segments are fetched a few ahead; each must name the one before it by its checksum. What is missing or damaged on the way is refused by
 * name when it is reached: what was given out before is right.
 */
import type { CheckpointKey } from '../encryption.ts';
import { StorageError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { readOwner } from '../ownership.ts';
import {
  findLogEnd,
  listSegments,
  requireSegment,
  walkBack,
  type LogPath,
  type TornSegment,
} from './chain.ts';
import { follows, type DecodedSegment, type LogEntry, type SegmentId } from './segment.ts';

/** Segments fetched at the same time. */
const ahead = 8;

/** An input with its number in the history, from 1. */
export interface ReadEntry extends LogEntry {
  input: bigint;
}

export interface OpenLogOptions {
  /** Entries behind this count: the instructions of the checkpoint that one replays from. */
  after: bigint;
  /** The epoch that wrote that checkpoint: what earlier ones logged does not lead on from there. Default: the log is looked at for itself. */
  base?: number;
  key?: CheckpointKey | undefined;
}

export class LogReader {
  readonly vmId: string;
  /** From this count on nothing is left out; later than what was asked for when the log does not reach back so far. */
  readonly from: bigint;
  /** Up to this count it is known what came in. */
  readonly to: bigint;
  /** A segment behind the end that is torn. */
  readonly torn: TornSegment | undefined;
  /** The last segment. */
  readonly last: DecodedSegment;
  readonly #store: ObjectStore;
  readonly #path: LogPath;
  readonly #options: OpenLogOptions;

  constructor(parts: {
    store: ObjectStore;
    vmId: string;
    path: LogPath;
    last: DecodedSegment;
    torn?: TornSegment | undefined;
    options: OpenLogOptions;
  }) {
    this.vmId = parts.vmId;
    this.from = parts.path.from;
    this.to = parts.last.to;
    this.torn = parts.torn;
    this.last = parts.last;
    this.#store = parts.store;
    this.#path = parts.path;
    this.#options = parts.options;
  }

  /** The log of a VM as it is now; undefined when it has none. Throws `LOG_DAMAGED` when it is broken behind `after`. */
  static async open(
    store: ObjectStore,
    vmId: string,
    options: OpenLogOptions,
  ): Promise<LogReader | undefined> {
    const entry = (await readOwner(store, vmId))?.record.lineage.findLast(({ from }) => from !== undefined);
    if (entry === undefined) return undefined;
    const list = await listSegments(store, vmId);
    const { key, base } = options;
    const end = await findLogEnd(store, vmId, { epoch: entry.epoch, fixed: entry.log, base, list, key });
    const { last, torn } = end;
    if (last === undefined) return undefined;
    const path = await walkBack(store, vmId, last, { to: options.after, list, key });
    return new LogReader({ store, vmId, path, last, torn, options });
  }

  /** Segments that cover what is behind the count, in order. */
  async *segments(): AsyncGenerator<DecodedSegment, void> {
    let before: DecodedSegment | undefined;
    for await (const segment of this.#fetched(await this.#ids())) {
      if (before !== undefined && !follows(segment, before))
        throw new StorageError('LOG_DAMAGED', `${segment.key}: it does not follow ${before.key}`);
      before = segment;
      yield segment;
    }
    if (before !== undefined && !Buffer.from(before.hash).equals(this.last.hash))
      throw new StorageError('LOG_DAMAGED', `${this.last.key}: it changed while it was read`);
  }

  /**
   * Entries behind the count, in order. Inputs of that very count may have come in before the checkpoint was cut or after: whoever keeps
   * their numbers with the checkpoint leaves out those that it has (`input` up to that number).
   */
  async *entries(): AsyncGenerator<ReadEntry, void> {
    for await (const { entries, firstInput } of this.segments()) {
      let input = firstInput;
      for (const entry of entries) {
        if (entry.count >= this.#options.after) yield { ...entry, input };
        input++;
      }
    }
  }

  async #ids(): Promise<SegmentId[]> {
    const ids: SegmentId[] = [];
    for (const { epoch, first, last } of this.#path.parts)
      for (let ordinal = first; ordinal <= last; ordinal++) ids.push({ epoch, ordinal });
    // What lies before the checkpoint need not be read: the first wanted one is found by halving.
    let [low, high] = [0, ids.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { to } = await requireSegment(this.#store, this.vmId, ids[middle]!, this.#options.key);
      if (to < this.#options.after) low = middle + 1;
      else high = middle;
    }
    return ids.slice(low);
  }

  async *#fetched(ids: SegmentId[]): AsyncGenerator<DecodedSegment, void> {
    const { key } = this.#options;
    const waiting: Promise<DecodedSegment>[] = [];
    for (let next = 0; next < ids.length || waiting.length > 0;) {
      for (; next < ids.length && waiting.length < ahead; next++) {
        const fetching = requireSegment(this.#store, this.vmId, ids[next]!, key);
        // Met in its turn.
        fetching.catch(() => undefined);
        waiting.push(fetching);
      }
      yield await waiting.shift()!;
    }
  }
}
