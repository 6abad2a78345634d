/** Timers: the 8254 and the clock MC146818. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { Pit8254 } from './pit-8254.ts';
import { RtcMc146818 } from './rtc-mc146818.ts';
import { FakeClock, FakeLine } from '../testing/contract.ts';

const nsOf = (ticks: number): bigint => (BigInt(ticks) * 1_000_000_000n) / 1_193_182n + 1n;

function pit(): { pit: Pit8254; clock: FakeClock; irq: FakeLine } {
  const clock = new FakeClock();
  const irq = new FakeLine();
  return { pit: new Pit8254({ irq, clock }), clock, irq };
}

function load(device: Pit8254, counter: number, mode: number, count: number): void {
  device.writePort(0x43, 1, (counter << 6) | 0x30 | (mode << 1));
  device.writePort(0x40 + counter, 1, count & 0xff);
  device.writePort(0x40 + counter, 1, count >> 8);
}

function read(device: Pit8254, counter: number): number {
  const low = device.readPort(0x40 + counter, 1);
  return low | (device.readPort(0x40 + counter, 1) << 8);
}

describe('8254', () => {
  test('mode 0: OUT rises at the terminal count and the count goes on', () => {
    const { pit: device, clock, irq } = pit();
    load(device, 0, 0, 1000);
    assert.equal(irq.level, false);
    clock.advance(nsOf(400));
    assert.equal(read(device, 0), 600);
    clock.advance(nsOf(600));
    assert.equal(irq.level, true);
    clock.advance(nsOf(10));
    assert.ok(read(device, 0) > 0xfff0);
    assert.equal(irq.rises, 1);
  });

  test('modes 2 and 3 are periodic and do not drift', () => {
    for (const mode of [2, 3]) {
      const { pit: device, clock, irq } = pit();
      load(device, 0, mode, 1193);
      const before = irq.rises;
      clock.advance(1_000_000_000n);
      assert.equal(irq.rises - before, Math.floor(1_193_182 / 1193), `mode ${String(mode)}`);
    }
  });

  test('a new count in mode 2 is used from the next period on', () => {
    const { pit: device, clock, irq } = pit();
    load(device, 0, 2, 1000);
    clock.advance(nsOf(500));
    device.writePort(0x40, 1, 100 & 0xff);
    device.writePort(0x40, 1, 0);
    assert.equal(read(device, 0), 500);
    const before = irq.rises;
    clock.advance(nsOf(500) + nsOf(250));
    assert.equal(irq.rises - before, 3);
  });

  test('mode 4 strobes once; modes 1 and 5 wait for the gate', () => {
    const { pit: device, clock, irq } = pit();
    load(device, 0, 4, 50);
    clock.advance(nsOf(200));
    assert.equal(irq.level, true);
    load(device, 2, 1, 100);
    const out2 = (): number => device.readPort(0x61, 1) & 0x20;
    assert.equal(out2(), 0x20, 'high until triggered');
    device.writePort(0x61, 1, 1);
    assert.equal(out2(), 0);
    clock.advance(nsOf(101));
    assert.equal(out2(), 0x20);
  });

  test('channel 2 with gate in mode 0, as kernels calibrate the TSC', () => {
    const { pit: device, clock } = pit();
    device.writePort(0x61, 1, 1);
    load(device, 2, 0, 11_932);
    assert.equal(device.readPort(0x61, 1) & 0x20, 0);
    clock.advance(9_900_000n);
    assert.equal(device.readPort(0x61, 1) & 0x20, 0);
    clock.advance(200_000n);
    assert.equal(device.readPort(0x61, 1) & 0x20, 0x20);
  });

  test('latches hold the count; read-back latches status and count', () => {
    const { pit: device, clock } = pit();
    load(device, 0, 2, 5000);
    clock.advance(nsOf(100));
    device.writePort(0x43, 1, 0);
    clock.advance(nsOf(1000));
    assert.equal(read(device, 0), 4900);
    device.writePort(0x43, 1, 0xc2);
    assert.equal(device.readPort(0x40, 1), 0xb4, 'OUT high, both bytes, mode 2');
    assert.equal(read(device, 0), 3900);
  });

  test('BCD counts in decimal', () => {
    const { pit: device, clock } = pit();
    device.writePort(0x43, 1, 0x35);
    device.writePort(0x40, 1, 0x00);
    device.writePort(0x40, 1, 0x10);
    clock.advance(nsOf(1));
    assert.equal(read(device, 0), 0x999);
  });
});

describe('MC146818', () => {
  // 2024-02-28 23:59:58.5 UTC
  const epochNs = BigInt(Date.UTC(2024, 1, 28, 23, 59, 58)) * 1_000_000n + 500_000_000n;
  const make = (): { rtc: RtcMc146818; clock: FakeClock; irq: FakeLine } => {
    const clock = new FakeClock();
    const irq = new FakeLine();
    return { rtc: new RtcMc146818({ irq, clock, epochNs }), clock, irq };
  };
  const get = (rtc: RtcMc146818, index: number): number => {
    rtc.writePort(0x70, 1, index);
    return rtc.readPort(0x71, 1);
  };
  const set = (rtc: RtcMc146818, index: number, value: number): void => {
    rtc.writePort(0x70, 1, index);
    rtc.writePort(0x71, 1, value);
  };

  test('the time of day passes, in BCD, binary and 12 hours', () => {
    const { rtc, clock } = make();
    clock.advance(2_000_000_000n);
    assert.deepEqual(
      [0, 2, 4, 7, 8, 9, 0x32].map((n) => get(rtc, n)),
      [0x00, 0x00, 0x00, 0x29, 0x02, 0x24, 0x20],
    );
    set(rtc, 0x0b, 0x04);
    assert.equal(get(rtc, 4), 12, 'midnight is 12 am');
    assert.equal(get(rtc, 7), 29);
  });

  test('SET stops the clock; what is written counts from there', () => {
    const { rtc, clock } = make();
    set(rtc, 0x0b, 0x82);
    set(rtc, 4, 0x12);
    clock.advance(5_000_000_000n);
    assert.equal(get(rtc, 0), 0x58);
    set(rtc, 0x0b, 0x02);
    clock.advance(1_000_000_000n);
    assert.deepEqual([get(rtc, 0), get(rtc, 4)], [0x59, 0x12]);
  });

  test('update, periodic and alarm interrupts', () => {
    const { rtc, clock, irq } = make();
    set(rtc, 0x0b, 0x12);
    clock.advance(600_000_000n);
    assert.equal(irq.level, true);
    assert.equal(get(rtc, 0x0c) & 0x90, 0x90);
    assert.equal(irq.level, false);

    set(rtc, 0x0a, 0x26);
    set(rtc, 0x0b, 0x42);
    let count = 0;
    for (let ms = 0; ms < 100; ms++) {
      clock.advance(1_000_000n);
      if (get(rtc, 0x0c) & 0x40) count++;
    }
    assert.ok(count >= 97 && count <= 100, `1024 Hz: ${String(count)} in 100 ms`);

    set(rtc, 1, 0x05);
    set(rtc, 3, 0xff);
    set(rtc, 5, 0xff);
    set(rtc, 0x0b, 0x22);
    get(rtc, 0x0c);
    clock.advance(7_000_000_000n);
    assert.equal(get(rtc, 0x0c) & 0xa0, 0xa0);
  });

  test('update in progress shows before the second ends', () => {
    const { rtc, clock } = make();
    assert.equal(get(rtc, 0x0a) & 0x80, 0);
    clock.advance(499_900_000n);
    assert.equal(get(rtc, 0x0a) & 0x80, 0x80);
    clock.advance(200_000n);
    assert.equal(get(rtc, 0x0a) & 0x80, 0);
  });
});
