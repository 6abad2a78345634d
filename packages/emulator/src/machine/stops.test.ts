/** Breakpoints and watchpoints stop exactly where they should, on both engines, and the guest is the same as without them. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { buildModules } from '../build.ts';
import { makeNodeEngine, nodeHash } from '../host-node/engine.ts';
import { createMachine } from './create.ts';
import type { Machine } from './machine.ts';
import { countingPlan } from './testing/guests.ts';

async function started(kind: 'interpreter' | 'translator' = 'translator'): Promise<Machine> {
  const machine = await createMachine({
    description: { memoryBytes: 4 * 2 ** 20 },
    engine: makeNodeEngine({ kind, hotThreshold: 50 }),
    backends: { hash: nodeHash },
  });
  machine.boot(countingPlan);
  return machine;
}

/** EAX and the instruction count at each of the next `times` stops. */
function stops(
  machine: Machine,
  times: number,
  reason: string,
): { rip: number; eax: number; count: bigint }[] {
  return Array.from({ length: times }, () => {
    const result = machine.run({ instructions: 10_000_000 });
    assert.equal(result.reason, reason);
    const { rip, rax } = machine.registers();
    return { rip: Number(rip), eax: Number(rax), count: result.instructions };
  });
}

before(() => {
  buildModules(() => undefined);
});

for (const kind of ['interpreter', 'translator'] as const)
  describe(kind, () => {
    test('a breakpoint set in hot code is met each time, before its instruction', async () => {
      const machine = await started(kind);
      machine.run({ instructions: 100_000 });
      machine.stops.addBreakpoint(0x10_104dn);
      const seen = stops(machine, 5, 'breakpoint');
      for (const { rip, eax } of seen) assert.deepEqual([rip, eax % 256], [0x10_104d, 0]);
      assert.equal((seen[4]?.eax ?? 0) - (seen[0]?.eax ?? 0), 4 * 256);
    });

    test('stopping a hundred times leaves the guest as it is without a debugger', async () => {
      const plain = await started(kind);
      const debugged = await started(kind);
      debugged.stops.addBreakpoint(0x10_104dn);
      debugged.stops.addBreakpoint(0x10_1066n);
      debugged.stops.addWatchpoint({ address: 0x20_0200n, bytes: 4, on: 'access' });
      for (let n = 0; n < 400; n++) debugged.run({ instructions: 100_000 });
      plain.run({ instructions: debugged.instructions });
      assert.equal(debugged.instructions > 1000n, true);
      assert.equal(debugged.stateHash(), plain.stateHash());
    });

    test('a watchpoint stops behind the store, also in the middle of hot code', async () => {
      const machine = await started(kind);
      machine.run({ instructions: 100_000 });
      machine.stops.addWatchpoint({ address: 0x20_0100n, bytes: 4, on: 'write' });
      for (const { rip, eax } of stops(machine, 3, 'watchpoint'))
        assert.deepEqual([rip, eax % 256], [0x10_1052, 0]);
      const result = machine.run();
      assert.deepEqual([result.watch?.address, result.watch?.access], [0x20_0100n, 'write']);
    });

    test('reads and writes are told apart; a repeated string instruction stops within its repetitions', async () => {
      const machine = await started(kind);
      machine.run({ instructions: 100_000 });
      machine.stops.addWatchpoint({ address: 0x20_0008n, bytes: 1, on: 'read' });
      const [stop] = stops(machine, 1, 'watchpoint');
      assert.equal(stop?.rip, 0x10_1061);
      // Elements 0 to 2 were copied: 13 are left.
      assert.equal(machine.registers().rcx, 13n);
      machine.stops.removeWatchpoint({ address: 0x20_0008n, bytes: 1, on: 'read' });
      machine.stops.addWatchpoint({ address: 0x20_0210n, bytes: 4, on: 'write' });
      stops(machine, 1, 'watchpoint');
      assert.equal(machine.registers().rcx, 11n);
    });

    test('a watched page costs its instructions only: what is not in the range does not stop', async () => {
      const machine = await started(kind);
      machine.stops.addWatchpoint({ address: 0x20_0800n, bytes: 8, on: 'access' });
      assert.equal(machine.run({ instructions: 50_000 }).reason, 'limit');
      const plain = await started(kind);
      plain.run({ instructions: 50_000 });
      assert.equal(machine.stateHash(), plain.stateHash());
    });
  });

test('a physical watchpoint sees what devices and loaders write', async () => {
  const machine = await started();
  machine.stops.addWatchpoint({ address: 0x30_0000n, bytes: 16, on: 'write', physical: true });
  machine.run({ instructions: 1000 });
  machine.memory.writePhysical(0x30_0008, Uint8Array.of(1));
  const result = machine.run({ instructions: 1000 });
  assert.deepEqual([result.reason, result.watch?.address], ['watchpoint', 0x30_0008n]);
});

test('breakpoints that are not met are not noticed', async () => {
  const machine = await started();
  for (let n = 0; n < 100; n++) machine.stops.addBreakpoint(0x10_2000n + BigInt(n * 16));
  assert.equal(machine.run({ instructions: 3_000_000 }).reason, 'limit');
  const { translator } = machine.engine as unknown as { translator: { statistics: { regions: number } } };
  assert.ok(translator.statistics.regions > 0, 'code is translated');
});

test('removing a breakpoint gives its instruction back to translated code', async () => {
  const machine = await started();
  machine.stops.addBreakpoint(0x10_1040n);
  stops(machine, 3, 'breakpoint');
  machine.stops.removeBreakpoint(0x10_1040n);
  assert.equal(machine.run({ instructions: 1_000_000 }).reason, 'limit');
});
