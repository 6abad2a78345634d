/** A machine that went back is the machine that was there: it goes on with the same hashes, whatever it did in between. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { buildModules } from '../build.ts';
import { makeNodeEngine, nodeHash } from '../host-node/engine.ts';
import type { Bookmark } from './bookmarks.ts';
import { createMachine } from './create.ts';
import type { LoggedInput } from './edge/table.ts';
import type { Machine } from './machine.ts';
import { PageVersions } from './page-versions.ts';
import { countingPlan, tickingPlan } from './testing/guests.ts';
import type { BootPlan } from '../boot/plan.ts';

before(() => {
  buildModules(() => undefined);
});

async function started(plan: BootPlan, log?: LoggedInput[]): Promise<Machine> {
  const machine = await createMachine({
    description: { memoryBytes: 4 * 2 ** 20, disks: [{ name: 'disk0', bytes: 2 ** 20 }] },
    engine: makeNodeEngine({ kind: 'translator', hotThreshold: 50 }),
    backends: { hash: nodeHash, ...(log === undefined ? {} : { input: (entry) => void log.push(entry) }) },
  });
  machine.boot(plan);
  return machine;
}

/** Runs to a count, however often the machine waits. */
function runTo(machine: Machine, count: bigint): void {
  while (machine.instructions < count) machine.run({ instructions: count - machine.instructions });
}

for (const [name, plan] of [
  ['16-bit code with interrupts', tickingPlan],
  ['hot 32-bit code', countingPlan],
] as const)
  describe(name, () => {
    test('going back and forth in any order gives the states of one straight run', async () => {
      const counts = Array.from({ length: 12 }, (_, n) => BigInt(n * 30_000 + n));
      const straight = await started(plan);
      const hashes = counts.map((count) => {
        runTo(straight, count);
        return straight.stateHash();
      });
      const machine = await started(plan);
      const marks = new Map<number, Bookmark>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat(counts.length - 1), { minLength: 1, maxLength: 12 }),
          async (order) => {
            for (const n of order) {
              const count = counts[n] ?? 0n;
              const nearest = [...marks].filter(([m]) => m <= n).sort(([a], [b]) => b - a)[0];
              if (machine.instructions > count) {
                if (nearest === undefined) continue;
                machine.bookmarks.goTo(nearest[1]);
              }
              runTo(machine, count);
              if (!marks.has(n)) marks.set(n, machine.bookmarks.take());
              assert.equal(machine.stateHash(), hashes[n], `at ${String(count)}`);
            }
            await Promise.resolve();
          },
        ),
        { numRuns: 12 },
      );
    });

    test('with inputs, a cut and a rate in the log, replayed from a bookmark', async () => {
      const log: LoggedInput[] = [];
      const machine = await started(plan, log);
      machine.bookmarks.take();
      const at: { mark: Bookmark; entries: number; hash: string }[] = [];
      for (let n = 0; n < 20; n++) {
        runTo(machine, BigInt(n) * 9_001n);
        machine.input({ kind: 'serial', port: 0, bytes: Uint8Array.of(n) });
        if (n === 7) machine.input({ kind: 'rate', rate: 5 << 16 });
        if (n % 6 === 3) machine.snapshot();
        at.push({ mark: machine.bookmarks.take(), entries: log.length, hash: machine.stateHash() });
      }
      for (const from of [0, 5, 11, 3]) {
        const start = at[from];
        assert.ok(start !== undefined);
        machine.bookmarks.goTo(start.mark);
        assert.equal(machine.stateHash(), start.hash);
        machine.replay(log.slice(start.entries));
        runTo(machine, 19n * 9_001n);
        machine.catchUp();
        assert.equal(machine.stateHash(), at[19]?.hash);
      }
    });
  });

test('what disks hold goes back too', async () => {
  const machine = await started(countingPlan);
  const [disk] = machine.disks;
  assert.ok(disk !== undefined);
  disk.write(5000, Uint8Array.of(1, 2, 3));
  const mark = machine.bookmarks.take();
  disk.write(5001, Uint8Array.of(9));
  disk.write(50_000, Uint8Array.of(9));
  machine.bookmarks.goTo(mark);
  for (const [offset, expected] of [
    [5000, [1, 2, 3]],
    [50_000, [0, 0, 0]],
  ] as const) {
    const bytes = new Uint8Array(3);
    disk.read(offset, bytes);
    assert.deepEqual([...bytes], expected);
  }
  disk.write(5001, Uint8Array.of(7));
  machine.bookmarks.goTo(mark);
  const bytes = new Uint8Array(3);
  disk.read(5000, bytes);
  assert.deepEqual([...bytes], [1, 2, 3]);
});

test('page versions: any order of adding and dropping moments', () => {
  const page = (value: number): Uint8Array => new Uint8Array(8).fill(value);
  fc.assert(
    fc.property(
      fc.array(fc.record({ moment: fc.nat(20), drop: fc.boolean() }), { maxLength: 40 }),
      fc.array(fc.nat(3), { minLength: 21, maxLength: 21 }),
      (steps, contents) => {
        const versions = new PageVersions(() => page(0));
        const kept = new Set<number>();
        for (const { moment, drop } of steps) {
          if (drop) versions.drop(moment);
          else if (!kept.has(moment)) versions.add(moment, [1], () => page(contents[moment] ?? 0));
          if (drop) kept.delete(moment);
          else kept.add(moment);
          for (const each of kept) assert.deepEqual(versions.at(1, each), page(contents[each] ?? 0));
        }
        for (const each of [...kept]) versions.drop(each);
        assert.equal(versions.bytes, 0);
      },
    ),
  );
});
