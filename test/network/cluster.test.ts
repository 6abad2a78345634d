/**
 * A Linux guest in a network of a cluster of node processes: curl gets its page by each node, through a live move and through kill -9 of the
 * node that runs it; two guests reach each other. Needs the image linux-cloud in the cache.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { ClusterClient, Guardian, NodeProcess, type BootDescription, type VmSpec } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { readImageFile, type Image } from '../../packages/cli/src/images/image.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { imageOrSkip } from '../linux/shell.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';

const names = ['a', 'b', 'c'];
const run = promisify(execFile);

/** curl, which asks again as long as nobody lets it in, as a person would. */
async function curl(port: number): Promise<string> {
  const retries = ['--retry', '60', '--retry-all-errors', '--retry-delay', '1', '--max-time', '20'];
  const { stdout } = await run('curl', ['-sS', ...retries, `http://127.0.0.1:${String(port)}/`]);
  return stdout;
}

async function describe(client: ClusterClient, image: Image, command: string): Promise<BootDescription> {
  return {
    memoryBytes: 128 * 2 ** 20,
    commandLine: `${image.manifest.commandLine} quiet run="${command}"`,
    kernel: await client.putBlob(await readImageFile(image, 'kernel')),
    initrd: await client.putBlob(await readImageFile(image, 'initrd')),
  };
}

/** Whether a guest gets its neighbour's page, told by its own web server. */
const askNeighbour = (address: string): string =>
  `while true; do if wget -q -O /tmp/page http://${address}/; then echo neighbour yes; else echo neighbour no; fi > /tmp/news; mv /tmp/news /srv/www/neighbour; sleep 1; done`;

it('a Linux guest in a network of a cluster is reached by each node, wherever it runs', async (context) => {
  const image = await imageOrSkip(context, 'linux-cloud');
  if (image === undefined) return;
  buildModules(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), 'revenant-network-'));
  const guardian = await Guardian.start();
  guardian.remove(folder);
  const store = `file:${folder}/store`;
  const start = (name: string): Promise<NodeProcess> =>
    NodeProcess.start({ store, name, profile: 'default', logFile: join(folder, `${name}.log`), guardian });
  const nodes = new Map(await Promise.all(names.map(async (name) => [name, await start(name)] as const)));
  const client = new ClusterClient({ store, answerMs });
  try {
    await until('three nodes', async () => {
      const known = await client.status().catch(() => undefined);
      return known?.nodes.filter(({ state }) => state === 'alive').length === 3;
    });
    const ports = await freePorts(names.length);
    const spec = { subnet: '10.64.0.0/16', outbound: false, guard: true, hostPorts: [] };
    await client.command({ type: 'network-create', network: 'lan', spec });
    const create = async (
      vmId: string,
      command: string,
      network: NonNullable<VmSpec['network']>,
    ): Promise<void> => {
      const description = await describe(client, image, command);
      const spec = {
        runtime: 'machine',
        description,
        memoryMiB: 128,
        priority: 1,
        outputs: 'async' as const,
        network,
      };
      await client.command({ type: 'vm-create', vmId, spec, start: true });
    };
    const publish = names.map((on, n) => ({ on, protocol: 'tcp' as const, port: ports[n]!, guestPort: 80 }));
    await create('web', 'sleep 100000', { name: 'lan', publish });
    const [inside = 0] = await freePorts(1);
    await create('neighbour', askNeighbour('10.64.1.0'), {
      name: 'lan',
      publish: [{ on: '*', protocol: 'tcp', port: inside, guestPort: 80 }],
    });
    assert.equal((await client.vm('web')).nic?.address, '10.64.1.0');
    for (const port of ports) assert.match(await curl(port), /Hello from revenant/);
    const told = async (port: number): Promise<string> =>
      fetch(`http://127.0.0.1:${String(port)}/neighbour`).then(
        (answer) => answer.text(),
        () => '',
      );
    await until('the neighbour', async () => (await told(inside)) === 'neighbour yes\n');
    await client.command({ type: 'vm-migrate', vmId: 'web' });
    for (const port of ports) assert.match(await curl(port), /Hello from revenant/);
    const holder = (await client.waitFor('web', ['running'])).assignment!.node;
    nodes.get(holder)!.kill();
    for (const [n, port] of ports.entries())
      if (names[n] !== holder) assert.match(await curl(port), /Hello from revenant/);
    assert.notEqual((await client.waitFor('web', ['running'])).assignment!.node, holder);
    assert.equal((await client.vm('web')).nic?.address, '10.64.1.0');
  } finally {
    await client.close();
    for (const node of nodes.values()) node.kill();
    await Promise.all([...nodes.values()].map(({ whenEnded }) => whenEnded));
  }
});
