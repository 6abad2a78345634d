/** Helpers for device tests: a clock that is moved by hand, lines that remember, and the contract every device keeps. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Bus } from '../bus.ts';
import type { AccessSize, Clock, Device, Line, Timer } from '../device.ts';
import { DeviceStateError } from '../schema.ts';

export class FakeClock implements Clock {
  #now = 0n;
  readonly #timers: { deadlineNs: bigint | undefined; fire: () => void }[] = [];

  now(): bigint {
    return this.#now;
  }

  timer(_name: string, fire: () => void): Timer {
    const entry = { deadlineNs: undefined as bigint | undefined, fire };
    this.#timers.push(entry);
    return {
      arm: (atNs) => (entry.deadlineNs = atNs),
      cancel: () => (entry.deadlineNs = undefined),
      get deadlineNs() {
        return entry.deadlineNs;
      },
    };
  }

  get armed(): number {
    return this.#timers.filter(({ deadlineNs }) => deadlineNs !== undefined).length;
  }

  /** Lets time pass, firing timers at their deadlines. */
  advance(ns: bigint): void {
    const end = this.#now + ns;
    for (let fired = 0; ; fired++) {
      assert.ok(fired < 1_000_000, 'timers fire without end');
      const due = this.#timers
        .filter(({ deadlineNs }) => deadlineNs !== undefined && deadlineNs <= end)
        .sort((a, b) => Number((a.deadlineNs ?? 0n) - (b.deadlineNs ?? 0n)))[0];
      if (due === undefined) break;
      const at = due.deadlineNs ?? 0n;
      if (at > this.#now) this.#now = at;
      due.deadlineNs = undefined;
      due.fire();
    }
    this.#now = end;
  }
}

export class FakeLine implements Line {
  level = false;
  /** Number of changes from low to high. */
  rises = 0;
  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

/** Small seeded generator (mulberry32) for reproducible garbage. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export interface DeviceUnderTest {
  device: Device;
  clock: FakeClock;
}

const sizes: readonly AccessSize[] = [1, 2, 4];

function addresses(
  device: Device,
): { read: (size: AccessSize) => number; write: (size: AccessSize, value: number) => void }[] {
  const bus = new Bus();
  bus.attach(device);
  const all = [];
  for (const { first, last } of device.ports ?? [])
    for (let port = first; port <= last; port++)
      all.push({
        read: (size: AccessSize) => bus.readPort(port, size),
        write: (size: AccessSize, value: number) => {
          bus.writePort(port, size, value);
        },
      });
  for (const { base, length } of device.mmio ?? [])
    for (let offset = 0; offset < Math.min(length, 0x400); offset += 4)
      all.push({
        read: (size: AccessSize) => bus.readMemory(base + offset, size),
        write: (size: AccessSize, value: number) => {
          bus.writeMemory(base + offset, size, value);
        },
      });
  return all;
}

/** Random accesses and passing time; results are returned so that two devices can be compared. */
function disturb({ device, clock }: DeviceUnderTest, random: () => number, steps: number): number[] {
  const all = addresses(device);
  const seen: number[] = [];
  for (let n = 0; n < steps; n++) {
    const at = all[random() % all.length];
    const size = sizes[random() % 3] ?? 1;
    if (at === undefined) break;
    if (random() % 3 === 0) seen.push(at.read(size));
    else at.write(size, random() % 2 ? random() : random() & 0xff);
    if (random() % 4 === 0) clock.advance(BigInt(random() % 3_000_000));
  }
  return seen;
}

function damage(state: unknown, random: () => number): unknown {
  if (typeof state !== 'object' || state === null) return state;
  const copy: Record<string, unknown> = { ...(state as Record<string, unknown>) };
  const names = Object.keys(copy);
  const name = names[random() % names.length];
  if (name === undefined) return null;
  copy[name] = [undefined, 'x', 1.5, {}, [[]]][random() % 5];
  return copy;
}

/** What every device must do; `make` gives a fresh one with its own clock each time. */
export function deviceContract(name: string, make: () => DeviceUnderTest): void {
  describe(`${name}: device contract`, () => {
    test('every register takes every size, and reads stay in range', () => {
      const { device } = make();
      for (const at of addresses(device))
        for (const size of sizes) {
          at.write(size, 0xffff_ffff);
          at.write(size, 0);
          const value = at.read(size);
          assert.ok(
            Number.isInteger(value) && value >= 0 && value < 2 ** (size * 8),
            `read ${String(value)}`,
          );
        }
    });

    test('after any history, save → restore gives the same state and the same future', () => {
      for (let seed = 1; seed <= 20; seed++) {
        const random = randomSource(seed);
        const first = make();
        disturb(first, random, 200);
        const saved = first.device.save();
        const second = make();
        second.clock.advance(first.clock.now());
        second.device.restore(saved, first.device.version);
        assert.deepEqual(second.device.save(), saved, `seed ${String(seed)}`);
        const futures = [first, second].map((one) => disturb(one, randomSource(seed + 1000), 200));
        assert.deepEqual(futures[0], futures[1], `seed ${String(seed)}`);
        assert.deepEqual(second.device.save(), first.device.save(), `seed ${String(seed)}`);
      }
    });

    test('a saved state does not change when the device goes on', () => {
      const one = make();
      disturb(one, randomSource(7), 100);
      const saved = one.device.save();
      const copy = structuredClone(saved);
      disturb(one, randomSource(8), 100);
      assert.deepEqual(saved, copy);
    });

    test('reset works after any history and twice gives the same', () => {
      const one = make();
      disturb(one, randomSource(9), 300);
      one.device.reset();
      const once = one.device.save();
      one.device.reset();
      assert.deepEqual(one.device.save(), once);
    });

    test('a damaged state or an unknown version is refused and changes nothing', () => {
      const one = make();
      disturb(one, randomSource(3), 100);
      const saved = one.device.save();
      const { version } = one.device;
      const refused = (state: unknown, asVersion: number, code: string): void => {
        assert.throws(
          () => {
            one.device.restore(state, asVersion);
          },
          (error) => error instanceof DeviceStateError && error.code === code,
        );
        assert.deepEqual(one.device.save(), saved);
      };
      refused(null, version, 'DEVICE_STATE_INVALID');
      refused({ ...(saved as object), surplus: 1 }, version, 'DEVICE_STATE_INVALID');
      refused(saved, version + 1, 'DEVICE_STATE_VERSION');
      refused(saved, 0, 'DEVICE_STATE_VERSION');
      if (Object.keys(saved as object).length === 0) return;
      const random = randomSource(4);
      for (let n = 0; n < 20; n++) refused(damage(saved, random), version, 'DEVICE_STATE_INVALID');
    });
  });
}
