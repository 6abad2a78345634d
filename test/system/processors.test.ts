/** Several processors: the bare-metal guest of four sees what the manual says, and QEMU; its run is one run, whatever engine, stops and restores it has. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { pcMemoryMap, planKernel } from '../../packages/emulator/src/boot/index.ts';
import { buildModules } from '../../packages/emulator/src/build.ts';
import type { EngineKind } from '../../packages/emulator/src/engine/engine.ts';
import { makeNodeEngine, nodeHash } from '../../packages/emulator/src/host-node/engine.ts';
import { createMachine, restoreMachine } from '../../packages/emulator/src/machine/create.ts';
import type { LoggedInput } from '../../packages/emulator/src/machine/edge/table.ts';
import type { Machine } from '../../packages/emulator/src/machine/machine.ts';
import type { RunOptions } from '../../packages/emulator/src/machine/scheduler.ts';
import { requireToolsInCi } from '../native/toolchain.ts';
import { assembleGuest, assemblerMissing, expectedOutput, lines, qemuMissing, runInQemu } from './guest.ts';

requireToolsInCi(['as', 'qemu-system-x86_64']);

const name = 'processors32';
const memoryBytes = 64 * 2 ** 20;
const cpuCount = 4;
const mostInstructions = 50_000_000n;
/** Where states are compared: through each part of the guest's run. */
const every = 150_001n;

interface Made {
  machine: Machine;
  log: LoggedInput[];
  text: () => string;
}

function parts(kind: EngineKind) {
  const log: LoggedInput[] = [];
  let text = '';
  return {
    log,
    text: () => text,
    engine: makeNodeEngine({ kind, hotThreshold: 20 }),
    backends: {
      hash: nodeHash,
      input: (entry: LoggedInput) => log.push(entry),
      debugConsole: (_port: number, byte: number) => {
        text += String.fromCharCode(byte);
      },
    },
  };
}

async function booted(kind: EngineKind): Promise<Made> {
  const { engine, backends, log, text } = parts(kind);
  const machine = await createMachine({
    description: { memoryBytes, cpu: { count: cpuCount }, debugExitPort: 0xf4 },
    engine,
    backends,
  });
  const kernel = readFileSync(assembleGuest(name));
  machine.boot(planKernel({ kernel, longMode: true }, { memoryMap: pcMemoryMap(memoryBytes) }));
  return { machine, log, text };
}

/** Runs to the guest's end; `hashes` has the state at each multiple of `every`, however the run is cut in pieces. */
function finish(machine: Machine, hashes: string[], pieces: () => RunOptions = () => ({})): void {
  const started = machine.instructions;
  for (;;) {
    const next = (machine.instructions / every + 1n) * every;
    const left = next - machine.instructions;
    const { instructions = left, ...options } = pieces();
    const { reason } = machine.run({
      ...options,
      instructions: BigInt(instructions) < left ? instructions : left,
    });
    if (reason === 'debugExit') break;
    assert.equal(reason, 'limit');
    assert.ok(machine.instructions - started < mostInstructions, 'the guest does not come to its end');
    if (machine.instructions === next) hashes.push(machine.stateHash());
  }
  hashes.push(machine.stateHash());
}

/** Numbers from 1 to `most`, the same each time. */
function pseudoRandom(seed: number, most: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 1 + (state % most);
  };
}

describe('several processors', { skip: assemblerMissing() }, () => {
  let whole: string[] = [];
  let output = '';

  before(async () => {
    buildModules(() => undefined);
    const { machine, text } = await booted('interpreter');
    whole = [];
    finish(machine, whole);
    output = text();
  });

  test('the guest sees what the manual says', () => {
    assert.deepEqual(lines(output), expectedOutput(name));
    assert.ok(whole.length > 5, `${String(whole.length)} states`);
  });

  test('it sees the same in QEMU', { skip: qemuMissing() }, () => {
    assert.deepEqual(
      runInQemu(name, assembleGuest(name), { cpuCount, timeoutMs: 60_000 }),
      expectedOutput(name),
    );
  });

  test('both engines reach the same states', async () => {
    const { machine, text } = await booted('translator');
    const hashes: string[] = [];
    finish(machine, hashes);
    assert.deepEqual(hashes, whole);
    assert.equal(text(), output);
  });

  test('a run that stops often reaches the same states as one that never does', async () => {
    for (const kind of ['interpreter', 'translator'] as const) {
      const { machine } = await booted(kind);
      const next = pseudoRandom(7, 9000);
      const hashes: string[] = [];
      finish(machine, hashes, () => {
        const n = next();
        if (n % 3 === 0) return { accesses: 1 + (n % 5) };
        if (n % 3 === 1) return { look: { every: 100, enough: () => n % 2 === 0 } };
        return { instructions: n };
      });
      assert.deepEqual(hashes, whole, kind);
    }
  });

  test('a checkpoint from anywhere goes on to the same states', async () => {
    const { machine } = await booted('translator');
    const next = pseudoRandom(3, 100_000);
    let restores = 0;
    for (; machine.run({ instructions: next() }).reason === 'limit'; restores++) {
      const snapshot = machine.snapshot({ full: true });
      assert.equal(snapshot.cpus.length, cpuCount);
      const { engine, backends } = parts('interpreter');
      const twin = await restoreMachine({ snapshot, engine, backends });
      assert.equal(twin.stateHash(), machine.stateHash());
      const { reason } = twin.run({ instructions: 60_000 });
      assert.equal(machine.run({ instructions: 60_000 }).reason, reason);
      assert.equal(twin.stateHash(), machine.stateHash(), `behind ${String(snapshot.instructions)}`);
      if (reason !== 'limit') break;
    }
    assert.ok(restores > 5);
  });

  test('a bookmark is gone back to, and the run is repeated', async () => {
    const { machine } = await booted('translator');
    let taken = 0;
    for (; machine.run({ instructions: 77_777 }).reason === 'limit'; taken++) {
      const bookmark = machine.bookmarks.take();
      const { reason } = machine.run({ instructions: 60_000 });
      const then = machine.stateHash();
      machine.bookmarks.goTo(bookmark);
      machine.run({ instructions: 60_000 });
      assert.equal(machine.stateHash(), then);
      machine.bookmarks.forget(bookmark);
      if (reason !== 'limit') break;
    }
    assert.ok(taken > 5);
  });

  test('a log is replayed to the same state', async () => {
    const live = await booted('translator');
    live.machine.run({ instructions: 30_000 });
    const snapshot = live.machine.snapshot({ full: true });
    live.log.length = 0;
    const next = pseudoRandom(5, 60_000);
    for (let n = 0; n < 12; n++) {
      live.machine.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(n) });
      live.machine.input({ kind: 'rate', rate: (3 << 16) + n });
      if (live.machine.run({ instructions: next() }).reason === 'debugExit') break;
    }
    const { engine, backends } = parts('interpreter');
    const twin = await restoreMachine({ snapshot, engine, backends });
    twin.replay(live.log);
    while (twin.instructions < live.machine.instructions)
      twin.run({ instructions: live.machine.instructions - twin.instructions });
    twin.catchUp();
    assert.equal(twin.stateHash(), live.machine.stateHash());
  });
});
