/**
 * The master's plan: from what must run and what is known of the hosts, what the protected list becomes. A pure function; nodes then
 * bring themselves in line with the list (reconcile.ts). Nothing here is needed for safety: whatever a confused master writes, a node takes a VM over only if its owner gave it up or was fenced.
 */
import { balance } from './balance.ts';
import { moveTo, withVm } from './moves.ts';
import { isSuspect, mayUse, place, sameSession, type Host, type Placement } from './placement.ts';
import { keeper, mayLead, standbyOf } from './standby-plan.ts';
import {
  maxUnreadable,
  type Assignment,
  type NodeView,
  type ProtectedList,
  type ProtectedVm,
  type VmReport,
} from './records.ts';
import { bounded } from '../protocol/limits.ts';
import type { Settings } from './settings.ts';
import type { LogEntry } from './types.ts';

export interface HostSight extends Host {
  record: 'active' | 'fenced' | 'left';
  view: NodeView | undefined;
  /** When there was a last sign of life of its session, by network or in the store: its view is of no later. */
  seenAt: number;
}

/** Local times of this master: a new master starts them afresh. */
export interface PlanTimers {
  notBefore: ReadonlyMap<string, number>;
  assignedAt: ReadonlyMap<string, number>;
  runningSince: ReadonlyMap<string, number>;
  /** Since when nothing is under way or wrong; undefined: something is. */
  calmSince: number | undefined;
}

export interface PlanInput {
  list: ProtectedList;
  hosts: ReadonlyMap<string, HostSight>;
  timers: PlanTimers;
  now: number;
  settings: Settings;
}

/** The same, with timers of this plan's own. */
interface Planning extends PlanInput {
  timers: {
    notBefore: Map<string, number>;
    assignedAt: Map<string, number>;
    runningSince: Map<string, number>;
    calmSince: number | undefined;
  };
}

export interface Plan {
  list: ProtectedList;
  timers: PlanTimers;
  log: LogEntry[];
}

export function plan({ timers, ...given }: PlanInput): Plan {
  const { notBefore, assignedAt, runningSince, calmSince } = timers;
  const own = {
    notBefore: new Map(notBefore),
    assignedAt: new Map(assignedAt),
    runningSince: new Map(runningSince),
    calmSince,
  };
  const input: Planning = { ...given, timers: own };
  const result: Plan = { list: forgiving(input), timers: own, log: [] };
  for (const vm of Object.values(result.list.vms)) {
    if (vm.desired !== 'running' && vm.desired !== 'paused') continue;
    if (vm.assignment !== null) followAssigned(input, result, vm);
  }
  placePending(input, result);
  for (const vm of Object.values(result.list.vms)) {
    const standby = standbyOf({ ...input, list: result.list }, vm);
    if (standby !== undefined) change(result, standby.vm, standby.entry);
  }
  evacuate(input, result);
  for (const vm of Object.values(result.list.vms)) if (vm.stays !== undefined) mayStay(input, result, vm);
  even(input, result);
  return result;
}

/** Moves one VM from a crowded node, if that is due. */
function even(input: Planning, result: Plan): void {
  const { timers, now } = input;
  const { calmSince, moved } = balance({ ...input, list: result.list });
  timers.calmSince = calmSince;
  if (moved === undefined) return;
  timers.assignedAt.set(moved.entry.vm!, now);
  result.list = moved.list;
  result.log.push(moved.entry);
}

function change(result: Plan, vm: ProtectedVm, entry?: LogEntry): void {
  result.list = withVm(result.list, vm);
  if (entry !== undefined) result.log.push(entry);
}

