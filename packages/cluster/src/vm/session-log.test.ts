/** The log that a session writes of its guest's inputs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LoggedInput } from '@revenant/emulator';
import { LogReader, MemoryStore, raiseEpoch } from '@revenant/storage';
import { until } from '../testing/until.ts';
import { joinBatches } from './replay-log.ts';
import { SessionLog } from './session-log.ts';

const skip = (instructions: bigint): LoggedInput => ({
  ...{ instructions, timeNs: instructions, number: Number(instructions) },
  input: { kind: 'skip', toNs: instructions },
});

test('what gathers while a segment becomes durable is not called complete before it is written', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'v1', { owner: 'a' });
  const durable: number[] = [];
  const log = new SessionLog({
    ...{ store, ownership, key: undefined, from: 0n, previous: undefined, nextInput: 1n },
    onDurable: (position) => durable.push(position),
    onPlaces: () => undefined,
    onStall: () => undefined,
    onOver: (error) => assert.fail(String(error)),
    onRoom: () => undefined,
  });
  // An output waits for the first, nobody for the second, which came in before count 9.
  log.heard({ log: [skip(1n)], upTo: 1n, position: 1, waits: true });
  log.heard({ log: [skip(5n)], upTo: 9n, position: 2, waits: false });
  await until('the first', () => durable.includes(1));
  log.heard({ log: [skip(11n)], upTo: 12n, position: 3, waits: true });
  await until('all', () => durable.includes(3));
  await log.close();
  const reader = await LogReader.open(store, 'v1', { after: 0n });
  const entries = [];
  for await (const entry of reader!.entries()) entries.push(entry);
  assert.deepEqual(joinBatches(entries, 1n).log, [skip(1n), skip(5n), skip(11n)]);
  assert.equal(reader?.to, 12n);
});
