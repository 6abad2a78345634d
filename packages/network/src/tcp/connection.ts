/** What the owner of a TCP end does with it: open, write, finish, break, let its timers run. */
import { TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import { push } from './byte-queue.ts';
import { onTimeout, startCongestion } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { backOff, restartTimer } from './retransmission.ts';
import { sendKeepAlive, sendProbe } from './send.ts';
import { advance } from './sequence.ts';
import { agree, isSynchronized, newTcp, type TcpSettings, type TcpState } from './state.ts';

/** RFC 9293, 3.8.3: R2, in repetitions. */
const synRepeats = 6;
const dataRepeats = 10;
/**
 * Of a connection that is opened from here. Whoever asks for one may give up sooner (RFC 1122, 4.2.3.5): here after half a minute. The SYN is
 * repeated at least so often, as the other end is near, and one that comes up meanwhile should not be waited for as long again.
 */
const openRepeats = 15;
const openAgainMs = 2000;
/** A peer that doesn't answer that many probes of its closed window is gone. */
const probeRepeats = 12;

export function openActive(iss: number, settings: TcpSettings, nowMs: number): TcpState {
  return newTcp('synSent', { iss, irs: 0 }, settings, nowMs);
}

/** Answers a SYN. */
export function openPassive(
  syn: Pick<TcpSegment, 'sequence' | 'maximumSegment' | 'windowShift' | 'window'>,
  iss: number,
  settings: TcpSettings,
  nowMs: number,
): TcpState {
  const tcp = newTcp('synReceived', { iss, irs: syn.sequence }, settings, nowMs);
  agree(tcp, syn, settings);
  tcp.sndWnd = syn.window;
  tcp.sndWndMax = syn.window;
  return tcp;
}

/** Bytes that `write` may still be given. */
export function sendRoom(tcp: TcpState, settings: TcpSettings): number {
  return Math.max(settings.sendBytes - tcp.queue.length, 0);
}

/** Takes bytes to send; false when they don't fit, or come after the end. The array is kept. */
export function write(tcp: TcpState, data: Uint8Array, settings: TcpSettings): boolean {
  if (tcp.finishing || tcp.phase === 'closed' || data.length > sendRoom(tcp, settings)) return false;
  push(tcp.queue, data);
  return true;
}

/** No more to send: 3.10.4, CLOSE. What was written goes first. */
export function finish(tcp: TcpState): void {
  if (tcp.finishing) return;
  tcp.finishing = true;
  if (tcp.phase === 'established') tcp.phase = 'finWait1';
  else if (tcp.phase === 'closeWait') tcp.phase = 'lastAck';
}

/**
 * The peer was away, and what was under way to it may be lost: all of it is sent again, from a slow start on, as if this were a new connection.
 * That it was lost says nothing about the path. The owner calls `transmit` afterwards.
 */
export function sendAgain(tcp: TcpState): void {
  tcp.sndNxt = tcp.sndUna;
  restartTimer(tcp.retransmission);
  // RFC 6582, 3.2: what the peer has after all is answered by duplicates, which are no sign of a loss.
  tcp.congestion = { ...startCongestion(tcp.maximumSegment), ignoreUntil: tcp.sndMax };
}

/** The owner passed on bytes that were delivered: the window may open. */
export function consumed(tcp: TcpState, bytes: number): void {
  tcp.unread = Math.max(tcp.unread - bytes, 0);
}

/** 3.10.5, ABORT: a RST, and the end. */
export function abort(tcp: TcpState, { owner }: Pick<TcpContext, 'owner'>): void {
  if (isSynchronized(tcp.phase) || tcp.phase === 'synReceived')
    owner.send({
      sequence: tcp.sndMax,
      acknowledgment: tcp.rcvNxt,
      flags: TcpFlag.rst | TcpFlag.ack,
      window: 0,
    });
  tcp.phase = 'closed';
}

/** When the next timer runs out. */
export function nextTimerMs(tcp: TcpState): number {
  if (tcp.phase === 'closed') return Infinity;
  return Math.min(
    tcp.retransmission.atMs ?? Infinity,
    tcp.persistAtMs ?? Infinity,
    tcp.acknowledgeAtMs ?? Infinity,
    tcp.closeAtMs ?? Infinity,
    tcp.phase === 'timeWait' ? Infinity : tcp.keepAliveAtMs,
  );
}

/** Lets timers run out that are due. The owner calls `transmit` afterwards. */
export function runTimers(tcp: TcpState, context: TcpContext): void {
  const { nowMs, owner } = context;
  if (tcp.phase === 'closed') return;
  if (tcp.closeAtMs !== null && tcp.closeAtMs <= nowMs) {
    tcp.phase = 'closed';
    owner.news('closed');
    return;
  }
  if (tcp.retransmission.atMs !== null && tcp.retransmission.atMs <= nowMs) retransmit(tcp, context);
  else if (tcp.persistAtMs !== null && tcp.persistAtMs <= nowMs) {
    if (tcp.persistCount >= probeRepeats) giveUp(tcp, context);
    else sendProbe(tcp, context);
  } else if (tcp.phase !== 'timeWait' && tcp.keepAliveAtMs <= nowMs) keepAlive(tcp, context);
}

/** RFC 6298, 5.4 to 5.6: everything from the first unacknowledged byte on is sent again, as the window grows. */
function retransmit(tcp: TcpState, context: TcpContext): void {
  const { retransmission, phase } = tcp;
  const opens = phase === 'synSent';
  if (retransmission.count >= (isSynchronized(phase) ? dataRepeats : opens ? openRepeats : synRepeats)) {
    giveUp(tcp, context);
    return;
  }
  onTimeout(tcp.congestion, tcp, retransmission.count === 0);
  backOff(retransmission);
  if (opens) retransmission.timeoutMs = Math.min(retransmission.timeoutMs, openAgainMs);
  retransmission.atMs = null;
  tcp.sndNxt = tcp.sndUna;
}

function keepAlive(tcp: TcpState, context: TcpContext): void {
  const { settings, nowMs } = context;
  if (tcp.keepAliveCount >= settings.keepAliveCount) {
    giveUp(tcp, context);
    return;
  }
  tcp.keepAliveAtMs = nowMs + settings.keepAliveIntervalMs;
  // What is under way is answered, or given up, without being asked.
  if (tcp.sndMax !== tcp.sndUna || !isSynchronized(tcp.phase)) return;
  tcp.keepAliveCount++;
  sendKeepAlive(tcp, context);
}

function giveUp(tcp: TcpState, context: TcpContext): void {
  abort(tcp, context);
  context.owner.news('timedOut');
}

/** RFC 9293, 3.10.7.1: the answer to a segment that belongs to no connection; undefined for one with RST. */
export function resetFor(
  segment: TcpSegment,
): { sequence: number; acknowledgment: number; flags: number } | undefined {
  const { flags, payload } = segment;
  if (flags & TcpFlag.rst) return undefined;
  if (flags & TcpFlag.ack) return { sequence: segment.acknowledgment, acknowledgment: 0, flags: TcpFlag.rst };
  const length = payload.length + (flags & TcpFlag.syn ? 1 : 0) + (flags & TcpFlag.fin ? 1 : 0);
  return { sequence: 0, acknowledgment: advance(segment.sequence, length), flags: TcpFlag.rst | TcpFlag.ack };
}
