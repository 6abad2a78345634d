/** Requests to a node and its answers, as JSON (docs/CLUSTER_PROTOCOL.md, "API"). */
import * as v from 'valibot';
import { clusterErrorCodes } from '../errors.ts';
import {
  maxEventDetails,
  maxEvents,
  maxKeys,
  maxName,
  maxNetworks,
  maxNodes,
  maxPublish,
  maxText,
  maxVms,
} from './limits.ts';
import { networkSpecSchema, publishSchema } from './network.ts';
import { nodeViewSchema, protectedVmSchema, standbyConditionSchema } from './records.ts';
import { address, count, list, mapOf, nodeName, reason, text, vmName } from './schema.ts';
import { commandSchema, commandId } from './spec.ts';

/** `GET /v1/version`, which anybody may ask. */
export const versionAnswerSchema = v.object({ protocol: count, node: nodeName });
/** `GET /v1/challenge`, which anybody may ask. */
export const challengeAnswerSchema = v.strictObject({ challenge: text(256), needed: v.boolean() });

export const hostStateSchema = v.picklist([
  'alive',
  'unreachable',
  'partitioned',
  'isolated',
  'dead',
  'left',
  'maintenance',
]);
export type HostState = v.InferOutput<typeof hostStateSchema>;

export const nodeStatusSchema = v.strictObject({
  id: nodeName,
  state: hostStateSchema,
  reason,
  incarnation: count,
  address: v.exactOptional(address),
  view: v.exactOptional(nodeViewSchema),
});
export type NodeStatus = v.InferOutput<typeof nodeStatusSchema>;

export const heartbeatStoreStatusSchema = v.strictObject({ url: text(2048), reached: v.boolean(), reason });

/** A VM as somebody who asks shall see it: one whose node has no lease does not run, though the list still says so. */
export const vmSeenSchema = v.strictObject({
  ...protectedVmSchema.entries,
  /** For how long, in milliseconds, the store has not answered the node that has it. */
  suspendedMs: v.exactOptional(v.number()),
  /** How its standby does, as its owner sees it. */
  standbyCondition: v.exactOptional(standbyConditionSchema),
  /** It holds as much in the store as it may, and stands still until there is room. */
  storeFull: v.exactOptional(v.literal(true)),
});
export type VmSeen = v.InferOutput<typeof vmSeenSchema>;

/** `GET /v1/status` */
export const clusterStatusSchema = v.strictObject({
  version: count,
  /** The node that answered; null: none did, this is what the store holds. */
  node: v.nullable(nodeName),
  /** Of the node that answered, in its own life. */
  phase: v.exactOptional(v.picklist(['joining', 'active', 'leaving', 'gone'])),
  /** The node that answered has not read the list of VMs yet: there may be others than it says. */
  listUnread: v.exactOptional(v.literal(true)),
  term: count,
  master: v.nullable(nodeName),
  nodes: list(nodeStatusSchema, maxNodes),
  vms: list(vmSeenSchema, maxVms),
  maintenance: list(nodeName, maxNodes),
  removed: v.exactOptional(mapOf(count, maxNodes)),
  /** Why failover is held back, if it is. */
  disarmed: v.exactOptional(reason),
  /** Whether crowded nodes give VMs to emptier ones by themselves: they do, unless this says otherwise. */
  balancing: v.exactOptional(v.literal('off')),
  networks: v.optional(mapOf(networkSpecSchema, maxNetworks), {}),
  /** Of the node that answered: whether each heartbeat datastore took its last beats, and if not, why. */
  heartbeatStores: list(heartbeatStoreStatusSchema, 16),
});
export type ClusterStatus = v.InferOutput<typeof clusterStatusSchema>;

/** One line of the event log: what was seen or decided, about whom, why. */
export const clusterEventSchema = v.strictObject({
  event: text(64),
  node: v.exactOptional(text(64)),
  vm: v.exactOptional(vmName),
  /** Of the VM, where it is about what one owner did. */
  epoch: v.exactOptional(count),
  reason,
  /** How long what it names took, in milliseconds of the local clock. */
  tookMs: v.exactOptional(v.number()),
  details: v.exactOptional(mapOf(v.union([text(), v.number(), v.boolean()]), maxEventDetails)),
  /** Milliseconds since 1970 by the clock of the node that wrote it: for people, as clocks differ. */
  atMs: v.number(),
  /** The node that wrote it. */
  by: text(64),
  /** The process that wrote it, and its how many-th event this is. Absent in events of older versions. */
  process: v.exactOptional(text(64)),
  seq: v.exactOptional(count),
});
export type ClusterEvent = v.InferOutput<typeof clusterEventSchema>;
/** `GET /v1/events` */
export const eventsAnswerSchema = v.strictObject({
  events: list(clusterEventSchema, maxEvents),
  /** Why what the store holds is not among them; then they are those that wait for it on the node that answers. */
  missing: v.exactOptional(reason),
});

