/** Sending: RFC 9293, 3.8; silly windows 3.8.6.2; probes of a closed window 3.8.6.1. */
import { insist } from '../insist.ts';
import { synOptions, TcpFlag } from '../wire/tcp.ts';
import { limitedTransmit } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { startTiming } from './retransmission.ts';
import { advance, distance, later } from './sequence.ts';
import { isSynchronized, type TcpSettings, type TcpState } from './state.ts';

/** How much the window must move before a segment is sent only to say so: a part of the buffer. */
const updatePart = 4;

/** Sends what may go now: SYN, data, FIN, else the acknowledgment that is due. To be called after anything that changes the connection. */
export function transmit(tcp: TcpState, context: TcpContext): void {
  if (tcp.phase === 'closed') return;
  if (!isSynchronized(tcp.phase)) {
    if (tcp.sndNxt === tcp.iss) sendSyn(tcp, context);
    return;
  }
  while (sendNext(tcp, context));
  if (windowUpdateIsDue(tcp, context.settings)) tcp.acknowledge = true;
  if (tcp.acknowledgeAtMs !== null && tcp.acknowledgeAtMs <= context.nowMs) tcp.acknowledge = true;
  if (tcp.acknowledge) sendAcknowledgment(tcp, context);
  insist(
    distance(tcp.sndNxt, tcp.sndUna) >= 0 && distance(tcp.sndMax, tcp.sndNxt) >= 0,
    'the sequence numbers of a connection are out of order',
  );
  const waits = tcp.sndNxt === tcp.sndUna && unsent(tcp) > 0 && tcp.retransmission.atMs === null;
  if (!waits) {
    tcp.persistAtMs = null;
    if (tcp.sndWnd > 0) tcp.persistCount = 0;
  } else tcp.persistAtMs ??= context.nowMs + persistDelayMs(tcp);
}

/** A FIN is to be sent, or not acknowledged yet. */
function owesFin({ phase }: TcpState): boolean {
  return phase === 'finWait1' || phase === 'closing' || phase === 'lastAck';
}

/** Data and FIN that were not sent, or are to be sent again: the FIN counts as one. */
function unsent(tcp: TcpState): number {
  return tcp.queue.length + (owesFin(tcp) ? 1 : 0) - distance(tcp.sndNxt, tcp.sndUna);
}

function persistDelayMs(tcp: TcpState): number {
  return Math.min(Math.max(tcp.retransmission.timeoutMs, 500) * 2 ** Math.min(tcp.persistCount, 8), 60_000);
}

function sendSyn(tcp: TcpState, context: TcpContext): void {
  const { settings, nowMs, owner } = context;
  const answers = tcp.phase === 'synReceived';
  // RFC 7323, 2.2: the answer offers scaling only when the SYN did.
  const windowShift = answers && !tcp.scaling ? undefined : tcp.rcvShift;
  const window = Math.min(settings.receiveBytes, 0xffff);
  owner.send({
    sequence: tcp.iss,
    acknowledgment: answers ? tcp.rcvNxt : 0,
    flags: answers ? TcpFlag.syn | TcpFlag.ack : TcpFlag.syn,
    window,
    options: synOptions({ maximumSegment: settings.maximumSegment, windowShift }),
  });
  tcp.rcvEdge = later(tcp.rcvEdge, advance(tcp.rcvNxt, window));
  tcp.sndNxt = advance(tcp.iss, 1);
  afterSending(tcp, nowMs);
}

function afterSending(tcp: TcpState, nowMs: number): void {
  if (distance(tcp.sndNxt, tcp.sndMax) > 0) {
    // Karn: only what goes for the first time is timed.
    startTiming(tcp.retransmission, tcp.sndNxt, nowMs);
    tcp.sndMax = tcp.sndNxt;
  }
  tcp.retransmission.atMs ??= nowMs + tcp.retransmission.timeoutMs;
}

/** Sends one segment from sndNxt on, if there is one that may go. */
function sendNext(tcp: TcpState, context: TcpContext): boolean {
  const used = distance(tcp.sndNxt, tcp.sndUna);
  const available = tcp.queue.length - used;
  const congestionRoom =
    tcp.congestion.windowBytes + limitedTransmit(tcp.congestion, tcp.maximumSegment) - used;
  const room = Math.min(tcp.sndWnd - used, congestionRoom);
  if (available < 0 || room <= 0) return false;
  if (available === 0 && !owesFin(tcp)) return false;
  const length = segmentLength(tcp, context.settings, { available, room });
  if (length === 0 && available > 0) return false;
  const ends = length === available;
  const finishes = ends && owesFin(tcp) && room > length;
  if (length === 0 && !finishes) return false;
  sendRange(tcp, context, { offset: used, length, finishes });
  tcp.sndNxt = advance(tcp.sndNxt, length + (finishes ? 1 : 0));
  afterSending(tcp, context.nowMs);
  return true;
}

/** 3.8.6.2.1: whole segments, the rest of the queue, or half of the peer's largest window; otherwise wait. */
function segmentLength(
  tcp: TcpState,
  settings: TcpSettings,
  { available, room }: { available: number; room: number },
): number {
  const { maximumSegment } = tcp;
  const burst = Math.max(settings.burstBytes - (settings.burstBytes % maximumSegment), maximumSegment);
  const length = Math.min(available, room, burst);
  if (length === available) return length;
  if (length >= maximumSegment) return length - (length % maximumSegment);
  return length >= tcp.sndWndMax / 2 ? length : 0;
}

