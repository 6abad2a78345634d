/** `npm run chaos -- --minutes M`: see usage. */
import { outputPolicies } from '@revenant/cluster';
import { define } from '../../packages/cli/src/command/command.ts';
import { value, type Values } from '../../packages/cli/src/command/options.ts';
import { oneOf, positive, wholeNumber } from '../../packages/cli/src/command/values.ts';
import { dispatchOne } from '../../packages/cli/src/command/dispatch.ts';
import { inOneLine } from '../../packages/cli/src/main.ts';
import { fetchImage } from '../../packages/cli/src/images/image.ts';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Guardian } from '../../packages/cluster/src/processes/guardian.ts';
import { startCeph } from '../../packages/storage/test-support/ceph.ts';
import { SmallDisk } from './faults.ts';
import { makeNetwork, type Network } from './network.ts';
import { nodeNames, runChaos } from './run.ts';

/** Without guests with memory of their own, and for each of these. */
const smallDiskMegabytes = 512;

const optionTable = {
  minutes: value('M', 'how long (default 10)', positive, 10),
  store: value(
    'WHAT',
    `file: a folder, on a file system of its own where mounting is allowed (else the disk is
not filled); s3: a Ceph gateway, installed from Debian packages and started for the run
(default file)`,
    oneOf(['file', 's3']),
    'file',
  ),
  seed: value(
    'N',
    'which faults, in which order (default: by the clock, and printed)',
    wholeNumber(1),
    (Date.now() % 1_000_000) + 1,
  ),
  nodes: value('N', 'node processes (default 4)', wholeNumber(2, 16), 4),
  vms: value('N', 'VMs (default 5)', wholeNumber(1, 100), 5),
  served: value(
    'N',
    `Linux guests with a network card beside them, each of which counts the requests of a client outside
(default 1; 0 leaves out the image that they need)`,
    wholeNumber(0, 20),
    1,
  ),
  profile: value('NAME', 'default or fast', oneOf(['default', 'fast']), 'default'),
  output: value(
    'POLICY',
    `by which the VMs' outputs leave: ${outputPolicies.join(', ')}, or mixed; with any but async every byte
that a client hears is compared (default async)`,
    oneOf([...outputPolicies, 'mixed']),
    'async' as const,
  ),
};

const command = define({
  words: [],
  about: `Node processes run VMs whose guests compute chains of digests. At random they are killed, frozen, cut off from each other (both
ways or one; by network namespaces where these are allowed) or from their store, its disk is filled, guests are moved; all of it is healed
after a while. At the end every chain is checked step by step, no epoch may have run twice, and every VM must compute again. Guests with
a network card count requests over TCP: each counts once, in order, and none that was answered is taken back, but by the policy async; a
connection by a node to which nothing was done goes on, by any policy but async.

Exit code 0: all held; 1: something did not, and is listed.`,
  options: optionTable,
  examples: ['--minutes 3', '--minutes 30 --store s3'],
  run: ({ options }) => chaos(options),
});

async function chaos(options: Values<typeof optionTable>): Promise<number> {
  const { minutes, seed, nodes, vms, profile, store, output, served } = options;
  // However this ends: nodes, namespaces, mounts and the folder go, unless there are logs to be read.
  const guardian = await Guardian.start();
  const folder = mkdtempSync(join(tmpdir(), 'revenant-chaos-'));
  guardian.remove(folder);
  const began = performance.now();
  const say = (line: string): boolean =>
    process.stdout.write(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
  const image = served === 0 ? undefined : await fetchImage('linux-cloud', say);
  const network = makeNetwork(nodeNames(nodes));
  for (const words of network.undo) guardian.run(words);
  guardian.run(['umount', '-l', join(folder, 'store')]);
  const { url, disk, end } = await openStore(store, {
    folder,
    network,
    megabytes: smallDiskMegabytes * (1 + served),
  }).catch((error: unknown) => {
    network.end();
    throw error;
  });
  try {
    say(
      `seed ${seed}, ${nodes} nodes, ${vms} VMs and ${served} with a network card, ${minutes} minutes, store ${store}${disk === undefined ? '' : ' on a small disk'}, ${network.title}`,
    );
    const result = await runChaos({
      store: url,
      folder: join(folder, 'logs'),
      seed,
      minutes,
      nodes,
      vms,
      profile,
      output,
      ...(image === undefined ? {} : { served: { image, count: served } }),
      ...(disk === undefined ? {} : { disk }),
      network,
      guardian,
      say,
    });
    say(
      `${result.faults} faults, ${result.failovers} failovers, ${result.steps} steps of chains, ${result.repeated} of them computed again, ${result.bytes} bytes counted, ${result.again} of them heard again after ${result.lostBoth} times in which owner and standby had both ended, ${result.startedAgain} times a VM was started again that was given up, ${result.answers} requests answered by guests with a network card, ${result.broken} of their connections broken`,
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
  { folder, network, megabytes }: { folder: string; network: Network; megabytes: number },
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
  const disk = SmallDisk.mount(path, megabytes);
  const end = (): Promise<void> => Promise.resolve(disk?.unmount());
  return { url: `file:${path}/objects`, ...(disk === undefined ? {} : { disk }), end };
}

process.exitCode = await inOneLine('chaos', () =>
  dispatchOne(
    {
      path: 'npm run chaos --',
      summary: 'real node processes, to which everything happens that can happen',
      command,
    },
    process.argv.slice(2),
  ),
);
