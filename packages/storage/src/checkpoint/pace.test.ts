/** How often checkpoints are taken on stores of any speed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FakeHost } from '../../test-support/fake-host.ts';
import { Guest } from '../../test-support/guest.ts';
import { raiseEpoch } from '../ownership.ts';
import { FaultyStore, type Fault } from '../../test-support/faulty-store.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { CheckpointPace, type PaceChange } from './pace.ts';
import { PagePool } from './page-pool.ts';
import { openCheckpoint } from './reader.ts';
import { CheckpointWriter } from './writer.ts';

interface Run {
  news: PaceChange[];
  /** Cuts, by time. */
  cuts: number[];
}

/** Checkpoints wanted every second, looked at every 50 ms; `tookMs` gives how long each takes. */
function run(untilMs: number, tookMs: (now: number) => number, wantedMs = 1000): Run {
  const pace = new CheckpointPace(wantedMs, 0);
  const result: Run = { news: [], cuts: [] };
  let endsAt = Infinity;
  for (let now = 0; now < untilMs; now += 50) {
    if (now >= endsAt) {
      pace.end(now, true);
      endsAt = Infinity;
    }
    if (pace.isDue(now)) {
      pace.begin(now);
      result.cuts.push(now);
      endsAt = now + tookMs(now);
    }
    const news = pace.news(now);
    if (news !== undefined) result.news.push(news);
  }
  return result;
}

describe('the pace of checkpoints', () => {
  test('a store that keeps up is not worth a word', () => {
    const { news, cuts } = run(20_000, () => 900);
    assert.deepEqual(news, []);
    assert.equal(cuts.length, 20);
  });

  test('a slow store stretches the interval, which is said once, and once when it is over', () => {
    const { news, cuts } = run(60_000, (now) => (now < 30_000 ? 2600 : 100));
    assert.deepEqual(
      news.map(({ kind }) => kind),
      ['stretched', 'on-time'],
    );
    assert.ok(cuts.slice(1, 10).every((cut, i) => cut - cuts[i]! === 2600));
    assert.equal(news[1]?.intervalMs, 1000);
  });

  test('a stretch is said while the store still hangs, and again each time that it doubles', () => {
    const { news } = run(30_000, () => Infinity);
    assert.deepEqual(
      news.map(({ intervalMs }) => intervalMs),
      [1550, 3100, 6200, 12_400, 24_800],
    );
  });

  test('a checkpoint that was given up counts until one is durable', () => {
    const pace = new CheckpointPace(1000, 0);
    pace.begin(0);
    pace.end(1400, false);
    assert.equal(pace.news(1400), undefined);
    assert.ok(pace.isDue(1400));
    pace.begin(1400);
    assert.equal(pace.news(2800)?.kind, 'stretched');
    pace.end(3000, true);
    assert.equal(pace.intervalMs(3000), 3000);
  });

  test('whatever the store does, checkpoints come one at a time, no sooner than wanted, and news alternate in moderation', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 1, maxLength: 40 }), (times) => {
        let n = 0;
        const { news, cuts } = run(40_000, () => times[n++ % times.length]!, 500);
        assert.ok(cuts.slice(1).every((cut, i) => cut - cuts[i]! >= 500));
        assert.notEqual(news[0]?.kind, 'on-time');
        for (const [i, { kind }] of news.entries())
          if (kind === 'on-time') assert.equal(news[i - 1]?.kind, 'stretched');
      }),
    );
  });
});

describe('memory held for checkpoints', () => {
  /** A guest of 1 MiB that changes all the time, on a store that misbehaves between the 5th and the 35th second. */
  async function held(fault: Fault): Promise<{ news: string[]; peak: number; last: number; spaces: number }> {
    const host = new FakeHost(7);
    const memory = new MemoryStore();
    const store = new FaultyStore(memory, () => undefined, { host, random: host.uniform });
    const ownership = await raiseEpoch(store, 'vm1', { owner: 'node-a' });
    const pool = new PagePool({ threads: 0 });
    const writer = await CheckpointWriter.open(store, ownership, { pool, host, giveUpAfterMs: 3000 });
    const guest = new Guest({ seed: 5, ramPages: 256, diskPages: 64 }).run(200);
    const pace = new CheckpointPace(200, 0);
    const result = { news: [] as string[], peak: 0, last: 0, spaces: 0 };
    result.spaces = guest.spaces.reduce((sum, { bytes }) => sum + bytes.length, 0);
    let work = Promise.resolve();
    for (let now = 0; now < 60_000; now = host.monotonicMs()) {
      store.plan = (operation) => (now >= 5000 && now < 35_000 && operation === 'put' ? fault : undefined);
      guest.run(20);
      if (pace.isDue(now)) {
        pace.begin(now);
        work = writer.write(guest.snapshot()).then(
          () => pace.end(host.monotonicMs(), true),
          () => pace.end(host.monotonicMs(), false),
        );
      }
      result.peak = Math.max(result.peak, writer.heldBytes);
      const news = pace.news(now);
      if (news !== undefined) result.news.push(news.kind);
      await host.sleep(25);
    }
    await work;
    result.last = writer.heldBytes;
    const truth = guest.truth();
    await writer.write(guest.snapshot());
    const reader = await openCheckpoint(memory, 'vm1', { pool });
    assert.deepEqual((await reader.readSnapshot()).spaces, truth.spaces);
    return result;
  }

  for (const [name, fault, copies] of [
    ['slow', { kind: 'slow', delayMs: 1500 }, 1],
    ['failing', { kind: 'refused' }, 2],
  ] as const)
    test(`stays within ${String(copies)} times the guest's own size while the store is ${name}, and nothing is lost`, async () => {
      const { news, peak, last, spaces } = await held(fault);
      assert.ok(
        peak > 0 && peak <= copies * spaces,
        `${String(peak)} bytes held of a guest of ${String(spaces)}`,
      );
      assert.equal(last, 0);
      assert.equal(news[0], 'stretched');
      assert.equal(news.at(-1), 'on-time');
      assert.ok(news.length <= 10, news.join(' '));
    });
});
