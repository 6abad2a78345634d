/** What an owner sends, and what its standby makes of it, over a link that loses what it likes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadEntry } from '@revenant/storage';
import type { StandbyAck } from '../../protocol/standby.ts';
import { LogCopy } from './copy.ts';
import { Feed } from './feed.ts';

const ack = (copy: LogCopy, changes: Partial<StandbyAck> = {}): StandbyAck => ({
  ...{ type: 'standby-ack', vmId: 'v', epoch: 1, state: 'following', reason: '', checked: null },
  ...{ next: copy.next, mark: Number(copy.mark), replayed: Number(copy.mark), missing: false, ...changes },
});
const payload = (number: number): Uint8Array => Uint8Array.of(number & 255, number >> 8);
const begin = { next: 1, mark: 0n };
const feedOf = (): Feed => new Feed({ vmId: 'v', epoch: 1, ...begin, nowMs: 0 });

test('a position is held once its entries and its mark are, and not before the standby follows', () => {
  const feed = feedOf();
  const copy = new LogCopy(begin);
  feed.sealed(1, { count: 5n, payload: payload(1) });
  feed.needs({ position: 1, mark: 9n, places: { session: 3 } }, 0);
  for (const message of feed.messages(false)) copy.heard(message);
  assert.equal(feed.heard(ack(copy, { state: 'preparing' }), 1).position, undefined);
  assert.deepEqual(feed.heard(ack(copy, { mark: 8 }), 1), { position: undefined, places: {} });
  assert.deepEqual(feed.heard(ack(copy), 2), { position: 1, places: { session: 3 } });
  assert.equal(feed.lagMs(1000), 0);
});

test('whatever a link loses, the standby ends with every entry once, in order, from its owner or the store', () => {
  let seed = 7;
  const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let run = 0; run < 50; run++) {
    const feed = feedOf();
    const copy = new LogCopy(begin);
    const store: ReadEntry[] = [];
    const got: number[] = [];
    const take = (fresh: readonly ReadEntry[]): void => {
      for (const { input, payload: bytes } of fresh) {
        assert.deepEqual(bytes, payload(Number(input)));
        got.push(Number(input));
      }
    };
    const exchange = (nowMs: number, loss: number): void => {
      for (const message of feed.messages(true)) {
        if (random() < loss) continue;
        const { fresh, missing } = copy.heard(message);
        take(fresh);
        if (missing === 'store') take(copy.read(store, store.at(-1)?.count ?? 0n));
        if (random() >= loss) feed.heard(ack(copy, { missing: missing === 'owner' }), nowMs);
      }
    };
    const last = 200;
    for (let number = 1; number <= last; number++) {
      feed.sealed(number, { count: BigInt(number * 10), payload: payload(number) });
      feed.needs({ position: number, mark: BigInt(number * 10 + 5), places: {} }, number);
      store.push({ count: BigInt(number * 10), payload: payload(number), input: BigInt(number) });
      if (random() < 0.3) feed.safe(number);
      exchange(number, 0.4);
    }
    for (let again = 0; feed.lagMs(Infinity) > 0; again++) {
      assert.ok(again < 20, 'it ends');
      exchange(last + 1000 * again, 0);
    }
    assert.deepEqual(
      got,
      Array.from({ length: last }, (_, i) => i + 1),
    );
    assert.equal(copy.mark, BigInt(last * 10 + 5));
  }
});

test('a standby that is silent, or does not hold what waits for it, lags', () => {
  const feed = feedOf();
  const copy = new LogCopy(begin);
  assert.equal(feed.condition(0), 'preparing');
  feed.heard(ack(copy), 0);
  assert.equal(feed.condition(100), 'in-sync');
  assert.equal(feed.condition(5000), 'lagging');
  feed.heard(ack(copy), 5000);
  feed.sealed(1, { count: 5n, payload: payload(1) });
  feed.needs({ position: 1, mark: 9n, places: {} }, 5000);
  feed.heard(ack(copy), 5500);
  assert.equal(feed.condition(5500), 'lagging');
  // The store has it: nobody waits.
  feed.passed(1);
  assert.equal(feed.condition(5500), 'in-sync');
});

test('what the store has is given up when too much waits, and never before', () => {
  const feed = feedOf();
  for (let number = 1; number <= 100; number++)
    feed.sealed(number, { count: BigInt(number), payload: new Uint8Array(64 << 10) });
  assert.equal(feed.messages(false)[0]?.oldest, 1);
  feed.safe(90);
  const [message] = feed.messages(true);
  assert.ok(message !== undefined && message.oldest > 60 && message.oldest <= 90, String(message?.oldest));
});

test('entries out of order and a mark that goes back are faults of ours; nothing rests on a standby that has what it was never sent', () => {
  const fault = /a fault of Revenant/;
  const feed = feedOf();
  feed.sealed(1, { count: 5n, payload: payload(1) });
  feed.needs({ position: 1, mark: 9n, places: {} }, 0);
  assert.throws(() => feed.sealed(3, { count: 9n, payload: payload(3) }), fault);
  assert.throws(() => feed.needs({ position: 2, mark: 8n, places: {} }, 0), fault);
  assert.throws(() => feed.safe(3), fault);
  const copy = new LogCopy(begin);
  for (const message of feed.messages(false)) copy.heard(message);
  for (const changes of [{ next: 3 }, { mark: 10 }]) {
    assert.equal(feed.heard(ack(copy, changes), 1).position, undefined);
    assert.equal(feed.condition(1), 'preparing');
  }
  assert.equal(feed.heard(ack(copy), 1).position, 1);
  feed.sealed(2, { count: 8n, payload: payload(2) });
  assert.throws(() => feed.messages(false).forEach((message) => copy.heard(message)), fault);
});
