/**
 * A node brings what it runs in line with the protected list. One way for everything: first
 * start, failover, retry, migration and drain differ only in what became of the owner before.
 *
 *   checking    read the owner record; and, when another owns the VM, the record of that node's session
 *   waiting     the owner is alive and has not given it up (a move under way), or the store failed: look again later;
 *               meanwhile the edge prepares for the VM, and its owner, which waits for that a while, is told
 *   raising     raise the epoch over exactly the one that was checked
 *   validating  read the list again: it may have changed before the epoch was ours
 *   starting -> running -> (leaving | stopping) -> releasing
 *
 * What always holds: `run` is asked for only (a) under an epoch that we raised over an owner that was released or whose session
 * is over, and (b) after the list, read later than that, still says so.
 */
import {
  maxReports,
  vmOf,
  whyUnreadable,
  type NodeRecord,
  type OwnerView,
  type ProtectedList,
  type ProtectedVm,
  type VmReport,
} from './records.ts';
import { confirmAgain, readList } from './election.ts';
import { publish } from './power-on.ts';
import { feedStandby, followOthers, isFree, stands } from './standbys.ts';
import { changeView, holdsLease, log, type Context } from './state.ts';
import type { LocalVm, Purpose, ReadOutcome, StopKind, VmMark, VmPhase } from './types.ts';

/** Between tries to raise an epoch. */
const maxRaisePauseMs = 5000;

export function driveVms(context: Context): void {
  const { state, now } = context;
  if (state.phase !== 'active' && state.phase !== 'leaving') return;
  for (const vm of Object.values(state.list.vms)) {
    // Who leaves takes nothing more: its last record says that it has nothing.
    if (state.phase === 'active' && isOurs(context, vm) && !state.local.has(vm.id)) begin(context, vm);
  }
  for (const local of state.local.values()) {
    const vm = vmOf(state.list, local.vmId);
    if (local.phase === 'running') follow(context, local, vm);
    else if (local.phase === 'stopping' && vm?.desired === 'deleted') stop(context, local, vm);
    else if (now >= local.retryAt) goOn(context, local, vm);
  }
  followOthers(context);
  publish(context);
}

/** True when the list says that this session of ours shall have the VM. */
function isOurs(context: Context, vm: ProtectedVm): boolean {
  const { state } = context;
  const { assignment, desired } = vm;
  return (
    (desired === 'running' || desired === 'paused') &&
    assignment?.node === state.id &&
    assignment.incarnation === state.incarnation
  );
}

function begin(context: Context, vm: ProtectedVm): void {
  const { state, now } = context;
  const attempt = vm.assignment!.attempt;
  if (!holdsLease(context)) return;
  if (state.view.reports.some((report) => report.vmId === vm.id && report.attempt === attempt)) return;
  const local: LocalVm = {
    vmId: vm.id,
    attempt,
    phase: 'checking',
    epoch: 0,
    since: now,
    retryAt: Infinity,
    paused: vm.desired === 'paused',
    outputs: undefined,
    quotaBytes: undefined,
    storeFull: false,
    debugged: false,
    standby: undefined,
    standbyCondition: undefined,
    noted: undefined,
    standbyLost: undefined,
    begunAt: now,
    raises: 0,
    preparing: false,
    movingSince: undefined,
    readyNode: undefined,
    report: undefined,
    stopMode: undefined,
  };
  state.local.set(vm.id, local);
  check(context, local);
}

function setPhase(context: Context, local: LocalVm, phase: VmPhase, retryAt = Infinity): void {
  local.phase = phase;
  local.since = context.now;
  local.retryAt = retryAt;
}

function check(context: Context, local: LocalVm): void {
  setPhase(context, local, 'checking');
  local.noted = undefined;
  local.standbyLost = undefined;
  const purpose: Purpose = { kind: 'owner-of', vmId: local.vmId, attempt: local.attempt };
  context.out.push({ type: 'get-owner', vmId: local.vmId, purpose });
}

