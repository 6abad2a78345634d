/**
 * Our own session: joining, renewing, losing and leaving it.
 *
 * The record `cluster/nodes/ID` is heartbeat and lease in one. A renewal that was sent at t (our clock) and succeeded lets our
 * guests run until t + leaseMs. Whoever declares us dead must (1) have seen one counter for deadMs of its own clock, then
 * (2) swap the very version that holds this counter for a fenced one. A renewal that lands before (2) makes it fail; one
 * that lands after it fails itself. So our guests have stopped before (2) can succeed, whatever was frozen or delayed.
 */
import { beat } from './membership.ts';
import type { NodeRecord } from './records.ts';
import { changeView, log, type Context } from './state.ts';
import type { Purpose, ReadOutcome, WriteOutcome } from './types.ts';

/** A process that was killed may have had one renewal on its way, and one that we read between; who renews so often lives. */
const nameTakenMoves = 3;

/** Asks for a renewal when one is due, and notices when the lease has run out. */
export function driveLease(context: Context): void {
  const { state, now, settings } = context;
  if (state.phase === 'gone') return;
  if (state.leaseHeld && now >= state.leaseUntil) {
    state.leaseHeld = false;
    state.suspendedAt = now;
    changeView(context, { suspended: true });
    log(context, {
      event: 'lease-lost',
      node: state.id,
      reason: 'the store did not take a renewal in time; guests are suspended',
    });
  }
  if (state.phase === 'joining') {
    driveJoin(context);
    return;
  }
  if (state.renewing) return;
  const due = now - state.renewedAt >= settings.storeHeartbeatMs;
  const news = state.view.seq > state.publishedSeq && now - state.renewedAt >= settings.tickMs;
  if (due || news) renew(context);
}

function driveJoin(context: Context): void {
  const { state, now, settings } = context;
  if (state.renewing || now - state.renewedAt < settings.storeRetryMs) return;
  state.renewing = true;
  state.renewedAt = now;
  context.out.push({ type: 'get-record', node: state.id, purpose: { kind: 'join' } });
}

/**
 * The record of our name was read: begin our session when the one before is over. A session that nobody ended is ended like
 * any other's: only after its counter has stood still for deadMs (an earlier process of ours may be frozen, not gone).
 */
export function joinRecordRead(context: Context, outcome: ReadOutcome<NodeRecord>): void {
  const { state, now, settings } = context;
  state.renewing = false;
  if (state.phase !== 'joining' || outcome.result === 'failed') return;
  if (outcome.result === 'absent') {
    beginSession(context, 1, undefined);
    return;
  }
  const { value, version } = outcome;
  if (value.state === 'active') {
    if (state.joinCounter !== value.counter) {
      // One that leaves is waited for.
      if (state.joinCounter >= 0 && value.view.pressure !== 'leaving') state.joinMoves++;
      if (state.joinMoves === nameTakenMoves)
        context.out.push({ type: 'name-in-use', address: value.view.address });
      state.joinCounter = value.counter;
      state.joinSince = now;
    }
    if (now - state.joinSince < settings.deadMs) return;
  }
  state.joinCounter = -1;
  state.joinMoves = 0;
  beginSession(context, value.incarnation + 1, version);
}

function beginSession(context: Context, incarnation: number, expected: string | undefined): void {
  const { state, now } = context;
  state.incarnation = incarnation;
  state.renewing = true;
  state.renewedAt = now;
  const record: NodeRecord = { id: state.id, incarnation, state: 'active', counter: 1, view: state.view };
  put(context, record, expected);
}

function put(context: Context, record: NodeRecord, expected: string | undefined): void {
  const purpose: Purpose = {
    kind: 'renew',
    incarnation: record.incarnation,
    counter: record.counter,
    sentAt: context.now,
    seq: record.view.seq,
    last: record.state === 'left',
  };
  context.out.push({ type: 'put-record', record, expected, purpose });
}

