/** virtio-net, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { randomSource } from '../testing/contract.ts';
import { Bar } from '../testing/virtio-driver.ts';
import { allFeatures, NetDriver, netHeaderBytes } from '../testing/virtio-net-driver.ts';
import { fold, isChecksumRight, parseTransport, pseudoHeaderSum } from './checksums.ts';

const needsReset = 64;
const needsChecksum = 1;
const dataValid = 2;
const tcp4 = 1;

function started(features?: readonly number[]): NetDriver {
  const driver = new NetDriver();
  driver.start(features);
  return driver;
}

/** A TCP or UDP frame; with `partial` its checksum is that of the pseudo-header only, as a driver leaves it. */
function frameOf(protocol: 'tcp' | 'udp', dataBytes: number, partial: boolean): Uint8Array {
  const headerBytes = protocol === 'tcp' ? 20 : 8;
  const frame = Uint8Array.from({ length: 34 + headerBytes + dataBytes }, (_, n) => n * 13);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame[14] = 0x45;
  view.setUint16(16, frame.length - 14);
  view.setUint16(20, 0);
  frame[23] = protocol === 'tcp' ? 6 : 17;
  if (protocol === 'tcp') frame[46] = 0x50;
  else view.setUint16(38, frame.length - 34);
  const at = protocol === 'tcp' ? 50 : 40;
  view.setUint16(at, 0);
  const transport = parseTransport(frame)!;
  const pseudo = fold(pseudoHeaderSum(frame, transport));
  if (partial) view.setUint16(at, pseudo);
  else {
    let sum = pseudo;
    for (let n = 34; n < frame.length; n++) sum += n % 2 === 0 ? frame[n]! << 8 : frame[n]!;
    view.setUint16(at, ~fold(sum) & 0xffff);
  }
  return frame;
}

/** Frames as the driver finds them in its buffers: headers and data. */
function receiveInto(driver: NetDriver, count: number, length: number, first = 0): void {
  for (let n = first; n < first + count; n++)
    driver.submit(0, [{ address: 0x2_0000 + n * 0x1_0000, length, write: true }]);
}

