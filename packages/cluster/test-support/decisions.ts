/** What tests of decisions share: hosts, lists, and the decisions themselves, which are given frozen values. */
import { step as purely } from '../src/decisions/agent.ts';
import { applyCommand as commanded } from '../src/decisions/commands.ts';
import {
  plan as planOf,
  type HostSight,
  type Plan,
  type PlanInput,
  type PlanTimers,
} from '../src/decisions/failover.ts';
import { emptyList, type ProtectedList, type VmSpec } from '../src/decisions/records.ts';
import { makeSettings } from '../src/decisions/settings.ts';
import type { AgentState } from '../src/decisions/state.ts';
import type { Effect, Event } from '../src/decisions/types.ts';
import { deepFreeze } from '../src/testing/deep-freeze.ts';

export const settings = makeSettings();

/** Decisions are pure: whatever changed what they are given would fail here. */
export const applyCommand: typeof commanded = (...given) => commanded(...deepFreeze(given));

/** A master's plan, with its timers kept for the next. */
export function plan(input: PlanInput): Plan {
  const result = planOf(deepFreeze({ ...input, timers: { ...input.timers } }));
  Object.assign(input.timers, result.timers);
  return result;
}

/** An agent that goes from state to state. */
export class Agent {
  state: AgentState;
  constructor(state: AgentState) {
    this.state = state;
  }
  step(now: number, event: Event): Effect[] {
    const { state, effects } = purely(deepFreeze(this.state), now, deepFreeze(event), settings);
    this.state = state;
    return effects;
  }
}
export const spec: VmSpec = {
  runtime: 'chain',
  description: {},
  memoryMiB: 100,
  priority: 0,
  outputs: 'async',
};

export function host(id: string, change: Partial<HostSight> = {}): HostSight {
  const view = {
    seq: 1,
    address: id,
    isolated: false,
    stores: 1,
    capacity: { memoryMiB: 1000 },
    pressure: 'none' as const,
    powerOn: [],
    reports: [],
  };
  return {
    id,
    incarnation: 1,
    state: 'alive',
    capacity: view.capacity,
    pressure: 'none',
    record: 'active',
    view,
    seenAt: 0,
    ...change,
  };
}

export function listOf(...vms: [string, Partial<VmSpec>][]): ProtectedList {
  let list = emptyList();
  for (const [vmId, change] of vms)
    list = applyCommand(list, { type: 'vm-create', vmId, spec: { ...spec, ...change }, start: true }, []);
  return list;
}

export const timers = (): PlanTimers => ({
  notBefore: new Map(),
  assignedAt: new Map(),
  runningSince: new Map(),
  calmSince: undefined,
});
export const hostsOf = (...hosts: HostSight[]): Map<string, HostSight> =>
  new Map(hosts.map((each) => [each.id, each]));
export const assignments = (list: ProtectedList): Record<string, string | undefined> =>
  Object.fromEntries(Object.values(list.vms).map((vm) => [vm.id, vm.assignment?.node]));
