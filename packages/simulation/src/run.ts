/**
 * Runs seeds of the simulation.
 *
 *   node packages/simulation/src/run.ts --seeds 10000            seeds 1 to 10000
 *   node packages/simulation/src/run.ts --seed 17 --trace        one seed, every event of it
 *
 * Exit status: 0 when every invariant held, 1 when one was violated, 2 for wrong arguments.
 */
import { parseArgs } from 'node:util';
import { simulate } from './simulate.ts';

function main(): number {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string', default: '1000' },
      first: { type: 'string', default: '1' },
      trace: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
    },
  });
  const first = Number(values.seed ?? values.first);
  const count = values.seed === undefined ? Number(values.seeds) : 1;
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || count < 1) {
    process.stderr.write('seeds are whole numbers\n  hint: --seed 17 --trace, or --seeds 1000\n');
    return 2;
  }
  const started = process.hrtime.bigint();
  let violations = 0;
  let takeovers = 0;
  for (let seed = first; seed < first + count; seed++) {
    const result = simulate(seed, values.trace ? (line) => process.stdout.write(`${line}\n`) : undefined);
    takeovers += result.takeovers;
    if (result.digest !== undefined) process.stdout.write(`digest ${result.digest}\n`);
    if (result.violation === undefined) continue;
    violations++;
    const { rule, message, atMs } = result.violation;
    process.stdout.write(`seed ${String(seed)}: ${rule} at ${atMs.toFixed(0)} ms: ${message}\n`);
    if (!values['keep-going']) break;
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(
    `${String(count)} seeds, ${String(takeovers)} takeovers, ${String(violations)} violations, ${seconds.toFixed(1)} s\n`,
  );
  return violations === 0 ? 0 : 1;
}

process.exitCode = main();
