/** What people see and type when the owner of a VM dies and another takes over, by policy of its outputs. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { LoggedInput } from '@revenant/emulator';
import { buildModules } from '@revenant/emulator/host-node';
import {
  CheckpointWriter,
  listAll,
  LogWriter,
  MemoryStore,
  openCheckpoint,
  raiseEpoch,
  systemHost,
  type ObjectStore,
} from '@revenant/storage';
import { FaultyStore } from '@revenant/storage/testing';
import { busyMachine } from '../../test-support/busy-machine.ts';
import { Listener, Typist, vmOf, VmHome } from '../../test-support/vm-home.ts';
import type { VmSpec } from '../decisions/records.ts';
import { until } from '../testing/until.ts';
import { chainDigest, chainStart } from './chain-guest.ts';
import { encodeBatch } from './log-batch.ts';
import { readLogBehind } from './replay-log.ts';

before(() => {
  buildModules(() => undefined);
});

const chain = (outputs: VmSpec['outputs'], changes: Partial<VmSpec> = {}): Partial<VmSpec> => ({
  outputs,
  checkpointMs: 200,
  ...changes,
});

/** What was heard of a chain guest: its steps in order from the first, and what was echoed. */
function chainOf(text: string): { steps: number[]; echoes: string[] } {
  const steps: number[] = [];
  const echoes: string[] = [];
  const digests = [chainStart];
  for (const line of text.split('\n').slice(0, -1)) {
    const match = /^step (\d+) ([0-9a-f]{64})$/.exec(line);
    if (match === null) {
      echoes.push(line);
      continue;
    }
    const step = Number(match[1]);
    digests[step] ??= chainDigest(digests[step - 1]!, step);
    assert.equal(match[2], digests[step], `step ${String(step)}`);
    steps.push(step);
  }
  return { steps, echoes };
}

/** Runs `v1` on one node after the other, each of which dies, and types a few lines on each. */
async function throughDeaths(
  store: ObjectStore,
  vm: ReturnType<typeof vmOf>,
  options: { owners: number; first?: number; lines?: number; between?: () => Promise<void> },
): Promise<{ listener: Listener; typist: Typist; homes: VmHome[] }> {
  const { owners, first = 0, lines = 5, between } = options;
  const listener = new Listener();
  const typist = new Typist();
  const homes: VmHome[] = [];
  let epoch = first;
  for (let owner = 0; owner < owners; owner++) {
    const home = new VmHome(store);
    homes.push(home);
    home.listen(listener);
    epoch = await home.run(vm, epoch);
    typist.attach(home);
    for (let n = 0; n < lines; n++) {
      const line = `owner ${String(owner)} line ${String(n)}\n`;
      await typist.type(line);
      await until('its echo', () => listener.text.includes(line));
    }
    await home.close();
    await between?.();
  }
  return { listener, typist, homes };
}

const allLines = (owners: number, lines: number): string[] =>
  Array.from(
    { length: owners * lines },
    (_, n) => `owner ${String(Math.floor(n / lines))} line ${String(n % lines)}`,
  );

