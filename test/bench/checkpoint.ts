/** `npm run bench -- checkpoint`: what checkpoints cost a Linux guest, and how long a restore takes. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildModules } from '@revenant/emulator/host-node';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import type { Phase } from './checkpoint-guest.ts';
import { addSpeeds, GuestThread, type Cost, type Restore } from './checkpoint-run.ts';
import { reportTables } from './checkpoint-report.ts';
import { outputFolder } from './guests.ts';
import { UsageError } from './usage-error.ts';
import { writeDocs } from './write-docs.ts';

export const usage = `usage: npm run bench -- checkpoint [OPTIONS]

  --memory LIST   MiB of the guests (default 256,2048)
  --loads LIST    idle, compile, memory; default all
  --intervals LIST  ms between checkpoints (default 1000,100)
  --rounds N      of each: without, with each interval, and without again, in turn (default 3)
  --seconds N     length of one of these (default 5)
  --quick         --rounds 1 --seconds 2 --memory 256
  --out FOLDER    where checkpoint.json goes (default build/bench)
  --against v86   measure v86's save_state and restore_state beside it
  --write-docs    put the tables into docs/BENCHMARKS.md
`;

/** What runs in the guest: nothing, short processes and files as a compiler has them, or fresh random bytes into 16 MiB. */
const loads = {
  idle: '',
  compile:
    'seq 1 2000 > /tmp/a; sort -r /tmp/a > /tmp/b; gzip -c /tmp/b > /tmp/c; sha256sum /tmp/c > /tmp/d; rm /tmp/a /tmp/b /tmp/c',
  memory: 'dd if=/dev/urandom of=/tmp/m bs=64k count=256 conv=notrunc',
} as const;
export type Load = keyof typeof loads;
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

function numbers(option: string, text: string): number[] {
  return text.split(',').map((word) => {
    const value = Number(word);
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`--${option} takes whole numbers, not "${word}"`);
    return value;
  });
}

function parseOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      memory: { type: 'string' },
      loads: { type: 'string', default: Object.keys(loads).join(',') },
      intervals: { type: 'string', default: '1000,100' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: outputFolder },
      against: { type: 'string', default: '' },
      'write-docs': { type: 'boolean', default: false },
    },
  });
  const { quick } = values;
  const chosen = values.loads.split(',');
  const unknown = chosen.find((name) => !(name in loads));
  if (unknown !== undefined)
    throw new UsageError(`--loads knows ${Object.keys(loads).join(', ')}, not "${unknown}"`);
  if (!['', 'v86'].includes(values.against)) throw new UsageError('--against knows v86');
  return {
    memoriesMiB: numbers('memory', values.memory ?? (quick ? '256' : '256,2048')),
    loads: chosen as Load[],
    intervalsMs: numbers('intervals', values.intervals),
    rounds: numbers('rounds', values.rounds ?? (quick ? '1' : '3'))[0] ?? 1,
    phaseMs: (numbers('seconds', values.seconds ?? (quick ? '2' : '5'))[0] ?? 1) * 1000,
    folder: values.out,
    writeDocs: values['write-docs'],
    v86: values.against === 'v86',
  };
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

export async function bench(argv: string[]): Promise<void> {
  const options = parseOptions(argv);
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
}

function measureV86(): NonNullable<CheckpointReport['v86']> {
  const child = spawnSync(process.execPath, [join(import.meta.dirname, 'checkpoint-v86.ts')], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (child.status !== 0) throw new UsageError(`v86 did not run: ${child.stderr.split('\n')[0] ?? ''}`);
  return JSON.parse(child.stdout.trim().split('\n').at(-1) ?? '') as NonNullable<CheckpointReport['v86']>;
}
