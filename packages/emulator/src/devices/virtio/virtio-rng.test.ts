/** virtio-rng and the random source behind it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CardDriver, firstBuffer, hostileRings } from '../testing/card-driver.ts';
import { Bar } from '../testing/virtio-driver.ts';
import { chachaBlock, RandomSource } from '../system/random-source.ts';
import type { VirtioCardOptions } from './virtio-pci.ts';
import { VirtioRng } from './virtio-rng.ts';

const source = (): RandomSource => new RandomSource({ seed: 7n });
function make(card: VirtioCardOptions, from = source()): VirtioRng {
  return new VirtioRng({ ...card, draw: (length) => from.draw(length) });
}
const buffer = (length: number, write = true): { address: number; length: number; write: boolean } => ({
  address: firstBuffer,
  length,
  write,
});

describe('the random source', () => {
  test('the block function gives the vector of RFC 8439, 2.3.2', () => {
    const key = Uint8Array.from({ length: 32 }, (_, n) => n);
    const block = chachaBlock(key, 1, [0x0900_0000, 0x4a00_0000, 0]);
    assert.equal(
      Buffer.from(block).toString('hex'),
      '10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e' +
        'd2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e',
    );
  });

  test('what it gives follows from seed and stirred bytes alone, and a saved one goes on the same', () => {
    const [one, same] = [source(), source()];
    assert.deepEqual(one.draw(100), same.draw(100));
    const saved = one.save();
    const lives = [0, 1].map((life) => {
      const twin = source();
      twin.restore(saved, twin.version);
      twin.stir(Uint8Array.of(life, 2, 3));
      return Buffer.from(twin.draw(64)).toString('hex');
    });
    assert.notEqual(lives[0], lives[1]);
    same.stir(Uint8Array.of(0, 2, 3));
    assert.equal(Buffer.from(same.draw(64)).toString('hex'), lives[0]);
    one.reset();
    assert.deepEqual(one.save(), saved, 'a reset brings no number again');
  });

  test('each of 256 stirred bytes counts', () => {
    const seen = new Set<string>();
    for (let at = 0; at < 256; at++) {
      const one = source();
      one.stir(Uint8Array.from({ length: 256 }, (_, n) => (n === at ? 1 : 0)));
      seen.add(Buffer.from(one.draw(16)).toString('hex'));
    }
    assert.equal(seen.size, 256);
  });
});

describe('virtio-rng', () => {
  test('it fills the whole buffer, 4 KiB at most, with what the source gives', () => {
    const driver = new CardDriver(make);
    driver.start();
    const expected = source();
    for (const [n, [asked, given]] of [
      [64, 64],
      [1, 1],
      [100_000, 4096],
    ].entries()) {
      driver.submit(0, [buffer(asked!)]);
      assert.equal(driver.used(0), n + 1);
      assert.equal(driver.usedLength(0, n), given);
      const bytes = driver.memory.bytes.subarray(firstBuffer, firstBuffer + given!);
      assert.deepEqual(bytes.slice(), expected.draw(given!));
    }
  });

  test('a buffer that the device is to read, or an empty one, breaks it; a reset mends it', () => {
    for (const bad of [buffer(64, false), buffer(0)]) {
      const driver = new CardDriver(make);
      driver.start();
      driver.submit(0, [bad]);
      assert.ok(driver.broken);
      driver.start();
      driver.submit(0, [buffer(8)]);
      assert.equal(driver.usedLength(0, 0), 8);
    }
  });

  test('by messages: each queue has its own, the interrupt line stays low, and a reset takes the vectors back', () => {
    const driver = new CardDriver(make);
    driver.start();
    driver.useMessages();
    driver.submit(0, [buffer(8)]);
    assert.deepEqual(driver.messages, [0x41]);
    assert.equal(driver.irq.level, false);
    assert.equal(driver.device.readBar(Bar.isr, 1), 0);
    driver.submit(0, [buffer(0)]);
    assert.deepEqual(driver.messages, [0x41, 0x40], 'it needs a reset');
    assert.equal(driver.irq.level, false);
    driver.device.writeBar(Bar.queueVector, 2, 2);
    assert.equal(driver.device.readBar(Bar.queueVector, 2), 0xffff, 'it has no vector 2');
    driver.device.writeBar(Bar.queueVector, 2, 1);
    driver.start();
    for (const register of [Bar.configVector, Bar.queueVector])
      assert.equal(driver.device.readBar(register, 2), 0xffff);
    driver.submit(0, [buffer(8)]);
    assert.equal(driver.messages.length, 2, 'without a vector nothing is told');
  });

  test('a checkpoint in the middle of a request: it ends with the same bytes', () => {
    const first = source();
    const driver = new CardDriver((card) => make(card, first));
    driver.start();
    driver.submit(0, [buffer(64)], { passNs: 0n });
    const second = source();
    second.restore(first.save(), first.version);
    const other = driver.twin((card) => make(card, second));
    for (const one of [driver, other]) {
      one.clock.advance(20_000n);
      assert.equal(one.used(0), 1);
    }
    assert.deepEqual(other.memory.bytes, driver.memory.bytes);
    assert.deepEqual(other.device.save(), driver.device.save());
  });

  hostileRings(make, {
    runs: 300,
    trafficBytes: 2 ** 20,
    fill: (driver, random) => {
      driver.submit(0, [buffer(1 + (random() % 5000))]);
    },
  });
});
