/** `npm run chaos -- --minutes M`: see usage. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Guardian } from '../../packages/cluster/src/processes/guardian.ts';
import { startCeph } from '../../packages/storage/test-support/ceph.ts';
import { SmallDisk } from './faults.ts';
import { makeNetwork, type Network } from './network.ts';
import { nodeNames, runChaos } from './run.ts';

const usage = `usage: npm run chaos -- [--minutes M] [--store file|s3] [--seed N] [--nodes N] [--vms N] [--profile default|fast]

Node processes run VMs whose guests compute chains of digests. At random they are killed, frozen, cut off from each other (both ways or
one; by network namespaces where these are allowed) or from their store, its disk is filled, guests are moved; all of it is healed after a while. At the end every chain is checked step by step, no
epoch may have run twice, and every VM must compute again.

  --minutes M     default 10
  --store WHAT    file: a folder, on a file system of 512 MB where mounting is allowed (else the disk is not filled);
                  s3: a Ceph gateway, installed from Debian packages and started for the run
  --seed N        which faults, in which order (default: by the clock, and printed)

Exit code 0: all held; 1: something did not, and is listed.
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      store: { type: 'string', default: 'file' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      nodes: { type: 'string', default: '4' },
      vms: { type: 'string', default: '5' },
      profile: { type: 'string', default: 'default' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const [minutes, seed, nodes, vms] = [values.minutes, values.seed, values.nodes, values.vms].map(Number);
  const { profile, store } = values;
  const numbers = [minutes, seed, nodes, vms].every((value) => value !== undefined && value > 0);
  if (!numbers || !['file', 's3'].includes(store) || (profile !== 'default' && profile !== 'fast')) {
    process.stderr.write(`chaos: one of the options makes no sense\n${usage}`);
    return 64;
  }
  // However this ends: nodes, namespaces, mounts and the folder go, unless there are logs to be read.
  const guardian = await Guardian.start();
  const folder = mkdtempSync(join(tmpdir(), 'revenant-chaos-'));
  guardian.remove(folder);
  const began = performance.now();
  const say = (line: string): boolean =>
    process.stdout.write(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
  const network = makeNetwork(nodeNames(nodes ?? 4));
  for (const words of network.undo) guardian.run(words);
  guardian.run(['umount', '-l', join(folder, 'store')]);
  const { url, disk, end } = await openStore(store, folder, network).catch((error: unknown) => {
    network.end();
    throw error;
  });
  try {
    say(
      `seed ${seed}, ${nodes} nodes, ${vms} VMs, ${minutes} minutes, store ${store}${disk === undefined ? '' : ' on a small disk'}, ${network.title}`,
    );
    const result = await runChaos({
      store: url,
      folder: join(folder, 'logs'),
      seed: seed ?? 1,
      minutes: minutes ?? 10,
      nodes: nodes ?? 4,
      vms: vms ?? 5,
      profile,
      ...(disk === undefined ? {} : { disk }),
      network,
      guardian,
      say,
    });
    say(
      `${result.faults} faults, ${result.failovers} failovers, ${result.steps} steps of chains, ${result.repeated} of them computed again`,
    );
    for (const line of result.violations) say(`VIOLATION: ${line}`);
    say(result.violations.length === 0 ? 'all held' : `FAILED; logs are in ${folder}`);
    if (result.violations.length > 0) return 1;
    await end();
    rmSync(folder, { recursive: true, force: true });
    return 0;
  } finally {
    network.end();
    await end();
    guardian.release();
  }
}

async function openStore(
  kind: string,
  folder: string,
  network: Network,
): Promise<{ url: string; disk?: SmallDisk; end: () => Promise<void> }> {
  if (kind === 's3') {
    process.env['CEPH_LISTEN'] = network.host;
    const ceph = await startCeph();
    if ('unavailable' in ceph) throw new Error(`no Ceph gateway can be had: ${ceph.unavailable}`);
    process.env['AWS_ACCESS_KEY_ID'] = ceph.credentials.accessKeyId;
    process.env['AWS_SECRET_ACCESS_KEY'] = ceph.credentials.secretAccessKey;
    const url = `s3://chaos/run?create=1&endpoint=${encodeURIComponent(ceph.endpoint)}`;
    let running = true;
    const end = async (): Promise<void> => {
      if (running) await ceph.stop();
      running = false;
    };
    return { url, end };
  }
  const path = join(folder, 'store');
  mkdirSync(path);
  const disk = SmallDisk.mount(path, 512);
  const end = (): Promise<void> => Promise.resolve(disk?.unmount());
  return { url: `file:${path}/objects`, ...(disk === undefined ? {} : { disk }), end };
}

process.exitCode = await main();