/** `POST /v1/commands` */
export const commandRequestSchema = v.strictObject({ id: commandId, command: commandSchema });
export const commandDoneSchema = v.strictObject({ id: commandId });
/** `GET` and `PUT /v1/blobs/SHA256` */
export const blobDoneSchema = v.strictObject({ hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) });

const byte = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255));
const maxCells = 256 * 256;
/** `GET /v1/vms/ID/screen`: cells row by row, character and attribute × 256. */
export const screenAnswerSchema = v.strictObject({
  columns: count,
  rows: count,
  cells: list(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)), maxCells),
  /** Absent when it is hidden or outside. */
  cursor: v.exactOptional(v.strictObject({ column: count, row: count })),
  colours: v.pipe(v.array(v.strictTuple([byte, byte, byte])), v.length(16)),
  blinks: v.boolean(),
  lines: list(text(1024), 256),
});

export type ScreenAnswer = v.InferOutput<typeof screenAnswerSchema>;

/** `GET /v1/vms/ID/standby` */
export const standbyAnswerSchema = v.strictObject({
  /** Where it is; null: the VM has none. */
  node: v.nullable(nodeName),
  condition: v.exactOptional(standbyConditionSchema),
  reason,
  /** How long what is on its way to it has waited, and how many instructions its machine is behind. */
  lagMs: v.number(),
  behindInstructions: v.number(),
  /** The last checkpoint at which both machines were found alike. */
  checked: v.nullable(text(maxName)),
});
export type StandbyAnswer = v.InferOutput<typeof standbyAnswerSchema>;

/** `POST /v1/vms/ID/keys` */
export const keysRequestSchema = v.strictObject({ keys: list(text(32), maxKeys) });
/** `POST /v1/vms/ID/medium`: drive `cdrom` or `floppy` gets a disk of the VM's description by its name, or (null) is emptied. */
export const mediumRequestSchema = v.strictObject({
  drive: v.picklist(['cdrom', 'floppy']),
  image: v.nullable(text(maxName)),
});
export type MediumRequest = v.InferOutput<typeof mediumRequestSchema>;
/** Answer to `POST /v1/vms/ID/power-button` */
export const pressedAnswerSchema = v.strictObject({ id: text(maxName) });
/** `POST /v1/vms/ID/fork`: may be repeated with the same id. */
export const forkRequestSchema = v.strictObject({
  id: commandId,
  /** Of the new VM. */
  name: vmName,
  /** `EPOCH-SEQUENCE`; default: its newest. */
  checkpoint: v.exactOptional(text(maxName)),
  start: v.boolean(),
  /** It is its parent in everything: no other generation ID, random numbers nor time. Asked for also where its guest could not tell. */
  identical: v.exactOptional(v.boolean()),
  /** Its card is in no network; default: in its parent's, under a MAC and an address of its own. */
  apart: v.exactOptional(v.boolean()),
  /** Ports that are published for it. */
  publish: v.exactOptional(list(publishSchema, maxPublish)),
});
export type ForkRequest = v.InferOutput<typeof forkRequestSchema>;
export const forkAnswerSchema = v.strictObject({
  id: commandId,
  vmId: vmName,
  /** The checkpoint that it began with. */
  from: text(maxName),
});
export type ForkAnswer = v.InferOutput<typeof forkAnswerSchema>;
/** `POST /v1/drill` */
export const drillRequestSchema = v.strictObject({
  cut: list(text(64), maxNodes),
  deaf: v.optional(list(text(64), maxNodes), []),
});

/** Every answer that is not 2xx. */
export const errorAnswerSchema = v.object({
  error: v.object({
    code: v.picklist(clusterErrorCodes),
    message: text(4 * maxText),
    hint: v.exactOptional(text(4 * maxText)),
  }),
});
