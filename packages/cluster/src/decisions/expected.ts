/**
 * The VMs that this session would be given, should the nodes that have fallen silent be over: they are built here meanwhile, so that a takeover waits
 * for little more than the fence. No rule of safety rests on it.
 */
import { sights } from './election.ts';
import { plan } from './failover.ts';
import { sameSession } from './placement.ts';
import { vmOf, type ProtectedVm } from './records.ts';
import type { Context } from './state.ts';
import type { Peer } from './types.ts';

/** After so many times `deadMs` a node that was neither fenced nor heard is no reason any more. */
const silences = 5;

/** Also before it counts as unreachable: a socket of it closed, which it is asked about at once, and no answer came. */
export function isSilent({ now, settings }: Context, peer: Peer): boolean {
  if (peer.record === 'left' || peer.state === 'partitioned' || peer.state === 'isolated') return false;
  const silentMs = now - peer.heardBothAt;
  if (silentMs > silences * settings.deadMs) return false;
  const closed = peer.closedAt > peer.heardBothAt && now - peer.closedAt >= settings.networkHeartbeatMs / 2;
  return closed || silentMs >= settings.unreachableMs;
}

/**
 * Of VMs whose log says all that comes in; another's state could not be followed beyond its checkpoint. And of proven ones: what ended its
 * node soon after it began there would end this one too, by doing the same again.
 */
export function expected(context: Context): ProtectedVm[] {
  const { state, now, settings } = context;
  const hosts = sights(context);
  let someAreSilent = false;
  for (const peer of state.peers.values()) {
    const sight = hosts.get(peer.id);
    if (sight === undefined || !isSilent(context, peer)) continue;
    someAreSilent = true;
    hosts.set(peer.id, { ...sight, record: 'fenced', state: 'dead' });
  }
  if (!someAreSilent) return [];
  const timers = {
    notBefore: new Map(),
    assignedAt: new Map(),
    runningSince: new Map(),
    calmSince: undefined,
  };
  const { list } = plan({ list: state.list, hosts, timers, now, settings });
  const ours = { id: state.id, incarnation: state.incarnation };
  const wasProven = (id: string): boolean => vmOf(state.list, id)?.proven === true;
  return Object.values(list.vms).filter(
    ({ id, assignment, spec }) =>
      spec.outputs === 'log' && assignment !== null && sameSession(assignment, ours) && wasProven(id),
  );
}
