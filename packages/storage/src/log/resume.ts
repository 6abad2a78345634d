/** What a takeover replays: the log from the checkpoint that it resumes from to the end (ownership.ts fixes both in one step). */
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError, StorageError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import {
  findLogEnd,
  listSegments,
  requireSegment,
  walkBack,
  type EpochPart,
  type LogEnd,
  type LogPath,
  type SegmentList,
  type TornSegment,
} from './chain.ts';
import { follows, type DecodedSegment, type SegmentRef } from './segment.ts';

export interface LogResume {
  /** The last segment to replay; undefined: there is nothing behind the checkpoint. */
  last: DecodedSegment | undefined;
  /** Where its segments are. */
  path: LogPath | undefined;
  /** A segment at the end that was left out: half of what its writer was writing when it died, unless the disk damaged it. */
  torn: TornSegment | undefined;
  /** Why not everything that was logged can be replayed: say so, and what it costs. Undefined: everything is. */
  refused: string | undefined;
}

export interface ChooseLogOptions {
  /** The epoch before, and where it took over from. Undefined: there was none. */
  before: { epoch: number; log: SegmentRef | undefined } | undefined;
  /** Instructions of the checkpoint; 0 from power-on. And the epoch that wrote it. */
  from: bigint;
  base: number | undefined;
  /** Replay a log that is broken in the middle up to the break. Default: throw. */
  acceptBroken?: boolean;
  key?: CheckpointKey | undefined;
}

const nothing: LogResume = { last: undefined, path: undefined, torn: undefined, refused: undefined };
/** How many segments of a broken log are tried as its end. */
const maxTried = 10_000;

/** Throws `LOG_DAMAGED` with the key of a missing or damaged segment, unless that is accepted. */
export async function chooseLog(
  store: ObjectStore,
  vmId: string,
  options: ChooseLogOptions,
): Promise<LogResume> {
  const { before, from, base, key } = options;
  if (before === undefined) return nothing;
  const list = await listSegments(store, vmId);
  try {
    const end = await findLogEnd(store, vmId, { epoch: before.epoch, fixed: before.log, base, list, key });
    const resume = await judge(store, vmId, end, { from, list, key });
    return options.acceptBroken === true ? await upToDamage(store, vmId, resume, { from, key }) : resume;
  } catch (error) {
    if (!isStorageError(error, 'LOG_DAMAGED') || options.acceptBroken !== true) throw error;
    return intactPart(store, vmId, { from, base, list, key, newest: before.epoch, why: error.message });
  }
}

async function judge(
  store: ObjectStore,
  vmId: string,
  { last, torn }: LogEnd,
  options: { from: bigint; list: SegmentList; key: CheckpointKey | undefined },
): Promise<LogResume> {
  const { from } = options;
  // The checkpoint is newer than the log: what was logged is in it.
  if (last === undefined || last.to < from) return { ...nothing, torn };
  const path = await walkBack(store, vmId, last, { ...options, to: from });
  if (path.from <= from) return { last, path, torn, refused: undefined };
  const refused = `the log begins at instruction ${String(path.from)}, and the checkpoint is of ${String(from)}`;
  return { ...nothing, torn, refused };
}

/**
 * Reads everything that is to be replayed, and ends it before the first segment that is damaged. A takeover does not do so by itself: it
 * reads the ends only, and replay meets the damage; then it is raised again with what is before it.
 */
async function upToDamage(
  store: ObjectStore,
  vmId: string,
  resume: LogResume,
  options: { from: bigint; key: CheckpointKey | undefined },
): Promise<LogResume> {
  const { last, path } = resume;
  if (last === undefined || path === undefined) return resume;
  const { from, key } = options;
  let good: DecodedSegment | undefined;
  const parts: EpochPart[] = [];
  try {
    for (const part of path.parts)
      for (let ordinal = part.first; ordinal <= part.last; ordinal++) {
        const segment = await requireSegment(store, vmId, { epoch: part.epoch, ordinal }, key);
        if (good !== undefined && !follows(segment, good))
          throw new StorageError('LOG_DAMAGED', `${segment.key}: it does not follow the one before it`);
        if (parts.at(-1)?.epoch === part.epoch) parts.pop();
        parts.push({ ...part, last: ordinal });
        good = segment;
      }
    return resume;
  } catch (error) {
    if (!isStorageError(error, 'LOG_DAMAGED')) throw error;
    const rest = good !== undefined && good.to >= from ? { last: good, path: { ...path, parts } } : {};
    return { ...nothing, ...rest, refused: error.message };
  }
}

/** The longest part of a broken log that can be replayed. */
async function intactPart(
  store: ObjectStore,
  vmId: string,
  options: Pick<ChooseLogOptions, 'from' | 'base' | 'key'> & {
    list: SegmentList;
    newest: number;
    why: string;
  },
): Promise<LogResume> {
  const { from, base = 0, list, key, newest, why: refused } = options;
  const ids = [...list]
    .filter(([epoch]) => epoch >= base && epoch <= newest)
    .flatMap(([epoch, ordinals]) => ordinals.map((ordinal) => ({ epoch, ordinal })))
    .reverse();
  for (const id of ids.slice(0, maxTried)) {
    try {
      const last = await requireSegment(store, vmId, id, key);
      if (last.to < from) break;
      const path = await walkBack(store, vmId, last, { to: from, list, key });
      if (path.from > from) continue;
      const found = await upToDamage(store, vmId, { last, path, torn: undefined, refused }, { from, key });
      return { ...found, refused };
    } catch (error) {
      if (!isStorageError(error, 'LOG_DAMAGED')) throw error;
    }
  }
  return { ...nothing, refused };
}
