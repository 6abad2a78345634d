/** Threads that are kept ready for the next guest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpareWorkers } from './spare-workers.ts';

void test('as many workers wait as a node with so many VMs may need at once, and whoever takes one has it alone', async (t) => {
  let vms = 0;
  const spares = new SpareWorkers({ module: undefined, vms: () => vms, isShort: () => false });
  t.after(() => spares.close());
  const until = async (count: number): Promise<void> => {
    const end = performance.now() + 60_000;
    while (spares.count !== count) {
      assert.ok(performance.now() < end, `${spares.count} wait, not ${count}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await until(1);
  vms = 4;
  const first = spares.take('unused:');
  assert.equal(spares.count, 0);
  await until(3);
  const taken = [first, ...Array.from({ length: 4 }, () => spares.take('unused:'))];
  assert.equal(new Set(taken).size, 5);
  for (const worker of taken) worker.on('error', () => undefined);
  await until(3);
  await spares.close();
  assert.equal(spares.count, 0);
  await Promise.all(taken.map((worker) => worker.terminate()));
});

void test('while somebody waits for a guest none is made beside it', async (t) => {
  let isAwaited = true;
  let asked = 0;
  let goOn = (): void => undefined;
  const twice = new Promise<void>((resolve) => (goOn = resolve));
  const spares = new SpareWorkers({
    module: undefined,
    vms: () => 0,
    isAwaited: () => {
      if (isAwaited && ++asked === 2) goOn();
      return isAwaited;
    },
  });
  t.after(() => spares.close());
  await twice;
  assert.equal(spares.count, 0);
  isAwaited = false;
  while (spares.count === 0) await new Promise((resolve) => setTimeout(resolve, 20));
});

void test('a host with little memory keeps one', async (t) => {
  let looked = 0;
  let goOn = (): void => undefined;
  const twice = new Promise<void>((resolve) => (goOn = resolve));
  const isShort = (): boolean => {
    if (++looked === 2) goOn();
    return true;
  };
  const spares = new SpareWorkers({ module: undefined, vms: () => 100, isShort });
  t.after(() => spares.close());
  await twice;
  assert.equal(spares.count, 1);
});

void test('a spare that dies makes way for another', async (t) => {
  const spares = new SpareWorkers({ module: undefined, vms: () => 0 });
  t.after(() => spares.close());
  const dead = spares.take('unused:');
  await dead.terminate();
  const next = spares.take('unused:');
  assert.notEqual(next, dead);
  await next.terminate();
});
