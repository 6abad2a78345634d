/**
 * One node's decisions: `step(state, now, event)` changes the state and gives the effects that the edge shall carry out.
 * Deterministic: the same state, time and event always give the same. Nothing that is passed in is changed.
 */
import { ClusterError } from '../errors.ts';
import { bounded } from '../protocol/limits.ts';
import {
  claimed,
  confirmAgain,
  driveElection,
  driveMaster,
  listPushed,
  listRead,
  listWritten,
  readList,
  reply,
  stopConfirmed,
  stopOwnerRead,
} from './election.ts';
import { driveLease, joinRecordRead, renewed, selfRead } from './lease.ts';
import {
  beatSeen,
  closed,
  deathConfirmed,
  discovered,
  driveBeats,
  drivePeers,
  fenceWritten,
  heartbeat,
  heartbeatHeard,
  peerRecordRead,
} from './membership.ts';
import {
  askToGiveUp,
  driveVms,
  giveUp,
  mayTake,
  notRaised,
  ownerNodeRead,
  ownerRead,
  prepared,
  preparedHeard,
  raised,
  releaseHeard,
  released,
  marked,
  standbyNodeRead,
  started,
  stopped,
  validated,
} from './reconcile.ts';
import type { NodeRecord } from './records.ts';
import type { Settings } from './settings.ts';
import { standbyChanged } from './standbys.ts';
import { changeView, draftOf, log, withEntry, type AgentState, type Context } from './state.ts';
import type { Effect, Event, Message, ReadOutcome } from './types.ts';

export interface Step {
  state: AgentState;
  effects: Effect[];
}

export function step(state: AgentState, now: number, event: Event, settings: Settings): Step {
  if (state.phase === 'gone') return { state, effects: [] };
  const context: Context = { state: draftOf(state), now, settings, out: [] };
  handle(context, event);
  return { state: context.state, effects: context.out };
}

function tick(context: Context): void {
  driveLease(context);
  driveBeats(context);
  drivePeers(context);
  driveElection(context);
  driveMaster(context);
  driveVms(context);
}

function handle(context: Context, event: Event): void {
  switch (event.type) {
    case 'tick':
      return tick(context);
    case 'message':
      return messageHeard(context, event.from, event.message);
    case 'closed':
      return closed(context, event.peer);
    case 'record':
      return recordRead(context, event);
    case 'records':
      return discovered(context, event.nodes);
    case 'list':
      return protectedRead(context, event);
    case 'owner':
      if (event.purpose.kind === 'owner-of') ownerRead(context, event.purpose, event.outcome);
      if (event.purpose.kind === 'confirm-stopped') stopOwnerRead(context, event.purpose, event.outcome);
      return;
    case 'written':
      return written(context, event);
    case 'beat':
      return beatSeen(context, event.store, event.beat);
    case 'command':
      return commanded(context, event.id, event.command, undefined);
    case 'pressure':
      return changeView(context, { pressure: event.pressure });
    case 'stores':
      return changeView(context, { stores: 1 + event.reached });
    case 'leave':
      return leave(context);
    default:
      return guestEvent(context, event);
  }
}

function guestEvent(
  context: Context,
  event: Extract<
    Event,
    {
      type:
        | 'prepared'
        | 'raised'
        | 'not-raised'
        | 'started'
        | 'stopped'
        | 'standby'
        | 'marked'
        | 'released'
        | 'tombstoned';
    }
  >,
): void {
  switch (event.type) {
    case 'raised':
      return raised(context, event);
    case 'not-raised':
      return notRaised(context, event);
    case 'prepared':
      return prepared(context, event);
    case 'started':
      return started(context, event);
    case 'stopped':
      return stopped(context, event);
    case 'standby':
      return standbyChanged(context, event);
    case 'marked':
      return marked(context, event);
    case 'released':
      return released(context, event);
    case 'tombstoned':
      return confirmAgain(context, event.vmId);
  }
}

