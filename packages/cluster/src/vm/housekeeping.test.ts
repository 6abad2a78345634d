/** What is kept of a VM in the store, and that nothing is left of a deleted one; encrypted VMs; full stores. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CheckpointKey,
  type CheckpointReader,
  isStorageError,
  listAll,
  listCheckpoints,
  MemoryStore,
  openCheckpoint,
  PagePool,
  raiseEpoch,
  readOwner,
  systemHost,
  type ObjectStore,
} from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { makeSettings } from '../decisions/settings.ts';
import type { Event, LogEntry } from '../decisions/types.ts';
import { until } from '../testing/until.ts';
import { vmOf } from '../../test-support/vm-home.ts';
import { Housekeeping } from './housekeeping.ts';
import { readLogBehind } from './replay-log.ts';
import { VmHost, type VmHostOptions } from './vm-host.ts';
import { monotonicMs } from './vm-runtime.ts';

const vm = vmOf({ checkpointMs: 50 });
const pool = new PagePool({ threads: 0 });

interface Home {
  host: VmHost;
  events: Event[];
  log: LogEntry[];
}

/** A node's VMs, with `v1` running under `epoch`. */
async function runOn(
  store: ObjectStore,
  epoch: number,
  options: Partial<VmHostOptions>,
  which = vm,
): Promise<Home> {
  const [events, log]: [Event[], LogEntry[]] = [[], []];
  const host = new VmHost({
    node: 'a',
    store,
    settings: makeSettings('default'),
    tell: (event) => events.push(event),
    log: (entry) => log.push(entry),
    output: () => undefined,
    ...options,
  });
  const leaseEnd = monotonicMs() + 600_000;
  host.do({ type: 'grant', until: leaseEnd });
  host.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: epoch - 1, incarnation: 1 });
  await until('the epoch', () => events.some(({ type }) => type === 'raised'));
  host.do({ type: 'run', vm: which, epoch, paused: false, until: leaseEnd });
  await until('checkpoints', () => (host.figures[0]?.checkpoints ?? 0) > 2);
  return { host, events, log };
}

test('a running VM keeps what the retention policy says, its resume point is let go, and a deleted one leaves nothing', async () => {
  const store = new MemoryStore();
  const options = { retention: { keepLast: 3, rules: [] }, collectMs: 200 };
  const first = await runOn(store, 1, options);
  await until('many checkpoints', () => (first.host.figures[0]?.checkpoints ?? 0) > 10);
  await first.host.close();

  const { host, events, log } = await runOn(store, 2, options);
  try {
    const resumed = (await readOwner(store, 'v1'))?.record.lineage.at(-1)?.from;
    assert.ok(resumed, 'it went on from a checkpoint');
    await until('the resume point to be let go', async () => {
      const owner = await readOwner(store, 'v1');
      return owner?.record.pinned === null;
    });
    // A chain is at most 32 long, and three are kept; a round takes a moment.
    await until('more checkpoints', () => (host.figures[0]?.checkpoints ?? 0) > 70);
    await until('its collection', () => (host.figures[0]?.removedCheckpoints ?? 0) > 20);
    assert.ok((await listCheckpoints(store, 'v1')).length < 70);
    const reader = await openCheckpoint(store, 'v1', { pool, verify: true });
    assert.ok(reader.head.instructions > 0n);
    assert.deepEqual(
      log.filter(({ event }) => event === 'checkpoints-not-collected'),
      [],
    );
    host.do({ type: 'stop', vmId: 'v1', epoch: 2, mode: 'discard' });
    host.do({ type: 'tombstone', vmId: 'v1', epoch: 2 });
    await until('the tombstone', () => events.some(({ type }) => type === 'tombstoned'));
    await until('its objects to go', async () => {
      const left = [];
      for await (const { key } of listAll(store, 'vms/v1/')) left.push(key);
      return left.length === 1;
    });
    assert.equal((await readOwner(store, 'v1'))?.record.state, 'deleted');
  } finally {
    await host.close();
  }
});

