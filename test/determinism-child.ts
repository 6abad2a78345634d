/** Child of determinism.test.ts: restores the machine saved in a file, continues to the given counts, prints the hashes. */
import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { restoreMachine, type MachineSnapshot } from '@revenant/emulator';

const [file = '', ...counts] = process.argv.slice(2);
buildModules(() => undefined);
const snapshot = deserialize(readFileSync(file)) as MachineSnapshot;
const machine = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
for (const count of counts) {
  while (machine.instructions < BigInt(count))
    machine.run({ instructions: BigInt(count) - machine.instructions });
  process.stdout.write(`${machine.stateHash()}\n`);
}
