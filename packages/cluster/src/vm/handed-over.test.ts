/** VMs that are moved live: what may be promised of what their new owner lets out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryStore, systemHost, type ObjectStore } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { Road } from '../../test-support/standby-homes.ts';
import { Listener, Typist, vmOf, type VmHome } from '../../test-support/vm-home.ts';
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
