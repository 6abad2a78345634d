/** VMs that are moved live: what may be promised of what their new owner lets out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryStore, systemHost, type ObjectStore } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { condition, follow, Road } from '../../test-support/standby-homes.ts';
import { Listener, Typist, vmOf, type VmHome } from '../../test-support/vm-home.ts';
import type { ProtectedVm } from '../decisions/records.ts';
import { until } from '../testing/until.ts';

/** The VM leaves a home in order. */
async function handOver(home: VmHome, epoch: number): Promise<void> {
  const told = (type: string): boolean => home.events.some((event) => event.type === type);
  home.host.do({ type: 'hand-over', vmId: 'v1', epoch });
  await until('its end', () => told('stopped'));
  home.host.do({ type: 'release', vmId: 'v1', epoch });
  await until('its release', () => told('released'));
}

async function echoed(typist: Typist, listener: Listener, line: string): Promise<void> {
  await typist.type(`${line}\n`);
  await until(`the echo of ${line}`, () => listener.text.includes(`${line}\n`));
}

/** Another home has it follow, where its policy wants that. */
async function followedBy(owner: VmHome, epoch: number, home: VmHome, vm: ProtectedVm): Promise<void> {
  if (vm.spec.outputs !== 'standby') return;
  follow(owner, epoch, { home, name: 'c' }, vm);
  await until('a standby in sync', () => condition(owner) === 'in-sync');
}

/** The numbers of its steps, in the order in which they were heard. */
const stepsOf = (text: string): number[] =>
  [...text.matchAll(/^step (\d+) .*\n/gm)].map(([, step]) => Number(step));

const counted = (last: number): number[] => Array.from({ length: last }, (_, n) => n + 1);

/** A store of which checkpoints can be refused. */
function storeWithout(): { store: ObjectStore; takesCheckpoints: (takes: boolean) => void } {
  const store = new FaultyStore(new MemoryStore(), () => undefined, { host: systemHost, random: () => 0.5 });
  return {
    store,
    takesCheckpoints: (takes) => {
      store.plan = (operation, key) =>
        !takes && operation === 'put' && key.includes('/manifests/') ? { kind: 'refused' } : undefined;
    },
  };
}

describe('a VM that is moved', () => {
  for (const outputs of ['log', 'standby'] as const)
    test(`${outputs}: there and back again, every byte is heard once, every line taken once, though what it ran on ends after each move`, async () => {
      const store = new MemoryStore();
      const road = new Road();
      const [listener, typist] = [new Listener(), new Typist()];
      const vm = vmOf({ outputs, description: { stepMs: 5 } });
      const third = road.home('c', store);
      const lines = ['on the first', 'on the second', 'on the first again'];
      try {
        let epoch = 0;
        for (const [turn, line] of lines.entries()) {
          const home = road.home('ab'[turn % 2]!, store);
          home.listen(listener);
          epoch = await home.run(vm, epoch);
          typist.attach(home);
          await followedBy(home, epoch, third, vm);
          await echoed(typist, listener, line);
          if (turn < lines.length - 1) await handOver(home, epoch);
          await home.close();
        }
        // The last one was not asked: it is taken over from its checkpoint and its log, or by its standby.
        third.listen(listener);
        await third.run(vm, epoch);
        typist.attach(third);
        await echoed(typist, listener, 'on the third');
        assert.equal(third.said('standby-leads').length, outputs === 'standby' ? 1 : 0);
        const steps = stepsOf(listener.text);
        assert.deepEqual(steps, counted(steps.length));
        const echoes = listener.text.split('\n').filter((each) => each.startsWith('on the'));
        assert.deepEqual(echoes, [...lines, 'on the third']);
        assert.equal(typist.lost, 0);
        assert.deepEqual(listener.said, []);
      } finally {
        await road.close();
      }
    });

  for (const outputs of ['log', 'standby'] as const)
    test(`${outputs}: switched off, all that it said is heard; switched on, it begins anew, and nothing of its log before counts`, async () => {
      const store = new MemoryStore();
      const road = new Road();
      const [listener, typist] = [new Listener(), new Typist()];
      const vm = vmOf({ outputs, description: { stepMs: 5 } });
      const [first, second, third] = [road.home('a', store), road.home('b', store), road.home('c', store)];
      for (const home of [first, second]) home.listen(listener);
      try {
        const epoch = await first.run(vm, 0);
        typist.attach(first);
        await followedBy(first, epoch, third, vm);
        await echoed(typist, listener, 'before');
        first.host.do({ type: 'stop', vmId: 'v1', epoch, mode: 'power-off' });
        await until('its end', () => first.events.some(({ type }) => type === 'stopped'));
        const before = stepsOf(listener.text);
        assert.deepEqual(before, counted(before.length));
        assert.equal(condition(first), undefined);
        await road.end('a');
        listener.text = '';
        const again = { ...vm, boot: vm.boot + 1 };
        const later = await second.run(again, epoch);
        await followedBy(second, later, third, again);
        const fresh = new Typist();
        fresh.attach(second);
        await echoed(fresh, listener, 'after');
        await road.end('b');
        third.listen(listener);
        await third.run(again, later);
        const heard = listener.text.length;
        await until('more', () => listener.text.length > heard + 1000);
        const steps = stepsOf(listener.text);
        assert.deepEqual(steps, counted(steps.length));
        assert.equal(listener.text.includes('before'), false);
        assert.deepEqual(listener.said, []);
      } finally {
        await road.close();
      }
    });

  test('async: handed over, it lets nothing out before a checkpoint of its new owner says that outputs leave at once', async () => {
    const { store, takesCheckpoints } = storeWithout();
    const road = new Road();
    const [listener, typist] = [new Listener(), new Typist()];
    const vm = vmOf({ outputs: 'async', description: { stepMs: 5 } });
    const [first, second, third] = [road.home('a', store), road.home('b', store), road.home('c', store)];
    for (const home of [first, second, third]) home.listen(listener);
    try {
      const epoch = await first.run(vm, 0);
      typist.attach(first);
      await echoed(typist, listener, 'on the first');
      await handOver(first, epoch);
      takesCheckpoints(false);
      await second.run(vm, epoch);
      typist.attach(second);
      await typist.type('on the second\n');
      const begun = second.host.figures[0]!.instructions;
      const gone = (): boolean => (second.host.figures[0]?.instructions ?? 0n) > begun + 200n;
      await until('its way', gone);
      // Should it end now, whoever is next goes on from a state that promises all which was let out before.
      assert.equal(listener.text.includes('on the second'), false);
      await road.end('b');
      takesCheckpoints(true);
      const heard = listener.text.length;
      await third.run(vm, epoch + 1);
      await until('more', () => listener.text.length > heard + 1000);
      const steps = stepsOf(listener.text);
      assert.deepEqual(steps, counted(steps.length));
      assert.deepEqual(listener.said, []);
      typist.attach(third);
      await echoed(typist, listener, 'on the third');
    } finally {
      takesCheckpoints(true);
      await road.close();
    }
  });
});
