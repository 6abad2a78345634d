/**
 * What becomes of outputs that left on the word of a standby when that ends, too: before it leads, as it leads, or long before its owner.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryStore, readOwner, type ObjectStore } from '@revenant/storage';
import {
  condition,
  follow,
  followed,
  pairOn,
  Road,
  storeWithLog,
  untilCheckpoint,
} from '../../../test-support/standby-homes.ts';
import { Listener, Typist, type VmHome } from '../../../test-support/vm-home.ts';
import type { ProtectedVm } from '../../decisions/records.ts';
import { until } from '../../testing/until.ts';
import { standbyNoteOf } from './owner-note.ts';

const noteOf = async (store: ObjectStore): Promise<string | undefined> =>
  standbyNoteOf('v1', (await readOwner(store, 'v1'))?.record.notes ?? {})?.node;

async function untilNoted(store: ObjectStore, by: string | undefined): Promise<void> {
  for (let noted = await noteOf(store); noted !== by; noted = await noteOf(store))
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Until outputs have left that only the standby on `b` can lead to: the store's log takes none any more. */
async function relyOn(
  { store, takesLog }: ReturnType<typeof storeWithLog>,
  { owner, standby, listener }: { owner: VmHome; standby: VmHome; listener: Listener },
  { vm, epoch }: { vm: ProtectedVm; epoch: number },
): Promise<void> {
  await untilCheckpoint(owner);
  follow(owner, epoch, { home: standby, name: 'b' }, vm);
  await untilNoted(store, 'b');
  await until('a standby in sync', () => condition(owner) === 'in-sync');
  takesLog(false);
  const typist = new Typist();
  typist.attach(owner);
  await typist.type('only b knows\n');
  await until('its echo', () => listener.text.includes('only b knows\n'));
}

/** Another node takes it over, and nobody is told that something was lost or comes again. */
async function goesOnExactly(
  road: Road,
  store: ObjectStore,
  listener: Listener,
  vm: ReturnType<typeof followed>,
  epoch: number,
): Promise<void> {
  const next = road.home('c', store);
  next.listen(listener);
  const heard = listener.text.length;
  await next.run(vm, epoch);
  await until('more', () => listener.text.length > heard);
  assert.deepEqual(listener.said, []);
}

const failing = import.meta.resolve('../../../test-support/failing-lead.ts');

