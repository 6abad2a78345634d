/** `npm run bench -- checkpoint`: what checkpoints cost a Linux guest, and how long a restore takes. */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { buildModules } from '@revenant/emulator/host-node';
import { CliError, ExitCode } from '../../packages/cli/src/errors.ts';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import type { Phase } from './checkpoint-guest.ts';
import { addSpeeds, GuestThread, type Cost, type Restore } from './checkpoint-run.ts';
import { reportTables } from './checkpoint-report.ts';
import { outputFolder } from './guests.ts';
import { writeDocs } from './write-docs.ts';

/** What runs in the guest: nothing, short processes and files as a compiler has them, or fresh random bytes into 16 MiB. */
const loads = {
  idle: '',
  compile:
    'seq 1 2000 > /tmp/a; sort -r /tmp/a > /tmp/b; gzip -c /tmp/b > /tmp/c; sha256sum /tmp/c > /tmp/d; rm /tmp/a /tmp/b /tmp/c',
  memory: 'dd if=/dev/urandom of=/tmp/m bs=64k count=256 conv=notrunc',
} as const;
export type Load = keyof typeof loads;
const loadNames = ['idle', 'compile', 'memory'] as const satisfies readonly Load[];
const imageName = 'linux-cloud';
const warmUpMs = 1500;

interface Options {
  memoriesMiB: number[];
  loads: Load[];
  intervalsMs: number[];
  rounds: number;
  phaseMs: number;
  folder: string;
  writeDocs: boolean;
  v86: boolean;
}

export interface CheckpointReport {
  commit: string;
  host: string;
  costs: Cost[];
  restores: Restore[];
  v86?: { saveMs: number; restoreMs: number; bytes: number } | undefined;
}

async function measureMemory(options: Options, memoryMiB: number, report: CheckpointReport): Promise<void> {
  const storePath = join(options.folder, `checkpoint-store-${String(memoryMiB)}`);
  rmSync(storePath, { recursive: true, force: true });
  const guest = await GuestThread.boot({ image: imageName, memoryMiB, storePath });
  try {
    await guest.firstCheckpoint();
    for (const load of options.loads) {
      if (loads[load] !== '')
        await guest.command(
          `rm -f /tmp/stop; ( (while [ ! -e /tmp/stop ]; do ${loads[load]}; done > /dev/null 2>&1) & )`,
        );
      await guest.phase(undefined, warmUpMs);
      const costs = options.intervalsMs.map((intervalMs) => guest.newCost(load, intervalMs));
      let before = await guest.phase(undefined, options.phaseMs);
      for (let round = 0; round < options.rounds; round++) {
        const phases: [Cost, Phase][] = [];
        for (const cost of costs) phases.push([cost, await guest.measure(cost, options.phaseMs)]);
        // What changes from phase to phase by itself changes the mean of the two around them likewise.
        const after = await guest.phase(undefined, options.phaseMs);
        for (const [cost, phase] of phases) addSpeeds(cost, phase, [before, after]);
        before = after;
      }
      report.costs.push(...costs);
      for (const cost of costs) process.stderr.write(`${guest.line(cost)}\n`);
      await guest.command('touch /tmp/stop; sleep 1');
    }
    for (let run = 0; run < 3; run++) report.restores.push(await guest.restore());
  } finally {
    await guest.close();
    rmSync(storePath, { recursive: true, force: true });
  }
}

function toOptions(options: {
  memory: number[] | undefined;
  loads: Load[];
  intervals: number[];
  rounds: number | undefined;
  seconds: number | undefined;
  quick: boolean;
  out: string;
  against: string | undefined;
  'write-docs': boolean;
}): Options {
  const { quick } = options;
  return {
    memoriesMiB: options.memory ?? (quick ? [256] : [256, 2048]),
    loads: options.loads,
    intervalsMs: options.intervals,
    rounds: options.rounds ?? (quick ? 1 : 3),
    phaseMs: (options.seconds ?? (quick ? 2 : 5)) * 1000,
    folder: options.out,
    writeDocs: options['write-docs'],
    v86: options.against === 'v86',
  };
}

export const command = define({
  words: [],
  options: {
    memory: value('LIST', 'MiB of the guests (default 256,2048)', commaSeparated(wholeNumber(1))),
    loads: value('LIST', 'idle, compile, memory (default: all)', commaSeparated(oneOf(loadNames)), [
      ...loadNames,
    ]),
    intervals: value(
      'LIST',
      'ms between checkpoints (default 1000,100)',
      commaSeparated(wholeNumber(1)),
      [1000, 100],
    ),
    rounds: value(
      'N',
      'of each: without, with each interval, and without again, in turn (default 3)',
      wholeNumber(1),
    ),
    seconds: value('N', 'length of one of these (default 5)', positive),
    quick: flag('--rounds 1 --seconds 2 --memory 256'),
    out: value('FOLDER', 'where checkpoint.json goes (default build/bench)', asTyped, outputFolder),
    against: value('NAME', "v86: measure v86's save_state and restore_state beside it", oneOf(['v86'])),
    'write-docs': flag('put the tables into docs/BENCHMARKS.md'),
  },
  examples: ['checkpoint --quick'],
  async run(input) {
    const options = toOptions(input.options);
    mkdirSync(options.folder, { recursive: true });
    buildModules((line) => process.stderr.write(`${line}\n`));
    await fetchImage(imageName, (line) => process.stderr.write(`${line}\n`));
    const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim();
    const [cpu] = cpus();
    const report: CheckpointReport = {
      commit,
      host: `${cpu?.model ?? 'unknown'}, ${String(cpus().length)} processors, Node ${process.versions.node}`,
      costs: [],
      restores: [],
    };
    for (const memoryMiB of options.memoriesMiB) await measureMemory(options, memoryMiB, report);
    if (options.v86) report.v86 = measureV86();
    writeFileSync(join(options.folder, 'checkpoint.json'), `${JSON.stringify(report, undefined, 2)}\n`);
    const text = reportTables(report);
    process.stdout.write(text);
    if (options.writeDocs) writeDocs('bench checkpoint', text);
    return undefined;
  },
});

function measureV86(): NonNullable<CheckpointReport['v86']> {
  const child = spawnSync(process.execPath, [join(import.meta.dirname, 'checkpoint-v86.ts')], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (child.status !== 0)
    throw new CliError(ExitCode.unavailable, `v86 did not run: ${child.stderr.split('\n')[0] ?? ''}`);
  return JSON.parse(child.stdout.trim().split('\n').at(-1) ?? '') as NonNullable<CheckpointReport['v86']>;
}
