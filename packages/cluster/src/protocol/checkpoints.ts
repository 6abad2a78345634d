/** A VM's checkpoints as a node lists them: `GET /v1/vms/ID/checkpoints`, the oldest first. */
import * as v from 'valibot';
import { maxCheckpoints } from './limits.ts';
import { count, list, text } from './schema.ts';

export const listedCheckpointSchema = v.strictObject({
  /** `EPOCH-SEQUENCE` */
  id: text(32),
  epoch: count,
  /** False: left behind by an owner that had lost the VM. */
  counts: v.boolean(),
  /** A takeover would resume from this one. */
  newest: v.boolean(),
  damaged: v.exactOptional(text()),
  /** When it was made, in milliseconds since 1970 by its node's clock. What follows is absent when its head can't be read. */
  atMs: v.exactOptional(v.number()),
  /** Retired so far, in decimal: more than a double holds. */
  instructions: v.exactOptional(text(32)),
  virtualMs: v.exactOptional(v.number()),
  /** Pages that changed since the one before, and bytes that were stored for them. */
  pages: v.exactOptional(count),
  storedBytes: v.exactOptional(count),
});
export type ListedCheckpoint = v.InferOutput<typeof listedCheckpointSchema>;
export const checkpointsAnswerSchema = v.strictObject({
  checkpoints: list(listedCheckpointSchema, maxCheckpoints),
});
