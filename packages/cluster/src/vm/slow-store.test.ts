import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultyStore, MemoryStore, systemHost } from '@revenant/storage';
import type { ProtectedVm } from '../core/records.ts';
import { makeSettings } from '../core/settings.ts';
import type { Event, LogEntry } from '../core/types.ts';
import { until } from '../testing/until.ts';
import { VmHost } from './vm-host.ts';
import { monotonicMs } from './vm-runtime.ts';

const vm: ProtectedVm = {
  id: 'v1',
  spec: {
    runtime: 'chain',
    description: {},
    memoryMiB: 16,
    priority: 1,
    checkpointMs: 100,
    outputs: 'async',
  },
  desired: 'running',
  boot: 0,
  status: 'stopped',
  reason: '',
  assignment: null,
  attempt: 1,
  tries: 0,
  avoid: [],
  moving: false,
};

test('a slow store stretches the interval of checkpoints: said once, shown in the figures, and over when it is fast again', async () => {
  const store = new FaultyStore(new MemoryStore(), () => undefined, { host: systemHost, random: () => 0.5 });
  const events: Event[] = [];
  const log: LogEntry[] = [];
  const host = new VmHost({
    node: 'a',
    store,
    settings: makeSettings('default'),
    tell: (event) => events.push(event),
    log: (entry) => log.push(entry),
    output: () => undefined,
  });
  try {
    const leaseEnd = monotonicMs() + 600_000;
    host.do({ type: 'grant', until: leaseEnd });
    host.do({ type: 'raise', vmId: 'v1', attempt: 1, expectedEpoch: 0, incarnation: 1 });
    await until('the epoch', () => events.some(({ type }) => type === 'raised'));
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
