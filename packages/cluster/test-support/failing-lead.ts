/** The runtime `chain`, of which a standby breaks in the moment in which it shall lead. */
import { createGuest as createChainGuest } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createChainGuest(start);
  guest.leads = () => {
    throw new Error('its emulator broke');
  };
  return guest;
}