function wait(context: Context, local: LocalVm): void {
  setPhase(context, local, 'waiting', context.now + context.settings.storeRetryMs);
}

/** A VM whose next step was put off: try it again, unless it is no longer wanted here. */
function goOn(context: Context, local: LocalVm, vm: ProtectedVm | undefined): void {
  switch (local.phase) {
    case 'waiting':
      if (vm === undefined || !isOurs(context, vm)) {
        drop(context, local);
        return;
      }
      local.attempt = vm.assignment!.attempt;
      check(context, local);
      return;
    case 'validating':
      validate(context, local);
      return;
    case 'releasing':
      release(context, local);
      return;
    default:
      return;
  }
}

/** What the list wants of a VM that runs here. */
function follow(context: Context, local: LocalVm, vm: ProtectedVm | undefined): void {
  if (vm === undefined) return;
  if (vm.desired === 'stopped' || vm.desired === 'deleted') {
    stop(context, local, vm);
    return;
  }
  if (isOurs(context, vm)) {
    local.movingSince = undefined;
    local.attempt = vm.assignment!.attempt;
    const paused = vm.desired === 'paused';
    if (paused !== local.paused) {
      local.paused = paused;
      context.out.push({ type: 'pause', vmId: local.vmId, epoch: local.epoch, paused });
    }
    const { outputs, storeQuotaBytes } = vm.spec;
    if (outputs !== local.outputs) {
      local.outputs = outputs;
      context.out.push({ type: 'set-outputs', vmId: local.vmId, epoch: local.epoch, outputs });
      const reason = `outputs leave by ${outputs}`;
      log(context, { event: 'vm-set', vm: local.vmId, node: context.state.id, reason });
    }
    if (storeQuotaBytes !== local.quotaBytes) {
      local.quotaBytes = storeQuotaBytes;
      context.out.push({
        ...{ type: 'set-quota', vmId: local.vmId, epoch: local.epoch },
        quotaBytes: storeQuotaBytes,
      });
    }
    feedStandby(context, local, vm);
    return;
  }
  // An assignment to nobody is no order to stop: whoever still runs goes on until somebody else shall have it.
  if (vm.assignment === null || vm.assignment.attempt <= local.attempt) return;
  local.movingSince ??= context.now;
  const waited = context.now - local.movingSince;
  if (local.readyNode !== vm.assignment.node && waited < context.settings.prepareMs) return;
  setPhase(context, local, 'leaving');
  context.out.push({ type: 'hand-over', vmId: local.vmId, epoch: local.epoch });
  log(context, { event: 'vm-handing-over', vm: local.vmId, node: context.state.id, reason: vm.reason });
}

/** Once for each mode: who deletes a VM does not wait until its disks are durable. */
function stop(context: Context, local: LocalVm, vm: ProtectedVm): void {
  const mode = vm.desired === 'deleted' ? 'delete' : 'power-off';
  if (local.stopMode === mode) return;
  local.stopMode = mode;
  setPhase(context, local, 'stopping');
  context.out.push({ type: 'stop', vmId: local.vmId, epoch: local.epoch, mode });
  log(context, { event: 'vm-stopping', vm: local.vmId, node: context.state.id, reason: vm.reason });
}

/** Whether a VM may be taken from its owner. The one question on which "never two at once" rests. */
export function mayTake(owner: OwnerView, ownerNode: NodeRecord | undefined): boolean {
  if (owner.state === 'deleted') return false;
  if (owner.state === 'released') return true;
  if (ownerNode === undefined) return false;
  return ownerNode.incarnation > owner.incarnation || ownerNode.state !== 'active';
}

