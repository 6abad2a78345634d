/**
 * What the cluster keeps in the store (docs/CLUSTER_PROTOCOL.md, "Records"). All of it is swapped by conditional put, so
 * that nothing rests on one process. Values are never changed in place: a change makes a new object.
 */
import * as v from 'valibot';
import {
  maxCommandAnswers,
  maxNetworks,
  maxNodes,
  maxReports,
  maxRuntimes,
  maxText,
  maxUnreadable,
  maxVms,
} from './limits.ts';
import { networkSpecSchema, nicSchema } from './network.ts';
import { address, count, list, mapOf, nodeName, reason, text, vmName } from './schema.ts';
import { commandId, vmSpecSchema } from './spec.ts';

export const capacitySchema = v.strictObject({ memoryMiB: v.pipe(v.number(), v.finite(), v.minValue(0)) });
export type Capacity = v.InferOutput<typeof capacitySchema>;

/** How the state of guests is stored. Only a node with the same key, and a format as new or newer, can read it. */
export const stateFormSchema = v.strictObject({
  /** Id of the key that it is encrypted under; null: it is not. */
  key: v.nullable(text(64)),
  /** Version of the format of checkpoints. */
  format: count,
});
export type StateForm = v.InferOutput<typeof stateFormSchema>;

/**
 * `preparing`: it is being made, or has found that it differs and is made anew. `in-sync`: it holds all that came in. `lagging`: it is
 * behind; outputs wait for the store instead.
 */
export const standbyConditionSchema = v.picklist(['preparing', 'in-sync', 'lagging']);
export type StandbyCondition = v.InferOutput<typeof standbyConditionSchema>;

export const powerOnEntrySchema = v.strictObject({
  vmId: vmName,
  epoch: count,
  attempt: count,
  state: v.picklist(['starting', 'running', 'paused', 'leaving']),
  /** How its standby does, where it has one. */
  standby: v.exactOptional(standbyConditionSchema),
  /** It holds as much in the store as it may, and stands still. */
  storeFull: v.exactOptional(v.literal(true)),
  /** A debugger is at it: it is not moved but by a person's will. */
  debugged: v.exactOptional(v.literal(true)),
});
export type PowerOnEntry = v.InferOutput<typeof powerOnEntrySchema>;

/** With which a guest ends, as a program does. */
const exitStatus = v.pipe(count, v.maxValue(255));

/** Why an assignment came to its end on a node. Kept until the master has answered it with a new assignment or state. */
export const vmReportSchema = v.strictObject({
  vmId: vmName,
  attempt: count,
  /**
   * `failed`: to be tried elsewhere. `hung`: its guest, which is to boot afresh. `powered-off`: by the guest itself, not to be restarted.
   * `unreadable`: this session can't read its state (key, version), and never will. `held`: only the standby on another node has all of it.
   */
  kind: v.picklist(['failed', 'hung', 'powered-off', 'unreadable', 'held']),
  /** Of `held`: the node whose standby has what came in last. */
  by: v.exactOptional(nodeName),
  reason,
  /** Of `powered-off`: with which status, where the guest gave one. */
  status: v.exactOptional(exitStatus),
});
export type VmReport = v.InferOutput<typeof vmReportSchema>;

/** What a node tells about itself, by network and in its record. */
export const nodeViewSchema = v.strictObject({
  /** Rises with each change; the higher one is the newer. */
  seq: count,
  address,
  /** True when it hears no other node: it says so itself. */
  isolated: v.boolean(),
  /** Datastores that it reaches: the store itself and heartbeat datastores. */
  stores: count,
  capacity: capacitySchema,
  /** How it stores what its guests are: what it can't read it is not given. */
  reads: v.exactOptional(stateFormSchema),
  /** Names of the runtimes that it has. */
  runtimes: v.exactOptional(list(text(64), maxRuntimes)),
  /** Its guests stand still, as the store takes no renewal of its. */
  suspended: v.exactOptional(v.boolean()),
  /** What it is short of, or that it is about to leave: nothing is placed there, and VMs are moved away. */
  pressure: v.picklist(['none', 'memory', 'disk', 'leaving']),
  powerOn: list(powerOnEntrySchema, maxVms),
  reports: list(vmReportSchema, maxReports),
});
export type NodeView = v.InferOutput<typeof nodeViewSchema>;

/** `cluster/nodes/ID`: datastore heartbeat, lease, power-on list and isolation mark of one node, written by it alone, but for the fence. */
export const nodeRecordSchema = v.strictObject({
  id: nodeName,
  /** Rises with each life of the node: a session. Whoever starts a new one has ended the one before. */
  incarnation: count,
  /** `fenced`: declared dead; this incarnation may never run a guest again. `left`: gave everything up by itself. */
  state: v.picklist(['active', 'fenced', 'left']),
  fencedBy: v.exactOptional(nodeName),
  /** Rises with each renewal: the datastore heartbeat. */
  counter: count,
  view: nodeViewSchema,
});
export type NodeRecord = v.InferOutput<typeof nodeRecordSchema>;

/** `cluster/heartbeats/ID` in a heartbeat datastore: that a session goes on, and what it tells about itself. Nothing rests on who wrote last. */
export const storeBeatSchema = v.strictObject({
  id: nodeName,
  incarnation: count,
  /** Rises with each beat, whether or not the store takes renewals. */
  beats: count,
  view: nodeViewSchema,
});
export type StoreBeat = v.InferOutput<typeof storeBeatSchema>;

