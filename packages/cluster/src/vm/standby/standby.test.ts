/** A VM on one node, followed on another: how far it is, that it goes on without the store's help, and that it notices when it is wrong. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointWriter, MemoryStore, raiseEpoch } from '@revenant/storage';
import { busyMachine } from '../../../test-support/busy-machine.ts';
import { flipChannel } from '../../../test-support/flip-channel.ts';
import {
  condition,
  follow,
  followed,
  pairOn,
  Road,
  storeWithLog,
  untilCheckpoint,
} from '../../../test-support/standby-homes.ts';
import { Listener, Typist } from '../../../test-support/vm-home.ts';
import { until } from '../../testing/until.ts';

before(() => {
  buildModules(() => undefined);
});

const flippable = {
  chain: import.meta.resolve('../../../test-support/flippable-chain.ts'),
  machine: import.meta.resolve('../../../test-support/flippable-machine.ts'),
};

const lines = (text: string): string[] => text.split('\n').filter((line) => !line.startsWith('step'));

describe('standbys', () => {
  for (const runtime of ['chain', 'machine'] as const)
    test(`${runtime}: the VM goes from owner to standby again and again; every byte is shown once, every line taken once`, async () => {
      const store = new MemoryStore();
      const road = new Road();
      const listener = new Listener();
      const typist = new Typist();
      let vm = followed();
      let epoch = 0;
      if (runtime === 'machine') {
        const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
        await (await CheckpointWriter.open(store, earlier)).write(await busyMachine());
        vm = { ...followed({ runtime, description: { memoryBytes: 2 ** 20 } }), boot: 0 };
        epoch = 1;
      }
      let owner = road.home('n0', store);
      owner.listen(listener);
      try {
        epoch = await owner.run(vm, epoch);
        for (let turn = 1; turn <= 3; turn++) {
          const name = `n${String(turn)}`;
          const next = road.home(name, store);
          follow(owner, epoch, { home: next, name }, vm);
          typist.attach(owner);
          await until('a standby in sync', () => condition(owner) === 'in-sync');
          for (let n = 0; n < 5; n++) {
            const line = `turn ${String(turn)} line ${String(n)}\n`;
            await typist.type(line);
            await until('its echo', () => listener.text.includes(line));
          }
          road.homes.delete(`n${String(turn - 1)}`);
          await owner.close();
          next.listen(listener);
          epoch = await next.run(vm, epoch);
          assert.equal(next.said('standby-leads').length, 1, JSON.stringify(next.log));
          assert.deepEqual(next.said('standby-diverged'), []);
          owner = next;
        }
        typist.attach(owner);
        await typist.type('the end\n');
        await until('its echo', () => listener.text.includes('the end\n'));
        const heard = lines(listener.text).filter((line) => line !== '');
        const typed = [1, 2, 3].flatMap((turn) =>
          [0, 1, 2, 3, 4].map((n) => `turn ${String(turn)} line ${String(n)}`),
        );
        assert.deepEqual(heard, [...typed, 'the end']);
        assert.equal(typist.lost, 0);
        assert.deepEqual(listener.said, []);
      } finally {
        for (const home of road.homes.values()) await home.close();
      }
    });

  test('outputs leave, and the VM is taken over with all of them, while the store takes no log', async () => {
    const { store, takesLog } = storeWithLog(new MemoryStore());
    const { road, listener, owner, standby } = pairOn(store);
    const vm = followed({ checkpointMs: 60_000, description: { stepMs: 20 } });
    try {
      const epoch = await owner.run(vm, 0);
      await untilCheckpoint(owner);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      // From now on the log stays with the standby alone.
      takesLog(false);
      const typist = new Typist();
      typist.attach(owner);
      await typist.type('only the standby knows\n');
      await until('its echo', () => listener.text.includes('only the standby knows\n'));
      await until('its safety', () => typist.durable === typist.typed.length);
      const heard = listener.text.length;
      road.homes.delete('a');
      await owner.close();
      takesLog(true);
      const reads: string[] = [];
      const get = store.get.bind(store);
      store.get = (key) => {
        reads.push(key);
        return get(key);
      };
      standby.listen(listener);
      await standby.run(vm, epoch);
      await until('more', () => listener.text.length > heard);
      const inputs = reads.filter((key) => /\/(packs|log)\//.test(key));
      const [leads] = standby.said('standby-leads');
      assert.ok(Number(leads?.details?.['handedEntries']) > 0, JSON.stringify(leads));
      assert.equal(leads?.details?.['readEntries'], 0);
      // What settles where the store's log ends, and no more.
      assert.ok(inputs.length <= 2, inputs.join(' '));
      assert.equal(listener.text.split('only the standby knows').length, 2);
      assert.deepEqual(listener.said, []);
    } finally {
      takesLog(true);
      for (const home of road.homes.values()) await home.close();
      await standby.close();
    }
  });

  test('a standby that hears nothing lags, which is seen; outputs wait for the store, the guest for nobody, and it catches up from there', async () => {
    const store = new MemoryStore();
    const { road, listener, owner, standby } = pairOn(store);
    const vm = followed({ description: { stepMs: 5 } });
    try {
      const epoch = await owner.run(vm, 0);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      road.drops = () => true;
      const heard = listener.text.length;
      await until('a lag', () => condition(owner) === 'lagging');
      await until('the event', () => owner.said('standby-lags').length === 1);
      await until('more outputs', () => listener.text.length > heard + 5_000);
      assert.equal(owner.host.inputTrouble('v1'), undefined);
      road.drops = () => false;
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      road.homes.delete('a');
      await owner.close();
      standby.listen(listener);
      await standby.run(vm, epoch);
      const then = listener.text.length;
      await until('more outputs', () => listener.text.length > then + 2000);
      assert.equal(standby.said('standby-leads').length, 1);
      assert.deepEqual(listener.said, []);
    } finally {
      for (const home of road.homes.values()) await home.close();
    }
  });

  for (const runtime of ['chain', 'machine'] as const)
    test(`${runtime}: one bit flipped in the memory of a standby raises the alarm, which names the checkpoint after which it happened; it is made anew`, async () => {
      const store = new MemoryStore();
      const road = new Road();
      const runtimes = { flippable: flippable[runtime] };
      const [owner, standby] = [road.home('a', store, { runtimes }), road.home('b', store, { runtimes })];
      let vm = followed({ runtime: 'flippable' });
      let epoch = 0;
      if (runtime === 'machine') {
        const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
        await (await CheckpointWriter.open(store, earlier)).write(await busyMachine());
        vm = { ...followed({ runtime: 'flippable', description: { memoryBytes: 2 ** 20 } }), boot: 0 };
        epoch = 1;
      }
      const channel = new BroadcastChannel(flipChannel);
      const checked = (): string | null => owner.host.figures[0]?.standby?.checked ?? null;
      const checkpoint = (name: string | null | undefined): number => Number(name?.split('-')[1] ?? -1);
      try {
        epoch = await owner.run(vm, epoch);
        follow(owner, epoch, { home: standby, name: 'b' }, vm);
        await until('a standby in sync', () => condition(owner) === 'in-sync');
        const first = checkpoint(checked());
        await until('checkpoints that are alike', () => checkpoint(checked()) > first + 1);
        assert.deepEqual(standby.said('standby-diverged'), []);
        const before = checkpoint(checked());
        channel.postMessage('flip');
        await until('the alarm', () => standby.said('standby-diverged').length === 1);
        const [alarm] = standby.said('standby-diverged');
        assert.match(alarm?.reason ?? '', new RegExp(`page ${runtime === 'chain' ? '40' : '192'} of ram`));
        const after = String(alarm?.details?.['after']);
        assert.ok(alarm?.reason.includes(`did not at checkpoint ${after}`), alarm?.reason);
        // The one before the first that differs: no earlier than the last that was known to be right when it was flipped.
        assert.ok(checkpoint(after) >= before, `${after} after ${String(before)}`);
        // To make another machine takes long on a host that has much to do.
        if (runtime === 'machine') return;
        const isAlike = (): boolean => checkpoint(checked()) > checkpoint(after) + 1;
        await until('another that is in sync', () => condition(owner) === 'in-sync' && isAlike());
        assert.equal(standby.said('standby-diverged').length, 1);
      } finally {
        channel.close();
        for (const home of road.homes.values()) await home.close();
      }
    });
});

test('a guest that says nothing costs its owner and its standby a few messages a second', async () => {
  const { road, owner, standby } = pairOn(new MemoryStore());
  const vm = followed({ checkpointMs: 60_000, description: { stepMs: 60_000 } });
  const counts = { 'standby-feed': 0, 'standby-ack': 0, 'standby-sums': 0 };
  try {
    const epoch = await owner.run(vm, 0);
    await untilCheckpoint(owner);
    follow(owner, epoch, { home: standby, name: 'b' }, vm);
    await until('a standby in sync', () => condition(owner) === 'in-sync');
    const began = performance.now();
    road.drops = ({ type }) => {
      counts[type]++;
      return false;
    };
    await until('some messages', () => counts['standby-ack'] >= 10);
    const seconds = (performance.now() - began) / 1000;
    // One each 100 ms, and its answer.
    assert.ok(counts['standby-feed'] <= 5 + 11 * seconds, JSON.stringify({ counts, seconds }));
    assert.ok(counts['standby-ack'] <= counts['standby-feed'] + 1, JSON.stringify(counts));
  } finally {
    await road.close();
  }
});

describe('a policy that changes while a standby is there', () => {
  for (const first of ['set-standby', 'set-outputs'] as const)
    test(`async to standby, told ${first} first: it is followed as soon as its log is kept`, async () => {
      const { road, listener, owner, standby } = pairOn(new MemoryStore());
      const vm = followed({ outputs: 'async', description: { stepMs: 5 } });
      try {
        const epoch = await owner.run(vm, 0);
        await untilCheckpoint(owner);
        const change = (): void =>
          owner.host.do({ type: 'set-outputs', vmId: 'v1', epoch, outputs: 'standby' });
        if (first === 'set-outputs') change();
        follow(owner, epoch, { home: standby, name: 'b' }, vm);
        if (first === 'set-standby') change();
        await until('a standby in sync', () => condition(owner) === 'in-sync');
        road.homes.delete('a');
        await owner.close();
        standby.listen(listener);
        await standby.run({ ...vm, spec: { ...vm.spec, outputs: 'standby' } }, epoch);
        assert.equal(standby.said('standby-leads').length, 1, JSON.stringify(standby.log));
      } finally {
        for (const home of road.homes.values()) await home.close();
      }
    });

  test('to async and back, while things are typed that no log has: what follows it is made anew before anything rests on it', async () => {
    const { road, listener, owner, standby } = pairOn(new MemoryStore());
    const vm = followed({ outputs: 'standby', description: { stepMs: 5 } });
    const typist = new Typist();
    try {
      const epoch = await owner.run(vm, 0);
      typist.attach(owner);
      follow(owner, epoch, { home: standby, name: 'b' }, vm);
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      const change = (outputs: 'async' | 'standby'): void =>
        owner.host.do({ type: 'set-outputs', vmId: 'v1', epoch, outputs });
      change('async');
      await until('no log', () => condition(owner) === undefined);
      await typist.type('nobody logs this\n');
      await until('its echo', () => listener.text.includes('nobody logs this\n'));
      change('standby');
      await until('a standby in sync', () => condition(owner) === 'in-sync');
      await typist.type('the end\n');
      await until('its echo', () => listener.text.includes('the end\n'));
      road.homes.delete('a');
      await owner.close();
      standby.listen(listener);
      await standby.run(vm, epoch);
      typist.attach(standby);
      await typist.type('once more\n');
      await until('its echo', () => listener.text.includes('once more\n'));
      assert.deepEqual(standby.said('standby-diverged'), []);
      assert.deepEqual(
        lines(listener.text).filter((line) => line !== ''),
        ['nobody logs this', 'the end', 'once more'],
      );
    } finally {
      for (const home of road.homes.values()) await home.close();
    }
  });
});