export function ownerRead(
  context: Context,
  purpose: Extract<Purpose, { kind: 'owner-of' }>,
  outcome: ReadOutcome<OwnerView>,
): void {
  const { state } = context;
  const local = current(context, purpose, 'checking');
  if (local === undefined) return;
  if (outcome.result === 'failed') {
    wait(context, local);
    return;
  }
  if (outcome.result === 'absent') {
    raise(context, local, 0);
    return;
  }
  const owner = outcome.value;
  if (owner.state === 'deleted') {
    if (vmOf(state.list, local.vmId)?.revives === owner.epoch) {
      raise(context, local, owner.epoch, true);
      return;
    }
    finish(context, local, { kind: 'failed', reason: 'the VM was deleted' });
    return;
  }
  const unread = cannotRead(context, owner);
  if (unread !== undefined) {
    finish(context, local, { kind: 'unreadable', reason: unread });
    return;
  }
  // Owned by this very session, which does not run it: a raise of ours whose answer was lost.
  const ownRaise = owner.node === state.id && owner.incarnation === state.incarnation;
  if (owner.state === 'released' || ownRaise) {
    take(context, local, owner);
    return;
  }
  context.out.push({
    type: 'get-record',
    node: owner.node,
    purpose: { kind: 'owner-node', vmId: local.vmId, attempt: local.attempt, owner },
  });
}

/** Known before the epoch is raised: whoever raises it and then can't read only takes the VM away from those who can. */
function cannotRead(context: Context, owner: OwnerView): string | undefined {
  const { reads } = context.state.view;
  if (reads === undefined || owner.form === undefined) return undefined;
  const why = whyUnreadable(owner.form, reads);
  return why === undefined ? undefined : `it is ${why}, as ${owner.node} stored it`;
}

export function ownerNodeRead(
  context: Context,
  purpose: Extract<Purpose, { kind: 'owner-node' }>,
  outcome: ReadOutcome<NodeRecord>,
): void {
  const local = current(context, purpose, 'checking');
  if (local === undefined) return;
  const node = outcome.result === 'found' ? outcome.value : undefined;
  if (!mayTake(purpose.owner, node)) {
    askToGiveUp(context, local.vmId, purpose.owner);
    prepare(context, local, purpose.owner);
    wait(context, local);
    return;
  }
  take(context, local, purpose.owner);
}

function take(context: Context, local: LocalVm, owner: OwnerView): void {
  local.noted = owner.standby;
  if (isFree(context, local, owner)) raise(context, local, owner.epoch);
}

/** Whoever goes on without what only a standby has takes back what people saw: while that stands, nobody does. */
export function standbyNodeRead(
  context: Context,
  purpose: Extract<Purpose, { kind: 'standby-node' }>,
  outcome: ReadOutcome<NodeRecord>,
): void {
  const local = current(context, purpose, 'checking');
  const keeper = purpose.owner.standby;
  if (local === undefined || keeper === undefined) return;
  if (outcome.result === 'failed') {
    wait(context, local);
    return;
  }
  if (stands(keeper, outcome.result === 'found' ? outcome.value : undefined)) {
    const reason = `its standby on ${keeper.node} has what came in last`;
    finish(context, local, { kind: 'held', reason, by: keeper.node });
    return;
  }
  local.standbyLost = `its standby on ${keeper.node} is gone too: what only that had is lost, and what was seen of it may be taken back`;
  raise(context, local, purpose.owner.epoch);
}

function prepare(context: Context, local: LocalVm, owner: OwnerView): void {
  const vm = vmOf(context.state.list, local.vmId);
  if (local.preparing || vm === undefined || owner.node === context.state.id) return;
  local.preparing = true;
  context.out.push({ type: 'prepare', vm, owner });
}

/** The edge is ready for a VM, or can't be: in either case its owner need not wait any longer. */
export function prepared(context: Context, { vmId, owner }: { vmId: string; owner: OwnerView }): void {
  if (context.state.local.get(vmId)?.preparing !== true) return;
  const message = { type: 'prepared', vmId, epoch: owner.epoch } as const;
  context.out.push({ type: 'send', to: owner.node, message });
}

