/** Runs seeds of the simulation: the cluster's decisions with a seeded clock, network and store. `--help` says with which options. */
import { define } from '../../packages/cli/src/command/command.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { flag, value, type Values } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { print } from '../../packages/cli/src/output/print.ts';
import { Progress } from '../../packages/cli/src/output/progress.ts';
import { simulate } from '../../packages/simulation/src/index.ts';

const optionTable = {
  seeds: value('N', 'how many seeds, one after the other (default 1000)', wholeNumber(1), 1000),
  first: value('N', 'the first of them (default 1)', wholeNumber(), 1),
  seed: value('N', 'this one alone', wholeNumber()),
  outputs: flag('guests are given inputs, and what they say leaves by policies that take nothing back'),
  trace: flag('every event, and a digest of all of them'),
  'keep-going': flag('further seeds after one that violates an invariant'),
};

const command = define({
  words: [],
  about: 'Exit code 1: an invariant was violated. A seed gives the same run on every host.',
  options: optionTable,
  examples: ['--seeds 10000', '--seeds 2000 --outputs', '--seed 17 --trace'],
  run: async ({ options }) => Promise.resolve(runSeeds(options)),
});

function runSeeds(options: Values<typeof optionTable>): number {
  const { seed: only, trace } = options;
  const first = only ?? options.first;
  const count = only === undefined ? options.seeds : 1;
  const progress = new Progress('seeds', 'seeds');
  const began = performance.now();
  let done = 0;
  let violations = 0;
  const sum = { takeovers: 0, outputs: 0, leads: 0, frames: 0, ended: 0, balanced: 0 };
  for (; done < count; done++) {
    if (!trace) progress.show(done, count);
    const seed = first + done;
    const result = simulate(seed, trace ? print : undefined, options.outputs);
    sum.takeovers += result.takeovers;
    sum.outputs += result.outputs;
    sum.leads += result.leads;
    sum.frames += result.frames;
    sum.ended += result.ended;
    sum.balanced += result.balanced;
    if (result.digest !== undefined) print(`digest ${result.digest}`);
    if (result.violation === undefined) continue;
    violations++;
    const { rule, message, atMs } = result.violation;
    progress.done();
    print(`seed ${seed}: ${rule} at ${atMs.toFixed(0)} ms: ${message}`);
    if (!options['keep-going']) break;
  }
  progress.done();
  const ran = Math.min(done + 1, count);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const seen = `${sum.outputs} outputs that may not be taken back, ${sum.leads} takeovers with what only a standby had, ${sum.frames} frames and ${sum.ended} ended connections, ${sum.balanced} moves that even out`;
  print(`${ran} seeds, ${sum.takeovers} takeovers, ${violations} violations, ${seen}, ${seconds} s`);
  return violations === 0 ? 0 : 1;
}

process.exitCode = await inOneLine('simulation', () =>
  dispatchOne(
    { path: 'node test/simulation/main.ts', summary: "seeds of the cluster's decisions, simulated", command },
    process.argv.slice(2),
  ),
);
