/**
 * A guest that is resumed from a checkpoint may be behind what its peers have seen. TCP does not sort that out: the resumed end drops
 * acknowledgments of bytes that it hasn't sent yet, the other repeats them, and both stay ESTABLISHED in silence for ever. The gateway knows
 * at which of its guest's instructions each connection last went on, so it ends those that went on behind the checkpoint with a reset to both
 * sides at once; one that lost nothing goes on.
 */
import type { GatewayEffect } from './events.ts';
import type { GatewaySettings } from './settings.ts';
import { newTurn } from './gateway.ts';
import { sendAgain } from '../tcp/connection.ts';
import type { GatewayState } from './state.ts';
import { breakFlow, sendChanged } from './tcp-nat.ts';

/**
 * The guest with this address goes on from the moment at which it had executed `resumedAt` instructions. Returns the effects, and how many of
 * its connections ended. What is under way to it in the others is sent again at once: it may have been lost with the guest's node.
 */
export function rollBack(
  { settings, state, nowMs }: { settings: GatewaySettings; state: GatewayState; nowMs: number },
  guestAddress: number,
  resumedAt: number,
): { effects: GatewayEffect[]; ended: number } {
  const turn = newTurn(settings, state, nowMs);
  let ended = 0;
  for (const flow of [...state.tcp.values()]) {
    if (flow.guestAddress !== guestAddress) continue;
    if (flow.progressAt > resumedAt) {
      breakFlow(turn, flow);
      ended++;
    } else if (flow.tcp !== undefined && flow.tcp.retransmission.atMs !== null) {
      sendAgain(flow.tcp);
      turn.changed.add(flow);
    }
  }
  sendChanged(turn);
  return { effects: turn.effects, ended };
}