describe('a standby that ends', () => {
  test('as it leads: what only it had is in the log before it gives the VM up, and whoever is next takes nothing back', async () => {
    const { store, takesLog } = storeWithLog(new MemoryStore());
    const road = new Road();
    const [listener, typist] = [new Listener(), new Typist()];
    const runtimes = { failing };
    const [owner, standby] = [road.home('a', store, { runtimes }), road.home('b', store, { runtimes })];
    const vm = followed({ runtime: 'failing', checkpointMs: 60_000, description: { stepMs: 20 } });
    owner.listen(listener);
    try {
      const epoch = await owner.run(vm, 0);
      await untilCheckpoint(owner);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      await untilNoted(store, 'b');
      takesLog(false);
      typist.attach(owner);
      await typist.type('only the standby knows\n');
      await until('its echo', () => listener.text.includes('only the standby knows\n'));
      await road.end('a');
      takesLog(true);
      await assert.rejects(standby.run(vm, epoch), /its emulator broke/);
      assert.equal(await noteOf(store), undefined);
      standby.host.do({ type: 'release', vmId: 'v1', epoch: epoch + 1 });
      await until('its release', () => standby.events.some(({ type }) => type === 'released'));
      const next = road.home('c', store, { runtimes });
      next.listen(listener);
      const heard = listener.text.length;
      await next.run(vm, epoch + 1);
      await until('more', () => listener.text.length > heard);
      assert.equal(listener.text.split('only the standby knows').length, 2);
      assert.deepEqual(listener.said, []);
      assert.deepEqual([...standby.said('standby-lost'), ...next.said('standby-lost')], []);
    } finally {
      takesLog(true);
      await road.close();
    }
  });

  test('long before its owner: the store has all by then, the record says so, and nothing is lost with the owner', async () => {
    const store = new MemoryStore();
    const { road, listener, owner, standby } = pairOn(store);
    const vm = followed({ checkpointMs: 60_000, description: { stepMs: 20 } });
    try {
      const epoch = await owner.run(vm, 0);
      await untilCheckpoint(owner);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await untilNoted(store, 'b');
      await road.end('b');
      await untilNoted(store, undefined);
      const heard = listener.text.length;
      await until('outputs that wait for the store', () => listener.text.length > heard + 1000);
      await road.end('a');
      await goesOnExactly(road, store, listener, vm, epoch);
    } finally {
      await road.close();
    }
  });

  test('with its owner, of a VM with the policy log: nothing rested on it, so nothing is noted, and nothing told', async () => {
    const store = new MemoryStore();
    const { road, listener, owner, standby } = pairOn(store);
    const vm = followed({ outputs: 'log', standby: true, description: { stepMs: 20 } });
    try {
      const epoch = await owner.run(vm, 0);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await until('a standby in sync', () => owner.said('standby-in-sync').length === 1);
      const checkpoints = owner.host.figures[0]!.checkpoints;
      await until('more checkpoints', () => owner.host.figures[0]!.checkpoints > checkpoints + 2);
      assert.equal(await noteOf(store), undefined);
      await Promise.all([road.end('a'), road.end('b')]);
      await goesOnExactly(road, store, listener, vm, epoch);
    } finally {
      await road.close();
    }
  });

  test('with its owner: whoever is next says how much may be repeated, also when another found that before and ended', async () => {
    const { store, takesLog } = storeWithLog(new MemoryStore());
    const { road, listener, owner, standby } = pairOn(store);
    const vm = followed({ checkpointMs: 60_000, description: { stepMs: 20 } });
    try {
      const epoch = await owner.run(vm, 0);
      await untilCheckpoint(owner);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await untilNoted(store, 'b');
      takesLog(false);
      const seen = listener.text.length;
      await until('outputs that the store knows nothing of', () => listener.text.length > seen + 2000);
      await Promise.all([road.end('a'), road.end('b')]);
      takesLog(true);
      const found = road.home('c', store);
      const noted = { node: 'b', incarnation: 1, epoch };
      const raise = { type: 'raise', vmId: 'v1', attempt: 1, incarnation: 1 } as const;
      // Whoever read another record than there is raises nothing.
      found.host.do({ ...raise, expectedEpoch: epoch });
      await until('a refusal', () => found.events.some(({ type }) => type === 'not-raised'));
      found.host.do({ ...raise, expectedEpoch: epoch, noted, standbyLost: 'both are gone' });
      await until('its epoch', () => found.events.some(({ type }) => type === 'raised'));
      await road.end('c');
      assert.equal(await noteOf(store), 'b');
      const next = road.home('d', store);
      next.listen(listener);
      const then = listener.text.length;
      await next.run(vm, epoch + 1, 'both are gone');
      await until('more', () => listener.text.length > then + 4000);
      assert.match(listener.said.join(), /^\d+ bytes of output may be repeated here$/);
      const [, count] = /^(\d+)/.exec(listener.said[0] ?? '') ?? [];
      assert.ok(Number(count) >= 1500, listener.said.join());
      // What is repeated is what was heard.
      const again = listener.text.slice(then, then + Number(count));
      assert.equal(again, listener.text.slice(then - Number(count), then));
      await untilNoted(store, undefined);
    } finally {
      takesLog(true);
      await road.close();
    }
  });

  for (const [what, session] of [
    ['another has begun meanwhile', 'c'],
    ['it was made anew in the same session', 'b'],
  ] as const)
    test(`before its owner, and ${what}, which leads: it has not all that was seen, and consoles are told`, async () => {
      const logged = storeWithLog(new MemoryStore());
      const { store, takesLog } = logged;
      const { road, listener, owner, standby } = pairOn(store);
      const vm = followed({ checkpointMs: 60_000, description: { stepMs: 20 } });
      try {
        const epoch = await owner.run(vm, 0);
        await relyOn(logged, { owner, standby, listener }, { vm, epoch });
        let next = standby;
        if (session === 'c') {
          await road.end('b');
          next = road.home('c', store);
        } else next.host.do({ type: 'stand-by', source: 'owner', vm: { ...vm, boot: vm.boot + 1 } });
        await until('the end of the one before', () => !next.host.standbys.follows('v1'));
        follow(owner, epoch, { home: next, name: session }, vm);
        await until('the one that began later', () => next.host.standbys.follows('v1'));
        await road.end('a');
        takesLog(true);
        next.listen(listener);
        const then = listener.text.length;
        await next.run(vm, epoch, session === 'c' ? 'b is gone' : undefined);
        await until('more', () => listener.text.length > then + 1000);
        assert.equal(next.said('standby-leads').length, 1, JSON.stringify(next.log));
        assert.equal(next.said('standby-lost').length, 1, JSON.stringify(next.log));
        assert.match(listener.said.join(), /^\d+ bytes of output may be repeated here$/);
        // Nothing is noted of what was lost once a state behind it is durable.
        await untilNoted(store, undefined);
      } finally {
        takesLog(true);
        await road.close();
      }
    });
});
