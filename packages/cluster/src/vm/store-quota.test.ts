/** How much of the store a VM holds, against its quota. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { StoreQuota } from './store-quota.ts';

function quotaOf(quotaBytes: number | undefined): {
  quota: StoreQuota;
  held: { bytes: number };
  told: boolean[];
} {
  const held = { bytes: 0 };
  const told: boolean[] = [];
  const measure = (): Promise<number> => Promise.resolve(held.bytes);
  return {
    quota: new StoreQuota({ quotaBytes, measure, onChange: (isFull) => told.push(isFull) }),
    held,
    told,
  };
}

test('what was written counts at once, and what was removed when it is looked at', async () => {
  const { quota, held, told } = quotaOf(100);
  quota.look(0);
  await turn();
  quota.wrote(60);
  assert.deepEqual(told, []);
  quota.wrote(40);
  assert.deepEqual(told, [true]);
  held.bytes = 70;
  quota.look(1);
  await turn();
  assert.deepEqual(told, [true, false]);
  assert.equal(quota.usedBytes, 70);
});

test('a VM that holds more than it may as it comes is full after the first look', async () => {
  const { quota, held, told } = quotaOf(100);
  held.bytes = 500;
  quota.look(0);
  await turn();
  assert.deepEqual(told, [true]);
});

test('another quota counts at once, and none is no limit', () => {
  const { quota, told } = quotaOf(100);
  quota.wrote(150);
  quota.setQuota(200);
  assert.deepEqual(told, [true, false]);
  quota.setQuota(150);
  quota.setQuota(undefined);
  quota.wrote(1e12);
  assert.deepEqual(told, [true, false, true, false]);
});

test('a store that does not answer changes nothing, and is asked again', async () => {
  let asked = 0;
  const measure = (): Promise<number> =>
    asked++ === 0 ? Promise.reject(new Error('away')) : Promise.resolve(7);
  const quota = new StoreQuota({ quotaBytes: 100, measure, onChange: () => undefined });
  quota.look(0);
  await turn();
  quota.look(1);
  assert.equal(asked, 1);
  quota.look(60_000);
  await turn();
  assert.equal(quota.usedBytes, 7);
});
