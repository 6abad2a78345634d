/** A VM's past, from a store with checkpoints and a log: any moment, what came first, and whether it comes out the same. */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMachine, type LoggedInput, type Machine } from '@revenant/emulator';
import { buildModules, nodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { CheckpointWriter, LogWriter, openStore, raiseEpoch, type MachineSnapshot } from '@revenant/storage';
import { encodeBatch } from '../../../cluster/src/vm/log-batch.ts';
import { tickingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { Opener } from '../checkpoint/opener.ts';
import { find } from './find.ts';
import { writeMetrics } from './metrics.ts';
import { wanted } from './moment.ts';
import { Past } from './past.ts';
import { checkAll, finish, goTo, TextFinder } from './replay.ts';

let folder: string;
let url: string;
/** What it wrote to its serial port, with counts. */
const said: { count: bigint; byte: number }[] = [];
const quiet = { say: (): void => undefined };
const steps = 12;
const apart = 20_011n;

/** Lives for a while: a checkpoint now and then, inputs between them, each in the log. */
async function live(machine: Machine, take: () => LoggedInput[], vmId: string): Promise<void> {
  const store = await openStore(url);
  const ownership = await raiseEpoch(store, vmId, { owner: 'test' });
  const writer = await CheckpointWriter.open(store, ownership);
  let nextInput = 1;
  const log = new LogWriter(store, ownership, { from: 0n });
  const flush = async (): Promise<void> => {
    const entries = take();
    if (entries.length > 0) {
      log.append({ count: machine.instructions, payload: encodeBatch({ log: entries, places: {} }) });
      nextInput++;
    }
    log.mark(machine.instructions);
    await log.flush();
  };
  for (let n = 0; n < steps; n++) {
    while (machine.instructions < BigInt(n) * apart)
      machine.run({ instructions: BigInt(n) * apart - machine.instructions });
    if (n % 4 === 0) {
      const snapshot = machine.snapshot({ full: n === 0 }) as unknown as MachineSnapshot;
      await flush();
      snapshot.devices['revenant.vm'] = { version: 1, state: { nextInput } };
      await writer.write(snapshot);
    }
    machine.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(n) });
    if (n % 3 === 1) machine.input({ kind: 'nmi' });
    await flush();
  }
  await log.close();
  await writer.close();
  await store.close();
}

before(async () => {
  buildModules(() => undefined);
  folder = await mkdtemp(join(tmpdir(), 'revenant-replay-'));
  url = `file:${join(folder, 'store')}`;
  const entries: LoggedInput[] = [];
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20 },
    engine: nodeEngine,
    backends: {
      hash: nodeHash,
      input: (entry) => void entries.push(entry),
      output: ({ output, instructions }) => {
        if (output.kind === 'serial')
          for (const byte of output.bytes) said.push({ count: instructions, byte });
        return true;
      },
    },
  });
  machine.boot(tickingPlan);
  await live(machine, () => entries.splice(0), 'vm1');
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function withPast<T>(act: (past: Past, opener: Opener) => Promise<T>): Promise<T> {
  const opener = new Opener(url);
  try {
    return await act(await Past.open(opener, 'vm1'), opener);
  } finally {
    await opener.close();
  }
}

test('from any checkpoint to any moment: the same state, whatever it started from', async () => {
  await withPast(async (past) => {
    assert.equal(past.moments.length, 3);
    const count = 200_000n;
    const hashes = [];
    for (const moment of past.moments) {
      const run = await past.run(moment, quiet);
      await goTo(run, { count });
      hashes.push(run.target.machine.stateHash());
      await run.close();
    }
    assert.equal(new Set(hashes).size, 1);
  });
});

test('the console says what it said, each byte once', async () => {
  await withPast(async (past) => {
    const bytes: number[] = [];
    const run = await past.run(past.oldest, { ...quiet, console: (more) => bytes.push(...more) });
    await goTo(run, { count: run.to });
    await goTo(run, { count: 100n });
    await goTo(run, { count: run.to });
    await run.close();
    assert.deepEqual(
      bytes,
      said.filter(({ count }) => count <= run.to).map(({ byte }) => byte),
    );
    assert.ok(bytes.length > 5);
  });
});

