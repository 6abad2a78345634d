/**
 * Determinism over a whole boot of Linux: two runs, and a third that is saved, restored in another process and continued, must
 * give the same state hash at ten instruction counts.
 *
 *   node test/linux/determinism.ts KERNEL INITRD [COMMAND LINE]
 *
 * KERNEL may be a bzImage or an extracted ELF. Prints the table and exits with 1 when something differs.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import { createMachine, pcMemoryMap, planKernel, type Machine } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';

const [kernelFile, initrdFile, commandLine = 'console=ttyS0 cryptomgr.notests'] = process.argv.slice(2);
if (kernelFile === undefined || initrdFile === undefined) {
  process.stderr.write('usage: node test/linux/determinism.ts KERNEL INITRD [COMMAND LINE]\n');
  process.exit(2);
}
const memoryBytes = 128 * 2 ** 20;
const counts = [
  1_000_000, 20_000_003, 60_000_000, 100_000_001, 150_000_000, 200_000_000, 250_000_007, 300_000_000,
  350_000_000, 400_000_000,
];
const savedAt = 4;

async function started(): Promise<Machine> {
  const machine = await createMachine({
    description: { memoryBytes },
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
  const request = {
    kernel: readFileSync(kernelFile ?? ''),
    initrd: readFileSync(initrdFile ?? ''),
    commandLine,
    longMode: true,
  };
  machine.boot(
    planKernel(request, { memoryMap: pcMemoryMap(memoryBytes), rsdpAddress: machine.rsdpAddress }),
  );
  return machine;
}

function hashesOf(machine: Machine, at: readonly number[]): string[] {
  return at.map((count) => {
    while (machine.instructions < BigInt(count))
      machine.run({ instructions: BigInt(count) - machine.instructions });
    return machine.stateHash();
  });
}

buildModules(() => undefined);
const first = hashesOf(await started(), counts);
const second = hashesOf(await started(), counts);
const saved = await started();
const third = hashesOf(saved, counts.slice(0, savedAt + 1));
const folder = mkdtempSync(join(tmpdir(), 'revenant-determinism-'));
try {
  const file = join(folder, 'snapshot');
  writeFileSync(file, serialize(saved.snapshot({ full: true })));
  const child = join(import.meta.dirname, '../determinism-child.ts');
  const later = counts.slice(savedAt + 1).map(String);
  third.push(
    ...execFileSync(process.execPath, [child, file, ...later], { encoding: 'utf8' })
      .trim()
      .split('\n'),
  );
} finally {
  rmSync(folder, { recursive: true });
}
let different = 0;
counts.forEach((count, n) => {
  const same = first[n] === second[n] && first[n] === third[n];
  if (!same) different++;
  process.stdout.write(
    `${String(count).padStart(12)}  ${first[n]?.slice(0, 16) ?? ''}  ${same ? 'same' : 'DIFFERENT'}\n`,
  );
});
process.exitCode = different === 0 ? 0 : 1;
