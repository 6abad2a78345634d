/**
 * Which segments no kept checkpoint needs (docs/LOG_FORMAT.md, "Collection"). Called by the collector of checkpoints, between its look at
 * the owner record and its second one, and so safe beside writers and takeovers for the same reasons (checkpoint/collect.ts): what it
 * calls garbage is so by a lineage that still stands when it is deleted, and the newest checkpoint, from which every later takeover
 * replays, is always kept.
 */
import { segmentKey } from '../checkpoint/keys.ts';
import type { LineageEntry } from '../checkpoint/lineage.ts';
import type { CheckpointKey } from '../encryption.ts';
import { isStorageError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { findLogEnd, listSegments, requireSegment, walkBack, type EpochPart } from './chain.ts';
import type { SegmentId } from './segment.ts';

export interface LogGarbage {
  keys: string[];
  /** Why nothing is collected: the log is damaged. */
  skipped: string | undefined;
}

/**
 * Segments that may go, oldest first.
 * @param options.from instructions of the oldest checkpoint whose log is kept. `keepsNewest`: all of the newest epoch is kept.
 */
export async function findLogGarbage(
  store: ObjectStore,
  vmId: string,
  options: {
    lineage: readonly LineageEntry[];
    from: bigint;
    keepsNewest: boolean;
    key?: CheckpointKey | undefined;
  },
): Promise<LogGarbage> {
  const { lineage, from, keepsNewest, key } = options;
  const list = await listSegments(store, vmId);
  const entry = lineage.at(-1);
  if (list.size === 0 || entry === undefined) return { keys: [], skipped: undefined };
  try {
    // Checkpoints of several epochs are kept: what leads on from any of them is.
    const end = { epoch: entry.epoch, fixed: entry.log, base: undefined };
    const { last } = await findLogEnd(store, vmId, { ...end, list, key });
    const path = last && (await walkBack(store, vmId, last, { to: from, list, key }));
    const parts = path?.parts ?? [];
    const first = parts[0] && (await firstNeeded(store, vmId, { part: parts[0], from, key }));
    const keeping = (id: SegmentId): boolean => {
      // The newest epoch may get more segments at any moment, and an epoch after it was not looked at.
      if (
        id.epoch > entry.epoch ||
        (id.epoch === entry.epoch && (keepsNewest || parts.every(({ epoch }) => epoch !== id.epoch)))
      )
        return true;
      const part = parts.find(({ epoch }) => epoch === id.epoch);
      if (part === undefined) return false;
      const begins = part === parts[0] ? first! : part.first;
      return id.ordinal >= begins && (id.epoch === entry.epoch || id.ordinal <= part.last);
    };
    const ids = [...list].flatMap(([epoch, ordinals]) => ordinals.map((ordinal) => ({ epoch, ordinal })));
    return { keys: ids.filter((id) => !keeping(id)).map((id) => segmentKey(vmId, id)), skipped: undefined };
  } catch (error) {
    // Somebody who repairs the log may want what is left of it.
    if (isStorageError(error, 'LOG_DAMAGED')) return { keys: [], skipped: error.message };
    throw error;
  }
}

/** The ordinal of the first segment that covers something at or behind a count. */
async function firstNeeded(
  store: ObjectStore,
  vmId: string,
  options: { part: EpochPart; from: bigint; key: CheckpointKey | undefined },
): Promise<number> {
  const { part, from, key } = options;
  let [low, high] = [part.first, part.last];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { to } = await requireSegment(store, vmId, { epoch: part.epoch, ordinal: middle }, key);
    // Inputs of the very count may have come in after the checkpoint was cut.
    if (to < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
