/** A VM's run repeated on a machine of its own, from a checkpoint and the log behind it. */
import assert from 'node:assert/strict';
import { restoreMachine, type LoggedInput, type Machine } from '@revenant/emulator';
import { nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import {
  openCheckpoint,
  type CheckpointKey,
  type CheckpointReader,
  type MachineSnapshot,
  type ObjectStore,
} from '@revenant/storage';
import { readLogBehind } from '../src/vm/replay-log.ts';

async function restored(snapshot: MachineSnapshot): Promise<Machine> {
  return restoreMachine({
    snapshot: structuredClone(snapshot),
    engine: nodeEngine,
    backends: { hash: nodeHash },
  });
}

/** Repeats the run of `v1` from a checkpoint up to its newest, asserts that it comes out the same, and gives the log. Closes `from`. */
export async function assertRepeats(
  store: ObjectStore,
  from: CheckpointReader,
  key?: CheckpointKey,
): Promise<LoggedInput[]> {
  const reader = await openCheckpoint(store, 'v1', { key });
  const to = await reader.readSnapshot({ onBase: true });
  await reader.close();
  const log = (await readLogBehind(store, from, key))?.log ?? [];
  const twin = await restored(await from.readSnapshot({ onBase: true }));
  await from.close();
  // Up to the flush of the later checkpoint, which that has counted.
  const end = log.findIndex(
    ({ input, instructions, timeNs }) =>
      input.kind === 'flush' && instructions === to.instructions && timeNs === to.virtualTimeNs,
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
  return log;
}