export function sendRange(
  tcp: TcpState,
  { settings, owner }: TcpContext,
  { offset, length, finishes }: { offset: number; length: number; finishes: boolean },
): void {
  const pushes = length > 0 && offset + length === tcp.queue.length;
  owner.send({
    sequence: advance(tcp.sndUna, offset),
    acknowledgment: tcp.rcvNxt,
    flags: TcpFlag.ack | (pushes ? TcpFlag.psh : 0) | (finishes ? TcpFlag.fin : 0),
    window: takeWindow(tcp, settings),
    payload: { offset, length },
  });
  acknowledgmentSent(tcp);
}

/** Sends the first unacknowledged segment again, whatever the windows say: fast retransmission. */
export function resendFirst(tcp: TcpState, context: TcpContext): void {
  const length = Math.min(tcp.queue.length, tcp.maximumSegment, distance(tcp.sndMax, tcp.sndUna));
  const finishes = owesFin(tcp) && length === tcp.queue.length && distance(tcp.sndMax, tcp.sndUna) > length;
  if (length === 0 && !finishes) return;
  tcp.retransmission.timed = null;
  sendRange(tcp, context, { offset: 0, length, finishes });
}

/** 3.8.6.1: one byte (or the FIN) beyond a closed window, to learn of its opening; into one that stays small, what fits. */
export function sendProbe(tcp: TcpState, context: TcpContext): void {
  const length = Math.min(tcp.queue.length, Math.max(tcp.sndWnd, 1), tcp.maximumSegment);
  const finishes = length === 0 && owesFin(tcp);
  tcp.persistCount++;
  tcp.persistAtMs = null;
  if (length === 0 && !finishes) return;
  sendRange(tcp, context, { offset: 0, length, finishes });
  tcp.sndMax = later(tcp.sndMax, advance(tcp.sndUna, length + (finishes ? 1 : 0)));
}

function sendAcknowledgment(tcp: TcpState, { settings, owner }: TcpContext): void {
  // What lies beyond the peer's window it would not accept, nor the acknowledgment in it.
  const edge = advance(tcp.sndUna, tcp.sndWnd);
  owner.send({
    sequence: distance(tcp.sndMax, edge) > 0 ? edge : tcp.sndMax,
    acknowledgment: tcp.rcvNxt,
    flags: TcpFlag.ack,
    window: takeWindow(tcp, settings),
  });
  acknowledgmentSent(tcp);
}

function acknowledgmentSent(tcp: TcpState): void {
  tcp.acknowledge = false;
  tcp.acknowledgeAtMs = null;
  tcp.acknowledged = tcp.rcvNxt;
}

/** RFC 5961: an acknowledgment that lets an honest peer correct itself; so many a second, as forged segments must not make a flood. */
const challengesPerSecond = 10;
export function challenge(tcp: TcpState, context: TcpContext): void {
  if (context.nowMs >= tcp.challengeFromMs + 1000) {
    tcp.challengeFromMs = context.nowMs;
    tcp.challengesLeft = challengesPerSecond;
  }
  if (tcp.challengesLeft === 0) return;
  tcp.challengesLeft--;
  tcp.acknowledge = true;
}

/** 3.8.4: asks with a sequence number that the peer has acknowledged already. */
export function sendKeepAlive(tcp: TcpState, { settings, owner }: TcpContext): void {
  owner.send({
    sequence: advance(tcp.sndUna, -1),
    acknowledgment: tcp.rcvNxt,
    flags: TcpFlag.ack,
    window: takeWindow(tcp, settings),
  });
}

/** The edge that the free part of the buffer allows, as far as a header can tell of it. */
function edgeAllowed(tcp: TcpState, settings: TcpSettings): number {
  const free = Math.max(settings.receiveBytes - tcp.unread, 0);
  return advance(tcp.rcvNxt, Math.min(free, 0xffff << tcp.rcvShift));
}

/** 3.8.6.2.2: moves the window's edge, by a segment at least, and gives the field of the header. */
function takeWindow(tcp: TcpState, settings: TcpSettings): number {
  const allowed = edgeAllowed(tcp, settings);
  const step = Math.min(settings.maximumSegment, settings.receiveBytes / 2);
  const edge = distance(allowed, tcp.rcvEdge) >= step ? allowed : tcp.rcvEdge;
  const field = Math.min(Math.max(distance(edge, tcp.rcvNxt), 0) >> tcp.rcvShift, 0xffff);
  tcp.rcvEdge = later(tcp.rcvEdge, advance(tcp.rcvNxt, field << tcp.rcvShift));
  return field;
}

function windowUpdateIsDue(tcp: TcpState, settings: TcpSettings): boolean {
  if (tcp.phase !== 'established' && tcp.phase !== 'finWait1' && tcp.phase !== 'finWait2') return false;
  const gain = distance(edgeAllowed(tcp, settings), tcp.rcvEdge);
  if (gain >= settings.receiveBytes / updatePart) return true;
  return distance(tcp.rcvEdge, tcp.rcvNxt) < 2 * settings.maximumSegment && gain >= settings.maximumSegment;
}
