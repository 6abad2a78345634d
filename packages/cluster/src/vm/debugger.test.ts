/** The real gdb at a VM that runs: what it changes is in the log, its stops are nobody's fault, and the guest runs on when it is gone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, describe, test } from 'node:test';
import { buildModules } from '@revenant/emulator/host-node';
import { CheckpointWriter, MemoryStore, openCheckpoint, raiseEpoch } from '@revenant/storage';
import { hasGdb, startGdb } from '../../../debugger/test-support/gdb.ts';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { debugPort, type DebugPort } from '../../test-support/debug-port.ts';
import { assertRepeats } from '../../test-support/repeated.ts';
import { vmOf, VmHome } from '../../test-support/vm-home.ts';
import type { VmSpec } from '../decisions/records.ts';
import { until } from '../testing/until.ts';

before(() => {
  buildModules(() => undefined);
});

/** Of the guest: its timer's handler, each ms. */
const handler = 0x7c70;

/** Those that were started; none outlives its test, also when that fails. */
const debuggers: ReturnType<typeof startGdb>[] = [];

/** A VM with the busy machine for its guest, and a port for debuggers. */
async function debugged(
  spec: Partial<VmSpec>,
  act: (parts: { home: VmHome; store: MemoryStore; port: DebugPort }) => Promise<void>,
): Promise<void> {
  const store = new MemoryStore();
  const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
  const writer = await CheckpointWriter.open(store, earlier, {});
  await writer.write(await busyMachine());
  const home = new VmHome(store, { checkpointMs: 200 });
  const vm = vmOf({ runtime: 'machine', description: { memoryBytes: 2 ** 20 }, ...spec }, { boot: 0 });
  const port = await debugPort(home.host, 'v1');
  try {
    await home.run(vm, 1);
    await act({ home, store, port });
  } finally {
    for (const each of debuggers.splice(0)) each.kill('SIGKILL');
    port.close();
    await home.close();
  }
}

const checkpoints = (home: VmHome): number => home.host.figures[0]?.checkpoints ?? 0;
const instructions = (home: VmHome): bigint => home.host.figures[0]?.instructions ?? 0n;

/** Starts gdb; `output` grows. */
function begin(
  { port }: DebugPort,
  commands: readonly string[],
): { child: ReturnType<typeof startGdb>; output: () => string } {
  const child = startGdb(port, commands);
  debuggers.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => (output += bytes.toString()));
  return { child, output: () => output };
}

async function runsOn(home: VmHome): Promise<void> {
  const before = instructions(home);
  await until('the guest to run on', () => instructions(home) > before + 100_000n);
}

describe('gdb at a VM that runs', { skip: hasGdb ? false : 'there is no gdb' }, () => {
  test('breakpoints, watchpoints and steps; what it writes is in the log, and the run is repeated with it', async () => {
    await debugged({ outputs: 'log' }, async ({ home, store, port }) => {
      await until('a checkpoint', () => checkpoints(home) >= 1);
      const from = await openCheckpoint(store, 'v1', {});
      const { child, output } = begin(port, [
        `break *${String(handler)}`,
        'continue',
        'printf "at %#x\\n", $pc',
        'stepi',
        'printf "then %#x\\n", $pc',
        'set *(int *)0x600 = 0x1234567',
        'set $esi = 0x7788',
        'set $xmm3.v4_int32[0] = 0x99',
        'set $fs = 0x1000',
        'continue',
        'printf "has %#x %#x %#x %#x\\n", *(int *)0x600, $esi, $xmm3.v4_int32[0], $fs_base',
        'delete',
        'watch *(int *)0x500',
        'continue',
        'printf "written before %#x\\n", $pc',
        'delete',
        'monitor time',
        'detach',
      ]);
      await once(child, 'close');
      assert.match(output(), /at 0x7c70\nthen|at 0x7c70[^]*then 0x7c71/);
      assert.match(output(), /has 0x1234567 0x7788 0x99 0x10000/);
      assert.match(output(), /Hardware watchpoint[^]*written before 0x7c5b/, output());
      assert.match(output(), /instruction \d+, virtual time/);
      await runsOn(home);
      const before = checkpoints(home);
      await until('two more checkpoints', () => checkpoints(home) >= before + 2);
      const log = await assertRepeats(store, from);
      const pokes = log.filter(({ input }) => input.kind.startsWith('poke')).map(({ input }) => input.kind);
      assert.deepEqual(pokes, ['pokeMemory', 'pokeRegister', 'pokeRegister', 'pokeRegister']);
      // Its node tells the master, which moves it by no will of its own.
      const marks = home.events.flatMap((event) => (event.type === 'marked' ? [[event.mark, event.on]] : []));
      assert.deepEqual(marks, [
        ['debugged', true],
        ['debugged', false],
      ]);
      assert.deepEqual([home.said('debugger-attached').length, home.said('debugger-left').length], [1, 1]);
    });
  });

  test('a guest that stands still in a debugger is not watched, its clock waits, and its checkpoints go on', async () => {
    const health = { watch: 'instructions' as const, silentMs: 600_000 };
    await debugged({ health }, async ({ home, port }) => {
      await runsOn(home);
      const { child, output } = begin(port, [
        'monitor time',
        'python import time; time.sleep(3)',
        'monitor time',
        'detach',
      ]);
      await until('the first answer', () => output().includes('virtual time'));
      const durable = checkpoints(home);
      await until('two more checkpoints', () => checkpoints(home) >= durable + 2);
      // A guest that may not run has not been silent for any time.
      const silentMs = home.host.figures[0]?.silentMs;
      await once(child, 'close');
      assert.equal(silentMs, 0);
      const times = [...output().matchAll(/virtual time ([\d.]+) s/g)].map(([, time]) => time);
      assert.equal(times.length, 2, output());
      assert.equal(times[0], times[1]);
      await runsOn(home);
      assert.deepEqual(home.said('debugger-left').length, 1);
    });
  });

  test('Ctrl-C stops it; a gdb that is killed leaves it running, and the next one finds it clean', async () => {
    await debugged({}, async ({ home, port }) => {
      const stay = 'python import time; time.sleep(1000)';
      const first = begin(port, ['printf "here\\n"', 'continue', 'monitor time', stay]);
      // The guest stands since gdb is there, so it runs because gdb has let it: before that gdb would not pass the signal on.
      await until('it is there', () => first.output().includes('here'));
      await runsOn(home);
      // Once: a second one has gdb give up its target.
      first.child.kill('SIGINT');
      await until('the stop', () => first.output().includes('virtual time'));
      assert.match(first.output(), /SIGINT/);
      first.child.kill('SIGKILL');
      await once(first.child, 'close');
      await until('it has left', () => home.said('debugger-left').length === 1);
      await runsOn(home);
      const second = begin(port, ['info breakpoints', 'stepi', 'kill']);
      await once(second.child, 'close');
      assert.match(second.output(), /No breakpoints/);
      await runsOn(home);
    });
  });

  test('one at a time; a VM that goes cuts it off', async () => {
    await debugged({}, async ({ home, port }) => {
      const first = begin(port, ['monitor time', 'continue']);
      await until('the first', () => first.output().includes('virtual time'));
      const second = begin(port, ['printf "pc %#x\\n", $pc']);
      await once(second.child, 'close');
      assert.doesNotMatch(second.output(), /pc 0x/);
      assert.match(port.said.join(), /it has a debugger already/);
      const closed = once(first.child, 'close');
      await home.close();
      await closed;
      assert.match(port.said.join(), /has left this node, or ended/);
    });
  });
});
