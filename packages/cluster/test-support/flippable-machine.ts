/** The runtime `machine`, of which a standby can be damaged: whoever says so on the channel has one bit of its memory flipped. */
import { Machine } from '@revenant/emulator';
import { createGuest as createMachineGuest } from '../src/vm/machine-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';
import { flipChannel } from './flip-channel.ts';

/** At an address that its guest never touches. */
const flippedAddress = 0xc_0123;

export async function createGuest(start: GuestStart): Promise<Guest> {
  const guest = await createMachineGuest(start);
  if (start.follows !== true) return guest;
  let machine: Machine | undefined;
  const run = Reflect.get(Machine.prototype, 'run') as Machine['run'];
  const note = (running: Machine): void => {
    machine = running;
  };
  Machine.prototype.run = function (this: Machine, options) {
    note(this);
    return run.call(this, options);
  };
  const channel = new BroadcastChannel(flipChannel);
  channel.onmessage = () => {
    const memory = machine?.memory;
    const byte = memory?.readPhysical(flippedAddress, 1)[0] ?? 0;
    memory?.writePhysical(flippedAddress, Uint8Array.of(byte ^ 4));
    channel.close();
  };
  return guest;
}
