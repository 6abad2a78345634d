/** Looks at the host in the midst of hot code: it goes on in place, what the guest sees is the same, and what ends a run does so exactly. */
import { before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { buildModules } from '../build.ts';
import { makeNodeEngine, nodeHash } from '../host-node/engine.ts';
import { createMachine } from './create.ts';
import type { Machine } from './machine.ts';
import { countingPlan, timedPlan } from './testing/guests.ts';

interface Started {
  machine: Machine;
  /** How often the engine was asked to run. */
  runs: () => number;
}

async function started(
  plan: typeof timedPlan,
  kind: 'interpreter' | 'translator' = 'translator',
): Promise<Started> {
  let runs = 0;
  const make = makeNodeEngine({ kind, hotThreshold: 50 });
  const machine = await createMachine({
    description: { memoryBytes: 4 * 2 ** 20 },
    engine: async (parts) => {
      const engine = await make(parts);
      const whole = Object.create(engine) as typeof engine;
      whole.run = (cpu) => {
        runs++;
        return engine.run(cpu);
      };
      return whole;
    },
    backends: { hash: nodeHash },
  });
  machine.boot(plan);
  return { machine, runs: () => runs };
}

before(() => {
  buildModules(() => undefined);
});

describe('looks in hot code', () => {
  test('it goes on in place, and each look comes in time', async () => {
    for (const plan of [countingPlan, timedPlan]) {
      const { machine, runs } = await started(plan);
      machine.run({ instructions: 200_000 });
      const seen = [machine.instructions];
      const events = runs();
      const enough = (): boolean => {
        seen.push(machine.instructions);
        return false;
      };
      const end = machine.instructions + 5_000_000n;
      machine.run({ instructions: 5_000_000, look: { every: 5000, enough } });
      assert.equal(machine.instructions, end);
      assert.ok(seen.length >= 1000, `${String(seen.length)} looks`);
      const gaps = seen.slice(1).map((count, n) => Number(count - (seen[n] ?? 0n)));
      assert.ok(Math.max(...gaps) <= 5000);
      assert.ok(Math.min(...gaps) > 4000);
      // The timer comes twenty times, and a slice ends with it and with the end of its interrupt.
      const ended = runs() - events;
      assert.ok(ended < 100, `left for the host ${String(ended)} times`);
    }
  });

  test('the guest is the same in both engines, looked for often or never', async () => {
    const hashes = new Set<string>();
    for (const [kind, every] of [
      ['interpreter', 0],
      ['translator', 0],
      ['interpreter', 2000],
      ['translator', 2000],
      ['translator', 1300],
      ['translator', 20],
      ['translator', 7000],
    ] as const) {
      const { machine } = await started(timedPlan, kind);
      let looks = 0;
      const look = { every, enough: () => ++looks % 7 === 0 };
      const end = 3_000_000n;
      while (machine.instructions < end)
        machine.run({
          instructions: Number(end - machine.instructions),
          ...(every === 0 ? {} : { look }),
        });
      assert.equal(machine.instructions, end);
      assert.ok(every === 0 || looks > Number(end) / 7500);
      hashes.add(machine.stateHash());
      assert.equal(machine.memory.readPhysical(0x20_0404, 1)[0], 13, 'each interrupt came');
    }
    assert.equal(hashes.size, 1);
  });

  test('a run ends at the look that was enough, and at once when a look stops the machine', async () => {
    const { machine } = await started(countingPlan);
    machine.run({ instructions: 200_000 });
    let looks = 0;
    let at = 0n;
    const look = {
      every: 3000,
      enough: () => {
        at = machine.instructions;
        return ++looks % 10 === 0;
      },
    };
    for (let times = 0; times < 5; times++) {
      const result = machine.run({ instructions: 1_000_000, look });
      assert.equal(result.reason, 'limit');
      assert.equal(result.instructions, at);
      assert.equal(looks, 10 * (times + 1));
    }
    const pausing = {
      every: 3000,
      enough: () => {
        machine.pause();
        at = machine.instructions;
        return false;
      },
    };
    const result = machine.run({ instructions: 1_000_000, look: pausing });
    assert.deepEqual([result.reason, result.instructions], ['paused', at]);
  });
});
