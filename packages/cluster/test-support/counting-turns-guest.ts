/** A guest that says how many instructions it may run in each turn. */
import { createGuest as createChain } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createChain({ ...start, description: {} });
  const most: number[] = [];
  let absent = start.absentRam?.length ?? 0;
  Object.defineProperty(guest, 'absentPages', { get: () => absent });
  guest.run = (instructions) => {
    most.push(instructions);
    return 'limit';
  };
  guest.deliver = (indexes) => {
    absent -= indexes.length;
    return [];
  };
  // Where nobody else looks.
  guest.look = () => ({
    width: most.at(-1) ?? 0,
    height: most.length,
    changed: [],
    pixels: new Uint8Array(0),
    tablet: false,
  });
  return guest;
}
