/**
 * Hostile guests on a node process that runs another VM beside them: whatever they do, the node keeps its lease, its memory stays within
 * bounds, and the other VM goes on.
 */
import { join } from 'node:path';
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SmallDisk } from '../chaos/faults.ts';
import { residentMiB } from './floods.ts';
import {
  build,
  diskMib,
  makeHost,
  memoryMib,
  modes,
  moreSteps,
  recoveryMs,
  type HostileFigures,
} from './hostile-host.ts';
import { fillQuota } from './quota.ts';

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
      ...{ memoryBytes: memoryMib << 20, commandLine: '', kernel: await client.putBlob(kernel) },
      disks: [{ name: 'disk0', bytes: diskMib << 20 }],
    };
    const spec = {
      runtime: 'machine',
      description,
      memoryMiB: memoryMib,
      priority: 1,
      outputs: 'async' as const,
    };
    await client.command({ type: 'vm-create', vmId: 'hostile', spec, start: true });
    for (const until = performance.now() + recoveryMs; bytes === 0; await sleep(50))
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
    figures.push(await fillQuota(kernel, join(own, 'quota')));
    const small = join(own, 'small');
    mkdirSync(small);
    const disk = SmallDisk.mount(small, 2 * diskMib);
    if (disk === undefined) leftOut.push('a store that a guest fills (root)');
    else
      try {
        figures.push(
          await bear(`${name}, and with it the store`, kernel, {
            ms,
            folder: own,
            store: `file:${join(small, 'store')}`,
          }),
        );
      } finally {
        disk.unmount();
      }
  }
  return { figures, leftOut };
}
