/**
 * What each node makes of the others: heartbeats by two roads give six states.
 *
 * | network, both ways | datastore heartbeat | state |
 * |---|---|---|
 * | heard within unreachableMs | any | alive (maintenance, when a person said so) |
 * | silent | not yet known | unreachable |
 * | silent | moved since, in any datastore | partitioned; isolated, when it says that it hears nobody |
 * | silent, ping unanswered | stood still in all of them for deadMs | dead, once its session is fenced in the store |
 *
 * A host that lives, by network or by a heartbeat datastore, but does not reach the store itself (its guests are suspended then) is
 * given storeLossMs to reach it again.
 * A peer that we hear but that does not hear us counts as silent: a one-way cut is a cut.
 */
import type { NodeRecord, NodeView, StoreBeat } from './records.ts';
import { changeView, holdsLease, log, withEntry, type Context } from './state.ts';
import type { HostState, Message, Peer, ReadOutcome, WriteOutcome } from './types.ts';

export function newPeer(id: string, now: number): Peer {
  return {
    id,
    state: 'unreachable',
    reason: 'not heard yet',
    incarnation: 0,
    counter: -1,
    counterSeenAt: now,
    beats: new Map(),
    beatSeenAt: -Infinity,
    beatsAskedAt: -Infinity,
    heardAt: -Infinity,
    heardBothAt: -Infinity,
    closedAt: -Infinity,
    silentSince: Infinity,
    record: 'active',
    view: undefined,
    suspendedAt: undefined,
    master: null,
    readInFlight: false,
    readAt: -Infinity,
    fencing: false,
  };
}

export function peerOf(context: Context, id: string): Peer {
  const { state, now } = context;
  let peer = state.peers.get(id);
  if (peer === undefined) {
    peer = newPeer(id, now);
    state.peers.set(id, peer);
  }
  return peer;
}

/** True when both directions of the network between us work. */
export function reachable(context: Context, peer: Peer): boolean {
  return context.now - peer.heardBothAt < context.settings.unreachableMs;
}

/** A heartbeat counter was seen: by network or in the store. */
function counterSeen(context: Context, peer: Peer, incarnation: number, counter: number): void {
  if (incarnation > peer.incarnation) {
    peer.incarnation = incarnation;
    peer.counter = counter;
    peer.record = 'active';
    peer.view = undefined;
    forgetBeats(peer);
  } else if (incarnation === peer.incarnation && counter > peer.counter) {
    peer.counter = counter;
  } else return;
  peer.counterSeenAt = context.now;
}

/** A late peer's beat was read in a heartbeat datastore. The first one of each may be of before: only a later one proves that it goes on. */
export function beatSeen(context: Context, store: string, beat: StoreBeat): void {
  const peer = context.state.peers.get(beat.id);
  if (peer === undefined || peer.incarnation !== beat.incarnation || peer.record !== 'active') return;
  const before = peer.beats.get(store);
  if (before !== undefined && beat.beats <= before) return;
  peer.beats = withEntry(peer.beats, store, beat.beats);
  if (before !== undefined) peer.beatSeenAt = context.now;
  learnView(context, peer, beat.view);
}

function forgetBeats(peer: Peer): void {
  if (peer.beats.size > 0) peer.beats = new Map();
  peer.beatSeenAt = -Infinity;
}

/** True while a heartbeat datastore shows that a peer's session goes on. */
function beatsElsewhere({ now, settings }: Context, peer: Peer): boolean {
  return now - peer.beatSeenAt < settings.deadMs;
}

export function heartbeatHeard(
  context: Context,
  from: string,
  message: Extract<Message, { type: 'heartbeat' }>,
): void {
  const { state, now } = context;
  const peer = peerOf(context, from);
  if (message.incarnation < peer.incarnation) return;
  counterSeen(context, peer, message.incarnation, message.counter);
  // The last words of a session that is over.
  if (peer.record !== 'active') return;
  peer.heardAt = now;
  if (message.hears.includes(state.id)) peer.heardBothAt = now;
  learnView(context, peer, message.view);
  peer.master = message.master;
  if (message.master === null || message.master !== state.list.master?.node) return;
  // The master's own word that its claim stands spares us a look into the store.
  if (
    message.term === state.list.term &&
    message.revision > state.list.revision &&
    state.master === undefined
  )
    state.listSeenAt = now;
}

