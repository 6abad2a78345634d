/** Sessions of VMs on a store that is slow, full or away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { MemoryStore, openCheckpoint, systemHost } from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { makeSettings, type Settings } from '../decisions/settings.ts';
import type { Event, LogEntry } from '../decisions/types.ts';
import { until } from '../testing/until.ts';
import { vmOf } from '../../test-support/vm-home.ts';
import { VmHost } from './vm-host.ts';
import { monotonicMs } from './vm-runtime.ts';

/** How long an answer of a slow store takes. */
const slowMs = 300;
const leaseEnd = monotonicMs() + 600_000;
const vm = vmOf({ checkpointMs: 100 }, { boot: 0 });

/** A host that owns the VM under epoch 1, on a store that can be made to fail. */
async function newHost(changes: Partial<Settings> = {}): Promise<{
  host: VmHost;
  store: FaultyStore;
  events: Event[];
  log: LogEntry[];
}> {
  const store = new FaultyStore(new MemoryStore(), () => undefined, { host: systemHost, random: () => 0.5 });
  const events: Event[] = [];
  const log: LogEntry[] = [];
  const host = new VmHost({
    node: 'a',
    store,
    settings: makeSettings('default', changes),
    tell: (event) => events.push(event),
    log: (entry) => log.push(entry),
    output: () => undefined,
  });
  host.do({ type: 'grant', until: leaseEnd });
  host.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: 0, incarnation: 1 });
  await until('the epoch', () => events.some(({ type }) => type === 'raised'));
  return { host, store, events, log };
}

test('a slow store stretches the interval of checkpoints: said once, shown in the figures, and over when it is fast again', async () => {
  const { host, store, log } = await newHost();
  try {
    host.do({ type: 'run', vm, epoch: 1, paused: false, until: leaseEnd });
    const figures = (): (typeof host.figures)[number] | undefined => host.figures[0];
    await until('checkpoints', () => (figures()?.checkpoints ?? 0) > 2);

    store.plan = (operation) => (operation === 'put' ? { kind: 'slow', delayMs: 1000 } : undefined);
    const said = (event: string): LogEntry[] => log.filter((entry) => entry.event === event);
    await until('the word of it', () => said('checkpoints-stretched').length > 0);
    await until('the figure', () => (figures()?.checkpointIntervalMs ?? 0) >= 1000);
    assert.ok((figures()?.heldBytes ?? 0) > 0, 'pages wait');
    const [first] = said('checkpoints-stretched');
    assert.equal(first?.vm, 'v1');
    assert.match(first.reason, /^the store is slow: one every \d+\.\d s instead of every 0\.1 s$/);
    assert.equal(said('checkpoints-on-time').length, 0);

    store.plan = () => undefined;
    await until('the end of it', () => said('checkpoints-on-time').length > 0);
    assert.ok((figures()?.checkpointIntervalMs ?? Infinity) < 1000);
    // From 100 ms to two puts of a second each: it doubled at most five times.
    assert.ok(said('checkpoints-stretched').length <= 5);
    assert.equal(said('checkpoint-failed').length, 0);
  } finally {
    await host.close();
  }
});

test('a start whose session ended while it was read does not become a guest', async () => {
  const { host, store, events } = await newHost();
  try {
    let asked = 0;
    let answered = 0;
    store.plan = () => {
      asked++;
      void pause(slowMs).then(() => answered++);
      return { kind: 'slow', delayMs: slowMs };
    };
    host.do({ type: 'run', vm, epoch: 1, paused: false, until: leaseEnd });
    host.do({ type: 'stop', vmId: 'v1', epoch: 1, mode: 'discard' });
    // The next session of the same process has a lease.
    host.do({ type: 'grant', until: leaseEnd });
    // Slow as it is, the store has answered what the start asked.
    await until('the start to read', () => asked > 0);
    await until('the last answer', async () => {
      for (let turn = 0; turn < 20; turn++) {
        await nextTurn();
        if (asked !== answered) return false;
      }
      return true;
    });
    assert.deepEqual(host.figures, []);
    assert.ok(!events.some(({ type }) => type === 'started' || type === 'stopped'), JSON.stringify(events));
  } finally {
    await host.close();
  }
});

const description = { disks: [{ name: 'disk0', bytes: 4096, base: null }] };
const withDisk = { ...vm, spec: { ...vm.spec, description } };

test('a VM that is deleted while it waits for a full store to power off ends at once', async () => {
  const { host, store, events } = await newHost();
  try {
    host.do({ type: 'run', vm: withDisk, epoch: 1, paused: false, until: leaseEnd });
    await until('checkpoints', () => (host.figures[0]?.checkpoints ?? 0) > 2);
    let refused = 0;
    store.plan = (operation) => {
      if (operation !== 'put') return undefined;
      refused++;
      return { kind: 'full' };
    };
    host.do({ type: 'stop', vmId: 'v1', epoch: 1, mode: 'power-off' });
    await until('its last state to be refused again and again', () => refused >= 3);
    assert.ok(!events.some(({ type }) => type === 'stopped'), 'not yet');
    host.do({ type: 'stop', vmId: 'v1', epoch: 1, mode: 'delete' });
    await until('the end', () => events.some(({ type }) => type === 'stopped'));
    assert.deepEqual(host.figures, []);
  } finally {
    store.plan = () => undefined;
    await host.close();
  }
});

test('a VM that is powered off while the store is full stops once its disks are durable', async () => {
  const guestHungMs = 4000;
  const { host, store, events } = await newHost({ guestHungMs });
  try {
    host.do({ type: 'run', vm: withDisk, epoch: 1, paused: false, until: leaseEnd });
    await until('checkpoints', () => (host.figures[0]?.checkpoints ?? 0) > 2);
    store.plan = (operation) => (operation === 'put' ? { kind: 'full' } : undefined);
    host.do({ type: 'stop', vmId: 'v1', epoch: 1, mode: 'power-off' });
    const ran = host.figures[0]!.instructions;
    // Longer than a guest may be silent: it is not taken for hung.
    await pause(guestHungMs + 1500);
    assert.ok(!events.some(({ type }) => type === 'stopped'), 'not yet');
    store.plan = () => undefined;
    await until('the end', () => events.some(({ type }) => type === 'stopped'));
    const reader = await openCheckpoint(store, 'v1');
    const { instructions } = reader.head;
    await reader.close();
    assert.ok(instructions >= ran);
  } finally {
    await host.close();
  }
});
