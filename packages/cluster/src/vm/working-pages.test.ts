/** What a VM that runs leaves in the store for whoever takes it over. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointWriter, MemoryStore, raiseEpoch, readWorkingSet, saveWorkingSet } from '@revenant/storage';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { vmOf, VmHome } from '../../test-support/vm-home.ts';
import { until } from '../testing/until.ts';
import { maxWorkingPages, merged, WorkingPages } from './working-pages.ts';

before(() => {
  buildModules(() => undefined);
});

const pages = (...numbers: number[]): Uint32Array => Uint32Array.from(numbers);
const stored = async (store: MemoryStore): Promise<number[] | undefined> => {
  const { ram } = await readWorkingSet(store, 'v1', undefined);
  return ram && [...ram];
};

describe('working set', () => {
  test('what is used again and again comes first, what is no longer used last, and there is an end', () => {
    assert.deepEqual([...merged(pages(1, 2, 3), pages(9, 3, 1))], [1, 3, 2, 9]);
    const many = Uint32Array.from({ length: 1_000_000 }, (_, page) => page);
    const [first, ...rest] = merged(many, pages(500_000));
    assert.deepEqual([first, rest.length], [500_000, maxWorkingPages - 1]);
  });

  test('is stored now and then, when enough of it is new', async () => {
    const store = new MemoryStore();
    await saveWorkingSet(store, 'v1', { ram: pages(7, 8) });
    let lately: Uint32Array = Uint32Array.from({ length: 64 }, (_, page) => page);
    let asked = 0;
    const working = new WorkingPages({ store, vmId: 'v1', ask: async () => (asked++, lately) }, 0);
    working.look(1000);
    assert.equal(asked, 0);
    working.look(5000);
    const all = [7, 8, ...lately.filter((page) => page !== 7 && page !== 8)];
    await until('it is stored', async () => (await stored(store))?.length === all.length);
    assert.deepEqual(await stored(store), all);
    lately = pages(...lately.subarray(1), 100);
    working.look(20_000);
    // Asked again, it has done with the time before.
    await until('a third time', () => {
      working.look(40_000);
      return asked === 3;
    });
    assert.deepEqual(await stored(store), all);
  });

  test('of a machine are the pages that its processor came by', async () => {
    const store = new MemoryStore();
    const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
    await (await CheckpointWriter.open(store, earlier)).write(await busyMachine({ mib: 4 }));
    const home = new VmHome(store, { checkpointMs: 300 });
    try {
      const description = { memoryBytes: 4 * 2 ** 20 };
      await home.run(vmOf({ runtime: 'machine', description }, { boot: 0 }), 1);
      await until('it is stored', async () => (await stored(store)) !== undefined);
      await until('the page of its code', async () => (await stored(store))?.includes(7) === true);
    } finally {
      await home.close();
    }
  });
});
