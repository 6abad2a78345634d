/** virtio-balloon, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CardDriver, firstBuffer, hostileRings } from '../testing/card-driver.ts';
import { Bar } from '../testing/virtio-driver.ts';
import { VirtioBalloon } from './virtio-balloon.ts';
import type { VirtioCardOptions } from './virtio-pci.ts';

const Queue = { inflate: 0, deflate: 1 } as const;
/** As many as the test's memory has. */
const memoryPages = 0x40;
const make = (card: VirtioCardOptions): VirtioBalloon => new VirtioBalloon({ ...card, memoryPages });

function started(): CardDriver<VirtioBalloon> {
  const driver = new CardDriver(make);
  driver.start();
  return driver;
}

function name(driver: CardDriver<VirtioBalloon>, queue: number, pages: readonly number[]): void {
  pages.forEach((page, n) => {
    driver.memory.view.setUint32(firstBuffer + n * 4, page, true);
  });
  driver.submit(queue, [{ address: firstBuffer, length: pages.length * 4, write: false }]);
}

describe('virtio-balloon', () => {
  test('the host says how many pages it wants, which the driver is told and answers', () => {
    const driver = started();
    driver.device.setTarget(10);
    assert.equal(driver.device.readBar(Bar.isr, 1), 2, 'a change of the configuration');
    assert.equal(driver.device.readBar(Bar.configuration, 4), 10);
    driver.device.writeBar(Bar.configuration + 4, 4, 7);
    driver.device.writeBar(Bar.configuration, 4, 99);
    assert.equal(driver.device.actualPages, 7);
    assert.equal(driver.device.readBar(Bar.configuration, 4), 10, 'the wish is the host’s');
    driver.device.setTarget(2 ** 20);
    assert.equal(driver.device.readBar(Bar.configuration, 4), memoryPages);
    driver.device.writeBar(Bar.status, 1, 0);
    assert.equal(driver.device.readBar(Bar.configuration, 4), memoryPages, 'it stays for the next driver');
    assert.equal(driver.device.actualPages, 0);
  });

  test('pages that are given are emptied, those taken back are not touched', () => {
    const driver = started();
    driver.memory.bytes.fill(0xaa, 0x2_0000, 0x2_4000);
    name(driver, Queue.inflate, [0x20, 0x22, 2 ** 32 - 1, memoryPages]);
    const isEmpty = (page: number): boolean =>
      driver.memory.bytes.subarray(page * 4096, (page + 1) * 4096).every((byte) => byte === 0);
    assert.deepEqual([0x20, 0x21, 0x22, 0x23].map(isEmpty), [true, false, true, false]);
    name(driver, Queue.deflate, [0x21]);
    assert.equal(isEmpty(0x21), false);
    assert.equal(driver.used(Queue.deflate), 1);
  });

  test('a checkpoint in the middle of a request: it ends as without', () => {
    const driver = started();
    driver.memory.bytes.fill(0xaa, 0x2_0000, 0x2_1000);
    driver.memory.view.setUint32(firstBuffer, 0x20, true);
    driver.submit(Queue.inflate, [{ address: firstBuffer, length: 4, write: false }], { passNs: 0n });
    const other = driver.twin(make);
    for (const one of [driver, other]) {
      one.clock.advance(50_000n);
      assert.equal(one.used(Queue.inflate), 1);
    }
    assert.deepEqual(other.memory.bytes, driver.memory.bytes);
    assert.equal(driver.memory.bytes[0x2_0000], 0);
  });

  test('half a number, a writable buffer, or too many pages break it', () => {
    for (const [length, write] of [
      [6, false],
      [4, true],
      [1025 * 4, false],
    ] as const) {
      const driver = started();
      driver.submit(Queue.inflate, [{ address: firstBuffer, length, write }]);
      assert.ok(driver.broken);
    }
  });

  hostileRings(make, {
    runs: 300,
    // Each of 1,024 pages is looked at and emptied, for a queue of 16.
    trafficBytes: 16 * 1024 * 8192,
    fill: (driver, random) => {
      name(
        driver,
        random() % 2,
        Array.from({ length: 1 + (random() % 8) }, () => 0x20 + (random() % 0x30)),
      );
    },
  });
});
