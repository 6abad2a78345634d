/** What came ahead of its turn: kept in order and without overlap, inside of the window, in a bounded number of pieces. */
import { copyOf } from '../wire/bytes.ts';
import { advance, distance } from './sequence.ts';
import type { TcpState } from './state.ts';

/** Beyond it the piece that is furthest ahead goes: the peer sends it again. */
const maxPieces = 128;

/** Keeps a piece that begins behind rcvNxt. */
export function keepEarly(tcp: TcpState, sequence: number, data: Uint8Array): void {
  let from = sequence;
  let rest = data;
  const { early } = tcp;
  let at = 0;
  while (rest.length > 0) {
    const next = early[at];
    if (next === undefined) {
      insert(early, at, from, rest);
      break;
    }
    const end = advance(next.sequence, next.data.length);
    if (distance(from, end) >= 0) {
      at++;
      continue;
    }
    const gap = distance(next.sequence, from);
    if (gap > 0) {
      insert(early, at, from, rest.subarray(0, Math.min(gap, rest.length)));
      at++;
    }
    const covered = distance(end, from);
    if (covered >= rest.length) break;
    rest = rest.subarray(covered);
    from = end;
    at++;
  }
  if (early.length > maxPieces) early.length = maxPieces;
}

function insert(early: TcpState['early'], at: number, sequence: number, data: Uint8Array): void {
  // A copy: a few bytes must not hold a whole frame.
  early.splice(at, 0, { sequence, data: copyOf(data) });
}

/** Takes the pieces whose turn has come after rcvNxt moved; moves it on. */
export function takeInOrder(tcp: TcpState, deliver: (data: Uint8Array) => void): void {
  let taken = 0;
  for (const { sequence, data } of tcp.early) {
    const skip = distance(tcp.rcvNxt, sequence);
    if (skip < 0) break;
    taken++;
    if (skip >= data.length) continue;
    const rest = data.subarray(skip);
    tcp.rcvNxt = advance(tcp.rcvNxt, rest.length);
    deliver(rest);
  }
  if (taken > 0) tcp.early.splice(0, taken);
}
