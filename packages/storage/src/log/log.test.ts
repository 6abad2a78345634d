/** The log of inputs in a store: group commit, fencing, reading, resuming. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FaultyStore, type FaultPlan } from '../../test-support/faulty-store.ts';
import { Guest } from '../../test-support/guest.ts';
import { input, texts } from '../../test-support/log-suite.ts';
import { collectGarbage } from '../checkpoint/collect.ts';
import { segmentKey } from '../checkpoint/keys.ts';
import { PagePool } from '../checkpoint/page-pool.ts';
import { CheckpointWriter } from '../checkpoint/writer.ts';
import { isStorageError } from '../errors.ts';
import { systemHost } from '../host.ts';
import { raiseEpoch, type Ownership } from '../ownership.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { listSegments, readSegment } from './chain.ts';
import { LogReader } from './reader.ts';
import { LogWriter, type Durable, type LogWriterOptions } from './writer.ts';

const pool = new PagePool({ threads: 0 });
const policy = { keepLast: 1, rules: [], logMs: 0 };

const take = (store: MemoryStore, owner = 'a'): Promise<Ownership> =>
  raiseEpoch(store, 'vm', { owner, replayLog: true });

function writerOf(
  store: MemoryStore,
  ownership: Ownership,
  options: Partial<LogWriterOptions> = {},
): LogWriter {
  const previous = ownership.log?.last;
  return new LogWriter(store, ownership, { from: previous?.to ?? 0n, previous, ...options });
}

/** One segment for each text, at counts 10, 20, … from where the log stands. */
async function say(log: LogWriter, ...words: string[]): Promise<void> {
  for (const word of words) {
    const count = log.status.durable.count + 10n;
    assert.equal(log.append({ count, payload: input(word) }), 'taken');
    await log.flush();
  }
}

const replayed = async (store: MemoryStore, after = 0n): Promise<string[]> =>
  texts(await LogReader.open(store, 'vm', { after }));

/** A checkpoint at a count. */
async function checkpoint(store: MemoryStore, ownership: Ownership, count: bigint): Promise<void> {
  const writer = await CheckpointWriter.open(store, ownership, { pool });
  const guest = new Guest({ seed: 1, ramPages: 8, diskPages: 0 });
  guest.instructions = count;
  await writer.write(guest.snapshot({ full: true }));
}

