/** Arrival of a segment: RFC 9293, 3.10.7, with the checks of RFC 5961 against forged segments. The steps bear the RFC's numbers. */
import { TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import { drop } from './byte-queue.ts';
import { onDuplicate, onNewAcknowledgment } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { keepEarly, takeInOrder } from './reassembly.ts';
import { onAcknowledged } from './retransmission.ts';
import { challenge, resendFirst } from './send.ts';
import { advance, distance, later } from './sequence.ts';
import { agree, receives, type TcpState } from './state.ts';

/** RFC 9293, 3.8.6.3, allows half a second; this much lets most answers carry the acknowledgment, and costs a peer that waits for it little. */
const delayMs = 5;
/** What the count of probes falls back to at a sign of life: the interval between them stays long. */
const answeredProbes = 6;

/** The owner calls `transmit` afterwards. */
export function receiveSegment(tcp: TcpState, segment: TcpSegment, context: TcpContext): void {
  if (tcp.phase === 'closed') return;
  if (tcp.phase === 'synSent') {
    receiveInSynSent(tcp, segment, context);
    return;
  }
  tcp.keepAliveAtMs = context.nowMs + context.settings.keepAliveIdleMs;
  tcp.keepAliveCount = 0;
  // A peer that answers may keep its window closed for as long as it likes (RFC 9293, 3.8.6.1).
  tcp.persistCount = Math.min(tcp.persistCount, answeredProbes);
  const { flags } = segment;
  if (!isAcceptable(tcp, segment, context)) return;
  // Second, RST: RFC 5961, 3.2.
  if (flags & TcpFlag.rst) {
    if (segment.sequence === tcp.rcvNxt) end(tcp, context, 'reset');
    else challenge(tcp, context);
    return;
  }
  // Fourth, SYN: RFC 5961, 4.2.
  if (flags & TcpFlag.syn) {
    challenge(tcp, context);
    return;
  }
  // Fifth, ACK.
  if (!(flags & TcpFlag.ack) || !receiveAcknowledgment(tcp, segment, context)) return;
  // Seventh, the text, and eighth, FIN. (Sixth, urgent data, is read as other data.)
  if (receives(tcp.phase)) receiveText(tcp, segment, context);
  else if (tcp.phase === 'timeWait' && flags & TcpFlag.fin) {
    tcp.closeAtMs = context.nowMs + context.settings.timeWaitMs;
    tcp.acknowledge = true;
  }
}

/** First step: whether a part of the segment is in the window. What isn't, is answered with where we are. */
function isAcceptable(tcp: TcpState, segment: TcpSegment, context: TcpContext): boolean {
  const { flags, payload } = segment;
  const length = payload.length + (flags & TcpFlag.syn ? 1 : 0) + (flags & TcpFlag.fin ? 1 : 0);
  const window = Math.max(distance(tcp.rcvEdge, tcp.rcvNxt), 0);
  const from = distance(segment.sequence, tcp.rcvNxt);
  // At a closed window a segment at rcvNxt may still acknowledge (3.10.7.4); its text is cut away below.
  if (from <= window && (from + length > 0 || (length === 0 && from === 0))) return true;
  if (flags & TcpFlag.rst) return false;
  if (tcp.phase === 'synReceived' && flags & TcpFlag.syn) {
    // The peer repeats its SYN: our answer was lost.
    tcp.sndNxt = tcp.iss;
  } else if (tcp.phase === 'timeWait' && flags & TcpFlag.fin) {
    tcp.closeAtMs = context.nowMs + context.settings.timeWaitMs;
    tcp.acknowledge = true;
  } else if (payload.length > 0) tcp.acknowledge = true;
  else challenge(tcp, context);
  return false;
}

/** 3.10.7.3. */
function receiveInSynSent(tcp: TcpState, segment: TcpSegment, context: TcpContext): void {
  const { flags, acknowledgment } = segment;
  const acknowledges = (flags & TcpFlag.ack) !== 0;
  if (acknowledges && (distance(acknowledgment, tcp.iss) <= 0 || distance(acknowledgment, tcp.sndMax) > 0)) {
    if (!(flags & TcpFlag.rst))
      context.owner.send({ sequence: acknowledgment, acknowledgment: 0, flags: TcpFlag.rst, window: 0 });
    return;
  }
  if (flags & TcpFlag.rst) {
    if (acknowledges) end(tcp, context, 'reset');
    return;
  }
  if (!(flags & TcpFlag.syn)) return;
  tcp.irs = segment.sequence;
  tcp.rcvNxt = advance(segment.sequence, 1);
  tcp.acknowledged = tcp.rcvNxt;
  tcp.rcvEdge = advance(tcp.rcvNxt, Math.min(context.settings.receiveBytes, 0xffff));
  agree(tcp, segment, context.settings);
  if (!acknowledges) {
    // Simultaneous open: answer with SYN and ACK.
    tcp.phase = 'synReceived';
    tcp.sndNxt = tcp.iss;
    return;
  }
  synAcknowledged(tcp, segment, context);
  tcp.acknowledge = true;
}

/** Our SYN is acknowledged: the connection stands. The window of a segment with SYN is never scaled. */
function synAcknowledged(tcp: TcpState, segment: TcpSegment, context: TcpContext): void {
  onAcknowledged(tcp.retransmission, segment.acknowledgment, context.nowMs);
  tcp.retransmission.atMs = null;
  tcp.sndUna = advance(tcp.iss, 1);
  tcp.sndNxt = later(tcp.sndNxt, tcp.sndUna);
  tcp.sndMax = later(tcp.sndMax, tcp.sndNxt);
  takeSendWindow(tcp, segment);
  tcp.phase = tcp.finishing ? 'finWait1' : 'established';
  context.owner.news('established');
}

function takeSendWindow(tcp: TcpState, segment: TcpSegment): void {
  tcp.sndWnd = segment.flags & TcpFlag.syn ? segment.window : segment.window << tcp.sndShift;
  tcp.sndWndMax = Math.max(tcp.sndWndMax, tcp.sndWnd);
  tcp.sndWl1 = segment.sequence;
  tcp.sndWl2 = segment.acknowledgment;
}

/** Fifth step. Returns whether the rest of the segment is looked at. */
function receiveAcknowledgment(tcp: TcpState, segment: TcpSegment, context: TcpContext): boolean {
  const { acknowledgment } = segment;
  if (tcp.phase === 'synReceived') {
    if (distance(acknowledgment, tcp.sndUna) <= 0 || distance(acknowledgment, tcp.sndMax) > 0) {
      context.owner.send({ sequence: acknowledgment, acknowledgment: 0, flags: TcpFlag.rst, window: 0 });
      return false;
    }
    synAcknowledged(tcp, segment, context);
  }
  const gain = distance(acknowledgment, tcp.sndUna);
  // RFC 5961, 5.2: neither beyond what was sent, nor further back than the largest window.
  if (distance(acknowledgment, tcp.sndMax) > 0 || gain < -tcp.sndWndMax) {
    challenge(tcp, context);
    return false;
  }
  if (gain > 0) newAcknowledgment(tcp, acknowledgment, context);
  else if (gain === 0 && isDuplicate(tcp, segment) && onDuplicate(tcp.congestion, tcp))
    resendFirst(tcp, context);
  if (gain >= 0) updateSendWindow(tcp, segment);
  return tcp.phase !== 'closed';
}

/** RFC 5681, 2: the definition of a duplicate acknowledgment. */
function isDuplicate(tcp: TcpState, { flags, payload, window }: TcpSegment): boolean {
  return (
    tcp.sndMax !== tcp.sndUna &&
    payload.length === 0 &&
    !(flags & (TcpFlag.syn | TcpFlag.fin)) &&
    window << tcp.sndShift === tcp.sndWnd
  );
}

function updateSendWindow(tcp: TcpState, segment: TcpSegment): void {
  const newer = distance(segment.sequence, tcp.sndWl1);
  if (newer > 0 || (newer === 0 && distance(segment.acknowledgment, tcp.sndWl2) >= 0))
    takeSendWindow(tcp, segment);
}

function newAcknowledgment(tcp: TcpState, acknowledgment: number, context: TcpContext): void {
  const bytes = distance(acknowledgment, tcp.sndUna);
  const repairing = tcp.congestion.recoverUntil !== null;
  const resend = onNewAcknowledgment(tcp.congestion, tcp, acknowledgment);
  const finAcknowledged = bytes > tcp.queue.length;
  drop(tcp.queue, bytes, context.owner.done);
  tcp.sndUna = acknowledgment;
  tcp.sndNxt = later(tcp.sndNxt, acknowledgment);
  onAcknowledged(tcp.retransmission, acknowledgment, context.nowMs);
  tcp.persistCount = 0;
  // RFC 6298, 5.2 and 5.3; while a loss is repaired only the first partial acknowledgment starts it anew (RFC 6582, 3.2).
  if (tcp.sndUna === tcp.sndMax) tcp.retransmission.atMs = null;
  else if (!repairing || !resend) tcp.retransmission.atMs = context.nowMs + tcp.retransmission.timeoutMs;
  if (resend) resendFirst(tcp, context);
  context.owner.news('acknowledged');
  if (finAcknowledged) finWasAcknowledged(tcp, context);
}

function finWasAcknowledged(tcp: TcpState, context: TcpContext): void {
  if (tcp.phase === 'finWait1') tcp.phase = 'finWait2';
  else if (tcp.phase === 'closing') enterTimeWait(tcp, context);
  else if (tcp.phase === 'lastAck') end(tcp, context, 'closed');
}

function enterTimeWait(tcp: TcpState, context: TcpContext): void {
  tcp.phase = 'timeWait';
  tcp.retransmission.atMs = null;
  tcp.closeAtMs = context.nowMs + context.settings.timeWaitMs;
}

/** Seventh and eighth step. */
function receiveText(tcp: TcpState, segment: TcpSegment, context: TcpContext): void {
  const from = distance(segment.sequence, tcp.rcvNxt);
  const window = Math.max(distance(tcp.rcvEdge, tcp.rcvNxt), 0);
  const fullLength = segment.payload.length;
  const text = segment.payload.subarray(Math.max(-from, 0), Math.max(window - from, 0));
  const finAt = advance(segment.sequence, fullLength);
  if (segment.flags & TcpFlag.fin && distance(finAt, tcp.rcvNxt) >= 0 && distance(finAt, tcp.rcvEdge) <= 0)
    tcp.earlyFin ??= finAt;
  if (fullLength === 0 && tcp.earlyFin === null) return;
  if (text.length > 0 && from > 0) keepEarly(tcp, segment.sequence, text);
  else if (text.length > 0) takeText(tcp, text, context);
  if (text.length < fullLength || from > 0 || tcp.early.length > 0) tcp.acknowledge = true;
  if (tcp.earlyFin !== null && tcp.earlyFin === tcp.rcvNxt) receiveFin(tcp, context);
}

function takeText(tcp: TcpState, text: Uint8Array, context: TcpContext): void {
  const deliver = (data: Uint8Array): void => {
    tcp.unread += data.length;
    context.owner.deliver(data);
  };
  const filled = tcp.early.length > 0;
  tcp.rcvNxt = advance(tcp.rcvNxt, text.length);
  deliver(text);
  takeInOrder(tcp, deliver);
  // RFC 5681, 4.2: at least every second full segment, and at once when a gap closes.
  if (filled || distance(tcp.rcvNxt, tcp.acknowledged) >= 2 * tcp.maximumSegment) tcp.acknowledge = true;
  else tcp.acknowledgeAtMs ??= context.nowMs + delayMs;
}

function receiveFin(tcp: TcpState, context: TcpContext): void {
  tcp.rcvNxt = advance(tcp.rcvNxt, 1);
  tcp.rcvEdge = later(tcp.rcvEdge, tcp.rcvNxt);
  tcp.earlyFin = null;
  tcp.early.length = 0;
  tcp.acknowledge = true;
  if (tcp.phase === 'established') tcp.phase = 'closeWait';
  else if (tcp.phase === 'finWait1') tcp.phase = 'closing';
  else enterTimeWait(tcp, context);
  context.owner.news('peerFinished');
}

function end(tcp: TcpState, context: TcpContext, what: 'reset' | 'closed'): void {
  tcp.phase = 'closed';
  context.owner.news(what);
}
