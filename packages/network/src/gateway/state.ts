/** The state of a gateway: plain data that can be copied, kept and taken up again (save.ts). Everything in it has a bound in the settings. */
import type { FrameBuffers } from './frame-buffers.ts';
import type { TcpSettings, TcpState } from '../tcp/state.ts';
import type { GatewayEffect } from './events.ts';
import type { GatewaySettings } from './settings.ts';

export interface TcpFlow {
  socket: number;
  guestAddress: number;
  guestPort: number;
  /** The other end as the guest sees it. */
  remoteAddress: number;
  remotePort: number;
  /** Undefined until the host's side stands. */
  tcp: TcpState | undefined;
  /** The frame with the guest's SYN, while the host connects. */
  syn: Uint8Array | undefined;
  /** The least initial sequence number, when an older connection had the same ends. */
  issAfter: number | undefined;
  /** The host was asked not to read. */
  paused: boolean;
  /** The host's socket was let go: nothing more goes to it. */
  released: boolean;
  /** The guest's instruction count when it last sent something that took the connection further; 0 where nobody counts. */
  progressAt: number;
}

export interface UdpFlow {
  flow: number;
  guestAddress: number;
  guestPort: number;
  usedMs: number;
  /** Whom the guest sent to, newest last: only they may answer. */
  peers: { address: number; port: number }[];
}

/** Somebody outside who sends datagrams by a forward. */
export interface UdpVisitor {
  forward: number;
  address: number;
  port: number;
  /** The port of the gateway that stands for it. */
  gatewayPort: number;
  usedMs: number;
}

export interface Neighbour {
  mac: number;
}

export interface Resolution {
  /** Frames without their destination, which wait for it. */
  frames: Uint8Array[];
  tries: number;
  againMs: number;
}

export interface Lease {
  mac: number;
  address: number;
  /** Until then; an offer only for a short while. */
  untilMs: number;
  /** Nobody may have it: somebody else was found there (DHCPDECLINE). */
  declined: boolean;
}

export interface DnsQuery {
  query: number;
  guestAddress: number;
  guestPort: number;
  data: Uint8Array;
  /** Undefined for one whose answer isn't kept. */
  cacheKey: string | undefined;
  untilMs: number;
}

export interface DnsEntry {
  answer: Uint8Array;
  keptMs: number;
  untilMs: number;
}

export interface FragmentedPacket {
  header: Uint8Array;
  pieces: { from: number; data: Uint8Array }[];
  /** Known with the last fragment. */
  bytes: number | undefined;
  untilMs: number;
}

export interface GatewayState {
  /** Four words that nobody outside knows. */
  secret: number[];
  nextNumber: number;
  nextPort: number;
  nextIdentification: number;
  /** No timer runs out before then. */
  timerMs: number;
  /** By both ends: see tcpKey. */
  tcp: Map<string, TcpFlow>;
  tcpBySocket: Map<number, TcpFlow>;
  /** By the guest's end, least recently used first. */
  udp: Map<string, UdpFlow>;
  udpByNumber: Map<number, UdpFlow>;
  visitors: Map<string, UdpVisitor>;
  visitorsByPort: Map<number, UdpVisitor>;
  neighbours: Map<number, Neighbour>;
  resolutions: Map<number, Resolution>;
  /** By address. */
  leases: Map<number, Lease>;
  queries: Map<number, DnsQuery>;
  dnsCache: Map<string, DnsEntry>;
  fragments: Map<string, FragmentedPacket>;
  /** RFC 1812, 4.3.2.8: errors that may still be sent in the second from then on. */
  errors: { fromMs: number; left: number };
}

export function newGatewayState(secret: readonly number[]): GatewayState {
  return {
    secret: [...secret],
    nextNumber: 2,
    nextPort: firstPort,
    nextIdentification: 1,
    timerMs: Infinity,
    tcp: new Map(),
    tcpBySocket: new Map(),
    udp: new Map(),
    udpByNumber: new Map(),
    visitors: new Map(),
    visitorsByPort: new Map(),
    neighbours: new Map(),
    resolutions: new Map(),
    leases: new Map(),
    queries: new Map(),
    dnsCache: new Map(),
    fragments: new Map(),
    errors: { fromMs: -Infinity, left: 0 },
  };
}

/** RFC 6335, 6: dynamic ports. */
const firstPort = 49_152;
const lastPort = 65_535;

/** One call's view of a gateway: what it is like, what it knows, the time, what is to be done. */
export interface Turn {
  settings: GatewaySettings;
  tcpSettings: TcpSettings;
  state: GatewayState;
  nowMs: number;
  effects: GatewayEffect[];
  /** Connections that changed: they send when all events are in. */
  changed: Set<TcpFlow>;
  /** When the frame was sent that is being received, by its guest's instruction count; 0 when that is not known. */
  sentAt: number;
  /** Where memory for large frames comes from, when it comes back; undefined: each frame has its own. */
  buffers: FrameBuffers | undefined;
}

export function takeNumber(state: GatewayState): number {
  const number = state.nextNumber;
  state.nextNumber += 2;
  return number;
}

/** The next dynamic port that `taken` does not refuse; undefined when a whole round finds none. */
export function takePort(state: GatewayState, taken: (port: number) => boolean): number | undefined {
  for (let n = firstPort; n <= lastPort; n++) {
    const port = state.nextPort;
    state.nextPort = port === lastPort ? firstPort : port + 1;
    if (!taken(port)) return port;
  }
  return undefined;
}

/** A timer was set. */
export function wakeAt(state: GatewayState, ms: number): void {
  if (ms < state.timerMs) state.timerMs = ms;
}

/** Forgets the oldest entries of a map until there is room for one more. */
export function makeRoom<K, V>(map: Map<K, V>, limit: number, forget?: (key: K, value: V) => void): void {
  while (map.size >= limit) {
    const oldest = map.entries().next();
    if (oldest.done === true) return;
    const [key, value] = oldest.value;
    map.delete(key);
    forget?.(key, value);
  }
}