function messageHeard(context: Context, from: string, message: Message): void {
  const { state } = context;
  switch (message.type) {
    case 'heartbeat':
      heartbeatHeard(context, from, message);
      if (message.ping && state.phase !== 'joining')
        context.out.push({ type: 'send', to: from, message: heartbeat(context, false) });
      return;
    case 'list':
      listPushed(context, message.list);
      driveVms(context);
      return;
    case 'released':
      releaseHeard(context, message.vmId);
      driveVms(context);
      return;
    case 'prepared':
      preparedHeard(context, from, message);
      driveVms(context);
      return;
    case 'give-up':
      return giveUp(context, message.vmId, message.epoch);
    case 'command':
      return commanded(context, message.id, message.command, from);
    case 'answer':
      context.out.push({ type: 'answer', answer: message.answer });
  }
}

function recordRead(context: Context, event: Extract<Event, { type: 'record' }>): void {
  const { purpose, outcome } = event;
  switch (purpose.kind) {
    case 'join':
      return joinRecordRead(context, outcome);
    case 'reread-self':
      return selfRead(context, outcome);
    case 'peer':
      return peerRecordRead(context, purpose.node, outcome);
    case 'confirm-dead':
      return deathConfirmed(context, purpose, outcome);
    case 'owner-node':
      return ownerNodeRead(context, purpose, outcome);
    case 'standby-node':
      return standbyNodeRead(context, purpose, outcome);
    case 'confirm-stopped-node':
      if (mayTake(purpose.owner, found(outcome))) stopConfirmed(context, purpose.vmId, purpose.owner);
      else askToGiveUp(context, purpose.vmId, purpose.owner);
      return;
    default:
  }
}

const found = (outcome: ReadOutcome<NodeRecord>): NodeRecord | undefined =>
  outcome.result === 'found' ? outcome.value : undefined;

function protectedRead(context: Context, event: Extract<Event, { type: 'list' }>): void {
  if (event.purpose.kind === 'validate') validated(context, event.purpose, event.outcome);
  else {
    listRead(context, event.outcome);
    driveVms(context);
  }
}

function written(context: Context, event: Extract<Event, { type: 'written' }>): void {
  const { purpose, outcome } = event;
  switch (purpose.kind) {
    case 'renew':
      return renewed(context, purpose, outcome);
    case 'fence':
      fenceWritten(context, purpose, outcome);
      return driveMaster(context);
    case 'claim':
      claimed(context, purpose, outcome);
      return driveMaster(context);
    case 'write-list':
      listWritten(context, purpose, outcome);
      driveVms(context);
      return;
    default:
  }
}

function commanded(
  context: Context,
  id: string,
  command: Extract<Event, { type: 'command' }>['command'],
  from: string | undefined,
): void {
  const { state } = context;
  if (state.master !== undefined) {
    state.master.waiting = withEntry(state.master.waiting, id, from);
    const known = state.list.commands.find((answer) => answer.id === id);
    if (known !== undefined) reply(context, known, from);
    else if (!state.master.queue.some((queued) => queued.id === id))
      state.master.queue = [...state.master.queue, { id, command }];
    return driveMaster(context);
  }
  const master = state.list.master?.node;
  if (from === undefined && master !== undefined && master !== state.id) {
    context.out.push({ type: 'send', to: master, message: { type: 'command', id, command } });
    return;
  }
  const error = new ClusterError('NO_MASTER', 'no node holds the protected list just now');
  reply(context, { id, error: { code: error.code, message: bounded(error.message) } }, from);
}

/** Leaves for good: our VMs are moved away first, as in maintenance. */
function leave(context: Context): void {
  const { state } = context;
  if (state.phase === 'leaving') return;
  log(context, { event: 'node-leaving', node: state.id, reason: 'asked to' });
  state.phase = 'leaving';
  changeView(context, { pressure: 'leaving' });
  if (state.master === undefined) readList(context);
}
