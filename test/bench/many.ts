/** `npm run bench -- many`: many idle VMs on a few nodes: until all run, whether a lease is lost, and the loss of one node. */
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, flag, value } from '../../packages/cli/src/command/options.ts';
import { oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { open } from 'node:fs/promises';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterEvent, ProfileName, VmSeen } from '@revenant/cluster';
import { temporaryFolder, TestCluster } from '../chaos/harness.ts';
import { makeTimerKernel } from './timer-kernel.ts';
import { writeDocs } from './write-docs.ts';

const root = join(import.meta.dirname, '../..');
const memoryMiB = 16;
const patienceMs = 300_000;

export interface ManyReport {
  machine: string;
  /** Load of the machine (one minute) as it began. */
  loadBefore: number;
  vms: number;
  nodes: number;
  profile: ProfileName;
  /** From the first command until the last VM executed, and until half of them did. */
  allRunMs: number;
  halfRunMs: number;
  /** For so long they were left alone then. */
  restMs: number;
  /** VMs of the node that was killed, and from the kill until half of them, and the last, executed again. */
  killedVms: number;
  halfBackMs: number;
  allBackMs: number;
  /** Where that time went, for the VM in the middle and for the slowest. */
  steps: Record<Step, { halfMs: number; mostMs: number }>;
  /** Events `lease-lost`: until all ran, and in all. */
  lostLeasesAtStart: number;
  lostLeases: number;
  /** The slowest sync of a small file beside the store meanwhile: leases can't be renewed faster. */
  slowestSyncMs: number;
}

/** From the kill until it was noticed; until the VM had a place, was claimed there and read, was built, and executed. */
const steps = {
  detection: 'vm-lost',
  placement: 'vm-assigned',
  claim: 'vm-resuming',
  restore: 'vm-started',
  firstInstruction: 'vm-executes',
} as const;
type Step = keyof typeof steps;

/** How long each step of the VMs took that were lost at `sinceMs`; a VM that had no checkpoint yet is not read, and counts with its start. */
function timesOfSteps(
  events: readonly ClusterEvent[],
  vms: readonly string[],
  sinceMs: number,
): ManyReport['steps'] {
  const took = new Map<Step, number[]>();
  for (const vm of vms) {
    let before = sinceMs;
    for (const [step, name] of Object.entries(steps) as [Step, string][]) {
      const atMs = events.findLast(
        (each) => each.event === name && each.vm === vm && each.atMs >= before,
      )?.atMs;
      if (atMs === undefined) continue;
      took.set(step, [...(took.get(step) ?? []), atMs - before]);
      before = atMs;
    }
  }
  const of = (step: Step): { halfMs: number; mostMs: number } => {
    const times = (took.get(step) ?? []).sort((a, b) => a - b);
    return { halfMs: times[Math.floor(times.length / 2)] ?? NaN, mostMs: times.at(-1) ?? NaN };
  };
  return {
    ...{ detection: of('detection'), placement: of('placement'), claim: of('claim') },
    ...{ restore: of('restore'), firstInstruction: of('firstInstruction') },
  };
}

/** Writes and syncs a small file again and again, as who renews a lease does. */
class SyncProbe {
  slowestMs = 0;
  #over = false;
  readonly #ended: Promise<void>;

  constructor(path: string) {
    this.#ended = this.#probe(path);
  }

  async #probe(path: string): Promise<void> {
    const file = await open(path, 'w');
    try {
      while (!this.#over) {
        const began = performance.now();
        await file.write('x'.repeat(200), 0);
        await file.datasync();
        this.slowestMs = Math.max(this.slowestMs, Math.round(performance.now() - began));
        await sleep(100);
      }
    } finally {
      await file.close();
    }
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#ended;
  }
}

/** When each VM executed first, at `sinceMs` or later, in order of time. */
function executions(events: readonly ClusterEvent[], vms: ReadonlySet<string>, sinceMs: number): number[] {
  const first = new Map<string, number>();
  for (const { event, vm = '', atMs } of events)
    if (event === 'vm-executes' && vms.has(vm) && atMs >= sinceMs)
      first.set(vm, Math.min(first.get(vm) ?? Infinity, atMs));
  return [...first.values()].map((atMs) => atMs - sinceMs).sort((a, b) => a - b);
}

const lostLeases = (events: readonly ClusterEvent[]): number =>
  events.filter(({ event }) => event === 'lease-lost').length;

class Many {
  readonly #cluster: TestCluster;
  readonly #beganMs = Date.now();

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  events(): Promise<ClusterEvent[]> {
    return this.#cluster.client.events({ sinceMs: this.#beganMs, limit: 10_000 });
  }