describe('group commit', () => {
  test('while one segment is put, entries gather for the next; all become durable in order', async () => {
    const store = new MemoryStore();
    const ownership = await take(store);
    const durable: Durable[] = [];
    const log = writerOf(store, ownership, { onDurable: (each) => durable.push(each) });
    let free: () => void = () => undefined;
    const put = store.put.bind(store);
    store.put = async (...args) => {
      await new Promise<void>((resolve) => (free = resolve));
      return put(...args);
    };
    log.append({ count: 1n, payload: input('a') });
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 2; i < 100; i++) log.append({ count: BigInt(i), payload: input('b') });
    assert.deepEqual(durable, [], 'nothing is durable while the first put is under way');
    store.put = put;
    free();
    await log.flush();
    assert.deepEqual(durable, [
      { count: 1n, input: 1n },
      { count: 99n, input: 99n },
    ]);
    assert.deepEqual((await listSegments(store, 'vm')).get(1), [1, 2]);
    assert.equal((await readSegment(store, 'vm', { epoch: 1, ordinal: 2 }, undefined))?.entries.length, 98);
  });

  test('a mark makes a segment of no input, and any number of marks under way one', async () => {
    const store = new MemoryStore();
    const log = writerOf(store, await take(store));
    for (let count = 1n; count <= 50n; count++) log.mark(count);
    log.mark(7n);
    await log.flush();
    assert.deepEqual(log.status.durable, { count: 50n, input: 0n });
    assert.equal(log.status.segments, 1);
    assert.ok(log.status.storedBytes < 250, String(log.status.storedBytes));
  });

  test('a slow store refuses input rather than gather without bound, and takes it again later', async () => {
    const store = new MemoryStore();
    const log = writerOf(store, await take(store), { maxWaitingBytes: 10_000 });
    const put = store.put.bind(store);
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    store.put = async (...args) => {
      await gate;
      return put(...args);
    };
    let taken = 0;
    while (log.append({ count: BigInt(taken + 1), payload: new Uint8Array(100) }) === 'taken') taken++;
    assert.ok(taken > 30 && log.status.waitingBytes <= 10_000, String(taken));
    assert.equal(log.status.state, 'full');
    log.mark(1000n);
    open();
    await log.flush();
    assert.deepEqual([log.status.state, log.status.waitingBytes], ['ready', 0]);
    // A mark that was given while it was full holds as well.
    assert.deepEqual(log.status.durable, { count: 1000n, input: BigInt(taken) });
    // One larger than the limit still goes, alone.
    assert.equal(log.append({ count: 1001n, payload: new Uint8Array(50_000) }), 'taken');
    assert.equal(log.append({ count: 1001n, payload: new Uint8Array(1) }), 'full');
    await log.close();
    assert.equal(log.append({ count: 1002n, payload: new Uint8Array(1) }), 'over');
  });

  test('counts that fall and inputs that are too large are bugs of the caller', async () => {
    const log = writerOf(new MemoryStore(), await take(new MemoryStore()));
    log.mark(10n);
    for (const entry of [
      { count: 9n, payload: input('x') },
      { count: 11n, payload: new Uint8Array(2 << 20) },
    ])
      assert.throws(
        () => log.append(entry),
        (error) => isStorageError(error, 'BAD_ARGUMENT'),
      );
    log.abandon();
  });

  test('a store that fails is told, tried on, and settles what is unknown', async () => {
    const inner = new MemoryStore();
    const ownership = await take(inner);
    const kinds = ['refused', 'reply-lost', 'full', 'reply-lost', 'reply-lost'] as const;
    let calls = 0;
    const plan: FaultPlan = (operation, key) => {
      const kind = key.includes('/log/') || operation === 'get' ? kinds[calls++] : undefined;
      return kind && { kind };
    };
    const store = new FaultyStore(inner, plan, { host: systemHost, random: () => 0.5 });
    const stalls: string[] = [];
    const log = new LogWriter(store, ownership, { from: 0n, onStall: ({ kind }) => stalls.push(kind) });
    log.append({ count: 5n, payload: input('x') });
    await log.flush();
    assert.ok(calls >= kinds.length);
    assert.ok(stalls.includes('stalled') && stalls.at(-1) === 'resumed', stalls.join());
    assert.deepEqual([log.status.durable.count, log.status.state], [5n, 'ready']);
    assert.deepEqual(await replayed(inner), ['x']);
  });
});

describe('fencing', () => {
  test('what a fenced owner puts is never durable, and no part of the history, whenever it arrives', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    const log = writerOf(store, first);
    await say(log, 'one', 'two');
    const second = await take(store, 'b');
    let told: unknown;
    const late = new LogWriter(store, first, {
      from: 20n,
      previous: log.position,
      onOver: (error) => (told = error),
    });
    late.append({ count: 30n, payload: input('late') });
    await late.flush();
    assert.ok(isStorageError(told, 'FENCED'));
    assert.deepEqual(late.status.durable, { count: 20n, input: 2n });
    assert.deepEqual(await replayed(store), ['one', 'two']);
    await say(writerOf(store, second), 'three');
    assert.deepEqual(await replayed(store), ['one', 'two', 'three']);
    // Collected, though younger than the segment that the second went on from.
    await checkpoint(store, second, 5n);
    assert.equal((await collectGarbage(store, 'vm', { policy })).removedSegments, 1);
    assert.deepEqual(await replayed(store), ['one', 'two', 'three']);
  });

  test('a put that comes between the two steps of a takeover counts only if the takeover saw it', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    const log = writerOf(store, first);
    await say(log, 'seen');
    const racing = new FaultyStore(store, () => undefined, { host: systemHost, random: () => 0 });
    const list = racing.list.bind(racing);
    // The takeover has raised the epoch and looks for the end of the log: just before, a segment arrives.
    racing.list = async (prefix, options) => {
      if (prefix.endsWith('/log/') && log.status.state === 'ready') {
        log.append({ count: 50n, payload: input('just in time') });
        await log.flush();
        assert.equal(log.status.error?.code, 'FENCED');
      }
      return list(prefix, options);
    };
    const second = await raiseEpoch(racing, 'vm', { owner: 'b', replayLog: true });
    assert.equal(second.log?.last?.to, 50n);
    assert.deepEqual(await replayed(store), ['seen', 'just in time']);
  });

  test('two writers of one epoch: the second is refused', async () => {
    const store = new MemoryStore();
    const ownership = await take(store);
    await say(writerOf(store, ownership), 'one');
    const second = writerOf(store, ownership);
    second.append({ count: 7n, payload: input('other') });
    await second.flush();
    assert.equal(second.status.error?.code, 'FENCED');
    assert.deepEqual(await replayed(store), ['one']);
  });
});

