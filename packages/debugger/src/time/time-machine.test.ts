/** Going back is exact: each state, stop and output is the one that was there on the way forward. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { buildModules } from '@revenant/emulator/host-node';
import { countingPlan, tickingPlan } from '../../../emulator/src/machine/testing/guests.ts';
import { finish, runTo, travelling } from '../../test-support/machines.ts';
import type { TimeMachine } from './time-machine.ts';

before(() => {
  buildModules(() => undefined);
});

/** Counts of all stops up to a count, on the way forward. */
function stopsTo(target: TimeMachine, end: bigint): bigint[] {
  const counts: bigint[] = [];
  for (;;) {
    const stop = finish(target.forward(end));
    if (stop.kind === 'step') return counts;
    counts.push(target.count - (stop.kind === 'watchpoint' ? 1n : 0n));
  }
}

/** Counts of all stops on the way back to the beginning. */
function stopsBack(target: TimeMachine): bigint[] {
  const counts: bigint[] = [];
  for (;;) {
    const stop = finish(target.back());
    if (stop.kind === 'begin') return counts;
    counts.push(target.count);
  }
}

for (const [name, plan, breakpoint, watched] of [
  ['16-bit code with interrupts and HLT', tickingPlan, 0x7c44n, 0x504n],
  ['hot 32-bit code', countingPlan, 0x10_104dn, 0x20_0100n],
] as const)
  describe(name, () => {
    test('breakpoints are met backwards as they were forwards, the last first', async () => {
      const target = await travelling(plan, { every: 5_000n });
      target.machine.stops.addBreakpoint(breakpoint);
      const forwards = stopsTo(target, 40_000n);
      assert.ok(forwards.length > 2);
      assert.deepEqual(stopsBack(target), forwards.toReversed());
      assert.deepEqual(stopsTo(target, 40_000n), forwards);
    });

    test('who wrote this last? The instruction before which the old value is there', async () => {
      const target = await travelling(plan, { every: 5_000n });
      target.machine.stops.addWatchpoint({ address: watched, bytes: 2, on: 'write' });
      const forwards = stopsTo(target, 40_000n);
      const value = (): string => String(target.machine.memory.readPhysical(Number(watched), 2));
      const last = value();
      assert.equal(finish(target.back()).kind, 'watchpoint');
      assert.notEqual(value(), last);
      assert.equal(target.count, forwards.at(-1));
      finish(target.forward(target.count + 1n));
      assert.equal(value(), last);
      assert.deepEqual(stopsBack(target), forwards.toReversed());
    });

    test('any moment, by count or time, in any order', async () => {
      const target = await travelling(plan, { every: 3_000n });
      const hashes = new Map<bigint, string>();
      for (let count = 0n; count <= 30_000n; count += 1_501n) {
        runTo(target, count);
        hashes.set(count, target.machine.stateHash());
      }
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...hashes.keys()), { maxLength: 20 }), (order) => {
          for (const count of order) {
            finish(target.goTo(count));
            assert.equal(target.machine.stateHash(), hashes.get(count));
          }
        }),
        { numRuns: 10 },
      );
      finish(target.goTo(20_000n));
      const there = target.machine.timeNs;
      finish(target.goToTime(there / 2n));
      const half = target.machine.stateHash();
      finish(target.goTo(29_000n));
      finish(target.goToTime(there / 2n));
      assert.equal(target.machine.stateHash(), half);
    });

    test('steps back show each state in turn', async () => {
      const target = await travelling(plan);
      runTo(target, 9_900n);
      const states = Array.from({ length: 100 }, () => {
        const rip = target.machine.registers().rip;
        runTo(target, target.count + 1n);
        return rip;
      });
      for (const rip of states.toReversed()) {
        assert.equal(finish(target.stepBack()).kind, 'step');
        assert.equal(target.machine.registers().rip, rip);
      }
    });
  });

test('what is changed by hand in the past begins another future, which can be repeated too', async () => {
  const target = await travelling(countingPlan, { every: 5_000n });
  runTo(target, 30_000n);
  const first = target.machine.stateHash();
  finish(target.goTo(20_000n));
  target.poke(() => {
    target.machine.setRegisters({ rax: 0x1000n });
  });
  runTo(target, 30_000n);
  const second = target.machine.stateHash();
  assert.notEqual(second, first);
  for (const count of [10_000n, 25_000n, 19_999n]) {
    finish(target.goTo(count));
    finish(target.goTo(30_000n));
    assert.equal(target.machine.stateHash(), second);
  }
});

test('inputs belong to the run; one in the past takes the place of what came later', async () => {
  const target = await travelling(tickingPlan, { every: 5_000n });
  runTo(target, 10_000n);
  target.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(65) });
  runTo(target, 20_000n);
  target.input({ kind: 'nmi' });
  runTo(target, 30_000n);
  const first = target.machine.stateHash();
  finish(target.goTo(5_000n));
  finish(target.goTo(30_000n));
  assert.equal(target.machine.stateHash(), first);
  finish(target.goTo(15_000n));
  target.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(66) });
  runTo(target, 30_000n);
  assert.notEqual(target.machine.stateHash(), first);
  assert.equal(target.machine.registers().nmiBlocked, 0, 'the NMI is not known any more');
});

test('bookmarks stay within their bounds, and the beginning stays', async () => {
  const target = await travelling(countingPlan, { every: 1_000n, maxBytes: 100_000 });
  runTo(target, 400_000n);
  assert.ok(target.marks.length <= 200 && target.bytes <= 200_000);
  assert.equal(target.begin, 0n);
  const hash = target.machine.stateHash();
  finish(target.goTo(1_234n));
  finish(target.goTo(400_000n));
  assert.equal(target.machine.stateHash(), hash);
});
