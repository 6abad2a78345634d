/** A guest's clock follows the host's, whatever the guest does and however little of a processor it gets. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { InputResult } from './edge/input-queue.ts';
import type { MachineInput } from './edge/table.ts';
import { LivePace, type PacedMachine } from './pace.ts';
import type { RunOptions, RunResult } from './scheduler.ts';

const ms = 1_000_000;

/** A host and a guest in simulated time. The guest computes at a cost that the test sets, or waits for a timer each 4 ms. */
class World implements PacedMachine {
  now = 0;
  thread = 0;
  /** ns of the host per instruction; 0: the guest waits. */
  cost = 0;
  /** Part of a processor that the host gives to this thread. */
  share = 1;
  instructions = 0n;
  guestNs = 0;
  rate = 4;
  /** A timer that rings again and again, and the next time. */
  everyNs = 4 * ms;
  timerNs = 4 * ms;
  log: MachineInput[] = [];
  readonly pace: LivePace;

  constructor() {
    this.pace = new LivePace(this, {
      nowNs: () => BigInt(Math.round(this.now)),
      threadNs: () => this.thread,
    });
  }

  get timeNs(): bigint {
    return BigInt(Math.floor(this.guestNs));
  }
  get waiting(): boolean {
    return this.cost === 0;
  }

  input(input: MachineInput): InputResult {
    this.log.push(input);
    if (input.kind === 'rate') this.rate = input.rate / 0x1_0000;
    if (input.kind === 'skip') {
      assert.ok(this.waiting);
      this.guestNs = Math.max(this.guestNs, Math.min(Number(input.toNs), this.timerNs));
    }
    return 'taken';
  }

  work(threadNs: number): void {
    this.thread += threadNs;
    this.now += threadNs / this.share;
  }

  run({ instructions = 0, look }: RunOptions): RunResult {
    this.work(1000);
    if (this.cost === 0) {
      if (this.guestNs >= this.timerNs) {
        this.timerNs += this.everyNs;
        this.instructions += 2000n;
        this.guestNs += 2000 * this.rate;
        this.work(2000 * 2);
      }
      return this.#result('idle');
    }
    let left = Number(instructions);
    do {
      const count = Math.min(left, look?.every ?? left);
      left -= count;
      this.instructions += BigInt(count);
      this.guestNs += count * this.rate;
      this.timerNs = Math.max(this.timerNs, this.guestNs);
      this.work(count * this.cost);
    } while (left > 0 && look?.enough() !== true);
    return this.#result('limit');
  }

  #result(reason: 'idle' | 'limit'): RunResult {
    return {
      reason,
      instructions: this.instructions,
      timeNs: this.timeNs,
      ...(reason === 'idle' ? { nextEventNs: BigInt(Math.ceil(this.timerNs)) } : {}),
    };
  }

  /** Runs for so long on the host's clock; returns the greatest distance between the clocks meanwhile, and the guest's progress. */
  live(forNs: number, sleepNs = 2 * ms): { distanceMs: number; ratio: number } {
    const [from, guestFrom] = [this.now, this.guestNs];
    let distance = 0;
    while (this.now - from < forNs) {
      const { reason } = this.pace.turn();
      if (reason === 'idle') this.now += sleepNs;
      distance = Math.max(distance, Math.abs(this.pace.lagNs));
    }
    return { distanceMs: distance / ms, ratio: (this.guestNs - guestFrom) / (this.now - from) };
  }
}

const assertFollows = ({ distanceMs, ratio }: { distanceMs: number; ratio: number }, what: string): void => {
  assert.ok(distanceMs < 100, `${what}: ${String(distanceMs)} ms apart`);
  assert.ok(Math.abs(ratio - 1) < 0.01, `${what}: ${String(ratio)}`);
};

