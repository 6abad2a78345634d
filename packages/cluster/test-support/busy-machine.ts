/** A small machine in use, as a checkpoint of the runtime `machine`: no kernel has to boot. */
import { randomFillSync } from 'node:crypto';
import { createMachine, type MachineDescription, planBootSector } from '@revenant/emulator';
import { nodeEngine } from '@revenant/emulator/host-node';
import type { MachineSnapshot, SpaceSnapshot } from '@revenant/storage';
import { busySector } from '../../emulator/src/machine/testing/busy-sector.ts';

/** Of the loop after each event: some 60,000 instructions. */
const turns = 29_952;

const pagesPerMiB = 256;

/** All memory above the first MiB is in use, and no two pages are alike. */
function filled(space: SpaceSnapshot): SpaceSnapshot {
  if (space.name !== 'ram') return space;
  const more = Array.from({ length: space.pageCount - pagesPerMiB }, (_, i) => pagesPerMiB + i);
  const indexes = Uint32Array.of(...space.indexes, ...more);
  const bytes = new Uint8Array(indexes.length * space.pageSize);
  randomFillSync(bytes);
  bytes.set(space.bytes);
  return { ...space, indexes, bytes };
}

/**
 * Its first state.
 * @param keeps has it keep the bytes that it is given: six at most
 * @param mib of memory
 */
export async function busyMachine({
  keeps = false,
  devices = [],
  mib = 1,
}: {
  keeps?: boolean;
  devices?: MachineDescription['devices'];
  mib?: number;
} = {}): Promise<MachineSnapshot> {
  const description = { memoryBytes: mib * 2 ** 20, devices };
  const machine = await createMachine({ description, engine: nodeEngine });
  machine.boot(planBootSector(busySector(turns, { keeps })));
  const snapshot = machine.snapshot({ full: true }) as unknown as MachineSnapshot;
  return { ...snapshot, spaces: snapshot.spaces.map(filled) };
}
