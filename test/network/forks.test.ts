/**
 * Two forks of a Linux guest beside their parent in one guarded network, of whose memory they are a copy: each is reached by its own address at
 * once, they reach each other, they renew their lease, and one starts again with its own MAC. Needs the image linux-cloud in the cache.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { ClusterClient, Guardian, NodeProcess } from '@revenant/cluster';
import { buildModules } from '@revenant/emulator/host-node';
import { readImageFile } from '../../packages/cli/src/images/image.ts';
import { freePorts } from '../../packages/cluster/src/demo/free-ports.ts';
import { answerMs } from '../../packages/cluster/src/testing/patience.ts';
import { until } from '../../packages/cluster/src/testing/until.ts';
import { imageOrSkip } from '../linux/shell.ts';

const run = promisify(execFile);
const names = ['web', 'web-1', 'web-2'];

async function curl(port: number): Promise<string> {
  const retries = ['--retry', '60', '--retry-all-errors', '--retry-delay', '1', '--max-time', '20'];
  const { stdout } = await run('curl', ['-sS', ...retries, `http://127.0.0.1:${String(port)}/self`]);
  return stdout;
}

/** Runs in a guest, by its agent; returns what it printed. */
async function inside(client: ClusterClient, vmId: string, command: string): Promise<string> {
  let out = '';
  const take = (bytes: Uint8Array): void => void (out += Buffer.from(bytes).toString('latin1'));
  await client.exec(vmId, {
    command: ['sh', '-c', command],
    stdout: take,
    stderr: take,
    patienceMs: 600_000,
  });
  return out.trim();
}

const macIn = 'cat /sys/class/net/eth0/address';
const addressIn = `ip -4 addr show dev eth0 | sed -n 's/^ *inet \\([0-9.]*\\).*/\\1/p'`;

it(
  'two forks of a Linux guest in its network are somebody there from their first frame on',
  { timeout: 1_200_000 },
  async (context) => {
    const image = await imageOrSkip(context, 'linux-cloud');
    if (image === undefined) return;
    buildModules(() => undefined);
    const folder = mkdtempSync(join(tmpdir(), 'revenant-network-forks-'));
    const guardian = await Guardian.start();
    guardian.remove(folder);
    const store = `file:${folder}/store`;
    const node = await NodeProcess.start({
      store,
      name: 'a',
      profile: 'default',
      logFile: join(folder, 'a.log'),
      guardian,
    });
    const client = new ClusterClient({ store, answerMs });
    try {
      await until(
        'a node',
        async () => (await client.status().catch(() => undefined))?.nodes[0]?.state === 'alive',
      );
      const network = { subnet: '10.64.0.0/16', outbound: false, guard: true, hostPorts: [] };
      await client.command({ type: 'network-create', network: 'lan', spec: network });
      const ports = await freePorts(3);
      const publish = ports.map((port) => [{ on: '*', protocol: 'tcp' as const, port, guestPort: 80 }]);
      const description = {
        memoryBytes: 128 * 2 ** 20,
        commandLine: `${image.manifest.commandLine} quiet run="sleep 1000000"`,
        kernel: await client.putBlob(await readImageFile(image, 'kernel')),
        initrd: await client.putBlob(await readImageFile(image, 'initrd')),
      };
      const spec = {
        runtime: 'machine',
        description,
        memoryMiB: 128,
        priority: 1,
        outputs: 'async' as const,
        network: { name: 'lan', publish: publish[0]! },
      };
      await client.command({ type: 'vm-create', vmId: 'web', spec, start: true });
      await until(
        'the guest has an address',
        async () => (await inside(client, 'web', addressIn)) === '10.64.1.0',
      );
      await inside(client, 'web', 'echo before the fork > /srv/www/self');
      assert.equal(await curl(ports[0]!), 'before the fork\n');
      await client.takeSnapshot('web', 'ready');
      for (const n of [1, 2])
        await client.fork('web', { name: names[n]!, checkpoint: 'ready', start: true, publish: publish[n]! });
      for (const [n, vmId] of names.entries()) {
        const { nic } = await client.waitFor(vmId, ['running']);
        assert.equal(nic?.address, `10.64.1.${String(n)}`);
      }

      // Without a word inside: each is reached, and each takes itself for its parent.
      for (const port of ports) assert.equal(await curl(port), 'before the fork\n');
      for (const [n, vmId] of names.entries()) {
        assert.deepEqual((await inside(client, vmId, `${macIn}; ${addressIn}`)).split(/\s+/), [
          '52:56:0a:40:01:00',
          '10.64.1.0',
        ]);
        await inside(client, vmId, `echo ${vmId} > /srv/www/self`);
        assert.equal(await curl(ports[n]!), `${vmId}\n`);
      }
      const ask = (from: string, to: number): Promise<string> =>
        inside(client, from, `wget -q -O- http://10.64.1.${String(to)}/self`);
      assert.equal(await ask('web', 1), 'web-1');
      assert.equal(await ask('web', 2), 'web-2');
      assert.equal(await ask('web-1', 2), 'web-2');

      // udhcpc asks to keep the parent's address, is refused it and given the fork's own.
      await inside(client, 'web-1', 'kill -USR1 $(pidof udhcpc)');
      await until(
        'a lease of its own',
        async () => (await inside(client, 'web-1', addressIn)) === '10.64.1.1',
      );
      assert.equal(await curl(ports[1]!), 'web-1\n');
      assert.equal(await ask('web-1', 0), 'web', "now it reaches its parent by that one's address");
      assert.equal(await ask('web', 1), 'web-1');

      // A driver that is bound again reads the fork's MAC, as one does that starts again.
      const driver = '/sys/bus/virtio/drivers/virtio_net';
      const again = [
        'd=$(basename $(readlink -f /sys/class/net/eth0/device))',
        `echo $d > ${driver}/unbind`,
        `echo $d > ${driver}/bind`,
        'kill $(pidof udhcpc)',
        'ip link set eth0 up',
        'udhcpc -i eth0 -q -S -s /etc/udhcpc',
      ];
      await inside(client, 'web-2', again.join('; '));
      const own = (await inside(client, 'web-2', `${macIn}; ${addressIn}`)).split(/\s+/);
      assert.deepEqual(own, ['52:56:0a:40:01:02', '10.64.1.2']);
      assert.equal(await curl(ports[2]!), 'web-2\n');
      assert.equal(await ask('web-2', 0), 'web');
      assert.equal(await curl(ports[0]!), 'web\n');
    } finally {
      await client.close();
      node.kill();
      await node.whenEnded;
    }
  },
);
