/** What the input log needs of a driver, end to end. Called from the drivers' own test files, beside the contract suite. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectGarbage } from '../src/checkpoint/collect.ts';
import { PagePool } from '../src/checkpoint/page-pool.ts';
import { CheckpointWriter } from '../src/checkpoint/writer.ts';
import { CheckpointKey } from '../src/encryption.ts';
import { LogReader } from '../src/log/reader.ts';
import { LogWriter, type Durable } from '../src/log/writer.ts';
import { deleteVm, raiseEpoch, unpinResumePoint } from '../src/ownership.ts';
import type { ObjectStore } from '../src/store/object-store.ts';
import { Guest } from './guest.ts';

export const input = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** Texts of a log's inputs behind a count. */
export async function texts(reader: LogReader | undefined): Promise<string[]> {
  const found = [];
  if (reader !== undefined)
    for await (const { payload } of reader.entries()) found.push(Buffer.from(payload).toString());
  return found;
}

/** Two owners in turn write checkpoints and inputs; the second replays what the first logged, to the last input that was durable. */
export function testLogOn(
  name: string,
  open: () => Promise<ObjectStore>,
  skip: string | false = false,
): void {
  test(`${name} carries the input log from owner to owner`, { skip }, async () => {
    const [store, other] = [await open(), await open()];
    const pool = new PagePool({ threads: 0 });
    const key = new CheckpointKey(new Uint8Array(32).fill(3));
    const guest = new Guest({ seed: 5, ramPages: 16, diskPages: 0 }).run(10);
    const first = await raiseEpoch(store, 'logged', { owner: 'a', key, replayLog: true });
    const writer = await CheckpointWriter.open(store, first, { pool, key });
    await writer.write(guest.snapshot());
    const at = guest.instructions;
    const durable: Durable[] = [];
    const log = new LogWriter(store, first, { key, from: at, onDurable: (each) => durable.push(each) });
    for (let i = 1; i <= 200; i++) {
      assert.equal(log.append({ count: at + BigInt(i), payload: input(`input ${String(i)}`) }), 'taken');
      if (i % 20 === 0) await log.flush();
    }
    log.mark(at + 1000n);
    await log.close();
    assert.deepEqual(durable.at(-1), { count: at + 1000n, input: 200n });
    const all = Array.from({ length: 200 }, (_, i) => `input ${String(i + 1)}`);

    const second = await raiseEpoch(other, 'logged', { owner: 'b', key, replayLog: true });
    assert.deepEqual(
      [second.log?.last?.to, second.log?.torn, second.log?.refused],
      [at + 1000n, undefined, undefined],
    );
    assert.deepEqual(await texts(await LogReader.open(other, 'logged', { after: at, key })), all);
    const onward = new LogWriter(other, second, { key, from: at + 1000n, previous: second.log?.last });
    assert.equal(onward.nextInput, 201n);
    onward.append({ count: at + 1001n, payload: input('of the second') });
    await onward.flush();
    // The first does not know yet: what it puts now is no part of the history.
    const late = new LogWriter(store, first, { key, from: at + 1000n, previous: log.position });
    late.append({ count: at + 1002n, payload: input('too late') });
    await late.flush();
    assert.equal(late.status.error?.code, 'FENCED');
    const reader = await LogReader.open(store, 'logged', { after: at, key });
    assert.deepEqual(await texts(reader), [...all, 'of the second']);
    assert.equal(reader?.to, at + 1001n);

    // A later checkpoint: what is before it goes with the checkpoint before, and the late one too.
    guest.instructions = at + 1001n;
    const next = await CheckpointWriter.open(other, second, { pool, key });
    await next.write(guest.snapshot({ full: true }));
    onward.append({ count: at + 2000n, payload: input('after the checkpoint') });
    await onward.flush();
    await unpinResumePoint(other, second);
    const report = await collectGarbage(store, 'logged', { policy: { keepLast: 1, rules: [] }, key });
    assert.ok(report.removedSegments >= 11, JSON.stringify(report.removedSegments));
    const third = await raiseEpoch(store, 'logged', { owner: 'c', key, replayLog: true });
    assert.deepEqual(third.resumeFrom, next.last);
    assert.equal(third.log?.last?.to, at + 2000n);
    const rest = await texts(await LogReader.open(store, 'logged', { after: at + 1001n, key }));
    assert.deepEqual(rest.at(-1), 'after the checkpoint');
    await deleteVm(store, 'logged', { owner: 'c' });
    await collectGarbage(store, 'logged');
    assert.deepEqual(
      (await store.list('vms/logged/')).objects.map((each) => each.key),
      ['vms/logged/owner'],
    );
    await Promise.all([store.close(), other.close()]);
  });
}