  async #allExecute(vms: ReadonlySet<string>, sinceMs: number): Promise<number[]> {
    let times: number[] = [];
    await this.#cluster.until(
      `${vms.size} VMs to execute`,
      async () => {
        times = executions(await this.events().catch(() => []), vms, sinceMs);
        return times.length === vms.size;
      },
      patienceMs,
      1000,
    );
    return times;
  }

  async create(count: number): Promise<number[]> {
    const { client } = this.#cluster;
    const description = {
      memoryBytes: memoryMiB << 20,
      commandLine: '',
      kernel: await client.putBlob(makeTimerKernel({ greets: true })),
    };
    const spec = { runtime: 'machine', description, memoryMiB, priority: 1, outputs: 'async' as const };
    const names = Array.from({ length: count }, (_, i) => `idle${i + 1}`);
    const sinceMs = Date.now();
    await Promise.all(names.map((vmId) => client.command({ type: 'vm-create', vmId, spec, start: true })));
    return this.#allExecute(new Set(names), sinceMs);
  }

  async killFullest(): Promise<{ times: number[]; lost: string[]; sinceMs: number }> {
    const { vms } = await this.#cluster.client.status();
    const by = new Map<string, VmSeen[]>();
    for (const vm of vms) {
      const node = vm.assignment?.node ?? '';
      by.set(node, [...(by.get(node) ?? []), vm]);
    }
    const [node, lost] = [...by].sort(([, a], [, b]) => b.length - a.length)[0]!;
    const sinceMs = Date.now();
    this.#cluster.nodes.get(node)?.kill();
    const names = lost.map(({ id }) => id);
    return { times: await this.#allExecute(new Set(names), sinceMs), lost: names, sinceMs };
  }
}

export async function measureMany(
  vms: number,
  nodes: number,
  profile: ProfileName,
  restMs: number,
): Promise<ManyReport> {
  const folder = await temporaryFolder('many');
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const cluster = new TestCluster({ store: `file:${folder}/store`, folder, profile, nodes: names });
  const [loadBefore = 0] = loadavg();
  const probe = new SyncProbe(join(folder, 'probe'));
  try {
    await cluster.start();
    const many = new Many(cluster);
    const ran = await many.create(vms);
    process.stderr.write(`all ${vms} run after ${ran.at(-1)} ms\n`);
    const lostBefore = lostLeases(await many.events());
    await sleep(restMs);
    const { times: back, lost, sinceMs } = await many.killFullest();
    process.stderr.write(`all ${back.length} are back after ${back.at(-1)} ms\n`);
    const half = (times: readonly number[]): number => times[Math.ceil(times.length / 2) - 1] ?? NaN;
    const events = await many.events();
    return {
      ...{
        machine: `${cpus()[0]?.model ?? '?'}, ${availableParallelism()} CPUs`,
        loadBefore,
        vms,
        nodes,
        profile,
      },
      ...{ allRunMs: ran.at(-1) ?? NaN, halfRunMs: half(ran), restMs },
      ...{ killedVms: back.length, halfBackMs: half(back), allBackMs: back.at(-1) ?? NaN },
      steps: timesOfSteps(events, lost, sinceMs),
      ...{ lostLeasesAtStart: lostBefore, lostLeases: lostLeases(events) },
      slowestSyncMs: probe.slowestMs,
    };
  } finally {
    await probe.end();
    await cluster.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

function toMarkdown(report: ManyReport): string {
  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  return [
    '| VMs | nodes | half of them run after, s | all run after, s | VMs of the killed node | half are back after, s | all are back after, s | leases lost |',
    '|--:|--:|--:|--:|--:|--:|--:|--:|',
    `| ${report.vms} | ${report.nodes} | ${seconds(report.halfRunMs)} | ${seconds(report.allRunMs)} | ${report.killedVms} | ${seconds(report.halfBackMs)} | ${seconds(report.allBackMs)} | ${report.lostLeases} |`,
    '',
    `${new Date().toISOString().slice(0, 10)}, ${report.machine}, profile ${report.profile}, load ${report.loadBefore.toFixed(1)} as it began.`,
  ].join('\n');
}

export const command = define({
  words: [],
  about: `Creates idle VMs of 16 MB at once, and takes the time until each executes. Then the node with most of them is killed, and the time is
taken until the last of its VMs executes elsewhere, step by step. Leases that were lost meanwhile are counted: there should be none, as long as
the folder for temporary files (TMPDIR) syncs a small file within a second; the slowest sync is printed beside them.`,
  options: {
    vms: value('N', 'VMs (default 50)', wholeNumber(1, 1000), 50),
    nodes: value('N', 'nodes (default 3)', wholeNumber(2, 16), 3),
    profile: value('NAME', 'default or fast', oneOf(['default', 'fast']), 'default'),
    rest: value(
      'S',
      'for how long they are left alone before the node is killed, as a node makes threads for the VMs of others meanwhile (default 20)',
      positive,
      20,
    ),
    json: value(
      'FILE',
      'where the figures go (default build/bench/many.json)',
      asTyped,
      join(root, 'build/bench/many.json'),
    ),
    'write-docs': flag('put a table into docs/BENCHMARKS.md'),
  },
  examples: ['many', 'many --vms 20 --profile fast'],
  async run({ options }) {
    const { vms, nodes, profile, rest, json } = options;
    const report = await measureMany(vms, nodes, profile, rest * 1000);
    mkdirSync(dirname(json), { recursive: true });
    writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    if (options['write-docs']) writeDocs('bench many', toMarkdown(report));
    return undefined;
  },
});