test('of a log in use no more is kept than leads on from the checkpoints that are kept', async () => {
  const store = new MemoryStore();
  const logged = { ...vm, spec: { ...vm.spec, outputs: 'log' as const, description: { stepMs: 2 } } };
  const options = { retention: { keepLast: 3, rules: [] }, collectMs: 200 };
  const { host, log } = await runOn(store, 1, options, logged);
  const segments = async (): Promise<number> => {
    let count = 0;
    for await (const _each of listAll(store, 'vms/v1/log/')) count++;
    return count;
  };
  const written = (): number => host.figures[0]?.outputs.logSegments ?? 0;
  try {
    for (const more of [500, 1000]) {
      await until('segments', () => written() > more);
      // What is kept follows the guest: it never falls to nothing, and does not grow with what was written.
      await until('most to be removed', async () => (await segments()) < written() / 2);
      const [oldest] = (await listCheckpoints(store, 'v1')).filter(({ counts }) => counts);
      assert.ok(oldest !== undefined);
      const reader = await openCheckpoint(store, 'v1', { pool, id: oldest.id });
      const behind = await readLogBehind(store, reader).finally(() => reader.close());
      assert.ok((behind?.to ?? 0n) > reader.head.instructions);
    }
    assert.deepEqual(
      log.filter(({ event }) => event === 'checkpoints-not-collected'),
      [],
    );
  } finally {
    await host.close();
  }
});

test('with a key the store shows nothing of a guest, a takeover needs the key, and goes on with it', async () => {
  const store = new MemoryStore();
  const key = new CheckpointKey(new Uint8Array(32).fill(3));
  const first = await runOn(store, 1, { key });
  await first.host.close();
  await assert.rejects(openCheckpoint(store, 'v1', { pool }), (error) => isStorageError(error, 'KEY_NEEDED'));

  const without: Event[] = [];
  const stranger = new VmHost({
    node: 'b',
    store,
    settings: makeSettings('default'),
    tell: (event) => without.push(event),
    log: () => undefined,
    output: () => undefined,
  });
  stranger.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: 1, incarnation: 1 });
  await until('the refusal', () => without.length > 0);
  assert.equal(without[0]?.type, 'not-raised');
  await stranger.close();

  const epoch = ((await readOwner(store, 'v1'))?.record.epoch ?? 0) + 1;
  const { host } = await runOn(store, epoch, { key });
  const reader: CheckpointReader = await openCheckpoint(store, 'v1', { pool, key });
  assert.equal(reader.id.epoch, epoch);
  await host.close();
});

test('a full store is collected at once, and not again and again', async () => {
  const store = new MemoryStore();
  const ownership = await raiseEpoch(store, 'v1', { owner: 'a' });
  let lists = 0;
  const counted = new FaultyStore(
    store,
    (operation, key) => {
      if (operation === 'list' && key.includes('/packs/')) lists++;
      return undefined;
    },
    { host: systemHost, random: () => 0 },
  );
  const policy = { keepLast: 1, rules: [] };
  const options = {
    store: counted,
    ownership,
    key: undefined,
    policy,
    everyMs: 60_000,
    log: () => undefined,
    onRemoved: () => undefined,
  };
  const housekeeping = new Housekeeping(options, 0);
  const lookAt = async (now: number): Promise<number> => {
    housekeeping.look(now);
    await sleep(20);
    return lists;
  };
  assert.equal(await lookAt(1000), 0);
  housekeeping.hurry(1500);
  assert.equal(await lookAt(1500), 1);
  housekeeping.hurry(2000);
  assert.equal(await lookAt(2000), 1);
  assert.equal(await lookAt(6500), 2);
  assert.equal(await lookAt(20_000), 2);
  assert.equal(await lookAt(66_500), 3);
});
