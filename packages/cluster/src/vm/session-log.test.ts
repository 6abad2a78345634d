/** The log that a session writes of its guest's inputs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LoggedInput } from '@revenant/emulator';
import { LogReader, MemoryStore, raiseEpoch, type Ownership } from '@revenant/storage';
import { until } from '../testing/until.ts';
import { joinBatches } from './replay-log.ts';
import { SessionLog, type SessionLogOptions } from './session-log.ts';

const skip = (instructions: bigint, number: number): LoggedInput => ({
  ...{ instructions, timeNs: instructions, number },
  input: { kind: 'skip', toNs: instructions },
});

const optionsOf = (store: MemoryStore, ownership: Ownership): SessionLogOptions => ({
  ...{ store, ownership, key: undefined, from: 0n, previous: undefined, nextInput: 1n },
  onDurable: () => undefined,
  onPlaces: () => undefined,
  onStall: () => undefined,
  onOver: (error) => assert.fail(String(error)),
  onRoom: () => undefined,
});

test('what gathers while a segment becomes durable is not called complete before it is written', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'v1', { owner: 'a' });
  const durable: number[] = [];
  const log = new SessionLog({
    ...optionsOf(store, ownership),
    onDurable: (position) => durable.push(position),
  });
  // An output waits for the first, nobody for the second, which came in before count 9.
  log.heard({ log: [skip(1n, 0)], upTo: 1n, position: 1, waits: true });
  log.heard({ log: [skip(5n, 1)], upTo: 9n, position: 2, waits: false });
  await until('the first', () => durable.includes(1));
  log.heard({ log: [skip(11n, 2)], upTo: 12n, position: 3, waits: true });
  await until('all', () => durable.includes(3));
  await log.close();
  const reader = await LogReader.open(store, 'v1', { after: 0n });
  const entries = [];
  for await (const entry of reader!.entries()) entries.push(entry);
  assert.deepEqual(joinBatches(entries, 1n).log, [skip(1n, 0), skip(5n, 1), skip(11n, 2)]);
  assert.equal(reader?.to, 12n);
});

test('inputs that are missing, come twice or go back are a fault of ours, and are not logged', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'v1', { owner: 'a' });
  const faults: [LoggedInput[], bigint][] = [
    [[skip(20n, 2)], 20n],
    [[skip(20n, 0)], 20n],
    [[skip(9n, 1)], 20n],
    [[skip(30n, 1), skip(29n, 2)], 30n],
    [[skip(30n, 1)], 29n],
    [[], 9n],
  ];
  for (const [log, upTo] of faults) {
    const session = new SessionLog(optionsOf(store, ownership));
    session.heard({ log: [skip(10n, 0)], upTo: 10n, position: 1, waits: false });
    assert.throws(() => session.heard({ log, upTo, position: 2, waits: false }), /a fault of Revenant/);
    session.abandon();
  }
});