function followAssigned(input: Planning, result: Plan, vm: ProtectedVm): void {
  const assignment = vm.assignment!;
  const host = input.hosts.get(assignment.node);
  if (host === undefined || host.incarnation < assignment.incarnation) return;
  if (isOver(host, assignment)) {
    if (host.record !== 'left' && isHeld(result, vm, whyLost(host))) return;
    lostWithHost(input, result, vm, host);
    return;
  }
  const report = host.view?.reports.find(
    ({ vmId, attempt }) => vmId === vm.id && attempt === assignment.attempt,
  );
  if (report !== undefined) {
    const fails = report.kind === 'failed' || report.kind === 'hung';
    if (fails && isHeld(result, vm, report.reason)) return;
    answerReport(input, result, vm, report);
    return;
  }
  const entry = host.view?.powerOn.find(
    ({ vmId, attempt }) => vmId === vm.id && attempt === assignment.attempt,
  );
  if (entry !== undefined && (entry.state === 'running' || entry.state === 'paused')) {
    noteRunning(input, result, vm, { status: entry.state, host });
    return;
  }
  noteMissing(input, result, vm, host);
}

/** Whether a person holds failover back, which the VM then says; it stays where it was. */
function isHeld(result: Plan, vm: ProtectedVm, what: string): boolean {
  const { disarmed } = result.list;
  if (disarmed === undefined) return false;
  const reason = bounded(`${what}; failover is disarmed: ${disarmed}`);
  if (vm.reason !== reason)
    change(
      result,
      { ...vm, status: 'pending', moving: false, reason },
      { event: 'vm-failover-held', vm: vm.id, node: vm.assignment!.node, reason },
    );
  return true;
}

const whyLost = (host: HostSight): string =>
  `${host.id} is ${host.record === 'active' ? 'in a new session' : host.record}`;

const isOver = (host: HostSight, { incarnation }: Assignment): boolean =>
  host.incarnation > incarnation || host.record !== 'active';

/**
 * Sessions that ended although each of their VMs was proven there: nodes end here by themselves, so for each of them one that ended under a VM
 * on trial counts no more. A VM that ends its nodes still ends more of them than end without it.
 */
function forgiving({ list, hosts }: PlanInput): ProtectedList {
  // What is lost is looked at once it may be answered.
  if (list.disarmed !== undefined) return list;
  const lost = new Map<string, { proven: boolean }>();
  for (const { assignment, proven, desired } of Object.values(list.vms)) {
    const host = assignment === null ? undefined : hosts.get(assignment.node);
    if (assignment === null || host === undefined || host.incarnation < assignment.incarnation) continue;
    const isWanted = desired === 'running' || desired === 'paused';
    if (!isWanted || host.record === 'left' || !isOver(host, assignment)) continue;
    const before = lost.get(host.id)?.proven ?? true;
    lost.set(host.id, { proven: before && proven === true });
  }
  const count = [...lost.values()].filter((each) => each.proven).length;
  if (count === 0) return list;
  return Object.values(list.vms)
    .filter(({ ended = [], status }) => ended.length > 0 && status !== 'failed')
    .reduce((found, vm) => withVm(found, { ...vm, ended: vm.ended!.slice(0, -count) }), list);
}

/** The session that had it is over. Unless the node left in order, a VM that is not proven there may be what ended it. */
function lostWithHost(
  { timers, now, settings }: Planning,
  result: Plan,
  vm: ProtectedVm,
  host: HostSight,
): void {
  const reason = whyLost(host);
  const entry: LogEntry = { event: 'vm-lost', vm: vm.id, node: host.id, reason };
  const lost: ProtectedVm = { ...vm, status: 'pending', moving: false, assignment: null, reason };
  if (vm.proven === true || host.record === 'left') {
    change(result, lost, entry);
    return;
  }
  const ended = [...(vm.ended ?? []), host.id];
  const tries = vm.tries + ended.length;
  if (tries < settings.maxTries) {
    if (ended.length > 1) timers.notBefore.set(vm.id, now + pauseAfter(ended.length, settings));
    change(result, { ...lost, ended }, { ...entry, details: { endedNodes: ended.length } });
    return;
  }
  const why = `${ended.join(', ')} ended, one after the other, soon after it was started there`;
  const given = `gave up after ${String(tries)} tries: ${why} (start: from its checkpoint; stop, then start: afresh)`;
  change(
    result,
    { ...lost, ended, status: 'failed', reason: given },
    { event: 'vm-given-up', vm: vm.id, node: host.id, reason: why, details: { tries } },
  );
}

