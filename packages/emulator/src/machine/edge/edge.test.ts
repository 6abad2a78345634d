/** A machine in use is repeated from a checkpoint and its log of inputs. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { planBootSector } from '../../boot/index.ts';
import { buildModules } from '../../build.ts';
import { nodeEngine, nodeHash } from '../../host-node/engine.ts';
import { createMachine, restoreMachine } from '../create.ts';
import type { Machine, MachineParts } from '../machine.ts';
import type { MachineSnapshot } from '../snapshot.ts';
import { busySector } from '../testing/busy-sector.ts';
import { bootSector } from '../testing/guests.ts';
import { decodeLog, encodeLog } from './codec.ts';
import { InputQueue } from './input-queue.ts';
import { OutputQueue } from './output-queue.ts';
import type { LoggedInput, MachineInput, StampedOutput } from './table.ts';

/** Of the busy guest's loop after each event. */
const turns = 1024;

async function started(backends: MachineParts['backends'] = {}): Promise<Machine> {
  const machine = await createMachine({
    description: { memoryBytes: 2 ** 20 },
    engine: nodeEngine,
    backends: { hash: nodeHash, ...backends },
  });
  machine.boot(planBootSector(busySector(turns)));
  return machine;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const serialText = (outputs: readonly StampedOutput[]): string =>
  outputs
    .map(({ output }) => (output.kind === 'serial' ? new TextDecoder().decode(output.bytes) : ''))
    .join('');

/** Uses the machine as a person and a host would: types, presses, lets time pass, changes the rate. */
function use(machine: Machine, rounds: number): void {
  for (let n = 0; n < rounds; n++) {
    const result = machine.run({ instructions: 3000 + n * 7, idle: 'wait' });
    if (result.reason === 'idle') machine.input({ kind: 'skip', toNs: machine.timeNs + 130_000n });
    if (n % 5 === 0) machine.input({ kind: 'serial', port: 0, bytes: text('ab') });
    if (n % 7 === 3) machine.input({ kind: 'key', code: 'KeyA', pressed: n % 2 === 0 });
    if (n % 11 === 4) machine.input({ kind: 'rate', rate: (1 + (n % 5)) << 15 });
  }
}

/** Runs a machine along a log, and on to `instructions`. */
function follow(machine: Machine, log: readonly LoggedInput[], instructions: bigint): void {
  machine.replay(log);
  for (let turns = 0; machine.instructions < instructions; turns++) {
    assert.ok(turns < 1000);
    const { reason } = machine.run({ instructions: instructions - machine.instructions, idle: 'wait' });
    assert.notEqual(reason, 'idle', 'the log lets time pass');
  }
  assert.equal(machine.catchUp(), true);
}

before(() => {
  buildModules(() => undefined);
});

describe('the edge of a machine', () => {
  test('a machine in use is repeated from its checkpoint and its log, to the bit, with the same outputs', async () => {
    const log: LoggedInput[] = [];
    const outputs = new OutputQueue();
    const live = await started({ input: (entry) => log.push(entry), output: (entry) => outputs.put(entry) });
    use(live, 60);
    const before = outputs.take();
    assert.match(serialText(before), /^(ab)+$/);
    assert.ok(before.some(({ output }) => output.kind === 'debug'));
    const snapshot = structuredClone(live.snapshot({ full: true })) as MachineSnapshot;
    log.splice(0, 1 + log.findLastIndex(({ input }) => input.kind === 'flush'));
    use(live, 90);
    const seen = outputs.take();
    assert.ok(log.length > 40 && seen.length > 10);

    const repeated = new OutputQueue();
    const twin = await restoreMachine({
      snapshot,
      engine: nodeEngine,
      backends: { hash: nodeHash, output: (entry) => repeated.put(entry) },
    });
    follow(twin, decodeLog(encodeLog(log)), live.instructions);
    assert.equal(twin.stateHash(), live.stateHash());
    assert.deepEqual(repeated.take(), seen);
    assert.deepEqual(twin.snapshot({ full: true }).devices, live.snapshot({ full: true }).devices);
  });

  test('a machine that repeated a log with a snapshot in it lists what changed before that in its own next one', async () => {
    const log: LoggedInput[] = [];
    const live = await started({ input: (entry) => log.push(entry) });
    use(live, 60);
    const snapshot = structuredClone(live.snapshot({ full: true })) as MachineSnapshot;
    log.splice(0);
    use(live, 20);
    // What changed before this one is not written again after it.
    live.snapshot();
    const end = live.instructions;

    const twin = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
    follow(twin, log, end);
    assert.equal(twin.stateHash(), live.stateHash());
    const other = await restoreMachine({ snapshot, engine: nodeEngine, backends: { hash: nodeHash } });
    other.advance(twin.snapshot());
    assert.equal(other.stateHash(), twin.stateHash());
  });

  test('a run that skips by itself logs its skips, so its log is replayed like any other', async () => {
    const log: LoggedInput[] = [];
    const live = await started({ input: (entry) => log.push(entry) });
    for (let n = 0; n < 30; n++) {
      live.run({ instructions: 5000 });
      live.input({ kind: 'serial', port: 0, bytes: text('x') });
    }
    const twin = await started();
    follow(twin, log, live.instructions);
    assert.equal(twin.stateHash(), live.stateHash());
  });

  test('numbers go on after a restore', async () => {
    const log: LoggedInput[] = [];
    const outputs = new OutputQueue();
    const first = await started();
    use(first, 60);
    const snapshot = structuredClone(first.snapshot({ full: true })) as MachineSnapshot;
    const backends = {
      input: (entry: LoggedInput) => log.push(entry),
      output: (entry: StampedOutput) => outputs.put(entry),
    };
    const second = await restoreMachine({ snapshot, engine: nodeEngine, backends });
    use(second, 20);
    // 12 times two bytes were typed before.
    assert.equal(log.find(({ input }) => input.kind === 'serial')?.number, 24);
    const serial = outputs.take().filter(({ output }) => output.kind === 'serial');
    assert.ok(serial.length > 0);
    assert.ok((serial[0]?.number ?? 0) > 0);
    const { inputs } = snapshot.devices['machine']?.state as { inputs: { stream: string; next: number }[] };
    assert.deepEqual(
      inputs.find(({ stream }) => stream === 'serial/0'),
      { stream: 'serial/0', next: 24 },
    );
  });

  test('a log of another state is refused where it differs', async () => {
    const log: LoggedInput[] = [];
    const live = await started({ input: (entry) => log.push(entry) });
    use(live, 20);
    const twin = await started();
    const gap = log.filter(({ input, number }) => input.kind !== 'serial' || number !== 0);
    assert.throws(() => follow(twin, gap, live.instructions), { code: 'MACHINE_REPLAY_DIVERGED' });
  });

  test('a guest that does not read makes its writer wait, then be refused; a key passes by', async () => {
    const machine = await started();
    // Masks its interrupts and never reads.
    machine.setRegisters({ eflags: 2 });
    const piece = new Uint8Array(0xffff);
    const results = [];
    for (let n = 0; n < 40; n++) results.push(machine.input({ kind: 'serial', port: 0, bytes: piece }));
    assert.equal(results[0], 'taken');
    assert.equal(results[1], 'held');
    assert.equal(results.at(-1), 'full');
    assert.equal(new Set(results.slice(results.indexOf('full'))).size, 1);
    assert.equal(machine.input({ kind: 'key', code: 'KeyA', pressed: true }), 'taken');
    assert.equal(machine.input({ kind: 'serial', port: 1, bytes: Uint8Array.of(1) }), 'taken');
  });

  test('what was held comes later, whole and in order', async () => {
    const log: LoggedInput[] = [];
    const outputs = new OutputQueue();
    const machine = await started({
      input: (entry) => log.push(entry),
      output: (entry) => outputs.put(entry),
    });
    machine.run({ instructions: 300 });
    const typed = Uint8Array.from({ length: 100_000 }, (_, n) => n % 251);
    assert.equal(machine.input({ kind: 'serial', port: 0, bytes: typed.subarray(0, 60_000) }), 'taken');
    assert.equal(machine.input({ kind: 'serial', port: 0, bytes: typed.subarray(60_000) }), 'held');
    const echoed: Uint8Array[] = [];
    for (
      let turns = 0;
      turns < 300 && echoed.reduce((sum, { length }) => sum + length, 0) < typed.length;
      turns++
    ) {
      machine.run({ instructions: 20_000 });
      for (const { output } of outputs.take()) if (output.kind === 'serial') echoed.push(output.bytes);
    }
    assert.deepEqual(Buffer.concat(echoed), Buffer.from(typed));
    const logged = log.flatMap(({ input, number }) =>
      input.kind === 'serial' ? [{ number, length: input.bytes.length }] : [],
    );
    assert.ok(logged.length > 2);
    let next = 0;
    for (const { number, length } of logged) {
      assert.equal(number, next);
      next += length;
    }
    assert.equal(next, typed.length);
  });

  test('keys that come faster than the guest reads them wait, and none is lost; a log of them is the same again', async () => {
    // in al, 64h; test al, 1; jz back; in al, 60h; out e9h, al; jmp back
    const reads = Uint8Array.of(0xe4, 0x64, 0xa8, 0x01, 0x74, 0xfa, 0xe4, 0x60, 0xe6, 0xe9, 0xeb, 0xf4);
    const run = async (log: readonly LoggedInput[], written: LoggedInput[]) => {
      const codes: number[] = [];
      const machine = await createMachine({
        description: { memoryBytes: 2 ** 20, debugConsolePorts: [0xe9] },
        backends: {
          hash: nodeHash,
          input: (entry) => written.push(entry),
          output: ({ output }) => (output.kind === 'debug' && codes.push(...output.bytes), true),
        },
        engine: nodeEngine,
      });
      machine.boot(planBootSector(bootSector(reads)));
      machine.replay(log);
      return { machine, codes };
    };
    const written: LoggedInput[] = [];
    const live = await run([], written);
    const results = Array.from({ length: 100 }, (_, n) =>
      live.machine.input({ kind: 'key', code: 'KeyA', pressed: n % 2 === 0 }),
    );
    assert.equal(results[0], 'taken');
    assert.equal(results.at(-1), 'held');
    assert.equal(live.machine.hasRoom({ kind: 'key', code: 'KeyA', pressed: true }), false);
    for (let turn = 0; turn < 60; turn++) live.machine.run({ instructions: 1000 });
    assert.deepEqual(
      live.codes,
      Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? 0x1e : 0x9e)),
    );
    const again = await run(written, []);
    again.machine.run({ instructions: live.machine.instructions });
    assert.deepEqual(again.codes, live.codes);
    assert.equal(again.machine.stateHash(), live.machine.stateHash());
  });

  test('an input for a device that the machine lacks is told from one that is wrong', async () => {
    const machine = await createMachine({
      description: { machine: 'microvm', memoryBytes: 2 ** 20 },
      engine: nodeEngine,
    });
    assert.equal(machine.input({ kind: 'key', code: 'KeyA', pressed: true }), 'no-device');
    assert.equal(machine.input({ kind: 'serial', port: 3, bytes: Uint8Array.of(1) }), 'no-device');
    assert.throws(() => machine.input({ kind: 'serial', port: 9, bytes: Uint8Array.of(1) }), {
      code: 'MACHINE_INPUT_INVALID',
    });
  });

  test('entropy makes two machines of one checkpoint draw different numbers', async () => {
    const [one, other, same] = [await started(), await started(), await started()];
    one.input({ kind: 'entropy', bytes: Uint8Array.of(1, 2, 3) });
    other.input({ kind: 'entropy', bytes: Uint8Array.of(1, 2, 4) });
    same.input({ kind: 'entropy', bytes: Uint8Array.of(1, 2, 3) });
    assert.notEqual(one.stateHash(), other.stateHash());
    assert.equal(one.stateHash(), same.stateHash());
  });

  test('a guest that writes faster than its outputs are taken is stopped until they are', async () => {
    const outputs = new OutputQueue(2000);
    const taken: Uint8Array[] = [];
    const machine = await started({ output: (entry) => outputs.put(entry) });
    const typed = Uint8Array.from({ length: 10_000 }, (_, n) => n % 256);
    machine.run({ instructions: 300 });
    machine.input({ kind: 'serial', port: 0, bytes: typed });
    for (
      let turns = 0;
      turns < 100 && machine.run({ instructions: 1_000_000 }).reason === 'paused';
      turns++
    ) {
      assert.ok(outputs.bytes <= 2100);
      for (const { output } of outputs.take()) if (output.kind === 'serial') taken.push(output.bytes);
    }
    for (const { output } of outputs.take()) if (output.kind === 'serial') taken.push(output.bytes);
    assert.deepEqual(Buffer.concat(taken), Buffer.from(typed));
  });
});