describe('takeovers', () => {
  test('several without a checkpoint in between replay the whole chain, over epochs without a segment too', async () => {
    const store = new MemoryStore();
    const all = [];
    for (let epoch = 1; epoch <= 6; epoch++) {
      const ownership = await take(store);
      const log = writerOf(store, ownership);
      const words = epoch % 3 === 0 ? [] : [`${String(epoch)}a`, `${String(epoch)}b`];
      all.push(...words);
      await say(log, ...words);
      assert.deepEqual(await replayed(store), all);
    }
    const { log } = await take(store);
    assert.deepEqual([log?.last?.epoch, log?.last?.nextInput], [5, 9n]);
    assert.deepEqual(
      log?.path?.parts.map(({ epoch, first, last }) => [epoch, first, last]),
      [
        [1, 1, 2],
        [2, 1, 2],
        [4, 1, 2],
        [5, 1, 2],
      ],
    );
  });

  test('a checkpoint newer than the log needs none of it, and a new log begins there', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    await say(writerOf(store, first), 'one', 'two');
    await checkpoint(store, first, 500n);
    const second = await take(store, 'b');
    assert.deepEqual([second.log?.last, second.log?.refused], [undefined, undefined]);
    const log = new LogWriter(store, second, { from: 500n });
    await say(log, 'three');
    assert.deepEqual(await replayed(store, 500n), ['three']);
    const reader = await LogReader.open(store, 'vm', { after: 0n });
    assert.equal(reader?.from, 500n, 'what is before cannot be replayed any more');
  });

  test('without replaying, the history goes on from the checkpoint', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    await checkpoint(store, first, 5n);
    await say(writerOf(store, first), 'lost', 'lost too');
    const second = await raiseEpoch(store, 'vm', { owner: 'b' });
    assert.equal(second.log, undefined);
    assert.deepEqual(await replayed(store, 5n), []);
    await say(new LogWriter(store, second, { from: 5n }), 'new');
    assert.deepEqual(await replayed(store, 5n), ['new']);
    assert.equal((await take(store, 'c')).log?.last?.to, 15n);
  });

  describe('of a machine that was switched on anew, whose counts begin again', () => {
    /** The first epoch's log; the second settled on its end, booted afresh all the same, and wrote a checkpoint of its own. */
    async function anew(): Promise<{ store: MemoryStore; second: Ownership }> {
      const store = new MemoryStore();
      await say(writerOf(store, await take(store)), 'old', 'old too', 'oldest');
      const second = await take(store, 'b');
      assert.equal(second.log?.last?.to, 30n);
      await checkpoint(store, second, 5n);
      return { store, second };
    }
    const inEpoch = { after: 5n, base: 2 };

    test('nothing that the machine before was given leads on from its checkpoint', async () => {
      const { store } = await anew();
      assert.equal(await LogReader.open(store, 'vm', inEpoch), undefined);
      const { log } = await take(store, 'c');
      assert.deepEqual([log?.last, log?.refused], [undefined, undefined]);
    });

    test('nor when all that its own log has is torn', async () => {
      const { store, second } = await anew();
      await say(new LogWriter(store, second, { from: 5n, nextInput: 1n }), 'new');
      const key = segmentKey('vm', { epoch: 2, ordinal: 1 });
      const { body } = (await store.get(key))!;
      await store.put(key, body.subarray(0, body.length >> 1));
      assert.equal(await LogReader.open(store, 'vm', inEpoch), undefined);
      const { log } = await take(store, 'c');
      assert.deepEqual([log?.last, log?.torn?.key, log?.refused], [undefined, key, undefined]);
    });

    test('nor when its own log is broken, and what is before the break is taken', async () => {
      const { store, second } = await anew();
      const log = new LogWriter(store, second, { from: 5n, nextInput: 1n });
      await say(log, 'new', 'newer', 'newest');
      await store.delete([1, 2].map((ordinal) => segmentKey('vm', { epoch: 2, ordinal })));
      await store.put(segmentKey('vm', { epoch: 2, ordinal: 3 }), new Uint8Array(8));
      const third = await raiseEpoch(store, 'vm', { owner: 'c', replayLog: true, acceptBrokenLog: true });
      assert.equal(third.log?.last, undefined);
    });
  });

  test('a log that began behind the newest checkpoint is refused, and it is said why', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    await checkpoint(store, first, 5n);
    await say(new LogWriter(store, first, { from: 100n }), 'after a gap');
    const second = await take(store, 'b');
    assert.equal(second.log?.last, undefined);
    assert.match(second.log?.refused ?? '', /begins at instruction 100, and the checkpoint is of 5/);
  });

  test('a log that was off for a while within an epoch is whole from where it went on', async () => {
    const store = new MemoryStore();
    const first = await take(store);
    const before = writerOf(store, first);
    await say(before, 'one', 'two');
    await before.close();
    await say(new LogWriter(store, first, { from: 20n, previous: before.position }), 'three');
    assert.deepEqual(await replayed(store), ['one', 'two', 'three'], 'nothing was left out');
    const list = await listSegments(store, 'vm');
    const last = await readSegment(store, 'vm', { epoch: 1, ordinal: list.get(1)!.length }, undefined);
    await say(new LogWriter(store, first, { from: 900n, previous: last }), 'four', 'five');
    const reader = await LogReader.open(store, 'vm', { after: 0n });
    assert.deepEqual([reader?.from, await texts(reader)], [900n, ['four', 'five']]);
    assert.match((await take(store, 'b')).log?.refused ?? '', /begins at instruction 900/);
  });
});

