/** virtio-tablet, as a driver uses it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CardDriver, firstBuffer, hostileRings } from '../testing/card-driver.ts';
import { Bar } from '../testing/virtio-driver.ts';
import { VirtioTablet } from './virtio-tablet.ts';
import type { VirtioCardOptions } from './virtio-pci.ts';

const Queue = { event: 0, status: 1 } as const;
const make = (card: VirtioCardOptions): VirtioTablet => new VirtioTablet(card);
const [left, right] = [1, 2];

class Driver {
  readonly card: CardDriver<VirtioTablet>;
  #read = 0;

  constructor(card = new CardDriver(make)) {
    this.card = card;
  }

  /** With so many buffers for events. */
  static started(buffers: number): Driver {
    const driver = new Driver();
    driver.card.start();
    driver.give(buffers);
    return driver;
  }

  get tablet(): VirtioTablet {
    return this.card.device;
  }

  give(buffers: number, length = 8): void {
    for (let n = 0; n < buffers; n++)
      this.card.submit(Queue.event, [
        { address: firstBuffer + (this.#given++ % 16) * 8, length, write: true },
      ]);
  }
  #given = 0;

  /** Type, code and value of what was told since the last call. */
  events(): number[][] {
    const { view } = this.card.memory;
    const events: number[][] = [];
    for (; this.#read < this.card.used(Queue.event); this.#read++) {
      const at = firstBuffer + (this.#read % 16) * 8;
      events.push([view.getUint16(at, true), view.getUint16(at + 2, true), view.getInt32(at + 4, true)]);
    }
    return events;
  }

  /** 5.8.5: what the device says of itself. */
  asked(select: number, subselect: number): number[] {
    this.tablet.writeBar(Bar.configuration, 1, select);
    this.tablet.writeBar(Bar.configuration + 1, 1, subselect);
    const size = this.tablet.readBar(Bar.configuration + 2, 1);
    return Array.from({ length: size }, (_, n) => this.tablet.readBar(Bar.configuration + 8 + n, 1));
  }
}

describe('virtio-tablet', () => {
  test('says what it is: name, two axes of 15 bits, three buttons and a wheel', () => {
    const driver = Driver.started(0);
    assert.equal(String.fromCharCode(...driver.asked(0x01, 0)), 'Revenant tablet');
    assert.deepEqual(driver.asked(0x11, 3), [0b11], 'ABS_X, ABS_Y');
    assert.deepEqual(driver.asked(0x11, 2), [0, 1], 'REL_WHEEL');
    assert.deepEqual(driver.asked(0x11, 1), [...Array<number>(34).fill(0), 0b111], 'BTN_LEFT, RIGHT, MIDDLE');
    assert.deepEqual(driver.asked(0x12, 1).slice(0, 8), [0, 0, 0, 0, 0xff, 0x7f, 0, 0]);
    for (const [select, subselect] of [
      [0, 0],
      [0x10, 0],
      [0x11, 4],
      [0x12, 2],
      [0xff, 0xff],
    ] as const)
      assert.deepEqual(driver.asked(select, subselect), []);
  });

  test('tells a place, buttons and the wheel, and only what has changed', () => {
    const driver = Driver.started(16);
    driver.tablet.move({ x: 5, y: 0x7fff, dz: 0, buttons: left });
    assert.deepEqual(driver.events(), [
      [3, 0, 5],
      [3, 1, 0x7fff],
      [1, 0x110, 1],
      [0, 0, 0],
    ]);
    driver.tablet.move({ x: 5, y: 0x7fff, dz: 0, buttons: left });
    assert.deepEqual(driver.events(), []);
    driver.tablet.move({ x: 5, y: 0, dz: 2, buttons: right });
    assert.deepEqual(driver.events(), [
      [3, 1, 0],
      [1, 0x110, 0],
      [1, 0x111, 1],
      [2, 8, -2],
      [0, 0, 0],
    ]);
  });

  test('without a driver it takes nothing, and without buffers it keeps all but older places', () => {
    const driver = new Driver();
    assert.equal(driver.tablet.isUsed, false);
    assert.equal(driver.tablet.move({ x: 1, y: 1, dz: 0, buttons: 0 }), 'no-device');
    driver.card.start();
    assert.equal(driver.tablet.isUsed, true);
    driver.give(1);
    driver.tablet.move({ x: 1, y: 2, dz: 1, buttons: left });
    assert.deepEqual(driver.events(), [[3, 0, 1]]);
    assert.equal(driver.tablet.hasRoom, false);
    driver.tablet.move({ x: 3, y: 4, dz: 1, buttons: left });
    driver.give(8);
    assert.equal(driver.tablet.hasRoom, true);
    assert.deepEqual(driver.events(), [
      [3, 0, 3],
      [3, 1, 4],
      [1, 0x110, 1],
      [2, 8, -2],
      [0, 0, 0],
    ]);
    driver.tablet.writeBar(Bar.status, 1, 0);
    assert.equal(driver.tablet.isUsed, false);
  });

  test('a checkpoint between two events of one move: it is told as without', () => {
    const driver = Driver.started(2);
    driver.tablet.move({ x: 7, y: 9, dz: 0, buttons: right });
    assert.deepEqual(driver.events(), [
      [3, 0, 7],
      [3, 1, 9],
    ]);
    const other = new Driver(driver.card.twin(make));
    assert.equal(other.tablet.hasRoom, false);
    other.card.submit(Queue.event, [{ address: firstBuffer + 0x100, length: 8, write: true }]);
    assert.equal(other.card.memory.view.getUint16(firstBuffer + 0x102, true), 0x111);
  });

  test('a buffer that is too short loses its event and nothing else', () => {
    const driver = new Driver();
    driver.card.start();
    driver.give(1, 4);
    driver.tablet.move({ x: 1, y: 0, dz: 0, buttons: 0 });
    assert.equal(driver.card.broken, false);
  });

  test('a state that it can not have is refused', () => {
    const driver = Driver.started(0);
    for (const [register, value] of [
      [0, 0x100],
      [2, 0x8000],
      [4, 8],
      [5, 0x8000_0000],
      [6, 16],
    ] as const) {
      const state = driver.tablet.save();
      state.registers[register] = value;
      assert.throws(() => {
        driver.tablet.restore(state, driver.tablet.version);
      }, /virtio|card/);
    }
  });

  hostileRings(make, {
    runs: 300,
    trafficBytes: 0x8_0000,
    fill: (driver, random) => {
      driver.submit(random() % 2, [
        { address: firstBuffer + (random() % 64) * 8, length: random() % 12, write: random() % 4 > 0 },
      ]);
    },
    act: (driver, random) => {
      driver.device.move({
        x: random() & 0x7fff,
        y: random() & 0x7fff,
        dz: (random() % 3) - 1,
        buttons: random() & 7,
      });
    },
  });
});
