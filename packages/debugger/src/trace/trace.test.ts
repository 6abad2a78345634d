/** Traces say what happens, in order, and change nothing. */
import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createMachine, type BootPlan } from '@revenant/emulator';
import { buildModules, makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { countingPlan, tickingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { finish, runTo, travelling } from '../../test-support/machines.ts';
import { History } from '../time/history.ts';
import { TimeMachine } from '../time/time-machine.ts';
import { flameSvg, sample, stackOf } from './flame.ts';
import { traceWriter } from './format.ts';
import { Tap } from './tap.ts';
import { trace, type TraceEvent, type TraceRequest } from './trace.ts';

before(() => {
  buildModules(() => undefined);
});

async function tapped(plan: BootPlan): Promise<{ target: TimeMachine; tap: Tap }> {
  const tap = new Tap();
  const history = new History();
  const machine = await createMachine({
    description: { memoryBytes: 4 * 2 ** 20 },
    engine: tap.around(makeNodeEngine({ kind: 'translator', hotThreshold: 50 })),
    backends: { hash: nodeHash, input: history.record },
  });
  machine.boot(plan);
  return { target: new TimeMachine({ machine, history }), tap };
}

function events(target: TimeMachine, request: TraceRequest, tap: Tap, limit = Infinity): TraceEvent[] {
  const found: TraceEvent[] = [];
  for (const event of trace(target, request, tap)) {
    if (event !== undefined) found.push(event);
    if (found.length >= limit) break;
  }
  return found;
}

const text = (found: readonly TraceEvent[]): string[] => {
  const writer = traceWriter('text');
  return found.map((event) => writer.line(event).trimEnd());
};

test('instructions, with their counts', async () => {
  const { target, tap } = await tapped(countingPlan);
  assert.deepEqual(text(events(target, { kind: 'instructions', to: 5n }, tap)), [
    '           0 0x101000  call 0x101040',
    '           1 0x101040  inc eax',
    '           2 0x101041  mov dword ptr [0x200000], eax',
    '           3 0x101046  test eax, 0xff',
    '           4 0x10104b  jne 0x101066',
  ]);
});

test('calls and returns nest', async () => {
  const { target, tap } = await tapped(countingPlan);
  const found = events(target, { kind: 'calls' }, tap, 4);
  assert.deepEqual(
    found.map(({ kind, count }) => [kind, count]),
    [
      ['call', 0n],
      ['return', 5n],
      ['call', 7n],
      ['return', 12n],
    ],
  );
  const writer = traceWriter('perfetto', (address) =>
    address === 0x10_1040n ? 'count & <store>' : undefined,
  );
  const whole = writer.head + found.map((event) => writer.line(event)).join('') + writer.tail;
  const { traceEvents } = JSON.parse(whole) as { traceEvents: { ph: string; name?: string }[] };
  assert.deepEqual(
    traceEvents.map(({ ph, name }) => [ph, name]),
    [
      ['B', 'count & <store>'],
      ['E', undefined],
      ['B', 'count & <store>'],
      ['E', undefined],
    ],
  );
});

test('ports and interrupts at full speed, and the guest is as without a trace', async () => {
  const { target, tap } = await tapped(tickingPlan);
  const io = events(target, { kind: 'io', to: 30_000n }, tap);
  const writes = io.filter((event) => event.kind === 'port' && event.address === 0xe9);
  assert.deepEqual(
    writes.map((event) => event.kind === 'port' && event.value),
    writes.map((_, n) => n + 1),
  );
  assert.ok(writes.length > 1);
  const plain = await travelling(tickingPlan);
  runTo(plain, 30_000n);
  assert.equal(target.machine.stateHash(), plain.machine.stateHash());
  finish(target.goTo(0n));
  const interrupts = events(target, { kind: 'interrupts', to: 30_000n }, tap);
  assert.equal(interrupts.length, writes.length);
  assert.ok(interrupts.every((event) => event.kind === 'interrupt' && event.vector === 8));
});

test('accesses to a range of memory, with the value behind them', async () => {
  const { target, tap } = await tapped(countingPlan);
  const found = events(target, { kind: 'memory', range: { address: 0x20_0100n, bytes: 4 }, to: 5_000n }, tap);
  assert.deepEqual(
    found.map((event) => event.kind === 'memory' && [event.access, Buffer.from(event.value).readUInt32LE()]),
    [
      ['write', 256],
      ['write', 512],
    ],
  );
  const [line = ''] = found.map((event) => traceWriter('json').line(event));
  assert.match(line, /"kind":"memory","access":"write","address":"2097408".*"value":"00010000"/);
});

test('a flame graph: samples at exact counts, the caller below the called', async () => {
  const { target } = await tapped(countingPlan);
  const names = (address: bigint): string => (address < 0x10_1040n ? 'loop' : 'count <&>');
  runTo(target, 1n);
  assert.deepEqual(stackOf(target).map(names), ['count <&>', 'loop']);
  const root = finish(sample(target, { every: 97n, to: 20_000n, nameOf: names }));
  assert.equal(root.samples, Math.ceil(19_999 / 97));
  const [loop] = root.children.values();
  assert.equal(loop?.name, 'loop');
  assert.ok((loop.children.get('count <&>')?.samples ?? 0) > root.samples / 2);
  assert.match(flameSvg(root), /<title>count &lt;&amp;&gt;: \d+ samples, \d+\.\d %<\/title>/);
});
