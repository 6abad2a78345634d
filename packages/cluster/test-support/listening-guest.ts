/**
 * A guest that keeps every byte typed at it in its memory, and tells on demand what it has: after a line `tell`, `heard COUNT SHA256` of all
 * bytes before that line. What a checkpoint does not hold it does not know after a failover, as any guest.
 */
import { createHash } from 'node:crypto';
import { ToyGuest } from '../src/vm/toy-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

const pageCount = 256;
/** How many bytes it has heard stands before them. */
const headBytes = 4;
const newLine = 10;

class ListeningGuest extends ToyGuest {
  constructor(start: GuestStart) {
    super({ machine: 'listening', cpu: 'none', pages: pageCount, start });
  }

  run(): 'idle' {
    this.step();
    return 'idle';
  }

  protected step(): void {
    this.instructions += 1n;
  }

  protected typed(bytes: Uint8Array): void {
    let heard = this.readU32(0);
    for (const byte of bytes) {
      this.write(headBytes + heard, Uint8Array.of(byte));
      heard++;
      this.writeU32(0, heard);
      if (byte === newLine) this.#endOfLine(this.read(headBytes, heard));
    }
  }

  #endOfLine(all: Uint8Array): void {
    const start = all.lastIndexOf(newLine, all.length - 2) + 1;
    if (Buffer.from(all.subarray(start)).toString('latin1') !== 'tell\n') return;
    const digest = createHash('sha256').update(all.subarray(0, start)).digest('hex');
    this.say(`heard ${String(start)} ${digest}\n`);
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new ListeningGuest(start));
}
