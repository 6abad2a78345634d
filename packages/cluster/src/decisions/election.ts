/**
 * Who is master. The claim is the protected list itself: its master writes it at least once per
 * heartbeat, always over the version that it wrote last, so the first write of a new master ends the old one's for good.
 * Waiting (masterLostMs, ranks) only keeps claims rare; no safety rests on it.
 */
import { applyCommand, withAnswers } from './commands.ts';
import { isClusterError } from '../errors.ts';
import { bounded } from '../protocol/limits.ts';
import { withSlots } from './networks.ts';
import { plan, type HostSight } from './failover.ts';
import { confirmDead, fenceDue, reachable } from './membership.ts';
import {
  maxCommandAnswers,
  vmOf,
  type CommandAnswer,
  type OwnerView,
  type ProtectedList,
} from './records.ts';
import { holdsLease, log, withEntry, withoutEntry, type Context } from './state.ts';
import type { MasterState, Purpose, ReadOutcome, WriteOutcome } from './types.ts';

/** Reads the list when it is time, claims it when nobody holds it. */
export function driveElection(context: Context): void {
  const { state, now, settings } = context;
  if (state.phase !== 'active') return;
  const pause =
    state.listVersion === undefined && !state.listAbsent ? settings.storeRetryMs : settings.storeHeartbeatMs;
  if (state.master === undefined && !state.claiming && now - state.listReadAt >= pause) readList(context);
  if (state.master !== undefined || state.claiming || !holdsLease(context)) return;
  if (state.listVersion === undefined && !state.listAbsent) return;
  if (!claimIsFree(context)) return;
  state.claiming = true;
  const term = state.list.term + 1;
  const list: ProtectedList = {
    ...state.list,
    term,
    master: { node: state.id, incarnation: state.incarnation },
    revision: state.list.revision + 1,
  };
  context.out.push({
    type: 'put-list',
    list,
    expected: state.listVersion,
    purpose: { kind: 'claim', term, list },
  });
}

export function readList(context: Context): void {
  const { state, now } = context;
  if (state.listReading) return;
  state.listReading = true;
  state.listReadAt = now;
  context.out.push({ type: 'get-list', purpose: { kind: 'list' } });
}

function claimIsFree(context: Context): boolean {
  const { state, now, settings } = context;
  const { master } = state.list;
  if (master?.node === state.id) return true;
  const still = now - Math.max(state.listSeenAt, state.storeOkSince);
  const patience = master === null ? 0 : settings.masterLostMs;
  return still >= patience + rank(context) * settings.electionStaggerMs;
}

/** How many nodes that we hear are better candidates: more datastores first, then the higher id. Isolated ones come last. */
function rank(context: Context): number {
  const { state } = context;
  const peers = [...state.peers.values()].filter(({ record }) => record === 'active');
  if (state.view.isolated) return peers.length + 5;
  return peers.filter((peer) => {
    if (peer.view === undefined || !reachable(context, peer) || state.list.maintenance.includes(peer.id))
      return false;
    return peer.view.stores !== state.view.stores ? peer.view.stores > state.view.stores : peer.id > state.id;
  }).length;
}

export function claimed(
  context: Context,
  purpose: Extract<Purpose, { kind: 'claim' }>,
  outcome: WriteOutcome,
): void {
  const { state, now } = context;
  state.claiming = false;
  if (state.phase !== 'active' || purpose.list.master?.incarnation !== state.incarnation) return;
  if (outcome.result !== 'done') {
    state.listVersion = undefined;
    state.listAbsent = false;
    readList(context);
    return;
  }
  const before = state.list.master;
  adopt(context, purpose.list, outcome.version);
  state.master = newMaster(purpose.term, now);
  log(context, {
    event: 'master-elected',
    node: state.id,
    reason: before === null ? 'there was none' : `the claim of ${before.node} was not renewed`,
    details: { term: purpose.term },
  });
}

function newMaster(term: number, now: number): MasterState {
  return {
    term,
    since: now,
    writing: false,
    writtenAt: now,
    notBefore: new Map(),
    assignedAt: new Map(),
    runningSince: new Map(),
    calmSince: undefined,
    confirming: new Map(),
    waiting: new Map(),
    queue: [],
  };
}

function adopt(context: Context, list: ProtectedList, version: string | undefined): void {
  const { state, now } = context;
  if (list.revision !== state.list.revision || list.term !== state.list.term) state.listSeenAt = now;
  state.list = list;
  state.listVersion = version;
  state.listAbsent = false;
}

