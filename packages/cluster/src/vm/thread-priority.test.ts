/** Threads of guests get less of the processor than their node's own thread. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MemoryStore } from '@revenant/storage';
import { makeSettings } from '../decisions/settings.ts';
import type { Event } from '../decisions/types.ts';
import { until } from '../testing/until.ts';
import { VmHost } from './vm-host.ts';
import { monotonicMs } from './vm-runtime.ts';

/** Nice values of the threads of this process: field 19 of /proc/PID/task/TID/stat (proc(5)), behind the name in parentheses. */
function niceValues(): Map<string, number> {
  const values = new Map<string, number>();
  for (const thread of readdirSync('/proc/self/task')) {
    const text = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    values.set(thread, Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16]));
  }
  return values;
}

const skip = process.platform === 'linux' ? false : 'on Linux a thread has a priority of its own';

test(
  'a guest, and what compresses its pages, come after the thread that keeps the lease',
  { skip },
  async () => {
    const spec = {
      runtime: 'chain',
      description: {},
      memoryMiB: 16,
      priority: 1,
      checkpointMs: 50,
      outputs: 'async' as const,
    };
    const own = niceValues().get(String(process.pid))!;
    const events: Event[] = [];
    const leaseEnd = monotonicMs() + 600_000;
    const host = new VmHost({
      ...{ node: 'a', store: new MemoryStore(), settings: makeSettings('default') },
      ...{ tell: (event: Event) => events.push(event), log: () => undefined, output: () => undefined },
    });
    try {
      host.do({ type: 'grant', until: leaseEnd });
      host.do({ type: 'raise', vmId: 'v', attempt: 1, expectedEpoch: 0, incarnation: 1 });
      await until('the epoch', () => events.some(({ type }) => type === 'raised'));
      const vm = {
        id: 'v',
        spec,
        desired: 'running',
        boot: 0,
        status: 'stopped',
        reason: '',
        assignment: null,
        attempt: 1,
        tries: 0,
        avoid: [],
        moving: false,
      } as const;
      host.do({ type: 'run', vm: { ...vm, avoid: [] }, epoch: 1, paused: false, until: leaseEnd });
      await until('checkpoints', () => (host.figures[0]?.checkpoints ?? 0) > 2);
      const values = niceValues();
      assert.equal(values.get(String(process.pid)), own);
      const lower = [...values.values()].filter((nice) => nice === Math.min(19, own + 5));
      assert.ok(lower.length >= 2, `a guest and a compressor: ${[...values.values()].join(' ')}`);
    } finally {
      await host.close();
    }
  },
);
