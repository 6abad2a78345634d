/** A machine that stands still, as the inspector looks into checkpoints: its RAM and its processor, read in place. */
import type { Machine } from '@revenant/emulator';
import type { CheckpointView } from '../inspect/view.ts';

const pageSize = 4096;

export function machineView(machine: Machine): CheckpointView {
  const pageCount = machine.description.memoryBytes / pageSize;
  return {
    spaces: [{ name: 'ram', pageSize, pageCount }],
    state: { cpus: [machine.registers()] },
    present: () => Uint32Array.from({ length: pageCount }, (_, n) => n),
    readPages: (_space, indexes) => {
      const out = new Uint8Array(indexes.length * pageSize);
      indexes.forEach((index, n) => {
        out.set(machine.memory.readPhysical(index * pageSize, pageSize), n * pageSize);
      });
      return Promise.resolve(out);
    },
  };
}