/** The list was read from the store. */
export function listRead(context: Context, outcome: ReadOutcome<ProtectedList>): void {
  const { state } = context;
  state.listReading = false;
  if (outcome.result === 'failed') return;
  if (outcome.result === 'absent') {
    state.listAbsent = true;
    state.listVersion = undefined;
    return;
  }
  const { value, version } = outcome;
  // A slow answer may be older than what was pushed to us.
  if (value.revision < state.list.revision) return;
  const { master } = state;
  if (master === undefined) {
    adopt(context, value, version);
    return;
  }
  const ours = value.term === master.term && value.master?.node === state.id;
  if (!ours) {
    adopt(context, value, version);
    stepDown(
      context,
      `${value.master?.node ?? 'nobody'} holds the protected list in term ${String(value.term)}`,
    );
    return;
  }
  if (!master.writing) return;
  adopt(context, value, version);
  master.writing = false;
  deliver(context, master);
}

/** The master pushed its list: saves us a read. Never enough to claim upon, as it carries no version. */
export function listPushed(context: Context, list: ProtectedList): void {
  const { state } = context;
  if (state.master !== undefined || state.claiming || list.revision <= state.list.revision) return;
  adopt(context, list, undefined);
}

export function stepDown(context: Context, reason: string): void {
  const { state } = context;
  if (state.master === undefined) return;
  log(context, {
    event: 'master-stepped-down',
    node: state.id,
    reason,
    details: { term: state.master.term },
  });
  state.master = undefined;
}

/** One round of the master: fences, commands, plan, and the write that is also its claim's renewal. */
export function driveMaster(context: Context): void {
  const { state, now, settings } = context;
  const { master } = state;
  if (master === undefined || state.phase === 'gone') return;
  // Without the store nobody is master of anything.
  if (!holdsLease(context)) return;
  for (const peer of state.peers.values()) {
    const why = fenceDue(context, peer);
    if (why !== undefined) confirmDead(context, peer, why);
  }
  if (master.writing) {
    if (now - master.writtenAt >= settings.leaseMs) readList(context);
    return;
  }
  confirmStops(context, master);
  const hosts = sights(context);
  const commanded = runCommands(context, master, [...hosts.values()]);
  const planned = plan({ list: commanded, hosts, timers: master, now, settings });
  Object.assign(master, planned.timers);
  for (const entry of planned.log) log(context, entry);
  let list = withSlots(planned.list, hosts.keys());
  if (shouldResign(context)) list = { ...list, master: null };
  const changed = list !== state.list;
  if (!changed && now - master.writtenAt < settings.storeHeartbeatMs) return;
  writeList(context, master, list);
}

function writeList(context: Context, master: MasterState, list: ProtectedList): void {
  const { state, now } = context;
  const next = { ...list, revision: state.list.revision + 1 };
  master.writing = true;
  master.writtenAt = now;
  const changed = list !== state.list;
  context.out.push({
    type: 'put-list',
    list: next,
    expected: state.listVersion,
    purpose: { kind: 'write-list', term: master.term, list: next, changed },
  });
}

export function listWritten(
  context: Context,
  purpose: Extract<Purpose, { kind: 'write-list' }>,
  outcome: WriteOutcome,
): void {
  const { state } = context;
  const { master } = state;
  if (master?.term !== purpose.term || !master.writing) return;
  if (outcome.result !== 'done') {
    // Ours may have landed, or another is master now: what is in the store decides (listRead).
    readList(context);
    return;
  }
  master.writing = false;
  adopt(context, purpose.list, outcome.version);
  deliver(context, master);
  if (purpose.list.master === null) stepDown(context, 'isolated while others are not');
  if (!purpose.changed) return;
  for (const peer of state.peers.values())
    context.out.push({ type: 'send', to: peer.id, message: { type: 'list', list: purpose.list } });
}

/** Hands out the answers of commands that are in the store now. */
function deliver(context: Context, master: MasterState): void {
  for (const answer of context.state.list.commands) {
    if (!master.waiting.has(answer.id)) continue;
    reply(context, answer, master.waiting.get(answer.id));
    master.waiting = withoutEntry(master.waiting, answer.id);
    master.queue = master.queue.filter(({ id }) => id !== answer.id);
  }
}

export function reply(context: Context, answer: CommandAnswer, to: string | undefined): void {
  if (to === undefined) context.out.push({ type: 'answer', answer });
  else context.out.push({ type: 'send', to, message: { type: 'answer', answer } });
}

/** Fewer than answers are kept, so that each is there when its list is stored. */
const commandsARound = maxCommandAnswers / 2;

function runCommands(context: Context, master: MasterState, hosts: HostSight[]): ProtectedList {
  let { list } = context.state;
  const answers: CommandAnswer[] = [];
  const fresh = master.queue.filter(({ id }) => !list.commands.some((answer) => answer.id === id));
  for (const { id, command } of fresh.slice(0, commandsARound)) {
    try {
      list = applyCommand(list, command, hosts);
      answers.push({ id, error: null });
      const about =
        'vmId' in command ? { vm: command.vmId } : 'node' in command ? { node: command.node } : {};
      log(context, { event: `command-${command.type}`, ...about, reason: 'asked by a person' });
    } catch (error) {
      if (!isClusterError(error)) throw error;
      answers.push({ id, error: { code: error.code, message: bounded(error.message) } });
    }
  }
  return withAnswers(list, answers);
}

