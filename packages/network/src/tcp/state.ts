/**
 * One end of a TCP connection, as plain data. RFC 9293 gives the names (3.3.1); what other documents add stands beside its fields. The
 * functions beside this file change it in place; none of them knows a clock, a socket or an address.
 *
 * What always holds: sndUna ≤ sndNxt ≤ sndMax; `queue` begins at sndUna (behind a SYN that isn't acknowledged yet); the right edge of the
 * receive window never moves left; at most one of retransmission and persist timer runs.
 */
import { emptyQueue, type ByteQueue } from './byte-queue.ts';
import { startCongestion, type Congestion } from './congestion.ts';
import { startRetransmission, type Retransmission } from './retransmission.ts';

/** 3.3.2; LISTEN belongs to the owner, which has no connection yet. */
export type TcpPhase =
  | 'synSent'
  | 'synReceived'
  | 'established'
  | 'finWait1'
  | 'finWait2'
  | 'closeWait'
  | 'closing'
  | 'lastAck'
  | 'timeWait'
  | 'closed';

export interface TcpState {
  phase: TcpPhase;
  // 3.3.1, send sequence variables
  iss: number;
  sndUna: number;
  sndNxt: number;
  /** The highest sndNxt there was: sndNxt goes back when everything is sent again. */
  sndMax: number;
  sndWnd: number;
  sndWl1: number;
  sndWl2: number;
  /** RFC 5961, 5.2: the largest window that the peer offered. */
  sndWndMax: number;
  /** RFC 7323, 2: the peer's shift, and whether both sides scale. */
  sndShift: number;
  scaling: boolean;
  /** What the peer takes in one segment. */
  maximumSegment: number;
  queue: ByteQueue;
  /** The owner has no more to send: a FIN follows the queue. */
  finishing: boolean;
  // 3.3.1, receive sequence variables
  irs: number;
  rcvNxt: number;
  /** Right edge of the window that was advertised last. */
  rcvEdge: number;
  rcvShift: number;
  /** Given to the owner, which hasn't passed it on yet. */
  unread: number;
  /** What came ahead of its turn, in order, without overlap. */
  early: { sequence: number; data: Uint8Array }[];
  /** Where the peer's FIN stands, when it came ahead of its turn. */
  earlyFin: number | null;
  /** An acknowledgment is due: at once, or at the latest then. */
  acknowledge: boolean;
  acknowledgeAtMs: number | null;
  /** The last rcvNxt that was acknowledged. */
  acknowledged: number;
  congestion: Congestion;
  retransmission: Retransmission;
  persistAtMs: number | null;
  persistCount: number;
  /** 3.8.4: when to ask whether the peer still lives, and how often it was asked in vain. */
  keepAliveAtMs: number;
  keepAliveCount: number;
  /** End of TIME-WAIT, or of FIN-WAIT-2 when nobody reads any more. */
  closeAtMs: number | null;
  /** RFC 5961, 7: challenges that may still be sent in the second from `challengeFromMs` on. */
  challengesLeft: number;
  challengeFromMs: number;
}

export interface TcpSettings {
  /** What may wait here in each direction. */
  sendBytes: number;
  receiveBytes: number;
  /** The largest segment that we take, as said in the SYN. */
  maximumSegment: number;
  /** Payload of a frame that carries several segments in one (a multiple of the segment goes); at least maximumSegment. */
  burstBytes: number;
  keepAliveIdleMs: number;
  keepAliveIntervalMs: number;
  keepAliveCount: number;
  timeWaitMs: number;
}

export const defaultTcpSettings: TcpSettings = {
  sendBytes: 0x10_0000,
  receiveBytes: 0x10_0000,
  maximumSegment: 1460,
  burstBytes: 1460,
  keepAliveIdleMs: 2 * 3600 * 1000,
  keepAliveIntervalMs: 75_000,
  keepAliveCount: 9,
  timeWaitMs: 60_000,
};

/** RFC 9293, 3.7.1: of a peer that doesn't say. */
export const defaultMaximumSegment = 536;
/** Below this a segment carries mostly headers; a peer that asks for less gets this. Linux has the same floor. */
const smallestSegment = 48;

/** The shift with which a window of so many bytes fits into 16 bits. */
export function shiftFor(bytes: number): number {
  let shift = 0;
  while (bytes >> shift > 0xffff && shift < 14) shift++;
  return shift;
}

export function newTcp(
  phase: 'synSent' | 'synReceived',
  numbers: { iss: number; irs: number },
  settings: TcpSettings,
  nowMs: number,
): TcpState {
  const { iss, irs } = numbers;
  const rcvNxt = (irs + 1) >>> 0;
  return {
    phase,
    iss,
    sndUna: iss,
    sndNxt: iss,
    sndMax: iss,
    sndWnd: 0,
    sndWl1: irs,
    sndWl2: iss,
    sndWndMax: 0,
    sndShift: 0,
    scaling: false,
    maximumSegment: defaultMaximumSegment,
    queue: emptyQueue(),
    finishing: false,
    irs,
    rcvNxt,
    rcvEdge: rcvNxt,
    rcvShift: shiftFor(settings.receiveBytes),
    unread: 0,
    early: [],
    earlyFin: null,
    acknowledge: false,
    acknowledgeAtMs: null,
    acknowledged: rcvNxt,
    congestion: startCongestion(defaultMaximumSegment),
    retransmission: startRetransmission(),
    persistAtMs: null,
    persistCount: 0,
    keepAliveAtMs: nowMs + settings.keepAliveIdleMs,
    keepAliveCount: 0,
    closeAtMs: null,
    challengesLeft: 0,
    challengeFromMs: -Infinity,
  };
}

/** What the options of the peer's SYN agree on. */
export function agree(
  tcp: TcpState,
  peer: { maximumSegment: number | undefined; windowShift: number | undefined },
  settings: TcpSettings,
): void {
  const wanted = peer.maximumSegment ?? defaultMaximumSegment;
  tcp.maximumSegment = Math.max(Math.min(wanted, settings.maximumSegment), smallestSegment);
  tcp.scaling = peer.windowShift !== undefined;
  tcp.sndShift = peer.windowShift ?? 0;
  if (!tcp.scaling) tcp.rcvShift = 0;
  tcp.congestion = startCongestion(tcp.maximumSegment);
}

/** The peer's data may still come. */
export function receives(phase: TcpPhase): boolean {
  return phase === 'established' || phase === 'finWait1' || phase === 'finWait2';
}

export function isSynchronized(phase: TcpPhase): boolean {
  return phase !== 'synSent' && phase !== 'synReceived' && phase !== 'closed';
}
