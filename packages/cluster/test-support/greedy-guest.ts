/** A guest whose emulator takes more and more of its host, until there is no more. */
import { createMachine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { createGuest as createChain } from '../src/vm/chain-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

export interface GreedyDescription {
  /**
   * `little`: small arrays without end, before anybody can look. `grows`: one table that grows from turn to turn. `machine`: what a machine is made of, where its host has none left.
   * `buffers`: the memory of its pages.
   */
  takes: 'little' | 'grows' | 'machine' | 'buffers';
}

/** 4 GiB each, as long as there are so many in one piece; then pieces in which the machine would not fit. */
const wasmPages = [0xffff, 0x4000, 0x1000];
const bufferBytes = 2 ** 33;
const arrayLength = 1000;
const entriesPerTurn = 100_000;
const hoard: unknown[] = [];

function takeAll(make: () => unknown): void {
  try {
    for (;;) hoard.push(make());
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

export async function createGuest(start: GuestStart): Promise<Guest> {
  const { takes } = start.description as GreedyDescription;
  if (takes === 'machine') {
    for (const pages of wasmPages)
      takeAll(() => new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }));
    await createMachine({
      description: { memoryBytes: 2 ** 30 },
      backends: { hash: nodeHash },
      engine: nodeEngine,
    });
  }
  const guest = await createChain({ ...start, description: {} });
  const run = guest.run.bind(guest);
  const table = new Map<number, number>();
  guest.run = (instructions) => {
    if (takes === 'little') for (;;) hoard.push(new Array<number>(arrayLength).fill(hoard.length));
    if (takes === 'buffers') for (;;) hoard.push(new SharedArrayBuffer(bufferBytes));
    for (let n = 0; n < entriesPerTurn; n++) table.set(table.size, n);
    return run(instructions);
  };
  return guest;
}
