/** A VM's past under the real gdb: back over a failover, by the logs of two owners. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createMachine, type LoggedInput, type Machine } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  CheckpointWriter,
  LogWriter,
  openStore,
  raiseEpoch,
  type MachineSnapshot,
  type ObjectStore,
} from '@revenant/storage';
import { encodeBatch } from '../../../cluster/src/vm/log-batch.ts';
import { gdb, hasGdb } from '../../../debugger/test-support/gdb.ts';
import { countingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { startGdbServer } from './gdb.ts';
import { openPast } from './past.ts';

let folder: string;
before(async () => {
  buildModules(() => undefined);
  folder = await mkdtemp(join(tmpdir(), 'revenant-past-'));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Behind the store at 10_104dh, which the guest comes to each 1,800 instructions. */
const behindStore = 0x10_1052n;

function runUntil(machine: Machine, count: bigint, rip?: bigint): void {
  if (machine.instructions < count) machine.run({ instructions: count - machine.instructions });
  while (rip !== undefined && machine.registers().rip !== rip) machine.run({ instructions: 1 });
}

/** An owner of the VM, whose log goes on where that of the one before ended. */
async function own(
  store: ObjectStore,
  owner: string,
  act: (log: LogWriter, writer: CheckpointWriter) => Promise<void>,
): Promise<void> {
  const ownership = await raiseEpoch(store, 'vm1', { owner, replayLog: true });
  const previous = ownership.log?.last;
  const log = new LogWriter(store, ownership, { from: previous?.to ?? 0n, previous });
  const writer = await CheckpointWriter.open(store, ownership);
  await act(log, writer);
  await log.close();
  await writer.close();
}

test(
  'who wrote this last? the answer lies before the failover',
  { skip: hasGdb ? false : 'there is no gdb' },
  async () => {
    const url = `file:${join(folder, 'store')}`;
    const store = await openStore(url);
    const entries: LoggedInput[] = [];
    const machine = await createMachine({
      description: { memoryBytes: 4 * 2 ** 20 },
      engine: nodeEngine,
      backends: { hash: nodeHash, input: (entry) => void entries.push(entry) },
    });
    machine.boot(countingPlan);
    const say = async (log: LogWriter): Promise<void> => {
      const taken = entries.splice(0);
      if (taken.length > 0)
        log.append({ count: machine.instructions, payload: encodeBatch({ log: taken, places: {} }) });
      log.mark(machine.instructions);
      await log.flush();
    };
    await own(store, 'first', async (log, writer) => {
      runUntil(machine, 1000n);
      const snapshot = machine.snapshot({ full: true }) as unknown as MachineSnapshot;
      await say(log);
      snapshot.devices['revenant.vm'] = { version: 1, state: { nextInput: 2 } };
      await writer.write(snapshot);
      runUntil(machine, 50_000n, behindStore);
      await say(log);
    });
    const failover = machine.instructions;
    await own(store, 'second', async (log) => {
      runUntil(machine, failover + 700n);
      await say(log);
    });
    await store.close();

    const { target, close } = await openPast('vm1@1-1', url, { say: () => undefined });
    assert.equal(target.end, failover + 700n);
    const server = await startGdbServer(target, {
      listen: { host: '127.0.0.1', port: 0 },
      arch: 'i386',
      say: () => undefined,
    });
    const { output } = await gdb(server, [
      'monitor goto end',
      'maintenance flush register-cache',
      'p $instructions',
      'watch *(int *)0x200100',
      'reverse-continue',
      'x/i $pc',
      'p $instructions',
      'delete',
      'continue',
    ]);
    await server.close();
    await close();
    assert.match(output, new RegExp(`\\$1 = ${String(failover + 700n)}\n`));
    assert.match(output, /=> 0x10104d:\s+mov\s+%eax,0x200100/);
    assert.match(output, new RegExp(`\\$2 = ${String(failover - 1n)}\n`));
    assert.match(output, /No more reverse-execution history/);
    assert.equal(target.count, failover + 700n, 'forward again, up to the end of the log');
  },
);