/** How long a VM runs under its assignment until it is proven there. */
function provenAfterMs({ spec }: ProtectedVm, settings: Settings): number {
  return Math.max(settings.provenMs, 2 * (spec.checkpointMs ?? settings.checkpointMs));
}

/** The pause after so many failures in a row; none after the first. */
function pauseAfter(inRow: number, { retryPauseMs, retryPauseMaxMs }: Settings): number {
  return inRow === 1 ? 0 : Math.min(retryPauseMaxMs, retryPauseMs * 2 ** (inRow - 1));
}

function noteRunning(
  input: Planning,
  result: Plan,
  vm: ProtectedVm,
  { status, host }: { status: 'running' | 'paused'; host: HostSight },
): void {
  const { timers, now, settings } = input;
  if (vm.status !== status) {
    const startedAt = timers.assignedAt.get(vm.id);
    timers.assignedAt.delete(vm.id);
    timers.runningSince.set(vm.id, now);
    change(
      result,
      { ...vm, status, moving: false, ...(host.reads === undefined ? {} : { state: host.reads }) },
      {
        event: `vm-${status}`,
        vm: vm.id,
        node: vm.assignment!.node,
        reason: vm.reason,
        ...(startedAt === undefined ? {} : { tookMs: Math.round(now - startedAt) }),
      },
    );
    return;
  }
  const since = timers.runningSince.get(vm.id);
  if (since === undefined) {
    timers.runningSince.set(vm.id, now);
    return;
  }
  // A node that fell silent meanwhile may have ended.
  if (vm.proven !== true && host.seenAt - since >= provenAfterMs(vm, settings))
    change(result, { ...vm, proven: true, ended: [] });
  else if (vm.avoid.length > 0 && now - since >= settings.stableMs) change(result, { ...vm, avoid: [] });
  else if (vm.tries > 0 && now - since >= settings.forgiveMs) {
    timers.runningSince.set(vm.id, now);
    change(result, { ...vm, tries: vm.tries - 1 });
  }
}

/** A VM that should be on a node and is not on its power-on list: still on its way, or it ceased. */
function noteMissing(input: Planning, result: Plan, vm: ProtectedVm, host: HostSight): void {
  const { timers, now, settings } = input;
  const since = timers.assignedAt.get(vm.id);
  if (since === undefined) {
    timers.assignedAt.set(vm.id, now);
    timers.runningSince.delete(vm.id);
    return;
  }
  if (now - since < settings.startTimeoutMs) return;
  const why = `${host.id} did not have it running after ${String(settings.startTimeoutMs)} ms`;
  if (isHeld(result, vm, why)) return;
  timers.assignedAt.delete(vm.id);
  tryAgain(input, result, vm, why);
}

function answerReport(input: Planning, result: Plan, vm: ProtectedVm, report: VmReport): void {
  if (report.kind === 'failed') {
    tryAgain(input, result, vm, report.reason);
    return;
  }
  if (report.kind === 'unreadable') {
    notReadable(result, vm, report.reason);
    return;
  }
  if (report.kind === 'held') {
    heldElsewhere(input, result, vm, report);
    return;
  }
  // Its checkpoints hold the hung guest, so it boots afresh.
  if (report.kind === 'hung') {
    tryAgain(input, result, { ...vm, boot: vm.boot + 1 }, report.reason);
    return;
  }
  const { reason, status: exitStatus } = report;
  change(
    result,
    {
      ...{ ...vm, desired: 'stopped', status: 'stopping', boot: vm.boot + 1, reason },
      ...(exitStatus === undefined ? {} : { exitStatus }),
    },
    { event: 'vm-powered-off', vm: vm.id, node: vm.assignment!.node, reason: report.reason },
  );
}

