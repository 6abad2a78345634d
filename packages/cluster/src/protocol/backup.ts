/** What lies beside the checkpoints of a backup: what its cluster wanted of the VM. */
import * as v from 'valibot';
import { maxName } from './limits.ts';
import { nicSchema } from './network.ts';
import { count, text } from './schema.ts';
import { vmSpecSchema } from './spec.ts';

export const backupRecordSchema = v.strictObject({
  spec: vmSpecSchema,
  nic: v.exactOptional(nicSchema),
  /** As in the list: an older checkpoint holds no more than its disks. */
  boot: count,
  /** The newest copy: the checkpoint that it was there, and is here. */
  from: text(maxName),
  checkpoint: text(maxName),
  /** When that was made, by the wall clock of the node that did: milliseconds since 1970. */
  createdAtMs: count,
});
export type BackupRecord = v.InferOutput<typeof backupRecordSchema>;
