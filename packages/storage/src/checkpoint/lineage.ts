/** Which checkpoints exist for good (see ownership.ts). Pure. */
import type { SegmentRef } from '../log/segment.ts';
import { sameId, type CheckpointId } from './keys.ts';

export interface LineageEntry {
  epoch: number;
  /** null: it started without a checkpoint. undefined: a takeover is between its two steps. */
  from?: CheckpointId | null;
  /** The last segment of the input log that it replayed; absent: none. */
  log?: SegmentRef;
}

/** Whether a checkpoint counts, by the lineage. Pending entries count nothing. */
export function isVisible(lineage: readonly LineageEntry[], id: CheckpointId): boolean {
  const at = lineage.findIndex((entry) => entry.epoch === id.epoch);
  if (at < 0 || lineage[at]!.from === undefined) return false;
  const next = lineage[at + 1];
  // Of the newest epoch everything counts; of an older one, what its successor resumed from and before.
  if (next === undefined || next.from === undefined) return true;
  return next.from !== null && next.from.epoch === id.epoch && id.sequence <= next.from.sequence;
}

/** Whether an epoch after `epoch` resumed from this checkpoint. */
export function isResumePointAfter(
  lineage: readonly LineageEntry[],
  id: CheckpointId,
  epoch: number,
): boolean {
  return lineage.some((entry) => entry.epoch > epoch && sameId(entry.from ?? null, id));
}

/** Keeps the entries that lead to `from`, the checkpoint that `epoch` resumes from; at most `limit`. */
export function lineageFrom(
  lineage: readonly LineageEntry[],
  epoch: number,
  from: CheckpointId | null,
  limit: number,
  log?: SegmentRef,
): LineageEntry[] {
  const kept: LineageEntry[] = [log === undefined ? { epoch, from } : { epoch, from, log }];
  const settled = lineage.filter((entry) => entry.from !== undefined && entry.epoch < epoch);
  let next = from;
  while (next !== null && kept.length < limit) {
    const source = next;
    const entry = settled.find((candidate) => candidate.epoch === source.epoch);
    if (entry === undefined) break;
    kept.unshift(entry);
    next = entry.from ?? null;
  }
  return kept;
}
