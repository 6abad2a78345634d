/** A machine saved in one process and restored in another goes on exactly as the one that was never saved. */
import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { createMachine, planBootSector, type Machine } from '@revenant/emulator';

/** Real mode: IRQ 0 each ms counts at 0x504; the main loop hashes into 0x500 and waits in HLT now and then. */
// prettier-ignore
const program = [
  0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xc7, 0x06, 0x20, 0x00, 0x4a, 0x7c, 0xa3, 0x22, 0x00,
  0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21,
  0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40, 0xfb, // 8254: 1 ms; sti
  0x66, 0x69, 0xdb, 0x6d, 0x4e, 0xc6, 0x41, 0x66, 0x43, 0x66, 0x89, 0x1e, 0x00, 0x05, // ebx = ebx * 1103515245 + 1
  0x84, 0xff, 0x75, 0xee, 0xf4, 0xeb, 0xeb, // until bh = 0: hlt
  0x90, // 0x7c49
  0x50, 0xff, 0x06, 0x04, 0x05, 0xa1, 0x04, 0x05, 0xe6, 0xe9, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf,
];
const counts = [1, 999, 30_000, 62_501, 100_000, 250_000, 400_000, 777_777, 900_000, 1_200_000];
const savedAt = 3;

async function started(): Promise<Machine> {
  const sector = new Uint8Array(512);
  sector.set(program);
  sector.set([0x55, 0xaa], 510);
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20 },
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
  machine.boot(planBootSector(sector));
  return machine;
}

before(() => {
  buildModules(() => undefined);
});

test('two runs agree at ten counts, and so does one restored in another process', async () => {
  const hashes: string[][] = [];
  for (let run = 0; run < 2; run++) {
    const machine = await started();
    hashes.push(
      counts.map((count) => {
        machine.run({ instructions: BigInt(count) - machine.instructions });
        return machine.stateHash();
      }),
    );
  }
  assert.deepEqual(hashes[1], hashes[0]);
  assert.equal(new Set(hashes[0]).size, counts.length);

  const machine = await started();
  machine.run({ instructions: counts[savedAt] ?? 0 });
  const folder = mkdtempSync(join(tmpdir(), 'revenant-determinism-'));
  try {
    const file = join(folder, 'snapshot');
    writeFileSync(file, serialize(machine.snapshot({ full: true })));
    const later = counts.slice(savedAt + 1);
    const child = join(import.meta.dirname, 'determinism-child.ts');
    const output = execFileSync(process.execPath, [child, file, ...later.map(String)], { encoding: 'utf8' });
    assert.deepEqual(output.trim().split('\n'), hashes[0]?.slice(savedAt + 1));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