/** The node that shall have a VM of ours is ready for it. */
export function preparedHeard(
  context: Context,
  from: string,
  message: { vmId: string; epoch: number },
): void {
  const local = byEpoch(context, message);
  if (local !== undefined) local.readyNode = from;
}

/** A raise whose answer was lost can leave an owner that knows nothing of it. */
export function askToGiveUp(context: Context, vmId: string, owner: OwnerView): void {
  const { state } = context;
  if (owner.node === state.id) giveUp(context, vmId, owner.epoch);
  else
    context.out.push({
      type: 'send',
      to: owner.node,
      message: { type: 'give-up', vmId, epoch: owner.epoch },
    });
}

/** Safe whenever we do not have the VM: the swap gives up exactly this epoch of this session. */
export function giveUp(context: Context, vmId: string, epoch: number): void {
  if (context.state.local.has(vmId)) return;
  context.out.push({ type: 'release', vmId, epoch });
}

function raise(context: Context, local: LocalVm, expectedEpoch: number, revive = false): void {
  const { state } = context;
  if (!holdsLease(context)) {
    wait(context, local);
    return;
  }
  setPhase(context, local, 'raising');
  const { vmId, attempt } = local;
  const { incarnation } = state;
  const spec = vmOf(state.list, vmId)?.spec;
  context.out.push({
    ...{ type: 'raise', vmId, attempt, expectedEpoch, incarnation },
    ...(spec === undefined ? {} : { spec }),
    ...(local.noted === undefined ? {} : { noted: local.noted }),
    ...(revive ? { revive } : {}),
    ...(local.standbyLost === undefined ? {} : { standbyLost: local.standbyLost }),
  });
}

export function raised(context: Context, event: { vmId: string; attempt: number; epoch: number }): void {
  const local = current(context, event, 'raising');
  if (local === undefined) return;
  local.epoch = event.epoch;
  validate(context, local);
}

export function notRaised(
  context: Context,
  {
    why,
    reason,
    ...event
  }: { vmId: string; attempt: number; why: 'retry' | VmReport['kind']; reason: string },
): void {
  const { state, now, settings } = context;
  const local = current(context, event, 'raising');
  if (local === undefined) return;
  log(context, { event: 'vm-not-taken', vm: local.vmId, node: state.id, reason });
  if (why !== 'retry') {
    finish(context, local, { kind: why, reason });
    return;
  }
  // It may have been raised all the same: each further try raises it once more.
  const pauseMs = Math.min(settings.storeRetryMs * 2 ** local.raises++, maxRaisePauseMs);
  setPhase(context, local, 'waiting', now + pauseMs);
}

function validate(context: Context, local: LocalVm): void {
  setPhase(context, local, 'validating');
  const { vmId, attempt, epoch } = local;
  context.out.push({ type: 'get-list', purpose: { kind: 'validate', vmId, attempt, epoch } });
}

export function validated(
  context: Context,
  purpose: Extract<Purpose, { kind: 'validate' }>,
  outcome: ReadOutcome<ProtectedList>,
): void {
  const { state, now, settings } = context;
  const local = current(context, purpose, 'validating');
  if (local === undefined) return;
  if (outcome.result !== 'found' || !holdsLease(context)) {
    local.retryAt = now + settings.storeRetryMs;
    return;
  }
  const vm = vmOf(outcome.value, local.vmId);
  if (vm === undefined || !isOurs(context, vm)) {
    release(context, local);
    return;
  }
  local.attempt = vm.assignment!.attempt;
  local.paused = vm.desired === 'paused';
  local.outputs = vm.spec.outputs;
  local.quotaBytes = vm.spec.storeQuotaBytes;
  setPhase(context, local, 'starting');
  context.out.push({ type: 'run', vm, epoch: local.epoch, paused: local.paused, until: state.leaseUntil });
}

