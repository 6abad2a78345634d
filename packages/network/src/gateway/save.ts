/**
 * A gateway's state as data that outlives its process: maps become lists. The host's sockets do not come back with it, so whoever takes a
 * state up on another host breaks what hung on them (`loseSockets`).
 */
import { handle } from './gateway.ts';
import type { GatewayEffect } from './events.ts';
import type { GatewaySettings } from './settings.ts';
import { newGatewayState, type GatewayState } from './state.ts';

export const savedGatewayVersion = 2;

/** The fields that are indices of other fields, and are made again. */
type Index = 'tcpBySocket' | 'udpByNumber' | 'visitorsByPort';

type Saved<T> = T extends Map<infer K, infer V> ? [K, V][] : T;
export type SavedGateway = { version: number } & {
  [K in keyof Omit<GatewayState, Index>]: Saved<GatewayState[K]>;
};

export class SavedGatewayError extends Error {
  override readonly name = 'SavedGatewayError';
  readonly code = 'saved-gateway';
}

/** A copy: the gateway may go on. Times stay those of the clock that `handle` was called with. */
export function saveGateway(state: GatewayState): SavedGateway {
  const { tcpBySocket, udpByNumber, visitorsByPort, ...fields } = state;
  void [tcpBySocket, udpByNumber, visitorsByPort];
  const saved = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value instanceof Map ? [...value] : value]),
  );
  return structuredClone({ version: savedGatewayVersion, ...saved }) as SavedGateway;
}

export function restoreGateway(saved: SavedGateway): GatewayState {
  if (saved.version !== savedGatewayVersion)
    throw new SavedGatewayError(
      `this network state has version ${String(saved.version)}, and this release reads ${savedGatewayVersion.toString()}: restore it with the release that wrote it`,
    );
  const copy = structuredClone(saved);
  const empty = newGatewayState(copy.secret);
  const state = Object.fromEntries(
    Object.entries(empty).map(([name, value]) => {
      const kept: unknown = copy[name as keyof SavedGateway];
      if (!(value instanceof Map)) return [name, kept];
      return [name, new Map(Array.isArray(kept) ? (kept as [unknown, unknown][]) : [])];
    }),
  ) as unknown as GatewayState;
  for (const flow of state.tcp.values()) state.tcpBySocket.set(flow.socket, flow);
  for (const flow of state.udp.values()) state.udpByNumber.set(flow.flow, flow);
  for (const visitor of state.visitors.values()) state.visitorsByPort.set(visitor.gatewayPort, visitor);
  return state;
}

/** The host's sockets are gone: every connection ends with a reset, at once, and datagrams and questions begin anew. */
export function loseSockets(settings: GatewaySettings, state: GatewayState, nowMs: number): GatewayEffect[] {
  const sockets = [...state.tcpBySocket.keys()];
  for (const { flow } of state.udp.values()) state.udpByNumber.delete(flow);
  state.udp.clear();
  state.visitors.clear();
  state.visitorsByPort.clear();
  state.queries.clear();
  const closed = sockets.map((socket) => ({ kind: 'tcpClosed' as const, socket }));
  return handle(settings, state, closed, nowMs);
}
