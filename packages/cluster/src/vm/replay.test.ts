/** A VM of the cluster under load, repeated on a machine of its own from its checkpoint and its stored log. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointKey, CheckpointWriter, MemoryStore, openCheckpoint, raiseEpoch } from '@revenant/storage';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { assertRepeats } from '../../test-support/repeated.ts';
import { Listener, vmOf, VmHome } from '../../test-support/vm-home.ts';
import { until } from '../testing/until.ts';

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
      const log = await assertRepeats(store, from, key);
      const kinds = new Set(log.map(({ input }) => input.kind));
      for (const kind of ['serial', 'key', 'skip', 'rate', 'flush'] as const)
        assert.ok(kinds.has(kind), kind);
    } finally {
      await home.close();
    }
  });
