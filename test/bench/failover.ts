/** `npm run bench -- failover`: real node processes are killed, frozen and drained, and the time is taken until the guest goes on. */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chainGuest, stoodStillMs, type DemoGuest, type ProfileName } from '@revenant/cluster';
import { demoGuest } from '../../packages/cli/src/demo/guest.ts';
import { temporaryFolder, TestCluster, type WatchedVm } from '../chaos/harness.ts';
import { failoverChart, kinds, quantile, type FailoverRow, type Kind } from './failover-chart.ts';
import { writeDocs } from './write-docs.ts';

const root = join(import.meta.dirname, '../..');
const vmSteps = 3;

export interface FailoverReport {
  date: string;
  machine: string;
  node: string;
  rows: FailoverRow[];
  /** Steps of the chains that were checked; none was lost or wrong. */
  steps: number;
}

class Drill {
  readonly #cluster: TestCluster;
  readonly #vm: WatchedVm;

  constructor(cluster: TestCluster, vm: WatchedVm) {
    this.#cluster = cluster;
    this.#vm = vm;
  }

  async #settle(): Promise<string> {
    const { checker } = this.#vm;
    const { steps } = checker.state;
    const { assignment } = await this.#cluster.holder(this.#vm);
    await this.#cluster.until('the guest to compute', () => checker.state.steps > steps + vmSteps);
    // A few checkpoints, at another place of their interval each time.
    await sleep(1500 + Math.random() * 1000);
    return assignment.node;
  }

  async once(kind: Kind): Promise<number> {
    const holder = await this.#settle();
    const ms = kind === 'move' ? await this.#move() : await this.#lose(kind, holder);
    const { fault } = this.#vm.checker.state;
    if (fault !== undefined) throw new Error(`${kind} of ${holder}: ${fault}`);
    return ms;
  }

  async #lose(kind: 'kill' | 'freeze', holder: string): Promise<number> {
    const node = this.#cluster.nodes.get(holder);
    const began = Date.now();
    if (kind === 'kill') node?.kill();
    else node?.freeze();
    const { atMs } = await this.#cluster.event('vm-executes', this.#vm, began);
    if (kind === 'kill') await this.#cluster.startNode(holder);
    else node?.thaw();
    await this.#cluster.untilAlive(this.#cluster.options.nodes.length);
    return atMs - began;
  }

  async #move(): Promise<number> {
    const began = Date.now();
    await this.#cluster.client.command({ type: 'vm-migrate', vmId: this.#vm.id });
    const goesOn = await this.#cluster.event('vm-executes', this.#vm, began);
    const stopped = await this.#cluster.event('vm-suspended', this.#vm, began);
    return stoodStillMs(stopped, goesOn);
  }
}