/** A peer's record was read from the store. */
export function peerRecordRead(context: Context, node: string, outcome: ReadOutcome<NodeRecord>): void {
  const peer = peerOf(context, node);
  peer.readInFlight = false;
  if (outcome.result !== 'found') return;
  learnRecord(context, peer, outcome.value);
  // The first look after it fell silent may show a beat of before: only a later one proves that it goes on.
  if (peer.silentSince === Infinity) peer.silentSince = context.now;
}

export function learnRecord(context: Context, peer: Peer, record: NodeRecord): void {
  if (record.incarnation < peer.incarnation) return;
  counterSeen(context, peer, record.incarnation, record.counter);
  peer.record = record.state;
  learnView(context, peer, record.view);
  if (record.state !== 'active') emptyView(peer);
}

/** What it tells about itself, by whichever road, when it is newer than what is known. */
function learnView({ now }: Context, peer: Peer, view: NodeView): void {
  if (peer.view !== undefined && view.seq <= peer.view.seq) return;
  peer.view = view;
  if (view.suspended !== true) peer.suspendedAt = undefined;
  else peer.suspendedAt ??= now;
}

/** A session that is over runs nothing, whatever it told last. */
function emptyView(peer: Peer): void {
  if (peer.view !== undefined) peer.view = { ...peer.view, powerOn: [], reports: [] };
}

/** Brings every peer's state up to date and asks the store about those that are silent. */
export function drivePeers(context: Context): void {
  const { state } = context;
  for (const peer of state.peers.values()) {
    const { next, reason } = judge(context, peer);
    if (next !== peer.state) changeState(context, peer, next, reason);
    if ((next !== 'alive' && next !== 'maintenance') || isLate(context, peer)) askStore(context, peer);
    askBeats(context, peer);
  }
  noteIsolation(context);
}

function judge(context: Context, peer: Peer): { next: HostState; reason: string } {
  const { state, now, settings } = context;
  if (peer.record === 'fenced') return { next: 'dead', reason: 'its session was fenced' };
  if (peer.record === 'left') return { next: 'left', reason: 'it left in order' };
  if (reachable(context, peer)) {
    return state.list.maintenance.includes(peer.id)
      ? { next: 'maintenance', reason: 'a person put it in maintenance' }
      : { next: 'alive', reason: 'heard by network' };
  }
  const oneWay = now - peer.heardAt < settings.unreachableMs;
  const why = oneWay
    ? 'it does not hear us'
    : `no network heartbeat for ${String(settings.unreachableMs)} ms`;
  const wasUp = peer.state === 'alive' || peer.state === 'maintenance';
  const renews =
    !wasUp && peer.counterSeenAt > peer.silentSince && now - peer.counterSeenAt < settings.deadMs;
  if (!renews && !beatsElsewhere(context, peer)) {
    return { next: 'unreachable', reason: why };
  }
  const beats = renews
    ? 'its datastore heartbeat goes on'
    : 'it does not reach the store, but its heartbeat goes on in another datastore';
  return peer.view?.isolated === true
    ? { next: 'isolated', reason: `it says that it hears nobody; ${beats}` }
    : { next: 'partitioned', reason: `${why}; ${beats}` };
}

function changeState(context: Context, peer: Peer, next: HostState, reason: string): void {
  const { state, now } = context;
  const before = peer.state;
  const wasUp = before === 'alive' || before === 'maintenance';
  const isUp = next === 'alive' || next === 'maintenance';
  if (wasUp && !isUp) {
    peer.silentSince = Infinity;
    ping(context, peer.id);
  }
  peer.state = next;
  peer.reason = reason;
  if (state.master === undefined) return;
  log(context, {
    event: `host-${next}`,
    node: peer.id,
    reason,
    ...(Number.isFinite(peer.heardAt) ? { tookMs: Math.round(now - peer.heardAt) } : {}),
    details: { before },
  });
}

