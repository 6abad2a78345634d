/**
 * Which segments are a VM's history (docs/LOG_FORMAT.md, "Which segments count").
 *
 * Segments are linked backwards: each names the one before it. So what an end stands for is settled by the end alone. Of the newest
 * epoch the end is its last segment; of an epoch without segments, or of any epoch before, the one that the takeover fixed in the owner
 * record (ownership.ts). A segment that a fenced owner put later is linked by nobody: it does not count, and is collected.
 */
import { logPrefix, segmentKey } from '../checkpoint/keys.ts';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, isStoreError, StorageError } from '../errors.ts';
import { listAll, type ObjectStore } from '../store/object-store.ts';
import { decodeSegment, type DecodedSegment, type SegmentId, type SegmentRef } from './segment.ts';

/** Ordinals that are there, ascending, by epoch. */
export type SegmentList = Map<number, number[]>;

/** A segment at the end that does not decode. It may be half of what was being written when its writer died. */
export interface TornSegment {
  key: string;
  reason: string;
}

/** The end of a history. */
export interface LogEnd {
  /** Its last segment; undefined: the history has no log. */
  last: DecodedSegment | undefined;
  /** A torn segment behind the end of the chain, which was left out. */
  torn: TornSegment | undefined;
}

/** Segments of one epoch that are part of a history: `first` to `last`. */
export interface EpochPart {
  epoch: number;
  first: number;
  last: number;
  /** Counts up to which it follows what lies before `first`. */
  from: bigint;
}

export interface LogPath {
  /** Ascending. */
  parts: EpochPart[];
  /** From this count on the log is complete to its end. */
  from: bigint;
}

/** All segments that are listed, whether they count or not. */
export async function listSegments(store: ObjectStore, vmId: string): Promise<SegmentList> {
  const found: SegmentList = new Map();
  for await (const { key } of listAll(store, logPrefix(vmId))) {
    const match = /\/(\d{10})-(\d{10})$/.exec(key);
    if (match === null) continue;
    const epoch = Number(match[1]);
    const ordinals = found.get(epoch) ?? [];
    found.set(epoch, ordinals);
    ordinals.push(Number(match[2]));
  }
  return found;
}

/** How often a segment that seems damaged is read before that is believed: a bit may flip on the way. */
const usualLooks = 2;
/** The last segment: leaving it out must not be a mistake, for what was shown to people may rest on it. */
const looksAtLast = 5;

/** Reads a segment. Undefined when there is none. Throws `LOG_DAMAGED`, `KEY_…`. */
export async function readSegment(
  store: ObjectStore,
  vmId: string,
  id: SegmentId,
  key: CheckpointKey | undefined,
  looks = usualLooks,
): Promise<DecodedSegment | undefined> {
  for (let look = 1; ; look++) {
    try {
      const object = await getSegment(store, vmId, id);
      return object && decodeSegment(vmId, id, object, key);
    } catch (error) {
      if (!isStorageError(error, 'LOG_DAMAGED') || look >= looks) throw error;
    }
  }
}

async function getSegment(store: ObjectStore, vmId: string, id: SegmentId): Promise<Uint8Array | undefined> {
  const name = segmentKey(vmId, id);
  try {
    return (await store.get(name))?.body;
  } catch (error) {
    if (isStoreError(error, 'DAMAGED'))
      throw new StorageError('LOG_DAMAGED', error.message, { cause: error });
    throw error;
  }
}

/** As `readSegment` of one that must be there. `expected`: its checksum, when the next one names it. */
export async function requireSegment(
  store: ObjectStore,
  vmId: string,
  id: SegmentId & { hash?: Uint8Array },
  key: CheckpointKey | undefined,
  looks = usualLooks,
): Promise<DecodedSegment> {
  const segment = await readSegment(store, vmId, id, key, looks);
  const name = segmentKey(vmId, id);
  if (segment === undefined)
    throw new StorageError('LOG_DAMAGED', `${name}: the segment is missing`, {
      hint: 'what came in after the segment before it cannot be replayed',
    });
  if (id.hash !== undefined && !Buffer.from(segment.hash).equals(id.hash))
    throw new StorageError('LOG_DAMAGED', `${name}: it is not the segment that the next one names`);
  return segment;
}

