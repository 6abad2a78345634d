// A guest that keeps every byte typed at it in its memory, and tells on demand what it has: after a line `tell`, `heard COUNT SHA256` of all
// bytes before that line. What a checkpoint does not hold it does not know after a failover, as any guest.
import { createHash } from 'node:crypto';
import type { InputResult, MachineInput, StampedOutput } from '@revenant/emulator';
import type { MachineSnapshot } from '@revenant/storage';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

const PAGE = 4096;
const PAGES = 256;
const HEAD = 4;

class ListeningGuest implements Guest {
  instructions = 0n;
  readonly #ram = new Uint8Array(PAGE * PAGES);
  readonly #dirty = new Set<number>();
  #full = true;
  #output = '';
  #written = 0;

  constructor({ snapshot }: GuestStart) {
    const ram = snapshot?.spaces.find(({ name }) => name === 'ram');
    ram?.indexes.forEach((page, i) =>
      this.#ram.set(ram.bytes.subarray(i * PAGE, (i + 1) * PAGE), page * PAGE),
    );
    this.instructions = snapshot?.instructions ?? 0n;
  }

  get #heard(): number {
    return new DataView(this.#ram.buffer).getUint32(0, true);
  }

  run(): 'idle' {
    this.instructions += 1n;
    return 'idle';
  }

  input(input: MachineInput): InputResult {
    if (input.kind !== 'serial') return 'no-device';
    let heard = this.#heard;
    for (const byte of input.bytes) {
      this.#ram[HEAD + heard] = byte;
      this.#dirty.add(Math.floor((HEAD + heard) / PAGE)).add(0);
      heard++;
      new DataView(this.#ram.buffer).setUint32(0, heard, true);
      if (byte === 10) this.#endOfLine(this.#ram.subarray(HEAD, HEAD + heard));
    }
    return 'taken';
  }

  #endOfLine(all: Uint8Array): void {
    const start = all.lastIndexOf(10, all.length - 2) + 1;
    if (Buffer.from(all.subarray(start)).toString('latin1') !== 'tell\n') return;
    const digest = createHash('sha256').update(all.subarray(0, start)).digest('hex');
    this.#output += `heard ${String(start)} ${digest}\n`;
  }

  snapshot(): MachineSnapshot {
    const full = this.#full;
    const indexes = Uint32Array.from(full ? Array.from({ length: PAGES }, (_, i) => i) : [...this.#dirty].sort((a, b) => a - b)); // prettier-ignore
    const bytes = new Uint8Array(indexes.length * PAGE);
    indexes.forEach((page, i) => bytes.set(this.#ram.subarray(page * PAGE, (page + 1) * PAGE), i * PAGE));
    this.#full = false;
    this.#dirty.clear();
    return {
      description: { machine: 'listening', cpu: { model: 'none' }, memoryBytes: PAGE * PAGES },
      cpus: [],
      devices: {},
      instructions: this.instructions,
      virtualTimeNs: this.instructions * 1000n,
      spaces: [{ name: 'ram', pageSize: PAGE, pageCount: PAGES, full, indexes, bytes }],
    };
  }

  screen(): undefined {
    return undefined;
  }

  outputs(): StampedOutput[] {
    if (this.#output === '') return [];
    const bytes = Uint8Array.from(Buffer.from(this.#output, 'latin1'));
    this.#output = '';
    const { instructions } = this;
    const number = this.#written;
    this.#written += bytes.length;
    return [
      { instructions, timeNs: instructions * 1000n, number, output: { kind: 'serial', port: 0, bytes } },
    ];
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new ListeningGuest(start));
}
