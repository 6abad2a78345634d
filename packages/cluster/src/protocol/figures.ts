/**
 * What a node can say in numbers, of itself and of the VMs that run on it: `GET /v1/figures`, and for how it came to be
 * `GET /v1/vms/ID/figures`. For people and their charts; no rule reads it. Times in milliseconds, sizes in bytes.
 */
import * as v from 'valibot';
import { maxSamples, maxVms } from './limits.ts';
import { standbyConditionSchema } from './records.ts';
import { count, list, nodeName, vmName } from './schema.ts';

const amount = v.pipe(v.number(), v.finite(), v.minValue(0));

export const vmSampleSchema = v.strictObject({
  vmId: vmName,
  node: nodeName,
  epoch: count,
  /** By the clock of its node, since 1970. */
  atMs: amount,
  /** Retired instructions. A double is exact enough for a rate. */
  instructions: amount,
  /** Durable checkpoints by this node so far; what follows up to `storedBytes` is of the last of them. */
  checkpoints: count,
  /** Since it became durable; absent before the first. */
  ageMs: v.exactOptional(amount),
  /** How long the guest stood still for it. */
  pauseMs: amount,
  /** From the cut until it was durable. */
  durableMs: amount,
  storedBytes: amount,
  /** At which they become durable now. */
  intervalMs: amount,
  /** Pages that wait to become durable. */
  heldBytes: amount,
  /** What the guest said and nobody may hear yet, and inputs that are not durable yet. */
  heldOutputBytes: amount,
  logWaitingBytes: amount,
  /** The node that follows it, how that does, and how long what is on its way there has waited. */
  standby: v.exactOptional(
    v.strictObject({ node: nodeName, condition: standbyConditionSchema, lagMs: amount }),
  ),
});
export type VmSample = v.InferOutput<typeof vmSampleSchema>;

/** `GET /v1/figures` */
export const nodeFiguresSchema = v.strictObject({
  node: nodeName,
  /** Processes that ran or waited to run, of the last minute (getloadavg(3)), and processors. */
  load: amount,
  processors: count,
  /** Of the node's process, and of its host. */
  usedBytes: amount,
  hostFreeBytes: amount,
  hostBytes: amount,
  vms: list(vmSampleSchema, maxVms),
});
export type NodeFigures = v.InferOutput<typeof nodeFiguresSchema>;

/** `GET /v1/vms/ID/figures`: samples a second apart, the oldest first, of the time that it ran on the node asked. */
export const vmFiguresSchema = v.strictObject({ samples: list(vmSampleSchema, maxSamples) });
