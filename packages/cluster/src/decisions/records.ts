/**
 * What the cluster keeps in the store, as the decisions see it. The shapes are those of the protocol (protocol/records.ts), which also
 * says what each field means.
 */
import { maxCommandAnswers, maxReports, maxUnreadable } from '../protocol/limits.ts';
import type { ProtectedList, ProtectedVm, StandbyNote, StateForm } from '../protocol/records.ts';

export type {
  Assignment,
  Capacity,
  CommandAnswer,
  NodeRecord,
  NodeView,
  NodeSession,
  PowerOnEntry,
  ProtectedList,
  ProtectedVm,
  StateForm,
  StandbyCondition,
  StandbyNote,
  StoreBeat,
  VmReport,
  VmStatus,
} from '../protocol/records.ts';
export type { VmSpec } from '../protocol/spec.ts';
export type { NetworkSpec, Nic, Publish } from '../protocol/network.ts';
export { maxCommandAnswers, maxReports, maxUnreadable };

/** Why a node can't read what was stored in a form; undefined when it can. */
export function whyUnreadable(stored: StateForm, reads: StateForm): string | undefined {
  if (stored.key !== reads.key) {
    if (reads.key === null) return 'without the key of its state';
    return stored.key === null ? 'with a key, while its state has none' : 'with another key than its state';
  }
  return stored.format > reads.format ? 'too old for the format of its state' : undefined;
}

/** What the core needs to know of a VM's owner record (packages/storage, ownership). */
export interface OwnerView {
  state: 'owned' | 'released' | 'deleted';
  epoch: number;
  node: string;
  incarnation: number;
  /** How that node stores its state; undefined: it did not say. */
  form?: StateForm | undefined;
  /** Only this session's standby may have what outputs rest on. */
  standby?: StandbyNote | undefined;
}

export const protectedKey = 'cluster/protected';
export const nodesPrefix = 'cluster/nodes/';
export const nodeKey = (id: string): string => nodesPrefix + id;
export const heartbeatKey = (id: string): string => `cluster/heartbeats/${id}`;

/**
 * The entry of a VM by a name that may come from outside. A list is a plain object, as it travels as one, and `list.vms[name]` would find
 * what every object has (`constructor`): lint forbids it in this folder.
 */
export function vmOf(list: ProtectedList, vmId: string): ProtectedVm | undefined {
  const { vms } = list;
  return Object.hasOwn(vms, vmId) ? Reflect.get(vms, vmId) : undefined;
}

/** Whether a VM of that name that was run under an epoch is no more: whoever has the name now is another. */
export function isGone(list: ProtectedList, vmId: string, epoch: number): boolean {
  const vm = vmOf(list, vmId);
  return vm === undefined || vm.status === 'deleted' || epoch <= (vm.revives ?? 0);
}

export function emptyList(): ProtectedList {
  return {
    term: 0,
    master: null,
    revision: 0,
    vms: {},
    maintenance: [],
    networks: {},
    slots: {},
    commands: [],
  };
}