/** Nothing is wrong with the VM: another node may read it at once, this session never. */
function notReadable(result: Plan, vm: ProtectedVm, reason: string): void {
  const { node, incarnation } = vm.assignment!;
  const unreadable = [...(vm.unreadable ?? []), { node, incarnation }].slice(-maxUnreadable);
  change(
    result,
    { ...vm, unreadable, assignment: null, moving: false, status: 'pending', reason: `${node}: ${reason}` },
    { event: 'vm-unreadable', vm: vm.id, node, reason },
  );
}

/** Only the standby on that node has all that came in: nobody else is to go on with less. */
function heldElsewhere({ hosts }: Planning, result: Plan, vm: ProtectedVm, { by, reason }: VmReport): void {
  const host = by === undefined ? undefined : hosts.get(by);
  const standby = host && { node: host.id, incarnation: host.incarnation };
  const { standby: _before, ...rest } = vm;
  change(
    result,
    {
      ...{ ...rest, assignment: null, moving: false, status: 'pending', reason },
      ...(standby === undefined ? {} : { standby }),
    },
    { event: 'vm-held', vm: vm.id, node: vm.assignment!.node, reason },
  );
}

function tryAgain(input: Planning, result: Plan, vm: ProtectedVm, reason: string): void {
  const { timers, now, settings } = input;
  const tries = vm.tries + 1;
  const failed = tries + (vm.ended?.length ?? 0) >= settings.maxTries;
  // In a row: it has not run well since the one before.
  const inRow = vm.avoid.length === 0 ? 1 : tries;
  const pauseMs = pauseAfter(inRow, settings);
  const node = vm.assignment!.node;
  const { standby, ...rest } = vm;
  timers.assignedAt.delete(vm.id);
  timers.runningSince.delete(vm.id);
  timers.notBefore.set(vm.id, now + pauseMs);
  change(
    result,
    {
      ...rest,
      // One that could not take it over is no standby any more.
      ...(standby === undefined || standby.node === node ? {} : { standby }),
      tries,
      avoid: vm.avoid.includes(node) ? vm.avoid : [...vm.avoid, node],
      assignment: null,
      moving: false,
      status: failed ? 'failed' : 'pending',
      reason: failed
        ? `gave up after ${String(tries)} tries; the last: ${reason} (start: from its checkpoint; stop, then start: afresh)`
        : reason,
    },
    {
      event: failed ? 'vm-given-up' : 'vm-failed',
      vm: vm.id,
      node,
      reason,
      details: { tries, pauseMs: failed ? 0 : pauseMs },
    },
  );
}

function placePending(input: Planning, result: Plan): void {
  const { timers, now, settings, hosts } = input;
  const waiting = Object.values(result.list.vms).filter(
    (vm) =>
      vm.status === 'pending' &&
      vm.assignment === null &&
      (vm.desired === 'running' || vm.desired === 'paused'),
  );
  const order = (vm: ProtectedVm): number => (isSuspect(vm) ? 1 : 0);
  waiting.sort((a, b) => order(a) - order(b) || b.spec.priority - a.spec.priority || (a.id < b.id ? -1 : 1));
  for (const vm of waiting) {
    const holder = runsOn(hosts, vm);
    if (holder === undefined && (timers.notBefore.get(vm.id) ?? -Infinity) > now) continue;
    const vms = Object.values(result.list.vms);
    const chosen = choose({ vm, holder, hosts, vms, resumesPerNode: settings.resumesPerNode });
    if (chosen.host === undefined) {
      if (vm.reason !== chosen.reason)
        change(
          result,
          { ...vm, reason: chosen.reason },
          { event: 'vm-waits', vm: vm.id, reason: chosen.reason },
        );
      continue;
    }
    timers.notBefore.delete(vm.id);
    timers.assignedAt.set(vm.id, now);
    const { id, incarnation } = chosen.host;
    const attempt = vm.attempt + 1;
    change(
      result,
      { ...vm, status: 'starting', proven: false, attempt, assignment: { node: id, incarnation, attempt } },
      {
        event: 'vm-assigned',
        vm: vm.id,
        node: id,
        reason: holder === undefined ? vm.reason : 'it still runs there',
        details: { attempt, priority: vm.spec.priority },
      },
    );
  }
}

