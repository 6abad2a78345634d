/** A VM whose node has fallen silent, built on another from what the store has, before anybody knows that the node is over. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointWriter, MemoryStore, raiseEpoch, systemHost, type ObjectStore } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { busyMachine } from '../../../test-support/busy-machine.ts';
import { Road } from '../../../test-support/standby-homes.ts';
import { Listener, Typist, vmOf, type VmHome } from '../../../test-support/vm-home.ts';
import type { ProtectedVm } from '../../decisions/records.ts';
import { until } from '../../testing/until.ts';

before(() => {
  buildModules(() => undefined);
});

const largeMiB = 16;

/** A VM with the policy `log` under epoch 1, from a state in the store. */
async function machineVm(store: ObjectStore, mib: number): Promise<ProtectedVm> {
  const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
  await (await CheckpointWriter.open(store, earlier)).write(await busyMachine({ mib }));
  const description = { memoryBytes: mib * 2 ** 20 };
  return vmOf({ runtime: 'machine', description, outputs: 'log', checkpointMs: 60_000 }, { boot: 0 });
}

const typedLines = (text: string): string[] =>
  text.split('\n').filter((line) => line !== '' && !line.startsWith('step'));

async function typeAt(home: VmHome, typist: Typist, listener: Listener, line: string): Promise<void> {
  typist.attach(home);
  await typist.type(`${line}\n`);
  await until('its echo', () => listener.text.includes(`${line}\n`));
}

const isReady = (home: VmHome): boolean => home.host.standbys.follows('v1');

describe('a VM of a silent node', () => {
  for (const runtime of ['chain', 'machine'] as const)
    test(`${runtime}: goes on at once where it was built; every byte is shown once, every line taken once`, async () => {
      const store = new MemoryStore();
      const road = new Road();
      const listener = new Listener();
      const typist = new Typist();
      const vm =
        runtime === 'machine' ? await machineVm(store, 1) : vmOf({ outputs: 'log', checkpointMs: 200 });
      let owner = road.home('n0', store);
      owner.listen(listener);
      try {
        let epoch = await owner.run(vm, runtime === 'machine' ? 1 : 0);
        for (let turn = 1; turn <= 4; turn++) {
          await typeAt(owner, typist, listener, `turn ${String(turn)} before`);
          const next = road.home(`n${String(turn)}`, store);
          next.host.do({ type: 'stand-by', vm, source: 'store' });
          if (turn !== 4) await until('it is built', () => isReady(next));
          // Its owner is only silent: it goes on for a while, with what comes in.
          if (turn === 2) await typeAt(owner, typist, listener, 'turn 2 meanwhile');
          await road.end(`n${String(turn - 1)}`);
          next.listen(listener);
          epoch = await next.run(vm, epoch);
          assert.equal(next.said('standby-leads').length, 1, JSON.stringify(next.log));
          owner = next;
        }
        await typeAt(owner, typist, listener, 'the end');
        const before = [1, 2, 3, 4].map((turn) => `turn ${String(turn)} before`);
        assert.deepEqual(typedLines(listener.text), [
          ...before.slice(0, 2),
          'turn 2 meanwhile',
          ...before.slice(2),
          'the end',
        ]);
        assert.equal(typist.lost, 0);
        assert.deepEqual(listener.said, []);
      } finally {
        await road.close();
      }
    });

  for (const owners of ['no', 'a'] as const)
    test(`that has not all of its memory yet goes on all the same, after ${owners} newer checkpoint`, async () => {
      const inner = new MemoryStore();
      const vm = await machineVm(inner, largeMiB);
      const road = new Road();
      const listener = new Listener();
      const typist = new Typist();
      const slow = new FaultyStore(inner, () => undefined, { host: systemHost, random: () => 0.5 });
      const owner = road.home('a', inner);
      const next = road.home('b', slow);
      owner.listen(listener);
      try {
        const epoch = await owner.run(vm, 1);
        await until('all of its memory', () => owner.said('vm-resident').length === 1);
        await typeAt(owner, typist, listener, 'before');
        // Once it follows, the rest of its memory takes its time.
        let isBuilt = false;
        slow.plan = (_operation, key) => {
          isBuilt ||= isReady(next);
          return isBuilt && key.includes('/packs/') ? { kind: 'slow', delayMs: 500 } : undefined;
        };
        next.host.do({ type: 'stand-by', vm, source: 'store' });
        await until('it is built', () => isReady(next));
        if (owners === 'a') assert.equal(await owner.host.makeDurable('v1'), true);
        await road.end('a');
        next.listen(listener);
        const started = next.run(vm, epoch);
        await until('it leads or not', () => next.log.some(({ event }) => event.startsWith('standby-')));
        slow.plan = () => undefined;
        await started;
        await typeAt(next, typist, listener, 'after');
        const [leads, unused] = ['standby-leads', 'standby-unused'].map((event) => next.said(event));
        assert.equal(leads!.length, owners === 'a' ? 0 : 1, JSON.stringify(next.log));
        if (owners === 'a') assert.match(unused![0]!.reason, /lacks pages of a checkpoint/);
        await until('the rest of its memory', () => next.said('vm-resident').length === 1);
        assert.equal(await next.host.makeDurable('v1'), true);
        assert.deepEqual(typedLines(listener.text), ['before', 'after']);
        assert.deepEqual(listener.said, []);
      } finally {
        slow.plan = () => undefined;
        await road.close();
      }
    });
});