/** Everybody as the plan sees them, ourselves included. */
export function sights(context: Context): Map<string, HostSight> {
  const { state } = context;
  const hosts = new Map<string, HostSight>();
  hosts.set(state.id, {
    id: state.id,
    incarnation: state.incarnation,
    state: state.list.maintenance.includes(state.id) || state.phase === 'leaving' ? 'maintenance' : 'alive',
    capacity: state.view.capacity,
    pressure: state.view.pressure,
    reads: state.view.reads,
    runtimes: state.view.runtimes,
    record: 'active',
    view: state.view,
    seenAt: context.now,
  });
  for (const peer of state.peers.values()) {
    if (peer.incarnation === 0) continue;
    const { id, incarnation, record, view } = peer;
    hosts.set(id, {
      id,
      incarnation,
      record,
      view,
      seenAt: Math.max(peer.heardAt, peer.counterSeenAt),
      state: view === undefined ? 'unreachable' : peer.state,
      capacity: view?.capacity ?? { memoryMiB: 0 },
      pressure: view?.pressure ?? 'none',
      reads: view?.reads,
      runtimes: view?.runtimes,
    });
  }
  return hosts;
}

/** An isolated master hands the claim back when somebody who is not isolated can take it. */
function shouldResign(context: Context): boolean {
  const { state, now, settings } = context;
  if (state.phase === 'leaving') return true;
  if (!state.view.isolated) return false;
  for (const peer of state.peers.values()) {
    if (
      peer.record === 'active' &&
      peer.view?.isolated === false &&
      now - peer.counterSeenAt < settings.deadMs
    )
      return now - state.master!.since > settings.deadMs;
  }
  return false;
}

/** Looks again at once whether a VM has stopped. */
export function confirmAgain({ state: { master } }: Context, vmId: string): void {
  if (master !== undefined) master.confirming = withoutEntry(master.confirming, vmId);
}

/** A VM that shall be off counts as stopped only when its owner gave it up or is fenced: asked of the store, after the decision. */
function confirmStops(context: Context, master: MasterState): void {
  const { state, now, settings } = context;
  for (const vm of Object.values(state.list.vms)) {
    if (vm.status !== 'stopping') continue;
    if (now - (master.confirming.get(vm.id) ?? -Infinity) < settings.storeRetryMs * 2) continue;
    master.confirming = withEntry(master.confirming, vm.id, now);
    const purpose: Purpose = { kind: 'confirm-stopped', vmId: vm.id, boot: vm.boot };
    context.out.push({ type: 'get-owner', vmId: vm.id, purpose });
  }
}

export function stopOwnerRead(
  context: Context,
  purpose: Extract<Purpose, { kind: 'confirm-stopped' }>,
  outcome: ReadOutcome<OwnerView>,
): void {
  const { state } = context;
  if (state.master === undefined || outcome.result === 'failed') return;
  if (outcome.result === 'absent' || outcome.value.state !== 'owned') {
    stopConfirmed(context, purpose.vmId, outcome.result === 'found' ? outcome.value : undefined);
    return;
  }
  const owner = outcome.value;
  context.out.push({
    type: 'get-record',
    node: owner.node,
    purpose: { kind: 'confirm-stopped-node', vmId: purpose.vmId, boot: purpose.boot, owner },
  });
}

/** The owner is gone for good, or it has the list too and will stop. `owner`: as it was read; undefined: there never was one. */
export function stopConfirmed(context: Context, vmId: string, owner: OwnerView | undefined): void {
  const { state } = context;
  const vm = vmOf(state.list, vmId);
  const { master } = state;
  if (master === undefined || master.writing || vm?.status !== 'stopping') return;
  const isDeleted = vm.desired === 'deleted';
  if (isDeleted && owner?.state !== 'deleted') {
    // Over this epoch alone: whoever is late does not delete what has the name by then.
    context.out.push({ type: 'tombstone', vmId, epoch: owner?.epoch ?? 0 });
    return;
  }
  const tombstone = isDeleted && owner !== undefined ? { tombstone: owner.epoch } : {};
  const status = vm.desired === 'deleted' ? 'deleted' : 'stopped';
  const list = {
    ...state.list,
    vms: { ...state.list.vms, [vmId]: { ...vm, ...tombstone, status, assignment: null, moving: false } },
  } as const;
  log(context, { event: `vm-${status}`, vm: vmId, reason: vm.reason });
  writeList(context, master, list);
}
