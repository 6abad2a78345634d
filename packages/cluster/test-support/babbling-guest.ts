/** A guest whose outputs are no such thing: more in one than any machine gives. Or that says at great length why it ends (`description.ends`). */
import { createGuest as createChain } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

const tooManyBytes = 100_000;

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createChain({ ...start, description: {} });
  const { ends } = start.description as { ends?: boolean };
  if (ends === true)
    guest.run = () => {
      throw new Error('because '.repeat(2500));
    };
  guest.outputs = () => [
    {
      number: 0,
      instructions: guest.instructions,
      timeNs: guest.instructions,
      output: { kind: 'serial', port: 0, bytes: new Uint8Array(tooManyBytes) },
    },
  ];
  return guest;
}
