/**
 * Congestion control: RFC 5681 with the recovery of RFC 6582 (NewReno), the initial window of RFC 6928, and growth by bytes acknowledged
 * (RFC 3465). One deviation: slow start counts all bytes of an acknowledgment, not at most two segments, as guests acknowledge up to 64 KiB at once.
 */
import { advance, distance } from './sequence.ts';

export interface Congestion {
  windowBytes: number;
  thresholdBytes: number;
  duplicates: number;
  /** While a loss is repaired: what was sent before it was noticed ends here. */
  recoverUntil: number | null;
  /** RFC 6582, 3.2, step 1: duplicates at or below this number come from what was sent twice. */
  ignoreUntil: number | null;
  /** Bytes acknowledged since the window last grew in congestion avoidance. */
  acknowledgedBytes: number;
}

const largestWindow = 0x40_0000;

export function startCongestion(maximumSegment: number): Congestion {
  return {
    windowBytes: Math.min(10 * maximumSegment, Math.max(2 * maximumSegment, 14_600)),
    thresholdBytes: largestWindow,
    duplicates: 0,
    recoverUntil: null,
    ignoreUntil: null,
    acknowledgedBytes: 0,
  };
}

interface Flight {
  sndUna: number;
  sndMax: number;
  maximumSegment: number;
}

const inFlight = ({ sndUna, sndMax }: Flight): number => distance(sndMax, sndUna);

/** An acknowledgment of new data, before sndUna moves. Returns whether the first unacknowledged segment is to be sent again. */
export function onNewAcknowledgment(congestion: Congestion, flight: Flight, acknowledgment: number): boolean {
  const bytes = distance(acknowledgment, flight.sndUna);
  const { maximumSegment } = flight;
  congestion.duplicates = 0;
  if (congestion.recoverUntil !== null) {
    if (distance(acknowledgment, congestion.recoverUntil) >= 0) {
      // 6582, 3.2, step 3, full acknowledgment.
      const left = Math.max(inFlight(flight) - bytes, maximumSegment) + maximumSegment;
      congestion.windowBytes = Math.min(congestion.thresholdBytes, left);
      congestion.recoverUntil = null;
      return false;
    }
    // Partial acknowledgment: the next hole begins here.
    congestion.windowBytes = Math.max(congestion.windowBytes - bytes, maximumSegment) + maximumSegment;
    return true;
  }
  // A window that isn't used says nothing about the path: it does not grow.
  if (inFlight(flight) * 2 >= congestion.windowBytes) grow(congestion, bytes, maximumSegment);
  return false;
}

function grow(congestion: Congestion, bytes: number, maximumSegment: number): void {
  if (congestion.windowBytes < congestion.thresholdBytes) congestion.windowBytes += bytes;
  else {
    congestion.acknowledgedBytes += bytes;
    if (congestion.acknowledgedBytes >= congestion.windowBytes) {
      congestion.acknowledgedBytes -= congestion.windowBytes;
      congestion.windowBytes += maximumSegment;
    }
  }
  congestion.windowBytes = Math.min(congestion.windowBytes, largestWindow);
}

/** A duplicate acknowledgment (RFC 5681, 2). Returns whether the first unacknowledged segment is to be sent again. */
export function onDuplicate(congestion: Congestion, flight: Flight): boolean {
  const { maximumSegment } = flight;
  if (congestion.recoverUntil !== null) {
    congestion.windowBytes = Math.min(congestion.windowBytes + maximumSegment, largestWindow);
    return false;
  }
  congestion.duplicates++;
  if (congestion.duplicates !== 3) return false;
  if (congestion.ignoreUntil !== null && distance(flight.sndUna, congestion.ignoreUntil) <= 0) return false;
  congestion.thresholdBytes = half(flight);
  congestion.windowBytes = congestion.thresholdBytes + 3 * maximumSegment;
  congestion.recoverUntil = flight.sndMax;
  congestion.ignoreUntil = flight.sndMax;
  return true;
}

/** RFC 3042: each of the first two duplicates lets one more segment go. */
export function limitedTransmit(congestion: Congestion, maximumSegment: number): number {
  return congestion.recoverUntil === null ? Math.min(congestion.duplicates, 2) * maximumSegment : 0;
}

/** RFC 5681, 3.1: the retransmission timer ran out. `first` for a segment that was not sent again before. */
export function onTimeout(congestion: Congestion, flight: Flight, first: boolean): void {
  if (first) congestion.thresholdBytes = half(flight);
  congestion.windowBytes = flight.maximumSegment;
  congestion.duplicates = 0;
  congestion.recoverUntil = null;
  congestion.ignoreUntil = advance(flight.sndMax, 0);
  congestion.acknowledgedBytes = 0;
}

function half(flight: Flight): number {
  return Math.max(Math.floor(inFlight(flight) / 2), 2 * flight.maximumSegment);
}
