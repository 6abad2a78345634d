// What the cluster keeps in the store (docs/CLUSTER_PROTOCOL.md, "Records"). All of it is swapped by conditional put, so
// that nothing rests on one process. Values are never changed in place: a change makes a new object.
import type { HealthPolicy } from './health.ts';

/** `cluster/nodes/ID`: datastore heartbeat, lease, power-on list and isolation mark of one node, written by it alone, but for the fence. */
export interface NodeRecord {
  id: string;
  /** Rises with each life of the node: a session. Whoever starts a new one has ended the one before. */
  incarnation: number;
  /** `fenced`: declared dead; this incarnation may never run a guest again. `left`: gave everything up by itself. */
  state: 'active' | 'fenced' | 'left';
  fencedBy?: string;
  /** Rises with each renewal: the datastore heartbeat. */
  counter: number;
  view: NodeView;
}

/** What a node tells about itself, by network and in its record. */
export interface NodeView {
  /** Rises with each change; the higher one is the newer. */
  seq: number;
  address: string;
  /** True when it hears no other node: it says so itself. */
  isolated: boolean;
  /** Datastores that it reaches: the store itself and heartbeat datastores. */
  stores: number;
  capacity: Capacity;
  /** What it is short of, or that it is about to leave: nothing is placed there, and VMs are moved away. */
  pressure: 'none' | 'memory' | 'disk' | 'leaving';
  powerOn: PowerOnEntry[];
  reports: VmReport[];
}

/** `cluster/heartbeats/ID` in a heartbeat datastore: that a session goes on, and what it tells about itself. Nothing rests on who wrote last. */
export interface StoreBeat {
  id: string;
  incarnation: number;
  /** Rises with each beat, whether or not the store takes renewals. */
  beats: number;
  view: NodeView;
}

export interface Capacity {
  memoryMiB: number;
}

export interface PowerOnEntry {
  vmId: string;
  epoch: number;
  attempt: number;
  state: 'starting' | 'running' | 'paused' | 'leaving';
}

/** Why an assignment came to its end on a node. Kept until the master has answered it with a new assignment or state. */
export interface VmReport {
  vmId: string;
  attempt: number;
  /** `failed`: to be tried elsewhere. `hung`: its guest, which is to boot afresh. `powered-off`: by the guest itself, not to be restarted. */
  kind: 'failed' | 'hung' | 'powered-off';
  reason: string;
}

export interface VmSpec {
  /** Which runtime executes it: `chain` (built in) or `machine` (the emulator). */
  runtime: string;
  /** What the runtime builds it from; opaque here. */
  description: unknown;
  memoryMiB: number;
  /** Higher is restarted first. */
  priority: number;
  /** VMs of one group are never on one node together. */
  antiAffinity?: string;
  checkpointMs?: number;
  /** When its guest counts as hung. Default: never. */
  health?: HealthPolicy;
  /** Rule 9 of output protection. `commit` (hold output until it is durable) is reserved. */
  outputs: 'async';
}

export interface Assignment {
  node: string;
  incarnation: number;
  attempt: number;
}

export type VmStatus =
  'pending' | 'starting' | 'running' | 'paused' | 'stopping' | 'stopped' | 'failed' | 'deleted';

export interface ProtectedVm {
  id: string;
  spec: VmSpec;
  /** What a person wants. Only `running` and `paused` are ever restarted. */
  desired: 'running' | 'paused' | 'stopped' | 'deleted';
  /** Rises with each power-off: a checkpoint of an older boot is not resumed, its disks are kept. */
  boot: number;
  status: VmStatus;
  /** Why it has this status; for people. */
  reason: string;
  assignment: Assignment | null;
  /** Number of the last assignment; never reused. */
  attempt: number;
  /** Failed tries, of which one is forgotten each `forgiveMs` that it runs well; and where. */
  tries: number;
  avoid: string[];
  /** The assignment is a live move: the node before hands over. */
  moving: boolean;
  /** True once it has run so long under its assignment that it is not to blame, should its node end (`provenAfterMs`). */
  proven?: boolean;
  /** Nodes whose sessions ended one after the other while it was not proven there: it may be what ended them. */
  ended?: readonly string[];
}

/** `cluster/protected`: the truth of what must run. Held by its master, whose claim is its own writing of this record. */
export interface ProtectedList {
  /** Rises with each change of master. */
  term: number;
  master: { node: string; incarnation: number } | null;
  /** Rises with each write. */
  revision: number;
  vms: Record<string, ProtectedVm>;
  /** Nodes that a person has put in maintenance. */
  maintenance: string[];
  /** Answers of the last commands, so that one that is sent twice is done once. */
  commands: CommandAnswer[];
}

export interface CommandAnswer {
  id: string;
  error: { code: string; message: string } | null;
}

/** What the core needs to know of a VM's owner record (packages/storage, ownership). */
export interface OwnerView {
  state: 'owned' | 'released' | 'deleted';
  epoch: number;
  node: string;
  incarnation: number;
}

export const PROTECTED_KEY = 'cluster/protected';
export const NODES_PREFIX = 'cluster/nodes/';
export const nodeKey = (id: string): string => NODES_PREFIX + id;
export const heartbeatKey = (id: string): string => `cluster/heartbeats/${id}`;
export const MAX_COMMAND_ANSWERS = 128;
export const MAX_REPORTS = 256;

/**
 * The entry of a VM by a name that may come from outside. A list is a plain object, as it travels as one, and `list.vms[name]` would find
 * what every object has (`constructor`): lint forbids it in this folder.
 */
export function vmOf(list: ProtectedList, vmId: string): ProtectedVm | undefined {
  const { vms } = list;
  return Object.hasOwn(vms, vmId) ? Reflect.get(vms, vmId) : undefined;
}

export function emptyList(): ProtectedList {
  return { term: 0, master: null, revision: 0, vms: {}, maintenance: [], commands: [] };
}
