// Hostile guests on a node process that runs another VM beside them: whatever they do, the node keeps its lease, its memory stays within
// bounds, and the other VM goes on.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chainGuest, ChainChecker, ClusterClient, NodeProcess } from '@revenant/cluster';
import { SmallDisk } from '../chaos/faults.ts';
import { residentMiB } from './floods.ts';

export interface HostileFigures {
  name: string;
  /** What it printed. */
  bytes: number;
  /** Of the VM beside it. */
  steps: number;
  leasesLost: number;
  slowestMs: number;
  grownMiB: number;
  /** Of the hostile VM. */
  state: string;
}

const MEMORY_MIB = 64;
const DISK_MIB = 64;
const RECOVERY_MS = 120_000;
const modes = { 'hostile rings on every virtio device': 1, 'a disk filled again and again': 2, 'prints at full speed': 3, 'dirties all memory': 4 } as const; // prettier-ignore
const sources = {
  code: fileURLToPath(new URL('./hostile.c', import.meta.url)),
  layout: fileURLToPath(new URL('../../images/bench/loop.ld', import.meta.url)),
};

/** Undefined without a compiler. */
function build(mode: number, folder: string): Buffer | undefined {
  const [object, image] = [join(folder, `${String(mode)}.o`), join(folder, `${String(mode)}.bin`)];
  const options = ['-m32', '-O1', '-ffreestanding', '-fno-pic', '-fno-pie', '-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-mno-sse', '-mno-mmx', '-Wall', '-c']; // prettier-ignore
  const defined = [`-DMODE=${String(mode)}`, `-DMEMORY_BYTES=${String(MEMORY_MIB << 20)}u`];
  const compiled = spawnSync('gcc', [...options, ...defined, sources.code, '-o', object], {
    stdio: 'inherit',
  });
  if (compiled.error !== undefined) return undefined;
  const linked = spawnSync('ld', ['-m', 'elf_i386', '-T', sources.layout, '--oformat', 'binary', object, '-o', image], { stdio: 'inherit' }); // prettier-ignore
  if (compiled.status !== 0 || linked.status !== 0) throw new Error('the hostile guest could not be built');
  return readFileSync(image);
}

interface Host {
  node: NodeProcess;
  client: ClusterClient;
  beside: ChainChecker;
  close: () => Promise<void>;
}

async function makeHost(folder: string, store: string): Promise<Host> {
  const logFile = join(folder, 'log');
  const node = await NodeProcess.start({ store, name: 'a', profile: 'default', logFile });
  const client = new ClusterClient({ nodes: [node.address], answerMs: RECOVERY_MS });
  const beside = new ChainChecker(chainGuest.rule);
  const follower = client.console('beside', (bytes, epoch) => beside.hear(bytes, epoch));
  const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
  await client.command({ type: 'vm-create', vmId: 'beside', spec, start: true });
  const close = async (): Promise<void> => {
    follower.close();
    await client.close();
    node.kill();
    await node.whenEnded;
  };
  return { node, client, beside, close };
}

async function moreSteps({ node, beside }: Host, what: string): Promise<void> {
  const wanted = beside.state.steps + 10;
  for (const until = performance.now() + RECOVERY_MS; beside.state.steps < wanted;) {
    if (node.ended) throw new Error(`${what}: the node ended`);
    if (performance.now() > until) throw new Error(`${what}: the VM beside it makes no step`);
    await sleep(50);
  }
  if (beside.state.fault !== undefined) throw new Error(`${what}: ${beside.state.fault}`);
}

/** One hostile guest for `ms`. `store`: where; on a small one, it must be got rid of afterwards. */
async function bear(
  name: string,
  kernel: Uint8Array,
  options: { ms: number; folder: string; store: string },
): Promise<HostileFigures> {
  const { ms, folder, store } = options;
  const host = await makeHost(folder, store);
  const { node, client, beside } = host;
  let bytes = 0;
  const follower = client.console('hostile', (heard) => (bytes += heard.length));
  try {
    await moreSteps(host, name);
    const description = {
      ...{ memoryBytes: MEMORY_MIB << 20, commandLine: '', kernel: await client.putBlob(kernel) },
      disks: [{ name: 'disk0', bytes: DISK_MIB << 20 }],
    };
    const spec = {
      runtime: 'machine',
      description,
      memoryMiB: MEMORY_MIB,
      priority: 1,
      outputs: 'async' as const,
    };
    await client.command({ type: 'vm-create', vmId: 'hostile', spec, start: true });
    for (const until = performance.now() + RECOVERY_MS; bytes === 0; await sleep(50))
      if (performance.now() > until)
        throw new Error(`${name}: it does not begin: ${(await client.vm('hostile')).reason}`);
    const figures = {
      name,
      bytes: 0,
      steps: beside.state.steps,
      leasesLost: 0,
      slowestMs: 0,
      grownMiB: 0,
      state: '',
    };
    const before = residentMiB(node.pid);
    for (const until = performance.now() + ms; performance.now() < until; await sleep(50)) {
      const asked = performance.now();
      await client.status();
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - asked);
      figures.grownMiB = Math.max(figures.grownMiB, residentMiB(node.pid) - before);
    }
    figures.steps = beside.state.steps - figures.steps;
    figures.bytes = bytes;
    const { status, reason } = await client.vm('hostile');
    figures.state = status === 'running' ? status : `${status}: ${reason}`;
    await client.command({ type: 'vm-delete', vmId: 'hostile' });
    await moreSteps(host, name);
    figures.leasesLost = (await client.events()).filter(({ event }) => event === 'lease-lost').length;
    return figures;
  } finally {
    follower.close();
    await host.close();
  }
}

/** Each hostile guest for `ms`; the one that fills its disk also on a store that is too small for it. */
export async function bearHostile(options: {
  folder: string;
  ms: number;
}): Promise<{ figures: HostileFigures[]; leftOut: string[] }> {
  const { folder, ms } = options;
  const figures: HostileFigures[] = [];
  const leftOut: string[] = [];
  for (const [name, mode] of Object.entries(modes)) {
    const own = join(folder, `hostile-${String(mode)}`);
    mkdirSync(own);
    writeFileSync(join(own, 'log'), '');
    const kernel = build(mode, own);
    if (kernel === undefined) return { figures, leftOut: ['hostile guests (gcc)'] };
    figures.push(await bear(name, kernel, { ms, folder: own, store: `file:${join(own, 'store')}` }));
    if (name !== 'a disk filled again and again') continue;
    const small = join(own, 'small');
    mkdirSync(small);
    const disk = SmallDisk.mount(small, 2 * DISK_MIB);
    if (disk === undefined) leftOut.push('a store that a guest fills (root)');
    else
      try {
        figures.push(await bear(`${name}, and with it the store`, kernel, { ms, folder: own, store: `file:${join(small, 'store')}` })); // prettier-ignore
      } finally {
        disk.unmount();
      }
  }
  return { figures, leftOut };
}
