/** What a machine that follows another does where that cut a checkpoint. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { PageBuffers, restoreMachine } from '@revenant/emulator';
import { buildModules, nodeEngine } from '@revenant/emulator/host-node';
import { busyMachine } from '../../../test-support/busy-machine.ts';
import { FollowingMachine } from './following-machine.ts';

before(() => {
  buildModules(() => undefined);
});

const mib = 4;
const firstAbsent = 256;

test('sums all of its memory where somebody compares it, and else waits for no page of it', async () => {
  const snapshot = await busyMachine({ mib });
  const absent = Uint32Array.from({ length: mib * 256 - firstAbsent }, (_, n) => firstAbsent + n);
  const spaces = snapshot.spaces.map((space) => {
    if (space.name !== 'ram') return space;
    const count = space.indexes.filter((page) => page < firstAbsent).length;
    return {
      ...space,
      indexes: space.indexes.subarray(0, count),
      bytes: space.bytes.subarray(0, count * space.pageSize),
    };
  });
  let read = 0;
  const machine = await restoreMachine({
    snapshot: { ...snapshot, spaces },
    absent: { indexes: absent, read: () => (read++, new Uint8Array(4096)) },
    engine: nodeEngine,
  });
  const following = new FollowingMachine(machine, new PageBuffers(), undefined);
  let cut = 0;
  const comeToCut = (): void => {
    const instructions = machine.instructions + 1000n;
    following.further({
      log: [{ instructions, timeNs: 0n, number: cut, input: { kind: 'flush' } }],
      next: ++cut,
      to: instructions,
    });
    while (following.run(1_000_000) !== 'end');
  };
  comeToCut();
  assert.deepEqual([following.cuts().map(({ memory }) => memory), read], [[undefined], 0]);
  following.sums();
  assert.equal(read, absent.length);
  comeToCut();
  assert.equal(following.cuts()[0]?.cut, 2);
});
