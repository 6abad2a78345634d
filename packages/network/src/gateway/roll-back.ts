/**
 * A guest that is resumed from a checkpoint may be behind what its peers have seen. TCP does not sort that out: the resumed end drops
 * acknowledgments of bytes that it hasn't sent yet, the other repeats them, and both stay ESTABLISHED in silence for ever. The gateway knows
 * the numbers of both moments, so it ends those connections with a reset to both sides at once; one that lost nothing goes on.
 */
import type { TcpState } from '../tcp/state.ts';
import type { GatewayEffect } from './events.ts';
import type { SavedGateway } from './save.ts';
import type { GatewaySettings } from './settings.ts';
import { newTurn } from './gateway.ts';
import type { GatewayState } from './state.ts';
import { breakFlow, sendChanged } from './tcp-nat.ts';

/**
 * The guest with this address goes on from the moment at which `then` was saved. Returns the effects, and how many of its connections ended.
 * What was under way at that moment counts as lost: the gateway can't tell whether the guest had sent it already.
 */
export function rollBack(
  { settings, state, nowMs }: { settings: GatewaySettings; state: GatewayState; nowMs: number },
  guestAddress: number,
  then: Pick<SavedGateway, 'tcp'>,
): { effects: GatewayEffect[]; ended: number } {
  const turn = newTurn(settings, state, nowMs);
  const before = new Map(then.tcp);
  let ended = 0;
  for (const [key, flow] of [...state.tcp]) {
    // A connection that still waits for the host's side: the guest may not know of it, and asks again if it does.
    if (flow.guestAddress !== guestAddress || flow.tcp === undefined) continue;
    const old = before.get(key);
    if (old?.socket === flow.socket && old.tcp !== undefined && isSame(old.tcp, flow.tcp)) continue;
    breakFlow(turn, flow);
    ended++;
  }
  sendChanged(turn);
  return { effects: turn.effects, ended };
}

/** Neither side has gone on in what the other acknowledged. */
function isSame(old: TcpState, now: TcpState): boolean {
  return old.phase === now.phase && old.rcvNxt === now.rcvNxt && old.sndUna === now.sndUna;
}