export const assignmentSchema = v.strictObject({ node: nodeName, incarnation: count, attempt: count });
export type Assignment = v.InferOutput<typeof assignmentSchema>;

const vmStatusSchema = v.picklist([
  'pending',
  'starting',
  'running',
  'paused',
  'stopping',
  'stopped',
  'failed',
  'deleted',
]);
export type VmStatus = v.InferOutput<typeof vmStatusSchema>;

/** A session of a node. */
const sessionSchema = v.strictObject({ node: nodeName, incarnation: count });
export type NodeSession = v.InferOutput<typeof sessionSchema>;

/** Outputs of an epoch rest on a standby: its session, and that epoch. */
export const standbyNoteSchema = v.strictObject({ ...sessionSchema.entries, epoch: v.optional(count, 0) });
export type StandbyNote = v.InferOutput<typeof standbyNoteSchema>;

export const protectedVmSchema = v.strictObject({
  id: vmName,
  spec: vmSpecSchema,
  /** Of its network card, where it has one. */
  nic: v.exactOptional(nicSchema),
  /** What a person wants. Only `running` and `paused` are ever restarted. */
  desired: v.picklist(['running', 'paused', 'stopped', 'deleted']),
  /** Rises with each power-off: a checkpoint of an older boot is not resumed, its disks are kept. */
  boot: count,
  status: vmStatusSchema,
  /** Why it has this status; for people. */
  reason,
  assignment: v.nullable(assignmentSchema),
  /** Number of the last assignment; never reused. */
  attempt: count,
  /** Failed tries, of which one is forgotten each `forgiveMs` that it runs well; and where. */
  tries: count,
  avoid: list(nodeName, maxNodes),
  /** The assignment is a live move: the node before hands over. */
  moving: v.boolean(),
  /** How its state is stored, as far as it was ever noticed running. */
  state: v.exactOptional(stateFormSchema),
  /** Sessions that could not read its state. */
  unreadable: v.exactOptional(list(sessionSchema, maxUnreadable)),
  /** Where a second machine follows it: it goes on there, should its node end. */
  standby: v.exactOptional(sessionSchema),
  /** Why it has no standby, though it shall. */
  alone: v.exactOptional(reason),
  /** Why it stays on a node that it should leave. */
  stays: v.exactOptional(reason),
  /** True once it has run so long under its assignment that it is not to blame, should its node end (`provenAfterMs`). */
  proven: v.exactOptional(v.boolean()),
  /** With which its guest switched it off last, where that gave one. */
  exitStatus: v.exactOptional(exitStatus),
  /** Of a VM that is deleted: the epoch of its tombstone. */
  tombstone: v.exactOptional(count),
  /** The epoch of the tombstone of the VM that had the name before: over that one alone is this one begun. */
  revives: v.exactOptional(count),
  /** Nodes whose sessions ended one after the other while it was not proven there: it may be what ended them. */
  ended: v.exactOptional(list(nodeName, maxNodes)),
});
export type ProtectedVm = v.InferOutput<typeof protectedVmSchema>;

export const commandAnswerSchema = v.strictObject({
  id: commandId,
  error: v.nullable(v.strictObject({ code: text(64), message: text(maxText) })),
});
export type CommandAnswer = v.InferOutput<typeof commandAnswerSchema>;

/** `cluster/protected`: the truth of what must run. Held by its master, whose claim is its own writing of this record. */
export const protectedListSchema = v.strictObject({
  /** Rises with each change of master. */
  term: count,
  master: v.nullable(v.strictObject({ node: nodeName, incarnation: count })),
  /** Rises with each write. */
  revision: count,
  vms: v.pipe(
    mapOf(protectedVmSchema, maxVms),
    v.check((vms) => Object.entries(vms).every(([id, vm]) => vm.id === id), 'a VM under the name of another'),
  ),
  /** Nodes that a person has put in maintenance. */
  maintenance: list(nodeName, maxNodes),
  /** Nodes that are over and that nobody wants to see any more, and their last session. */
  removed: v.exactOptional(mapOf(count, maxNodes)),
  /** Why a person holds failover back: what is lost stays where it was until it is armed again. */
  disarmed: v.exactOptional(reason),
  /** Nodes give no VMs to emptier ones by themselves. */
  balancing: v.exactOptional(v.literal('off')),
  networks: v.optional(mapOf(networkSpecSchema, maxNetworks), {}),
  /** By node, once there is a network: its number, from which its addresses in each follow. */
  slots: v.optional(mapOf(count, maxNodes), {}),
  /** Answers of the last commands, so that one that is sent twice is done once. */
  commands: list(commandAnswerSchema, maxCommandAnswers),
});
export type ProtectedList = v.InferOutput<typeof protectedListSchema>;

/** What the cluster keeps in the notes of a VM's owner record (packages/storage): the owner's session. */
export const ownerNotesSchema = v.object({
  incarnation: v.optional(count, 0),
  /** How the owner stores the VM's state. */
  form: v.exactOptional(stateFormSchema),
  /**
   * Outputs may have left because this session's standby holds what led to them: it alone may take the VM over while it stands. Whoever raises
   * the epoch leaves it there, until its own state is durable behind all of that: it may end before it has started.
   */
  standby: v.exactOptional(standbyNoteSchema),
});