/** A network heartbeat is missing. */
function isLate({ now, settings }: Context, peer: Peer): boolean {
  return now - peer.heardBothAt > settings.networkHeartbeatMs * 1.5;
}

/**
 * A late peer's datastore heartbeat, as often as it beats; more often once that is late too. Begins before the peer counts as
 * unreachable, as its last renewal may be one that it had no time to tell of: its silence counts from when we see that.
 */
function askStore(context: Context, peer: Peer): void {
  const { now, settings } = context;
  if (peer.readInFlight || peer.record === 'left') return;
  const late = now - peer.counterSeenAt > settings.storeHeartbeatMs * 1.5;
  const idle =
    peer.state === 'dead' ||
    peer.state === 'left' ||
    (peer.state === 'unreachable' && now - peer.counterSeenAt > 5 * settings.deadMs);
  const pause = idle
    ? settings.storeHeartbeatMs * 2
    : late
      ? settings.storeHeartbeatMs / 4
      : settings.storeHeartbeatMs / 2;
  if (now - peer.readAt < pause) return;
  peer.readInFlight = true;
  peer.readAt = now;
  context.out.push({ type: 'get-record', node: peer.id, purpose: { kind: 'peer', node: peer.id } });
}

/**
 * Looks into the heartbeat datastores for a peer that is late by network or in the store. So early, as one beat must be seen to follow
 * another before it would be declared dead.
 */
function askBeats(context: Context, peer: Peer): void {
  const { now, settings } = context;
  const { storeHeartbeatMs, deadMs } = settings;
  const renewed = now - peer.counterSeenAt <= storeHeartbeatMs * 1.5;
  if ((!isLate(context, peer) && renewed) || peer.record !== 'active') {
    forgetBeats(peer);
    return;
  }
  const silent = now - Math.max(peer.heardBothAt, peer.counterSeenAt, peer.beatSeenAt);
  const pause = silent > 5 * deadMs ? storeHeartbeatMs * 2 : storeHeartbeatMs / 4;
  if (now - peer.beatsAskedAt < pause) return;
  peer.beatsAskedAt = now;
  context.out.push({ type: 'get-beats', node: peer.id });
}

/** We say ourselves that we are isolated: there are others, and none of them hears us and is heard by us. */
function noteIsolation(context: Context): void {
  const { state, now, settings } = context;
  let others = 0;
  let heard = 0;
  for (const peer of state.peers.values()) {
    if (peer.record === 'left' || peer.record === 'fenced') continue;
    others++;
    if (reachable(context, peer)) heard++;
  }
  if (others === 0 || heard > 0 || state.phase === 'joining') state.aloneSince = now;
  const isolated = now - state.aloneSince >= settings.unreachableMs;
  if (isolated === state.view.isolated) return;
  changeView(context, { isolated });
  log(context, {
    event: isolated ? 'self-isolated' : 'self-connected',
    node: state.id,
    reason: isolated ? 'no other node is heard; guests go on' : 'another node is heard again',
  });
}

/** True when a peer's silence in the store has lasted long enough to ask for its fence. */
export function fenceDue(context: Context, peer: Peer): string | undefined {
  // While failover is disarmed no session is ended: its guests go on if it lives.
  if (context.state.list.disarmed !== undefined) return undefined;
  const { state, now, settings } = context;
  if (peer.record !== 'active' || peer.fencing || peer.incarnation === 0 || !holdsLease(context))
    return undefined;
  // Our own time without a store says nothing about the peer.
  const still = now - Math.max(peer.counterSeenAt, state.storeOkSince);
  const heard = reachable(context, peer);
  if (!heard && !beatsElsewhere(context, peer))
    return still >= settings.deadMs
      ? `no network heartbeat, ping unanswered, no datastore heartbeat for ${String(Math.round(still))} ms`
      : undefined;
  const how = heard ? 'reachable' : 'its heartbeat goes on in another datastore';
  return still >= settings.storeLossMs
    ? `${how}, but without the store for ${String(Math.round(still))} ms`
    : undefined;
}