describe('damage', () => {
  async function scene(): Promise<{ store: MemoryStore; key: (ordinal: number) => string }> {
    const store = new MemoryStore();
    await say(writerOf(store, await take(store)), 'one', 'two', 'three', 'four', 'five');
    return { store, key: (ordinal) => segmentKey('vm', { epoch: 1, ordinal }) };
  }

  async function tear(store: MemoryStore, key: string): Promise<void> {
    const body = (await store.get(key))!.body;
    await store.put(key, body.subarray(0, body.length >> 1));
  }

  test('a torn last segment is left out, and named', async () => {
    const { store, key } = await scene();
    await tear(store, key(5));
    const { log } = await take(store, 'b');
    assert.deepEqual([log?.last?.ordinal, log?.torn?.key], [4, key(5)]);
    assert.deepEqual(await replayed(store), ['one', 'two', 'three', 'four']);
  });

  test('a torn only segment leaves nothing to replay', async () => {
    const store = new MemoryStore();
    await say(writerOf(store, await take(store)), 'one');
    const key = segmentKey('vm', { epoch: 1, ordinal: 1 });
    await tear(store, key);
    const { log } = await take(store, 'b');
    assert.deepEqual([log?.last, log?.torn?.key], [undefined, key]);
  });

  for (const [what, damage] of [
    ['missing', (store: MemoryStore, key: string) => store.delete([key])],
    ['torn', tear],
  ] as const)
    test(`a ${what} segment in the middle is refused by name; what is before it can be accepted`, async () => {
      const { store, key } = await scene();
      await damage(store, key(3));
      const named = (error: unknown): boolean =>
        isStorageError(error, 'LOG_DAMAGED') && error.message.includes(key(3));
      const reading = async (): Promise<string[]> => replayed(store);
      await assert.rejects(reading, named);
      if (what === 'missing') {
        await assert.rejects(take(store, 'b'), named);
        // Nothing was given up by trying.
        await assert.rejects(take(store, 'b'), named);
      } else {
        // A takeover reads the ends only: replay meets the damage, and nothing is given up by that either.
        assert.equal((await take(store, 'b')).log?.last?.ordinal, 5);
        await assert.rejects(reading, named);
      }
      const accepted = await raiseEpoch(store, 'vm', { owner: 'b', replayLog: true, acceptBrokenLog: true });
      assert.equal(accepted.log?.last?.ordinal, 2);
      assert.match(accepted.log?.refused ?? '', /-0000000003: /);
      assert.deepEqual(await replayed(store), ['one', 'two']);
      assert.deepEqual(await replayed(store, 25n), []);
    });

  test('a segment in another’s place, or of another VM, is refused', async () => {
    const { store, key } = await scene();
    await store.put(key(3), (await store.get(key(2)))!.body);
    await assert.rejects(
      replayed(store),
      (error) => isStorageError(error, 'LOG_DAMAGED') && /another segment/.test(error.message),
    );
    // Of the same name and place, but not what the next one names.
    const fork = new MemoryStore();
    await say(writerOf(fork, await take(fork)), 'one', 'two', 'three!');
    await store.put(key(3), (await fork.get(key(3)))!.body);
    await assert.rejects(replayed(store), (error) => isStorageError(error, 'LOG_DAMAGED'));
  });

  test('a collector removes nothing of a damaged log', async () => {
    const { store, key } = await scene();
    const second = await take(store, 'b');
    await checkpoint(store, second, 5n);
    await store.delete([key(3)]);
    const report = await collectGarbage(store, 'vm', { policy });
    assert.equal(report.removedSegments, 0);
    assert.match(report.logSkipped ?? '', /missing/);
  });
});

