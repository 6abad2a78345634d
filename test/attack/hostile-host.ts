/** What bears hostile guests: their builder, and a node process with another VM beside them. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chainGuest, ChainChecker, ClusterClient, NodeProcess } from '@revenant/cluster';

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

export const memoryMib = 64;
export const diskMib = 64;
export const recoveryMs = 120_000;
export const modes = {
  'hostile rings on every virtio device': 1,
  'a disk filled again and again': 2,
  'prints at full speed': 3,
  'dirties all memory': 4,
} as const;
const sources = {
  code: fileURLToPath(new URL('./hostile.c', import.meta.url)),
  layout: fileURLToPath(new URL('../../images/bench/loop.ld', import.meta.url)),
};

/** Undefined without a compiler. */
export function build(mode: number, folder: string): Buffer | undefined {
  const [object, image] = [join(folder, `${String(mode)}.o`), join(folder, `${String(mode)}.bin`)];
  const options = [
    '-m32',
    '-O1',
    '-ffreestanding',
    '-fno-pic',
    '-fno-pie',
    '-fno-stack-protector',
    '-fno-asynchronous-unwind-tables',
    '-mno-sse',
    '-mno-mmx',
    '-Wall',
    '-c',
  ];
  const defined = [`-DMODE=${String(mode)}`, `-DMEMORY_BYTES=${String(memoryMib << 20)}u`];
  const compiled = spawnSync('gcc', [...options, ...defined, sources.code, '-o', object], {
    stdio: 'inherit',
  });
  if (compiled.error !== undefined) return undefined;
  const linked = spawnSync(
    'ld',
    ['-m', 'elf_i386', '-T', sources.layout, '--oformat', 'binary', object, '-o', image],
    { stdio: 'inherit' },
  );
  if (compiled.status !== 0 || linked.status !== 0) throw new Error('the hostile guest could not be built');
  return readFileSync(image);
}

export interface Host {
  node: NodeProcess;
  client: ClusterClient;
  beside: ChainChecker;
  close: () => Promise<void>;
}

export async function makeHost(folder: string, store: string): Promise<Host> {
  const logFile = join(folder, 'log');
  const node = await NodeProcess.start({ store, name: 'a', profile: 'default', logFile });
  const client = new ClusterClient({
    nodes: [node.address],
    answerMs: recoveryMs,
    patienceMs: recoveryMs,
  });
  const beside = new ChainChecker(chainGuest.rule);
  const follower = client.console('beside', (bytes, epoch) => beside.hear(bytes, epoch));
  const spec = { runtime: 'chain', description: {}, memoryMiB: 16, priority: 1, outputs: 'async' as const };
  const close = async (): Promise<void> => {
    follower.close();
    await client.close();
    node.kill();
    await node.whenEnded;
  };
  try {
    await client.command({ type: 'vm-create', vmId: 'beside', spec, start: true });
  } catch (error) {
    await close();
    throw error;
  }
  return { node, client, beside, close };
}

export async function moreSteps({ node, beside }: Host, what: string): Promise<void> {
  const wanted = beside.state.steps + 10;
  for (const until = performance.now() + recoveryMs; beside.state.steps < wanted;) {
    if (node.ended) throw new Error(`${what}: the node ended`);
    if (performance.now() > until) throw new Error(`${what}: the VM beside it makes no step`);
    await sleep(50);
  }
  if (beside.state.fault !== undefined) throw new Error(`${what}: ${beside.state.fault}`);
}
