/**
 * The retransmission timer: RFC 6298. One segment at a time is timed, and none that was sent twice (Karn). One deviation: the least timeout
 * is 300 ms, as these networks are a few metres long and a guest that was held up for longer costs only one segment sent twice.
 */
import { distance } from './sequence.ts';

export interface Retransmission {
  smoothedMs: number | null;
  variationMs: number;
  timeoutMs: number;
  /** How often the timer ran out since the last acknowledgment of new data. */
  count: number;
  atMs: number | null;
  timed: { sequence: number; sentMs: number } | null;
}

const initialMs = 1000;
const leastMs = 300;
const mostMs = 60_000;
/** The clock's granularity, G. */
const granularityMs = 10;

export function startRetransmission(): Retransmission {
  return { smoothedMs: null, variationMs: 0, timeoutMs: initialMs, count: 0, atMs: null, timed: null };
}

/** A segment that ends before `sequence` was sent for the first time. */
export function startTiming(timer: Retransmission, sequence: number, nowMs: number): void {
  timer.timed ??= { sequence, sentMs: nowMs };
}

export function onAcknowledged(timer: Retransmission, acknowledgment: number, nowMs: number): void {
  timer.count = 0;
  const { timed } = timer;
  if (timed !== null && distance(acknowledgment, timed.sequence) >= 0) {
    timer.timed = null;
    measure(timer, Math.max(nowMs - timed.sentMs, 0));
  } else if (timer.smoothedMs !== null) {
    timer.timeoutMs = timeoutOf(timer.smoothedMs, timer.variationMs);
  }
}

/** 2.2 and 2.3. */
function measure(timer: Retransmission, roundTripMs: number): void {
  if (timer.smoothedMs === null) {
    timer.smoothedMs = roundTripMs;
    timer.variationMs = roundTripMs / 2;
  } else {
    timer.variationMs = 0.75 * timer.variationMs + 0.25 * Math.abs(timer.smoothedMs - roundTripMs);
    timer.smoothedMs = 0.875 * timer.smoothedMs + 0.125 * roundTripMs;
  }
  timer.timeoutMs = timeoutOf(timer.smoothedMs, timer.variationMs);
}

function timeoutOf(smoothedMs: number, variationMs: number): number {
  return Math.min(Math.max(smoothedMs + Math.max(granularityMs, 4 * variationMs), leastMs), mostMs);
}

/** What is not acknowledged is sent again, as if nothing had been tried yet. */
export function restartTimer(timer: Retransmission): void {
  timer.count = 0;
  timer.atMs = null;
  timer.timed = null;
  timer.timeoutMs = timer.smoothedMs === null ? initialMs : timeoutOf(timer.smoothedMs, timer.variationMs);
}

/** 5.5 to 5.7. */
export function backOff(timer: Retransmission): void {
  timer.count++;
  timer.timeoutMs = Math.min(timer.timeoutMs * 2, mostMs);
  timer.timed = null;
}