test('everything that is kept comes out the same; a flipped bit does not', async () => {
  await withPast(async (past, opener) => {
    const results = [];
    for await (const { result } of checkAll(past, opener, quiet.say)) results.push(result);
    assert.deepEqual(results, ['same', 'same']);
    const [run] = [await past.run(past.oldest, quiet)];
    const { machine } = run.target;
    machine.memory.writePhysical(0x504, Uint8Array.of((machine.memory.readPhysical(0x504, 1)[0] ?? 0) ^ 1));
    await goTo(run, { count: past.moments[1]!.head.instructions });
    const other = await past.run(past.moments[1]!, quiet);
    assert.notEqual(machine.stateHash(), other.target.machine.stateHash());
    await run.close();
    await other.close();
  });
});

test('what a check found is written for those who watch, whole', async () => {
  const path = join(folder, 'vm1.prom');
  const totals = { vm: 'vm1', same: 3, different: 1, noLog: 0, atMs: 1_700_000_000_500, tookMs: 2500 };
  writeMetrics(path, totals);
  const text = readFileSync(path, 'utf8');
  assert.match(text, /^revenant_replay_check_spans\{vm="vm1",result="different"\} 1$/m);
  assert.match(text, /^revenant_replay_check_timestamp_seconds\{vm="vm1"\} 1700000000\.5$/m);
  assert.match(text, /^revenant_replay_check_duration_seconds\{vm="vm1"\} 2\.5\n$/m);
  assert.throws(() => writeMetrics(join(folder, 'missing', 'x'), totals), /missing/);
});

test('when for the first time: said, executed, changed, in memory', async () => {
  await withPast(async (past) => {
    const at = async (what: string): Promise<bigint | undefined> => {
      const found = await find(past, past.oldest, wanted(what, '--find'), quiet);
      await found?.run.close();
      return found?.count;
    };
    const text = String.fromCharCode(9, 10);
    assert.equal(await at(`serial:${text}`), said.find(({ byte }) => byte === 10)?.count);
    const handler = await at('pc:0x7c44');
    assert.ok(handler !== undefined && handler > 0n);
    // The interrupt handler's first two instructions: push ax; inc word [504h].
    assert.equal(await at('memory:0x504/2 changes'), handler + 2n);
    assert.equal(await at('physical:0x504/2 changes'), handler + 2n);
    assert.equal(await at('pc:0x7fff'), undefined);
    assert.equal(await at('text:nowhere in ram'), undefined);
    // The last count of the handler stays there, with nothing behind it; the boot sector is there from the beginning.
    const run = await past.run(past.newest, quiet);
    await goTo(run, { count: run.to });
    const last = Buffer.from(run.target.machine.memory.readPhysical(0x504, 32)).toString('latin1');
    assert.match(last, /^.\0{31}$/);
    let counted = 0;
    let stays = 0n;
    await run.close();
    const whole = await past.run(past.oldest, quiet);
    const { target } = whole;
    target.machine.stops.addBreakpoint(0x7c44n);
    while ((await finish(target.forward())).kind === 'breakpoint') {
      counted++;
      stays = target.count + 2n;
    }
    await whole.close();
    assert.equal(counted, last.charCodeAt(0));
    assert.equal(await at(`text:${last} in ram`), stays);
    assert.equal(await at(`text:${'\x06\x04\x05'}`), past.oldest.head.instructions);
  });
});

test('what is not kept is said', async () => {
  await withPast(async (past) => {
    const run = await past.run(past.newest, quiet);
    await assert.rejects(
      goTo(run, { count: 10_000_000n }),
      /instruction 10000000 is not kept: it is known from/,
    );
    await assert.rejects(goTo(run, { count: 1n }), /is not kept/);
    await run.close();
    assert.throws(() => past.named('99'), /there is no checkpoint 99/);
  });
  assert.throws(() => wanted('memory:0x500', '--find'), /nothing to look for/);
});

test('text over the ends of pieces', () => {
  const finder = new TextFinder('panic');
  assert.deepEqual(
    ['a pa', 'ni', 'c', 'x'].map((part) => finder.push(Buffer.from(part))),
    [false, false, true, false],
  );
});
