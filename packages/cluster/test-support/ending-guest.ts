/** A guest whose emulator ends its whole process after a few instructions, as a fault in native code would: nothing is reported. */
import { createGuest as createChain } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

const livesForMs = 300;

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createChain(start);
  const endsAt = performance.now() + livesForMs;
  const run = guest.run.bind(guest);
  guest.run = (instructions) => {
    // `process.abort` is not to be had in a worker.
    if (performance.now() >= endsAt) process.kill(process.pid, 'SIGABRT');
    return run(instructions);
  };
  return guest;
}