async function measure(
  profile: ProfileName,
  guest: DemoGuest,
  options: { runs: number; what: readonly Kind[] },
): Promise<{ rows: FailoverRow[]; steps: number }> {
  const folder = await temporaryFolder('failover');
  const cluster = new TestCluster({ store: `file:${folder}/store`, folder, profile, nodes: ['a', 'b', 'c'] });
  try {
    await cluster.start();
    const { runtime, memoryMiB, rule } = guest;
    const description = await guest.describe(cluster.client);
    const vm = await cluster.createVm(
      'bench',
      { runtime, description, memoryMiB, priority: 1, outputs: 'async' },
      rule,
    );
    const drill = new Drill(cluster, vm);
    const rows = options.what.map((kind): FailoverRow => ({ kind, profile, guest: guest.title, ms: [] }));
    // In a random order, as a kill leaves behind a node that has just started, where the next resume takes longer.
    const drills = rows.flatMap((row) =>
      Array.from({ length: options.runs }, () => ({ row, place: Math.random() })),
    );
    for (const { row } of drills.sort((a, b) => a.place - b.place)) {
      const ms = await drill.once(row.kind);
      row.ms.push(ms);
      process.stderr.write(`${profile} ${row.kind} ${row.ms.length}/${options.runs}: ${ms} ms\n`);
    }
    vm.checker.finish(10_000);
    const { fault, steps } = vm.checker.state;
    if (fault !== undefined) throw new Error(`the chain is broken: ${fault}`);
    return { rows, steps };
  } finally {
    await cluster.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

const titles: Record<Kind, string> = {
  kill: 'SIGKILL to first instruction elsewhere',
  freeze: 'SIGSTOP to first instruction elsewhere',
  move: 'live move: the guest stands still for',
};

/** What others publish (see docs). */
const published: readonly (readonly [string, string])[] = [
  ['vSphere HA', 'host dead at 15-18 s, then a cold boot; master lost: restarts from 35 s'],
  ['Proxmox HA', 'about 2 min (watchdog 60 s, lock 120 s)'],
  ['Remus', 'about 1 s, at a slow-down of about 50 %'],
];

function toMarkdown({ rows, steps, machine, node, date }: FailoverReport): string {
  const lines = rows.map(({ kind, profile, ms }) => {
    const figures = [quantile(ms, 0.5), quantile(ms, 0.99), Math.min(...ms), Math.max(...ms)];
    return `| ${titles[kind]} | ${profile} | ${ms.length} | ${figures.map((n) => Math.round(n)).join(' | ')} |`;
  });
  return [
    `Guest: ${rows[0]?.guest ?? ''}. ${machine}, Node ${node}, ${date}. ${steps} steps of its chain were checked: none lost, none wrong.`,
    '',
    '| what (ms) | profile | runs | median | p99 | min | max |',
    '|---|---|---|---|---|---|---|',
    ...lines,
    '',
    '| others, as published | |',
    '|---|---|',
    ...published.map(([name, figure]) => `| ${name} | ${figure} |`),
    '',
  ].join('\n');
}

export const command = define({
  words: [],
  options: {
    runs: value('N', 'of each kind (default 30)', wholeNumber(1), 30),
    guest: value(
      'NAME',
      "linux (Debian's cloud kernel, default), builtin, or chain (a program without a machine)",
      oneOf(['linux', 'builtin', 'chain']),
      'linux',
    ),
    profile: value('LIST', 'default, fast (default: both)', commaSeparated(oneOf(['default', 'fast'])), [
      'default',
      'fast',
    ]),
    what: value(
      'LIST',
      'kill (SIGKILL), freeze (SIGSTOP), move (live migration); default: all',
      commaSeparated(oneOf(kinds)),
      [...kinds],
    ),
    quick: flag('two runs of each kind with the chain program, fast'),
    json: value(
      'FILE',
      'where the figures go (default build/bench/failover.json; a chart beside it)',
      asTyped,
      join(root, 'build/bench/failover.json'),
    ),
    'write-docs': flag('put the table into docs/BENCHMARKS.md, the chart beside it'),
  },
  examples: ['failover --what kill,move --runs 10'],
  async run({ options }) {
    const { quick } = options;
    const runs = quick ? 2 : options.runs;
    const profiles: ProfileName[] = quick ? ['fast'] : options.profile;
    const name = quick ? 'chain' : options.guest;
    const say = (line: string): boolean => process.stderr.write(`${line}\n`);
    const guest = name === 'chain' ? chainGuest : await demoGuest(name, say);
    const report: FailoverReport = {
      date: new Date().toISOString().slice(0, 10),
      machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} processors`,
      node: process.versions.node,
      rows: [],
      steps: 0,
    };
    for (const profile of profiles) {
      const { rows, steps } = await measure(profile, guest, { runs, what: options.what });
      report.rows.push(...rows);
      report.steps += steps;
    }
    const text = toMarkdown(report);
    process.stdout.write(text);
    mkdirSync(join(options.json, '..'), { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    const drawing = failoverChart(report.rows);
    writeFileSync(options.json.replace(/(\.json)?$/, '.svg'), drawing);
    if (!options['write-docs']) return undefined;
    writeFileSync(join(root, 'docs/bench-failover.svg'), drawing);
    writeDocs('bench failover', text);
    return undefined;
  },
});