/**
 * The end of the history of an epoch.
 * @param options.fixed where that epoch took over from, by its owner record: the end when it has no segments of its own. `base`: the epoch of
 *   the checkpoint that is gone on from. What was fixed before that epoch began is in its state, or of a life that ended (a machine that was
 *   switched on anew), however far its counts reach: it is no end. Undefined: there is no checkpoint, or all of the history is looked at.
 * @throws StorageError `LOG_DAMAGED` when a segment is missing before its last, or when the one that was fixed is damaged.
 */
export async function findLogEnd(
  store: ObjectStore,
  vmId: string,
  options: {
    epoch: number;
    fixed: SegmentRef | undefined;
    base: number | undefined;
    list: SegmentList;
    key?: CheckpointKey | undefined;
  },
): Promise<LogEnd> {
  const { epoch, base = 0, list, key } = options;
  const fixed = options.fixed !== undefined && options.fixed.epoch >= base ? options.fixed : undefined;
  const ordinals = list.get(epoch) ?? [];
  const newest = ordinals.at(-1);
  if (newest === undefined)
    return { last: fixed && (await requireSegment(store, vmId, fixed, key)), torn: undefined };
  try {
    const last = await requireSegment(store, vmId, { epoch, ordinal: newest }, key, looksAtLast);
    return { last, torn: undefined };
  } catch (error) {
    if (!isStorageError(error, 'LOG_DAMAGED')) throw error;
    const torn = { key: segmentKey(vmId, { epoch, ordinal: newest }), reason: error.message };
    if (newest === 1) return { last: fixed && (await requireSegment(store, vmId, fixed, key)), torn };
    // The one before may have been collected: then the newest checkpoint is later than all that is whole.
    if (ordinals.length === 1) return { last: undefined, torn };
    return { last: await requireSegment(store, vmId, { epoch, ordinal: newest - 1 }, key), torn };
  }
}

/**
 * The way back from a segment to a count, or as far as the log goes without a gap. Reads one segment of each epoch on the way.
 * @throws StorageError `LOG_DAMAGED` with the key of a segment that is missing on the way.
 */
export async function walkBack(
  store: ObjectStore,
  vmId: string,
  last: DecodedSegment,
  options: { to: bigint; list: SegmentList; key?: CheckpointKey | undefined },
): Promise<LogPath> {
  const { to, list, key } = options;
  const parts: EpochPart[] = [];
  for (let end = last; ;) {
    const first = await firstOf(store, vmId, { end, list, key });
    parts.unshift({ epoch: end.epoch, first: first.ordinal, last: end.ordinal, from: first.from });
    const { previous } = first;
    if (first.from <= to || previous === undefined) return { parts, from: first.from };
    const isGap = first.opened === first.ordinal;
    // Within an epoch all others follow one another: the one before it ought to be there.
    if (previous.epoch === first.epoch && !isGap) await requireSegment(store, vmId, previous, key);
    if (previous.epoch === first.epoch) return { parts, from: first.from };
    const before = await requireSegment(store, vmId, previous, key);
    // The next epoch went on from elsewhere: from a checkpoint that is newer than the log, or without replaying it.
    if (before.to !== first.from) return { parts, from: first.from };
    end = before;
  }
}

/** The earliest segment of an epoch from which on all are there, without a gap in what they cover, up to `end`. */
async function firstOf(
  store: ObjectStore,
  vmId: string,
  options: { end: DecodedSegment; list: SegmentList; key: CheckpointKey | undefined },
): Promise<DecodedSegment> {
  const { end, list, key } = options;
  const there = new Set(list.get(end.epoch));
  let ordinal = end.ordinal;
  while (ordinal > end.opened && there.has(ordinal - 1)) ordinal--;
  return ordinal === end.ordinal ? end : requireSegment(store, vmId, { epoch: end.epoch, ordinal }, key);
}
