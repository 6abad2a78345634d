/** What the functions of one TCP end are called with, and whom they tell. */
import type { TcpSettings } from './state.ts';

export interface OutgoingSegment {
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  options?: Uint8Array;
  /** Bytes of the queue. */
  payload?: { offset: number; length: number };
}

export type TcpNews =
  | 'established'
  /** The peer has sent its last byte, and it was delivered. */
  | 'peerFinished'
  /** Bytes of ours were acknowledged: there is room. */
  | 'acknowledged'
  /** The peer broke the connection. */
  | 'reset'
  /** The peer is silent for too long. */
  | 'timedOut'
  /** Both sides are done (RFC 9293: CLOSED). */
  | 'closed';

export interface TcpOwner {
  send(segment: OutgoingSegment): void;
  /** In order, each byte once. The owner says with `consumed` when it has passed them on. */
  deliver(data: Uint8Array): void;
  news(what: TcpNews): void;
  /** An array that `write` was given is at the peer, and kept no longer. */
  done?: (data: Uint8Array) => void;
}

export interface TcpContext {
  settings: TcpSettings;
  nowMs: number;
  owner: TcpOwner;
}