function renew(context: Context): void {
  const { state, now } = context;
  state.renewing = true;
  state.renewedAt = now;
  if (state.record === undefined || state.recordVersion === undefined) {
    context.out.push({ type: 'get-record', node: state.id, purpose: { kind: 'reread-self' } });
    return;
  }
  const leaving = state.phase === 'leaving' && state.local.size === 0;
  put(
    context,
    {
      id: state.id,
      incarnation: state.incarnation,
      state: leaving ? 'left' : 'active',
      counter: state.record.counter + 1,
      view: state.view,
    },
    state.recordVersion,
  );
}

/** A put of our record came to an end. Only a success counts for the lease, from the moment it was sent. */
export function renewed(
  context: Context,
  purpose: Extract<Purpose, { kind: 'renew' }>,
  outcome: WriteOutcome,
): void {
  const { state, now, settings } = context;
  if (purpose.incarnation !== state.incarnation) return;
  state.renewing = false;
  if (outcome.result !== 'done') {
    // Whatever became of it: what is in the store decides. While joining, joining reads anyhow.
    if (state.phase !== 'joining') state.recordVersion = undefined;
    state.renewedAt = now - settings.storeHeartbeatMs + settings.storeRetryMs;
    if (outcome.result === 'conflict' && state.phase !== 'joining') renew(context);
    return;
  }
  const joined = state.phase === 'joining';
  if (joined) state.phase = 'active';
  state.record = {
    id: state.id,
    incarnation: state.incarnation,
    state: purpose.last ? 'left' : 'active',
    counter: purpose.counter,
    view: state.view,
  };
  state.recordVersion = outcome.version;
  state.publishedSeq = purpose.seq;
  if (purpose.last) {
    state.phase = 'gone';
    state.leaseUntil = -Infinity;
    context.out.push({ type: 'left' });
    return;
  }
  const until = purpose.sentAt + settings.leaseMs;
  const lapsed = now >= state.leaseUntil;
  if (until <= now) return;
  if (lapsed) {
    // We were away. What we have not seen meanwhile proves nothing about others.
    state.storeOkSince = now;
    log(context, {
      event: joined ? 'node-joined' : 'lease-regained',
      node: state.id,
      reason: joined
        ? `session ${String(state.incarnation)}`
        : 'the store takes renewals again and nobody fenced us',
    });
  }
  state.leaseHeld = true;
  state.suspendedAt = undefined;
  changeView(context, { suspended: false });
  state.leaseUntil = until;
  context.out.push({ type: 'grant', until });
  // Told at once, the others count our silence from here, and not from when they happen to look.
  beat(context);
}

/** Our own record was read again after a put that failed or is in doubt. */
export function selfRead(context: Context, outcome: ReadOutcome<NodeRecord>): void {
  const { state } = context;
  if (state.phase === 'joining') return;
  state.renewing = false;
  if (outcome.result !== 'found') return;
  const { value, version } = outcome;
  if (value.incarnation === state.incarnation && value.state === 'active') {
    state.record = value;
    state.recordVersion = version;
    renew(context);
    return;
  }
  endSession(
    context,
    value.state === 'fenced'
      ? `fenced by ${value.fencedBy ?? 'somebody'}`
      : 'another process took this node name',
  );
}

/** Our session is over for good: every guest of it is stopped, and a new session begins. */
export function endSession(context: Context, reason: string): void {
  const { state } = context;
  log(context, { event: 'session-ended', node: state.id, reason, details: { vms: state.local.size } });
  for (const vm of state.local.values()) {
    context.out.push({ type: 'stop', vmId: vm.vmId, epoch: vm.epoch, mode: 'discard' });
    if (vm.preparing) context.out.push({ type: 'forget', vmId: vm.vmId });
  }
  state.local.clear();
  state.leaseUntil = -Infinity;
  state.leaseHeld = false;
  state.record = undefined;
  state.recordVersion = undefined;
  state.incarnation = 0;
  state.joinCounter = -1;
  state.joinMoves = 0;
  state.renewing = false;
  state.phase = state.phase === 'leaving' ? 'gone' : 'joining';
  state.master = undefined;
  if (state.phase === 'gone') context.out.push({ type: 'left' });
  changeView(context, { powerOn: [], reports: [] });
}
