/** `npm run bench -- fork`: many forks of one running Linux, and forks of forks. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterClient, VmSpec } from '@revenant/cluster';
import { forkVm, openCheckpoint, openStore, type ObjectStore } from '@revenant/storage';
import { define } from '../../packages/cli/src/command/command.ts';
import { asTyped, value } from '../../packages/cli/src/command/options.ts';
import { wholeNumber } from '../../packages/cli/src/command/values.ts';
import { fetchImage, readImageFile } from '../../packages/cli/src/images/image.ts';
import { temporaryFolder, TestCluster } from '../chaos/harness.ts';

const root = join(import.meta.dirname, '../..');
const patienceMs = 600_000;
const parent = 'parent';
/** How often the two ends of a chain are read back. */
const readings = 7;
/** What the node reckons a fork to take: they share what they don't touch, and its offer shall not be what is measured. */
const reckonedMiB = 32;

export interface ForkReport {
  machine: string;
  loadBefore: number;
  memoryMiB: number;
  forks: number;
  /** Longest silence of the parent's guest, which prints fifty times a second: in seconds before the forks, and while they were made. */
  silenceBeforeMs: number;
  silenceMs: number;
  /** From the request to its answer: the fork is in the store and in the list. */
  madeMedianMs: number;
  /** From the first request until the first and the last of them executed. */
  firstExecutesMs: number;
  lastExecuteMs: number;
  /** From the answer for one fork until it executed, median. */
  executesMedianMs: number;
  /** What a fork added to the store before it ran; median. */
  bytesPerFork: number;
  nodeRssMiB: number;
  depth: number;
  /** To read the whole of a fork one and \`depth\` forks deep, medians. */
  readFirstMs: number;
  readLastMs: number;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
const rounded = (ms: number): number => Math.round(ms * 10) / 10;

async function bytesUnder(store: ObjectStore, prefix: string): Promise<number> {
  const { objects } = await store.list(prefix);
  return objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Listens to the parent's guest: how long it was silent at most since it was asked last. */
class Silence {
  text = '';
  #heardAt = performance.now();
  #longest = 0;

  hear(bytes: Uint8Array): void {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#heardAt);
    this.#heardAt = now;
    this.text = (this.text + Buffer.from(bytes).toString('latin1')).slice(-10_000);
  }

  take(): number {
    const longest = this.#longest;
    this.#longest = 0;
    return longest;
  }
}

async function linuxSpec(client: ClusterClient, memoryMiB: number): Promise<VmSpec> {
  const image = await fetchImage('linux-cloud', (line) => process.stderr.write(`${line}\n`));
  const description = {
    memoryBytes: memoryMiB << 20,
    commandLine: image.manifest.commandLine,
    kernel: await client.putBlob(await readImageFile(image, 'kernel')),
    initrd: await client.putBlob(await readImageFile(image, 'initrd')),
  };
  return { runtime: 'machine', description, memoryMiB: reckonedMiB, priority: 1, outputs: 'async' };
}

async function startParent(cluster: TestCluster, memoryMiB: number): Promise<Silence> {
  const { client } = cluster;
  const silence = new Silence();
  await client.command({
    type: 'vm-create',
    vmId: parent,
    spec: await linuxSpec(client, memoryMiB),
    start: true,
  });
  const follower = client.console(parent, (bytes) => {
    silence.hear(bytes);
  });
  await cluster.until('the parent to boot', () => silence.text.includes('is up'), patienceMs, 100);
  follower.write(new TextEncoder().encode('while :; do echo tick; usleep 20000; done\n'));
  await cluster.until('its ticks', () => silence.text.includes('tick\r\ntick\r\ntick'), patienceMs, 100);
  // Until all of it is in checkpoints, the first of which is the largest.
  await sleep(5000);
  return silence;
}

async function forkAll(
  cluster: TestCluster,
  store: ObjectStore,
  count: number,
): Promise<
  Pick<ForkReport, 'madeMedianMs' | 'firstExecutesMs' | 'lastExecuteMs' | 'executesMedianMs' | 'bytesPerFork'>
> {
  const names = Array.from({ length: count }, (_, i) => `fork${i + 1}`);
  const [made, answeredAt, bytes] = [[] as number[], new Map<string, number>(), [] as number[]];
  const beganMs = Date.now();
  for (const name of names) {
    const began = performance.now();
    await cluster.client.fork(parent, { name, start: true });
    made.push(performance.now() - began);
    answeredAt.set(name, Date.now());
    bytes.push(await bytesUnder(store, `vms/${name}/manifests/`));
  }
  const first = new Map<string, number>();
  await cluster.until(
    `${count} forks to execute`,
    async () => {
      const events = await cluster.client.events({ sinceMs: beganMs, limit: 10_000 }).catch(() => []);
      for (const { event, vm = '', atMs } of events)
        if (event === 'vm-executes' && answeredAt.has(vm) && !first.has(vm)) first.set(vm, atMs);
      return first.size === count;
    },
    patienceMs,
    500,
  );
  const times = [...first.values()];
  return {
    madeMedianMs: rounded(median(made)),
    firstExecutesMs: Math.min(...times) - beganMs,
    lastExecuteMs: Math.max(...times) - beganMs,
    executesMedianMs: median([...first].map(([name, atMs]) => atMs - (answeredAt.get(name) ?? NaN))),
    bytesPerFork: median(bytes),
  };
}

/** Forks a fork of a fork …, then reads the first and the last in turn. */
async function chain(
  store: ObjectStore,
  depth: number,
): Promise<Pick<ForkReport, 'depth' | 'readFirstMs' | 'readLastMs'>> {
  let before = parent;
  for (let i = 1; i <= depth; i++) {
    await forkVm(store, before, `deep${i}`, { owner: 'bench' });
    before = `deep${i}`;
  }
  const times = { first: [] as number[], last: [] as number[] };
  for (let i = 0; i < readings; i++)
    for (const [which, vmId] of [
      ['first', 'deep1'],
      ['last', before],
    ] as const) {
      const began = performance.now();
      const reader = await openCheckpoint(store, vmId);
      await reader.readSnapshot();
      await reader.close();
      times[which].push(performance.now() - began);
    }
  return { depth, readFirstMs: rounded(median(times.first)), readLastMs: rounded(median(times.last)) };
}

function rssMiB(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8')) ?? [];
  return Math.round(Number(kib) / 1024);
}

export async function measureForks(forks: number, memoryMiB: number, depth: number): Promise<ForkReport> {
  const folder = await temporaryFolder('fork');
  const url = `file:${folder}/store`;
  const cluster = new TestCluster({ store: url, folder, profile: 'default', nodes: ['n1'] });
  const [loadBefore = 0] = loadavg();
  let store: ObjectStore | undefined;
  try {
    await cluster.start();
    store = await openStore(url);
    const silence = await startParent(cluster, memoryMiB);
    silence.take();
    await sleep(5000);
    const silenceBeforeMs = rounded(silence.take());
    const made = await forkAll(cluster, store, forks);
    const silenceMs = rounded(silence.take());
    const nodeRssMiB = rssMiB(cluster.nodes.get('n1')?.pid ?? 0);
    for (const node of cluster.nodes.values()) node.kill();
    const machine = `${cpus()[0]?.model ?? '?'}, ${availableParallelism()} CPUs`;
    return {
      ...{ machine, loadBefore, memoryMiB, forks, silenceBeforeMs, silenceMs, ...made, nodeRssMiB },
      ...(await chain(store, depth)),
    };
  } finally {
    await cluster.end();
    await store?.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

export const command = define({
  words: [],
  about: `Boots Debian's cloud kernel on one node, then forks it while it runs, each fork from its newest checkpoint, and starts them all. Then, in
the store alone, forks a fork of a fork and so on, and reads the first and the last of them back in turn.`,
  options: {
    forks: value('N', 'forks of the running guest (default 100)', wholeNumber(1, 1000), 100),
    memory: value('MIB', 'memory of the guest (default 256)', wholeNumber(64, 4096), 256),
    depth: value('N', 'length of the chain of forks (default 100)', wholeNumber(1, 1000), 100),
    json: value(
      'FILE',
      'where the figures go (default build/bench/fork.json)',
      asTyped,
      join(root, 'build/bench/fork.json'),
    ),
  },
  examples: ['fork', 'fork --forks 20 --memory 128'],
  async run({ options }) {
    const report = await measureForks(options.forks, options.memory, options.depth);
    mkdirSync(dirname(options.json), { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return undefined;
  },
});