describe('virtio-net', () => {
  test('configuration: address, link, MTU', () => {
    const { device } = new NetDriver();
    const bytes = Array.from({ length: 12 }, (_, n) => device.readBar(Bar.configuration + n, 1));
    assert.deepEqual(bytes, [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 1, 0, 0xdc, 5]);
    assert.equal(device.readConfiguration(0, 4), 0x1041_1af4);
    assert.equal(device.readBar(Bar.queueCount, 2), 3);
  });

  test('a frame goes out as it is', () => {
    const driver = started();
    const frame = Uint8Array.from({ length: 60 }, (_, n) => n);
    driver.send([], frame);
    assert.deepEqual(driver.sent, [frame]);
    assert.equal(driver.used(1), 1);
    assert.equal(driver.irq.level, true);
  });

  for (const protocol of ['tcp', 'udp'] as const)
    for (const bytes of [0, 1, 2, 3, 1000, 1001])
      test(`the card completes the checksum of ${protocol} with ${String(bytes)} bytes`, () => {
        const driver = started();
        driver.send(
          [needsChecksum, 0, 0, 0, 0, 0, 34, 0, protocol === 'tcp' ? 16 : 6, 0],
          frameOf(protocol, bytes, true),
        );
        assert.deepEqual(driver.sent, [frameOf(protocol, bytes, false)]);
        const [frame] = driver.sent;
        assert.equal(isChecksumRight(frame!, parseTransport(frame!)!), true);
      });

  test('a large segment goes out whole, when it was agreed on', () => {
    const header = [needsChecksum, tcp4, 54, 0, 0xb4, 5, 34, 0, 16, 0];
    const driver = started();
    driver.send(header, frameOf('tcp', 30_000, true));
    assert.deepEqual(driver.sent, [frameOf('tcp', 30_000, false)]);
    const without = started(allFeatures.filter((feature) => feature !== 11));
    without.send(header, frameOf('tcp', 30_000, true));
    assert.deepEqual(without.sent, []);
    assert.equal(without.used(1), 1, 'it is given back all the same');
    assert.equal(without.status & needsReset, 0);
  });

  test('frames arrive; what the card has checked it says', () => {
    const driver = started();
    receiveInto(driver, 2, 2048);
    const good = frameOf('tcp', 100, false);
    const bad = frameOf('tcp', 100, false);
    bad[60] = bad[60]! ^ 1;
    assert.equal(driver.device.receive(good), undefined);
    assert.equal(driver.device.receive(bad), undefined);
    for (const [n, frame, flags] of [
      [0, good, dataValid],
      [1, bad, 0],
    ] as const) {
      const at = 0x2_0000 + n * 0x1_0000;
      assert.deepEqual(
        [...driver.memory.bytes.subarray(at, at + netHeaderBytes)],
        [flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
      );
      assert.deepEqual(
        driver.memory.bytes.slice(at + netHeaderBytes, at + netHeaderBytes + frame.length),
        frame,
      );
      assert.equal(driver.usedLength(0, n), netHeaderBytes + frame.length);
    }
    assert.equal(driver.device.receive(good), 0, 'without buffers it waits');
    receiveInto(driver, 1, 2048, 2);
    assert.equal(driver.device.receive(good), undefined);
    assert.equal(driver.used(0), 3);
  });

  test('a large segment arrives over several buffers, described as one to be cut', () => {
    const driver = started();
    receiveInto(driver, 3, 2000);
    const large = frameOf('tcp', 7000, false);
    assert.equal(driver.device.receive(large), 0, 'three buffers are too few: none is taken');
    receiveInto(driver, 1, 2000, 3);
    assert.equal(driver.device.receive(large), undefined);
    assert.equal(driver.used(0), 4);
    const header = driver.memory.bytes.subarray(0x2_0000, 0x2_0000 + netHeaderBytes);
    assert.deepEqual([...header], [needsChecksum, tcp4, 54, 0, 0xb4, 5, 34, 0, 16, 0, 4, 0]);
    const data = driver.memory.bytes.slice(0x2_0000 + netHeaderBytes, 0x2_0000 + 2000);
    assert.deepEqual(data, frameOf('tcp', 7000, true).subarray(0, data.length));
  });

  test('what no buffer will ever hold, and what was not agreed on, is dropped', () => {
    const large = frameOf('tcp', 30_000, false);
    const plain = started(allFeatures.filter((feature) => feature !== 7));
    receiveInto(plain, 4, 2000);
    assert.equal(plain.device.receive(large), undefined);
    const single = started(allFeatures.filter((feature) => feature !== 15));
    receiveInto(single, 1, 2000);
    assert.equal(single.device.receive(large), undefined);
    assert.deepEqual([plain.used(0), single.used(0)], [0, 0]);
    assert.equal(new NetDriver().device.receive(large), undefined, 'nor is there a driver');
  });

  test('with event indexes the driver is interrupted, and notifies, only where it was asked to', () => {
    const driver = started([...allFeatures, 29]);
    const frame = new Uint8Array(60);
    const interrupted = (): boolean => driver.device.readBar(Bar.isr, 1) === 1;
    assert.equal(driver.notifiesAt(1), 0);
    driver.tellAt(1, 2);
    driver.send([], frame);
    driver.send([], frame);
    assert.equal(interrupted(), false, 'chains 0 and 1');
    assert.equal(driver.notifiesAt(1), 2, 'the next one');
    driver.send([], frame);
    assert.equal(interrupted(), true, 'chain 2');
    driver.send([], frame);
    assert.equal(interrupted(), false, 'chain 3');
    driver.tellAt(0, 0xffff);
    assert.equal(driver.device.receive(frame), 0);
    assert.equal(driver.notifiesAt(0), 0, 'it waits for the first buffer');
    receiveInto(driver, 2, 2048);
    assert.equal(driver.device.receive(frame), undefined);
    assert.equal(interrupted(), false);
    driver.tellAt(0, 1);
    assert.equal(driver.device.receive(frame), undefined);
    assert.equal(interrupted(), true);
    assert.equal(driver.notifiesAt(0), 2);
    // The flag of the other way says nothing here.
    driver.memory.view.setUint16(0x2400, 1, true);
    driver.tellAt(1, 4);
    driver.send([], frame);
    assert.equal(interrupted(), true);
  });

  test('announces itself when it is told to, until the driver has', () => {
    const driver = started();
    driver.device.announce();
    assert.equal(driver.device.readBar(Bar.configuration + 6, 2), 3);
    assert.equal(driver.device.readBar(Bar.isr, 1), 2);
    driver.memory.bytes.set([3, 0], 0x8000);
    driver.submit(2, [
      { address: 0x8000, length: 2, write: false },
      { address: 0x8010, length: 1, write: true },
    ]);
    assert.equal(driver.memory.bytes[0x8010], 0);
    assert.equal(driver.device.readBar(Bar.configuration + 6, 2), 1);
    driver.memory.bytes.set([9, 0], 0x8000);
    driver.submit(2, [
      { address: 0x8000, length: 2, write: false },
      { address: 0x8010, length: 1, write: true },
    ]);
    assert.equal(driver.memory.bytes[0x8010], 1, 'other commands are refused');
  });

  test('a chain that no driver may make breaks it, until it is reset', () => {
    for (const buffers of [
      [{ address: 0x8000, length: 100, write: true }],
      [{ address: 0x8000, length: 5, write: false }],
    ]) {
      const driver = started();
      driver.submit(1, buffers);
      assert.ok(driver.status & needsReset);
      assert.deepEqual(driver.sent, []);
      driver.start();
      assert.equal(driver.status & needsReset, 0);
    }
    const readable = started();
    readable.submit(0, [{ address: 0x8000, length: 2000, write: false }]);
    assert.equal(readable.device.receive(new Uint8Array(60)), undefined);
    assert.ok(readable.status & needsReset);
  });

  test('state: saved in the middle of announced frames, it goes on', () => {
    const driver = started();
    driver.device.announce();
    receiveInto(driver, 1, 2048);
    const other = new NetDriver();
    other.memory.bytes.set(driver.memory.bytes);
    other.device.restore(driver.device.save(), driver.device.version);
    assert.deepEqual(other.device.save(), driver.device.save());
    other.device.receive(frameOf('udp', 10, false));
    assert.equal(other.used(0), 1);
    assert.throws(
      () => other.device.restore({ ...(driver.device.save() as object), configurationStatus: 1 }, 2),
      /unknown bits/,
    );
  });

  test('random rings never throw, and bound what is read', () => {
    const random = randomSource(11);
    for (let round = 0; round < 300; round++) {
      const driver = started();
      for (let at = 0x1000; at < 0x4000; at += 2)
        driver.memory.view.setUint16(at, random() % 3 === 0 ? random() % 20 : random() & 0xffff, true);
      driver.memory.traffic = 0;
      for (let n = 0; n < 20; n++) {
        driver.device.writeBar(Bar.notify, 2, random() % 4);
        driver.clock.advance(1_000_000n);
        driver.device.receive(frameOf('tcp', random() % 5000, false));
      }
      assert.ok(driver.memory.traffic < 64 * 2 ** 20, `${String(driver.memory.traffic)} bytes`);
    }
  });
});
