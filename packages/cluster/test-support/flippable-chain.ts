/** The runtime `chain`, of which a standby can be damaged as flippable-machine.ts says. */
import { createGuest as createChainGuest } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';
import { flipChannel } from './flip-channel.ts';

/** Its first page is written at each step, the others once in 63 steps. */
const flippedAt = 40 * 4096 + 100;

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createChainGuest(start);
  if (start.follows !== true) return guest;
  const read = Reflect.get(guest, 'read') as (at: number, length: number) => Uint8Array;
  const channel = new BroadcastChannel(flipChannel);
  channel.onmessage = () => {
    const bytes = read.call(guest, flippedAt, 1);
    bytes[0] = (bytes[0] ?? 0) ^ 4;
    channel.close();
  };
  return guest;
}
