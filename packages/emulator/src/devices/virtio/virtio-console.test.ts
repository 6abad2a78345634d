/** virtio-console, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CardDriver, firstBuffer, hostileRings, type Buffer } from '../testing/card-driver.ts';
import { VirtioConsole } from './virtio-console.ts';
import type { VirtioCardOptions } from './virtio-pci.ts';

const Queue = {
  receive: 0,
  transmit: 1,
  controlReceive: 2,
  controlTransmit: 3,
  moreReceive: 4,
  moreTransmit: 5,
} as const;
const Event = { deviceReady: 0, portReady: 3, portOpen: 6 } as const;
type Sent = [port: number, text: string];

function make(card: VirtioCardOptions, sent: Sent[] = []): VirtioConsole {
  const transmit = (port: number, bytes: Uint8Array): void => {
    sent.push([port, new TextDecoder().decode(bytes)]);
  };
  return new VirtioConsole({ ...card, transmit, channelName: 'channel' });
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
/** A buffer of its own for each queue and use. */
const buffer = (queue: number, n: number, length: number, write: boolean): Buffer => ({
  address: firstBuffer + queue * 0x2000 + n * 0x100,
  length,
  write,
});

function send(driver: CardDriver<VirtioConsole>, queue: number, bytes: Uint8Array): void {
  const one = buffer(queue, 0, bytes.length, false);
  driver.memory.bytes.set(bytes, one.address);
  driver.submit(queue, [one]);
}

function control(driver: CardDriver<VirtioConsole>, port: number, event: number, value = 1): void {
  send(driver, Queue.controlTransmit, Uint8Array.of(port, 0, 0, 0, event, 0, value, 0));
}

function give(driver: CardDriver<VirtioConsole>, queue: number, count: number, length: number): void {
  for (let n = 0; n < count; n++) driver.submit(queue, [buffer(queue, n, length, true)]);
}

/** What the device said, as port, event, value and the text behind. */
function controls(driver: CardDriver<VirtioConsole>): string[] {
  return Array.from({ length: driver.used(Queue.controlReceive) }, (_, n) => {
    const { address } = buffer(Queue.controlReceive, n, 0, true);
    const length = driver.usedLength(Queue.controlReceive, n);
    const { view } = driver.memory;
    const tail = new TextDecoder().decode(driver.memory.bytes.subarray(address + 8, address + length));
    const head = [
      view.getUint32(address, true),
      view.getUint16(address + 4, true),
      view.getUint16(address + 6, true),
    ];
    return `${head.join(' ')} ${JSON.stringify(tail)}`;
  });
}

const dialogue = [
  '0 1 1 ""',
  '1 1 1 ""', // both ports are there
  '0 4 1 ""',
  String.raw`0 5 1 "P\u0000\u0019\u0000"`,
  '0 6 1 ""', // port 0 is a console of 80 by 25
  String.raw`1 7 1 "channel\u0000"`,
  '1 6 1 ""',
];

function ready(sent: Sent[] = []): CardDriver<VirtioConsole> {
  const driver = new CardDriver((card) => make(card, sent));
  driver.start();
  give(driver, Queue.controlReceive, 12, 64);
  control(driver, 0, Event.deviceReady);
  control(driver, 0, Event.portReady);
  control(driver, 1, Event.portReady);
  return driver;
}

describe('virtio-console', () => {
  test('it names its ports, and says which is the console', () => {
    assert.deepEqual(controls(ready()), dialogue);
  });

  test('what it has to say waits for buffers, also through a checkpoint', () => {
    const driver = new CardDriver(make);
    driver.start();
    control(driver, 0, Event.deviceReady);
    control(driver, 1, Event.portReady);
    const other = driver.twin(make);
    for (const one of [driver, other]) {
      give(one, Queue.controlReceive, 4, 64);
      assert.deepEqual(controls(one), [dialogue[0], dialogue[1], dialogue[5], dialogue[6]]);
    }
  });

  test('what the guest writes leaves by its port', () => {
    const sent: Sent[] = [];
    const driver = ready(sent);
    send(driver, Queue.transmit, text('to the console'));
    send(driver, Queue.moreTransmit, text('to the channel'));
    assert.deepEqual(sent, [
      [0, 'to the console'],
      [1, 'to the channel'],
    ]);
  });

  test('what arrives is taken as far as there are buffers; the channel takes nothing before it is open', () => {
    const driver = ready();
    const { device } = driver;
    assert.equal(device.receive(0, text('abc')), 0);
    give(driver, Queue.receive, 2, 4);
    assert.equal(device.receive(0, text('abcdefghij')), 8);
    assert.deepEqual([driver.usedLength(Queue.receive, 0), driver.usedLength(Queue.receive, 1)], [4, 4]);
    const second = buffer(Queue.receive, 1, 4, true).address;
    assert.equal(new TextDecoder().decode(driver.memory.bytes.subarray(second, second + 4)), 'efgh');
    give(driver, Queue.moreReceive, 1, 16);
    assert.equal(device.receive(1, text('early')), 0);
    control(driver, 1, Event.portOpen);
    assert.equal(device.receive(1, text('now')), 3);
    control(driver, 1, Event.portOpen, 0);
    give(driver, Queue.moreReceive, 1, 16);
    assert.equal(device.receive(1, text('late')), 0);
    assert.equal(device.receive(2, text('nowhere')), 0);
  });

  test('a driver of one port has the console only', () => {
    const sent: Sent[] = [];
    const driver = new CardDriver((card) => make(card, sent));
    driver.start([]);
    give(driver, Queue.receive, 1, 8);
    assert.equal(driver.device.receive(0, text('abc')), 3);
    assert.equal(driver.device.receive(1, text('abc')), 0);
    send(driver, Queue.transmit, text('hello'));
    assert.deepEqual(sent, [[0, 'hello']]);
  });

  test('buffers the wrong way round, or far too long, break it', () => {
    for (const [queue, write, length] of [
      [1, true, 8],
      [1, false, 0x1_0001],
      [3, true, 8],
    ] as const) {
      const driver = ready();
      driver.submit(queue, [buffer(queue, 0, length, write)]);
      assert.ok(driver.broken);
      driver.start();
      assert.equal(driver.broken, false);
    }
    const driver = ready();
    driver.submit(0, [buffer(0, 0, 8, false)]);
    driver.device.receive(0, text('x'));
    assert.ok(driver.broken);
  });

  hostileRings(make, {
    runs: 300,
    trafficBytes: 2 ** 22,
    fill: (driver, random) => {
      const queue = random() % 6;
      driver.submit(queue, [buffer(queue, random() % 4, 1 + (random() % 300), queue % 2 === 0)]);
      control(driver, random() % 3, random() % 8, random() % 2);
    },
    act: (driver, random) => {
      driver.device.receive(random() % 3, new Uint8Array(random() % 2000));
    },
  });
});
