/** A VM of the cluster under load, repeated on a machine of its own from its checkpoint and its stored log. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { restoreMachine, type LoggedInput, type Machine } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  CheckpointKey,
  CheckpointWriter,
  MemoryStore,
  openCheckpoint,
  raiseEpoch,
  type MachineSnapshot,
} from '@revenant/storage';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { Listener, vmOf, VmHome } from '../../test-support/vm-home.ts';
import { until } from '../testing/until.ts';
import { readLogBehind } from './replay-log.ts';

async function restored(snapshot: MachineSnapshot): Promise<Machine> {
  return restoreMachine({
    snapshot: structuredClone(snapshot),
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
}

before(() => {
  buildModules(() => undefined);
});

for (const key of [undefined, new CheckpointKey(new Uint8Array(32).fill(7))])
  test(`a VM under load is repeated from its checkpoint and its log to the state of a later checkpoint${key === undefined ? '' : ', encrypted'}`, async () => {
    const store = new MemoryStore();
    // A checkpoint to go on from, as a node before would have left it.
    const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0, key });
    const writer = await CheckpointWriter.open(store, earlier, { key });
    await writer.write(await busyMachine());
    const home = new VmHome(store, { checkpointMs: 300 }, { key });
    const listener = new Listener();
    home.listen(listener);
    const vm = vmOf(
      { runtime: 'machine', description: { memoryBytes: 2 ** 20 }, outputs: 'log' },
      { boot: 0 },
    );
    try {
      await home.run(vm, 1);
      const checkpoints = (): number => home.host.figures[0]?.checkpoints ?? 0;
      await until('a checkpoint', () => checkpoints() >= 1);
      const from = await openCheckpoint(store, 'v1', { key });
      for (let n = 0; n < 40; n++) {
        const typed = new TextEncoder().encode(`line ${String(n)}\n`);
        await home.host.input('v1', [{ kind: 'serial', port: 0, bytes: typed }]);
        await home.host.press('v1', ['KeyA']);
        await until('its echo', () => listener.text.includes(`line ${String(n)}\n`));
      }
      const before = checkpoints();
      await until('two more checkpoints', () => checkpoints() >= before + 2);
      const reader = await openCheckpoint(store, 'v1', { key });
      const to = await reader.readSnapshot({ onBase: true });
      await reader.close();

      const log: LoggedInput[] = (await readLogBehind(store, from, key))?.log ?? [];
      const kinds = new Set(log.map(({ input }) => input.kind));
      for (const kind of ['serial', 'key', 'skip', 'rate', 'flush'] as const)
        assert.ok(kinds.has(kind), kind);
      const twin = await restored(await from.readSnapshot({ onBase: true }));
      await from.close();
      // Up to the flush of the later checkpoint, which that has counted.
      const end = log.findIndex(
        ({ input, instructions }) => input.kind === 'flush' && instructions === to.instructions,
      );
      assert.ok(end >= 0, 'the log has the making of the checkpoint');
      twin.replay(log.slice(0, end + 1));
      for (let turns = 0; twin.instructions < to.instructions; turns++) {
        assert.ok(turns < 100_000);
        const { reason } = twin.run({ instructions: to.instructions - twin.instructions, idle: 'wait' });
        assert.equal(reason, 'limit');
      }
      assert.equal(twin.catchUp(), true);
      assert.equal(twin.timeNs, to.virtualTimeNs);
      assert.equal(twin.stateHash(), (await restored(to)).stateHash());
    } finally {
      await home.close();
    }
  });
