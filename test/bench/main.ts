/** `npm run bench -- WHAT [OPTIONS]`: one file of this folder for each WHAT. */
import type { Group } from '../../packages/cli/src/command/command.ts';
import { dispatch } from '../../packages/cli/src/command/dispatch.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';

const program = 'npm run bench --';
export const benchmarks: Group = {
  summary: 'how fast, and how well',
  about: 'Measure on an idle machine. Docs: docs/HACKING.md, docs/BENCHMARKS.md.',
  commands: {
    cpu: () => import('./cpu.ts'),
    clock: () => import('./clock.ts'),
    checkpoint: () => import('./checkpoint.ts'),
    log: () => import('./log.ts'),
    failover: () => import('./failover.ts'),
    many: () => import('./many.ts'),
    fork: () => import('./fork.ts'),
    network: () => import('./network.ts'),
    debug: () => import('./debug.ts'),
    unicorn: () => import('./unicorn.ts'),
    churn: () => import('./churn.ts'),
  },
};

if (import.meta.main)
  process.exitCode = await inOneLine('bench', () => dispatch(benchmarks, process.argv.slice(2), program));
