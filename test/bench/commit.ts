/**
 * `npm run bench -- commit`: what it costs that nothing which anybody saw is ever taken back. One Linux VM on one of two nodes; its output
 * policy changes while it runs, so that the four are measured beside one another, in turn, in the same minutes.
 */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, text, value } from '../../packages/cli/src/command/options.ts';
import { commaSeparated, oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { outputPolicies, type OutputPolicy } from '@revenant/cluster';
import { TestCluster } from '../chaos/harness.ts';
import { CommitGuest, memoryMiB, type Work } from './commit-guest.ts';
import { takeOver } from './commit-takeover.ts';
import { quantile } from './failover-chart.ts';
import { median } from './report.ts';
import { writeDocs } from './write-docs.ts';

const root = join(import.meta.dirname, '../..');
const loads = ['idle', 'shell', 'disk', 'requests'] as const;
type Load = (typeof loads)[number];
const standbyLeavesMs = 11_000;

/** One policy under one load, over all rounds. */
interface Row {
  load: Load;
  policy: OutputPolicy;
  /** Work done in a second, of each round: pieces of work, or answers. */
  speeds: number[];
  /** From a byte typed, or a request sent, until it came back: milliseconds. */
  latenciesMs: number[];
  seconds: number;
  logBytes: number;
  storeRequests: number;
  /** How long an output waited at its node, in the mean. */
  waits: number;
  waitedSeconds: number;
}

interface Takeovers {
  policy: OutputPolicy;
  /** Whether the guest computed meanwhile, or only said fifty times a second that it is there. */
  works: boolean;
  ms: number[];
}

export interface CommitReport {
  date: string;
  machine: string;
  loadBefore: number;
  store: string;
  rounds: number;
  connections: number;
  rows: Row[];
  takeovers: Takeovers[];
}

interface Options {
  rounds: number;
  seconds: number;
  loads: readonly Load[];
  policies: readonly OutputPolicy[];
  /** Clients that ask at once, where throughput is measured. */
  connections: number;
  takeovers: number;
}

class Commit {
  readonly #cluster: TestCluster;
  readonly #guest: CommitGuest;
  readonly #options: Options;
  readonly #rows: Row[];
  /** How often a piece of work fits into the time for it. */
  readonly #fitting = new Map<Work, number>();

  constructor(cluster: TestCluster, guest: CommitGuest, options: Options) {
    this.#cluster = cluster;
    this.#guest = guest;
    this.#options = options;
    this.#rows = options.loads.flatMap((load) =>
      options.policies.map((policy) => ({
        ...{ load, policy, speeds: [], latenciesMs: [], seconds: 0, logBytes: 0, storeRequests: 0 },
        ...{ waits: 0, waitedSeconds: 0 },
      })),
    );
  }

  async run(): Promise<Pick<CommitReport, 'rows' | 'takeovers'>> {
    const { rounds, loads: wanted, policies } = this.#options;
    for (const load of wanted) if (load === 'shell' || load === 'disk') await this.#fit(load);
    for (let round = 0; round < rounds; round++) {
      // Another one is first each time.
      const turn = round % policies.length;
      for (const policy of [...policies.slice(turn), ...policies.slice(0, turn)]) {
        await this.#guest.setPolicy(policy);
        for (const row of this.#rows) if (row.policy === policy) await this.#measure(row);
        process.stderr.write(`round ${round + 1} of ${rounds}: ${policy}\n`);
      }
    }
    return { rows: this.#rows, takeovers: await this.#takeovers() };
  }

  async #fit(work: Work): Promise<void> {
    await this.#guest.work(work, 5);
    const ms = await this.#guest.work(work, 20);
    this.#fitting.set(work, Math.max(5, Math.round((this.#options.seconds * 20_000) / ms)));
  }

  async #measure(row: Row): Promise<void> {
    const guest = this.#guest;
    const { seconds } = this.#options;
    const before = await guest.counted();
    const began = performance.now();
    switch (row.load) {
      case 'idle':
        await sleep(seconds * 1000);
        break;
      case 'requests':
        row.speeds.push((await guest.requests(this.#options.connections, seconds * 1000)).length / seconds);
        break;
      case 'shell':
      case 'disk': {
        const times = this.#fitting.get(row.load)!;
        row.speeds.push((times * 1000) / (await guest.work(row.load, times)));
      }
    }
    const after = await guest.counted();
    row.seconds += (performance.now() - began) / 1000;
    row.logBytes += Math.max(0, after.logBytes - before.logBytes);
    row.storeRequests += after.requests - before.requests;
    row.latenciesMs.push(...(await this.#latencies(row.load)));
    const last = await guest.counted();
    row.waits += last.waits - after.waits;
    row.waitedSeconds += last.waitedSeconds - after.waitedSeconds;
  }

  async #latencies(load: Load): Promise<number[]> {
    const guest = this.#guest;
    const durationMs = this.#options.seconds * 1000;
    if (load === 'idle') return guest.echoes(durationMs);
    if (load === 'requests') return guest.requests(1, durationMs);
    await guest.workOn(load);
    const times = await guest.echoes(durationMs);
    await guest.rest();
    return times;
  }

  async #takeovers(): Promise<Takeovers[]> {
    const all: Takeovers[] = [];
    for (const policy of ['log', 'standby'] as const)
      for (const works of [false, true]) {
        if (this.#options.takeovers === 0 || !this.#options.policies.includes(policy)) continue;
        await this.#guest.setPolicy(policy);
        // A standby that is not wanted any more stays for a while, and would lead.
        if (policy === 'log') await sleep(standbyLeavesMs);
        if (works) await this.#guest.workOn('shell');
        const found: Takeovers = { policy, works, ms: [] };
        for (let n = 0; n < this.#options.takeovers; n++) {
          if (policy === 'standby') await this.#guest.isFollowed();
          found.ms.push(await takeOver(this.#cluster, this.#guest));
          process.stderr.write(`takeover by ${policy}: ${String(found.ms.at(-1))} ms\n`);
        }
        if (works) await this.#guest.rest();
        all.push(found);
      }
    return all;
  }
}

const titles: Record<Load, string> = {
  idle: 'idle at its shell',
  shell: 'short processes and files',
  disk: 'writes and syncs its disk',
  requests: 'answers clients',
};

function rowsOf(report: CommitReport, load: Load): string[] {
  const rows = report.rows.filter((row) => row.load === load);
  const free = rows.find(({ policy }) => policy === 'async');
  return rows.map((row) => {
    const half = quantile(row.latenciesMs, 0.5);
    const slower = row.speeds.map((speed, round) => 100 * (1 - speed / (free?.speeds[round] ?? NaN)));
    const added = half - quantile(free?.latenciesMs ?? [], 0.5);
    const isFree = row === free || free === undefined;
    const cells = [
      load === 'requests' ? `answers ${String(report.connections)} clients` : titles[load],
      `\`${row.policy}\``,
      row.speeds.length === 0 ? '–' : median(row.speeds).toFixed(1),
      isFree || row.speeds.length === 0 ? '–' : `${median(slower).toFixed(1)} %`,
      ...[half.toFixed(1), quantile(row.latenciesMs, 0.99).toFixed(1), isFree ? '–' : added.toFixed(1)],
      ((1000 * row.waitedSeconds) / row.waits).toFixed(1),
      (row.logBytes / 1024 / row.seconds).toFixed(1),
      (row.storeRequests / row.seconds).toFixed(1),
    ];
    return `| ${cells.join(' | ')} |`;
  });
}

function toMarkdown(report: CommitReport): string {
  const { date, machine, loadBefore, store, rounds, takeovers } = report;
  const measured = loads.filter((load) => report.rows.some((row) => row.load === load));
  const lines = takeovers.map(({ policy, works, ms }) => {
    const figures = [quantile(ms, 0.5), Math.min(...ms), Math.max(...ms)].map((each) => Math.round(each));
    return `| \`${policy}\` | ${works ? 'computes' : 'waits for its timer'} | ${ms.length} | ${figures.join(' | ')} |`;
  });
  return [
    `${machine}, load ${loadBefore.toFixed(1)} as it began, ${date}; ${store} store, two node processes, a Linux VM of ${memoryMiB} MiB; ${rounds} rounds.`,
    '',
    '| the guest | outputs | a second | slower by | there and back, ms | p99 | added, ms | waited at its node, ms | log, KiB/s | store requests/s |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...measured.flatMap((load) => rowsOf(report, load)),
    ...(lines.length === 0
      ? []
      : [
          '',
          '| takeover by | the guest | runs | median, ms | min | max |',
          '| --- | --- | ---: | ---: | ---: | ---: |',
          ...lines,
        ]),
    '',
  ].join('\n');
}

async function measure(options: Options, store: string | undefined): Promise<CommitReport> {
  const [loadBefore = NaN] = loadavg();
  const folder = mkdtempSync(join(tmpdir(), 'revenant-commit-'));
  const url = store ?? `file:${folder}/store`;
  const cluster = new TestCluster({ store: url, folder, profile: 'default', nodes: ['a', 'b'] });
  let guest: CommitGuest | undefined;
  try {
    // The VM is to be on the first.
    await cluster.startNode('a');
    await cluster.untilAlive(1);
    guest = await CommitGuest.boot(cluster);
    await cluster.startNode('b');
    await cluster.untilAlive(2);
    const found = await new Commit(cluster, guest, options).run();
    return {
      date: new Date().toISOString().slice(0, 10),
      machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} processors, Node ${process.versions.node}`,
      ...{ loadBefore, store: `\`${url.split(':')[0]!}:\`` },
      rounds: options.rounds,
      connections: options.connections,
      ...found,
    };
  } finally {
    guest?.close();
    await cluster.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

export const command = define({
  words: [],
  about: `Slow-down, latency, log and store requests by output policy, and how long a takeover takes until the guest is heard again.
Two node processes, the guest and a standby that does what it does share this machine's processors.`,
  options: {
    rounds: value('N', 'in each of which each policy is measured once (default 3)', wholeNumber(1), 3),
    seconds: value('N', 'for each policy and load, and as long for its latencies (default 4)', positive, 4),
    loads: value('LIST', `${loads.join(', ')} (default: all)`, commaSeparated(oneOf(loads)), [...loads]),
    policies: value(
      'LIST',
      `${outputPolicies.join(', ')} (default: all)`,
      commaSeparated(oneOf(outputPolicies)),
      [...outputPolicies],
    ),
    connections: value(
      'N',
      'clients that ask at once (default 64; fewer measure what one waits)',
      wholeNumber(1),
      64,
    ),
    takeovers: value(
      'N',
      'kills for each of log and standby, and kind of guest (default 5)',
      wholeNumber(0),
      5,
    ),
    store: text('URL', 'file:FOLDER, s3://…; default: a folder of its own in the temporary one'),
    json: value(
      'FILE',
      'where the figures go (default build/bench/commit.json)',
      asTyped,
      join(root, 'build/bench/commit.json'),
    ),
    'write-docs': flag('put the tables into docs/BENCHMARKS.md'),
  },
  examples: ['commit --loads idle,shell --rounds 1 --takeovers 0'],
  async run({ options }) {
    const report = await measure(options, options.store);
    mkdirSync(dirname(options.json), { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    const said = toMarkdown(report);
    process.stdout.write(said);
    if (options['write-docs']) writeDocs('bench commit', said);
    return undefined;
  },
});
