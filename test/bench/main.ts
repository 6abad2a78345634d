/** `npm run bench -- WHAT [OPTIONS]`: one file of this folder for each WHAT. */
import { entry, type Group } from '../../packages/cli/src/command/command.ts';
import { dispatch } from '../../packages/cli/src/command/dispatch.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';

const program = 'npm run bench --';
export const benchmarks: Group = {
  summary: 'how fast, and how well',
  about: 'Measure on an idle machine. Docs: docs/HACKING.md, docs/BENCHMARKS.md.',
  commands: {
    cpu: entry('guest benchmarks on our two engines and on other emulators', () => import('./cpu.ts')),
    start: entry("until a process's guest is heard, ours and QEMU's", () => import('./start.ts')),
    clock: entry(
      "how well a guest's clock follows its host's, whatever the guest does",
      () => import('./clock.ts'),
    ),
    checkpoint: entry(
      'what checkpoints cost a Linux guest, and how long a restore takes',
      () => import('./checkpoint.ts'),
    ),
    log: entry('how long until an input is durable, at several rates', () => import('./log.ts')),
    commit: entry(
      'what it costs that nothing seen is taken back, by output policy',
      () => import('./commit.ts'),
    ),
    replay: entry("how fast a VM's past is run again", () => import('./replay.ts')),
    failover: entry(
      'nodes are killed, frozen and drained: until the guest goes on',
      () => import('./failover.ts'),
    ),
    many: entry('many idle VMs on a few nodes, one of which is killed', () => import('./many.ts')),
    fork: entry('many forks of one running Linux, and forks of forks', () => import('./fork.ts')),
    network: entry(
      'what the network of a Linux guest with a virtio card carries',
      () => import('./network.ts'),
    ),
    debug: entry(
      'what breakpoints cost that are not met, steps, and the way back',
      () => import('./debug.ts'),
    ),
    churn: entry(
      'whether memory stays bounded while a guest makes the translator work without end',
      () => import('./churn.ts'),
    ),
    unicorn: entry(
      "instructions a second by Unicorn's interface, with and without hooks",
      () => import('./unicorn.ts'),
    ),
  },
};

if (import.meta.main)
  process.exitCode = await inOneLine('bench', () => dispatch(benchmarks, process.argv.slice(2), program));
