/** A small machine in use, as a checkpoint of the runtime `machine`: no kernel has to boot. */
import { createMachine, type MachineDescription, planBootSector } from '@revenant/emulator';
import { nodeEngine } from '@revenant/emulator/host-node';
import type { MachineSnapshot } from '@revenant/storage';
import { busySector } from '../../emulator/src/machine/testing/busy-sector.ts';

/** Of the loop after each event: some 60,000 instructions. */
const turns = 29_952;

/** Its first state. @param keeps has it keep the bytes that it is given: six at most */
export async function busyMachine({
  keeps = false,
  devices = [],
}: { keeps?: boolean; devices?: MachineDescription['devices'] } = {}): Promise<MachineSnapshot> {
  const machine = await createMachine({ description: { memoryBytes: 2 ** 20, devices }, engine: nodeEngine });
  machine.boot(planBootSector(busySector(turns, { keeps })));
  return machine.snapshot({ full: true }) as unknown as MachineSnapshot;
}