describe('takeovers', () => {
  for (const policy of ['checkpoint', 'log'] as const)
    test(`${policy}: every byte of a console is shown once, and every line typed is taken once, though each owner dies`, async () => {
      const { listener, typist, homes } = await throughDeaths(new MemoryStore(), vmOf(chain(policy)), {
        owners: 5,
      });
      const { steps, echoes } = chainOf(listener.text);
      assert.deepEqual(
        steps,
        Array.from({ length: steps.length }, (_, n) => n + 1),
      );
      assert.ok(steps.length > 20);
      assert.deepEqual(echoes, allLines(5, 5));
      assert.equal(typist.lost, 0);
      assert.deepEqual(listener.said, []);
      for (const home of homes) assert.deepEqual(home.said('log-broken'), []);
    });

  test('async: what may be repeated is said, to the byte', async () => {
    // Its checkpoints are rare, so that a death costs something.
    const spec = chain('async', { checkpointMs: 700 });
    const { listener } = await throughDeaths(new MemoryStore(), vmOf(spec), { owners: 3, lines: 40 });
    const repeated = listener.said.filter((line) => /^\d+ bytes of output may be repeated here$/.test(line));
    assert.equal(repeated.length, 2, listener.said.join('; '));
    assert.deepEqual(repeated, listener.said);
  });

  for (const policy of ['checkpoint', 'log'] as const)
    test(`${policy}: a machine with timers and interrupts echoes every byte once`, async () => {
      const store = new MemoryStore();
      const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
      const writer = await CheckpointWriter.open(store, earlier, {});
      await writer.write(await busyMachine());
      const spec: Partial<VmSpec> = {
        runtime: 'machine',
        description: { memoryBytes: 2 ** 20 },
        ...chain(policy),
      };
      const { listener, typist } = await throughDeaths(store, vmOf(spec, { boot: 0 }), {
        ...{ owners: 5, first: 1, lines: 8 },
      });
      assert.deepEqual(listener.text.split('\n').slice(0, -1), allLines(5, 8));
      assert.equal(typist.lost, 0);
      assert.deepEqual(listener.said, []);
    });

  test('log: an output leaves long before the next checkpoint, and typed input is safe as soon', async () => {
    const home = new VmHome(new MemoryStore());
    const listener = new Listener();
    const typist = new Typist();
    home.listen(listener);
    try {
      await home.run(vmOf(chain('log', { checkpointMs: 60_000 })), 0);
      await until('the first checkpoint', () => (home.host.figures[0]?.checkpoints ?? 0) === 1);
      typist.attach(home);
      await typist.type('typed\n');
      await until('its echo', () => listener.text.includes('typed\n'));
      await until('its safety', () => typist.durable === 6);
      assert.equal(home.host.figures[0]?.checkpoints, 1);
      assert.ok((home.host.figures[0]?.outputs.logSegments ?? 0) > 0);
    } finally {
      await home.close();
    }
  });

  test('log: a segment that was being written when its owner died is left out, with a word', async () => {
    const store = new MemoryStore();
    const tear = async (): Promise<void> => {
      const keys: string[] = [];
      for await (const { key } of listAll(store, 'vms/v1/log/')) keys.push(key);
      const [epoch = '', ordinal = ''] = keys.at(-1)!.split('/').at(-1)!.split('-');
      const next = `vms/v1/log/${epoch}-${String(Number(ordinal) + 1).padStart(10, '0')}`;
      const whole = (await store.get(keys.at(-1)!))!.body;
      await store.put(next, whole.subarray(0, whole.length >> 1));
    };
    const { listener, homes } = await throughDeaths(store, vmOf(chain('log')), { owners: 3, between: tear });
    const { steps, echoes } = chainOf(listener.text);
    assert.deepEqual(
      steps,
      Array.from({ length: steps.length }, (_, n) => n + 1),
    );
    assert.deepEqual(echoes, allLines(3, 5));
    assert.deepEqual(
      homes.map((home) => home.said('log-torn').length),
      [0, 1, 1],
    );
  });

  test('log: a segment that is missing in the middle is named, with what that costs, and the VM goes on before it', async () => {
    const store = new MemoryStore();
    // One checkpoint, and then only log, so that the missing segment is needed.
    const spec = chain('log', { checkpointMs: 60_000 });
    let missing = '';
    const lose = async (): Promise<void> => {
      const keys: string[] = [];
      for await (const { key } of listAll(store, 'vms/v1/log/')) keys.push(key);
      missing = keys[keys.length >> 1]!;
      await store.delete([missing]);
    };
    const first = new VmHome(store);
    const listener = new Listener();
    first.listen(listener);
    await first.run(vmOf(spec), 0);
    await until('the first checkpoint', () => (first.host.figures[0]?.checkpoints ?? 0) === 1);
    await until('steps', () => chainOf(listener.text).steps.length > 30);
    await first.close();
    await lose();
    const second = new VmHome(store);
    second.listen(listener);
    try {
      const before = chainOf(listener.text).steps.length;
      await second.run(vmOf(spec), 1);
      await until('more steps', () => chainOf(listener.text).steps.length > before);
      const [broken] = second.said('log-broken');
      assert.match(
        broken?.reason ?? '',
        /what came in behind this is lost, and what was seen may be taken back/,
      );
      assert.ok(broken?.reason.includes(missing), broken?.reason);
      assert.match(listener.said[0] ?? '', /^\d+ bytes of output may be repeated here$/);
    } finally {
      await second.close();
    }
  });

  test('log: of memory that changed before a checkpoint which its owner did not live to finish, the next one has all', async () => {
    const store = new FaultyStore(new MemoryStore(), () => undefined, {
      host: systemHost,
      random: () => 0.5,
    });
    const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
    const writer = await CheckpointWriter.open(store, earlier);
    await writer.write(await busyMachine({ keeps: true }));
    const vm = vmOf(
      { runtime: 'machine', description: { memoryBytes: 2 ** 20 }, outputs: 'log', checkpointMs: 200 },
      { boot: 0 },
    );
    const listener = new Listener();
    const type = async (home: VmHome, typed: string): Promise<void> => {
      const bytes = new TextEncoder().encode(typed);
      await home.host.input('v1', [{ kind: 'serial', port: 0, bytes }]);
      await until('its echo', () => listener.text.endsWith(typed));
    };
    const checkpoints = (home: VmHome): number => home.host.figures[0]?.checkpoints ?? 0;
    const homes = [new VmHome(store), new VmHome(store)] as const;
    for (const home of homes) home.listen(listener);
    try {
      const [first, second] = homes;
      const epoch = await first.run(vm, 1);
      const epochsManifests = `vms/v1/manifests/${String(epoch).padStart(10, '0')}-`;
      await until('a checkpoint', () => checkpoints(first) >= 1);
      // Its next checkpoint waits for the store until it was given something, and the one after that never gets there.
      const tried: string[] = [];
      let passes = 0;
      store.plan = (operation, key) => {
        if (operation !== 'put' || !key.startsWith(epochsManifests)) return undefined;
        if (!tried.includes(key)) tried.push(key);
        return tried.indexOf(key) < passes ? undefined : { kind: 'refused' };
      };
      await until('a checkpoint that waits', () => tried.length === 1);
      await type(first, 'a');
      passes = 1;
      await until('the next', () => tried.length === 2);
      await type(first, 'b');
      await first.close();

      const from = await openCheckpoint(store, 'v1');
      const kinds = (await readLogBehind(store, from))?.log.map(({ input }) => input.kind);
      await from.close();
      assert.ok(kinds?.includes('flush'), 'the log has the making of a checkpoint that is not there');
      await second.run(vm, epoch);
      await until('a checkpoint', () => checkpoints(second) >= 1);
      await second.close();
      const reader = await openCheckpoint(store, 'v1');
      const { spaces } = await reader.readSnapshot({ onBase: true });
      await reader.close();
      const ram = spaces.find(({ name }) => name === 'ram');
      const kept = [1, 2].map((page) => ram?.bytes[ram.indexes.indexOf(page) * 4096]);
      assert.deepEqual(kept, [...new TextEncoder().encode('ab')]);
    } finally {
      for (const home of homes) await home.close();
    }
  });

  test('log: of one that does not fit its checkpoint it is said what to do', async () => {
    const store = new MemoryStore();
    const earlier = await raiseEpoch(store, 'v1', { owner: 'before', expectedEpoch: 0 });
    const writer = await CheckpointWriter.open(store, earlier);
    await writer.write(await busyMachine());
    const log = new LogWriter(store, earlier, { from: 0n });
    // Key 5, of which there was no first.
    const key: LoggedInput = {
      ...{ instructions: 50n, timeNs: 0n, number: 5 },
      input: { kind: 'key', code: 'KeyA', pressed: true },
    };
    log.append({ count: 50n, payload: encodeBatch({ log: [key], places: {} }) });
    await log.close();
    const home = new VmHome(store);
    const vm = vmOf(
      { runtime: 'machine', description: { memoryBytes: 2 ** 20 }, outputs: 'log' },
      { boot: 0 },
    );
    try {
      await assert.rejects(home.run(vm, 1), /does not fit its checkpoint .*key 5.*revenant vm fork/);
    } finally {
      await home.close();
    }
  });

  test('log: whoever is fenced lets nothing out any more, though it still runs', async () => {
    const store = new MemoryStore();
    const [old, next] = [new VmHome(store), new VmHome(store)];
    const [before, after] = [new Listener(), new Listener()];
    old.listen(before);
    next.listen(after);
    try {
      await old.run(vmOf(chain('log')), 0);
      await until('steps', () => chainOf(before.text).steps.length > 10);
      await next.run(vmOf(chain('log')), 1);
      await until('the end of the first', () =>
        old.events.some((event) => event.type === 'stopped' && event.kind === 'fenced'),
      );
      const heard = chainOf(before.text).steps;
      await until('steps of the second', () => (chainOf(after.text).steps.at(-1) ?? 0) > heard.length + 5);
      // Whatever the first let out, the second goes on from.
      assert.deepEqual(
        heard,
        Array.from({ length: heard.length }, (_, n) => n + 1),
      );
      assert.ok(chainOf(after.text).steps[0]! <= heard.length + 1);
    } finally {
      await old.close();
      await next.close();
    }
  });

  for (const policy of ['checkpoint', 'log'] as const)
    test(`${policy}: while the store takes nothing, outputs wait, then the guest, and both go on with it`, async () => {
      const store = new FaultyStore(new MemoryStore(), () => undefined, {
        host: systemHost,
        random: () => 0.5,
      });
      const home = new VmHome(store);
      const listener = new Listener();
      home.listen(listener);
      try {
        await home.run(vmOf(chain(policy, { description: { stepMs: 0 } })), 0);
        await until('steps', () => chainOf(listener.text).steps.length > 10);
        store.plan = (operation) => (operation === 'put' ? { kind: 'full' } : undefined);
        await until('the guest stands still', () => home.host.inputTrouble('v1') !== undefined);
        assert.match(home.host.inputTrouble('v1') ?? '', /^v1 stands still: /);
        const { heldOutputBytes } = home.host.figures[0]!.outputs;
        assert.ok(heldOutputBytes >= 2 ** 20 && heldOutputBytes < 2 ** 22, String(heldOutputBytes));
        const heard = listener.text.length;
        store.plan = () => undefined;
        await until('all of it', () => listener.text.length > heard + heldOutputBytes / 2);
        await until('the guest goes on', () => home.host.inputTrouble('v1') === undefined);
        const { steps } = chainOf(listener.text);
        assert.deepEqual(
          steps,
          Array.from({ length: steps.length }, (_, n) => n + 1),
        );
      } finally {
        store.plan = () => undefined;
        await home.close();
      }
    });

  test('a policy that changes while the VM runs holds from then on, through deaths', async () => {
    const store = new MemoryStore();
    const listener = new Listener();
    let epoch = 0;
    let before = 'checkpoint';
    for (const [from, to] of [
      ['async', 'log'],
      ['log', 'checkpoint'],
      ['checkpoint', 'log'],
      ['log', 'async'],
      ['async', 'checkpoint'],
    ] as const) {
      const home = new VmHome(store);
      home.listen(listener);
      epoch = await home.run(vmOf(chain(from)), epoch);
      const more = (): number => chainOf(listener.text).steps.length;
      const heard = more();
      await until('steps', () => more() > heard + 10);
      // Only a death under `async` repeats anything, and says so.
      const said = listener.said.splice(0);
      if (before !== 'async') assert.deepEqual(said, [], `${before}, then ${from}`);
      home.host.do({ type: 'set-outputs', vmId: 'v1', epoch, outputs: to });
      const { checkpoints } = home.host.figures[0]!;
      // The first may have been cut before the change.
      await until('two checkpoints', () => home.host.figures[0]!.checkpoints >= checkpoints + 2);
      const then = more();
      await until('steps', () => more() > then + 5);
      await home.close();
      before = to;
    }
    const { steps } = chainOf(listener.text);
    const again = steps.filter((step, n) => n > 0 && step <= steps[n - 1]!);
    assert.ok(again.length <= 1, String(again));
  });
});