describe('a guest whose clock follows the host', () => {
  test('idle, in fast code, in slow code, on part of a processor', () => {
    for (const [cost, share] of [
      [0, 1],
      [0.7, 1],
      [80, 1],
      [20, 0.25],
      [500, 1],
      [4, 0.15],
    ] as const) {
      const world = new World();
      world.cost = cost;
      world.share = share;
      assertFollows(world.live(10_000 * ms), `${String(cost)} ns, ${String(share)} of a processor`);
    }
  });

  test('idle, and woken seldom', () => {
    for (const sleepMs of [40, 100, 200]) {
      const world = new World();
      world.everyNs = sleepMs * ms;
      const { ratio } = world.live(60_000 * ms, sleepMs * ms);
      assert.ok(Math.abs(ratio - 1) < 0.01, `${String(sleepMs)} ms: ${String(ratio)}`);
    }
  });

  test('when what it does changes all the time', () => {
    const world = new World();
    const costs = [0, 0.7, 80, 0.7, 0, 80, 4, 200, 0.7];
    const [from, guestFrom] = [world.now, world.guestNs];
    let distance = 0;
    for (let n = 0; n < 200; n++) {
      world.cost = costs[n % costs.length] ?? 0;
      distance = Math.max(distance, world.live((3 + ((n * 37) % 160)) * ms).distanceMs);
    }
    assertFollows({ distanceMs: distance, ratio: (world.guestNs - guestFrom) / (world.now - from) }, 'mixed');
  });

  test('when slow and fast code take turns within milliseconds it is not ahead for long', () => {
    const world = new World();
    let ahead = 0;
    for (let n = 0; n < 1000; n++) {
      // As a driver that moves data by ports, and what then works on the data.
      [world.cost] = n % 2 === 0 ? [25 + (n % 7)] : [1 + (n % 5) / 5];
      world.live((1 + (n % 5)) * ms);
      if (n > 20) ahead = Math.max(ahead, -world.pace.lagNs / ms);
    }
    assert.ok(ahead < 20, `${String(ahead)} ms`);
  });

  test('a frozen host does not make it leap', () => {
    for (const cost of [0, 4]) {
      const world = new World();
      world.cost = cost;
      world.live(1000 * ms);
      const before = world.guestNs;
      world.now += 60_000 * ms;
      world.live(2000 * ms);
      const passed = (world.guestNs - before) / ms;
      assert.ok(passed > 1990 && passed < 2400, `${String(passed)} ms`);
      assertFollows(world.live(10_000 * ms), 'afterwards');
    }
  });

  test('on a host that gives it less than an eighth of a processor its time waits for it', () => {
    const world = new World();
    world.cost = 4;
    world.share = 0.02;
    world.live(2000 * ms);
    const { ratio } = world.live(10_000 * ms);
    // An eighth would be 1; a fiftieth is 0.16 of that.
    assert.ok(ratio > 0.1 && ratio < 0.25, String(ratio));
  });

  test('a guest that rested goes on from where it stood', () => {
    const world = new World();
    world.cost = 4;
    world.live(500 * ms);
    const before = world.guestNs;
    world.pace.rest();
    world.now += 5000 * ms;
    world.live(1000 * ms);
    assert.ok(Math.abs(world.guestNs - before - 1000 * ms) < 60 * ms);
  });

  test('wakes up once for each timer of a guest that waits, and not before it', () => {
    const world = new World();
    world.live(1000 * ms);
    let [turns, early] = [0, 0];
    for (const end = world.now + 1000 * ms; world.now < end; turns++) {
      const { reason } = world.pace.turn();
      if (reason !== 'idle') continue;
      const waits = world.pace.waitsMs;
      assert.ok(Number.isInteger(waits), String(waits));
      // Timers of JavaScript drop what is less than a millisecond.
      world.now += Math.trunc(Math.max(1, waits)) * ms;
      if (world.pace.lagNs < 0 || world.guestNs + world.pace.lagNs < world.timerNs) early++;
    }
    assert.equal(early, 0);
    assert.ok(turns <= 251, String(turns));
  });

  test('says no more than it has to: a few entries of log a second in steady code', () => {
    const world = new World();
    world.cost = 3;
    world.live(1000 * ms);
    world.log = [];
    world.live(1000 * ms);
    assert.ok(world.log.length < 20, String(world.log.length));
  });
});