describe('queues', () => {
  test('outputs that follow each other in a stream become one, with the stamp of the last', () => {
    const queue = new OutputQueue();
    const put = (n: number, output: StampedOutput['output']): boolean =>
      queue.put({ instructions: BigInt(n), timeNs: 0n, number: n, output });
    put(1, { kind: 'serial', port: 0, bytes: text('a') });
    put(2, { kind: 'serial', port: 0, bytes: text('b') });
    put(3, { kind: 'serial', port: 1, bytes: text('c') });
    put(4, { kind: 'power', what: 'off', status: 0 });
    const entries = queue.take();
    assert.deepEqual(
      entries.map(({ instructions, number }) => [Number(instructions), number]),
      [
        [2, 1],
        [3, 3],
        [4, 4],
      ],
    );
    assert.equal(serialText(entries), 'abc');
    assert.deepEqual(queue.take(), []);
  });

  test('an input queue is bounded by items, too', () => {
    const queue = new InputQueue();
    const key: MachineInput = { kind: 'key', code: 'KeyA', pressed: true };
    let held = 0;
    for (; queue.hasRoom(key) && held < 10_000; held++) queue.hold(key);
    assert.equal(held, 4096);
    queue.drain(() => undefined);
    assert.ok(queue.empty);
  });

  test('an input queue keeps a frame that its card has no buffers for, and holds up no other stream', () => {
    const queue = new InputQueue();
    const frame = (nic: number): MachineInput => ({
      kind: 'frame',
      nic,
      bytes: new Uint8Array(60).fill(nic),
    });
    for (const nic of [0, 0, 1]) queue.hold(frame(nic));
    const taken: number[] = [];
    const take = (ready: boolean) => (input: MachineInput) => {
      if (input.kind !== 'frame' || (input.nic === 0 && !ready)) return 0;
      taken.push(input.nic);
      return undefined;
    };
    queue.drain(take(false));
    assert.deepEqual(taken, [1]);
    assert.ok(queue.holds(frame(0)));
    assert.ok(!queue.holds(frame(1)));
    queue.drain(take(true));
    assert.deepEqual(taken, [1, 0, 0]);
    assert.ok(queue.empty);
  });

  test('an input queue holds no more than 4 MiB, however few the frames', () => {
    const queue = new InputQueue();
    const large: MachineInput = { kind: 'frame', nic: 0, bytes: new Uint8Array(65_000) };
    for (let round = 0; round < 2; round++) {
      let held = 0;
      for (; queue.hasRoom(large) && held < 1000; held++) queue.hold(large);
      assert.equal(held, 64);
      queue.drain(() => undefined);
    }
    queue.hold(large);
    queue.clear();
    assert.ok(queue.hasRoom(large));
  });
});