/** Looks once more before fencing: only what the store says now may be swapped. */
export function confirmDead(context: Context, peer: Peer, why: string): void {
  peer.fencing = true;
  context.out.push({
    type: 'get-record',
    node: peer.id,
    purpose: { kind: 'confirm-dead', node: peer.id, why },
  });
}

export function deathConfirmed(
  context: Context,
  purpose: { node: string; why: string },
  outcome: ReadOutcome<NodeRecord>,
): void {
  const { state } = context;
  const peer = peerOf(context, purpose.node);
  peer.fencing = false;
  if (outcome.result !== 'found' || state.master === undefined) return;
  const { incarnation, counter } = peer;
  learnRecord(context, peer, outcome.value);
  const same = outcome.value.incarnation === incarnation && outcome.value.counter === counter;
  if (!same || outcome.value.state !== 'active' || fenceDue(context, peer) === undefined) return;
  peer.fencing = true;
  context.out.push({
    type: 'put-record',
    record: { ...outcome.value, state: 'fenced', fencedBy: state.id },
    expected: outcome.version,
    purpose: { kind: 'fence', node: peer.id, incarnation, why: purpose.why },
  });
}

export function fenceWritten(
  context: Context,
  purpose: { node: string; incarnation: number; why: string },
  outcome: WriteOutcome,
): void {
  const peer = peerOf(context, purpose.node);
  peer.fencing = false;
  if (outcome.result !== 'done' || peer.incarnation !== purpose.incarnation) return;
  peer.record = 'fenced';
  emptyView(peer);
  changeState(context, peer, 'dead', purpose.why);
}

/** A socket of a peer closed: a hint, which is looked into. */
export function closed(context: Context, id: string): void {
  const peer = context.state.peers.get(id);
  if (peer !== undefined) peer.closedAt = context.now;
  ping(context, id);
}

function ping(context: Context, to: string): void {
  context.out.push({ type: 'send', to, message: heartbeat(context, true) });
}

/** Our heartbeat as it is now. */
export function heartbeat(context: Context, wantAnswer: boolean): Message {
  const { state, now, settings } = context;
  const hears: string[] = [];
  for (const peer of state.peers.values()) {
    if (now - peer.heardAt < settings.unreachableMs) hears.push(peer.id);
  }
  return {
    type: 'heartbeat',
    incarnation: state.incarnation,
    counter: state.record?.counter ?? 0,
    view: state.view,
    hears,
    term: state.list.term,
    revision: state.list.revision,
    master: state.master === undefined ? (state.list.master?.node ?? null) : state.id,
    ping: wantAnswer,
  };
}

/** A heartbeat to every peer. */
export function beat(context: Context): void {
  const { state, now } = context;
  state.beatAt = now;
  const message = heartbeat(context, false);
  for (const peer of state.peers.values()) context.out.push({ type: 'send', to: peer.id, message });
}

/** Sends heartbeats by network and looks for new nodes, when due. */
export function driveBeats(context: Context): void {
  const { state, now, settings } = context;
  if (state.phase === 'gone') return;
  if (state.phase !== 'joining' && now - state.beatAt >= settings.networkHeartbeatMs) beat(context);
  if (state.phase !== 'joining' && now - state.storeBeatAt >= settings.storeHeartbeatMs) {
    state.storeBeatAt = now;
    const { id, incarnation, view } = state;
    context.out.push({ type: 'put-beat', beat: { id, incarnation, beats: ++state.storeBeats, view } });
  }
  if (!state.discovering && now - state.discoveredAt >= settings.discoveryMs) {
    state.discovering = true;
    state.discoveredAt = now;
    context.out.push({ type: 'list-records', purpose: { kind: 'discover' } });
  }
}

export function discovered(context: Context, nodes: string[] | undefined): void {
  const { state } = context;
  state.discovering = false;
  for (const id of nodes ?? []) if (id !== state.id) peerOf(context, id);
}
