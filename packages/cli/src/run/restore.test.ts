/** `run --restore`: a machine goes on from a file or from a store before all of its memory is there. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  createMachine,
  pcMemoryMap,
  planKernel,
  restoreMachine,
  type Machine,
  type MachineSnapshot,
} from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { CheckpointWriter, openStore, raiseEpoch, writeCheckpointFile } from '@revenant/storage';
import { dispatch } from '../command/dispatch.ts';
import { commands } from '../commands/index.ts';
import { CliError, ExitCode } from '../errors.ts';
import { builtinGuest } from '../images/builtin.ts';
import type { FailingStoreData } from '../../test-support/failing-store-thread.ts';
import { openRestore, restoreFromThread, storeOf, type Restoring } from './restore.ts';

const folder = mkdtempSync(join(tmpdir(), 'revenant-restore-'));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
const file = join(folder, 'guest.checkpoint');
const url = `file:${folder}/store`;
const further = 20_000_000n;
let expected: string;
let ramPages: number;

/** Uses some of its memory by itself; `touch` makes sure of more. */
async function startGuest(): Promise<Machine> {
  const { kernel, commandLine, memoryBytes } = builtinGuest();
  const machine = await createMachine({
    description: { memoryBytes },
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
  const { rsdpAddress } = machine;
  const memoryMap = pcMemoryMap(memoryBytes);
  const board = rsdpAddress === undefined ? { memoryMap } : { memoryMap, rsdpAddress };
  machine.boot(planKernel({ kernel, commandLine, longMode: true }, board));
  machine.run({ instructions: 5_000_000 });
  // Memory that the guest never looks at: only the background brings it, and the state hash knows it.
  for (let page = 1024; page < 4000; page += 2)
    machine.memory.writePhysical(page * 4096, Uint8Array.of(page, page >> 8, 1));
  return machine;
}

/** Goes on as `revenant run` does: pages in the background between slices. */
async function goOn(restoring: Restoring): Promise<Machine> {
  const { snapshot, absent } = restoring;
  const machine = await restoreMachine({
    snapshot,
    absent,
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
  const end = machine.instructions + further;
  while (machine.instructions < end) {
    machine.run({
      instructions: 200_000n < end - machine.instructions ? 200_000n : end - machine.instructions,
    });
    const pages = restoring.next();
    if (pages !== undefined) machine.deliver(pages.indexes, pages.bytes);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return machine;
}

function startedEarly({ snapshot, absent }: Restoring): void {
  const ram = snapshot.spaces.find(({ name }) => name === 'ram');
  assert.ok(ram);
  assert.ok(absent.indexes.length > 1000, 'most pages come later');
  assert.equal(ram.indexes.length + absent.indexes.length, ramPages);
}

before(async () => {
  buildModules(() => undefined);
  const machine = await startGuest();
  const snapshot: MachineSnapshot = machine.snapshot({ full: true });
  ramPages = snapshot.spaces.find(({ name }) => name === 'ram')?.indexes.length ?? 0;
  await writeCheckpointFile(file, snapshot);
  const store = await openStore(url);
  const writer = await CheckpointWriter.open(store, await raiseEpoch(store, 'vm1', { owner: 'test' }));
  await writer.write(snapshot);
  await writer.close();
  await store.close();
  machine.run({ instructions: further });
  expected = machine.stateHash();
});

describe('going on from a checkpoint before all of its memory is there', () => {
  for (const [where, options] of [
    ['a file', { restore: file }],
    ['a store', { restore: 'vm1', store: url }],
  ] as const)
    test(`gives the machine that was never stopped: from ${where}`, async () => {
      const restoring = await openRestore(options);
      try {
        startedEarly(restoring);
        const machine = await goOn(restoring);
        assert.equal(machine.stateHash(), expected);
        assert.equal(machine.absentPages, 0);
      } finally {
        await restoring.close();
      }
    });

  test('waits while the store fails, says so once, and goes on to the same state', async () => {
    const saidPath = join(folder, 'said');
    const workerData: FailingStoreData = { url, vmId: 'vm1', saidPath, failsForMs: 900 };
    const thread = new Worker(new URL('../../test-support/failing-store-thread.ts', import.meta.url), {
      workerData,
    });
    const restoring = await restoreFromThread(thread);
    try {
      startedEarly(restoring);
      assert.equal((await goOn(restoring)).stateHash(), expected);
      const said = readFileSync(saidPath, 'utf8').trimEnd().split('\n');
      assert.equal(said.length, 2, said.join('; '));
      assert.match(said[0] ?? '', /^the guest waits for the store \(ram: .+\); 'kill \d+' ends it$/);
      assert.match(said[1] ?? '', /^the guest goes on after \d+\.\d s: the store answers again$/);
    } finally {
      await restoring.close();
    }
  });

  test('what is not there is refused with one line and a hint', async () => {
    for (const options of [
      { restore: 'vm2', store: url },
      { restore: 'vm1@7', store: url },
      { restore: 'vm1', store: url, disks: [{ path: 'a', mode: 'cow' as const }] },
      { restore: 'vm1', store: 'nowhere:at/all' },
    ])
      await assert.rejects(
        openRestore(options),
        (error) => error instanceof CliError && !error.message.includes('\n') && error.hint !== undefined,
        JSON.stringify(options),
      );
  });

  test('a checkpoint goes on with the processor that it was made with: another one is refused', async () => {
    await assert.rejects(
      dispatch(commands, ['run', '--restore', file, '--cpu', 'x86-64-v3']),
      (error) =>
        error instanceof CliError &&
        error.exitCode === ExitCode.usage &&
        /^--cpu: the checkpoint has a x86-64-v2$/.test(error.message),
    );
    await assert.rejects(
      dispatch(commands, ['run', '--restore', file, '--cpus', '2']),
      (error) =>
        error instanceof CliError &&
        error.exitCode === ExitCode.usage &&
        /^--cpus: the checkpoint has 1$/.test(error.message),
    );
  });

  test('a path with a slash is a file, any other name is a VM once a store is named', () => {
    assert.equal(storeOf({ restore: './vm1' }), undefined);
    assert.throws(() => storeOf({ restore: './vm1', store: url }), CliError);
    assert.equal(storeOf({ restore: 'vm1', store: url }), url);
    assert.equal(storeOf({ restore: 'vm1' }), process.env['REVENANT_STORE']);
  });
});
