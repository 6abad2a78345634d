/** Snapshots of a VM: states that are kept by name (docs/CLUSTER_PROTOCOL.md, "API"). */
import * as v from 'valibot';
import { maxName } from './limits.ts';
import { list, text, vmName } from './schema.ts';
import { commandId } from './spec.ts';

/** Of one VM. */
const maxListedSnapshots = 256;

export const snapshotSchema = v.strictObject({
  name: text(maxName),
  /** The checkpoint of the VM that it was made of, `EPOCH-SEQUENCE`. */
  checkpoint: text(maxName),
  /** Milliseconds since 1970 by the clock of the node that took it: for people, as clocks differ. */
  atMs: v.number(),
  /** The snapshot that the VM was last at before. */
  parent: v.nullable(text(maxName)),
  /** Whether the VM was last at this one: taken, or gone back to. */
  current: v.boolean(),
});
export type Snapshot = v.InferOutput<typeof snapshotSchema>;

/** `GET /v1/vms/ID/snapshots`: the oldest first. */
export const snapshotsAnswerSchema = v.strictObject({
  snapshots: list(snapshotSchema, maxListedSnapshots),
});
/** `POST /v1/vms/ID/snapshots`: may be repeated with the same id. Answered by the snapshot. */
export const snapshotRequestSchema = v.strictObject({ id: commandId, name: text(maxName) });
/** `POST /v1/vms/ID/revert`: may be repeated with the same id. Answered by the snapshot. */
export const revertRequestSchema = v.strictObject({
  id: commandId,
  name: text(maxName),
  /** Whether it runs then. */
  start: v.boolean(),
});
export type RevertRequest = v.InferOutput<typeof revertRequestSchema>;
/** `DELETE /v1/vms/ID/snapshots/NAME` */
export const snapshotDroppedSchema = v.strictObject({ vmId: vmName, name: text(maxName) });
