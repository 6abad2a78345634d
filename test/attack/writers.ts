/**
 * Large writers on the host and the store of a node: an image that is imported, a checkpoint that is exported, and one that is imported, each by
 * the command, in a process of its own. The node beside them keeps its lease, its VM goes on, and no process takes memory by the image's size.
 */
import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeTimerKernel } from '../bench/timer-kernel.ts';
import { residentMiB } from './floods.ts';
import { makeHost, moreSteps, type Host } from './hostile-host.ts';

export interface WriterFigures {
  name: string;
  /** For so long it wrote. */
  tookMs: number;
  /** Steps of the VM beside it meanwhile. */
  steps: number;
  leasesLost: number;
  /** Slowest answer of the node meanwhile. */
  slowestMs: number;
  /** Of the node, and the most that the writer ever held. */
  grownMiB: number;
  writerMiB: number;
}

const cli = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const pieceBytes = 1 << 20;
const lookMs = 100;

/** A file that can't be compressed, and has no page twice. */
async function makeImage(path: string, mib: number): Promise<void> {
  const file = createWriteStream(path);
  for (let piece = 0; piece < mib; piece++)
    if (!file.write(randomFillSync(Buffer.allocUnsafe(pieceBytes)))) await once(file, 'drain');
  file.end();
  await once(file, 'close');
}

/** The most memory that a process ever held: `VmHWM` of proc(5); 0 once it is gone. */
function peakMiB(pid: number): number {
  try {
    return (
      Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1] ?? 0) / 1024
    );
  } catch {
    return 0;
  }
}

const lost = async ({ client }: Host): Promise<number> =>
  (await client.events({ limit: 10_000 })).filter(({ event }) => event === 'lease-lost').length;

/** Runs a command to its end, and looks at the node beside it. */
async function bearWriter(host: Host, name: string, words: readonly string[]): Promise<WriterFigures> {
  const { node, client, beside } = host;
  const figures: WriterFigures = {
    name,
    tookMs: 0,
    steps: beside.state.steps,
    leasesLost: await lost(host),
    slowestMs: 0,
    grownMiB: 0,
    writerMiB: 0,
  };
  const before = residentMiB(node.pid);
  const began = performance.now();
  const child = spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2000)));
  let status: number | null | undefined;
  child.once('exit', (code) => (status = code));
  while (status === undefined) {
    if (node.ended) throw new Error(`${name}: the node ended`);
    const asked = performance.now();
    await client.status();
    figures.slowestMs = Math.max(figures.slowestMs, performance.now() - asked);
    figures.grownMiB = Math.max(figures.grownMiB, residentMiB(node.pid) - before);
    figures.writerMiB = Math.max(figures.writerMiB, peakMiB(child.pid!));
    await sleep(lookMs);
  }
  if (status !== 0) throw new Error(`${name}: ${words.join(' ')} ends with ${String(status)}: ${said}`);
  figures.tookMs = performance.now() - began;
  figures.steps = beside.state.steps - figures.steps;
  await moreSteps(host, name);
  figures.leasesLost = (await lost(host)) - figures.leasesLost;
  return figures;
}

/** An image of so many MiB goes into the store with a VM, out of it with a checkpoint, and in again as another VM. */
export async function bearWriters(options: { folder: string; imageMiB: number }): Promise<WriterFigures[]> {
  const { imageMiB } = options;
  const folder = join(options.folder, 'writers');
  mkdirSync(folder);
  const [image, kernel, exported] = ['image', 'kernel', 'exported'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await makeImage(image, imageMiB);
  writeFileSync(kernel, makeTimerKernel({ greets: true }));
  const url = `file:${join(folder, 'store')}`;
  const host = await makeHost(folder, url);
  const store = ['--store', url];
  const size = `${String(imageMiB)} MiB`;
  try {
    await moreSteps(host, 'writers');
    const figures = [
      await bearWriter(host, `an image of ${size} is imported`, [
        'vm',
        'create',
        'large',
        '--kernel',
        kernel,
        '--memory',
        '16M',
        '--disk',
        image,
        ...store,
      ]),
    ];
    rmSync(image);
    await host.client.waitFor('large', ['running']);
    while (
      !(await host.client.events({ limit: 10_000 })).some(
        ({ event, vm }) => event === 'vm-executes' && vm === 'large',
      )
    )
      await sleep(lookMs);
    // Its disk is in its first checkpoint.
    await host.client.command({ type: 'vm-stop', vmId: 'large' });
    await host.client.waitFor('large', ['stopped']);
    figures.push(
      await bearWriter(host, `a checkpoint with ${size} is exported`, [
        'checkpoint',
        'export',
        'large',
        exported,
        ...store,
      ]),
    );
    figures.push(
      await bearWriter(host, `a checkpoint with ${size} is imported`, [
        'checkpoint',
        'import',
        exported,
        'twin',
        ...store,
      ]),
    );
    return figures;
  } finally {
    await host.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