/** Whoever still runs it; its standby, while there is one; else whoever can. */
function choose(options: {
  vm: ProtectedVm;
  holder: HostSight | undefined;
  hosts: ReadonlyMap<string, HostSight>;
  vms: ProtectedVm[];
  resumesPerNode: number;
}): Placement {
  const { vm, holder, hosts, vms, resumesPerNode } = options;
  if (holder !== undefined) return { host: holder };
  const standby = keeper(hosts, vm);
  if (standby === undefined) return place({ vm, hosts: [...hosts.values()], vms, resumesPerNode });
  if (mayLead(standby)) return { host: standby };
  return { host: undefined, reason: `its standby is on ${standby.id}, which is ${standby.state}` };
}

/** The node, partitioned or not, whose power-on list says that it still runs this VM. */
function runsOn(hosts: ReadonlyMap<string, HostSight>, vm: ProtectedVm): HostSight | undefined {
  for (const host of hosts.values()) {
    if (host.record !== 'active') continue;
    if (host.view?.powerOn.some(({ vmId, state }) => vmId === vm.id && state === 'running') === true)
      return host;
  }
  return undefined;
}

/** Takes back that a VM stays where it should not, once it may, or has left. */
function mayStay({ hosts }: Planning, result: Plan, vm: ProtectedVm): void {
  const host = vm.assignment === null ? undefined : hosts.get(vm.assignment.node);
  const unwanted = host !== undefined && whyLeave(host, vm) !== undefined;
  if (unwanted && !vm.moving && vm.status !== 'starting') return;
  const { stays: _stays, ...rest } = vm;
  change(result, rest);
}

/** Said once for each reason. A node that is busy for a moment is none. */
function noteStays(
  result: Plan,
  vm: ProtectedVm,
  host: HostSight,
  { why, reason }: { why: string; reason: string },
): void {
  if (vm.stays === reason || /busy resuming|on trial/.test(reason)) return;
  change(
    result,
    { ...vm, stays: reason },
    { event: 'vm-stays', vm: vm.id, node: host.id, reason: bounded(`${why}, but ${reason}`) },
  );
}

const isShort = ({ state, pressure }: HostSight): boolean =>
  (state === 'alive' || state === 'maintenance') && pressure !== 'none';

/** Why a VM should not be on the node that it is on. */
function whyLeave(host: HostSight, vm: ProtectedVm): string | undefined {
  if (isShort(host))
    return `${host.id} is ${host.pressure === 'leaving' ? 'leaving' : `short of ${host.pressure}`}`;
  if (host.state === 'maintenance') return `${host.id} is in maintenance`;
  if (mayUse(vm, host.id)) return undefined;
  return `${host.id} is none of the nodes that ${vm.id} may use`;
}

/** Moves VMs away from nodes that are none of theirs or in maintenance, and one at a time from those short of something. */
function evacuate(input: Planning, result: Plan): void {
  const { hosts, timers, now, settings } = input;
  for (const host of hosts.values()) {
    for (const vm of Object.values(result.list.vms)) {
      if (vm.assignment === null || !sameSession(vm.assignment, host)) continue;
      if (vm.moving || (vm.status !== 'running' && vm.status !== 'paused')) continue;
      if (vm.desired !== 'running' && vm.desired !== 'paused') continue;
      const why = whyLeave(host, vm);
      if (why === undefined) continue;
      const others = [...hosts.values()].filter(({ id }) => id !== host.id);
      const vms = Object.values(result.list.vms);
      const chosen = place({ vm, hosts: others, vms, resumesPerNode: settings.resumesPerNode });
      if (chosen.host === undefined) {
        noteStays(result, vm, host, { why, reason: chosen.reason });
        continue;
      }
      timers.assignedAt.set(vm.id, now);
      result.list = moveTo(result.list, vm, chosen.host, why);
      result.log.push({ event: 'vm-moving', vm: vm.id, node: chosen.host.id, reason: why });
      if (isShort(host) && host.pressure !== 'leaving') break;
    }
  }
}
