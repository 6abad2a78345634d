/** The state of one agent and the context in which one step of its decisions runs. */
import type { Settings } from './settings.ts';
import {
  emptyList,
  type Capacity,
  type NodeRecord,
  type NodeView,
  type ProtectedList,
  type StateForm,
} from './records.ts';
import type { VmSeen } from '../protocol/api.ts';
import type { Effect, LocalVm, LogEntry, MasterState, Peer, Version } from './types.ts';

export interface AgentState {
  readonly id: string;
  phase: 'joining' | 'active' | 'leaving' | 'gone';
  incarnation: number;
  view: NodeView;
  /** Our own record as last known to be in the store. */
  record: NodeRecord | undefined;
  recordVersion: Version | undefined;
  /** While joining: the counter of the life before ours, and since when that has not moved. */
  joinCounter: number;
  joinSince: number;
  /** How often that counter was seen to move. */
  joinMoves: number;
  /** Guests may run until then, by our clock. */
  leaseUntil: number;
  leaseHeld: boolean;
  /** Since when our guests are suspended, for want of a lease. */
  suspendedAt: number | undefined;
  renewing: boolean;
  renewedAt: number;
  /** `view.seq` that the store has. */
  publishedSeq: number;
  /** Since when our store answers without a break longer than a lease. */
  storeOkSince: number;
  peers: Map<string, Peer>;
  /** Since when there are others and none is heard. */
  aloneSince: number;
  beatAt: number;
  /** Beats into heartbeat datastores: how many, and the last one. */
  storeBeats: number;
  storeBeatAt: number;
  discoveredAt: number;
  discovering: boolean;
  /** The protected list as last read, and when its revision was first seen. */
  list: ProtectedList;
  listVersion: Version | undefined;
  /** The store said that there is none yet. */
  listAbsent: boolean;
  listSeenAt: number;
  listReadAt: number;
  listReading: boolean;
  claiming: boolean;
  master: MasterState | undefined;
  local: Map<string, LocalVm>;
  /** VMs of other nodes that are followed here, with the boot that they are in. */
  followed: ReadonlyMap<string, number>;
}

export interface Context {
  state: AgentState;
  now: number;
  settings: Settings;
  out: Effect[];
}

export interface AgentIdentity {
  id: string;
  address: string;
  capacity: Capacity;
  reads?: StateForm;
  runtimes?: readonly string[];
}

/** The state of an agent that has just started, at local time `now`. */
export function startAgent(identity: AgentIdentity, now: number): AgentState {
  return {
    id: identity.id,
    phase: 'joining',
    incarnation: 0,
    view: {
      seq: 1,
      address: identity.address,
      isolated: false,
      stores: 1,
      capacity: identity.capacity,
      ...(identity.reads === undefined ? {} : { reads: identity.reads }),
      ...(identity.runtimes === undefined ? {} : { runtimes: [...identity.runtimes] }),
      suspended: false,
      pressure: 'none',
      powerOn: [],
      reports: [],
    },
    record: undefined,
    recordVersion: undefined,
    joinCounter: -1,
    joinSince: now,
    joinMoves: 0,
    leaseUntil: -Infinity,
    leaseHeld: false,
    suspendedAt: undefined,
    renewing: false,
    renewedAt: -Infinity,
    publishedSeq: 0,
    storeOkSince: now,
    peers: new Map(),
    aloneSince: now,
    beatAt: -Infinity,
    storeBeats: 0,
    storeBeatAt: -Infinity,
    discoveredAt: -Infinity,
    discovering: false,
    list: emptyList(),
    listVersion: undefined,
    listAbsent: false,
    listSeenAt: now,
    listReadAt: -Infinity,
    listReading: false,
    claiming: false,
    master: undefined,
    local: new Map(),
    followed: new Map(),
  };
}

/** False while a node that has just started knows nothing of any VM: of what it does not know it must not say that there is none. */
export const hasReadList = ({ list, listVersion, listAbsent }: AgentState): boolean =>
  listVersion !== undefined || listAbsent || list.term > 0;

/**
 * A state that one step may change in place, as nobody else has it: what a step changes is copied, what it only replaces (lists, views,
 * records) is shared with the state before, which stays as it is.
 */
export function draftOf(state: AgentState): AgentState {
  const { master } = state;
  return {
    ...state,
    peers: copied(state.peers, (peer) => ({ ...peer })),
    local: copied(state.local, (vm) => ({ ...vm })),
    master: master && { ...master },
  };
}

/** A map as it was, but for one entry. */
export const withEntry = <T>(map: ReadonlyMap<string, T>, name: string, value: T): ReadonlyMap<string, T> =>
  new Map(map).set(name, value);

export function withoutEntry<T>(map: ReadonlyMap<string, T>, name: string): ReadonlyMap<string, T> {
  if (!map.has(name)) return map;
  const rest = new Map(map);
  rest.delete(name);
  return rest;
}

function copied<T>(map: ReadonlyMap<string, T>, copy: (value: T) => T): Map<string, T> {
  const copies = new Map<string, T>();
  for (const [name, value] of map) copies.set(name, copy(value));
  return copies;
}

export function log(context: Context, entry: LogEntry): void {
  context.out.push({ type: 'log', entry });
}

/** The VMs as somebody who asks shall see them. */
export function vmsSeen({ id, list, view, peers, suspendedAt }: AgentState, now: number): VmSeen[] {
  return Object.values(list.vms).map((vm) => {
    const { assignment } = vm;
    if (assignment === null || (vm.status !== 'running' && vm.status !== 'starting')) return vm;
    const ours = assignment.node === id;
    const peer = peers.get(assignment.node);
    const since = ours ? suspendedAt : peer?.suspendedAt;
    const { powerOn } = (ours ? view : peer?.view) ?? { powerOn: [] };
    const { standby, storeFull } = powerOn.find(({ vmId }) => vmId === vm.id) ?? {};
    return {
      ...vm,
      ...(since === undefined ? {} : { suspendedMs: Math.round(now - since) }),
      ...(standby === undefined ? {} : { standbyCondition: standby }),
      ...(storeFull === undefined ? {} : { storeFull }),
    };
  });
}

/** Replaces part of what we tell about ourselves, when it differs. */
export function changeView(context: Context, change: Partial<NodeView>): void {
  const { state } = context;
  const view = state.view as unknown as Record<string, unknown>;
  const differs = Object.entries(change).some(([name, value]) => view[name] !== value);
  if (differs) state.view = { ...state.view, ...change, seq: state.view.seq + 1 };
}

/** True while our guests may run: the last renewal is young enough, by our own clock alone. */
export function holdsLease(context: Context): boolean {
  return context.state.phase !== 'joining' && context.now < context.state.leaseUntil;
}