export function started(context: Context, event: { vmId: string; epoch: number }): void {
  const { state, now } = context;
  const local = byEpoch(context, event);
  if (local?.phase !== 'starting') return;
  setPhase(context, local, 'running');
  log(context, {
    event: 'vm-started',
    vm: local.vmId,
    node: state.id,
    epoch: local.epoch,
    reason: `epoch ${String(local.epoch)}`,
    tookMs: Math.round(now - local.begunAt),
    details: { epoch: local.epoch, attempt: local.attempt },
  });
  driveVms(context);
}

export function marked(
  context: Context,
  event: { vmId: string; epoch: number; mark: VmMark; on: boolean },
): void {
  const local = byEpoch(context, event);
  if (local === undefined) return;
  local[event.mark] = event.on;
  publish(context);
}

export function stopped(
  context: Context,
  event: { vmId: string; epoch: number; kind: StopKind; reason: string; status?: number },
): void {
  const { state } = context;
  const local = byEpoch(context, event);
  if (local === undefined) return;
  const { vmId, attempt } = local;
  if (event.kind !== 'asked')
    log(context, {
      event: `vm-stopped-${event.kind}`,
      vm: vmId,
      node: state.id,
      epoch: local.epoch,
      reason: event.reason,
    });
  if (event.kind === 'fenced') {
    // Another owns it: nothing here is ours to give up.
    drop(context, local);
    publish(context);
    return;
  }
  const { kind, reason, status } = event;
  if (kind !== 'asked')
    local.report = { vmId, attempt, kind, reason, ...(status === undefined ? {} : { status }) };
  release(context, local);
}

function release(context: Context, local: LocalVm): void {
  setPhase(context, local, 'releasing');
  context.out.push({ type: 'release', vmId: local.vmId, epoch: local.epoch });
}

export function released(
  context: Context,
  event: { vmId: string; epoch: number; result: 'done' | 'fenced' | 'failed' },
): void {
  const { state, now, settings } = context;
  const local = byEpoch(context, event);
  if (local?.phase !== 'releasing') return;
  if (event.result === 'failed') {
    local.retryAt = now + settings.storeRetryMs;
    return;
  }
  finish(context, local, local.report);
  const next = vmOf(state.list, local.vmId)?.assignment?.node;
  const hint = { type: 'released', vmId: local.vmId } as const;
  for (const to of new Set([next, state.list.master?.node])) {
    if (to !== undefined && to !== state.id) context.out.push({ type: 'send', to, message: hint });
  }
  if (state.master === undefined) readList(context);
}

/** Another node gave a VM up: if we wait for it, look at once. */
export function releaseHeard(context: Context, vmId: string): void {
  const { state } = context;
  const local = state.local.get(vmId);
  if (local?.phase === 'waiting') local.retryAt = context.now;
  confirmAgain(context, vmId);
}

function finish(context: Context, local: LocalVm, report: Report | undefined): void {
  drop(context, local);
  if (report !== undefined) {
    const { vmId, attempt } = local;
    const reports = context.state.view.reports.filter((other) => other.vmId !== vmId);
    changeView(context, { reports: [...reports, { ...report, vmId, attempt }].slice(-maxReports) });
  }
  publish(context);
}

function drop(context: Context, local: LocalVm): void {
  context.state.local.delete(local.vmId);
  if (local.preparing) context.out.push({ type: 'forget', vmId: local.vmId });
}

type Report = Omit<VmReport, 'vmId' | 'attempt'>;

function current(
  context: Context,
  { vmId, attempt }: { vmId: string; attempt: number },
  phase: VmPhase,
): LocalVm | undefined {
  const local = context.state.local.get(vmId);
  return local?.phase === phase && local.attempt === attempt ? local : undefined;
}

function byEpoch(context: Context, { vmId, epoch }: { vmId: string; epoch: number }): LocalVm | undefined {
  const local = context.state.local.get(vmId);
  return local?.epoch === epoch ? local : undefined;
}
