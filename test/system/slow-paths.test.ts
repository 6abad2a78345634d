/**
 * What kernels do in every switch of context, and was a hundred times slower than other code: CR0.WP and CR4.PGE off and on, reads of CR8, writes of the TSC deadline. Each of these
 * loops of the benches is timed, in processor time, beside one of plain code: a host with much else to do slows both.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { pcMemoryMap, planKernel } from '../../packages/emulator/src/boot/index.ts';
import { buildModules } from '../../packages/emulator/src/build.ts';
import { makeNodeEngine } from '../../packages/emulator/src/host-node/engine.ts';
import { createMachine } from '../../packages/emulator/src/machine/create.ts';
import { benchmarks, buildLoop } from '../bench/guests.ts';
import { requireToolsInCi } from '../native/toolchain.ts';
import { compilerMissing } from './guest.ts';

requireToolsInCi(['gcc', 'as']);
const memoryBytes = 64 * 2 ** 20;
const warmUp = 30_000_000n;
const measured = 20_000_000n;
const plain = 'crc';
/** How many times slower than plain code each may be: some three times what it is; before, they were 960, 620, 60 and 80 times slower. */
const mostTimes = { wp: 60, pge: 120, cr8: 4, deadline: 15 } as const;

/** Processor time for an instruction. */
async function nsOf(name: string): Promise<number> {
  const benchmark = benchmarks.find((each) => each.name === name);
  assert.ok(benchmark);
  const { kernel } = buildLoop({ ...benchmark, turns: 2 ** 30 }, 64);
  const machine = await createMachine({
    description: { memoryBytes },
    engine: makeNodeEngine({ kind: 'translator' }),
  });
  const plan = planKernel(
    { kernel: readFileSync(kernel), longMode: true },
    { memoryMap: pcMemoryMap(memoryBytes) },
  );
  machine.boot(plan);
  assert.equal(machine.run({ instructions: warmUp }).reason, 'limit');
  const before = process.threadCpuUsage();
  assert.equal(machine.run({ instructions: measured }).reason, 'limit');
  const { user, system } = process.threadCpuUsage(before);
  return ((user + system) * 1000) / Number(measured);
}

describe('what was slow', { skip: compilerMissing() }, () => {
  for (const [name, times] of Object.entries(mostTimes))
    test(`${name} is not ${String(times)} times slower than plain code`, async (context) => {
      buildModules(() => undefined);
      const [own, beside] = [await nsOf(name), await nsOf(plain)];
      context.diagnostic(`${own.toFixed(1)} ns an instruction, plain code ${beside.toFixed(1)}`);
      assert.ok(own < beside * times, `${own.toFixed(1)} ns an instruction, plain code ${beside.toFixed(1)}`);
    });
});