describe('collection', () => {
  test('the log goes with the checkpoints, and is kept from the newest one, from held ones, and as far as the policy says', async () => {
    const store = new MemoryStore();
    const ownership = await take(store);
    const log = writerOf(store, ownership);
    const writer = await CheckpointWriter.open(store, ownership, { pool });
    const guest = new Guest({ seed: 1, ramPages: 8, diskPages: 0 });
    for (let i = 1; i <= 6; i++) {
      await say(log, ...Array.from({ length: 10 }, (_, n) => `${String(i)}.${String(n)}`));
      guest.run(5).instructions = BigInt(i) * 100n;
      await writer.write(guest.snapshot({ full: true }));
    }
    const left = async (): Promise<number> => (await listSegments(store, 'vm')).get(1)!.length;
    await collectGarbage(store, 'vm', { policy: { keepLast: 3, rules: [] } });
    assert.ok((await left()) >= 20 && (await left()) <= 22, String(await left()));
    await collectGarbage(store, 'vm', { policy: { keepLast: 3, rules: [], logMs: 0 } });
    assert.ok((await left()) <= 2, String(await left()));
    await say(log, 'goes on');
    assert.deepEqual((await replayed(store, guest.instructions)).at(-1), 'goes on');
    assert.equal((await take(store, 'b')).log?.last?.to, log.status.durable.count);
  });

  test('of a machine that was switched on anew nothing goes before its first checkpoint', async () => {
    const store = new MemoryStore();
    await checkpoint(store, await take(store), 1000n);
    const second = await take(store, 'b');
    const log = writerOf(store, second);
    // Cut when the machine had run 10, and not durable yet when the collector looks.
    await say(log, 'one', 'two', 'three');
    assert.equal((await collectGarbage(store, 'vm', { policy })).removedSegments, 0);
    await checkpoint(store, second, 10n);
    assert.deepEqual(await replayed(store, 10n), ['one', 'two', 'three']);
    assert.equal((await take(store, 'c')).log?.last?.to, 30n);
  });
});
